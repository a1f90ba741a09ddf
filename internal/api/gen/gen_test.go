package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `{
  "metadata": {"apiVersion": "2020-01-01", "endpointPrefix": "toys", "protocol": "json", "targetPrefix": "Toys"},
  "operations": {
    "PutToy": {"name": "PutToy", "http": {"method": "POST", "requestUri": "/"}, "input": {"shape": "PutToyRequest"}, "errors": [{"shape": "NoToy"}]},
    "GetToy": {"name": "GetToy", "http": {"method": "POST", "requestUri": "/"}, "output": {"shape": "Toy"}}
  },
  "shapes": {
    "PutToyRequest": {"type": "structure", "required": ["name"], "members": {"name": {"shape": "Name"}, "toy": {"shape": "Toy"}, "tags": {"shape": "Tags"}, "secret": {"shape": "Secret"}}},
    "Toy": {"type": "structure", "members": {"parts": {"shape": "Toys"}, "made": {"shape": "Time"}, "size": {"shape": "Size"}}},
    "Toys": {"type": "list", "member": {"shape": "Toy"}},
    "Tags": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "Name"}},
    "Name": {"type": "string", "min": 1, "pattern": "[\\u0020-\\u00FF]+"},
    "Secret": {"type": "string", "sensitive": true},
    "Time": {"type": "timestamp"},
    "Size": {"type": "integer", "max": 5},
    "NoToy": {"type": "structure", "members": {"Message": {"shape": "Secret"}, "toy": {"shape": "Name"}}, "exception": true, "error": {"httpStatusCode": 404}}
  }
}`

func parse(t *testing.T, text string) *model {
	t.Helper()
	m := new(model)
	if err := json.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGenerate(t *testing.T) {
	files, err := generate("toys", parse(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, f := range files {
		if !strings.HasPrefix(string(f.text), header) {
			t.Errorf("%s does not say that it is generated", f.name)
		}
		all += string(f.text)
	}
	squeezed := strings.Join(strings.Fields(all), " ")
	for _, want := range []string{
		"type PutToyInput struct { Name string `aws:\"name,required,rule=Name\"` Toy *Toy `aws:\"toy\"` Tags map[string]string `aws:\"tags,rule=Tags\"` Secret string `aws:\"secret,sensitive\"` }",
		"type PutToyOutput struct{}",
		"type GetToyOutput struct { Parts []Toy `aws:\"parts\"` Made *time.Time `aws:\"made\"` Size *int64 `aws:\"size,rule=Size\"` }",
		"type Toy struct { Parts []Toy",
		"func (c Client) PutToy(ctx context.Context, in *PutToyInput) (*PutToyOutput, error)",
		`{Name: "PutToy", Method: "POST", URI: "/", Status: 0, In: reflect.TypeFor[PutToyInput](), Out: reflect.TypeFor[PutToyOutput](), Void: true, Errors: []string{"NoToy"}}`,
		`{Code: "NoToy", Status: 404, Members: []string{"toy"}}`,
		`"Name": {Min: new(1.0), Pattern: "[\\u0020-\\u00FF]+", RE2: "[\\x{0020}-\\x{00FF}]+"}`,
		`"Tags": {Elem: "Name", Key: "Name"}`,
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("missing:\n%s", want)
		}
	}
	if t.Failed() {
		t.Log(squeezed)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"two structures of one name", `"Toy": {"type"`, `"PutToyOutput": {"type": "structure", "members": {}}, "Toy": {"type"`, ""},
		{"a shape of a name that an output has", `"toy": {"shape": "Toy"}, "tags"`, `"toy": {"shape": "PutToyOutput"}, "tags"`, "both named"},
		{"an unknown protocol", `"protocol": "json"`, `"protocol": "smoke"`, `protocol "smoke"`},
		{"an unknown type", `"Size": {"type": "integer"`, `"Size": {"type": "colour"`, `has type "colour"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(sample, tt.from, tt.to, 1)
			text = strings.Replace(text, `"Toy": {"type"`, `"PutToyOutput": {"type": "structure", "members": {}}, "Toy": {"type"`, 1)
			_, err := generate("toys", parse(t, text))
			if got := errText(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRE2(t *testing.T) {
	for _, tt := range []struct{ java, want string }{
		{`[\w+=,.@-]+`, `[\w+=,.@-]+`},
		{`[\u0009\u0020-\u00FF]+`, `[\x{0009}\x{0020}-\x{00FF}]+`},
		{`[\uE000-\uFFFD\u10000-\u10FFFF]+`, `[\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]+`},
		{`a(?!b)`, "-"},
	} {
		if got := re2(tt.java); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.java, got, tt.want)
		}
	}
}

func TestSpeaksOf(t *testing.T) {
	stems := []string{"path", "commit", "repositoryname"}
	for _, tt := range []struct {
		member, shape string
		want          bool
	}{
		{"filePath", "Path", true},
		{"commitSpecifier", "CommitName", true},
		{"repositoryNames", "RepositoryNameList", true},
		{"maxResults", "Limit", false},
	} {
		if got := speaksOf(stems, member{tt.member, ref{Shape: tt.shape}}); got != tt.want {
			t.Errorf("%s: %v", tt.member, got)
		}
	}
}

func TestPutChecks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sub", "x.go")
	if err := put(name, []byte("a"), true); err == nil || !strings.Contains(err.Error(), "is stale: run make generate") {
		t.Errorf("a missing file: %v", err)
	}
	if err := put(name, []byte("a"), false); err != nil {
		t.Fatal(err)
	}
	if err := put(name, []byte("a"), true); err != nil {
		t.Errorf("a current file: %v", err)
	}
	if err := put(name, []byte("b"), true); err == nil {
		t.Error("a stale file passes")
	}
	if got, _ := os.ReadFile(name); string(got) != "a" {
		t.Errorf("-check wrote %q", got)
	}
}
