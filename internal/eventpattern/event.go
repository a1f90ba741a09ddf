package eventpattern

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Event is a parsed event, ready to be matched against many patterns.
type Event struct{ root value }

type kind byte

const (
	kNull kind = iota
	kTrue
	kFalse
	kNumber
	kString
	kArray
	kObject
)

// value is a JSON value. text is a string's content or a number's spelling.
type value struct {
	kind    kind
	text    string
	members []member // sorted by name
	items   []value
}

type member struct {
	name string
	value
}

// ErrNotObject means that an event is JSON, but not an object.
var ErrNotObject = errors.New("event is not a JSON object")

// ParseEvent reads an event: a JSON object.
func ParseEvent(text []byte) (e *Event, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(broken)
			if !ok {
				panic(r)
			}
			e, err = nil, fmt.Errorf("event is not JSON: %s", b.err.Message)
		}
	}()
	s := scanner{src: string(text)}
	first := s.next()
	root := s.read(first)
	if first == tEnd || s.next() != tEnd {
		s.fail("Unexpected end-of-input")
	}
	if root.kind != kObject {
		return nil, ErrNotObject
	}
	return &Event{root}, nil
}

// read builds the value that begins with t.
func (s *scanner) read(t token) value {
	switch t {
	case tObject:
		return s.readObject()
	case tArray:
		var items []value
		for t := s.next(); t != tArrayEnd; t = s.next() {
			items = append(items, s.read(t))
		}
		return value{kind: kArray, items: items}
	case tString:
		return value{kind: kString, text: s.content()}
	case tNumber:
		return value{kind: kNumber, text: s.text}
	case tTrue:
		return value{kind: kTrue}
	case tFalse:
		return value{kind: kFalse}
	}
	return value{kind: kNull}
}

func (s *scanner) readObject() value {
	var members []member
	for s.next() != tObjectEnd {
		name := s.name
		members = append(members, member{name, s.read(s.next())})
	}
	byName := func(a, b member) int { return cmp.Compare(a.name, b.name) }
	slices.SortStableFunc(members, byName)
	members = lastOnes(members)
	for i, m := range members {
		if name, rest, dotted := strings.Cut(m.name, "."); dotted {
			members[i] = member{name, nest(rest, m.value)}
		}
	}
	slices.SortStableFunc(members, byName)
	return value{kind: kObject, members: members}
}

// lastOnes drops all but the last of members with the same name.
func lastOnes(sorted []member) []member {
	out := sorted[:0]
	for i, m := range sorted {
		if i+1 == len(sorted) || sorted[i+1].name != m.name {
			out = append(out, m)
		}
	}
	return out
}

// nest wraps v in objects along a dotted path.
func nest(path string, v value) value {
	names := strings.Split(path, ".")
	for _, name := range slices.Backward(names) {
		v = value{kind: kObject, members: []member{{name, v}}}
	}
	return v
}

// named returns the members of an object with a name: more than one where
// names with dots lead through it.
func (v *value) named(name string) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		i, _ := slices.BinarySearchFunc(v.members, name, func(m member, name string) int { return cmp.Compare(m.name, name) })
		for ; i < len(v.members) && v.members[i].name == name; i++ {
			if !yield(&v.members[i]) {
				return
			}
		}
	}
}

// has reports whether a path leads to a value that is neither object nor
// array: only those count as fields.
func (v *value) has(path []string) bool {
	switch v.kind {
	case kArray:
		for i := range v.items {
			if v.items[i].has(path) {
				return true
			}
		}
		return false
	case kObject:
		if len(path) == 0 {
			return false
		}
		for m := range v.named(path[0]) {
			if m.value.has(path[1:]) {
				return true
			}
		}
		return false
	}
	return len(path) == 0
}
