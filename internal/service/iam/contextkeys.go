package iam

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// inputs parses the policies of a simulation. What AWS would not save is
// refused here, too.
func inputs(texts []string, k policy.Kind) ([]*policy.Document, error) {
	var list []*policy.Document
	for _, text := range texts {
		d, err := policy.Parse(text, k)
		if e, ok := errors.AsType[*policy.Error](err); ok {
			return nil, invalid("%s", e.Message)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// variable is a policy variable; ${*}, ${?} and ${$} are characters.
var variable = regexp.MustCompile(`\$\{\s*([A-Za-z][^},]*?)\s*[,}]`)

// contextKeys are the names of the context keys that documents ask for, in
// conditions and in variables, as they write them and in order.
func contextKeys(docs []*policy.Document) []string {
	names := map[string]string{} // by the name in lower case
	note := func(name string) {
		if _, ok := names[strings.ToLower(name)]; !ok {
			names[strings.ToLower(name)] = name
		}
	}
	for _, d := range docs {
		if d == nil {
			continue
		}
		for i := range d.Len() {
			var s struct {
				Condition map[string]map[string]json.RawMessage
			}
			text := d.Statement(i)
			if json.Unmarshal(text, &s) != nil {
				continue
			}
			for _, keys := range s.Condition {
				for name := range keys {
					note(name)
				}
			}
			if d.Version() != "2012-10-17" { // older ones have no variables
				continue
			}
			for _, m := range variable.FindAllSubmatch(text, -1) {
				note(string(m[1]))
			}
		}
	}
	list := []string{}
	for _, folded := range slices.Sorted(maps.Keys(names)) {
		list = append(list, names[folded])
	}
	return list
}

func (s *Service) getContextKeysForCustomPolicy(_ context.Context, _ *call.Call, in *api.GetContextKeysForCustomPolicyInput) (*api.GetContextKeysForCustomPolicyOutput, error) {
	docs, err := inputs(in.PolicyInputList, policy.Identity)
	return &api.GetContextKeysForCustomPolicyOutput{ContextKeyNames: contextKeys(docs)}, err
}

func (s *Service) getContextKeysForPrincipalPolicy(ctx context.Context, c *call.Call, in *api.GetContextKeysForPrincipalPolicyInput) (*api.GetContextKeysForPrincipalPolicyOutput, error) {
	docs, err := inputs(in.PolicyInputList, policy.Identity)
	if err != nil {
		return nil, err
	}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := entityByARN(ctx, tx, c.Account(), in.PolicySourceArn)
		if err != nil {
			return err
		}
		list, err := heldBy(ctx, tx, e)
		for _, h := range list {
			docs = append(docs, h.source.Doc)
		}
		return err
	})
	return &api.GetContextKeysForPrincipalPolicyOutput{ContextKeyNames: contextKeys(docs)}, err
}

// given are the context keys of a simulation's request. Time passes in
// simulations, too: it need not be given.
func given(c *call.Call, entries []api.ContextEntry) (policy.Keys, error) {
	keys := policy.Keys{
		"aws:currenttime": {c.Time.UTC().Format("2006-01-02T15:04:05Z")},
		"aws:epochtime":   {strconv.FormatInt(c.Time.Unix(), 10)},
	}
	for _, e := range entries {
		if e.ContextKeyName == "" || e.ContextKeyType == "" {
			return nil, invalid("A context entry needs a name and a type.")
		}
		if !strings.HasSuffix(e.ContextKeyType, "List") && len(e.ContextKeyValues) != 1 {
			return nil, invalid("The context key %s of type %s takes one value.", e.ContextKeyName, e.ContextKeyType)
		}
		for _, v := range e.ContextKeyValues {
			if !valueOf(strings.TrimSuffix(e.ContextKeyType, "List"), v) {
				return nil, invalid("Invalid value for the context key %s of type %s: %s", e.ContextKeyName, e.ContextKeyType, v)
			}
		}
		keys[strings.ToLower(e.ContextKeyName)] = e.ContextKeyValues
	}
	return keys, nil
}

// valueOf reports whether a text is a value of a context key's type.
func valueOf(sort, text string) bool {
	var err error
	switch sort {
	case "numeric":
		_, err = strconv.ParseFloat(text, 64)
	case "boolean":
		_, err = strconv.ParseBool(text)
	case "binary":
		_, err = base64.StdEncoding.DecodeString(text)
	case "ip":
		if _, err = netip.ParsePrefix(text); err != nil {
			_, err = netip.ParseAddr(text)
		}
	case "date":
		if _, err = strconv.ParseInt(text, 10, 64); err == nil {
			return true
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
			if _, err = time.Parse(layout, text); err == nil {
				return true
			}
		}
	}
	return err == nil
}

// accountOf is the account that a ResourceOwner names: by its id or by an ARN.
func accountOf(text string) (string, error) {
	if aws.IsAccountID(text) {
		return text, nil
	}
	if a, ok := aws.ParseARN(text); ok && aws.IsAccountID(a.Account) {
		return a.Account, nil
	}
	return "", invalid("Invalid ResourceOwner: %s", text)
}
