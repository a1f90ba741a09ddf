package policy

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Carried is a context key that a request could have carried.
type Carried struct {
	Key   string // as AWS's documentation spells it
	Value string
}

// Carry returns what a refused request itself would have had to carry to be
// allowed, the policies being as they are: MFA, TLS, an encryption header, an
// external id. nil means that nothing a caller can choose would have helped,
// or that d is no refusal. Of several ways the one with the fewest keys is
// returned.
func Carry(set *Set, r *Request, d Decision) []Carried {
	if d.Effect == Allow {
		return nil
	}
	if set == nil {
		set = nobody
	}
	choices := choose(set, r)
	for _, c := range choices {
		if allowedWith(set, r, c) {
			return []Carried{c}
		}
	}
	for i, a := range choices {
		for _, b := range choices[i+1:] {
			if !strings.EqualFold(a.Key, b.Key) && allowedWith(set, r, a, b) {
				return []Carried{a, b}
			}
		}
	}
	return nil
}

// maxChoices bounds what is tried: pairs are tried, too.
const maxChoices = 12

// choose lists the values of keys that a caller chooses, and that statements
// about the request ask for.
func choose(set *Set, r *Request) []Carried {
	var j judge
	j.begin(r, nil)
	j.narrowed = len(set.Boundary) > 0
	var out []Carried
	add := func(k *key, value string) {
		c := Carried{spelling(k.spelled), value}
		have, _ := j.ctx.Lookup(k.name)
		if len(out) < maxChoices && !slices.Contains(out, c) && !slices.Equal(have, []string{value}) {
			out = append(out, c)
		}
	}
	for _, s := range everySource(set, r) {
		for i := range s.Doc.Len() {
			st := &s.Doc.statements[i]
			if !j.concerns(st) {
				continue
			}
			for k := range st.conditions {
				c := &st.conditions[k]
				if !chosen(c.key.name, &r.Principal) {
					continue
				}
				for _, v := range c.wanted() {
					add(c.key, v)
				}
			}
		}
	}
	return out
}

// wanted are values that may make a condition hold, or stop it from holding.
func (c *condition) wanted() []string {
	switch c.op.family {
	case boolFamily:
		if c.truths[0] && !c.truths[1] || c.truths[1] && !c.truths[0] {
			return []string{"true"} // nobody has to lack TLS or MFA
		}
	case stringFamily, arnFamily:
		var out []string
		for i := range c.patterns {
			if p := &c.patterns[i]; p.form == literal && p.text != "" {
				out = append(out, p.text)
			}
		}
		return out
	}
	return nil
}

// chosen reports whether a key is about how a caller makes a request, rather
// than about what it asks for, who it is or whence it comes.
func chosen(name string, p *aws.Principal) bool {
	switch name {
	case "aws:multifactorauthpresent":
		return p.Kind == aws.User || p.Kind == aws.Session
	case "aws:securetransport":
		return p.Kind != aws.Service
	case "sts:externalid", "sts:sourceidentity", "s3:if-none-match":
		return true
	}
	for _, prefix := range [...]string{"s3:x-amz-", "aws:requesttag/", "kms:encryptioncontext:"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// everySource lists all policies that a request is put to.
func everySource(set *Set, r *Request) []Source {
	out := slices.Concat(set.Identity, set.Boundary, set.Session)
	if r.Policy != nil {
		out = append(out, *r.Policy)
	}
	return append(append(out, slices.Concat(set.SCPs...)...), slices.Concat(r.RCPs...)...)
}

func allowedWith(set *Set, r *Request, more ...Carried) bool {
	with := *r
	add := carrying{Keys{}, r.Context}
	for _, c := range more {
		add.keys[lower(c.Key)] = []string{c.Value}
	}
	with.Context = add
	return Decide(set, &with) == Allow
}

// carrying is a context with more keys.
type carrying struct {
	keys   Keys
	before Context
}

func (c carrying) Lookup(name string) ([]string, bool) {
	if v, ok := c.keys[name]; ok {
		return v, true
	}
	if c.before == nil {
		return nil, false
	}
	return c.before.Lookup(name)
}
