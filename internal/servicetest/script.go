package servicetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

// Run runs every script of testdata on each database, each in a world of its
// own, whose services setup puts on its door.
func Run(t *testing.T, setup func(e *Env), schemas ...state.Schema) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			Each(t, func(e *Env) {
				setup(e)
				e.script(file, archive)
			}, schemas...)
		})
	}
}

// Each runs a test in a world of its own on each database. The schema of jobs
// is always there.
func Each(t *testing.T, test func(e *Env), schemas ...state.Schema) {
	t.Helper()
	statetest.Each(t, func(t *testing.T, db *state.DB) { test(New(t, db)) }, append(schemas, job.Schema())...)
}

// script is the state of one running script.
type script struct {
	*Env
	where string
	files map[string]string
	vars  map[string]string
	body  *string
	last  any   // the last answer, as JSON values
	err   error // the last failure
	clean bool  // no failure is waiting to be looked at
}

func (e *Env) script(file string, archive *txtar.Archive) {
	e.T.Helper()
	s := &script{Env: e, files: map[string]string{}, vars: map[string]string{}, clean: true}
	for _, f := range archive.Files {
		s.files[f.Name] = string(f.Data)
	}
	lines := strings.Split(string(archive.Comment), "\n")
	for i := 0; i < len(lines); i++ {
		s.where = file + ":" + strconv.Itoa(i+1)
		line := strings.TrimSpace(lines[i])
		for open(line) && i+1 < len(lines) {
			i++
			line += "\n" + lines[i]
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.line(line); err != nil {
			e.T.Fatalf("%s: %v", s.where, err)
		}
	}
	if !s.clean {
		e.T.Fatalf("%s: the last failure was not looked at: %v", s.where, s.err)
	}
}

// open reports whether brackets outside strings are still open.
func open(line string) bool {
	depth, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return depth > 0 && !strings.HasPrefix(line, "#")
}

func (s *script) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if word != "error" && !s.clean {
		return fmt.Errorf("the failure before was not looked at: %v", s.err)
	}
	switch word {
	case "policy":
		who, document, _ := strings.Cut(rest, " ")
		s.Grant(who, s.expand(document))
		return nil
	case "forget":
		s.Forget(rest)
		return nil
	case "remove":
		return s.Remove(rest)
	case "restore":
		return s.Restore(rest)
	case "id":
		name, who, _ := strings.Cut(rest, " ")
		p, err := s.principal(who)
		s.vars[name] = p.UniqueID()
		return err
	case "as":
		if err := s.call(rest); err != nil {
			return err
		}
		return s.err
	case "!":
		rest, ok := strings.CutPrefix(rest, "as ")
		if !ok {
			return errors.New("only a call can fail: ! as …")
		}
		if err := s.call(rest); err != nil {
			return err
		}
		if s.err == nil {
			return fmt.Errorf("the call succeeded: %v", s.last)
		}
		s.clean = false
		return nil
	case "error":
		return s.wantError(rest)
	case "out", "not":
		var want any
		if err := decode(s.expand(rest), &want); err != nil {
			return err
		}
		diff := contains(want, s.last, "")
		if word == "out" && diff != "" {
			got, _ := json.MarshalIndent(s.last, "", "  ")
			return fmt.Errorf("%s\nanswer: %s", diff, got)
		}
		if word == "not" && diff == "" {
			return fmt.Errorf("the answer contains %s", rest)
		}
		return nil
	case "let":
		name, path, _ := strings.Cut(rest, " ")
		v, err := walk(s.last, path)
		if err != nil {
			return err
		}
		s.vars[name] = fmt.Sprint(v)
		return nil
	case "body":
		text, ok := s.files[rest]
		if !ok {
			return fmt.Errorf("the archive has no file %s", rest)
		}
		s.body = &text
		return nil
	case "audit":
		return s.audit(strings.Fields(rest))
	case "advance":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		s.Advance(d)
		return nil
	}
	return fmt.Errorf("what is %q?", word)
}

// call makes the call of a line "WHO [in R] [via S] SERVICE OPERATION JSON".
func (s *script) call(line string) error {
	line = s.expand(line)
	head, document := line, "{}"
	if i := strings.IndexByte(line, '{'); i >= 0 {
		head, document = line[:i], line[i:]
	}
	words := strings.Fields(head)
	if len(words) < 3 {
		return errors.New("a call is: as WHO SERVICE OPERATION JSON")
	}
	service, operation := words[len(words)-2], words[len(words)-1]
	in, ok := s.Door.Input(service, operation)
	if !ok {
		return fmt.Errorf("%s %s is not served", service, operation)
	}
	if err := decode(document, in); err != nil {
		return err
	}
	if s.body != nil {
		reflect.ValueOf(in).Elem().FieldByName("Body").Set(reflect.ValueOf(io.Reader(strings.NewReader(*s.body))))
		s.body = nil
	}
	who, err := s.session(words[:len(words)-2])
	if err != nil {
		return err
	}
	out, err := s.Door.As(who).Invoke(context.Background(), service, operation, in)
	s.last, s.err = nil, err
	if err == nil {
		s.last, err = values(out)
	} else {
		err = nil
	}
	return err
}

func (s *script) wantError(rest string) error {
	if s.err == nil {
		return errors.New("no call failed")
	}
	code, rest, _ := strings.Cut(rest, " ")
	e, ok := errors.AsType[*aws.Error](s.err)
	if !ok || e.Code != code {
		return fmt.Errorf("got %v, want %s", s.err, code)
	}
	for _, m := range quoted.FindAllStringSubmatch(s.expand(rest), -1) {
		if !strings.Contains(e.Message, m[1]) {
			return fmt.Errorf("message %q does not contain %q", e.Message, m[1])
		}
	}
	s.clean = true
	return nil
}

var quoted = regexp.MustCompile(`'([^']*)'`)

func (s *script) audit(words []string) error {
	if len(words) != 4 {
		return errors.New("audit NAME SERVICE OPERATION CODE|ok")
	}
	records := s.Records()
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		if r.Call.Principal.Name() != words[0] || r.Call.Service != words[1] || r.Call.Operation != words[2] {
			continue
		}
		code := "ok"
		if r.Error != nil {
			code = r.Error.Code
		}
		if code != words[3] {
			return fmt.Errorf("the record says %s, want %s", code, words[3])
		}
		return nil
	}
	return fmt.Errorf("no call %s %s by %s is recorded", words[1], words[2], words[0])
}

var variable = regexp.MustCompile(`\$(FILE\(([^)]*)\)|[A-Za-z][A-Za-z0-9_]*)`)

// expand puts in kept values and files. Other dollar signs stay.
func (s *script) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		if name, ok := strings.CutPrefix(m, "$FILE("); ok {
			if content, ok := s.files[strings.TrimSuffix(name, ")")]; ok {
				inside, _ := json.Marshal(content)
				return string(inside[1 : len(inside)-1])
			}
			return m
		}
		if v, ok := s.vars[m[1:]]; ok {
			inside, _ := json.Marshal(v)
			return string(inside[1 : len(inside)-1])
		}
		return m
	})
}

func decode(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	if d.More() {
		return fmt.Errorf("text after the JSON in %s", text)
	}
	return nil
}

// values turns an output into JSON values; a stream becomes its text.
func values(out any) (any, error) {
	v := reflect.ValueOf(out).Elem()
	var text *string
	if f := v.FieldByName("Body"); f.IsValid() {
		if r, ok := f.Interface().(io.ReadCloser); ok && r != nil {
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			r.Close()
			f.SetZero()
			text = new(string(b))
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	var x any
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, err
	}
	if text != nil {
		x.(map[string]any)["Body"] = *text
	}
	return x, nil
}

// contains tells the first way in which got does not contain want.
func contains(want, got any, at string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for k, v := range w {
			member, ok := lookup(g, k)
			if !ok && v != nil {
				return fmt.Sprintf("%s.%s is absent", at, k)
			}
			if diff := contains(v, member, at+"."+k); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v, want %d elements", at, got, len(w))
		}
		for i := range w {
			if diff := contains(w[i], g[i], fmt.Sprintf("%s[%d]", at, i)); diff != "" {
				return diff
			}
		}
		return ""
	}
	if want == "<any>" && got != nil && got != "" {
		return ""
	}
	if !reflect.DeepEqual(want, got) && !(want == nil && got == "") {
		return fmt.Sprintf("%s is %#v, want %#v", at, got, want)
	}
	return ""
}

func lookup(m map[string]any, key string) (any, bool) {
	if v, ok := m[key]; ok {
		return v, true
	}
	for k, v := range m {
		if strings.EqualFold(k, key) {
			return v, true
		}
	}
	return nil, false
}

var step = regexp.MustCompile(`\.([A-Za-z0-9_-]+)|\[([0-9]+)\]`)

// walk follows a path such as .Keys[0].KeyId.
func walk(v any, path string) (any, error) {
	for _, m := range step.FindAllStringSubmatch(path, -1) {
		if m[1] != "" {
			object, _ := v.(map[string]any)
			member, ok := lookup(object, m[1])
			if !ok {
				return nil, fmt.Errorf("%s: no member %s", path, m[1])
			}
			v = member
			continue
		}
		list, _ := v.([]any)
		i, err := strconv.Atoi(m[2])
		if err != nil || i >= len(list) {
			return nil, fmt.Errorf("%s: no element %s", path, m[2])
		}
		v = list[i]
	}
	return v, nil
}
