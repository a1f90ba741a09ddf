package eventpattern

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
)

// token is a piece of JSON.
type token int

const (
	tNone token = iota
	tEnd
	tObject
	tObjectEnd
	tArray
	tArrayEnd
	tName
	tString
	tNumber
	tTrue
	tFalse
	tNull
)

// maxDepth bounds the nesting of patterns and events, as AWS's parser does.
const maxDepth = 1000

// maxQuoted is how much of a pattern an error message repeats.
const maxQuoted = 500

// scanner takes JSON apart. AWS's refusals end in the place where its parser
// stood, which is part of the text people know; so the scanner moves as that
// parser does: it looks at the value behind a name before it hands out the
// name, and reads a string's content only when somebody asks for it.
type scanner struct {
	src   string
	pos   int
	cur   token
	ahead token  // the value behind a name, already looked at
	open  bool   // pos is inside the string that is cur (or ahead)
	start int    // where the content of the number or string begins
	name  string // the last name
	text  string // the content of cur
	stack []level
	done  bool // the value at the top has been read
}

// level is an object or array that has been opened.
type level struct {
	object bool
	at     int // where it was opened
	filled bool
}

// broken is a refusal on its way up to Parse.
type broken struct{ err *aws.Error }

// fail refuses the text for a reason, naming the place where the scanner
// stands.
func (s *scanner) fail(format string, args ...any) {
	s.failAt(s.pos, fmt.Sprintf(format, args...))
}

func (s *scanner) failAt(pos int, reason string) {
	panic(broken{refusal(reason + s.place(pos))})
}

// refusal is AWS's answer to a bad pattern.
func refusal(reason string) *aws.Error {
	return aws.Errorf("InvalidEventPatternException", "Event pattern is not valid. Reason: %s", reason)
}

// place words a position.
func (s *scanner) place(pos int) string { return "\n at " + s.source(pos) }

func (s *scanner) source(pos int) string {
	quoted, cut := s.src, ""
	if n := utf16Len(s.src); n > maxQuoted {
		quoted = string([]rune(s.src)[:min(maxQuoted, utf8.RuneCountInString(s.src))])
		cut = fmt.Sprintf("[truncated %d chars]", n-maxQuoted)
	}
	before := s.src[:pos]
	line := strings.Count(before, "\n") + 1
	column := utf16Len(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("[Source: (String)\"%s\"%s; line: %d, column: %d]", quoted, cut, line, column)
}

// utf16Len counts as Java counts.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// next moves to the next token.
func (s *scanner) next() token {
	if s.ahead != tNone {
		s.cur, s.ahead = s.ahead, tNone
		return s.enter()
	}
	if s.open {
		s.finishString()
	}
	s.space()
	if len(s.stack) == 0 {
		return s.nextAtTop()
	}
	return s.nextInside(&s.stack[len(s.stack)-1])
}

func (s *scanner) nextAtTop() token {
	if s.pos == len(s.src) {
		s.cur = tEnd
		return tEnd
	}
	if s.done {
		s.unexpected("expected end of input")
	}
	s.cur = s.value()
	return s.enter()
}

func (s *scanner) nextInside(l *level) token {
	if s.pos == len(s.src) {
		s.endOfInput(l)
	}
	if c := s.src[s.pos]; l.object && c == '}' || !l.object && c == ']' {
		return s.leave(l)
	}
	if l.filled {
		s.comma(l)
	}
	l.filled = true
	if !l.object {
		s.cur = s.value()
		return s.enter()
	}
	return s.member()
}

// comma skips the comma between two members or elements.
func (s *scanner) comma(l *level) {
	if s.src[s.pos] != ',' {
		kind := "Array"
		if l.object {
			kind = "Object"
		}
		s.unexpected("was expecting comma to separate " + kind + " entries")
	}
	s.pos++
	s.space()
	if s.pos == len(s.src) {
		s.endOfInput(l)
	}
}

func (s *scanner) leave(l *level) token {
	s.cur = tArrayEnd
	if l.object {
		s.cur = tObjectEnd
	}
	s.pos++
	s.stack = s.stack[:len(s.stack)-1]
	s.done = len(s.stack) == 0
	return s.cur
}

// enter notes that cur opened a level, if it did.
func (s *scanner) enter() token {
	switch s.cur {
	case tObject, tArray:
		if len(s.stack) == maxDepth {
			s.fail("Document nesting depth (%d) exceeds the maximum allowed (%d)", maxDepth+1, maxDepth)
		}
		s.stack = append(s.stack, level{object: s.cur == tObject, at: s.pos - 1})
	default:
		s.done = len(s.stack) == 0
	}
	return s.cur
}

// member reads a name and looks at the value behind it.
func (s *scanner) member() token {
	if s.src[s.pos] != '"' {
		s.unexpected("was expecting double-quote to start field name")
	}
	s.pos++
	s.open, s.start = true, s.pos
	s.finishString()
	s.name = s.text
	s.space()
	if s.pos == len(s.src) || s.src[s.pos] != ':' {
		s.unexpected("was expecting a colon to separate field name and value")
	}
	s.pos++
	s.space()
	s.ahead = s.value()
	s.cur = tName
	return tName
}

// value looks at a value: up to its first character, or its end for numbers
// and literals.
func (s *scanner) value() token {
	if s.pos == len(s.src) {
		if len(s.stack) == 0 {
			return tEnd
		}
		s.endOfInput(&s.stack[len(s.stack)-1])
	}
	switch c := s.src[s.pos]; {
	case c == '{':
		s.pos++
		return tObject
	case c == '[':
		s.pos++
		return tArray
	case c == '"':
		s.pos++
		s.open, s.start = true, s.pos
		return tString
	case c == '-' || c >= '0' && c <= '9':
		s.number()
		return tNumber
	}
	return s.literal()
}

func (s *scanner) literal() token {
	end := s.pos
	for end < len(s.src) {
		r, n := utf8.DecodeRuneInString(s.src[end:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$' {
			break
		}
		end += n
	}
	const wanted = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
	word := s.src[s.pos:end]
	if word == "" {
		s.unexpected("expected a valid value " + wanted)
	}
	s.pos = end
	switch word {
	case "true":
		s.text = word
		return tTrue
	case "false":
		s.text = word
		return tFalse
	case "null":
		s.text = word
		return tNull
	}
	s.fail("Unrecognized token '%s': was expecting %s", word, wanted)
	return tNone
}

// number reads a number by JSON's grammar.
func (s *scanner) number() {
	s.start = s.pos
	if s.src[s.pos] == '-' {
		s.pos++
	}
	first := s.pos
	s.digits("expected digit (0-9) to follow minus sign, for valid numeric value")
	if s.src[first] == '0' && s.pos > first+1 {
		s.failAt(first+1, "Invalid numeric value: Leading zeroes not allowed")
	}
	if s.pos < len(s.src) && s.src[s.pos] == '.' {
		s.pos++
		s.digits("Decimal point not followed by a digit")
	}
	if s.pos < len(s.src) && (s.src[s.pos] == 'e' || s.src[s.pos] == 'E') {
		s.pos++
		if s.pos < len(s.src) && (s.src[s.pos] == '+' || s.src[s.pos] == '-') {
			s.pos++
		}
		s.digits("Exponent indicator not followed by a digit")
	}
	s.text = s.src[s.start:s.pos]
}

func (s *scanner) digits(otherwise string) {
	from := s.pos
	for s.pos < len(s.src) && s.src[s.pos] >= '0' && s.src[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == from {
		s.unexpected(otherwise)
	}
}

// content returns the content of cur, reading a string to its end.
func (s *scanner) content() string {
	if s.open && s.cur == tString {
		s.finishString()
	}
	return s.text
}

// finishString reads the string in which pos stands to its end.
func (s *scanner) finishString() {
	s.open = false
	for i := s.start; i < len(s.src); i++ {
		switch c := s.src[i]; {
		case c == '"':
			s.text, s.pos = s.src[s.start:i], i+1
			return
		case c == '\\':
			s.unescape(i)
			return
		case c < ' ':
			s.control(i)
		}
	}
	s.pos = len(s.src)
	s.fail("Unexpected end-of-input: was expecting closing quote for a string value")
}

func (s *scanner) control(i int) {
	s.failAt(i+1, fmt.Sprintf("Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped using backslash to be included in string value", s.src[i]))
}

// unescape goes on where finishString met the first backslash.
func (s *scanner) unescape(i int) {
	b := make([]byte, 0, len(s.src)-s.start)
	b = append(b, s.src[s.start:i]...)
	for i < len(s.src) {
		c := s.src[i]
		switch {
		case c == '"':
			s.text, s.pos = string(b), i+1
			return
		case c < ' ':
			s.control(i)
		case c != '\\':
			b = append(b, c)
			i++
		default:
			b, i = s.escape(b, i+1)
		}
	}
	s.pos = len(s.src)
	s.fail("Unexpected end-of-input: was expecting closing quote for a string value")
}

// escape appends what the escape whose letter is at i stands for.
func (s *scanner) escape(b []byte, i int) ([]byte, int) {
	if i == len(s.src) {
		s.failAt(i, "Unexpected end-of-input in character escape sequence")
	}
	const letters, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if k := strings.IndexByte(letters, s.src[i]); k >= 0 {
		return append(b, meant[k]), i + 1
	}
	if s.src[i] != 'u' {
		r, _ := utf8.DecodeRuneInString(s.src[i:])
		s.failAt(i+1, fmt.Sprintf("Unrecognized character escape '%c' (code %d)", r, r))
	}
	r := s.hex(i + 1)
	i += 5
	if utf16.IsSurrogate(r) && strings.HasPrefix(s.src[i:], `\u`) {
		if pair := utf16.DecodeRune(r, s.hex(i+2)); pair != utf8.RuneError {
			return utf8.AppendRune(b, pair), i + 6
		}
	}
	return utf8.AppendRune(b, r), i
}

// hex reads the four digits of a \u escape.
func (s *scanner) hex(i int) rune {
	if i+4 > len(s.src) {
		s.failAt(len(s.src), "Unexpected end-of-input in character escape sequence")
	}
	n, err := strconv.ParseUint(s.src[i:i+4], 16, 16)
	if err != nil {
		s.failAt(i, "Unexpected character: expected a hex-digit for character escape sequence")
	}
	return rune(n)
}

func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// unexpected refuses the character at pos.
func (s *scanner) unexpected(why string) {
	if s.pos >= len(s.src) {
		if len(s.stack) > 0 {
			s.endOfInput(&s.stack[len(s.stack)-1])
		}
		s.fail("Unexpected end-of-input")
	}
	r, _ := utf8.DecodeRuneInString(s.src[s.pos:])
	s.fail("Unexpected character ('%c' (code %d)): %s", r, r, why)
}

func (s *scanner) endOfInput(l *level) {
	kind := "Array"
	if l.object {
		kind = "Object"
	}
	s.pos = len(s.src)
	s.fail("Unexpected end-of-input: expected close marker for %s (start marker at %s)", kind, s.source(l.at))
}
