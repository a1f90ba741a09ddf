// Package qr draws QR codes (ISO/IEC 18004): texts in byte mode, error
// correction level M, versions 1 to 40.
package qr

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
)

// ErrTooLong is the answer to a text that fits into no QR code.
var ErrTooLong = errors.New("qr: the text is too long")

// Code is a QR code: a square of dark and light modules.
type Code struct {
	version  int
	size     int
	dark     []bool // row by row
	function []bool // finder, timing, alignment, format and version modules
}

// New returns the smallest code that holds a text, or ErrTooLong.
func New(text string) (*Code, error) {
	version := 1
	for capacity(version) < len(text) {
		if version++; version > maxVersion {
			return nil, ErrTooLong
		}
	}
	c := &Code{version: version, size: 17 + 4*version}
	c.dark = make([]bool, c.size*c.size)
	c.function = make([]bool, c.size*c.size)
	c.drawFunction()
	c.drawData(codewords(version, text))
	c.mask(c.bestMask())
	return c, nil
}

// Size is how many modules a side of the code has.
func (c *Code) Size() int { return c.size }

// Dark reports whether a module is dark; the code's surroundings are light.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.size && y < c.size && c.dark[y*c.size+x]
}

// quiet is the light border around a code, in modules.
const quiet = 4

// PNG draws the code with modules of scale by scale pixels.
func (c *Code) PNG(scale int) ([]byte, error) {
	side := (c.size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if c.Dark(x/scale-quiet, y/scale-quiet) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	var out bytes.Buffer
	err := png.Encode(&out, img)
	return out.Bytes(), err
}

func (c *Code) set(x, y int, dark bool) {
	c.dark[y*c.size+x] = dark
	c.function[y*c.size+x] = true
}

// drawFunction draws everything but the data and the mask's number.
func (c *Code) drawFunction() {
	for i := range c.size {
		c.set(6, i, i%2 == 0)
		c.set(i, 6, i%2 == 0)
	}
	c.drawFinder(3, 3)
	c.drawFinder(c.size-4, 3)
	c.drawFinder(3, c.size-4)
	at := alignments(c.version)
	last := len(at) - 1
	for i, x := range at {
		for j, y := range at {
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // a finder is there
			}
			for dy := -2; dy <= 2; dy++ {
				for dx := -2; dx <= 2; dx++ {
					c.set(x+dx, y+dy, max(abs(dx), abs(dy)) != 1)
				}
			}
		}
	}
	c.drawFormat(0) // reserves the place
	c.drawVersion()
}

// drawFinder draws a finder pattern around its middle, with its light border.
func (c *Code) drawFinder(x, y int) {
	for dy := -4; dy <= 4; dy++ {
		for dx := -4; dx <= 4; dx++ {
			if far := max(abs(dx), abs(dy)); x+dx >= 0 && x+dx < c.size && y+dy >= 0 && y+dy < c.size {
				c.set(x+dx, y+dy, far != 2 && far != 4)
			}
		}
	}
}

// drawFormat draws error correction level M and a mask's number, twice.
func (c *Code) drawFormat(mask int) {
	// Level M is 00. The ten bits behind the five are their remainder by a
	// BCH code.
	bits := (mask<<10 | remainder(mask, 10, 0x537)) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 == 1 }
	for i := range 6 {
		c.set(8, i, bit(i))
		c.set(5-i, 8, bit(9+i))
	}
	c.set(8, 7, bit(6))
	c.set(8, 8, bit(7))
	c.set(7, 8, bit(8))
	for i := range 8 {
		c.set(c.size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		c.set(8, c.size-15+i, bit(i))
	}
	c.set(8, c.size-8, true)
}

// drawVersion draws the version, twice, in the codes that carry it.
func (c *Code) drawVersion() {
	if c.version < 7 {
		return
	}
	bits := c.version<<12 | remainder(c.version, 12, 0x1f25)
	for i := range 18 {
		dark := bits>>i&1 == 1
		c.set(c.size-11+i%3, i/3, dark)
		c.set(i/3, c.size-11+i%3, dark)
	}
}

// remainder is what a value, followed by n zero bits, leaves when it is
// divided by a polynomial of degree n over GF(2).
func remainder(value, n, by int) int {
	rest := value
	for range n {
		rest = rest<<1 ^ rest>>(n-1)*by
	}
	return rest
}

// drawData fills the code with the bits of the codewords: in columns of two,
// from the right, up and down by turns.
func (c *Code) drawData(data []byte) {
	next := 0
	for right := c.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5 // the timing pattern has this column
		}
		up := (right+1)&2 == 0
		for step := range c.size {
			y := step
			if up {
				y = c.size - 1 - step
			}
			for _, x := range [2]int{right, right - 1} {
				if at := y*c.size + x; !c.function[at] && next < 8*len(data) {
					c.dark[at] = data[next/8]>>(7-next%8)&1 == 1
					next++
				}
			}
		}
	}
}

// masks say which modules a mask turns over.
var masks = [8]func(x, y int) bool{
	func(x, y int) bool { return (x+y)%2 == 0 },
	func(_, y int) bool { return y%2 == 0 },
	func(x, _ int) bool { return x%3 == 0 },
	func(x, y int) bool { return (x+y)%3 == 0 },
	func(x, y int) bool { return (x/3+y/2)%2 == 0 },
	func(x, y int) bool { return x*y%2+x*y%3 == 0 },
	func(x, y int) bool { return (x*y%2+x*y%3)%2 == 0 },
	func(x, y int) bool { return ((x+y)%2+x*y%3)%2 == 0 },
}

// mask turns the data modules over that a mask chooses, and notes its number.
// A second time undoes it, but for the number.
func (c *Code) mask(number int) {
	for y := range c.size {
		for x := range c.size {
			if at := y*c.size + x; !c.function[at] && masks[number](x, y) {
				c.dark[at] = !c.dark[at]
			}
		}
	}
	c.drawFormat(number)
}

// bestMask is the mask under which the code is easiest to read.
func (c *Code) bestMask() int {
	best, least := 0, -1
	for number := range masks {
		c.mask(number)
		if p := c.penalty(); least < 0 || p < least {
			best, least = number, p
		}
		c.mask(number)
	}
	return best
}

// penalty counts what readers stumble over: runs of one colour, blocks, what
// looks like a finder pattern, and too much of one colour.
func (c *Code) penalty() int {
	sum, dark := 0, 0
	for i := range c.size {
		sum += c.penaltyOf(func(j int) bool { return c.Dark(j, i) })
		sum += c.penaltyOf(func(j int) bool { return c.Dark(i, j) })
		for j := range c.size {
			d := c.Dark(j, i)
			if d {
				dark++
			}
			if i > 0 && j > 0 && d == c.Dark(j-1, i) && d == c.Dark(j, i-1) && d == c.Dark(j-1, i-1) {
				sum += 3
			}
		}
	}
	return sum + abs(dark*20-c.size*c.size*10)/(c.size*c.size)*10
}

// penaltyOf is the penalty of one row or column.
func (c *Code) penaltyOf(dark func(int) bool) int {
	sum, run, last := 0, 0, 0
	for j := range c.size {
		if run++; j == 0 || dark(j) != dark(j-1) {
			run = 1
		}
		if run == 5 {
			sum += 3
		} else if run > 5 {
			sum++
		}
		last = last << 1 & 0x7ff
		if dark(j) {
			last |= 1
		}
		if j >= 10 && (last == 0b10111010000 || last == 0b00001011101) {
			sum += 40
		}
	}
	return sum
}

func abs(n int) int { return max(n, -n) }
