package policyeval

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/policy"
)

// run answers lines.
func run(t testing.TB, o Options, lines ...string) []string {
	t.Helper()
	var out bytes.Buffer
	if err := Run(t.Context(), strings.NewReader(strings.Join(lines, "\n")), &out, o); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// answer is what a line out holds.
type answer struct {
	ID             string
	Decision       string
	Because        []place
	Silent         []string
	MissingContext []string
	Repair         []struct {
		place
		Statement json.RawMessage
		Remove    *place
	}
	Error *struct {
		Code, Message string
		place
	}
}

type place struct {
	Policy       string
	Level, Index int
	Statement    int
	Sid, Effect  string
}

// TestRules holds Run to testdata/rules.jsonl: each line is a question with
// the rule it is about, the section of the project's reference on policy
// evaluation in front, and what is wanted: a decision or an error's code.
func TestRules(t *testing.T) {
	text, err := os.ReadFile("testdata/rules.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	full, brief := run(t, Options{}, lines...), run(t, Options{DecisionOnly: true}, lines...)
	if len(full) != len(lines) || len(brief) != len(lines) {
		t.Fatalf("%d and %d answers to %d lines", len(full), len(brief), len(lines))
	}
	for i, line := range lines {
		var want struct {
			ID, Rule, Want  string
			Silent, Missing []string
			Message, Policy string
			Index, Level    int
		}
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		t.Run(want.Rule, func(t *testing.T) {
			var got answer
			if err := json.Unmarshal([]byte(full[i]), &got); err != nil {
				t.Fatal(err)
			}
			if got.ID != want.ID {
				t.Errorf("id = %s, want %s", got.ID, want.ID)
			}
			if e := got.Error; e != nil {
				if e.Code != want.Want || e.Message != want.Message || e.Policy != want.Policy || e.Index != want.Index || e.Level != want.Level {
					t.Errorf("got %s", full[i])
				}
				if brief[i] != full[i] {
					t.Errorf("in brief %s", brief[i])
				}
				return
			}
			if got.Decision != want.Want {
				t.Fatalf("got %s, want %s", full[i], want.Want)
			}
			if want := `{"id":"` + want.ID + `","decision":"` + want.Want + `"}`; brief[i] != want {
				t.Errorf("in brief %s, want %s", brief[i], want)
			}
			if want.Silent != nil && !slices.Equal(got.Silent, want.Silent) {
				t.Errorf("silent = %v, want %v", got.Silent, want.Silent)
			}
			if want.Missing != nil && !slices.Equal(got.MissingContext, want.Missing) {
				t.Errorf("missing = %v, want %v", got.MissingContext, want.Missing)
			}
			repair(t, line, got)
		})
	}
}

// repair puts the repair of a refusal in place, and asks again. A role's "*"
// is nobody without credentials: there is none for that.
func repair(t *testing.T, line string, a answer) {
	t.Helper()
	if a.Decision == "allowed" {
		return
	}
	if len(a.Repair) == 0 {
		if strings.Contains(line, `"callerArn":"anonymous","action":"sts:AssumeRole"`) {
			return
		}
		t.Fatal("there is no repair")
	}
	q := map[string]any{}
	if err := json.Unmarshal([]byte(line), &q); err != nil {
		t.Fatal(err)
	}
	for _, r := range a.Repair {
		if r.Remove == nil {
			addStatement(q, r.place, r.Statement)
			continue
		}
		// A policy keeps a statement: the Deny is made to be about something else.
		deny := statementsOf(documentAt(q, r.place).(map[string]any))[r.Remove.Statement].(map[string]any)
		delete(deny, "NotAction")
		deny["Action"] = "sts:SetContext"
	}
	again, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, Options{DecisionOnly: true}, string(again))[0]; !strings.Contains(got, `"allowed"`) {
		t.Errorf("the repair does not turn the decision: %s\n%s", got, again)
	}
}

var fields = map[string]string{
	"identity": "identityPolicies", "resource": "resourcePolicy", "boundary": "permissionsBoundaries",
	"session": "sessionPolicies", "scp": "serviceControlPolicies", "rcp": "resourceControlPolicies",
}

func documentAt(q map[string]any, p place) any {
	switch v := q[fields[p.Policy]]; p.Policy {
	case "resource":
		return v
	case "scp", "rcp":
		return v.([]any)[p.Level].([]any)[p.Index]
	default:
		return v.([]any)[p.Index]
	}
}

func statementsOf(d map[string]any) []any {
	if list, ok := d["Statement"].([]any); ok {
		return list
	}
	return []any{d["Statement"]}
}

func addStatement(q map[string]any, p place, statement json.RawMessage) {
	name := fields[p.Policy]
	fresh := map[string]any{"Version": "2012-10-17", "Statement": []any{statement}}
	switch p.Policy {
	case "resource":
		d, ok := q[name].(map[string]any)
		if !ok {
			q[name] = fresh
			return
		}
		d["Statement"] = append(statementsOf(d), statement)
	case "scp", "rcp":
		levels := q[name].([]any)
		levels[p.Level] = append(levels[p.Level].([]any), fresh)
	default:
		q[name] = append(q[name].([]any), fresh)
	}
}

const (
	request = `"request":{"callerArn":"arn:aws:iam::111111111111:user/a","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k"}`
	allow   = `{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"allowed", `{"id":"1",` + request + `,"identityPolicies":[` + allow + `]}`,
			`{"id":"1","decision":"allowed","because":[{"policy":"identity","index":0,"statement":0,"sid":"Read","effect":"Allow"}]}`},
		{"refused", `{"id":"2",` + request + `,"resourcePolicy":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}}}`,
			`{"id":"2","decision":"implicitDeny","silent":["identity","resource"],"missingContext":["aws:MultiFactorAuthPresent"],"repair":[{"policy":"identity","statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}}]}`},
		{"denied", `{"id":"3",` + request + `,"serviceControlPolicies":[[` + allow + `],[` + allow + `,{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}]],"identityPolicies":[` + allow + `]}`,
			`{"id":"3","decision":"explicitDeny","because":[{"policy":"scp","level":1,"index":1,"statement":0,"effect":"Deny"}],"repair":[{"policy":"scp","level":1,"index":1,"remove":{"statement":0}}]}`},
		{"both sides", `{"id":"4","request":{"callerArn":"arn:aws:sts::111111111111:assumed-role/R/s","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k","resourceOwner":"222222222222"}}`,
			`{"id":"4","decision":"implicitDeny","silent":["identity","resource"],"repair":[{"policy":"identity","statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}},{"policy":"resource","statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:role/R"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}}]}`},
		{"the root user needs no statement", `{"id":"5","request":{"callerArn":"arn:aws:iam::111111111111:root","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k"}}`,
			`{"id":"5","decision":"allowed","because":[]}`},
		{"the id as it was", `{"id":"a\"\u00e9b",` + request + `}`, `{"id":"a\"\u00e9b","decision":"implicitDeny","silent":["identity"],"repair":[{"policy":"identity","statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}}]}`},
		{"unknown fields and nulls", ` {"x":{"y":[1,-2.5e3,true,"\n"]},"id":"7",` + request + `,"identityPolicies":null,"resourcePolicy":null,"sessionPolicies":[],"serviceControlPolicies":null} `,
			`{"id":"7","decision":"implicitDeny","silent":["identity"],"repair":[{"policy":"identity","statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}}]}`},
		{"a document AWS refuses", `{"id":"8",` + request + `,"sessionPolicies":[` + allow + `,{"Statement":1}]}`,
			`{"id":"8","error":{"code":"MalformedPolicyDocument","message":"Syntax errors in policy.","policy":"session","index":1}}`},
		{"no request", `{"id":"9"}`, `{"id":"9","error":{"code":"ValidationError","message":"request is missing"}}`},
		{"no caller", `{"id":"10","request":{}}`, `{"id":"10","error":{"code":"ValidationError","message":"request.callerArn is missing"}}`},
		{"a caller that is none", `{"id":"11","request":{"callerArn":"arn:aws:iam::111111111111:group/g","action":"s3:X","resourceArn":"*"}}`,
			`{"id":"11","error":{"code":"ValidationError","message":"request.callerArn is no principal: arn:aws:iam::111111111111:group/g"}}`},
		{"an action that is none", `{"id":"12","request":{"callerArn":"anonymous","action":"Get","resourceArn":"*"}}`,
			`{"id":"12","error":{"code":"ValidationError","message":"request.action is not service:Action: Get"}}`},
		{"no JSON in a document", `{"id":"13",` + request + `,"identityPolicies":[{"a":tru}]}`,
			`{"id":"13","error":{"code":"ValidationError","message":"identity policy there is no value at byte 6"}}`},
		{"fields of other types", `{"id":"14","request":[]}`, `{"id":"14","error":{"code":"ValidationError","message":"request is not an object at byte 22"}}`},
		{"an id that is a number", `{"id":15}`, `{"id":15,"error":{"code":"ValidationError","message":"request is missing"}}`},
		{"an id that is null", `{"id":"x","id":null}`, `{"id":"","error":{"code":"ValidationError","message":"request is missing"}}`},
		{"an id of another type", `{"id":[15]}`, `{"id":"","error":{"code":"ValidationError","message":"id is not a string at byte 7"}}`},
		{"levels that are none", `{"id":"16","serviceControlPolicies":[{}]}`, `{"id":"16","error":{"code":"ValidationError","message":"a level of serviceControlPolicies is not an array at byte 38"}}`},
		{"a value of the context that is none", `{"id":"17","request":{"context":{"a":{}}}}`,
			`{"id":"17","error":{"code":"ValidationError","message":"request.context holds what is neither a string nor an array of strings at byte 38"}}`},
		{"half a line", `{"id":"18","request":{"callerArn":"a`, `{"id":"18","error":{"code":"ValidationError","message":"there is a string without an end at byte 37"}}`},
		{"a bracket", `{`, `{"id":"","error":{"code":"ValidationError","message":"there is no string at byte 2"}}`},
		{"no object", `[1]`, `{"id":"","error":{"code":"ValidationError","message":"there is no { at byte 1"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, Options{}, `{"id":"before",`+request+`,"permissionsBoundaries":[`+allow+`]}`, tt.line)
			if len(got) != 2 || got[1] != tt.want {
				t.Errorf("got  %s\nwant %s", got[len(got)-1], tt.want)
			}
		})
	}
}

func TestNotLines(t *testing.T) {
	for text, want := range map[string]error{
		"": nil, "\n \r\n": nil, "hello\nworld\n": ErrNotLines, "[1,2]": ErrNotLines, "<xml/>": ErrNotLines,
		"hello\n{}\n": nil, "{}": nil,
	} {
		if err := Run(t.Context(), strings.NewReader(text), io.Discard, Options{}); err != want {
			t.Errorf("Run(%q) = %v, want %v", text, err, want)
		}
	}
}

// Whoever writes a line and waits gets its answer, and answers keep the order
// of the questions.
func TestFlushAndOrder(t *testing.T) {
	in, asks := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), in, out, Options{Workers: 4})
		out.Close()
	}()
	read := json.NewDecoder(answers)
	for i := range 200 {
		id := strings.Repeat("x", i)
		if _, err := io.WriteString(asks, `{"id":"`+id+`",`+request+"}\n"); err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := read.Decode(&a); err != nil || a.ID != id {
			t.Fatalf("answer %d: %v, %v", i, a.ID, err)
		}
	}
	asks.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}

	var many strings.Builder
	for i := range 50000 {
		many.WriteString(`{"id":"` + strings.Repeat("i", i%50) + `",` + request + `,"identityPolicies":[` + allow + "]}\n")
	}
	var got bytes.Buffer
	if err := Run(t.Context(), strings.NewReader(many.String()), &got, Options{DecisionOnly: true, Workers: 4}); err != nil {
		t.Fatal(err)
	}
	i := 0
	for line := range strings.Lines(got.String()) {
		if want := `{"id":"` + strings.Repeat("i", i%50) + `","decision":"allowed"}` + "\n"; line != want {
			t.Fatalf("line %d is %s", i, line)
		}
		i++
	}
	if i != 50000 {
		t.Errorf("%d answers", i)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestEnds(t *testing.T) {
	if err := Run(t.Context(), strings.NewReader(`{}`), brokenWriter{}, Options{}); err != io.ErrClosedPipe {
		t.Errorf("a writer that fails: %v", err)
	}
	long := strings.NewReader(`{"id":"` + strings.Repeat("x", maxLine+1) + `"}`)
	if err := Run(t.Context(), long, io.Discard, Options{}); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("a line without an end: %v", err)
	}
	if err := Run(t.Context(), io.MultiReader(strings.NewReader("{}\n"), brokenReader{}), io.Discard, Options{}); err != io.ErrUnexpectedEOF {
		t.Errorf("a reader that fails: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestCacheForgets(t *testing.T) {
	c := cache{room: 10000}
	for i := range 100 {
		text := `{"Version":"2012-10-17","Id":"` + strings.Repeat("x", i) + `","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		if p := c.parse(text, policy.Identity); p.doc == nil || p.doc.String() != text {
			t.Fatal(p)
		}
		kept := 0
		for text := range c.kinds[policy.Identity] {
			kept += len(text)
		}
		if kept > c.room || kept != c.size {
			t.Fatalf("%d bytes are kept, and counted %d", kept, c.size)
		}
	}
	a := c.parse(allow, policy.Identity)
	if c.parse(allow, policy.Identity) != a || c.parse(allow, policy.Session) == a {
		t.Error("documents are not kept by text and kind")
	}
}

// FuzzQuestion holds the reader of lines to encoding/json: it takes a line if
// and only if that does, and reads the same.
func FuzzQuestion(f *testing.F) {
	text, err := os.ReadFile("testdata/rules.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if i%20 == 0 {
			f.Add(line)
		}
	}
	f.Add(`{"id":"\ud83d\ude00\/","request":{"callerArn":"anonymous","action":"a:b","resourceArn":"*","context":{"A":1e5,"a":[true,"x"],"b":null}},"request":{"callerArn":"b"}}`)
	f.Add(`{`)
	f.Add(`{"identityPolicies":[{},[],"x",null,1],"resourcePolicy":"]}","serviceControlPolicies":[[],[{}]]}`)
	f.Fuzz(func(t *testing.T, line string) {
		if (check(line) == nil) != json.Valid([]byte(line)) {
			t.Fatalf("check says %v", check(line))
		}
		q := newQuestion()
		err := q.read(line)
		for _, d := range slices.Concat(q.identity, q.boundary, q.session, []string{q.attached}, slices.Concat(q.scps...), slices.Concat(q.rcps...)) {
			if e := check(d); e != nil && d != "" && err == nil {
				err = e
			}
		}
		var want struct {
			fields  map[string]json.RawMessage
			request map[string]json.RawMessage
		}
		jsonErr := json.Unmarshal([]byte(line), &want.fields)
		if jsonErr != nil || want.fields == nil {
			if err == nil {
				t.Fatal("taken, and no JSON object")
			}
			return
		}
		if err != nil {
			return // right JSON, wrong question
		}
		if json.Unmarshal(want.fields["request"], &want.request) != nil {
			t.Fatal("taken without a request")
		}
		for name, got := range map[string]string{"callerArn": q.caller, "action": q.action, "resourceArn": q.resource, "resourceOwner": q.owner} {
			var text string
			if raw := want.request[name]; raw != nil && json.Unmarshal(raw, &text) != nil || !sameText(text, got) {
				t.Fatalf("%s is %q, want %q", name, got, text)
			}
		}
		for name, got := range map[string][]string{"identityPolicies": q.identity, "permissionsBoundaries": q.boundary, "sessionPolicies": q.session} {
			var list []json.RawMessage
			if raw := want.fields[name]; raw != nil && json.Unmarshal(raw, &list) != nil || len(list) != len(got) {
				t.Fatalf("%s has %d documents, want %d", name, len(got), len(list))
			}
			for i := range list {
				if !sameJSON(string(list[i]), got[i]) {
					t.Fatalf("%s: document %d is %s, want %s", name, i, got[i], list[i])
				}
			}
		}
	})
}

// sameText leaves texts that are not UTF-8 aside: encoding/json replaces them.
func sameText(want, got string) bool {
	return want == got || want == strings.ToValidUTF8(got, "\ufffd") || strings.ContainsRune(want, '\ufffd')
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func BenchmarkAnswer(b *testing.B) {
	line := `{"id":"1",` + request + `,"identityPolicies":[` + allow + `],"resourcePolicy":null,"permissionsBoundaries":[],"sessionPolicies":[],"serviceControlPolicies":[[` + allow + `]],"resourceControlPolicies":[]}`
	for name, brief := range map[string]bool{"full": false, "decision only": true} {
		b.Run(name, func(b *testing.B) {
			e := newEvaluator(brief)
			var out []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				out, _ = e.answer(out[:0], line)
			}
		})
	}
}

// TestRoomIsUsedAgain answers line after line with the lists of the first.
func TestRoomIsUsedAgain(t *testing.T) {
	e := newEvaluator(true)
	line := `{"request":{"callerArn":"arn:aws:iam::111111111111:user/a","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k"},
		"serviceControlPolicies":[[],[],[]],"resourceControlPolicies":[[],[]],"identityPolicies":[]}`
	for range 100 {
		e.answer(nil, line)
	}
	if got := cap(e.set.SCPs) + cap(e.request.RCPs); got > 16 {
		t.Errorf("room for %d levels after 100 lines of 5", got)
	}
}
