package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

func (s *Service) putPermissionNeeds(ctx context.Context, c *call.Call, in *api.PutPermissionInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:PutPermission", in.EventBusName, nil)
}

// putPermission sets a bus's whole policy, or one statement of it.
func (s *Service) putPermission(ctx context.Context, c *call.Call, in *api.PutPermissionInput) (*api.PutPermissionOutput, error) {
	simple := in.Action != "" || in.Principal != "" || in.StatementId != "" || in.Condition != nil
	if in.Policy != "" && simple {
		return nil, invalid("Parameters Policy and Action, Principal, StatementId, Condition are mutually exclusive.")
	}
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return nil, err
	}
	if in.Policy != "" {
		text, err := s.kept(ctx, in.Policy)
		if err != nil {
			return nil, err
		}
		return nil, s.changePolicy(ctx, c, ref, func(string) (string, error) { return text, nil })
	}
	statement, err := newPermission(ref, in)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(statement)
	if err != nil {
		return nil, err
	}
	return nil, s.changePolicy(ctx, c, ref, func(old string) (string, error) { return withStatement(old, statement.Sid, raw) })
}

func (s *Service) putStatementNeeds(ctx context.Context, c *call.Call, in *api.PutStatementInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:PutPermission", in.EventBusName, nil)
}

// putStatement puts one statement, in the form it has, into a bus's policy.
func (s *Service) putStatement(ctx context.Context, c *call.Call, in *api.PutStatementInput) (*api.PutStatementOutput, error) {
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return nil, err
	}
	raw, err := named(in.Statement, in.StatementId)
	if err != nil {
		return nil, err
	}
	if raw, err = s.keptStatement(ctx, raw); err != nil {
		return nil, err
	}
	return nil, s.changePolicy(ctx, c, ref, func(old string) (string, error) { return withStatement(old, in.StatementId, raw) })
}

// named returns a statement with its Sid.
func named(statement, sid string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(statement), &fields); err != nil || fields == nil {
		return nil, invalid("Parameter Statement is not valid. Reason: a statement must be an object.")
	}
	id, err := json.Marshal(sid)
	if err != nil {
		return nil, err
	}
	fields["Sid"] = id
	return json.Marshal(fields)
}

// changePolicy replaces a bus's policy by what change makes of it.
func (s *Service) changePolicy(ctx context.Context, c *call.Call, ref busRef, change func(old string) (string, error)) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		b, err := findBus(ctx, tx, ref)
		if err != nil {
			return err
		}
		if b.Policy, err = change(b.Policy); err != nil {
			return err
		}
		if err := checkPolicy(b.Policy); err != nil {
			return err
		}
		return b.save(ctx, tx, c.Time)
	})
}

func checkPolicy(text string) error {
	if text == "" {
		return nil
	}
	_, err := parsePolicy(text)
	return err
}

func parsePolicy(text string) (*policy.Document, error) {
	if len(text) > maxPolicy {
		return nil, aws.Errorf("PolicyLengthExceededException", "Policy length exceeded: the policy of an event bus may have %d characters.", maxPolicy)
	}
	doc, err := policy.Parse(text, policy.Resource)
	return doc, notValid(err)
}

// notValid words a refusal of the policy language.
func notValid(err error) error {
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return invalid("Parameter Policy is not valid. Reason: %s", e.Message)
	}
	return err
}

// kept is a policy as it is kept: users and roles stand in it by their unique
// ids. Only what is put now is asked for people who do not exist: a statement
// can join others that name somebody who is gone, and be removed beside them.
// That EventBridge keeps ids follows from what IAM's documentation says of all
// resources' policies; nothing says it of EventBridge in particular.
func (s *Service) kept(ctx context.Context, text string) (string, error) {
	doc, err := parsePolicy(text)
	if err != nil {
		return "", err
	}
	text, err = policy.Bind(ctx, doc, s.principals)
	return text, notValid(err)
}

// keptStatement is kept for one statement.
func (s *Service) keptStatement(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	const head, tail = `{"Version":"2012-10-17","Statement":[`, `]}`
	text, err := s.kept(ctx, head+string(raw)+tail)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(strings.TrimSuffix(strings.TrimPrefix(text, head), tail)), nil
}

// permission is a statement of PutPermission's simple form.
type permission struct {
	Sid       string
	Effect    string
	Principal any
	Action    string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

func newPermission(ref busRef, in *api.PutPermissionInput) (permission, error) {
	switch {
	case in.Action == "":
		return permission{}, invalid("Parameter Action must be specified.")
	case in.Action != "events:PutEvents":
		return permission{}, invalid("Provided value in parameter 'action' is not supported.")
	case in.Principal == "":
		return permission{}, invalid("Parameter Principal must be specified.")
	case in.Principal != "*" && !aws.IsAccountID(in.Principal):
		return permission{}, invalid("Provided value in parameter 'principal' is not valid.")
	case in.StatementId == "":
		return permission{}, invalid("Parameter StatementId must be specified.")
	}
	p := permission{Sid: in.StatementId, Effect: "Allow", Principal: "*", Action: in.Action, Resource: ref.arn()}
	if in.Principal != "*" {
		p.Principal = map[string]string{"AWS": aws.RootPrincipal(in.Principal).ARN}
	}
	if q := in.Condition; q != nil {
		if q.Type != "StringEquals" || q.Key != "aws:PrincipalOrgID" {
			return permission{}, invalid("Condition of a permission must be StringEquals on aws:PrincipalOrgID.")
		}
		p.Condition = map[string]map[string]string{q.Type: {q.Key: q.Value}}
	}
	return p, nil
}

// document is a policy taken apart as far as its statements.
type document struct {
	Version   string `json:",omitempty"`
	ID        string `json:"Id,omitempty"`
	Statement []json.RawMessage
}

func readDocument(text string) (document, error) {
	if text == "" {
		return document{Version: "2012-10-17"}, nil
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return document{}, err
	}
	d := document{Version: raw.Version, ID: raw.ID}
	if !bytes.HasPrefix(bytes.TrimSpace(raw.Statement), []byte("[")) {
		d.Statement = []json.RawMessage{raw.Statement}
		return d, nil
	}
	return d, json.Unmarshal(raw.Statement, &d.Statement)
}

// without removes the statement with a Sid; it reports false when there is
// none.
func (d *document) without(sid string) bool {
	n := len(d.Statement)
	d.Statement = slices.DeleteFunc(d.Statement, func(s json.RawMessage) bool {
		var named struct{ Sid string }
		return json.Unmarshal(s, &named) == nil && named.Sid == sid
	})
	return len(d.Statement) < n
}

// text writes the document; without statements there is none.
func (d document) text() (string, error) {
	if len(d.Statement) == 0 {
		return "", nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(d)
	return strings.TrimSpace(b.String()), err
}

// withStatement returns a policy with one more statement, which replaces the
// one with the same Sid.
func withStatement(text, sid string, statement json.RawMessage) (string, error) {
	d, err := readDocument(text)
	if err != nil {
		return "", err
	}
	d.without(sid)
	d.Statement = append(d.Statement, statement)
	return d.text()
}

func (s *Service) removePermissionNeeds(ctx context.Context, c *call.Call, in *api.RemovePermissionInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:RemovePermission", in.EventBusName, nil)
}

func (s *Service) removePermission(ctx context.Context, c *call.Call, in *api.RemovePermissionInput) (*api.RemovePermissionOutput, error) {
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return nil, err
	}
	all := in.RemoveAllPermissions != nil && *in.RemoveAllPermissions
	if !all && in.StatementId == "" {
		return nil, invalid("Parameter StatementId must be specified.")
	}
	return nil, s.changePolicy(ctx, c, ref, func(old string) (string, error) {
		if all {
			return "", nil
		}
		d, err := readDocument(old)
		if err != nil {
			return "", err
		}
		if !d.without(in.StatementId) {
			return "", notFound("Statement with the provided id does not exist.")
		}
		return d.text()
	})
}
