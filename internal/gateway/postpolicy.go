package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// postPolicy is the policy of a POST upload: until when a form may be used, and
// what its fields may be.
type postPolicy struct {
	expiration time.Time
	conditions []postCondition
	// least and most bound the file; most is negative without a bound.
	least, most int64
}

// postCondition is one condition on a field, its name in lower case.
type postCondition struct {
	operator, field, value string
}

// String is the condition as S3 shows it.
func (c postCondition) String() string {
	b, err := json.Marshal([]string{c.operator, "$" + c.field, c.value})
	if err != nil {
		return c.field
	}
	return string(b)
}

func errPostPolicy(reason string) error {
	return aws.Errorf("InvalidPolicyDocument", "Invalid Policy: %s", reason).WithStatus(400)
}

// parsePostPolicy reads a policy in base64.
func parsePostPolicy(text string) (*postPolicy, error) {
	document, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errPostPolicy("Invalid Base64 Encoding.")
	}
	var raw struct {
		Expiration *string           `json:"expiration"`
		Conditions []json.RawMessage `json:"conditions"`
	}
	d := json.NewDecoder(bytes.NewReader(document))
	if err := d.Decode(&raw); err != nil {
		return nil, errPostPolicy("Invalid JSON.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errPostPolicy("Invalid JSON.")
	}
	switch {
	case raw.Expiration == nil:
		return nil, errPostPolicy("Policy missing expiration.")
	case raw.Conditions == nil:
		return nil, errPostPolicy("Policy missing conditions.")
	}
	p := &postPolicy{most: -1}
	if p.expiration, err = time.Parse(time.RFC3339, *raw.Expiration); err != nil {
		return nil, errPostPolicy("Invalid 'expiration' value: '" + strings.ToValidUTF8(*raw.Expiration, "?") + "'")
	}
	for _, one := range raw.Conditions {
		if err := p.add(one); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add reads a condition: {"field": "value"}, ["eq", "$field", "value"],
// ["starts-with", "$field", "prefix"] or ["content-length-range", least, most].
func (p *postPolicy) add(raw json.RawMessage) error {
	var object map[string]string
	if json.Unmarshal(raw, &object) == nil && object != nil {
		if len(object) != 1 {
			return errPostPolicy("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for field, value := range object {
			p.conditions = append(p.conditions, postCondition{"eq", strings.ToLower(field), value})
		}
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 {
		return errPostPolicy("Invalid Condition: must be a Simple-Condition or a list of three.")
	}
	var operator string
	if json.Unmarshal(list[0], &operator) != nil {
		return errPostPolicy("Invalid Condition: the operation must be a string.")
	}
	operator = strings.ToLower(operator)
	switch operator {
	case "content-length-range":
		least, ok := postNumber(list[1])
		most, ok2 := postNumber(list[2])
		if !ok || !ok2 {
			return errPostPolicy("Invalid content-length-range: the bounds must be numbers.")
		}
		p.least, p.most = least, most
		return nil
	case "eq", "starts-with":
	default:
		return errPostPolicy("Invalid Condition: unknown operation '" + strings.ToValidUTF8(operator, "?") + "'.")
	}
	var field, value string
	if json.Unmarshal(list[1], &field) != nil || json.Unmarshal(list[2], &value) != nil || !strings.HasPrefix(field, "$") {
		return errPostPolicy("Invalid Condition: a field is named by a string that begins with $, and its value is a string.")
	}
	p.conditions = append(p.conditions, postCondition{operator, strings.ToLower(field[1:]), value})
	return nil
}

// postNumber reads a bound: clients write it as a number or as a string.
func postNumber(raw json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	return n, err == nil && n >= 0
}

func errPostRefused(format string, args ...any) error {
	return aws.Errorf("AccessDenied", "Invalid according to Policy: %s", fmt.Sprintf(format, args...)).WithStatus(403)
}

// check holds a form's fields, by their names in lower case, against the policy.
// Every field has to be in a condition, but for those that carry the policy,
// its signature and the file, and those whose names begin with x-ignore-.
func (p *postPolicy) check(fields map[string]string, now time.Time) error {
	if !now.Before(p.expiration) {
		return errPostRefused("Policy expired.")
	}
	named := map[string]bool{}
	for _, c := range p.conditions {
		named[c.field] = true
		if !c.holds(fields[c.field]) {
			return errPostRefused("Policy Condition failed: %s", c)
		}
	}
	for _, name := range sortedKeys(fields) {
		switch {
		case named[name], name == "policy", name == "x-amz-signature", name == "file", name == "bucket",
			strings.HasPrefix(name, "x-ignore-"):
		default:
			return errPostRefused("Extra input fields: %s", name)
		}
	}
	return nil
}

// holds compares a field. Of a Content-Type that is a list every entry has to
// begin as the condition says.
func (c postCondition) holds(value string) bool {
	if c.operator == "eq" {
		return value == c.value
	}
	if c.field != "content-type" {
		return strings.HasPrefix(value, c.value)
	}
	for one := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(one), c.value) {
			return false
		}
	}
	return true
}
