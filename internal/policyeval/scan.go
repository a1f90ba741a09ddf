package policyeval

import (
	"encoding/json"
	"fmt"
	"strings"
)

// scanner reads JSON from a text. What it returns are parts of the text,
// wherever that is possible: lines come by the million. It takes what
// encoding/json takes, which a fuzz test holds it to.
type scanner struct {
	text string
	pos  int
}

// scanError says where a text stopped being what it should be.
type scanError struct {
	at   int
	what string
}

func (e *scanError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.at+1) }

func (s *scanner) fail(what string) error { return &scanError{s.pos, what} }

// next skips space and returns the byte that follows, or 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take consumes c, which has to come next.
func (s *scanner) take(c byte) error {
	if s.next() != c {
		return s.fail("there is no " + string(rune(c)))
	}
	s.pos++
	return nil
}

// end reports an error when anything but space follows.
func (s *scanner) end() error {
	if s.next(); s.pos != len(s.text) {
		return s.fail("there is more after the object")
	}
	return nil
}

// object reads an object; member is called for each name, and reads its value.
func (s *scanner) object(member func(name string) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.pos++
		return nil
	}
	for {
		name, err := s.string()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if s.next() != ',' {
			return s.take('}')
		}
		s.pos++
	}
}

// array reads an array; item is called for each of its values, and reads it.
func (s *scanner) array(item func() error) error {
	if err := s.take('['); err != nil {
		return err
	}
	if s.next() == ']' {
		s.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.next() != ',' {
			return s.take(']')
		}
		s.pos++
	}
}

// null consumes a null, if that is what comes next.
func (s *scanner) null() bool {
	if s.next() != 'n' || !strings.HasPrefix(s.text[s.pos:], "null") {
		return false
	}
	s.pos += len("null")
	return true
}

// string reads a string. One without escapes is a part of the text.
func (s *scanner) string() (string, error) {
	start, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if !escaped {
		return s.text[start+1 : s.pos-1], nil
	}
	var out string
	if json.Unmarshal([]byte(s.text[start:s.pos]), &out) != nil {
		s.pos = start
		return "", s.fail("there is a string with an escape that is none")
	}
	return out, nil
}

// quoted passes over a string, and says where it begins.
func (s *scanner) quoted() (start int, escaped bool, err error) {
	if s.next() != '"' {
		return s.pos, false, s.fail("there is no string")
	}
	start = s.pos
	for i := start + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return start, escaped, nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			s.pos = i
			return start, escaped, s.fail("there is a control character in a string")
		}
	}
	s.pos = len(s.text)
	return start, escaped, s.fail("there is a string without an end")
}

// maxDepth is encoding/json's.
const maxDepth = 10000

// value passes over any value.
func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return s.fail("values stand too deep in each other")
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(func(string) error { return s.value(depth + 1) })
	case c == '[':
		return s.array(func() error { return s.value(depth + 1) })
	case c == '"':
		start, escaped, err := s.quoted()
		if err == nil && escaped && !json.Valid([]byte(s.text[start:s.pos])) {
			s.pos = start
			return s.fail("there is a string with an escape that is none")
		}
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.text[s.pos:], word) {
			s.pos += len(word)
			return nil
		}
	}
	return s.fail("there is no value")
}

func (s *scanner) number() error {
	start := s.pos
	for s.pos < len(s.text) && strings.IndexByte("+-.eE0123456789", s.text[s.pos]) >= 0 {
		s.pos++
	}
	if !json.Valid([]byte(s.text[start:s.pos])) {
		s.pos = start
		return s.fail("there is a number that is none")
	}
	return nil
}

// span passes over a value without looking into it, and returns its text. An
// object or array ends where its brackets are closed; whoever takes the text
// has to check it.
func (s *scanner) span() (string, error) {
	c := s.next()
	start := s.pos
	if c != '{' && c != '[' {
		err := s.value(0)
		return s.text[start:s.pos], err
	}
	depth := 0
	for ; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.pos++
				return s.text[start:s.pos], nil
			}
		case '"':
			if _, _, err := s.quoted(); err != nil {
				return "", err
			}
			s.pos-- // the loop goes on after the quote
		}
	}
	return "", s.fail("there is a value without an end")
}

// check reports whether a text that span returned is one JSON value.
func check(text string) error {
	s := scanner{text: text}
	if err := s.value(0); err != nil {
		return err
	}
	return s.end()
}
