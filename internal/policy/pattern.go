package policy

import (
	"slices"
	"strings"
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
	text     string // without variables
	form     form
	template *template // with variables
}

type form int8

const (
	literal  form = iota
	prefix        // literal, then anyRun at the end
	anything      // anyRun alone
	general
	templated // has variables
)

// template is a text with variables.
type template struct {
	head  string // the literal text that everything it matches begins with
	parts []part
	// plain says that there are no wildcards but for a run at the end: it is
	// then compared in place.
	plain bool
	slot  uint8 // where a judge remembers whether it matches
}

// part is a piece of a template: text, or a variable.
type part struct {
	text       string // compiled; for a variable its default
	variable   *key   // nil means text
	hasDefault bool
	open       bool // ends with a run, and so does the template
}

// key is the name of a context key.
type key struct {
	name    string // in lower case
	spelled string // as the policy has it
	slot    uint8  // where a judge remembers its values
}

func newKey(spelled string) *key {
	k := &key{name: strings.ToLower(spelled), spelled: spelled}
	for i := range len(k.name) {
		k.slot = k.slot*31 + k.name[i]
	}
	k.slot %= slots
	return k
}

// syntax says what is special in a text.
type syntax struct {
	wildcards bool
	variables bool
	// segments makes wildcards mind the colons of an ARN's first five
	// components; strict lets none of them cross, otherwise a "*" that ends
	// its component may, as AWS documents for Resource.
	segments, strict bool
}

// compile turns a text into a pattern.
func compile(text string, s syntax) pattern {
	if (!s.wildcards || strings.IndexByte(text, '*') < 0 && strings.IndexByte(text, '?') < 0) && (!s.variables || !strings.Contains(text, "${")) {
		return pattern{text: text}
	}
	c := compiler{syntax: s, text: text}
	c.out.Grow(len(text))
	for c.pos < len(text) {
		if s.variables && strings.HasPrefix(text[c.pos:], "${") && c.variable() {
			continue
		}
		c.char()
	}
	c.flush()
	return c.pattern()
}

// compileAction turns an action into a pattern that is compared with actions
// in lower case.
func compileAction(text string) pattern { return compile(lower(text), syntax{wildcards: true}) }

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
	name, def, hasDefault := strings.Cut(body, ",")
	name = strings.TrimSpace(name)
	if name == "" || strings.ContainsAny(name, "{$") {
		return part{}, false
	}
	if hasDefault {
		def = strings.TrimSpace(def)
		if len(def) < 2 || def[0] != '\'' || def[len(def)-1] != '\'' {
			return part{}, false
		}
		def = def[1 : len(def)-1]
	}
	return part{variable: newKey(name), text: def, hasDefault: hasDefault}, true
}

func (c *compiler) flush() {
	if c.out.Len() > 0 {
		c.parts = append(c.parts, part{text: c.out.String()})
		c.out.Reset()
	}
}

func (c *compiler) pattern() pattern {
	if slices.ContainsFunc(c.parts, func(p part) bool { return p.variable != nil }) {
		return pattern{form: templated, template: newTemplate(c.parts)}
	}
	p := pattern{form: general}
	if len(c.parts) > 0 {
		p.text = c.parts[0].text // only variables divide a text
	}
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

func newTemplate(parts []part) *template {
	t := &template{parts: parts, plain: true}
	if parts[0].variable == nil {
		t.head = parts[0].text
		if i := firstWildcard(t.head); i >= 0 {
			t.head = t.head[:i]
		}
	}
	for i := range parts {
		p := &parts[i]
		if p.variable != nil {
			continue
		}
		w := firstWildcard(p.text)
		p.open = w >= 0 && w == len(p.text)-1 && p.text[w] == anyRun && i == len(parts)-1
		t.plain = t.plain && (w < 0 || p.open)
	}
	return t
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
// up by the judge; where one has no value, nothing matches.
func (p *pattern) match(s string, j *judge) bool {
	switch p.form {
	case anything:
		return true
	case literal:
		return s == p.text
	case prefix:
		return begins(s, p.text)
	case templated:
		return p.template.match(s, j)
	}
	return glob(p.text, s)
}

// resolved reports whether all variables have values. An element with one that
// has none says nothing, also where it is negated: "any attempt to match it
// fails and causes the statement to be invalid" (IAM User Guide, Variables).
func (p *pattern) resolved(j *judge) bool {
	if p.form != templated {
		return true
	}
	for i := range p.template.parts {
		if _, ok := p.template.parts[i].value(j); !ok {
			return false
		}
	}
	return true
}

func allResolved(patterns []pattern, j *judge) bool {
	for i := range patterns {
		if !patterns[i].resolved(j) {
			return false
		}
	}
	return true
}

// begins is strings.HasPrefix that looks at the last byte first: ARNs begin
// alike.
func begins(s, p string) bool {
	n := len(p)
	return n <= len(s) && (n == 0 || s[n-1] == p[n-1] && s[:n] == p)
}

// matchAction compares an action in lower case.
func (p *pattern) matchAction(action []byte) bool {
	switch p.form {
	case anything:
		return true
	case literal:
		return string(action) == p.text
	case prefix:
		return len(action) >= len(p.text) && string(action[:len(p.text)]) == p.text
	}
	return glob(p.text, action)
}

// match compares s. What cannot match is told from the head alone, before any
// variable is looked up.
func (t *template) match(s string, j *judge) bool {
	if !begins(s, t.head) {
		return false
	}
	if !t.plain {
		var buf [256]byte
		text, ok := expand(buf[:0], t.parts, j)
		return ok && glob(text, s)
	}
	rest := t.parts
	if rest[0].variable == nil {
		s, rest = s[len(t.head):], rest[1:]
	}
	for i := range rest {
		p := &rest[i]
		text, ok := p.value(j)
		if !ok {
			return false
		}
		if p.open {
			return strings.HasPrefix(s, text[:len(text)-1])
		}
		if !strings.HasPrefix(s, text) {
			return false
		}
		s = s[len(text):]
	}
	return s == ""
}

// value is the text of a part. A value from the request means itself: its
// wildcards are not special.
func (p *part) value(j *judge) (string, bool) {
	if p.variable == nil {
		return p.text, true
	}
	v := j.lookup(p.variable)
	switch {
	case v.ok:
		return v.text()
	case p.hasDefault:
		return p.text, true
	}
	j.unknown(p.variable)
	return "", false
}

// expand puts values in the place of variables.
func expand(buf []byte, parts []part, j *judge) ([]byte, bool) {
	for i := range parts {
		text, ok := parts[i].value(j)
		if !ok {
			return nil, false
		}
		buf = append(buf, text...)
	}
	return buf, true
}

// glob matches s against a compiled text in place. A failed match goes back
// to the last wildcard run; when that run may not cross the colon it meets,
// back to the last one that may. No earlier run can do better.
func glob[P, S string | []byte](p P, s S) bool {
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
				i = next(s, i)
				k++
				continue
			case c == s[i]:
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

// next returns where the character after the one at i begins.
func next[S string | []byte](s S, i int) int {
	for i++; i < len(s) && s[i]&0xc0 == 0x80; i++ {
	}
	return i
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
			return string(appendLower(nil, s))
		}
	}
	return s
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, lowerByte(s[i]))
	}
	return b
}
