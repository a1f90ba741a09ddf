package eventpattern

import (
	"errors"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name, pattern, event string
		want                 bool
	}{
		// Structure.
		{"string", `{"source":["aws.kms"]}`, `{"source":"aws.kms"}`, true},
		{"other string", `{"source":["aws.kms"]}`, `{"source":"aws.s3"}`, false},
		{"case counts", `{"source":["aws.kms"]}`, `{"source":"AWS.kms"}`, false},
		{"name case counts", `{"Source":["aws.kms"]}`, `{"source":"aws.kms"}`, false},
		{"one of", `{"source":["a","b"]}`, `{"source":"b"}`, true},
		{"and", `{"a":["x"],"b":["y"]}`, `{"a":"x","b":"z"}`, false},
		{"nested", `{"detail":{"state":["on"]}}`, `{"detail":{"state":"on","more":1}}`, true},
		{"nested absent", `{"detail":{"state":["on"]}}`, `{"detail":{}}`, false},
		{"object where a leaf is wanted", `{"detail":["on"]}`, `{"detail":{"on":"on"}}`, false},
		{"leaf where an object is wanted", `{"detail":{"on":["on"]}}`, `{"detail":"on"}`, false},
		{"array intersects", `{"resources":["a","b"]}`, `{"resources":["c","b"]}`, true},
		{"array does not intersect", `{"resources":["a"]}`, `{"resources":["c"]}`, false},
		{"empty array", `{"resources":["a"]}`, `{"resources":[]}`, false},
		{"null against empty array", `{"resources":[null]}`, `{"resources":[]}`, false},
		{"array in array", `{"a":["x"]}`, `{"a":[["x"]]}`, true},
		{"escapes", `{"a":["x\u00e9\"\\"]}`, `{"a":"xé\u0022\u005c"}`, true},
		{"surrogates", `{"a":["\ud83d\ude00"]}`, `{"a":"😀"}`, true},
		{"last of equal names", `{"a":["x"],"a":["y"]}`, `{"a":"y"}`, true},
		{"last of equal names in the event", `{"a":["x"]}`, `{"a":"x","a":"y"}`, false},
		{"dots in the pattern", `{"detail.state":["on"]}`, `{"detail":{"state":"on"}}`, true},
		{"dots in the event", `{"detail":{"state":["on"]}}`, `{"detail.state":"on"}`, true},
		{"dots beside levels", `{"a":{"b":["1"],"c":["2"]}}`, `{"a.b":"1","a":{"b":"1","c":"2"}}`, true},
		// Same element.
		{"same element", `{"d":{"x":[1],"y":[2]}}`, `{"d":[{"x":1,"y":3},{"x":1,"y":2}]}`, true},
		{"different elements", `{"d":{"x":[1],"y":[2]}}`, `{"d":[{"x":1,"y":3},{"x":2,"y":2}]}`, false},
		{"different arrays", `{"d":{"x":[1]},"e":{"y":[2]}}`, `{"d":[{"x":1},{"x":2}],"e":[{"y":1},{"y":2}]}`, true},
		{"nested arrays", `{"d":{"e":{"x":[1],"y":[2]},"z":[9]}}`, `{"d":[{"e":[{"x":1,"y":2}],"z":8},{"e":[{"x":1,"y":0},{"x":0,"y":2}],"z":9}]}`, false},
		{"nested arrays match", `{"d":{"e":{"x":[1],"y":[2]},"z":[9]}}`, `{"d":[{"e":[{"x":1,"y":2}],"z":9}]}`, true},
		// Literals.
		{"true", `{"a":[true]}`, `{"a":true}`, true},
		{"true is no string", `{"a":[true]}`, `{"a":"true"}`, false},
		{"false", `{"a":[false]}`, `{"a":true}`, false},
		{"null", `{"a":[null]}`, `{"a":null}`, true},
		{"null is not empty", `{"a":[null]}`, `{"a":""}`, false},
		{"null is not absent", `{"a":[null]}`, `{}`, false},
		{"empty string", `{"a":[""]}`, `{"a":""}`, true},
		{"number", `{"a":[300]}`, `{"a":300}`, true},
		{"number written otherwise", `{"a":[300]}`, `{"a":3.00e2}`, true},
		{"small number written otherwise", `{"a":[0.0030]}`, `{"a":30E-4}`, true},
		{"zero", `{"a":[0]}`, `{"a":-0.0e7}`, true},
		{"large integers are exact", `{"a":[9007199254740993]}`, `{"a":9007199254740992}`, false},
		{"number is no string", `{"a":[300]}`, `{"a":"300"}`, false},
		{"account is a string", `{"account":["111111111111"]}`, `{"account":111111111111}`, false},
		{"ip address written otherwise", `{"a":["::1"]}`, `{"a":"0:0:0:0:0:0:0:1"}`, true},
		// Strings.
		{"prefix", `{"a":[{"prefix":"aws."}]}`, `{"a":"aws.kms"}`, true},
		{"prefix not", `{"a":[{"prefix":"aws."}]}`, `{"a":"my.aws."}`, false},
		{"empty prefix", `{"a":[{"prefix":""}]}`, `{"a":"x"}`, true},
		{"prefix of number", `{"a":[{"prefix":"1"}]}`, `{"a":12}`, false},
		{"prefix ignoring case", `{"a":[{"prefix":{"equals-ignore-case":"ÉC2"}}]}`, `{"a":"éc2 state"}`, true},
		{"prefix ignoring case, too short", `{"a":[{"prefix":{"equals-ignore-case":"EC2"}}]}`, `{"a":"ec"}`, false},
		{"suffix", `{"a":[{"suffix":".png"}]}`, `{"a":"x.png"}`, true},
		{"suffix not", `{"a":[{"suffix":".png"}]}`, `{"a":"x.png.gz"}`, false},
		{"suffix ignoring case", `{"a":[{"suffix":{"equals-ignore-case":".pNg"}}]}`, `{"a":"X.PnG"}`, true},
		{"suffix ignoring case not", `{"a":[{"suffix":{"equals-ignore-case":".pNg"}}]}`, `{"a":"X.PnX"}`, false},
		{"ignoring case", `{"a":[{"equals-ignore-case":"Alice"}]}`, `{"a":"aLICE"}`, true},
		{"ignoring case not", `{"a":[{"equals-ignore-case":"Alice"}]}`, `{"a":"alicia"}`, false},
		{"exact", `{"a":[{"exact":"x"}]}`, `{"a":"x"}`, true},
		{"wildcard", `{"a":[{"wildcard":"dir/*.png"}]}`, `{"a":"dir/x/y.png"}`, true},
		{"wildcard of nothing", `{"a":[{"wildcard":"dir/*.png"}]}`, `{"a":"dir/.png"}`, true},
		{"wildcard does not overlap", `{"a":[{"wildcard":"ab*ba"}]}`, `{"a":"aba"}`, false},
		{"wildcards in order", `{"a":[{"wildcard":"*x*y*"}]}`, `{"a":"--y--x--"}`, false},
		{"wildcards", `{"a":[{"wildcard":"*x*y*"}]}`, `{"a":"xy"}`, true},
		{"wildcard star", `{"a":[{"wildcard":"a\\*b\\\\"}]}`, `{"a":"a*b\\"}`, true},
		{"wildcard star is no wildcard", `{"a":[{"wildcard":"a\\*b"}]}`, `{"a":"axb"}`, false},
		{"wildcard without wildcards", `{"a":[{"wildcard":"ab"}]}`, `{"a":"abc"}`, false},
		// Numbers.
		{"numeric =", `{"a":[{"numeric":["=",3.018e2]}]}`, `{"a":301.8}`, true},
		{"numeric <", `{"a":[{"numeric":["<",10]}]}`, `{"a":10}`, false},
		{"numeric <=", `{"a":[{"numeric":["<=",10]}]}`, `{"a":10.0}`, true},
		{"numeric >", `{"a":[{"numeric":[">",-1.5]}]}`, `{"a":-1.4999}`, true},
		{"numeric >=", `{"a":[{"numeric":[">=",100]}]}`, `{"a":99.999999}`, false},
		{"numeric range", `{"a":[{"numeric":[">",0,"<=",5]}]}`, `{"a":5}`, true},
		{"numeric range open", `{"a":[{"numeric":[">",0,"<=",5]}]}`, `{"a":0}`, false},
		{"numeric range above", `{"a":[{"numeric":[">",0,"<=",5]}]}`, `{"a":5.1}`, false},
		{"numeric string", `{"a":[{"numeric":[">",0]}]}`, `{"a":"5"}`, false},
		{"numeric beyond the range", `{"a":[{"numeric":[">",0]}]}`, `{"a":6e9}`, false},
		{"numeric huge exponent", `{"a":[{"numeric":[">",0]}]}`, `{"a":1e-99999999999999999999}`, true},
		// Addresses.
		{"cidr", `{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"10.0.0.255"}`, true},
		{"cidr not", `{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"10.0.1.0"}`, false},
		{"cidr begins with its address", `{"a":[{"cidr":"10.0.0.8/24"}]}`, `{"a":"10.0.0.7"}`, false},
		{"cidr of everything", `{"a":[{"cidr":"0.0.0.0/0"}]}`, `{"a":"192.0.2.1"}`, true},
		{"cidr v6", `{"a":[{"cidr":"2001:db8::/32"}]}`, `{"a":"2001:db8:1::1"}`, true},
		{"cidr v6 against v4", `{"a":[{"cidr":"::/0"}]}`, `{"a":"10.0.0.1"}`, false},
		{"cidr of text", `{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"ten"}`, false},
		// Existence.
		{"exists", `{"a":[{"exists":true}]}`, `{"a":""}`, true},
		{"exists null", `{"a":[{"exists":true}]}`, `{"a":null}`, true},
		{"exists not", `{"a":[{"exists":true}]}`, `{"b":1}`, false},
		{"exists is for leaves", `{"a":[{"exists":true}]}`, `{"a":{"b":1}}`, false},
		{"exists not in empty array", `{"a":[{"exists":true}]}`, `{"a":[]}`, false},
		{"absent", `{"a":[{"exists":false}],"b":[1]}`, `{"b":1}`, true},
		{"absent not", `{"a":[{"exists":false}]}`, `{"a":null}`, false},
		{"absent with parent", `{"d":{"a":[{"exists":false}]}}`, `{"b":1}`, true},
		{"absent object", `{"d":[{"exists":false}]}`, `{"d":{"x":1}}`, true},
		{"absent in every element", `{"d":{"a":[{"exists":false}],"b":[1]}}`, `{"d":[{"b":1},{"a":1}]}`, false},
		{"absent or", `{"a":[{"exists":false},"x"]}`, `{"a":"x"}`, true},
		{"absent or neither", `{"a":[{"exists":false},"x"]}`, `{"a":"y"}`, false},
		{"absent beside a leaf below", `{"d":{"a":[{"exists":false}],"e":{"f":[1]}}}`, `{"d":{"e":{"f":2}}}`, false},
		// Anything but.
		{"but string", `{"a":[{"anything-but":"x"}]}`, `{"a":"y"}`, true},
		{"but string not", `{"a":[{"anything-but":"x"}]}`, `{"a":"x"}`, false},
		{"but string, null", `{"a":[{"anything-but":"x"}]}`, `{"a":null}`, true},
		{"but string, absent", `{"a":[{"anything-but":"x"}]}`, `{}`, false},
		{"but number", `{"a":[{"anything-but":5}]}`, `{"a":5.0}`, false},
		{"but numbers", `{"a":[{"anything-but":[5,6]}]}`, `{"a":7}`, true},
		{"but number, string", `{"a":[{"anything-but":5}]}`, `{"a":"5"}`, true},
		{"but strings", `{"a":[{"anything-but":["x","y"]}]}`, `{"a":"y"}`, false},
		{"but in array", `{"a":[{"anything-but":["x","y"]}]}`, `{"a":["y","z"]}`, true},
		{"but in array not", `{"a":[{"anything-but":["x","y"]}]}`, `{"a":["y","x"]}`, false},
		{"but prefix", `{"a":[{"anything-but":{"prefix":"in"}}]}`, `{"a":"init"}`, false},
		{"but prefixes", `{"a":[{"anything-but":{"prefix":["in","out"]}}]}`, `{"a":"up"}`, true},
		{"but prefix of number", `{"a":[{"anything-but":{"prefix":"1"}}]}`, `{"a":12}`, true},
		{"but suffix", `{"a":[{"anything-but":{"suffix":[".txt",".rtf"]}}]}`, `{"a":"a.rtf"}`, false},
		{"but ignoring case", `{"a":[{"anything-but":{"equals-ignore-case":["a","B"]}}]}`, `{"a":"b"}`, false},
		{"but wildcard", `{"a":[{"anything-but":{"wildcard":"*/lib/*"}}]}`, `{"a":"x/lib/y"}`, false},
		{"but wildcards", `{"a":[{"anything-but":{"wildcard":["*/lib/*","*/bin/*"]}}]}`, `{"a":"x/src/y"}`, true},
		// $or.
		{"or first", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"a":1}`, true},
		{"or second", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"b":2}`, true},
		{"or none", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"a":2,"b":1}`, false},
		{"or and", `{"c":[3],"$or":[{"a":[1]},{"b":[2]}]}`, `{"a":1}`, false},
		{"or before and", `{"$or":[{"a":[1]},{"b":[2]}],"c":[3]}`, `{"b":2,"c":3}`, true},
		{"or below", `{"d":{"$or":[{"a":[1]},{"b":[2],"c":[3]}]}}`, `{"d":{"b":2,"c":3}}`, true},
		{"or below not", `{"d":{"$or":[{"a":[1]},{"b":[2],"c":[3]}]}}`, `{"d":{"b":2}}`, false},
		{"or in or", `{"$or":[{"$or":[{"a":[1]},{"a":[2]}]},{"b":[3]}]}`, `{"a":2}`, true},
		{"or with exists", `{"$or":[{"a":[{"exists":false}]},{"b":[2]}]}`, `{"a":1,"b":2}`, true},
		{"or is a name with scalars", `{"$or":["x"]}`, `{"$or":"x"}`, true},
		{"or is a name before match types", `{"$or":[{"prefix":"x"},{"suffix":"y"}]}`, `{"$or":"my"}`, true},
		{"or is a name before an object", `{"$or":{"a":[1]}}`, `{"$or":{"a":1}}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Match([]byte(tt.event))
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("match = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	at := func(pattern, place string) string {
		return "\n at [Source: (String)\"" + pattern + "\"; " + place + "]"
	}
	for _, tt := range []struct{ pattern, reason, place string }{
		{`{"int": 42}`, `"int" must be an object or an array`, "line: 1, column: 11"},
		{`{"string": "my-value"}`, `"string" must be an object or an array`, "line: 1, column: 13"},
		{`{"detail": {"equal": [{"NUMERIC": ["=", 5]}]}}`, `Unrecognized match type NUMERIC`, "line: 1, column: 36"},
		{`{"resources": []}`, `Empty arrays are not allowed`, "line: 1, column: 17"},
		{`{"my_key": [{"EXISTS": true}]}`, `Unrecognized match type EXISTS`, "line: 1, column: 28"},
		{`{"detail": {"c-count": [{"numeric": [">", 0, ">", 0]}]}}`, `Bad numeric range operator: >`, "line: 1, column: 49"},
		{`{"detail": {"c-count": [{"numeric": [">", 0, "<"]}]}}`, `Value of < must be numeric`, "line: 1, column: 50"},
		{`{"detail-type": [{"equals-ignore-case": ["x"]}]}`, `equals-ignore-case match pattern must be a string`, "line: 1, column: 42"},
		{`{"detail": {"state": [{"anything-but": {"equals-ignore-case": 123}}]}}`, `Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.`, "line: 1, column: 66"},
		{`{"EventBusArn": [{"wildcard": 123}]}`, `wildcard match pattern must be a string`, "line: 1, column: 34"},
		{`{"time": [{"prefix": ["2022-07-13"]}]}`, `prefix match pattern must be a string`, "line: 1, column: 23"},
		{`{"detail": {"FileName": [{"anything-but": {"prefix": {"equals-ignore-case": "file"}}}]}}`, `Value of anything-but must be an array or single string/number value.`, "line: 1, column: 55"},
		{`{"detail-type":["dual"],"detail":{"delaySeconds":[{"exists":"false"}]}}`, `exists match pattern must be either true or false.`, "line: 1, column: 62"},
		{`this is valid json but not a dict`, `Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')`, "line: 1, column: 5"},
		{`{'bad': 'quotation'}`, `Unexpected character (''' (code 39)): was expecting double-quote to start field name`, "line: 1, column: 2"},
		{`{"not": closed mark"`, `Unrecognized token 'closed': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')`, "line: 1, column: 15"},
		{`["not", "a", "dict", "but valid json"]`, `Filter is not an object`, "line: 1, column: 2"},
		{"{\n  \"a\": {}\n}", `Empty objects are not allowed`, "line: 2, column: 10"},
		{`{"a":[[1]]}`, `Match value must be String, number, true, false, or null`, "line: 1, column: 8"},
		{`{"a":[{}]}`, `Match expression name not found`, "line: 1, column: 9"},
		{`{"a":[{"prefix":"x","suffix":"y"}]}`, `Only one key allowed in match expression`, "line: 1, column: 31"},
		{`{"a":[{"numeric":5}]}`, `Value of numeric must be an array.`, "line: 1, column: 19"},
		{`{"a":[{"numeric":[">",6e9]}]}`, `Value must be between -5.0E9 and 5.0E9, inclusive`, "line: 1, column: 26"},
		{`{"a":[{"numeric":["<",1,">",0]}]}`, `Too many elements in numeric expression`, "line: 1, column: 26"},
		{`{"a":[{"anything-but":["x",1]}]}`, `Inside anything but list, either all values are number or string, mixed type is not supported`, "line: 1, column: 30"},
		{`{"a":[{"anything-but":{"numeric":["=",1]}}]}`, `Unsupported anything-but pattern: numeric`, "line: 1, column: 35"},
		{`{"a":[{"anything-but":{"prefix":""}}]}`, `Null prefix/suffix not allowed`, "line: 1, column: 35"},
		{`{"a":[{"wildcard":"x**y"}]}`, `Consecutive wildcard characters at pos 2`, "line: 1, column: 25"},
		{`{"$or":[{"a":[1]}]}`, `Unrecognized match type a`, "line: 1, column: 15"},
		{`{"a":["x"]} x`, `Unexpected character ('x' (code 120)): expected end of input`, "line: 1, column: 13"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := Parse(tt.pattern)
			var e *aws.Error
			if !errors.As(err, &e) || e.Code != "InvalidEventPatternException" {
				t.Fatalf("Parse = %v", err)
			}
			want := "Event pattern is not valid. Reason: " + tt.reason + at(tt.pattern, tt.place)
			if e.Message != want {
				t.Errorf("message\n got %s\nwant %s", e.Message, want)
			}
		})
	}
}

func TestParseRefusesWithoutPlace(t *testing.T) {
	manyOrs := "{" + strings.TrimSuffix(strings.Repeat(`"$or":[{"a":[1]},{"b":[1]},{"c":[1]},{"d":[1]}],`, 5), ",") + "}"
	deep := strings.Repeat(`{"a":`, 2000)
	for _, tt := range []struct{ pattern, want string }{
		{`{"a":[{"cidr":"10.0.0.0"}]}`, "Malformed CIDR, one '/' required"},
		{`{"a":[{"cidr":"10.0.0.0/x"}]}`, "Malformed CIDR, mask bits must be an integer"},
		{`{"a":[{"cidr":"10.0.0.0/-1"}]}`, "Malformed CIDR, mask bits must not be negative"},
		{`{"a":[{"cidr":"10.0.0.0/32"}]}`, "IPv4 mask bits must be < 32"},
		{`{"a":[{"cidr":"::1/128"}]}`, "IPv6 mask bits must be < 128"},
		{`{"a":[{"cidr":"localhost/8"}]}`, "Nonstandard IP address: localhost"},
		{`{"a":[{"anything-but":{"suffix":[1]}}]}`, "column: 35]\n at [Source: "},
		{`{`, "Unexpected end-of-input: expected close marker for Object (start marker at [Source: (String)\"{\"; line: 1, column: 1])"},
		{`{"a":["\x"]}`, "Unrecognized character escape 'x' (code 120)"},
		{`{"a":["x`, "Unexpected end-of-input: was expecting closing quote"},
		{`{"a":[01]}`, "Leading zeroes not allowed"},
		{``, "Filter is not an object"},
		{manyOrs, "exceeds 1000"},
		{deep, "nesting depth (1001) exceeds the maximum allowed (1000)"},
		{deep, `"[truncated 9500 chars]; line: 1, column: `},
	} {
		if _, err := Parse(tt.pattern); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%.60s) = %v, want %s", tt.pattern, err, tt.want)
		}
	}
}

func TestParseEventRefuses(t *testing.T) {
	for _, text := range []string{``, `[]`, `"x"`, `{"a":}`, `{"a":1`, `{} {}`, `{"a":1,}`, "{\"a\":\"\n\"}"} {
		if _, err := ParseEvent([]byte(text)); err == nil {
			t.Errorf("ParseEvent(%q) succeeded", text)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		path    []string
		want    string
		ok      bool
	}{
		{`{"source":["a","b"]}`, []string{"source"}, "a b", true},
		{`{"source":["a",{"prefix":"b"}]}`, []string{"source"}, "", false},
		{`{"detail":{"service":["EC2"]}}`, []string{"detail", "service"}, "EC2", true},
		{`{"detail-type":["x"]}`, []string{"source"}, "", false},
		{`{"$or":[{"source":["a"]},{"source":["b"]}]}`, []string{"source"}, "a b", true},
		{`{"$or":[{"source":["a"]},{"account":["b"]}]}`, []string{"source"}, "", false},
	} {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.Strings(tt.path...)
		if strings.Join(got, " ") != tt.want || ok != tt.ok {
			t.Errorf("%s: Strings(%v) = %v, %v", tt.pattern, tt.path, got, ok)
		}
	}
}

const codecommitEvent = `{"version":"0","id":"01234567-0123-0123-0123-012345678901","detail-type":"CodeCommit Repository State Change",
"source":"aws.codecommit","account":"111111111111","time":"2019-06-12T10:23:43Z","region":"us-east-2",
"resources":["arn:aws:codecommit:us-east-2:111111111111:MyDemoRepo"],
"detail":{"event":"referenceUpdated","repositoryName":"MyDemoRepo","repositoryId":"12345678-1234-5678-abcd-12345678abcd",
"referenceType":"branch","referenceName":"main","referenceFullName":"refs/heads/main","commitId":"3e5983EXAMPLE",
"oldCommitId":"3e5a9bf1EXAMPLE","baseCommitId":"3e5a8ef0EXAMPLE","callerUserArn":"arn:aws:iam::111111111111:user/Mary_Major"}}`

const codecommitPattern = `{"source":["aws.codecommit"],"detail-type":["CodeCommit Repository State Change"],
"resources":["arn:aws:codecommit:us-east-2:111111111111:MyDemoRepo"],
"detail":{"event":["referenceCreated","referenceUpdated"],"referenceType":["branch"],"referenceName":["main",{"prefix":"release/"}]}}`

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(codecommitPattern); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEvent(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(codecommitEvent)))
	for b.Loop() {
		if _, err := ParseEvent([]byte(codecommitEvent)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	p, err := Parse(codecommitPattern)
	if err != nil {
		b.Fatal(err)
	}
	e, err := ParseEvent([]byte(codecommitEvent))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Matches(e) {
			b.Fatal("no match")
		}
	}
}
