package eventpattern

import (
	"slices"
	"strings"
)

// maxBranches is how many combinations the $or parts of a pattern may have.
const maxBranches = 1000

// Pattern is a parsed event pattern. It never changes.
type Pattern struct {
	branches []branch
}

// branch is one way to match: all of its leaves must.
type branch struct {
	leaves []leaf
	root   *node
	absent []int // the leaves that the absence of their field satisfies
}

// leaf is a path with its alternatives.
type leaf struct {
	path []string
	any  []matcher
}

// node is a level of a branch's leaves, as a tree.
type node struct {
	name string
	kids []*node
	leaf int // index in branch.leaves; -1 for none
}

// Parse reads a pattern. Its refusals are EventBridge's
// InvalidEventPatternException.
func Parse(text string) (p *Pattern, err error) {
	defer func() {
		if e := recover(); e != nil {
			b, ok := e.(broken)
			if !ok {
				panic(e)
			}
			p, err = nil, b.err
		}
	}()
	c := compiler{scanner{src: text}}
	return c.pattern(), nil
}

// compiler turns the text into branches.
type compiler struct{ scanner }

func (c *compiler) pattern() *Pattern {
	if c.next() != tObject {
		c.fail("Filter is not an object")
	}
	found := c.object(nil, nil)
	if c.next() != tEnd {
		c.fail("Unexpected content after the pattern")
	}
	p := &Pattern{branches: make([]branch, 0, len(found))}
	for _, leaves := range found {
		p.branches = append(p.branches, newBranch(leaves))
	}
	return p
}

// object reads the fields of an object that has been entered. so holds the
// branches read up to here, each a list of leaves.
func (c *compiler) object(so [][]leaf, path []string) [][]leaf {
	filled := false
	for c.next() != tObjectEnd {
		filled = true
		name := c.name
		if name == "$or" && c.isOr() {
			so = c.or(so, path)
			continue
		}
		below := append(slices.Clip(path), name)
		switch c.next() {
		case tObject:
			so = c.object(so, below)
		case tArray:
			so = addLeaf(so, leaf{split(below), c.alternatives()})
		default:
			c.fail("\"%s\" must be an object or an array", name)
		}
	}
	if !filled {
		c.fail("Empty objects are not allowed")
	}
	return so
}

// isOr looks ahead: $or is an operator only before an array of at least two
// objects that have fields, none of which is the name of a match type.
// Otherwise it is a field like any other.
func (c *compiler) isOr() (is bool) {
	probe := compiler{c.scanner}
	probe.stack = slices.Clone(c.stack)
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(broken); !ok {
				panic(e)
			}
			is = false
		}
	}()
	if probe.next() != tArray {
		return false
	}
	depth, objects := len(probe.stack), 0
	for probe.next() != tArrayEnd || len(probe.stack) >= depth {
		inside := len(probe.stack) - depth
		switch {
		case inside == 1 && probe.cur == tObject:
			objects++
		case inside == 1 && probe.cur == tArray:
			return false
		case inside == 1 && probe.cur == tName && slices.Contains(matchTypes, probe.name):
			return false
		case inside == 0 && probe.cur != tObjectEnd:
			return false
		}
	}
	return objects >= 2
}

// or reads the alternatives of $or: each continues every branch so far.
func (c *compiler) or(so [][]leaf, path []string) [][]leaf {
	c.next() // the array, as isOr saw
	var all [][]leaf
	for c.next() == tObject {
		all = append(all, c.object(fork(so), path)...)
		if len(all) > maxBranches {
			panic(broken{refusal("Rule is too complex - the number of combinations of $or conditions exceeds 1000")})
		}
	}
	return all
}

// fork copies branches for one alternative of an $or.
func fork(so [][]leaf) [][]leaf {
	if len(so) == 0 {
		return [][]leaf{nil}
	}
	out := make([][]leaf, len(so))
	for i, b := range so {
		out[i] = slices.Clip(b)
	}
	return out
}

// addLeaf adds a leaf to every branch. A path that a branch already has is
// replaced: the last one wins, as in AWS's engine.
func addLeaf(so [][]leaf, l leaf) [][]leaf {
	if len(so) == 0 {
		return [][]leaf{{l}}
	}
	for i, b := range so {
		same := func(o leaf) bool { return slices.Equal(o.path, l.path) }
		if k := slices.IndexFunc(b, same); k >= 0 {
			b = slices.Delete(slices.Clone(b), k, k+1)
		}
		so[i] = append(b, l)
	}
	return so
}

// split takes names with dots apart: they are paths.
func split(names []string) []string {
	return strings.Split(strings.Join(names, "."), ".")
}

func newBranch(leaves []leaf) branch {
	b := branch{leaves: leaves, root: &node{leaf: -1}}
	for i, l := range leaves {
		n := b.root
		for _, name := range l.path {
			n = n.kid(name)
		}
		n.leaf = i
		if slices.ContainsFunc(l.any, func(m matcher) bool { _, is := m.(absent); return is }) {
			b.absent = append(b.absent, i)
		}
	}
	return b
}

func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	k := &node{name: name, leaf: -1}
	n.kids = append(n.kids, k)
	return k
}

// Strings returns what the pattern demands of a field, such as Strings("source"),
// when every way to match it asks for one of some exact strings. Otherwise it
// reports false.
func (p *Pattern) Strings(path ...string) ([]string, bool) {
	var out []string
	for _, b := range p.branches {
		i := slices.IndexFunc(b.leaves, func(l leaf) bool { return slices.Equal(l.path, path) })
		if i < 0 {
			return nil, false
		}
		for _, m := range b.leaves[i].any {
			s, ok := m.(exact)
			if !ok {
				return nil, false
			}
			if !slices.Contains(out, s.text) {
				out = append(out, s.text)
			}
		}
	}
	return out, len(out) > 0
}
