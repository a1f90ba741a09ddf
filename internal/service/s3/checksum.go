package s3

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// algorithm is one of the checksum algorithms of x-amz-checksum-*.
type algorithm int

const (
	noAlgorithm algorithm = iota
	sumCRC32
	sumCRC32C
	sumCRC64NVME
	sumSHA1
	sumSHA256
	sumSHA512
	sumMD5
	algorithmCount
)

// The two ways in which the parts of an upload make one checksum.
const (
	composite  = "COMPOSITE"
	fullObject = "FULL_OBJECT"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	nvme       = crc64.MakeTable(polyNVME)
)

// polyNVME is the polynomial of CRC-64/NVME, lowest bit first.
const polyNVME = 0x9a6c9329ac4bc9b5

var algorithms = [algorithmCount]struct {
	name string
	size int
	make func() hash.Hash
	// poly is the polynomial of a CRC, lowest bit first.
	poly uint64
}{
	sumCRC32:     {"CRC32", crc32.Size, func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE},
	sumCRC32C:    {"CRC32C", crc32.Size, func() hash.Hash { return crc32.New(castagnoli) }, crc32.Castagnoli},
	sumCRC64NVME: {"CRC64NVME", crc64.Size, func() hash.Hash { return crc64.New(nvme) }, polyNVME},
	sumSHA1:      {"SHA1", sha1.Size, sha1.New, 0},
	sumSHA256:    {"SHA256", sha256.Size, sha256.New, 0},
	sumSHA512:    {"SHA512", sha512.Size, sha512.New, 0},
	sumMD5:       {"MD5", md5.Size, md5.New, 0},
}

func (a algorithm) String() string     { return algorithms[a].name }
func (a algorithm) newHash() hash.Hash { return algorithms[a].make() }
func (a algorithm) isCRC() bool        { return algorithms[a].poly != 0 }

// header is the name of the request header and trailer.
func (a algorithm) header() string { return "x-amz-checksum-" + strings.ToLower(a.String()) }

// parseAlgorithm reads an algorithm's name; the empty name is none.
func parseAlgorithm(name string) (algorithm, error) {
	if name == "" {
		return noAlgorithm, nil
	}
	for a := sumCRC32; a < algorithmCount; a++ {
		if strings.EqualFold(a.String(), name) {
			return a, nil
		}
	}
	if strings.HasPrefix(strings.ToUpper(name), "XXHASH") {
		return noAlgorithm, errNotImplemented("The checksum algorithm " + strings.ToUpper(name) + " is not implemented")
	}
	return noAlgorithm, aws.Errorf("InvalidRequest",
		"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
}

// sums are checksums in base64 by their algorithm.
type sums [algorithmCount]string

// only returns the one checksum that was given, if any.
func (s *sums) only() (algorithm, string, error) {
	found := noAlgorithm
	for a := sumCRC32; a < algorithmCount; a++ {
		if s[a] == "" {
			continue
		}
		if found != noAlgorithm {
			return noAlgorithm, "", aws.Errorf("InvalidRequest",
				"Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		found = a
	}
	if found == noAlgorithm {
		return noAlgorithm, "", nil
	}
	if !found.valid(s[found]) {
		return noAlgorithm, "", aws.Errorf("InvalidRequest", "Value for %s header is invalid.", found.header())
	}
	return found, s[found], nil
}

// valid reports whether text is base64 of the algorithm's length.
func (a algorithm) valid(text string) bool {
	b, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(b) == algorithms[a].size
}

func errChecksumMismatch(a algorithm) error {
	return aws.Errorf("BadDigest", "The %s you specified did not match the calculated checksum.", a)
}

// partSum is what Complete knows of one part's checksum.
type partSum struct {
	value string // base64
	size  int64
}

// compositeSum is the checksum of the parts' checksums, with their number.
func compositeSum(a algorithm, parts []partSum) (string, bool) {
	h := a.newHash()
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.value)
		if err != nil || len(b) != algorithms[a].size {
			return "", false
		}
		h.Write(b)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts)), true
}

// joinedCRC is the CRC of the parts put together, computed from theirs.
func joinedCRC(a algorithm, parts []partSum) (string, bool) {
	size, poly := algorithms[a].size, algorithms[a].poly
	var crc uint64
	for i, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.value)
		if err != nil || len(b) != size {
			return "", false
		}
		var next [8]byte
		copy(next[8-size:], b)
		if i == 0 {
			crc = binary.BigEndian.Uint64(next[:])
			continue
		}
		crc = combineCRC(poly, 8*size, crc, binary.BigEndian.Uint64(next[:]), p.size)
	}
	var out [8]byte
	binary.BigEndian.PutUint64(out[:], crc)
	return base64.StdEncoding.EncodeToString(out[8-size:]), true
}

// combineCRC returns the CRC of two runs of bytes from theirs: the first one's
// is carried through as many zero bytes as the second one has, by squaring the
// matrix that carries it through one bit.
func combineCRC(poly uint64, width int, first, second uint64, length int64) uint64 {
	var odd, even matrix
	odd[0] = poly
	for i := 1; i < width; i++ {
		odd[i] = 1 << (i - 1)
	}
	even.square(&odd, width) // two bits
	odd.square(&even, width) // four
	for length > 0 {
		even.square(&odd, width) // 8, 32, 128, …
		if length&1 != 0 {
			first = even.times(first)
		}
		length >>= 1
		if length == 0 {
			break
		}
		odd.square(&even, width)
		if length&1 != 0 {
			first = odd.times(first)
		}
		length >>= 1
	}
	return first ^ second
}

// matrix is a square matrix of bits, by columns.
type matrix [64]uint64

func (m *matrix) times(v uint64) uint64 {
	var sum uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *matrix) square(of *matrix, width int) {
	for i := range width {
		m[i] = of.times(of[i])
	}
}
