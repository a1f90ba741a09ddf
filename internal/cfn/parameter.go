package cfn

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxParameterValue = 4096

// Parameter is one member of the Parameters section.
type Parameter struct {
	Name        string
	Type        string
	Description string
	// Default is the value used when none is given; nil means there is none.
	Default               *string
	NoEcho                bool
	AllowedValues         []string
	ConstraintDescription string
	AllowedPattern        string

	pattern              *regexp.Regexp
	minLength, maxLength *float64
	minValue, maxValue   *float64
}

func (t *Template) readParameters(root *Node) error {
	fields, err := section(root, "Parameters", MaxParameters)
	if err != nil {
		return err
	}
	t.Parameters = make([]Parameter, 0, len(fields))
	for _, f := range fields {
		p, err := readParameter(f)
		if err != nil {
			return err
		}
		t.Parameters = append(t.Parameters, p)
	}
	for i := range t.Parameters {
		t.parameters[t.Parameters[i].Name] = &t.Parameters[i]
	}
	return nil
}

func readParameter(f Field) (Parameter, error) {
	p := Parameter{Name: f.Key}
	if !isAlphanumeric(f.Key) {
		return p, malformed("Parameter name %s is non alphanumeric.", f.Key)
	}
	if f.Value.Kind != Map {
		return p, malformed("Every Parameters member must be an object.")
	}
	for _, m := range f.Value.Fields {
		if err := p.member(m); err != nil {
			return p, err
		}
	}
	if p.Type == "" {
		return p, malformed("Every Parameters object must contain a Type member.")
	}
	return p, nil
}

func (p *Parameter) member(m Field) (err error) {
	switch m.Key {
	case "Type":
		p.Type = m.Value.String()
		return parameterType(p.Type)
	case "Description":
		p.Description, err = p.text(m)
	case "ConstraintDescription":
		p.ConstraintDescription, err = p.text(m)
	case "Default":
		if !m.Value.IsScalar() {
			return malformed("Every Default member must be a string.")
		}
		p.Default = new(m.Value.Text)
	case "NoEcho":
		return p.noEcho(m.Value)
	case "AllowedValues":
		return p.allowedValues(m.Value)
	case "AllowedPattern":
		return p.allowedPattern(m.Value)
	case "MinLength":
		p.minLength, err = bound(m)
	case "MaxLength":
		p.maxLength, err = bound(m)
	case "MinValue":
		p.minValue, err = bound(m)
	case "MaxValue":
		p.maxValue, err = bound(m)
	default:
		return invalid("Invalid template parameter property '%s'", m.Key)
	}
	return err
}

func (p *Parameter) text(m Field) (string, error) {
	if !m.Value.IsScalar() {
		return "", malformed("[/Parameters/%s/%s] Every %s member must be a string.", p.Name, m.Key, m.Key)
	}
	return m.Value.Text, nil
}

// noEcho reads a boolean that may be text in any case: what was meant to be
// hidden must not be shown because of its spelling.
func (p *Parameter) noEcho(n *Node) error {
	switch strings.ToLower(n.String()) {
	case "true":
		p.NoEcho = true
	case "false":
	default:
		return malformed("[/Parameters/%s/NoEcho] Every NoEcho member must be true or false.", p.Name)
	}
	return nil
}

func parameterType(name string) error {
	switch {
	case name == "String", name == "Number", name == "List<Number>", name == "CommaDelimitedList":
		return nil
	case strings.HasPrefix(name, "AWS::SSM::"):
		return invalid("Parameters of type %s need Systems Manager, which sekisho does not provide.", name)
	}
	return malformed("Unrecognized parameter type: %s", name)
}

func (p *Parameter) allowedValues(n *Node) error {
	if n.Kind != List {
		return malformed("Every AllowedValues member must be a list.")
	}
	for _, v := range n.Items {
		if !v.IsScalar() {
			return malformed("Every AllowedValues value must be a string.")
		}
		p.AllowedValues = append(p.AllowedValues, v.Text)
	}
	return nil
}

func (p *Parameter) allowedPattern(n *Node) (err error) {
	if n.Kind != String {
		return malformed("Every AllowedPattern member must be a string.")
	}
	p.AllowedPattern = n.Text
	if p.pattern, err = regexp.Compile(`^(?:` + n.Text + `)$`); err != nil {
		return malformed("AllowedPattern %s of parameter %s is no regular expression of the RE2 syntax.", n.Text, p.Name)
	}
	return nil
}

func bound(m Field) (*float64, error) {
	v, ok := number(m.Value.String())
	if !ok {
		return nil, malformed("Every %s member must be a number.", m.Key)
	}
	return &v, nil
}

// number reads a decimal number; Go's other spellings of floats are none.
func number(s string) (float64, bool) {
	if strings.ContainsAny(s, "xXpP_nNiI") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil && !math.IsInf(f, 0)
}

func (p *Parameter) isList() bool { return p.Type == "CommaDelimitedList" || p.Type == "List<Number>" }

// Bind gives every parameter its value: the one given, or its default.
// Parameters that are missing, unknown or against their constraints are
// refused.
func (t *Template) Bind(given map[string]string) (map[string]string, error) {
	var strange []string
	for name := range given {
		if t.parameters[name] == nil {
			strange = append(strange, name)
		}
	}
	if strange != nil {
		slices.Sort(strange)
		return nil, invalid("Parameters: [%s] do not exist in the template", strings.Join(strange, ", "))
	}
	values := make(map[string]string, len(t.Parameters))
	var missing []string
	for i := range t.Parameters {
		p := &t.Parameters[i]
		v, ok := given[p.Name]
		if !ok && p.Default != nil {
			v, ok = *p.Default, true
		}
		if !ok {
			missing = append(missing, p.Name)
		}
		values[p.Name] = v
	}
	if missing != nil {
		return nil, invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	for i := range t.Parameters {
		if err := t.Parameters[i].check(values[t.Parameters[i].Name]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (p *Parameter) check(value string) error {
	if len(value) > maxParameterValue {
		return invalid("Parameter '%s' must contain at most %d characters", p.Name, maxParameterValue)
	}
	parts := []string{value}
	if p.isList() {
		parts = commaList(value)
	}
	for _, part := range parts {
		problem := p.problem(part)
		if problem == "" {
			continue
		}
		if p.ConstraintDescription != "" {
			return invalid("Parameter '%s' failed to satisfy constraint: %s", p.Name, p.ConstraintDescription)
		}
		return invalid("Parameter '%s' %s", p.Name, problem)
	}
	return nil
}

func (p *Parameter) problem(v string) string {
	n, isNumber := number(v)
	length := float64(utf8.RuneCountInString(v))
	switch {
	case strings.Contains(p.Type, "Number") && !isNumber:
		return "must be a number"
	case p.AllowedValues != nil && !slices.Contains(p.AllowedValues, v):
		return "must be one of AllowedValues"
	case p.pattern != nil && !p.pattern.MatchString(v):
		return "must match pattern " + p.AllowedPattern
	case p.minLength != nil && length < *p.minLength:
		return fmt.Sprintf("must contain at least %v characters", *p.minLength)
	case p.maxLength != nil && length > *p.maxLength:
		return fmt.Sprintf("must contain at most %v characters", *p.maxLength)
	case p.minValue != nil && isNumber && n < *p.minValue:
		return fmt.Sprintf("must be a number not less than %v", *p.minValue)
	case p.maxValue != nil && isNumber && n > *p.maxValue:
		return fmt.Sprintf("must be a number not greater than %v", *p.maxValue)
	}
	return ""
}

func commaList(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// node is what Ref of the parameter gives.
func (p *Parameter) node(value string) *Node {
	if p.isList() {
		return Texts(commaList(value)...)
	}
	return Text(value)
}
