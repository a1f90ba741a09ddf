package kms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// target is a key as authorisation sees it. The key may be absent: whoever may
// not touch it learns nothing, and whoever may is told by the handler.
type target struct {
	ref
	key     *key
	doc     *policy.Document
	aliases []string
	tags    []tag
	grants  []grant // those whose grantee is the caller
}

type tag struct {
	Name  string `db:"name"`
	Value string `db:"value"`
}

// keyTarget is target for operations that take no alias.
func (s *Service) keyTarget(ctx context.Context, c *call.Call, keyID string) (target, error) {
	r, err := keyRef(c, keyID)
	if err != nil {
		return target{}, err
	}
	return s.target(ctx, c, r)
}

// homeTarget is keyTarget for operations that AWS allows nobody outside the
// key's account, whatever its policy says.
func (s *Service) homeTarget(ctx context.Context, c *call.Call, action, keyID string) (target, error) {
	r, err := keyRef(c, keyID)
	if err != nil {
		return target{}, err
	}
	if r.account != c.Account() {
		return target{}, errInvisible(c, action)
	}
	return s.target(ctx, c, r)
}

// homeNeeds are the needs of a management operation: the one permission, on
// the key, and keys of its own.
func (s *Service) homeNeeds(ctx context.Context, c *call.Call, action, keyID string, keys policy.Keys) ([]call.Need, error) {
	t, err := s.homeTarget(ctx, c, action, keyID)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.need(c, action, keys)}, nil
}

// anyTarget is target for operations that take aliases too.
func (s *Service) anyTarget(ctx context.Context, c *call.Call, keyID string) (target, error) {
	r, err := anyRef(c, keyID)
	if err != nil {
		return target{}, err
	}
	if err := s.ensureManaged(ctx, c, r); err != nil {
		return target{}, err
	}
	return s.target(ctx, c, r)
}

// target reads what authorisation has to know about a key.
func (s *Service) target(ctx context.Context, c *call.Call, r ref) (target, error) {
	t := target{ref: r}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		k, err := findKey(ctx, tx, r)
		if err != nil {
			return err
		}
		t.key, t.id = &k, k.ID
		return t.attach(ctx, tx, c)
	})
	if absent, ok := errors.AsType[*aws.Error](err); ok {
		return t.absent(c, absent)
	}
	if err != nil {
		return target{}, fmt.Errorf("read key %s: %w", r.id+r.alias, err)
	}
	t.doc, err = s.document(t.key.Policy)
	return t, err
}

// attachments are what belongs to a key, in one query: this is asked before
// every use of a key.
const attachments = `
	SELECT 'alias' AS kind, '' AS value, '' AS id, name, '' AS grantee, '' AS retiring, '' AS issuer,
		'' AS operations, '' AS equals, '' AS subset, created
	FROM kms_alias WHERE account = $1 AND region = $2 AND key_id = $3
	UNION ALL
	SELECT 'tag', value, '', name, '', '', '', '', '', '', 0
	FROM kms_tag WHERE account = $1 AND region = $2 AND key_id = $3
	UNION ALL
	SELECT 'grant', '', id, name, grantee, retiring, issuer, operations, equals, subset, created
	FROM kms_grant WHERE account = $1 AND region = $2 AND key_id = $3 AND grantee IN ($4, $5, $6)
	ORDER BY 1, 4, 3`

// attach reads a key's aliases and tags, and the grants to the caller.
func (t *target) attach(ctx context.Context, tx *state.Tx, c *call.Call) error {
	type attachment struct {
		grant
		Kind  string `db:"kind"`
		Value string `db:"value"`
	}
	list, err := state.List[attachment](ctx, tx, attachments, t.account, t.region, t.id, c.Principal.ARN, c.Principal.RoleARN, c.Principal.UniqueID())
	if err != nil {
		return err
	}
	for _, a := range list {
		switch a.Kind {
		case "alias":
			t.aliases = append(t.aliases, a.Name)
		case "tag":
			t.tags = append(t.tags, tag{a.Name, a.Value})
		case "grant":
			t.grants = append(t.grants, a.grant)
		}
	}
	return nil
}

// absent is a target without a key. An alias that stands for nothing has no
// key to ask about: in the caller's own account AWS says so at once, in
// another one it says nothing.
func (t target) absent(c *call.Call, e *aws.Error) (target, error) {
	switch {
	case t.id != "":
		return t, nil
	case t.account == c.Account():
		return target{}, e
	}
	return target{}, errInvisible(c, "kms:"+c.Operation)
}

// document parses a stored policy, once.
func (s *Service) document(text string) (*policy.Document, error) {
	return s.documents.get(text, func() (*policy.Document, error) { return policy.Parse(text, policy.Key) })
}

// need is one permission on the key. more are condition keys of the operation,
// in lower case.
func (t *target) need(c *call.Call, action string, more policy.Keys) call.Need {
	n := call.Need{Action: action, Resource: t.keyARN(), Owner: t.account, Keys: t.keys(more), Refuse: refuse}
	switch {
	case t.key != nil:
		n.Policy = &policy.Source{Kind: policy.Key, Name: "default", On: t.keyARN(), Doc: t.doc, Fixed: t.key.Manager == managerAWS}
	case t.account != c.Account():
		n.Policy = &policy.Source{Kind: policy.Key, Name: "default", On: t.keyARN()}
	}
	return n
}

// granted is need for operations that a grant may allow. context is the
// encryption context, which a grant can demand.
func (t *target) granted(c *call.Call, action string, context map[string]string, more policy.Keys) call.Need {
	n := t.need(c, action, more)
	n.Grant = t.grantFor(strings.TrimPrefix(action, "kms:"), context)
	return n
}

// keys are the condition keys that any operation on the key has.
func (t *target) keys(more policy.Keys) policy.Keys {
	keys := policy.Keys{}
	for name, values := range more {
		keys[name] = values
	}
	if t.alias != "" {
		keys["kms:requestalias"] = []string{t.alias}
	}
	if t.key == nil {
		return keys
	}
	maps.Copy(keys, kindKeys(t.key.Spec, t.key.Usage, t.key.Origin))
	keys["kms:multiregion"] = []string{strconv.FormatBool(t.key.MultiRegion != "")}
	if t.key.MultiRegion != "" {
		keys["kms:multiregionkeytype"] = []string{t.key.MultiRegion}
	}
	if len(t.aliases) > 0 {
		keys["kms:resourcealiases"] = t.aliases
	}
	for _, tag := range t.tags {
		keys["aws:resourcetag/"+strings.ToLower(tag.Name)] = []string{tag.Value}
	}
	return keys
}

// kindKeys are the condition keys that say what kind of key it is. AWS goes on
// knowing two of them by their former names.
func kindKeys(spec, usage, origin string) policy.Keys {
	return policy.Keys{
		"kms:keyspec": {spec}, "kms:customermasterkeyspec": {spec},
		"kms:keyusage": {usage}, "kms:customermasterkeyusage": {usage},
		"kms:keyorigin": {origin},
	}
}

// contextKeys are the condition keys of encryption and decryption.
func contextKeys(algorithm string, context map[string]string) policy.Keys {
	keys := policy.Keys{"kms:encryptionalgorithm": {cmp.Or(algorithm, symmetric)}}
	addContextKeys(keys, context)
	return keys
}

// addContextKeys adds the condition keys of an encryption context. Policies do
// not tell names apart by case: pairs that differ in nothing else are values of
// one key.
func addContextKeys(keys policy.Keys, context map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(context)) {
		folded := "kms:encryptioncontext:" + strings.ToLower(name)
		keys[folded] = append(keys[folded], context[name])
		keys["kms:encryptioncontextkeys"] = append(keys["kms:encryptioncontextkeys"], name)
	}
}

// refuse words a refusal. Of keys of another account KMS does not even say
// that they exist, unless their policy lets the caller in.
func refuse(c *call.Call, n call.Need, d policy.Decision) *aws.Error {
	if n.Owner != c.Account() && byKeyPolicy(d) {
		return errInvisible(c, n.Action)
	}
	message := "User: " + c.Principal.ARN + " is not authorized to perform: " + n.Action + " on resource: " + n.Resource
	if reason := d.Reason(n.Action); reason != "" {
		message += " " + reason
	}
	return aws.Errorf("AccessDeniedException", "%s", message)
}

// byKeyPolicy reports whether a key policy refused, or did not allow.
func byKeyPolicy(d policy.Decision) bool {
	return slices.Contains(d.Silent, policy.Key) ||
		slices.ContainsFunc(d.Because, func(m policy.Match) bool { return m.Kind == policy.Key })
}

func errInvisible(c *call.Call, action string) *aws.Error {
	return aws.Errorf("AccessDeniedException", "User: %s is not authorized to perform: %s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", c.Principal.ARN, action)
}

// everywhere is the need of operations on no key in particular.
func everywhere(action string, keys policy.Keys) []call.Need {
	return []call.Need{{Action: action, Resource: "*", Keys: keys}}
}

func boolKey(b *bool) []string { return []string{strconv.FormatBool(b != nil && *b)} }

func isTrue(b *bool) bool { return b != nil && *b }

// errDryRun is the answer to a request that would have succeeded.
func errDryRun() *aws.Error {
	return aws.Errorf("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
}
