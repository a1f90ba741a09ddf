package policylint

import (
	"fmt"
	"strings"
)

// A hole is a part of a text that nobody knows before the stack is there. It
// stands between two characters of private use, which AWS's texts do not have,
// with a name: holes of one name are the same. A third one takes the place of
// the name's colons, which would look like those of an ARN.
const (
	holeBegin = "\ue000"
	holeEnd   = "\ue001"
	holeColon = "\ue002"
)

func hole(name string) string {
	return holeBegin + strings.ReplaceAll(name, ":", holeColon) + holeEnd
}

// text is a string of a policy.
type text struct {
	place
	s string
}

// open reports whether a text has holes.
func (t text) open() bool { return strings.Contains(t.s, holeBegin) }

// shown is the text as a finding repeats it.
func (t text) shown() string {
	return strings.NewReplacer(holeBegin+"=", "${", holeBegin, "${", holeEnd, "}", holeColon, ":").Replace(t.s)
}

func isFunction(name string) bool {
	return name == "Ref" || strings.HasPrefix(name, "Fn::")
}

// branches are what a value may be: both sides of an Fn::If, without what is
// AWS::NoValue.
func branches(n *node) []*node { return branchesTo(n, 0) }

func branchesTo(n *node, depth int) []*node {
	name, arg := n.only()
	switch {
	case n == nil || depth > maxDepth:
		return nil
	case name == "Ref" && arg.text == "AWS::NoValue":
		return nil
	case name == "Fn::If" && arg.shape == list && len(arg.items) == 3:
		return append(branchesTo(arg.items[1], depth+1), branchesTo(arg.items[2], depth+1)...)
	}
	return []*node{n}
}

// resolver knows the resources of a template.
type resolver map[string]string

// texts are the strings of a value that is one or a list.
func (r resolver) texts(n *node) []text {
	var out []text
	for _, b := range branches(n) {
		if b.shape == list {
			for _, item := range b.items {
				for _, v := range branches(item) {
					if s, ok := r.text(v); ok {
						out = append(out, text{v.place, s})
					}
				}
			}
		} else if s, ok := r.text(b); ok {
			out = append(out, text{b.place, s})
		}
	}
	return out
}

// text is a string, put together where a function makes it; false for values
// that are none.
func (r resolver) text(n *node) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.shape == scalar {
		return n.text, true
	}
	name, arg := n.only()
	if !isFunction(name) {
		return "", false
	}
	switch {
	case name == "Ref" && arg.shape == scalar:
		return r.ref(arg.text), true
	case name == "Fn::GetAtt" && arg.shape == scalar:
		return r.attribute(arg.text), true
	case name == "Fn::GetAtt" && arg.shape == list && len(arg.items) == 2:
		return r.attribute(arg.items[0].text + "." + arg.items[1].text), true
	case name == "Fn::Sub" && arg.shape == scalar:
		return r.sub(arg.text, nil), true
	case name == "Fn::Sub" && arg.shape == list && len(arg.items) == 2:
		return r.sub(arg.items[0].text, arg.items[1]), true
	case name == "Fn::Join" && arg.shape == list && len(arg.items) == 2 && arg.items[1].shape == list:
		return r.join(arg.items[0].text, arg.items[1].items), true
	}
	return hole(fmt.Sprintf("%s at %d:%d", name, n.line, n.column)), true
}

func (r resolver) join(with string, items []*node) string {
	var parts []string
	for _, item := range items {
		s, ok := r.text(item)
		if !ok {
			s = hole(fmt.Sprintf("value at %d:%d", item.line, item.column))
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, with)
}

// ref is what Ref of a name gives. The names of resources hold no slash, which
// a = tells.
func (r resolver) ref(name string) string {
	switch name {
	case "AWS::Partition":
		return "aws"
	case "AWS::URLSuffix":
		return "amazonaws.com"
	}
	switch r[name] {
	case "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::IAM::User", "AWS::KMS::Key":
		return hole("=" + name)
	}
	return hole(name)
}

// attribute is what Fn::GetAtt gives. The form of some ARNs is known.
func (r resolver) attribute(of string) string {
	name, attribute, _ := strings.Cut(of, ".")
	here := hole("AWS::AccountId")
	if attribute == "Arn" {
		switch r[name] {
		case "AWS::S3::Bucket":
			return "arn:aws:s3:::" + hole("="+name)
		case "AWS::KMS::Key":
			return "arn:aws:kms:" + hole("AWS::Region") + ":" + here + ":key/" + hole("="+name)
		case "AWS::IAM::Role":
			return "arn:aws:iam::" + here + ":role/" + hole("="+name)
		case "AWS::IAM::User":
			return "arn:aws:iam::" + here + ":user/" + hole("="+name)
		}
	}
	return hole(of)
}

// maxText is how long a text may become: Fn::Sub can double what another one
// made, again and again.
const maxText = 8 << 10

// sub replaces ${Name} and ${Name.Attribute}; ${!Name} stays, as ${Name}.
func (r resolver) sub(s string, with *node) string {
	var b strings.Builder
	known := map[string]string{}
	for _, f := range with.all() {
		if given, ok := r.text(f.value); ok {
			known[f.name] = given
		}
	}
	for {
		if b.Len() > maxText {
			return hole("long text")
		}
		head, rest, ok := strings.Cut(s, "${")
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		name, tail, closed := strings.Cut(rest, "}")
		if !closed {
			b.WriteString("${" + rest)
			return b.String()
		}
		s = tail
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			b.WriteString("${" + literal + "}")
			continue
		}
		if given, ok := known[name]; ok {
			b.WriteString(given)
		} else if strings.Contains(name, ".") {
			b.WriteString(r.attribute(name))
		} else {
			b.WriteString(r.ref(name))
		}
	}
}
