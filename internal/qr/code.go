package qr

const maxVersion = 40

// Error correction of level M by version: codewords of a block, and blocks.
var (
	correction = [maxVersion + 1]int{0,
		10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
		26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28}
	blocks = [maxVersion + 1]int{0,
		1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
		17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49}
)

// alignments are the coordinates of the alignment patterns' middles.
func alignments(version int) []int {
	if version == 1 {
		return nil
	}
	n := version/7 + 2
	step := (version*8 + n*3 + 5) / (n*4 - 4) * 2
	at := make([]int, n)
	at[0] = 6
	for i := n - 1; i > 0; i-- {
		at[i] = version*4 + 10 - (n-1-i)*step
	}
	return at
}

// total is how many codewords a version holds.
func total(version int) int {
	size := 17 + 4*version
	modules := size*size - 3*64 - 31 - 2*(size-16) // finders, format, timing
	if n := len(alignments(version)); n > 0 {
		modules -= (n*n - 3) * 25
		modules += (n - 2) * 2 * 5 // these lie on the timing patterns
	}
	if version >= 7 {
		modules -= 36
	}
	return modules / 8
}

// room is how many codewords of data a version holds.
func room(version int) int { return total(version) - correction[version]*blocks[version] }

// capacity is how long a text may be.
func capacity(version int) int { return (room(version)*8 - 4 - lengthBits(version)) / 8 }

func lengthBits(version int) int {
	if version < 10 {
		return 8
	}
	return 16
}

// codewords are a text's data and error correction in the order in which the
// code holds them.
func codewords(version int, text string) []byte {
	data := encode(version, text)
	n, size := blocks[version], correction[version]
	short := total(version)/n - size // data of a short block
	longs := len(data) - short*n     // so many blocks at the end have one more
	parts := make([][]byte, n)       // data of each block
	checks := make([][]byte, n)      // its error correction
	divisor := generator(size)
	for i := range parts {
		end := short
		if i >= n-longs {
			end++
		}
		parts[i], data = data[:end], data[end:]
		checks[i] = divide(parts[i], divisor)
	}
	out := make([]byte, 0, total(version))
	for i := range short + 1 {
		for _, p := range parts {
			if i < len(p) {
				out = append(out, p[i])
			}
		}
	}
	for i := range size {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// encode writes a text in byte mode and fills the version's room.
func encode(version int, text string) []byte {
	out := make([]byte, room(version))
	at := 0
	write := func(value, bits int) {
		for i := bits - 1; i >= 0; i-- {
			out[at/8] |= byte(value >> i & 1 << (7 - at%8))
			at++
		}
	}
	write(0b0100, 4)
	write(len(text), lengthBits(version))
	for i := range len(text) {
		write(int(text[i]), 8)
	}
	for i, pad := (at+4+7)/8, byte(0xec); i < len(out); i++ { // after four zero bits
		out[i] = pad
		pad ^= 0xec ^ 0x11
	}
	return out
}

// generator is the Reed-Solomon polynomial of a degree, without its leading
// one, highest power first.
func generator(degree int) []byte {
	poly := make([]byte, degree)
	poly[degree-1] = 1
	root := byte(1)
	for range degree {
		for i := range poly {
			poly[i] = multiply(poly[i], root)
			if i+1 < degree {
				poly[i] ^= poly[i+1]
			}
		}
		root = multiply(root, 2)
	}
	return poly
}

// divide is the remainder of data by a generator: its error correction.
func divide(data, generator []byte) []byte {
	rest := make([]byte, len(generator))
	for _, b := range data {
		factor := b ^ rest[0]
		copy(rest, rest[1:])
		rest[len(rest)-1] = 0
		for i, g := range generator {
			rest[i] ^= multiply(g, factor)
		}
	}
	return rest
}

// multiply multiplies in GF(256) modulo x⁸+x⁴+x³+x²+1.
func multiply(a, b byte) byte {
	var product int
	for i := 7; i >= 0; i-- {
		product = product<<1 ^ product>>7*0x11d
		product ^= int(b>>i&1) * int(a)
	}
	return byte(product)
}
