package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// jsonPath is a path in dot notation, such as $.detail.items[0].name, taken
// apart: names are strings, indexes are ints.
type jsonPath []any

var pathStep = regexp.MustCompile(`^\.([^.\[\]]+)|^\[([0-9]{1,9})\]`)

// parsePath reads a path. $ alone is the whole event.
func parsePath(text string) (jsonPath, bool) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, false
	}
	path := jsonPath{}
	for rest != "" {
		m := pathStep.FindStringSubmatch(rest)
		switch {
		case m == nil:
			return nil, false
		case m[1] != "":
			path = append(path, m[1])
		default:
			i, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, false
			}
			path = append(path, i)
		}
		rest = rest[len(m[0]):]
	}
	return path, true
}

// in returns what the path leads to, as it is written; false means nothing.
func (p jsonPath) in(text json.RawMessage) (json.RawMessage, bool) {
	for _, step := range p {
		var next json.RawMessage
		switch step := step.(type) {
		case string:
			var object map[string]json.RawMessage
			if json.Unmarshal(text, &object) != nil {
				return nil, false
			}
			next = object[step]
		case int:
			var array []json.RawMessage
			if json.Unmarshal(text, &array) != nil || step >= len(array) {
				return nil, false
			}
			next = array[step]
		}
		if next == nil {
			return nil, false
		}
		text = next
	}
	return text, true
}

// placeholder is what a template is filled in for.
var placeholder = regexp.MustCompile(`^<(aws\.events\.[a-z.-]+|[A-Za-z0-9_-]+)>`)

const (
	varRuleARN   = "aws.events.rule-arn"
	varRuleName  = "aws.events.rule-name"
	varIngestion = "aws.events.event.ingestion-time"
	varEvent     = "aws.events.event"
	varWhole     = "aws.events.event.json"
)

// reserved are the variables every template has.
var reserved = map[string]bool{varRuleARN: true, varRuleName: true, varIngestion: true, varEvent: true, varWhole: true}

// fill replaces the placeholders of a template. value gives a variable as
// JSON; nil means that the event has nothing there.
//
// Outside of quotes a placeholder becomes the value as JSON; inside of quotes
// it becomes its text, escaped as far as the quotes need it. A variable that
// has no value is the empty string.
func fill(template string, value func(name string) (json.RawMessage, error)) (string, error) {
	var out strings.Builder
	quoted := false
	for i := 0; i < len(template); {
		switch c := template[i]; {
		case c == '\\' && quoted && i+1 < len(template):
			out.WriteString(template[i : i+2])
			i += 2
			continue
		case c == '"':
			quoted = !quoted
		case c == '<':
			m := placeholder.FindStringSubmatch(template[i:])
			if m == nil {
				break
			}
			v, err := value(m[1])
			if err != nil {
				return "", err
			}
			out.WriteString(shown(v, quoted))
			i += len(m[0])
			continue
		}
		out.WriteByte(template[i])
		i++
	}
	return out.String(), nil
}

func shown(v json.RawMessage, quoted bool) string {
	if !quoted {
		if v == nil {
			return `""`
		}
		return string(v)
	}
	if v == nil {
		return ""
	}
	var text string
	if json.Unmarshal(v, &text) != nil || bytes.Equal(v, []byte("null")) {
		text = string(v) // objects, arrays, numbers and words stand as they are
	}
	escaped := quote(text)
	return escaped[1 : len(escaped)-1]
}

// quote is a JSON string, without escapes that HTML would need.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(text) != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var errTemplate = errors.New("the template gives no JSON")

// checkFilled takes the JSON that a filled template is. Several strings, one
// a line, are one string of as many lines.
func checkFilled(text string) (json.RawMessage, error) {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), nil
	}
	var lines []string
	d := json.NewDecoder(strings.NewReader(text))
	for d.More() {
		var line string
		if d.Decode(&line) != nil {
			return nil, errTemplate
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return nil, errTemplate
	}
	return json.RawMessage(quote(strings.Join(lines, "\n"))), nil
}

// checkTemplate validates the transformer of a target.
func (t target) checkTemplate() error {
	for name, path := range t.Paths {
		if strings.HasPrefix(name, "AWS") || !placeholder.MatchString("<"+name+">") {
			return invalid("InputPathsMap for target %s contains invalid key %s.", t.ID, name)
		}
		if _, ok := parsePath(path); !ok {
			return invalid("InputPathsMap for target %s contains invalid path %s.", t.ID, path)
		}
	}
	text, err := fill(t.Template, func(name string) (json.RawMessage, error) {
		if _, ok := t.Paths[name]; !ok && !reserved[name] {
			return nil, invalid("InputTemplate for target %s contains invalid placeholder %s.", t.ID, name)
		}
		return json.RawMessage("0"), nil
	})
	if err != nil {
		return err
	}
	if _, err := checkFilled(text); err != nil {
		return invalid("Invalid InputTemplate for target %s : %s.", t.ID, err)
	}
	return nil
}

// shape is what a target receives of an event: JSON, or nil for an InputPath
// that leads nowhere. shaped says whether the target asked for anything but
// the event.
func (d *delivery) shape() (text json.RawMessage, shaped bool, err error) {
	t := d.Target
	if t.Input != "" {
		return json.RawMessage(t.Input), true, nil
	}
	whole, err := d.Event.MarshalEnvelope()
	if err != nil {
		return nil, false, fmt.Errorf("event %s: %w", d.Event.ID, err)
	}
	if t.InputPath != "" {
		path, ok := parsePath(t.InputPath)
		if !ok {
			return nil, true, invalid("Invalid InputPath for target %s.", t.ID)
		}
		text, _ := path.in(whole)
		return text, true, nil
	}
	if t.Template == "" {
		return whole, false, nil
	}
	filled, err := fill(t.Template, func(name string) (json.RawMessage, error) { return d.variable(name, whole) })
	if err != nil {
		return nil, true, err
	}
	if text, err = checkFilled(filled); err != nil {
		return nil, true, invalid("Invalid InputTemplate for target %s : %s.", t.ID, err)
	}
	return text, true, nil
}

// variable is a variable of the template as JSON.
func (d *delivery) variable(name string, whole json.RawMessage) (json.RawMessage, error) {
	switch name {
	case varRuleARN:
		return json.Marshal(d.RuleARN)
	case varRuleName:
		r, _ := ruleFromARN(d.RuleARN)
		return json.Marshal(r.name)
	case varIngestion:
		return json.Marshal(d.Ingested.UTC().Format(time.RFC3339))
	case varWhole:
		return whole, nil
	case varEvent:
		return withoutDetail(d.Event)
	}
	path, ok := parsePath(d.Target.Paths[name])
	if !ok {
		return nil, nil
	}
	text, _ := path.in(whole)
	return text, nil
}

func withoutDetail(e aws.Event) (json.RawMessage, error) {
	e.Detail = json.RawMessage("null")
	text, err := e.MarshalEnvelope()
	return json.RawMessage(strings.TrimSuffix(string(text), `,"detail":null}`) + "}"), err
}
