package policy

import (
	"strings"
	"unicode/utf8"
)

// Wildcards stand in a compiled pattern as bytes that never occur in UTF-8,
// so that every other byte means itself.
const (
	anyRun     = '\xff' // any run of characters
	segmentRun = '\xfd' // any run without a colon
	anyOne     = '\xfe' // one character
	segmentOne = '\xfc' // one character, not a colon
)

// pattern is a compiled text with wildcards and variables.
type pattern struct {
	text  string // without variables
	form  form
	parts []part // with variables
}

type form int8

const (
	literal  form = iota
	prefix        // literal, then anyRun at the end
	anything      // anyRun alone
	general
	template // has variables
)

// part is a piece of a template: text, or a variable.
type part struct {
	text       string // compiled; for a variable its default
	variable   string // key in lower case; empty means text
	hasDefault bool
}

// syntax says what is special in a text.
type syntax struct {
	wildcards bool
	variables bool
	// segments makes wildcards mind the colons of an ARN's first five
	// components; strict lets none of them cross, otherwise a "*" that ends
	// its component may, as AWS documents for Resource.
	segments, strict bool
	// lower folds ASCII letters, for case-insensitive matching.
	lower bool
}

// compile turns a text into a pattern.
func compile(text string, s syntax) pattern {
	if s.lower {
		text = lower(text)
	}
	c := compiler{syntax: s, text: text}
	for c.pos < len(text) {
		if s.variables && strings.HasPrefix(text[c.pos:], "${") && c.variable() {
			continue
		}
		c.char()
	}
	c.flush()
	return c.pattern()
}

type compiler struct {
	syntax
	text   string
	pos    int
	colons int
	out    strings.Builder
	parts  []part
}

func (c *compiler) char() {
	b := c.text[c.pos]
	c.pos++
	inSegment := c.segments && c.colons < 5
	last := c.pos == len(c.text) || c.text[c.pos] == ':'
	switch {
	case b == '*' && c.wildcards && inSegment && len(c.text) > 1 && (c.strict || !last):
		b = segmentRun
	case b == '*' && c.wildcards:
		b = anyRun
	case b == '?' && c.wildcards && inSegment:
		b = segmentOne
	case b == '?' && c.wildcards:
		b = anyOne
	case b == ':':
		c.colons++
	}
	c.out.WriteByte(b)
}

// variable reads ${key}, ${key, 'default'} or one of the escapes ${*}, ${?}
// and ${$}. It reports false, consuming nothing, when the text is none of
// them; the text then means itself. So does a variable in the first five
// components of an ARN, where AWS replaces none.
func (c *compiler) variable() bool {
	end := strings.IndexByte(c.text[c.pos:], '}')
	if end < 0 {
		return false
	}
	body := c.text[c.pos+2 : c.pos+end]
	switch body {
	case "*", "?", "$":
		c.out.WriteString(body)
		c.pos += end + 1
		return true
	}
	if c.segments && !c.strict && c.colons < 5 {
		return false
	}
	p, ok := parseVariable(body)
	if !ok {
		return false
	}
	c.flush()
	c.parts = append(c.parts, p)
	c.pos += end + 1
	return true
}

func parseVariable(body string) (part, bool) {
	key, def, hasDefault := strings.Cut(body, ",")
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsAny(key, "{$") {
		return part{}, false
	}
	if hasDefault {
		def = strings.TrimSpace(def)
		if len(def) < 2 || def[0] != '\'' || def[len(def)-1] != '\'' {
			return part{}, false
		}
		def = def[1 : len(def)-1]
	}
	return part{variable: strings.ToLower(key), text: def, hasDefault: hasDefault}, true
}

func (c *compiler) flush() {
	if c.out.Len() > 0 {
		c.parts = append(c.parts, part{text: c.out.String()})
		c.out.Reset()
	}
}

func (c *compiler) pattern() pattern {
	var text strings.Builder
	for _, p := range c.parts {
		if p.variable != "" {
			return pattern{form: template, parts: c.parts}
		}
		text.WriteString(p.text)
	}
	p := pattern{text: text.String(), form: general}
	i := firstWildcard(p.text)
	switch {
	case i < 0:
		p.form = literal
	case p.text[i] == anyRun && len(p.text) == 1:
		p.form = anything
	case p.text[i] == anyRun && i == len(p.text)-1:
		p.form = prefix
		p.text = p.text[:i]
	}
	return p
}

// firstWildcard returns the place of the first wildcard in a compiled text.
func firstWildcard(s string) int {
	for i := range len(s) {
		if s[i] >= segmentOne {
			return i
		}
	}
	return -1
}

// match reports whether s is what the pattern describes. Variables are looked
// up in ctx; when one has no value, nothing matches.
func (p *pattern) match(s string, fold bool, ctx Context) bool {
	switch p.form {
	case anything:
		return true
	case literal:
		return len(s) == len(p.text) && hasPrefix(s, p.text, fold)
	case prefix:
		return hasPrefix(s, p.text, fold)
	case template:
		var buf [256]byte
		text, ok := expand(buf[:0], p.parts, ctx)
		return ok && glob(text, s, fold)
	}
	return glob(p.text, s, fold)
}

// expand puts values in the place of variables. A value means itself: its
// wildcards are not special.
func expand(buf []byte, parts []part, ctx Context) ([]byte, bool) {
	for i := range parts {
		p := &parts[i]
		if p.variable == "" {
			buf = append(buf, p.text...)
			continue
		}
		values, ok := ctx.Lookup(p.variable)
		switch {
		case ok && len(values) == 1 && firstWildcard(values[0]) < 0:
			buf = append(buf, values[0]...)
		case !ok && p.hasDefault:
			buf = append(buf, p.text...)
		default:
			return nil, false
		}
	}
	return buf, true
}

// hasPrefix reports whether s begins with the compiled text p.
func hasPrefix(s, p string, fold bool) bool {
	if len(s) < len(p) {
		return false
	}
	if !fold {
		return s[:len(p)] == p
	}
	for i := range len(p) {
		if lowerByte(s[i]) != p[i] {
			return false
		}
	}
	return true
}

// glob matches s against a compiled text in place. A failed match goes back
// to the last wildcard run; when that run may not cross the colon it meets,
// back to the last one that may. No earlier run can do better.
func glob[P string | []byte](p P, s string, fold bool) bool {
	k, i := 0, 0
	wide, narrow := -1, -1 // places of the last runs in p
	wideAt, narrowAt := 0, 0
	for i < len(s) || k < len(p) {
		if k < len(p) {
			switch c := p[k]; {
			case c == anyRun:
				wide, wideAt, narrow = k, i, -1
				k++
				continue
			case c == segmentRun:
				narrow, narrowAt = k, i
				k++
				continue
			case i == len(s):
			case c == anyOne || c == segmentOne && s[i] != ':':
				_, size := utf8.DecodeRuneInString(s[i:])
				i += size
				k++
				continue
			case c == s[i] || fold && c == lowerByte(s[i]):
				i++
				k++
				continue
			}
		}
		switch {
		case narrow >= 0 && narrowAt < len(s) && s[narrowAt] != ':':
			narrowAt++
			k, i = narrow+1, narrowAt
		case wide >= 0 && wideAt < len(s):
			wideAt++
			k, i, narrow = wide+1, wideAt, -1
		default:
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lower folds ASCII letters, which is all that actions and keys are made of.
func lower(s string) string {
	for i := range len(s) {
		if s[i] != lowerByte(s[i]) {
			b := []byte(s)
			for k := range b {
				b[k] = lowerByte(b[k])
			}
			return string(b)
		}
	}
	return s
}
