package eventpattern

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// matchTypes are the names of match expressions.
var matchTypes = []string{
	"exact", "prefix", "suffix", "equals-ignore-case", "wildcard",
	"numeric", "cidr", "exists", "anything-but",
}

const oneKey = "Only one key allowed in match expression"

// alternatives reads the rest of a leaf array.
func (c *compiler) alternatives() []matcher {
	var out []matcher
	for {
		switch c.next() {
		case tArrayEnd:
			if len(out) == 0 {
				c.fail("Empty arrays are not allowed")
			}
			return out
		case tObject:
			out = append(out, c.expression())
		case tString:
			out = append(out, newExact(c.content()))
		case tNumber:
			out = append(out, number{parseDecimal(c.text)})
		case tTrue:
			out = append(out, word{kTrue})
		case tFalse:
			out = append(out, word{kFalse})
		case tNull:
			out = append(out, word{kNull})
		default:
			c.fail("Match value must be String, number, true, false, or null")
		}
	}
}

// expression reads a match expression whose object has been entered.
func (c *compiler) expression() matcher {
	if c.next() != tName {
		c.fail("Match expression name not found")
	}
	switch name := c.name; name {
	case "exact":
		return c.close(newExact(c.str("exact match")), oneKey)
	case "prefix", "suffix":
		return c.affix(name)
	case "equals-ignore-case":
		return c.close(fold{c.str("equals-ignore-case match")}, oneKey)
	case "wildcard":
		return c.close(c.wildcard(c.str("wildcard match")), oneKey)
	case "cidr":
		return c.close(parseCIDR(c.str("prefix match")), oneKey) // AWS's own wording
	case "exists":
		return c.exists()
	case "numeric":
		return c.numeric()
	case "anything-but":
		return c.anythingBut()
	default:
		c.fail("Unrecognized match type %s", name)
		return nil
	}
}

// str reads the string that is an expression's value.
func (c *compiler) str(what string) string {
	if c.next() != tString {
		c.fail("%s pattern must be a string", what)
	}
	return c.content()
}

// close reads the end of an expression's object.
func (c *compiler) close(m matcher, otherwise string) matcher {
	if c.next() != tObjectEnd {
		c.fail("%s", otherwise)
	}
	return m
}

func (c *compiler) affix(name string) matcher {
	ignoreCase := false
	switch c.next() {
	case tString:
	case tObject:
		title := strings.ToUpper(name[:1]) + name[1:]
		if c.next() != tName {
			c.fail("%s expression name not found", title)
		}
		if c.name != "equals-ignore-case" {
			c.fail("Unsupported %s pattern: %s", name, c.name)
		}
		if c.next() != tString {
			c.fail("equals-ignore-case match pattern must be a string")
		}
		ignoreCase = true
	default:
		c.fail("%s match pattern must be a string", name)
	}
	m := newAffix(name, c.content(), ignoreCase)
	if ignoreCase {
		c.close(m, oneKey)
	}
	return c.close(m, oneKey)
}

func (c *compiler) exists() matcher {
	var m matcher
	switch c.next() {
	case tTrue:
		m = present{}
	case tFalse:
		m = absent{}
	default:
		c.fail("exists match pattern must be either true or false.")
	}
	return c.close(m, oneKey)
}

// wildcard reads a pattern of * and backslash. AWS counts positions from the
// quote before the text.
func (c *compiler) wildcard(text string) wildcard {
	var parts []string
	var part []byte
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			if i+1 < len(text) && text[i+1] == '*' {
				c.fail("Consecutive wildcard characters at pos %d", i+1)
			}
			parts, part = append(parts, string(part)), nil
		case '\\':
			if i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\' {
				c.fail("Invalid escape character at pos %d", i+1)
			}
			i++
			part = append(part, text[i])
		default:
			part = append(part, text[i])
		}
	}
	return wildcard{append(parts, string(part))}
}

// parseCIDR reads an address with a mask. The refusals name no place, as on
// AWS, and the range begins with the address as given.
func parseCIDR(text string) matcher {
	address, mask, _ := strings.Cut(text, "/")
	if strings.Count(text, "/") != 1 || mask == "" {
		panic(broken{refusal("Malformed CIDR, one '/' required")})
	}
	bits, err := strconv.Atoi(mask)
	if err != nil {
		panic(broken{refusal("Malformed CIDR, mask bits must be an integer")})
	}
	if bits < 0 {
		panic(broken{refusal("Malformed CIDR, mask bits must not be negative")})
	}
	ip, ok := parseIP(address)
	switch {
	case !ok:
		panic(broken{refusal("Nonstandard IP address: " + address)})
	case ip.Is4() && bits > 31:
		panic(broken{refusal("IPv4 mask bits must be < 32")})
	case bits > 127:
		panic(broken{refusal("IPv6 mask bits must be < 128")})
	}
	return cidr{netip.PrefixFrom(ip, bits), ip}
}

// limit is the largest number that numeric matching allows.
var limit = parseDecimal("5e9")

// bound reads the number that is cur.
func (c *compiler) bound() decimal {
	d := parseDecimal(c.text)
	if outOfRange(d) {
		c.fail("Value must be between -5.0E9 and 5.0E9, inclusive")
	}
	return d
}

func outOfRange(d decimal) bool { return d.compareSize(limit) > 0 }

func (c *compiler) numeric() matcher {
	if c.next() != tArray {
		c.fail("Value of numeric must be an array.")
	}
	if c.next() != tString {
		c.fail("Invalid member in numeric match: %s", c.shown())
	}
	op := c.content()
	if !slices.Contains([]string{"=", ">", ">=", "<", "<="}, op) {
		c.next()
		c.fail("Unrecognized numeric range operator: %s", op)
	}
	if c.next() != tNumber {
		c.fail("Value of %s must be numeric", map[bool]string{true: "equals", false: op}[op == "="])
	}
	m := span{{op, c.bound()}}
	if c.next() != tArrayEnd {
		m = append(m, c.upper(op))
	}
	return c.close(m, "Too many elements in numeric expression")
}

// upper reads the second half of a range that began with op; cur is its first
// token.
func (c *compiler) upper(op string) half {
	if op[0] != '>' {
		c.fail("Too many elements in numeric expression")
	}
	if c.cur != tString {
		c.fail("Bad value in numeric range: %s", c.shown())
	}
	top := c.content()
	if top != "<" && top != "<=" {
		c.fail("Bad numeric range operator: %s", top)
	}
	if c.next() != tNumber {
		c.fail("Value of %s must be numeric", top)
	}
	h := half{top, c.bound()}
	if c.next() != tArrayEnd {
		c.fail("Too many terms in numeric range expression")
	}
	return h
}

// shown is the text of cur.
func (c *compiler) shown() string {
	switch c.cur {
	case tObject:
		return "{"
	case tObjectEnd:
		return "}"
	case tArray:
		return "["
	case tArrayEnd:
		return "]"
	}
	return c.content()
}

func (c *compiler) anythingBut() matcher {
	const tooMany = "Too many elements in numeric expression" // AWS's own wording
	kind := ""
	token := c.next()
	if token == tObject {
		if c.next() != tName {
			c.fail("Anything-But expression name not found")
		}
		kind = c.name
		if !slices.Contains([]string{"equals-ignore-case", "prefix", "suffix", "wildcard"}, kind) {
			c.fail("Unsupported anything-but pattern: %s", kind)
		}
		token = c.next()
	}
	if token != tArray && token != tString && token != tNumber {
		c.fail("Value of anything-but must be an array or single string/number value.")
	}
	m := c.excluded(kind, token)
	if kind != "" {
		c.close(m, tooMany)
	}
	return c.close(m, tooMany)
}

// excluded reads the value or list that anything-but leaves out.
func (c *compiler) excluded(kind string, token token) matcher {
	if token != tArray {
		return anythingBut{[]matcher{c.excludedValue(kind)}}
	}
	defer c.placeTwice()
	var out []matcher
	numbers := 0
	for c.next() != tArrayEnd {
		m := c.excludedValue(kind)
		if _, is := m.(number); is {
			numbers++
		}
		out = append(out, m)
	}
	if kind == "" && (numbers != 0 && numbers != len(out) || len(out) == 0) {
		panic(broken{refusal("Inside anything but list, either all values are number or string, mixed type is not supported" + c.place(c.pos))})
	}
	return anythingBut{out}
}

// placeTwice repeats the place in refusals from inside a list, as AWS does.
func (c *compiler) placeTwice() {
	e := recover()
	if e == nil {
		return
	}
	if b, ok := e.(broken); ok && !strings.Contains(b.err.Message, "mixed type") {
		b.err.Message += c.place(c.pos)
	}
	panic(e)
}

// excludedValue reads one value that anything-but leaves out; it is cur.
func (c *compiler) excludedValue(kind string) matcher {
	if kind == "" {
		switch c.cur {
		case tString:
			return newExact(c.content())
		case tNumber:
			return number{c.bound()}
		}
		c.fail("Inside anything but list, start|null|boolean is not supported.")
	}
	if c.cur != tString {
		c.fail("%s", map[string]string{
			"equals-ignore-case": "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
			"wildcard":           "wildcard match pattern must be a string",
			"prefix":             "prefix/suffix match pattern must be a string",
			"suffix":             "prefix/suffix match pattern must be a string",
		}[kind])
	}
	text := c.content()
	switch kind {
	case "equals-ignore-case":
		return fold{text}
	case "wildcard":
		return c.wildcard(text)
	}
	if text == "" {
		c.fail("Null prefix/suffix not allowed")
	}
	return newAffix(kind, text, false)
}
