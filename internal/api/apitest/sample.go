// Package apitest fills the generated shapes with valid values, for tests
// that carry every member of every operation through the codecs.
package apitest

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/cloudtrail"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/wire"
)

// Models returns the models of all services.
func Models() []*wire.Model {
	return []*wire.Model{
		cloudformation.Model(), cloudtrail.Model(), codecommit.Model(), codepipeline.Model(), events.Model(),
		iam.Model(), kms.Model(), organizations.Model(), s3.Model(), sts.Model(),
	}
}

// Sampler makes values that keep to a model's constraints. The same sampler
// makes the same values in the same order; hardly two are alike.
type Sampler struct {
	Model *wire.Model
	// Only decides which members are set; nil means all.
	Only func(owner reflect.Type, member reflect.StructField) bool
	n    int
	open map[reflect.Type]int // structures being filled
}

// Fill sets the members of the struct that ptr points to.
func (s *Sampler) Fill(ptr any) {
	s.open = map[reflect.Type]int{}
	s.fill(reflect.ValueOf(ptr).Elem())
}

// ends tells whether a type is being filled already, and deep enough: the
// end of recursive shapes.
func (s *Sampler) ends(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return s.open[t] > 1
}

func (s *Sampler) fill(v reflect.Value) {
	s.open[v.Type()]++
	defer func() { s.open[v.Type()]-- }()
	union := unions[v.Type().Name()]
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, ok := f.Tag.Lookup("aws")
		if !ok || union && i > 0 || !union && s.Only != nil && !s.Only(v.Type(), f) {
			continue
		}
		s.set(v.Field(i), options(tag))
	}
}

// Stream is a body that can tell what it holds, also after it was read.
type Stream struct {
	text string
	at   int64
}

func (s *Stream) String() string { return s.text }

// Read reads on.
func (s *Stream) Read(b []byte) (int, error) {
	if s.at >= int64(len(s.text)) {
		return 0, io.EOF
	}
	n := copy(b, s.text[s.at:])
	s.at += int64(n)
	return n, nil
}

// Seek moves as io.Seeker does; clients that sign bodies read them twice.
func (s *Stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		s.at = offset
	case io.SeekCurrent:
		s.at += offset
	default:
		s.at = int64(len(s.text)) + offset
	}
	return s.at, nil
}

// Close does nothing.
func (s *Stream) Close() error { return nil }

// unions are structures of which one member only may be set.
var unions = map[string]bool{"AnalyticsFilter": true, "MetricsFilter": true, "ObjectEncryption": true}

func options(tag string) map[string]string {
	all := map[string]string{}
	name, rest, _ := strings.Cut(tag, ",")
	all["name"] = name
	for option := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(option, "=")
		all[key] = value
	}
	return all
}

func (s *Sampler) set(v reflect.Value, o map[string]string) {
	s.n++
	_, header := o["header"]
	rule := s.Model.Rules[o["rule"]]
	switch {
	case o["name"] == "Bucket" && s.Model.Name == "s3" && v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("bucket-%d", s.n))
	case o["name"] == "x-amz-sdk-checksum-algorithm": // clients act upon it
		v.SetString("CRC32")
	case strings.HasSuffix(o["name"], "Expires") && v.Kind() == reflect.String: // a date in the eyes of clients
		v.SetString(s.time(true).Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	case v.Type() == reflect.TypeFor[io.Reader](), v.Type() == reflect.TypeFor[io.ReadCloser]():
		v.Set(reflect.ValueOf(&Stream{text: fmt.Sprintf("stream %d", s.n)}))
	case v.Type() == reflect.TypeFor[*time.Time]():
		v.Set(reflect.ValueOf(new(s.time(header || o["time"] == "rfc822" || s.Model.Protocol == wire.Query))))
	default:
		s.value(v, rule, header)
	}
}

func (s *Sampler) time(whole bool) time.Time {
	t := time.Date(2024, 2, 29, 12, 0, s.n, 0, time.UTC)
	if !whole {
		t = t.Add(time.Duration(s.n%9+1) * 125 * time.Millisecond)
	}
	return t.Truncate(time.Millisecond)
}

func (s *Sampler) value(v reflect.Value, rule wire.Rule, header bool) {
	s.n++
	switch v.Kind() {
	case reflect.Pointer:
		if s.ends(v.Type()) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		s.value(v.Elem(), rule, header)
	case reflect.String:
		v.SetString(s.text(rule))
	case reflect.Bool:
		v.SetBool(true) // some clients leave out false
	case reflect.Int64:
		v.SetInt(int64(s.number(rule)))
	case reflect.Float64:
		v.SetFloat(s.number(rule) + 0.5)
	case reflect.Map:
		s.mapping(v, rule)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]byte]() {
			v.SetBytes(s.bytes(rule))
			return
		}
		s.list(v, rule, header)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(s.time(true)))
			return
		}
		s.fill(v)
	default:
		panic("no sample of " + v.Type().String())
	}
}

func (s *Sampler) list(v reflect.Value, rule wire.Rule, header bool) {
	if s.ends(v.Type()) {
		return
	}
	n := 2
	if rule.Min != nil {
		n = max(n, int(*rule.Min))
	}
	if rule.Max != nil {
		n = min(n, int(*rule.Max))
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		s.value(v.Index(i), s.Model.Rules[rule.Elem], header)
	}
}

func (s *Sampler) mapping(v reflect.Value, rule wire.Rule) {
	v.Set(reflect.MakeMap(v.Type()))
	if s.ends(v.Type()) || rule.Max != nil && *rule.Max < 1 {
		return
	}
	e := reflect.New(v.Type().Elem()).Elem()
	s.value(e, s.Model.Rules[rule.Elem], false)
	v.SetMapIndex(reflect.ValueOf(s.text(s.Model.Rules[rule.Key])), e)
}

func (s *Sampler) number(rule wire.Rule) float64 {
	n := float64(s.n)
	if rule.Min != nil {
		n = max(n, *rule.Min)
	}
	if rule.Max != nil {
		n = min(n, *rule.Max)
	}
	return n
}

func (s *Sampler) bytes(rule wire.Rule) []byte {
	b := fmt.Appendf(nil, "\x00\xffblob %d", s.n)
	if rule.Min != nil && len(b) < int(*rule.Min) {
		b = append(b, bytes.Repeat([]byte{'x'}, int(*rule.Min)-len(b))...)
	}
	if rule.Max != nil && len(b) > int(*rule.Max) {
		b = b[:int(*rule.Max)]
	}
	return b
}

// text makes a string that keeps to the rule.
func (s *Sampler) text(rule wire.Rule) string {
	if len(rule.Enum) > 0 {
		return rule.Enum[s.n%len(rule.Enum)]
	}
	least, most := 0, 1<<20
	if rule.Min != nil {
		least = int(*rule.Min)
	}
	if rule.Max != nil {
		most = int(*rule.Max)
	}
	if rule.Pattern == "" || rule.RE2 == "-" {
		text := fmt.Sprintf("v%d", s.n)
		text += strings.Repeat("x", max(0, least-len(text)))
		return text[:min(len(text), most)]
	}
	return s.match(rule, least, most)
}

func (s *Sampler) match(rule wire.Rule, least, most int) string {
	pattern := rule.RE2
	if pattern == "" {
		pattern = rule.Pattern
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		panic(err)
	}
	best := ""
	for repeat := range 200 {
		var b strings.Builder
		s.walk(&b, re, repeat)
		n := utf8.RuneCountInString(b.String())
		if n >= least && n <= most {
			best = b.String()
			if n >= 6 {
				return best
			}
		}
	}
	return best
}

// walk writes a text that the expression matches, repeating what may be
// repeated that often more than it must.
func (s *Sampler) walk(b *strings.Builder, re *syntax.Regexp, repeat int) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(s.pick(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a' + byte(s.n%26))
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			s.walk(b, sub, repeat)
		}
	case syntax.OpAlternate:
		s.walk(b, re.Sub[len(re.Sub)-1-repeat%len(re.Sub)], repeat)
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat, syntax.OpQuest:
		least, most := bounds(re)
		n := least + repeat
		if most >= 0 {
			n = min(n, most)
		}
		for range n {
			s.walk(b, re.Sub[0], 0)
			s.n++
		}
	}
}

func bounds(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpStar:
		return 0, -1
	case syntax.OpPlus:
		return 1, -1
	case syntax.OpQuest:
		return 0, 1
	}
	return re.Min, re.Max
}

// pick returns a character of a class: a letter or digit where there is one.
func (s *Sampler) pick(ranges []rune) rune {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := range len(plain) {
		c := rune(plain[(i+s.n)%26])
		if i >= 26 {
			c = rune(plain[i])
		}
		for j := 0; j < len(ranges); j += 2 {
			if c >= ranges[j] && c <= ranges[j+1] {
				return c
			}
		}
	}
	return ranges[0]
}
