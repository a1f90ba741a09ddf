package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// condition is one key under one operator: all conditions of a statement have
// to hold. The operator's family says which of the lists holds the values.
type condition struct {
	op       operator
	set      quantifier
	ifExists bool
	key      *key

	patterns []pattern
	numbers  []float64
	times    []time.Time
	networks []netip.Prefix
	binaries [][]byte
	truths   [2]bool // which of false and true are listed
}

// quantifier is the set qualifier before an operator.
type quantifier int8

const (
	single quantifier = iota
	forAll
	forAny
)

// operator is what a condition operator's name stands for.
type operator struct {
	family family
	// negated turns the answer: none of the values may match.
	negated  bool
	relation relation // for numbers and dates
	fold     bool     // for strings
	like     bool     // for strings: wildcards are special
}

type family int8

const (
	stringFamily family = iota
	numericFamily
	dateFamily
	boolFamily
	binaryFamily
	ipFamily
	arnFamily
	nullFamily
)

// relation is how two values that have an order have to stand.
type relation int8

const (
	equal relation = iota
	less
	lessEqual
	greater
	greaterEqual
)

func (r relation) holds(order int) bool {
	switch r {
	case less:
		return order < 0
	case lessEqual:
		return order <= 0
	case greater:
		return order > 0
	case greaterEqual:
		return order >= 0
	}
	return order == 0
}

// operatorNamed finds an operator by its name in lower case.
func operatorNamed(name string) (operator, bool) {
	switch name {
	case "stringequals":
		return operator{family: stringFamily}, true
	case "stringnotequals":
		return operator{family: stringFamily, negated: true}, true
	case "stringequalsignorecase":
		return operator{family: stringFamily, fold: true}, true
	case "stringnotequalsignorecase":
		return operator{family: stringFamily, fold: true, negated: true}, true
	case "stringlike":
		return operator{family: stringFamily, like: true}, true
	case "stringnotlike":
		return operator{family: stringFamily, like: true, negated: true}, true
	case "bool":
		return operator{family: boolFamily}, true
	case "binaryequals":
		return operator{family: binaryFamily}, true
	case "ipaddress":
		return operator{family: ipFamily}, true
	case "notipaddress":
		return operator{family: ipFamily, negated: true}, true
	case "arnequals", "arnlike":
		return operator{family: arnFamily}, true
	case "arnnotequals", "arnnotlike":
		return operator{family: arnFamily, negated: true}, true
	case "null":
		return operator{family: nullFamily}, true
	}
	if rest, ok := strings.CutPrefix(name, "numeric"); ok {
		return ordered(numericFamily, rest)
	}
	if rest, ok := strings.CutPrefix(name, "date"); ok {
		return ordered(dateFamily, rest)
	}
	return operator{}, false
}

func ordered(f family, name string) (operator, bool) {
	op := operator{family: f}
	switch name {
	case "equals":
	case "notequals":
		op.negated = true
	case "lessthan":
		op.relation = less
	case "lessthanequals":
		op.relation = lessEqual
	case "greaterthan":
		op.relation = greater
	case "greaterthanequals":
		op.relation = greaterEqual
	default:
		return operator{}, false
	}
	return op, true
}

// parseOperator reads an operator with its qualifiers in lower case, such as
// foranyvalue:stringlikeifexists, into a condition without key and values.
func parseOperator(name string) (condition, bool) {
	var c condition
	if rest, ok := strings.CutPrefix(name, "forallvalues:"); ok {
		c.set, name = forAll, rest
	} else if rest, ok := strings.CutPrefix(name, "foranyvalue:"); ok {
		c.set, name = forAny, rest
	}
	if rest, ok := strings.CutSuffix(name, "ifexists"); ok {
		c.ifExists, name = true, rest
	}
	op, ok := operatorNamed(name)
	if !ok || op.family == nullFamily && (c.ifExists || c.set != single) {
		return condition{}, false
	}
	c.op = op
	return c, true
}

// add compiles a value as the operator wants it.
func (c *condition) add(text string, variables bool) bool {
	switch c.op.family {
	case stringFamily:
		c.patterns = append(c.patterns, compile(text, syntax{wildcards: c.op.like, variables: variables}))
	case arnFamily:
		c.patterns = append(c.patterns, compile(text, syntax{wildcards: true, variables: variables, segments: true, strict: true}))
	case numericFamily:
		n, ok := parseNumber(text)
		c.numbers = append(c.numbers, n)
		return ok
	case dateFamily:
		t, ok := parseTime(text)
		c.times = append(c.times, t)
		return ok
	case boolFamily, nullFamily:
		b, ok := parseBool(text)
		c.truths[index(b)] = true
		return ok
	case binaryFamily:
		b, err := base64.StdEncoding.DecodeString(text)
		c.binaries = append(c.binaries, b)
		return err == nil
	case ipFamily:
		n, ok := parseNetwork(text)
		c.networks = append(c.networks, n)
		return ok
	}
	return true
}

// index is the place of a truth value in condition.truths.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// holds reports whether the condition is met.
func (c *condition) holds(j *judge) bool {
	v := j.lookup(c.key)
	present := v.ok && len(v.list) > 0
	if c.op.family == nullFamily {
		return c.truths[index(!present)]
	}
	if !present {
		j.unknown(c.key)
		return c.ifExists || c.set == forAll || c.set == single && c.op.negated
	}
	// Without a set operator a negated condition asks that no value matches,
	// and any other that one does. AWS leaves keys with several values open
	// here; this is what its simulator shows (unconfirmed).
	if c.set == forAll || c.set == single && c.op.negated {
		return c.set == forAll && allEmpty(v.list) || c.all(v.list, j)
	}
	return c.any(v.list, j)
}

func (c *condition) all(values []string, j *judge) bool {
	for _, v := range values {
		if !c.passes(v, j) {
			return false
		}
	}
	return true
}

func (c *condition) any(values []string, j *judge) bool {
	for _, v := range values {
		if c.passes(v, j) {
			return true
		}
	}
	return false
}

// allEmpty reports whether a set resolves to nothing, such as an empty text.
func allEmpty(values []string) bool {
	for _, v := range values {
		if v != "" {
			return false
		}
	}
	return true
}

// passes reports whether one value of the request is as the operator wants it:
// like one of the policy's, or for a negated operator like none.
func (c *condition) passes(text string, j *judge) bool {
	if c.meets(text, j) {
		return !c.op.negated
	}
	return c.op.negated && allResolved(c.patterns, j)
}

// meets reports whether a value of the request matches one of the policy's,
// leaving negation aside. A value that the operator cannot read matches none.
func (c *condition) meets(text string, j *judge) bool {
	switch c.op.family {
	case stringFamily:
		return c.meetsPattern(text, j)
	case arnFamily:
		return isARN(text) && c.meetsPattern(text, j)
	case numericFamily:
		return c.meetsNumber(text)
	case dateFamily:
		return c.meetsTime(text)
	case boolFamily:
		b, ok := parseBool(text)
		return ok && c.truths[index(b)]
	case binaryFamily:
		return c.meetsBinary(text)
	case ipFamily:
		return c.meetsAddress(text)
	}
	return false
}

// isARN reports whether a text has the six components of an ARN.
func isARN(text string) bool {
	return strings.HasPrefix(text, "arn:") && strings.Count(text, ":") >= 5
}

func (c *condition) meetsPattern(text string, j *judge) bool {
	for i := range c.patterns {
		p := &c.patterns[i]
		if c.op.fold && p.equalFold(text, j) || !c.op.fold && p.match(text, j) {
			return true
		}
	}
	return false
}

// equalFold compares without regard to case; the pattern has no wildcards.
func (p *pattern) equalFold(s string, j *judge) bool {
	if p.form != templated {
		return strings.EqualFold(p.text, s)
	}
	text, ok := expand(nil, p.template.parts, j)
	return ok && strings.EqualFold(string(text), s)
}

func (c *condition) meetsNumber(text string) bool {
	n, ok := parseNumber(text)
	if !ok {
		return false
	}
	for _, v := range c.numbers {
		if c.op.relation.holds(compareNumbers(n, v)) {
			return true
		}
	}
	return false
}

func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *condition) meetsTime(text string) bool {
	t, ok := parseTime(text)
	if !ok {
		return false
	}
	for _, v := range c.times {
		if c.op.relation.holds(t.Compare(v)) {
			return true
		}
	}
	return false
}

func (c *condition) meetsBinary(text string) bool {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	for _, v := range c.binaries {
		if bytes.Equal(v, b) {
			return true
		}
	}
	return false
}

func (c *condition) meetsAddress(text string) bool {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	a = a.Unmap()
	for i := range c.networks {
		if c.networks[i].Contains(a) {
			return true
		}
	}
	return false
}

// parseNumber reads a decimal number. Go's other notations are none to AWS.
func parseNumber(s string) (float64, bool) {
	for i := range len(s) {
		if strings.IndexByte("0123456789+-.eE", s[i]) < 0 {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func parseBool(s string) (value, ok bool) {
	switch {
	case s == "true", strings.EqualFold(s, "true"):
		return true, true
	case s == "false", strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}
