package qr

import (
	"bytes"
	"image/png"
	"slices"
	"strings"
	"testing"
)

// drawn is the code as text: two characters a module.
func drawn(c *Code) string {
	var b strings.Builder
	for y := range c.Size() {
		for x := range c.Size() {
			if c.Dark(x, y) {
				b.WriteString("##")
			} else {
				b.WriteString("..")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// The expected code was read back with an independent reader (ZXing).
func TestNew(t *testing.T) {
	c, err := New("otpauth://a")
	if err != nil {
		t.Fatal(err)
	}
	if got := drawn(c); got != wantDrawn {
		t.Errorf("got\n%swant\n%s", got, wantDrawn)
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct{ length, version int }{
		{0, 1}, {14, 1}, {15, 2}, {106, 6}, {107, 7}, {180, 9}, {181, 10}, {213, 10}, {214, 11}, {2331, 40},
	} {
		c, err := New(strings.Repeat("x", tt.length))
		if err != nil || c.version != tt.version || c.Size() != 17+4*tt.version {
			t.Errorf("%d bytes: version %d, %v; want %d", tt.length, c.version, err, tt.version)
		}
	}
	if _, err := New(strings.Repeat("x", 2332)); err != ErrTooLong {
		t.Errorf("2332 bytes: %v, want ErrTooLong", err)
	}
}

// The standard's tables say how many codewords versions hold.
func TestTotals(t *testing.T) {
	for version, want := range map[int]int{1: 26, 2: 44, 6: 172, 7: 196, 14: 581, 21: 1156, 33: 2611, 40: 3706} {
		if got := total(version); got != want {
			t.Errorf("version %d holds %d codewords, want %d", version, got, want)
		}
	}
	if got, want := alignments(32), []int{6, 34, 60, 86, 112, 138}; !slices.Equal(got, want) {
		t.Errorf("alignments(32) = %v, want %v", got, want)
	}
}

// TestDivide is the worked example that tutorials of QR codes share: "HELLO
// WORLD" in a code of version 1, level M.
func TestDivide(t *testing.T) {
	data := []byte{32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17}
	want := []byte{196, 35, 39, 119, 235, 215, 231, 226, 93, 23}
	if got := divide(data, generator(10)); !bytes.Equal(got, want) {
		t.Errorf("divide = %v, want %v", got, want)
	}
}

func TestPNG(t *testing.T) {
	c, err := New("x")
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.PNG(3)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || img.Bounds().Dx() != (21+8)*3 {
		t.Fatalf("PNG: %v, %v", img.Bounds(), err)
	}
	for y := range 29 {
		for x := range 29 {
			r, _, _, _ := img.At(3*x+1, 3*y+1).RGBA()
			if dark := r == 0; dark != c.Dark(x-4, y-4) {
				t.Fatalf("module %d, %d is drawn wrongly", x-4, y-4)
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	text := "otpauth://totp/alice@123456789012?secret=" + strings.Repeat("A", 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(text); err != nil {
			b.Fatal(err)
		}
	}
}

const wantDrawn = `##############..########....##############
##..........##..########....##..........##
##..######..##..##..##..##..##..######..##
##..######..##....####..##..##..######..##
##..######..##..##..######..##..######..##
##..........##....##........##..........##
##############..##..##..##..##############
....................##....................
##....############..####..##....##..######
....##....##..############....##..######..
..######..####........####....##..########
........####....######..##......##..######
........##..######..########..##..........
................##..##..##......##..####..
##############..########....##..##..##....
##..........##..######......##..########..
##..######..##..####..............##......
##..######..##..##..############..####....
##..######..##....##..####......##..######
##..........##....########..####..########
##############..##..##..######..####......
`
