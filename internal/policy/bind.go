package policy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// Directory knows whom policies name: IAM does.
type Directory interface {
	// ResolvePrincipal returns the unique id of a user, role, role session or
	// account root by its ARN, and whether there is one. In accounts that are
	// not known everything counts as existing, without an id.
	ResolvePrincipal(ctx context.Context, arn string) (id string, ok bool, err error)
	// PrincipalARN returns the ARN of the user or role that has a unique id
	// now, and whether there is one.
	PrincipalARN(ctx context.Context, id string) (arn string, ok bool, err error)
}

// Bind returns a document's text as it is to be kept: in the place of each user
// and role that its Principal and NotPrincipal elements name stands the unique
// id, so that another one of the same name is not meant by it. Everything else
// keeps its bytes. The error is an *Error, with Principal set, when somebody is
// named who is not there, be it by an ARN or by an id.
//
// AWS does so in role trust policies and in the policies of resources: its IAM
// User Guide, "AWS JSON policy elements: Principal".
func Bind(ctx context.Context, d *Document, in Directory) (string, error) {
	return mapPrincipals(d.text, statementsOf, func(n *node) (string, error) {
		name, ok, err := BindPrincipal(ctx, n.text, in)
		if err == nil && !ok {
			line, column := position(d.text, n.start)
			err = &Error{Message: InvalidPrincipal(d.kind, "AWS", n.text), Line: line, Column: column, Principal: n.text}
		}
		return name, err
	})
}

// BindPrincipal is Bind for one AWS principal. It reports whether it exists:
// what is no principal does not.
func BindPrincipal(ctx context.Context, name string, in Directory) (string, bool, error) {
	e, ok := parseAWSPrincipal(name)
	switch {
	case !ok:
		return name, false, nil
	case e.class == everyone:
		return name, true, nil
	case e.class == idClass:
		_, ok, err := in.PrincipalARN(ctx, name)
		return name, ok, err
	}
	id, ok, err := in.ResolvePrincipal(ctx, name)
	if e.class == arnClass && IsUniqueID(id) {
		name = id
	}
	return name, ok, err
}

// IsUniqueID reports whether a text is the unique id of a user or role, as
// policies name one that is gone.
func IsUniqueID(text string) bool { return uniqueID.MatchString(text) }

// Show returns the text of a document that Bind made as it is read: with the
// ARNs of the users and roles that its ids stand for. The id of one that is
// gone stays, as on AWS.
func Show(ctx context.Context, text string, in Directory) (string, error) {
	return show(ctx, text, statementsOf, in)
}

// ShowStatement is Show for one statement of such a document.
func ShowStatement(ctx context.Context, text string, in Directory) (string, error) {
	return show(ctx, text, (*node).list, in)
}

func show(ctx context.Context, text string, statements func(*node) []*node, in Directory) (string, error) {
	if !strings.Contains(text, "AROA") && !strings.Contains(text, "AIDA") {
		return text, nil
	}
	return mapPrincipals(text, statements, func(n *node) (string, error) {
		if !IsUniqueID(n.text) {
			return n.text, nil
		}
		arn, ok, err := in.PrincipalARN(ctx, n.text)
		if !ok {
			arn = n.text
		}
		return arn, err
	})
}

// statementsOf finds the statements of a document.
func statementsOf(root *node) []*node {
	if s := root.get("Statement"); s != nil {
		return s.list()
	}
	return nil
}

// mapPrincipals replaces the AWS principals of all Principal and NotPrincipal
// elements by what change makes of them, and nothing else of a text.
func mapPrincipals(text string, statements func(root *node) []*node, change func(n *node) (string, error)) (string, error) {
	root, err := readJSON(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	done := 0
	for _, s := range statements(root) {
		for _, n := range awsPrincipals(s) {
			name, err := change(n)
			if err != nil {
				return "", err
			}
			if name == n.text {
				continue
			}
			quoted, err := json.Marshal(name)
			if err != nil {
				return "", err
			}
			b.WriteString(text[done:n.start])
			b.Write(quoted)
			done = n.end
		}
	}
	b.WriteString(text[done:])
	return b.String(), nil
}

// awsPrincipals are the AWS principals of a statement, in the order of the
// text.
func awsPrincipals(statement *node) []*node {
	for _, m := range statement.members {
		if m.name != "Principal" && m.name != "NotPrincipal" {
			continue
		}
		if list := m.value.get("AWS"); list != nil { // no statement has both elements
			return slices.DeleteFunc(slices.Clone(list.list()), func(n *node) bool { return n.shape != shapeString })
		}
	}
	return nil
}

// Strangers returns the unique ids that a resource's policy names in Allows that
// are about a request, of the caller's kind, user or role, but not the caller's
// own. When they belong to nobody any more, the caller may be the namesake of
// whom they meant.
func Strangers(r *Request) []string {
	id := r.Principal.UniqueID()
	if r.Policy == nil || r.Policy.Doc == nil || !IsUniqueID(id) {
		return nil
	}
	var j judge
	j.begin(r, nil)
	var ids []string
	for i := range r.Policy.Doc.statements {
		s := &r.Policy.Doc.statements[i]
		if s.effect != Allow || s.notPrincipal || !j.concerns(s) {
			continue
		}
		for k := range s.principals {
			e := &s.principals[k]
			if e.class == idClass && e.name != id && e.name[:4] == id[:4] && !slices.Contains(ids, e.name) {
				ids = append(ids, e.name)
			}
		}
	}
	return ids
}
