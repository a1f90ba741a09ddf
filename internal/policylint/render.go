package policylint

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// rendering writes a policy as JSON for the parser, with something plausible
// in each hole, and remembers where everything came from.
type rendering struct {
	types   resolver
	kind    policy.Kind
	out     strings.Builder
	offsets []int
	places  []place
	holes   int
	open    bool // something was filled in
}

// render returns a document's text in one line.
func render(root *node, kind policy.Kind, types resolver) *rendering {
	r := &rendering{types: types, kind: kind}
	r.value(root, "")
	return r
}

// text is what was written.
func (r *rendering) text() string { return r.out.String() }

// at is where the text at a column came from.
func (r *rendering) at(column int) place {
	i := sort.SearchInts(r.offsets, column) - 1 // columns count from 1
	if i < 0 {
		return place{1, 1}
	}
	return r.places[i]
}

func (r *rendering) mark(p place) {
	r.offsets = append(r.offsets, r.out.Len())
	r.places = append(r.places, p)
}

func (r *rendering) string(s string) {
	text, err := json.Marshal(s)
	if err != nil {
		text = []byte(`""`) // a string always encodes
	}
	r.out.Write(text)
}

// value writes a value that stands in an element. Of both branches of an Fn::If
// a list has all, and what is no list has the first.
func (r *rendering) value(n *node, element string) {
	all := branches(n)
	if len(all) == 0 || r.out.Len() > maxFile { // which the parser refuses
		r.mark(n.place)
		r.out.WriteString("null")
		return
	}
	if len(all) > 1 && all[0] != n && repeats(element) {
		r.list(n.place, all, element)
		return
	}
	n = all[0]
	r.mark(n.place)
	if name, _ := n.only(); n.shape == scalar || isFunction(name) {
		s, _ := r.types.text(n)
		r.string(r.filled(s, element))
		return
	}
	switch n.shape {
	case list:
		r.list(n.place, n.items, element)
	case object:
		r.object(n, element)
	default:
		r.out.WriteString("null")
	}
}

// repeats reports whether an element may be a list.
func repeats(element string) bool {
	switch element {
	case "", "Version", "Effect", "Sid", "Condition", "Principal", "NotPrincipal":
		return false
	}
	return true
}

func (r *rendering) list(at place, items []*node, element string) {
	r.mark(at)
	r.out.WriteByte('[')
	first := true
	for _, item := range items {
		for _, b := range branches(item) {
			nested := []*node{b}
			if b != item && b.shape == list { // a branch that is a list
				nested = b.items
			}
			for _, v := range nested {
				if !first {
					r.out.WriteByte(',')
				}
				first = false
				r.value(v, element)
			}
		}
	}
	r.out.WriteByte(']')
}

func (r *rendering) object(n *node, element string) {
	r.out.WriteByte('{')
	first := true
	for _, f := range n.fields {
		if len(branches(f.value)) == 0 {
			continue // AWS::NoValue
		}
		if !first {
			r.out.WriteByte(',')
		}
		first = false
		r.mark(f.place)
		r.string(f.name)
		r.out.WriteByte(':')
		r.value(f.value, below(element, f.name))
	}
	r.out.WriteByte('}')
}

// below names what a field of an element is.
func below(element, field string) string {
	switch element {
	case "":
		return field
	case "Statement":
		return field
	case "Principal", "NotPrincipal":
		return "Principal " + field
	case "Condition":
		return "Condition " + strings.ToLower(field)
	}
	return element
}

// filled puts something plausible in the holes of a text.
func (r *rendering) filled(s, element string) string {
	if !strings.Contains(s, holeBegin) {
		return s
	}
	r.open = true
	r.holes++
	whole := strings.HasPrefix(s, holeBegin)
	kind, of, _ := strings.Cut(element, " ")
	switch {
	case kind == "Version":
		return "2012-10-17"
	case kind == "Effect":
		return "Allow"
	case kind == "Sid":
		return fmt.Sprintf("opaque%d", r.holes)
	case kind == "Action" || kind == "NotAction":
		if r.kind == policy.Trust {
			return "sts:AssumeRole"
		}
		if whole {
			return "opaque:Action"
		}
	case kind == "Principal" && of == "AWS" && whole:
		return "arn:aws:iam::111122223333:role/opaque"
	case kind == "Principal" && whole:
		return map[string]string{"Service": "ec2.amazonaws.com", "Federated": "accounts.google.com", "CanonicalUser": strings.Repeat("0a", 32)}[of]
	case kind == "Condition":
		return value(of, s)
	}
	if strings.Contains(element, "Resource") && whole {
		return "arn:aws:opaque:::" + fill(s, "opaque")
	}
	return components(s)
}

// value is a condition's value with its holes filled, as the operator takes it.
func value(operator, s string) string {
	switch base := (condition{operator: operator}).base(); {
	case strings.HasPrefix(base, "numeric"):
		return "1"
	case strings.HasPrefix(base, "date"):
		return "2020-01-01T00:00:00Z"
	case base == "bool", base == "null":
		return "true"
	case base == "binaryequals":
		return "AAAA"
	case strings.HasSuffix(base, "ipaddress"):
		return "192.0.2.0/24"
	case strings.HasPrefix(base, "arn") && strings.HasPrefix(s, holeBegin):
		return "arn:aws:opaque:us-east-1:111122223333:opaque"
	}
	return components(s)
}

// components fills holes by their place in an ARN.
func components(s string) string {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) < 6 {
		return fill(s, "opaque")
	}
	for i, by := range []string{"arn", "aws", "opaque", "us-east-1", "111122223333", "opaque"} {
		if i == 3 && (parts[2] == "s3" || parts[2] == "iam") {
			by = ""
		}
		parts[i] = fill(parts[i], by)
	}
	return strings.Join(parts, ":")
}

// fill replaces holes: what is an account or a region everywhere, others by by.
func fill(s, by string) string {
	var b strings.Builder
	for {
		head, rest, ok := strings.Cut(s, holeBegin)
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		name, tail, _ := strings.Cut(rest, holeEnd)
		switch strings.ReplaceAll(name, holeColon, ":") {
		case "AWS::AccountId":
			b.WriteString("111122223333")
		case "AWS::Region":
			b.WriteString("us-east-1")
		default:
			b.WriteString(by)
		}
		s = tail
	}
}
