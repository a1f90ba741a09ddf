package checkpoint

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/token"
)

// MessageHeader is the header of a refusal that says, sealed, why: to whoever may
// decode it with sts:DecodeAuthorizationMessage. AWS has such messages in the
// texts of a few services' refusals, none of which is here, so the texts stay
// as AWS has them.
const MessageHeader = "X-Sekisho-Authorization-Message"

// message is a refusal as AWS's decoded messages have it.
type message struct {
	Allowed      bool                    `json:"allowed"`
	ExplicitDeny bool                    `json:"explicitDeny"`
	Matched      items[matchedStatement] `json:"matchedStatements"`
	Failures     items[string]           `json:"failures"`
	Context      messageContext          `json:"context"`
}

type items[T any] struct {
	Items []T `json:"items"`
}

// matchedStatement is a Deny that applied. AWS writes out the statement, sekisho
// says where it stands.
type matchedStatement struct {
	ID     string `json:"statementId"`
	Effect string `json:"effect"`
	Policy string `json:"policy"`
	On     string `json:"attachedTo"`
	Index  int    `json:"statementIndex"`
}

type messageContext struct {
	Principal  messagePrincipal        `json:"principal"`
	Action     string                  `json:"action"`
	Resource   string                  `json:"resource"`
	Conditions items[messageCondition] `json:"conditions"`
}

type messagePrincipal struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	ARN  string `json:"arn"`
}

type messageCondition struct {
	Key    string              `json:"key"`
	Values items[messageValue] `json:"values"`
}

type messageValue struct {
	Value string `json:"value"`
}

// shownKeys are the global condition keys that messages show, where they apply.
var shownKeys = []string{
	"aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalType", "aws:PrincipalOrgID", "aws:userid", "aws:username",
	"aws:SourceIdentity", "aws:MultiFactorAuthPresent", "aws:SourceIp", "aws:UserAgent", "aws:SecureTransport", "aws:CurrentTime",
	"aws:RequestedRegion", "aws:ResourceAccount", "aws:ResourceOrgID", "aws:ViaAWSService", "aws:CalledVia", "aws:SourceArn",
}

// explain adds the sealed message to a refusal. One that is too long for a
// header is left out.
func (k *Checkpoint) explain(answer *aws.Error, r *policy.Request, d policy.Decision) {
	if k.messages == nil || r.Principal.Account == "" {
		return
	}
	text, err := json.Marshal(messageOf(r, d))
	if err != nil {
		return // of strings alone: it cannot be
	}
	sealed, err := token.SealMessage(k.messages, r.Principal.Account, text)
	if err != nil {
		return
	}
	header := map[string]string{MessageHeader: sealed}
	maps.Copy(header, answer.Header)
	answer.Header = header
}

func messageOf(r *policy.Request, d policy.Decision) message {
	p := r.Principal
	m := message{ExplicitDeny: d.Effect == policy.ExplicitDeny, Matched: items[matchedStatement]{[]matchedStatement{}}, Failures: items[string]{[]string{}}}
	m.Context = messageContext{Principal: messagePrincipal{p.ID, p.Name(), p.ARN}, Action: r.Action, Resource: r.Resource, Conditions: items[messageCondition]{conditionsOf(r)}}
	for _, b := range d.Because {
		m.Matched.Items = append(m.Matched.Items, matchedStatement{b.Sid, "DENY", b.Name, b.On, b.Statement})
	}
	return m
}

// conditionsOf are the keys of a request: its own by name, and after them the
// global ones.
func conditionsOf(r *policy.Request) []messageCondition {
	names := slices.Clone(shownKeys)
	if f, ok := r.Context.(facts); ok {
		names = slices.Concat(slices.Sorted(maps.Keys(f.n.Keys)), slices.Sorted(maps.Keys(f.c.Keys)), names)
	}
	list := []messageCondition{}
	for _, name := range names {
		values, ok := r.Context.Lookup(strings.ToLower(name))
		if !ok {
			continue
		}
		c := messageCondition{Key: name, Values: items[messageValue]{[]messageValue{}}}
		for _, v := range values {
			c.Values.Items = append(c.Values.Items, messageValue{v})
		}
		list = append(list, c)
	}
	return list
}
