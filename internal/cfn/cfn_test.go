package cfn

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
)

// fake is a world in which some resources exist.
type fake map[string]map[string]string

func (f fake) Ref(id string) (string, bool) {
	v, ok := f[id]["Ref"]
	return v, ok
}

func (f fake) Attribute(id, name string) (*Node, bool) {
	r, ok := f[id]
	if !ok {
		return nil, false
	}
	v, ok := r[name]
	if !ok {
		return nil, true
	}
	return Text(v), true
}

func types(name string) (Schema, bool) {
	switch name {
	case "T":
		return Schema{Attributes: []string{"Arn", "Outputs."}, Replace: []string{"Name"}, Tags: true}, true
	}
	return Schema{}, false
}

func message(err error) string {
	var e *aws.Error
	if errors.As(err, &e) {
		return e.Message
	}
	if err != nil {
		return "not an aws.Error: " + err.Error()
	}
	return ""
}

var env = Env{
	Account: "111111111111", Region: "eu-central-1", StackName: "s", StackID: "arn:stack",
	Import: func(name string) (string, bool, error) { return "imported " + name, name != "missing", nil },
}

func TestFunctions(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"Ref of a parameter", `!Ref P`, `"p"`},
		{"Ref of a list parameter", `!Ref L`, `["a","b"]`},
		{"Ref of a resource", `!Ref R`, `"r-id"`},
		{"Ref of one that is not there", `!Ref Q`, `"{{changeSet:KNOWN_AFTER_APPLY}}"`},
		{"pseudo parameters", `[!Ref "AWS::Region", !Ref AWS::AccountId, !Ref AWS::Partition, !Ref AWS::URLSuffix]`,
			`["eu-central-1","111111111111","aws","amazonaws.com"]`},
		{"NoValue leaves a list", `[a, !Ref AWS::NoValue]`, `["a"]`},
		{"NoValue leaves an object", `{a: 1, b: !Ref AWS::NoValue}`, `{"a":1}`},
		{"GetAtt", `!GetAtt R.Arn`, `"r-arn"`},
		{"GetAtt as a list", `{"Fn::GetAtt": [R, Arn]}`, `"r-arn"`},
		{"GetAtt splits at the first dot", `!GetAtt R.Outputs.X`, `"out"`},
		{"Sub", `!Sub "${P}-${R}-${R.Arn}-${!P}-${AWS::Region}-$x"`, `"p-r-id-r-arn-${P}-eu-central-1-$x"`},
		{"Sub with values", `!Sub ["${A}${P}", {A: !Ref R}]`, `"r-idp"`},
		{"Sub is unknown with its parts", `!Sub "x${Q}"`, `"{{changeSet:KNOWN_AFTER_APPLY}}"`},
		{"Join", `!Join ["-", [a, !Ref P, 1]]`, `"a-p-1"`},
		{"Split", `!Split [",", "a,b,"]`, `["a","b",""]`},
		{"Select", `!Select [1, !Split [",", "a,b"]]`, `"b"`},
		{"Select by text", `!Select ["0", !Ref L]`, `"a"`},
		{"FindInMap", `!FindInMap [M, !Ref AWS::Region, K]`, `"mapped"`},
		{"ImportValue", `!ImportValue {"Fn::Sub": "${P}-x"}`, `"imported p-x"`},
		{"Base64", `!Base64 hello`, `"aGVsbG8="`},
		{"GetAZs", `!GetAZs ""`, `["eu-central-1a","eu-central-1b","eu-central-1c"]`},
		{"Cidr", `!Cidr ["10.0.0.0/16", 3, 8]`, `["10.0.0.0/24","10.0.1.0/24","10.0.2.0/24"]`},
		{"Cidr of version 6", `!Cidr ["2001:db8::/48", 2, 64]`, `["2001:db8::/64","2001:db8:0:1::/64"]`},
		{"If", `!If [Is, a, b]`, `"a"`},
		{"If not", `!If [Isnt, !Ref R, !Ref AWS::NoValue]`, `null`},
		{"a version is text", `{Version: 2012-10-17}`, `{"Version":"2012-10-17"}`},
		{"scalars keep text and type", `[0123, 1.50, "1", true, True, yes, "yes", 012345678901, 1e3]`,
			`["0123",1.50,"1",true,true,true,"yes","012345678901",1e3]`},
		{"a variable of IAM is escaped", `!Sub "${!aws:username}"`, `"${aws:username}"`},
		{"a Condition in a policy is no function", `{Condition: {Bool: {"aws:SecureTransport": "false"}}}`,
			`{"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `
Parameters: {P: {Type: String, Default: p}, L: {Type: CommaDelimitedList, Default: "a, b"}}
Mappings: {M: {eu-central-1: {K: mapped}}}
Conditions:
  Is: !And [!Equals [!Ref P, p], !Not [!Condition Isnt]]
  Isnt: !Or [!Equals [!Ref P, x], !Equals [!Ref P, y]]
Resources:
  R: {Type: T}
  Q: {Type: T}
  X:
    Type: T
    Properties:
      V: ` + tt.value + "\n"
			tpl, err := Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			e := env
			if e.Parameters, err = tpl.Bind(nil); err != nil {
				t.Fatal(err)
			}
			in, err := tpl.Instance(e)
			if err != nil {
				t.Fatal(err)
			}
			n, err := in.Properties("X", fake{"R": {"Ref": "r-id", "Arn": "r-arn", "Outputs.X": "out"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(n.Get("V").JSON()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	res := func(s string) string { return "Resources: {A: {Type: T, Properties: {V: " + s + "}}}" }
	for _, tt := range []struct{ name, body, want string }{
		{"text", "hello", "Template format error: unsupported structure."},
		{"nothing", "", "Template format error: unsupported structure."},
		{"broken YAML", "a: [", "Template format error: YAML not well-formed. (line 2, column 1)"},
		{"broken JSON", "{\n \"a\" 1}", "Template format error: JSON not well-formed. (line 2, column 6)"},
		{"more after JSON", "{} x", "Template format error: JSON not well-formed. (line 1, column 4)"},
		{"twice in YAML", "Resources: {A: {Type: T}, A: {Type: T}}", "Template format error: duplicate key A (line 1, column 27)"},
		{"twice in JSON", `{"Resources":{},"Resources":{}}`, "Template format error: duplicate key Resources (line 1, column 28)"},
		{"null", "Resources: {A: {Type: T, Properties: }}", "Template format error: [/Resources/A/Properties] 'null' values are not allowed in templates"},
		{"no resources", "Description: x", "Template format error: At least one Resources member must be defined."},
		{"unknown section", "Resource: {}", "Invalid template property or properties [Resource]"},
		{"wrong version", "AWSTemplateFormatVersion: 2010-09-08\nResources: {}", "Template format error: Template version is invalid"},
		{"resource is text", "Resources: {A: x}", "Template format error: Any Resources member must be an object."},
		{"no type", "Resources: {A: {}}", "Template format error: [/Resources/A] Every Resources object must contain a Type member."},
		{"strange attribute", "Resources: {A: {Type: T, Propertys: {}}}", "Invalid template resource property 'Propertys'"},
		{"resource name", "Resources: {A-b: {Type: T}}", "Template format error: Resource name A-b is non alphanumeric."},
		{"unknown Ref", res("!Ref B"), "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"},
		{"unknown Sub", res(`!Sub "${aws:username}"`), "Template format error: Unresolved resource dependencies [aws:username] in the Resources block of the template"},
		{"unknown GetAtt", res("!GetAtt B.Arn"), "Template error: instance of Fn::GetAtt references undefined resource B"},
		{"GetAtt without attribute", res("!GetAtt A"), "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"},
		{"unknown DependsOn", "Resources: {A: {Type: T, DependsOn: [B]}}", "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"},
		{"DependsOn a parameter", "Parameters: {P: {Type: String}}\nResources: {A: {Type: T, DependsOn: P}}", "Template format error: Unresolved resource dependencies [P] in the Resources block of the template"},
		{"unknown in outputs", "Resources: {A: {Type: T}}\nOutputs: {O: {Value: !Ref B}}", "Template format error: Unresolved resource dependencies [B] in the Outputs block of the template"},
		{"output without value", "Resources: {A: {Type: T}}\nOutputs: {O: {}}", "Template format error: Every Outputs member must contain a Value object"},
		{"unknown condition", "Resources: {A: {Type: T, Condition: C}}", "Template format error: Unresolved condition dependency C in the Resources block of the template"},
		{"condition on a resource", "Conditions: {C: !Equals [!Ref A, x]}\nResources: {A: {Type: T}}", "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Conditions block of the template"},
		{"condition of text", "Conditions: {C: true}\nResources: {A: {Type: T}}", "Template format error: Conditions can only be boolean operations on parameters and other conditions"},
		{"conditions in a circle", "Conditions: {C: !Not [!Condition D], D: !Not [!Condition C]}\nResources: {A: {Type: T}}", "Template format error: Found circular condition dependency between D and C"},
		{"circle", "Resources: {A: {Type: T, DependsOn: B}, B: {Type: T, Properties: {V: !Ref A}}, C: {Type: T, DependsOn: A}}", "Circular dependency between resources: [A, B]"},
		{"itself", res("!Ref A"), "Circular dependency between resources: [A]"},
		{"unknown tag", res("!Foo x"), "Template format error: unsupported tag !Foo (line 1, column 42)"},
		{"unknown function", res(`{"Fn::Foo": x}`), "Template error: unrecognized intrinsic function Fn::Foo"},
		{"language extension", res(`{"Fn::Length": [1]}`), "Template error: Fn::Length is only supported with the transform AWS::LanguageExtensions."},
		{"transform", "Transform: AWS::LanguageExtensions\nResources: {A: {Type: T}}", "Transform AWS::LanguageExtensions is not provided by sekisho."},
		{"macro", "Transform: [Mine]\nResources: {A: {Type: T}}", "No transform named Mine found."},
		{"dynamic reference", res(`"{{resolve:ssm:x}}"`), "Dynamic reference {{resolve:ssm:...}} needs a service that sekisho does not provide."},
		{"SSM parameter", "Parameters: {P: {Type: 'AWS::SSM::Parameter::Value<String>'}}\nResources: {A: {Type: T}}", "Parameters of type AWS::SSM::Parameter::Value<String> need Systems Manager, which sekisho does not provide."},
		{"parameter type", "Parameters: {P: {Type: Text}}\nResources: {A: {Type: T}}", "Template format error: Unrecognized parameter type: Text"},
		{"snapshot", "Resources: {A: {Type: T, DeletionPolicy: Snapshot}}", "Template format error: DeletionPolicy type T does not support Snapshot"},
		{"deletion policy", "Resources: {A: {Type: T, DeletionPolicy: Keep}}", "Template format error: Unrecognized DeletionPolicy Keep for resource A"},
		{"alias bomb", bomb(), "Template format error: the template holds too many values"},
		{"deep", res(strings.Repeat("[", 300) + strings.Repeat("]", 300)), "Template format error: values are nested too deeply"},
		{"circle of aliases", "Resources: &a {A: *a}", "Template format error: YAML aliases form a circle (line 1, column 19)"},
		{"merge key", "x: &a {A: 1}\nResources: {<<: *a}", "Template format error: YAML not well-formed. (line 2, column 13)"},
		{"unknown type", "Resources: {A: {Type: X}, B: {Type: Y}}", "Template format error: Unrecognized resource types: [X, Y]"},
		{"unknown attribute", "Resources: {A: {Type: T}, B: {Type: T, Properties: {V: !GetAtt A.Foo}}}", "Template error: resource A does not support attribute type Foo in Fn::GetAtt"},
		{"unknown attribute in an output", "Resources: {A: {Type: T}}\nOutputs: {O: {Value: !GetAtt A.Foo}}", "Template error: resource A does not support attribute type Foo in Fn::GetAtt"},
		{"Join", res("!Join [a]"), "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."},
		{"Select past the end", res("!Select [3, [a]]"), "Template error: Fn::Select  cannot select nonexistent value at index 3"},
		{"FindInMap", "Mappings: {M: {a: {b: c}}}\n" + res("!FindInMap [M, x, b]"), "Template error: Unable to get mapping for M::x::b"},
		{"no map", res("!FindInMap [M, x, b]"), "Template error: Mapping named 'M' is not present in the 'Mappings' section of template."},
		{"no export", res("!ImportValue missing"), "No export named missing found."},
		{"inactive resource", "Conditions: {C: !Equals [a, b]}\nResources: {A: {Type: T, Condition: C}, B: {Type: T, Properties: {V: !Ref A}}}", "Template format error: Unresolved resource dependencies [A] in the Resources block of the template"},
		{"inactive resource in an output", "Conditions: {C: !Equals [a, b]}\nResources: {A: {Type: T, Condition: C}, B: {Type: T}}\nOutputs: {O: {Value: !Ref A}}", "Template format error: Unresolved resource dependencies [A] in the Outputs block of the template"},
		{"rule", "Rules: {R: {Assertions: [{Assert: !Not [!Contains [[a, b], a]], AssertDescription: no a}]}}\nResources: {A: {Type: T}}", "Template error: rule R: no a"},
		{"output of a list", "Resources: {A: {Type: T}}\nOutputs: {O: {Value: [a]}}", "Template format error: Output O is malformed. The Value field of every Outputs member must evaluate to a String."},
		{"two documents", "Resources: {A: {Type: T}}\n---\nResources: {B: {Type: T}}", "Template format error: a template is one YAML document (line 2, column 1)"},
		{"no document", "# nothing", "Template format error: unsupported structure."},
		{"condition of an output that is none", "Resources: {A: {Type: T}}\nOutputs: {O: {Value: x, Condition: !Equals [a, b]}}", "Template format error: Every Condition member must be a string."},
		{"description of an output that is none", "Resources: {A: {Type: T}}\nOutputs: {O: {Value: x, Description: !Ref A}}", "Template format error: [/Outputs/O/Description] Every Description member must be a string."},
		{"NoEcho that is none", "Parameters: {P: {Type: String, NoEcho: perhaps}}\nResources: {A: {Type: T}}", "Template format error: [/Parameters/P/NoEcho] Every NoEcho member must be true or false."},
		{"description of a parameter that is none", "Parameters: {P: {Type: String, Description: [x]}}\nResources: {A: {Type: T}}", "Template format error: [/Parameters/P/Description] Every Description member must be a string."},
		{"one name twice", "Parameters: {A: {Type: String, Default: x}}\nResources: {A: {Type: T}}", "Template format error: Resource name A is the name of a parameter, too."},
		{"member of a rule", "Rules: {R: {Assertions: [], Assertion: []}}\nResources: {A: {Type: T}}", "Invalid template rule property 'Assertion'"},
		{"member of an assertion", "Rules: {R: {Assertions: [{Assert: !Equals [a, a], Description: x}]}}\nResources: {A: {Type: T}}", "Invalid template assertion property 'Description'"},
		{"objects in a mapping", "Mappings: {M: {a: {b: [{c: d}]}}}\nResources: {A: {Type: T}}", "Template format error: Every Mappings attribute must be a String or a List."},
		{"import in a condition", "Conditions: {C: !Equals [!ImportValue x, x]}\nResources: {A: {Type: T}}", "Template error: Cannot use Fn::ImportValue in Conditions."},
		{"zones of a list", res("!GetAZs [a]"), "Template error: Fn::GetAZs requires the name of a region"},
		{"dynamic reference that is built", res(`!Join [":", ["{{resolve", "ssm", "x}}"]]`), "Dynamic reference {{resolve:ssm:...}} needs a service that sekisho does not provide."},
		{"dynamic reference from a parameter", "Parameters: {P: {Type: String, Default: '{{resolve:ssm:x}}'}}\n" + res("!Ref P"), "Dynamic reference {{resolve:ssm:...}} needs a service that sekisho does not provide."},
		{"growing text", grow(), "Template error: the values of a template may not exceed 16777216 bytes"},
		{"growing lists", "Mappings: {M: {a: {b: [" + strings.Repeat("x,", 1000) + "x]}}}\n" + res("["+strings.Repeat("!FindInMap [M, a, b],", 1000)+"x]"), "Template error: the values of a template may not exceed 16777216 bytes"},
		{"many parts", res(`!Split ["x", "` + strings.Repeat("x", 500_000) + `"]`), "Template error: the values of a template may not exceed 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := message(deploy(tt.body))
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// deploy walks a template through everything that may refuse it.
func deploy(body string) error {
	tpl, err := Parse(body)
	if err != nil {
		return err
	}
	if err := tpl.Check(types); err != nil {
		return err
	}
	e := env
	e.Types = types
	if e.Parameters, err = tpl.Bind(nil); err != nil {
		return err
	}
	in, err := tpl.Instance(e)
	if err != nil {
		return err
	}
	if _, err := in.Imports(); err != nil {
		return err
	}
	_, err = in.Changes(in, nil, fake{}, types)
	return err
}

func bomb() string {
	s := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		s += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	return s
}

func grow() string {
	v := "xxxxxxxxxx"
	for range 30 {
		v = `!Sub ["${a}${a}", {a: ` + v + `}]`
	}
	return "Resources: {A: {Type: T, Properties: {V: " + v + "}}}"
}

func TestParameters(t *testing.T) {
	for _, tt := range []struct{ name, parameter, value, want string }{
		{"given", "Type: String", "x", ""},
		{"missing", "Type: String", "", "Parameters: [P] must have values"},
		{"allowed", "Type: String, AllowedValues: [a, b]", "c", "Parameter 'P' must be one of AllowedValues"},
		{"allowed numbers", "Type: Number, AllowedValues: [1, 2]", "2", ""},
		{"pattern", `Type: String, AllowedPattern: "[a-z]+"`, "ab1", "Parameter 'P' must match pattern [a-z]+"},
		{"described", `Type: String, AllowedPattern: "[a-z]+", ConstraintDescription: lower case`, "A", "Parameter 'P' failed to satisfy constraint: lower case"},
		{"short", "Type: String, MinLength: 3", "ab", "Parameter 'P' must contain at least 3 characters"},
		{"long", "Type: String, MaxLength: '3'", "abcd", "Parameter 'P' must contain at most 3 characters"},
		{"no number", "Type: Number", "x", "Parameter 'P' must be a number"},
		{"small", "Type: Number, MinValue: 3", "2", "Parameter 'P' must be a number not less than 3"},
		{"large", "Type: Number, MaxValue: 3", "4", "Parameter 'P' must be a number not greater than 3"},
		{"list of numbers", "Type: List<Number>", "1, 2,x", "Parameter 'P' must be a number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tpl, err := Parse("Parameters: {P: {" + tt.parameter + "}}\nResources: {A: {Type: T}}")
			if err != nil {
				t.Fatal(err)
			}
			given := map[string]string{}
			if tt.value != "" {
				given["P"] = tt.value
			}
			_, err = tpl.Bind(given)
			if got := message(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	tpl, err := Parse("Resources: {A: {Type: T}}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpl.Bind(map[string]string{"Y": "", "X": ""})
	if got, want := message(err), "Parameters: [X, Y] do not exist in the template"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChanges(t *testing.T) {
	const before = `
Parameters: {P: {Type: String, Default: p}}
Resources:
  A: {Type: T, Properties: {Name: !Ref P, Size: 1}}
  B: {Type: T, Properties: {Name: b, Of: !GetAtt A.Arn}}
  C: {Type: T, Properties: {Name: !Ref A}}
  D: {Type: T, DeletionPolicy: Retain, DependsOn: A}
  E: {Type: T}
`
	for _, tt := range []struct {
		name, after string
		given       map[string]string
		want        []string
	}{
		{"nothing", before, nil, nil},
		{"in place", strings.Replace(before, "Size: 1", "Size: 2", 1), nil,
			[]string{"Modify A False Size/Never/Static/DirectModification/"}},
		{"same number as text", strings.Replace(before, "Size: 1", "Size: '1'", 1), nil, nil},
		{"by parameter, with those that refer to it", before, map[string]string{"P": "q"}, []string{
			"Modify A True Name/Always/Static/ParameterReference/P",
			"Modify B False Of/Never/Dynamic/ResourceAttribute/A.Arn",
			"Modify C Conditional Name/Conditionally/Dynamic/ResourceReference/A",
		}},
		{"added and removed", strings.Replace(strings.Replace(before, "  E: {", "  F: {", 1), "  D: {Type: T, DeletionPolicy: Retain, DependsOn: A}\n", "", 1), nil,
			[]string{"Add F ", "Remove D Retain", "Remove E Delete"}},
		{"metadata", strings.Replace(before, "E: {Type: T", "E: {Type: T, Metadata: {x: y}", 1), nil,
			[]string{"Modify E False //Static/DirectModification/"}},
		{"deletion policy", strings.Replace(before, "E: {Type: T", "E: {Type: T, DeletionPolicy: Retain", 1), nil,
			[]string{"Modify E False //Static/DirectModification/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := fake{"A": {"Ref": "a", "Arn": "arn:a"}, "B": {"Ref": "b"}, "C": {"Ref": "c"}, "D": {"Ref": "d"}, "E": {"Ref": "e"}}
			old := instance(t, before, nil)
			states := map[string]State{}
			for _, id := range old.Active() {
				p, err := old.Properties(id, world)
				if err != nil {
					t.Fatal(err)
				}
				r, _ := old.Resource(id)
				states[id] = State{Type: "T", PhysicalID: world[id]["Ref"], Properties: p, DeletionPolicy: r.DeletionPolicy}
			}
			changes, err := instance(t, tt.after, tt.given).Changes(old, states, world, types)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				s := c.Action + " " + c.LogicalID + " " + c.Replacement
				if c.Action == "Remove" {
					s += c.PolicyAction
				}
				for _, d := range c.Details {
					s += " " + strings.Join([]string{d.Name, d.RequiresRecreation, d.Evaluation, d.Source, d.CausingEntity}, "/")
				}
				got = append(got, s)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func instance(t *testing.T, body string, given map[string]string) *Instance {
	t.Helper()
	tpl, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	e := env
	if e.Parameters, err = tpl.Bind(given); err != nil {
		t.Fatal(err)
	}
	in, err := tpl.Instance(e)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestStackTagsReachResources(t *testing.T) {
	tpl, err := Parse(`Resources: {A: {Type: T, Properties: {Tags: [{Key: a, Value: own}]}}}`)
	if err != nil {
		t.Fatal(err)
	}
	e := env
	e.Types, e.Tags = types, []aws.Tag{{Key: "a", Value: "stack"}, {Key: "b", Value: "stack"}}
	in, err := tpl.Instance(e)
	if err != nil {
		t.Fatal(err)
	}
	n, err := in.Properties("A", fake{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Tags":[{"Key":"a","Value":"own"},{"Key":"b","Value":"stack"}]}`
	if got := string(n.JSON()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecode(t *testing.T) {
	type inner struct{ Name string }
	type outer struct {
		Text     string `cfn:",required"`
		Flag     *bool
		Count    *int64
		Document *Node
		List     []inner
		Map      map[string]string
		Renamed  string `cfn:"Other"`
	}
	for _, tt := range []struct{ body, want string }{
		{`{"Text":5,"Flag":"true","Count":"7","Document":{"a":1},"List":[{"Name":"x"}],"Map":{"k":true},"Other":"o"}`, ""},
		{`{}`, "Property Text cannot be empty."},
		{`{"Text":"x","Nope":1}`, "Encountered unsupported property Nope"},
		{`{"Text":"x","List":[{"Nope":1}]}`, "Encountered unsupported property Nope"},
		{`{"Text":["x"]}`, "Value of property Text must be of type String"},
		{`{"Text":"x","Flag":"maybe"}`, "Value of property Flag must be of type Boolean"},
		{`{"Text":"x","Count":"1.5"}`, "Value of property Count must be of type Number"},
		{`{"Text":"x","List":{}}`, "Value of property List must be of type List"},
		{`{"Text":"x","List":["a"]}`, "Value of property List must be an object"},
		{`{"Text":"x","Map":"a"}`, "Value of property Map must be an object"},
	} {
		n, err := ParseValue(tt.body)
		if err != nil {
			t.Fatal(err)
		}
		var o outer
		got := ""
		if err := Decode(n, &o); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.body, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Resources: {A: {Type: T, Properties: {V: !Sub '${AWS::Region}'}}}")
	f.Add(`{"Resources":{"A":{"Type":"T","Properties":{"V":{"Fn::Join":["",["a",{"Ref":"B"}]]}}},"B":{"Type":"T"}}}`)
	f.Add("Conditions: {C: !Equals [a, b]}\nResources: {A: {Type: T, Condition: C}}\nOutputs: {O: {Value: !If [C, !Ref A, x], Export: {Name: y}}}")
	f.Add("Parameters: {P: {Type: CommaDelimitedList, Default: 'a,b'}}\nResources: {A: {Type: T, Properties: {V: !Select [0, !Ref P], W: !Cidr [10.0.0.0/16, 2]}}}")
	f.Add(bomb())
	f.Fuzz(func(t *testing.T, body string) {
		err := deploy(body)
		var e *aws.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no answer", err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("Resources:\n")
	for i := range 20 {
		id := string(rune('A' + i))
		s.WriteString("  " + id + ":\n    Type: T\n    Properties:\n      Name: !Sub '${AWS::StackName}-" + id +
			"'\n      Policy:\n        Version: 2012-10-17\n        Statement:\n          - Effect: Allow\n            Action: ['s3:Get*', 's3:Put*']\n            Resource: '*'\n")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(s.String()); err != nil {
			b.Fatal(err)
		}
	}
}
