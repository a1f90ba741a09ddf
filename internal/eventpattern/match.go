package eventpattern

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Match parses an event and reports whether it matches. To match many
// patterns use ParseEvent and Matches.
func (p *Pattern) Match(event []byte) (bool, error) {
	e, err := ParseEvent(event)
	if err != nil {
		return false, err
	}
	return p.Matches(e), nil
}

// Matches reports whether an event matches the pattern.
func (p *Pattern) Matches(e *Event) bool {
	for i := range p.branches {
		if p.branches[i].matches(e) {
			return true
		}
	}
	return false
}

// match is one attempt at a branch.
type match struct {
	*branch
	done []bool // the leaves that the absence of their field has satisfied
}

func (b *branch) matches(e *Event) bool {
	var few [64]bool
	m := match{branch: b, done: few[:]}
	if len(b.leaves) > len(few) {
		m.done = make([]bool, len(b.leaves))
	}
	for _, i := range b.absent {
		m.done[i] = !e.root.has(b.leaves[i].path)
	}
	return m.object(b.root, &e.root)
}

// object reports whether everything below n matches in the object v.
func (m *match) object(n *node, v *value) bool {
	for _, kid := range n.kids {
		if !m.satisfied(kid) && !m.member(kid, v) {
			return false
		}
	}
	return true
}

func (m *match) member(n *node, v *value) bool {
	for i := range v.named(n.name) {
		if m.value(n, &i.value) {
			return true
		}
	}
	return false
}

func (m *match) value(n *node, v *value) bool {
	if n.leaf >= 0 && !m.done[n.leaf] && !anyScalar(m.leaves[n.leaf].any, v) {
		return false
	}
	for _, kid := range n.kids {
		if !m.satisfied(kid) {
			return m.anyObject(n, v)
		}
	}
	return true
}

// anyObject looks for an object in v, or in the array v, in which everything
// below n matches.
func (m *match) anyObject(n *node, v *value) bool {
	switch v.kind {
	case kObject:
		return m.object(n, v)
	case kArray:
		for i := range v.items {
			if m.anyObject(n, &v.items[i]) {
				return true
			}
		}
	}
	return false
}

// satisfied reports whether absence satisfied everything at and below n.
func (m *match) satisfied(n *node) bool {
	if n.leaf >= 0 && !m.done[n.leaf] {
		return false
	}
	for _, kid := range n.kids {
		if !m.satisfied(kid) {
			return false
		}
	}
	return true
}

// anyScalar reports whether one of the alternatives matches v, or an element
// of the array v.
func anyScalar(any []matcher, v *value) bool {
	switch v.kind {
	case kObject:
		return false
	case kArray:
		for i := range v.items {
			if anyScalar(any, &v.items[i]) {
				return true
			}
		}
		return false
	}
	for _, m := range any {
		if m.match(v) {
			return true
		}
	}
	return false
}

// matcher is one alternative of a leaf. v is neither object nor array.
type matcher interface{ match(v *value) bool }

// exact matches a string, or another spelling of the same IP address.
type exact struct {
	text string
	ip   netip.Addr
}

func newExact(text string) exact {
	ip, _ := parseIP(text)
	return exact{text, ip}
}

func (m exact) match(v *value) bool {
	if v.kind != kString {
		return false
	}
	if v.text == m.text {
		return true
	}
	if !m.ip.IsValid() {
		return false
	}
	ip, ok := parseIP(v.text)
	return ok && ip == m.ip
}

// parseIP reads an address that is written as one, without a zone.
func parseIP(s string) (netip.Addr, bool) {
	if len(s) < 2 || len(s) > 45 || strings.Trim(s, "0123456789abcdefABCDEF:.") != "" {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(s)
	return ip.Unmap(), err == nil
}

// number matches a number of the same value, however it is written.
type number struct{ decimal }

func (m number) match(v *value) bool {
	return v.kind == kNumber && parseDecimal(v.text).compare(m.decimal) == 0
}

// word matches true, false or null.
type word struct{ kind kind }

func (m word) match(v *value) bool { return v.kind == m.kind }

type present struct{}

func (present) match(*value) bool { return true }

// absent never matches a field that is there; branch.absent sees to it when
// it is not.
type absent struct{}

func (absent) match(*value) bool { return false }

// affix matches the beginning or the end of a string.
type affix struct {
	text               string
	suffix, ignoreCase bool
}

func newAffix(name, text string, ignoreCase bool) affix {
	return affix{text, name == "suffix", ignoreCase}
}

func (m affix) match(v *value) bool {
	switch {
	case v.kind != kString:
		return false
	case m.ignoreCase && m.suffix:
		return hasSuffixFold(v.text, m.text)
	case m.ignoreCase:
		return hasPrefixFold(v.text, m.text)
	case m.suffix:
		return strings.HasSuffix(v.text, m.text)
	}
	return strings.HasPrefix(v.text, m.text)
}

func hasPrefixFold(s, prefix string) bool {
	for prefix != "" {
		if s == "" {
			return false
		}
		a, n := utf8.DecodeRuneInString(s)
		b, k := utf8.DecodeRuneInString(prefix)
		if !sameFold(a, b) {
			return false
		}
		s, prefix = s[n:], prefix[k:]
	}
	return true
}

func hasSuffixFold(s, suffix string) bool {
	for suffix != "" {
		if s == "" {
			return false
		}
		a, n := utf8.DecodeLastRuneInString(s)
		b, k := utf8.DecodeLastRuneInString(suffix)
		if !sameFold(a, b) {
			return false
		}
		s, suffix = s[:len(s)-n], suffix[:len(suffix)-k]
	}
	return true
}

func sameFold(a, b rune) bool {
	if a == b {
		return true
	}
	for r := unicode.SimpleFold(a); r != a; r = unicode.SimpleFold(r) {
		if r == b {
			return true
		}
	}
	return false
}

// fold matches a string whatever its case.
type fold struct{ text string }

func (m fold) match(v *value) bool {
	return v.kind == kString && strings.EqualFold(v.text, m.text)
}

// wildcard matches its parts in order, with anything between them.
type wildcard struct{ parts []string }

func (m wildcard) match(v *value) bool {
	if v.kind != kString {
		return false
	}
	s, ok := strings.CutPrefix(v.text, m.parts[0])
	if len(m.parts) == 1 {
		return ok && s == ""
	}
	last := len(m.parts) - 1
	if !ok || !strings.HasSuffix(s, m.parts[last]) {
		return false
	}
	s = s[:len(s)-len(m.parts[last])]
	for _, part := range m.parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// cidr matches addresses from the first one to the end of its network.
type cidr struct {
	net   netip.Prefix
	first netip.Addr
}

func (m cidr) match(v *value) bool {
	if v.kind != kString {
		return false
	}
	ip, ok := parseIP(v.text)
	return ok && m.net.Contains(ip) && !ip.Less(m.first)
}

// half is one side of a numeric range.
type half struct {
	op    string
	bound decimal
}

// span matches numbers on the right side of all its bounds.
type span []half

func (m span) match(v *value) bool {
	if v.kind != kNumber {
		return false
	}
	d := parseDecimal(v.text)
	if outOfRange(d) {
		return false
	}
	for _, h := range m {
		if !h.holds(d.compare(h.bound)) {
			return false
		}
	}
	return true
}

func (h half) holds(c int) bool {
	switch h.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

// anythingBut matches what none of its values matches.
type anythingBut struct{ none []matcher }

func (m anythingBut) match(v *value) bool {
	for _, not := range m.none {
		if not.match(v) {
			return false
		}
	}
	return true
}
