package eventpattern

import "strings"

// decimal is a JSON number, exactly: ±0.ab × 10^exp, where a and b are runs
// of digits without zeros at the outer ends. Zero has no digits.
type decimal struct {
	neg  bool
	a, b string
	exp  int
}

// maxExponent bounds exponents; numbers beyond are of the same size for all
// purposes here.
const maxExponent = 1 << 30

// parseDecimal reads a number that is well-formed JSON. It does not allocate.
func parseDecimal(text string) decimal {
	var d decimal
	if strings.HasPrefix(text, "-") {
		d.neg, text = true, text[1:]
	}
	exp := 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exp = parseExponent(text[i+1:])
		text = text[:i]
	}
	d.a, d.b, _ = strings.Cut(text, ".")
	d.b = strings.TrimRight(d.b, "0")
	d.a = strings.TrimLeft(d.a, "0")
	d.exp = exp + len(d.a)
	if d.a == "" {
		rest := strings.TrimLeft(d.b, "0")
		d.exp -= len(d.b) - len(rest)
		d.b = rest
	}
	if d.b == "" {
		d.a = strings.TrimRight(d.a, "0")
	}
	if d.a == "" && d.b == "" {
		return decimal{}
	}
	return d
}

func parseExponent(s string) int {
	neg := strings.HasPrefix(s, "-")
	n := 0
	for _, c := range strings.TrimLeft(s, "+-") {
		n = min(n*10+int(c-'0'), maxExponent)
	}
	if neg {
		return -n
	}
	return n
}

func (d decimal) len() int { return len(d.a) + len(d.b) }

func (d decimal) digit(i int) byte {
	switch {
	case i < len(d.a):
		return d.a[i]
	case i < d.len():
		return d.b[i-len(d.a)]
	}
	return '0'
}

func (d decimal) sign() int {
	switch {
	case d.len() == 0:
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// compare returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d decimal) compare(e decimal) int {
	if d.sign() != e.sign() {
		return sign(d.sign() - e.sign())
	}
	return d.sign() * d.compareSize(e)
}

func (d decimal) compareSize(e decimal) int {
	if d.exp != e.exp {
		return sign(d.exp - e.exp)
	}
	for i := range max(d.len(), e.len()) {
		if x, y := d.digit(i), e.digit(i); x != y {
			return sign(int(x) - int(y))
		}
	}
	return 0
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
