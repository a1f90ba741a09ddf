package s3

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func sumOf(a algorithm, b []byte) string {
	h := a.newHash()
	h.Write(b)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// TestCheckValues compares with the catalogued CRCs of "123456789".
func TestCheckValues(t *testing.T) {
	for a, want := range map[algorithm]string{
		sumCRC32: "cbf43926", sumCRC32C: "e3069283", sumCRC64NVME: "ae8b14860a799888",
		sumMD5:  "25f9e794323b453885f5181f1b624d0b",
		sumSHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
	} {
		h := a.newHash()
		h.Write([]byte("123456789"))
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s = %s, want %s", a, got, want)
		}
	}
}

func TestJoinedCRC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]algorithm{sumCRC32, sumCRC32C, sumCRC64NVME}).Draw(t, "algorithm")
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 6).Draw(t, "parts")
		var whole []byte
		var parts []partSum
		for _, b := range bodies {
			whole = append(whole, b...)
			parts = append(parts, partSum{sumOf(a, b), int64(len(b))})
		}
		if got, ok := joinedCRC(a, parts); !ok || got != sumOf(a, whole) {
			t.Fatalf("%s of %d parts: %s, want %s", a, len(parts), got, sumOf(a, whole))
		}
	})
}

func TestCompositeSum(t *testing.T) {
	one, two := []byte("one"), []byte("two")
	got, ok := compositeSum(sumSHA256, []partSum{{sumOf(sumSHA256, one), 3}, {sumOf(sumSHA256, two), 3}})
	h := sumSHA256.newHash()
	for _, b := range [][]byte{one, two} {
		part := sumSHA256.newHash()
		part.Write(b)
		h.Write(part.Sum(nil))
	}
	if want := base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-2"; !ok || got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, ok := compositeSum(sumSHA256, []partSum{{"", 3}}); ok {
		t.Error("a part without a checksum was taken")
	}
}

func TestParseAlgorithm(t *testing.T) {
	for name, want := range map[string]algorithm{"": noAlgorithm, "CRC32": sumCRC32, "crc64nvme": sumCRC64NVME, "SHA256": sumSHA256} {
		if got, err := parseAlgorithm(name); err != nil || got != want {
			t.Errorf("%q = %v, %v", name, got, err)
		}
	}
	wantCode(t, second(parseAlgorithm("XXHASH64")), "NotImplemented")
	wantCode(t, second(parseAlgorithm("ROT13")), "InvalidRequest")
}

func BenchmarkCRC64NVME(b *testing.B) {
	body := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(body)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		sumCRC64NVME.newHash().Write(body)
	}
}
