package eventpattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The reference: events are flattened into fields, each with the elements of
// the arrays it lies in; a branch matches when some choice of fields, one per
// path, agrees on the elements. Slow, and written from the description alone.

type field struct {
	path string
	val  any
	in   map[int]int // array -> element
}

func flatten(path string, v any, in map[int]int, arrays *int, out *[]field) {
	switch v := v.(type) {
	case map[string]any:
		for k, w := range v {
			flatten(path+"/"+k, w, in, arrays, out)
		}
	case []any:
		*arrays++
		id := *arrays
		for i, w := range v {
			inner := maps.Clone(in)
			inner[id] = i
			flatten(path, w, inner, arrays, out)
		}
	default:
		*out = append(*out, field{path, v, in})
	}
}

// naiveBranches expands a pattern into its conjunctions of path and leaf.
func naiveBranches(pattern map[string]any, path string) []map[string][]any {
	out := []map[string][]any{{}}
	for _, k := range slices.Sorted(maps.Keys(pattern)) {
		var options []map[string][]any
		switch v := pattern[k].(type) {
		case map[string]any:
			options = naiveBranches(v, path+"/"+k)
		case []any:
			if k == "$or" {
				for _, alt := range v {
					options = append(options, naiveBranches(alt.(map[string]any), path)...)
				}
			} else {
				options = []map[string][]any{{path + "/" + k: v}}
			}
		}
		var next []map[string][]any
		for _, a := range out {
			for _, b := range options {
				both := maps.Clone(a)
				maps.Copy(both, b)
				next = append(next, both)
			}
		}
		out = next
	}
	return out
}

func naiveMatch(pattern, event map[string]any) bool {
	var fields []field
	arrays := 0
	flatten("", event, map[int]int{}, &arrays, &fields)
	for _, b := range naiveBranches(pattern, "") {
		if naiveChoose(b, slices.Sorted(maps.Keys(b)), fields, map[int]int{}) {
			return true
		}
	}
	return false
}

func naiveChoose(branch map[string][]any, paths []string, fields []field, in map[int]int) bool {
	if len(paths) == 0 {
		return true
	}
	here := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.path != paths[0] })
	for _, m := range branch[paths[0]] {
		if is, ok := m.(map[string]any); ok && is["exists"] == false && len(here) == 0 && naiveChoose(branch, paths[1:], fields, in) {
			return true
		}
		for _, f := range here {
			if !naiveValue(m, f.val) {
				continue
			}
			both, agree := maps.Clone(in), true
			for array, element := range f.in {
				if e, set := both[array]; set && e != element {
					agree = false
				}
				both[array] = element
			}
			if agree && naiveChoose(branch, paths[1:], fields, both) {
				return true
			}
		}
	}
	return false
}

func naiveValue(m, v any) bool {
	e, ok := m.(map[string]any)
	if !ok {
		return naiveEqual(m, v)
	}
	text, isText := v.(string)
	for op, arg := range e {
		switch op {
		case "prefix":
			return isText && strings.HasPrefix(text, arg.(string))
		case "suffix":
			return isText && strings.HasSuffix(text, arg.(string))
		case "equals-ignore-case":
			return isText && strings.EqualFold(text, arg.(string))
		case "wildcard":
			return isText && naiveGlob(arg.(string), text)
		case "exists":
			return arg == true
		case "numeric":
			n, is := v.(json.Number)
			return is && naiveNumeric(arg.([]any), n)
		case "anything-but":
			return naiveBut(arg, v)
		}
	}
	return false
}

func naiveBut(arg, v any) bool {
	switch arg := arg.(type) {
	case []any:
		for _, a := range arg {
			if naiveEqual(a, v) {
				return false
			}
		}
		return true
	case map[string]any:
		return !naiveValue(arg, v)
	}
	return !naiveEqual(arg, v)
}

func naiveNumeric(terms []any, n json.Number) bool {
	for i := 0; i < len(terms); i += 2 {
		c := rat(n).Cmp(rat(terms[i+1].(json.Number)))
		if !map[string]bool{"<": c < 0, "<=": c <= 0, "=": c == 0, ">": c > 0, ">=": c >= 0}[terms[i].(string)] {
			return false
		}
	}
	return true
}

func rat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic("no number: " + n)
	}
	return r
}

func naiveEqual(m, v any) bool {
	a, ok := m.(json.Number)
	b, too := v.(json.Number)
	if ok && too {
		return rat(a).Cmp(rat(b)) == 0
	}
	return m == v
}

func naiveGlob(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return naiveGlob(pattern[1:], text) || text != "" && naiveGlob(pattern, text[1:])
	}
	return text != "" && text[0] == pattern[0] && naiveGlob(pattern[1:], text[1:])
}

var (
	drawName   = rapid.SampledFrom([]string{"a", "b", "c"})
	drawText   = rapid.StringOfN(rapid.SampledFrom([]rune("xyX")), 0, 4, -1)
	drawNumber = rapid.SampledFrom([]json.Number{"0", "-0", "1", "1.0", "10e-1", "2", "-1", "0.1", "1e2", "100"})
	drawScalar = rapid.OneOf(drawText.AsAny(), drawNumber.AsAny(), rapid.SampledFrom([]any{true, false, nil}))
)

func drawEvent(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch n := rapid.IntRange(0, 5).Draw(t, "kind"); {
		case depth == 0 || n < 2:
			return drawScalar.Draw(t, "scalar")
		case n < 4:
			return toAny(rapid.MapOfN(drawName, drawEvent(depth-1), 0, 3).Draw(t, "object"))
		}
		return rapid.SliceOfN(drawEvent(depth-1), 0, 3).Draw(t, "array")
	})
}

func toAny(m map[string]any) any { return m }

func drawPattern(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		out := map[string]any{}
		for _, name := range rapid.SliceOfNDistinct(drawName, 1, 2, rapid.ID).Draw(t, "names") {
			if depth > 0 && rapid.Bool().Draw(t, "deeper") {
				out[name] = toAny(drawPattern(depth-1).Draw(t, "below"))
				continue
			}
			out[name] = rapid.SliceOfN(drawAlternative(), 1, 2).Draw(t, "leaf")
		}
		if depth > 0 && rapid.IntRange(0, 3).Draw(t, "or") == 0 {
			// Alternatives use names of their own: AWS lets a path that
			// comes twice override, which the reference does not know.
			alternatives := rapid.SliceOfN(drawPattern(0), 2, 3).Draw(t, "alternatives")
			var list []any
			for _, a := range alternatives {
				maps.DeleteFunc(a, func(k string, _ any) bool { return out[k] != nil })
				if len(a) > 0 {
					list = append(list, toAny(a))
				}
			}
			if len(list) >= 2 {
				out["$or"] = list
			}
		}
		return out
	})
}

func drawAlternative() *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		text := func() any { return drawText.Draw(t, "text") }
		number := func() any { return drawNumber.Draw(t, "number") }
		op := rapid.SampledFrom([]string{"", "", "prefix", "suffix", "equals-ignore-case", "wildcard", "exists", "numeric", "range", "but", "buts", "but prefix", "but wildcard"}).Draw(t, "op")
		glob := rapid.SampledFrom([]string{"*", "x*", "*y", "x*y*", "*x*y", "xy"})
		switch op {
		case "prefix", "suffix", "equals-ignore-case":
			return map[string]any{op: text()}
		case "wildcard":
			return map[string]any{op: glob.Draw(t, "glob")}
		case "exists":
			return map[string]any{op: rapid.Bool().Draw(t, "exists")}
		case "numeric":
			return map[string]any{op: []any{rapid.SampledFrom([]string{"<", "<=", "=", ">", ">="}).Draw(t, "cmp"), number()}}
		case "range":
			return map[string]any{"numeric": []any{rapid.SampledFrom([]string{">", ">="}).Draw(t, "low"), number(), rapid.SampledFrom([]string{"<", "<="}).Draw(t, "high"), number()}}
		case "but":
			return map[string]any{"anything-but": rapid.OneOf(drawText.AsAny(), drawNumber.AsAny()).Draw(t, "value")}
		case "buts":
			return map[string]any{"anything-but": []any{text(), text()}}
		case "but prefix":
			return map[string]any{"anything-but": map[string]any{"prefix": rapid.SampledFrom([]string{"x", "y", "xy"}).Draw(t, "value")}}
		case "but wildcard":
			return map[string]any{"anything-but": map[string]any{"wildcard": glob.Draw(t, "glob")}}
		}
		return drawScalar.Draw(t, "scalar")
	})
}

func TestMatchesAgreesWithReference(t *testing.T) {
	matched := 0
	rapid.Check(t, func(t *rapid.T) {
		pattern := drawPattern(2).Draw(t, "pattern")
		event := rapid.MapOfN(drawName, drawEvent(3), 1, 3).Draw(t, "event")
		ptext, etext := toJSON(pattern), toJSON(event)
		p, err := Parse(string(ptext))
		if err != nil {
			t.Fatalf("%s: %v", ptext, err)
		}
		got, err := p.Match(etext)
		if err != nil {
			t.Fatalf("%s: %v", etext, err)
		}
		want := naiveMatch(fromJSON(ptext), fromJSON(etext))
		if got != want {
			t.Fatalf("pattern %s, event %s: match = %v, want %v", ptext, etext, got, want)
		}
		if want {
			matched++
		}
	})
	if matched == 0 {
		t.Error("no event matched: the generator proves nothing")
	}
}

func TestDecimalAgreesWithRat(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%s%s%s%s",
			rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign"),
			rapid.SampledFrom([]string{"0", "1", "10", "100", "12", "120", "9007199254740993"}).Draw(t, "int"),
			rapid.SampledFrom([]string{"", ".0", ".1", ".10", ".01", ".001", ".12"}).Draw(t, "fraction"),
			rapid.SampledFrom([]string{"", "e0", "e1", "E-1", "e+2", "e-3"}).Draw(t, "exponent"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		got, want := parseDecimal(a).compare(parseDecimal(b)), rat(json.Number(a)).Cmp(rat(json.Number(b)))
		if got != want {
			t.Fatalf("compare(%s, %s) = %d, want %d", a, b, got, want)
		}
	})
}

func toJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func fromJSON(text []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{codecommitPattern, `{"$or":[{"a":[{"anything-but":{"prefix":["x"]}}]},{"b":[{"numeric":[">",1,"<",2e3]}]}]}`, `{"a":[{"cidr":"::/0"},{"wildcard":"a\\*"}]}`, `{"a`} {
		f.Add(s)
	}
	e, err := ParseEvent([]byte(codecommitEvent))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err == nil {
			p.Matches(e)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add(`{"a":["x",{"exists":false}],"$or":[{"b":[{"cidr":"10.0.0.0/8"}]},{"c":[{"numeric":["=",1]}]}]}`, []byte(`{"a":[{"b":"10.0.0.1"}],"c":1e9}`))
	f.Add(codecommitPattern, []byte(codecommitEvent))
	f.Fuzz(func(t *testing.T, pattern string, event []byte) {
		e, err := ParseEvent(event)
		if (err == nil) != (json.Valid(event) && bytes.HasPrefix(bytes.TrimLeft(event, " \t\r\n"), []byte("{"))) && bytes.Count(event, []byte("{"))+bytes.Count(event, []byte("[")) < maxDepth {
			t.Errorf("ParseEvent(%q) = %v, unlike encoding/json", event, err)
		}
		p, perr := Parse(pattern)
		if err == nil && perr == nil {
			p.Matches(e)
		}
	})
}
