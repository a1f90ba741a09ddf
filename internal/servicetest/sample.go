package servicetest

import (
	"reflect"
	"regexp"
	"testing"

	"github.com/sekisho/sekisho/internal/api"
)

// Sampler makes inputs that the models of a service take.
type Sampler struct {
	Service string
	// Values are the values of text members by their names. A member that is
	// named here is set even where it is not required.
	Values map[string]string
	// Candidates are tried in turn for text members that are required and not
	// named.
	Candidates []string
}

// Fill sets what an operation requires. It ends the test where that cannot be.
func (s Sampler) Fill(t testing.TB, operation string, in any) {
	t.Helper()
	check := func() string {
		if err := api.Check(s.Service, operation, in); err != nil {
			return err.Error()
		}
		return ""
	}
	s.fill(reflect.ValueOf(in).Elem(), check)
	if wrong := check(); wrong != "" {
		t.Fatalf("%s: no sample: %s", operation, wrong)
	}
}

// fill sets the members of a structure that the check complains of.
func (s Sampler) fill(v reflect.Value, check func() string) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		blamed := regexp.MustCompile(`['.](?i:` + name + `)['.]`)
		wrong := func() bool { return blamed.MatchString(check()) }
		if !wrong() && s.Values[name] == "" || !f.CanSet() {
			continue
		}
		switch f.Kind() {
		case reflect.String:
			s.text(f, s.Values[name], wrong)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			if one := f.Index(0); one.Kind() == reflect.String {
				s.text(one, "", wrong)
			} else {
				s.fill(one, check)
			}
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
			switch {
			case f.Elem().Kind() == reflect.Struct:
				s.fill(f.Elem(), check)
			case f.Elem().Kind() == reflect.Int64 && wrong():
				f.Elem().SetInt(3600)
			}
		}
	}
}

// text sets a text to the first of the candidates that is taken.
func (s Sampler) text(f reflect.Value, first string, wrong func() bool) {
	for _, c := range append([]string{first}, s.Candidates...) {
		if f.SetString(c); c != "" && !wrong() {
			return
		}
	}
}

// Odd calls try with every input in which one text is odd, of those that the
// model takes; the rest of the input is as Fill makes it.
func (s Sampler) Odd(t testing.TB, operation string, empty func() any, odd []string, try func(in any, member, text string)) {
	t.Helper()
	usual := empty()
	s.Fill(t, operation, usual)
	for i, f := range reflect.VisibleFields(reflect.TypeOf(usual).Elem()) {
		for _, text := range odd {
			in := empty()
			reflect.ValueOf(in).Elem().Set(reflect.ValueOf(usual).Elem())
			switch v := reflect.ValueOf(in).Elem().Field(i); {
			case v.Kind() == reflect.String:
				v.SetString(text)
			case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
				v.Set(reflect.ValueOf([]string{text}).Convert(v.Type()))
			default:
				continue
			}
			if api.Check(s.Service, operation, in) == nil {
				try(in, f.Name, text)
			}
		}
	}
}
