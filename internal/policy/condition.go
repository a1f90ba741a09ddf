package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one key under one operator: all conditions of a statement have
// to hold.
type condition struct {
	op       operator
	set      quantifier
	ifExists bool
	key      string // in lower case
	values   []value
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
	negated bool
	compare func(order int) bool // for numbers and dates
	fold    bool                 // for strings
	like    bool                 // for strings: wildcards are special
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

func equal(o int) bool        { return o == 0 }
func less(o int) bool         { return o < 0 }
func lessEqual(o int) bool    { return o <= 0 }
func greater(o int) bool      { return o > 0 }
func greaterEqual(o int) bool { return o >= 0 }

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

func ordered(f family, relation string) (operator, bool) {
	op := operator{family: f}
	switch relation {
	case "equals":
		op.compare = equal
	case "notequals":
		op.compare, op.negated = equal, true
	case "lessthan":
		op.compare = less
	case "lessthanequals":
		op.compare = lessEqual
	case "greaterthan":
		op.compare = greater
	case "greaterthanequals":
		op.compare = greaterEqual
	default:
		return operator{}, false
	}
	return op, true
}

// parseOperator reads an operator with its qualifiers, such as
// ForAnyValue:StringLikeIfExists, into a condition without key and values.
func parseOperator(name string) (condition, bool) {
	var c condition
	name = lower(name)
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

// value is a compiled value of a policy's condition; the operator's family
// says which field holds it.
type value struct {
	pattern pattern
	number  float64
	time    time.Time
	truth   bool
	bytes   []byte
	network netip.Prefix
}

// compileValue reads a value as the operator wants it.
func compileValue(op operator, text string, variables bool) (value, bool) {
	var v value
	ok := true
	switch op.family {
	case stringFamily:
		v.pattern = compile(text, syntax{wildcards: op.like, variables: variables})
	case arnFamily:
		v.pattern = compile(text, syntax{wildcards: true, variables: variables, segments: true, strict: true})
	case numericFamily:
		v.number, ok = parseNumber(text)
	case dateFamily:
		v.time, ok = parseTime(text)
	case boolFamily, nullFamily:
		v.truth, ok = parseBool(text)
	case binaryFamily:
		b, err := base64.StdEncoding.DecodeString(text)
		v.bytes, ok = b, err == nil
	case ipFamily:
		v.network, ok = parseNetwork(text)
	}
	return v, ok
}

// holds reports whether the condition is met.
func (c *condition) holds(j *judge) bool {
	values, present := j.ctx.Lookup(c.key)
	present = present && len(values) > 0
	if c.op.family == nullFamily {
		return slices.ContainsFunc(c.values, func(v value) bool { return v.truth != present })
	}
	if !present {
		j.missing(c.key)
		return c.ifExists || c.set == forAll || c.set == single && c.op.negated
	}
	switch {
	case c.set == forAll && allEmpty(values):
		return true // a set that resolves to nothing
	case c.set == forAll, c.set == single && c.op.negated:
		for _, v := range values {
			if c.meets(v, j.ctx) == c.op.negated {
				return false
			}
		}
		return true
	}
	for _, v := range values {
		if c.meets(v, j.ctx) != c.op.negated {
			return true
		}
	}
	return false
}

func allEmpty(values []string) bool {
	for _, v := range values {
		if v != "" {
			return false
		}
	}
	return true
}

// meets reports whether a value of the request matches one of the policy's,
// leaving negation aside.
func (c *condition) meets(text string, ctx Context) bool {
	switch c.op.family {
	case stringFamily:
		return c.meetsString(text, ctx)
	case arnFamily:
		if !strings.HasPrefix(text, "arn:") || strings.Count(text, ":") < 5 {
			return false
		}
		return c.meetsString(text, ctx)
	case numericFamily:
		n, ok := parseNumber(text)
		return ok && slices.ContainsFunc(c.values, func(v value) bool { return c.op.compare(compareNumbers(n, v.number)) })
	case dateFamily:
		t, ok := parseTime(text)
		return ok && slices.ContainsFunc(c.values, func(v value) bool { return c.op.compare(t.Compare(v.time)) })
	case boolFamily:
		b, ok := parseBool(text)
		return ok && slices.ContainsFunc(c.values, func(v value) bool { return v.truth == b })
	case binaryFamily:
		b, err := base64.StdEncoding.DecodeString(text)
		return err == nil && slices.ContainsFunc(c.values, func(v value) bool { return bytes.Equal(v.bytes, b) })
	case ipFamily:
		a, err := netip.ParseAddr(text)
		return err == nil && slices.ContainsFunc(c.values, func(v value) bool { return v.network.Contains(a.Unmap()) })
	}
	return false
}

func (c *condition) meetsString(text string, ctx Context) bool {
	for i := range c.values {
		p := &c.values[i].pattern
		if c.op.fold && p.equalFold(text, ctx) || !c.op.fold && p.match(text, false, ctx) {
			return true
		}
	}
	return false
}

// equalFold compares without regard to case; the pattern has no wildcards.
func (p *pattern) equalFold(s string, ctx Context) bool {
	if p.form != template {
		return strings.EqualFold(p.text, s)
	}
	text, ok := expand(nil, p.parts, ctx)
	return ok && strings.EqualFold(string(text), s)
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
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// parseTime reads the W3C profile of ISO 8601 that AWS takes, or seconds
// since the epoch.
func parseTime(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) != 4 {
		return time.Unix(n, 0), true
	}
	layouts := [...]string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006", "2006-01-02T15:04:05Z0700"}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
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
