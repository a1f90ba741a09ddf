package kms

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// grant is a row of kms_grant. Rows of before unique ids were kept name their
// principals by ARN, and go on meaning whoever has it.
type grant struct {
	ID         string `db:"id"`
	Name       string `db:"name"`
	Grantee    string `db:"grantee"` // a user or role by its unique id, others by ARN
	Retiring   string `db:"retiring"`
	Issuer     string `db:"issuer"`     // the account that made it
	Operations string `db:"operations"` // sorted, with spaces between
	Equals     string `db:"equals"`     // constraints, as JSON; empty means none
	Subset     string `db:"subset"`
	Created    int64  `db:"created"`
}

const grantColumns = `id, name, grantee, retiring, issuer, operations, equals, subset, created`

// allows reports whether a grant is for an operation.
func (g grant) allows(operation string) bool {
	return slices.Contains(strings.Fields(g.Operations), operation)
}

// fits reports whether an encryption context satisfies the constraints. They
// bind cryptographic operations only.
func (g grant) fits(operation string, context map[string]string) bool {
	switch operation {
	case "DescribeKey", "RetireGrant":
		return true
	}
	if g.Equals != "" && !equal(pairs(g.Equals), context) {
		return false
	}
	return g.Subset == "" || within(pairs(g.Subset), context)
}

// equal reports whether two encryption contexts have the same pairs, as far as
// grants are concerned.
func equal(a, b map[string]string) bool { return len(a) == len(b) && within(a, b) && within(b, a) }

// within reports whether every pair of a is in b. In a grant the case of a
// pair's name does not count, the case of its value does.
func within(a, b map[string]string) bool {
	for name, value := range a {
		if got, ok := b[name]; ok && got == value {
			continue
		}
		if !hasFolded(b, name, value) {
			return false
		}
	}
	return true
}

func hasFolded(context map[string]string, name, value string) bool {
	for n, v := range context {
		if v == value && strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func pairs(text string) map[string]string {
	var m map[string]string
	if text == "" || json.Unmarshal([]byte(text), &m) != nil {
		return nil
	}
	return m
}

func pairsText(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// grantFor returns the id of a grant by which the caller may do an operation.
func (t *target) grantFor(operation string, context map[string]string) string {
	for _, g := range t.grants {
		if g.allows(operation) && g.fits(operation, context) {
			return g.ID
		}
	}
	return ""
}

// grantOperations are what grants can be for, by the key's usage, beside what
// they can be for on every key.
var grantOperations = map[string][]string{
	encryptDecrypt:    {"Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo"},
	signVerify:        {"Sign", "Verify"},
	generateVerifyMAC: {"GenerateMac", "VerifyMac"},
	keyAgreement:      {"DeriveSharedSecret"},
}

// checkGrant refuses grants for what a key cannot do, and constraints where
// there is no encryption context.
func (k key) checkGrant(operations []string, constrained bool) error {
	can := slices.Concat([]string{"CreateGrant", "DescribeKey", "RetireGrant"}, grantOperations[k.Usage])
	switch {
	case k.symmetric():
		can = append(can, "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext")
	case specs[k.Spec].pair():
		can = append(can, "GetPublicKey")
	}
	for _, op := range operations {
		if !slices.Contains(can, op) {
			return aws.Errorf("ValidationException", "Operation %s is not supported by grants on keys of type %s.", op, k.Spec)
		}
	}
	if constrained && !k.symmetric() {
		return aws.Errorf("ValidationException", "Grant constraints are not supported on keys of type %s.", k.Spec)
	}
	return nil
}

func (s *Service) createGrantNeeds(ctx context.Context, c *call.Call, in *api.CreateGrantInput) ([]call.Need, error) {
	if err := s.checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	t, err := s.keyTarget(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	keys := forAWSResource(c)
	keys["kms:granteeprincipal"] = []string{in.GranteePrincipal}
	keys["kms:grantoperations"] = in.Operations
	if in.RetiringPrincipal != "" {
		keys["kms:retiringprincipal"] = []string{in.RetiringPrincipal}
	}
	if in.Constraints != nil {
		addContextKeys(keys, in.Constraints.EncryptionContextEquals)
		addContextKeys(keys, in.Constraints.EncryptionContextSubset)
		if len(in.Constraints.EncryptionContextEquals) > 0 {
			keys["kms:grantconstrainttype"] = append(keys["kms:grantconstrainttype"], "EncryptionContextEquals")
		}
		if len(in.Constraints.EncryptionContextSubset) > 0 {
			keys["kms:grantconstrainttype"] = append(keys["kms:grantconstrainttype"], "EncryptionContextSubset")
		}
	}
	n := t.need(c, "kms:CreateGrant", keys)
	for _, g := range t.grants {
		if g.allows("CreateGrant") && g.covers(in) {
			n.Grant = g.ID
		}
	}
	return []call.Need{n}, nil
}

// forAWSResource says whether a service makes the call on somebody's behalf.
func forAWSResource(c *call.Call) policy.Keys {
	is := len(c.Via) > 0 || c.Principal.Kind == aws.Service
	return policy.Keys{"kms:grantisforawsresource": {strconv.FormatBool(is)}}
}

// covers reports whether a grantee may pass on what is asked for: no more
// operations than it has, and constraints that are equal or tighter.
func (g grant) covers(in *api.CreateGrantInput) bool {
	for _, op := range in.Operations {
		if !g.allows(op) {
			return false
		}
	}
	var constraints api.GrantConstraints
	if in.Constraints != nil {
		constraints = *in.Constraints
	}
	if g.Equals != "" && !equal(pairs(g.Equals), constraints.EncryptionContextEquals) {
		return false
	}
	subset := pairs(g.Subset)
	return within(subset, constraints.EncryptionContextEquals) || within(subset, constraints.EncryptionContextSubset)
}

func (s *Service) createGrant(ctx context.Context, c *call.Call, in *api.CreateGrantInput) (*api.CreateGrantOutput, error) {
	g, err := s.newGrant(ctx, c, in)
	if err != nil {
		return nil, err
	}
	var of key
	err = s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.usable(); err != nil {
			return err
		}
		if err := k.checkGrant(in.Operations, g.Equals != "" || g.Subset != ""); err != nil {
			return err
		}
		if isTrue(in.DryRun) {
			return errDryRun()
		}
		of = k
		return g.store(ctx, tx, k)
	})
	if err != nil {
		return nil, err
	}
	token, err := s.token(grantName{keyName{of.Account, of.Region, of.ID}, g.ID})
	if err != nil {
		return nil, err
	}
	return &api.CreateGrantOutput{GrantId: g.ID, GrantToken: token}, nil
}

func (s *Service) newGrant(ctx context.Context, c *call.Call, in *api.CreateGrantInput) (*grant, error) {
	if len(in.Operations) == 0 {
		return nil, aws.Errorf("ValidationException", "1 validation error detected: Value at 'operations' failed to satisfy constraint: Member must not be null")
	}
	grantee, err := s.keptPrincipal(ctx, in.GranteePrincipal)
	if err != nil {
		return nil, err
	}
	retiring, err := s.keptPrincipal(ctx, in.RetiringPrincipal)
	if err != nil {
		return nil, err
	}
	ops := slices.Compact(slices.Sorted(slices.Values(in.Operations)))
	g := &grant{
		ID: aws.RandomText(64, "0123456789abcdef"), Name: in.Name, Grantee: grantee, Retiring: retiring,
		Issuer: c.Account(), Operations: strings.Join(ops, " "), Created: state.Millis(c.Time),
	}
	if in.Constraints != nil {
		for _, context := range []map[string]string{in.Constraints.EncryptionContextEquals, in.Constraints.EncryptionContextSubset} {
			if err := checkConstraint(context); err != nil {
				return nil, err
			}
		}
		g.Equals, g.Subset = pairsText(in.Constraints.EncryptionContextEquals), pairsText(in.Constraints.EncryptionContextSubset)
	}
	return g, nil
}

const (
	constraintPairs = 8   // in one constraint
	constraintValue = 384 // characters of a pair's value
)

// checkConstraint refuses constraints beyond AWS's limits. With which error AWS
// does so is not documented.
func checkConstraint(context map[string]string) error {
	if len(context) > constraintPairs {
		return aws.Errorf("ValidationException", "A grant constraint has at most %d encryption context pairs.", constraintPairs)
	}
	for name, value := range context {
		if utf8.RuneCountInString(value) > constraintValue {
			return aws.Errorf("ValidationException", "The value of %s in a grant constraint is longer than %d characters.", name, constraintValue)
		}
	}
	return nil
}

// keptPrincipal is a grant's principal as it is kept: a user or role by its
// unique id. It refuses who cannot be granted anything: an IAM group, or
// somebody who does not exist.
func (s *Service) keptPrincipal(ctx context.Context, arn string) (string, error) {
	if arn == "" {
		return "", nil
	}
	kept, exists, err := policy.BindPrincipal(ctx, arn, s.principals)
	if err != nil {
		return "", fmt.Errorf("look up principal %s: %w", arn, err)
	}
	if !exists || !strings.HasPrefix(arn, "arn:") {
		return "", aws.Errorf("InvalidArnException", "ARN does not refer to a valid principal: %s", arn)
	}
	return kept, nil
}

// also is the other form in which a grant may name a principal that is asked
// for by its ARN.
func (s *Service) also(ctx context.Context, arn string) (string, error) {
	if arn == "" {
		return "", nil
	}
	kept, _, err := policy.BindPrincipal(ctx, arn, s.principals)
	return kept, err
}

// shown is a grant as it is read: with the ARNs of those who are there, and
// the unique ids of those who are gone, as AWS lists them.
func (s *Service) shown(ctx context.Context, g grant) (grant, error) {
	for _, p := range [...]*string{&g.Grantee, &g.Retiring} {
		if !policy.IsUniqueID(*p) {
			continue
		}
		arn, ok, err := s.principals.PrincipalARN(ctx, *p)
		if err != nil {
			return g, fmt.Errorf("look up principal %s: %w", *p, err)
		}
		if ok {
			*p = arn
		}
	}
	return g, nil
}

// store adds a grant. One that has the same name and all else equal is there
// already: the new one takes its id.
func (g *grant) store(ctx context.Context, tx *state.Tx, k key) error {
	if g.Name != "" {
		id, err := state.Get[string](ctx, tx, `
			SELECT id FROM kms_grant WHERE account = $1 AND region = $2 AND key_id = $3 AND name = $4 AND grantee = $5
			AND retiring = $6 AND issuer = $7 AND operations = $8 AND equals = $9 AND subset = $10`,
			k.Account, k.Region, k.ID, g.Name, g.Grantee, g.Retiring, g.Issuer, g.Operations, g.Equals, g.Subset)
		if err == nil {
			g.ID = id
			return nil
		}
		if !errors.Is(err, state.ErrNotFound) {
			return fmt.Errorf("look for grant %s on %s: %w", g.Name, k.arn(), err)
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO kms_grant (account, region, key_id, `+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		k.Account, k.Region, k.ID, g.ID, g.Name, g.Grantee, g.Retiring, g.Issuer, g.Operations, g.Equals, g.Subset, g.Created)
	if err != nil {
		return fmt.Errorf("store grant on %s: %w", k.arn(), err)
	}
	return nil
}

// grantName is what a grant token holds, sealed. Grants take effect at once,
// so a token only has to be one of ours.
type grantName struct {
	Key keyName
	ID  string
}

var tokenPurpose = []byte("grant token")

func (s *Service) token(n grantName) (string, error) {
	b, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("grant token: %w", err)
	}
	return base64.StdEncoding.EncodeToString(s.tokens.Seal(b, tokenPurpose)), nil
}

func (s *Service) readToken(token string) (n grantName, err error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err == nil {
		var b []byte
		if b, err = s.tokens.Open(sealed, tokenPurpose); err == nil {
			err = json.Unmarshal(b, &n)
		}
	}
	if err != nil {
		return grantName{}, aws.Errorf("InvalidGrantTokenException", "The grant token is not valid.")
	}
	return n, nil
}

func (s *Service) checkTokens(tokens []string) error {
	for _, t := range tokens {
		if _, err := s.readToken(t); err != nil {
			return err
		}
	}
	return nil
}

func (g grant) entry(arn string) api.GrantListEntry {
	e := api.GrantListEntry{
		KeyId: arn, GrantId: g.ID, Name: g.Name, CreationDate: new(state.Time(g.Created)),
		GranteePrincipal: g.Grantee, RetiringPrincipal: g.Retiring,
		IssuingAccount: aws.RootPrincipal(g.Issuer).ARN, Operations: strings.Fields(g.Operations),
	}
	if g.Equals != "" || g.Subset != "" {
		e.Constraints = &api.GrantConstraints{EncryptionContextEquals: pairs(g.Equals), EncryptionContextSubset: pairs(g.Subset)}
	}
	return e
}

func (s *Service) listGrantsNeeds(ctx context.Context, c *call.Call, in *api.ListGrantsInput) ([]call.Need, error) {
	t, err := s.keyTarget(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.need(c, "kms:ListGrants", forAWSResource(c))}, nil
}

func (s *Service) listGrants(ctx context.Context, c *call.Call, in *api.ListGrantsInput) (*api.ListGrantsOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	also, err := s.also(ctx, in.GranteePrincipal)
	if err != nil {
		return nil, err
	}
	var list []grant
	err = s.read(ctx, r, func(tx *state.Tx, k key) error {
		list, err = state.List[grant](ctx, tx, `
			SELECT `+grantColumns+` FROM kms_grant
			WHERE account = $1 AND region = $2 AND key_id = $3 AND id > $4 AND ($5 = '' OR id = $5) AND ($6 = '' OR grantee IN ($6, $7))
			ORDER BY id LIMIT $8`,
			k.Account, k.Region, k.ID, p.after, in.GrantId, in.GranteePrincipal, also, p.limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListGrantsOutput{Grants: []api.GrantListEntry{}}
	list, out.NextMarker, out.Truncated = cut(p, list, func(g grant) string { return g.ID })
	for _, g := range list {
		if g, err = s.shown(ctx, g); err != nil {
			return nil, err
		}
		out.Grants = append(out.Grants, g.entry(r.keyARN()))
	}
	return out, nil
}

func (s *Service) listRetirableGrantsNeeds(context.Context, *call.Call, *api.ListRetirableGrantsInput) ([]call.Need, error) {
	return everywhere("kms:ListRetirableGrants", nil), nil
}

// listRetirableGrants lists what a principal of the caller's account may
// retire: grants on the keys of whatever account.
func (s *Service) listRetirableGrants(ctx context.Context, c *call.Call, in *api.ListRetirableGrantsInput) (*api.ListRetirableGrantsOutput, error) {
	if a, ok := aws.ParseARN(in.RetiringPrincipal); !ok || a.Account != c.Account() {
		return nil, aws.Errorf("InvalidArnException", "ARN does not refer to a principal of account %s: %s", c.Account(), in.RetiringPrincipal)
	}
	p, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	also, err := s.also(ctx, in.RetiringPrincipal)
	if err != nil {
		return nil, err
	}
	type row struct {
		grant
		Account string `db:"account"`
		KeyID   string `db:"key_id"`
	}
	var list []row
	err = s.db.View(ctx, func(tx *state.Tx) error {
		list, err = state.List[row](ctx, tx, `
			SELECT account, key_id, `+grantColumns+` FROM kms_grant
			WHERE region = $1 AND retiring IN ($2, $3) AND id > $4 ORDER BY id LIMIT $5`,
			c.Region, in.RetiringPrincipal, also, p.after, p.limit+1)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list grants that %s may retire: %w", in.RetiringPrincipal, err)
	}
	out := &api.ListRetirableGrantsOutput{Grants: []api.GrantListEntry{}}
	list, out.NextMarker, out.Truncated = cut(p, list, func(r row) string { return r.ID })
	for _, row := range list {
		g, err := s.shown(ctx, row.grant)
		if err != nil {
			return nil, err
		}
		out.Grants = append(out.Grants, g.entry(ref{account: row.Account, region: c.Region, id: row.KeyID}.keyARN()))
	}
	return out, nil
}

func (s *Service) revokeGrantNeeds(ctx context.Context, c *call.Call, in *api.RevokeGrantInput) ([]call.Need, error) {
	t, err := s.keyTarget(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.need(c, "kms:RevokeGrant", forAWSResource(c))}, nil
}

func (s *Service) revokeGrant(ctx context.Context, c *call.Call, in *api.RevokeGrantInput) (*api.RevokeGrantOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	return nil, s.removeGrant(ctx, r, in.GrantId, isTrue(in.DryRun))
}

func (s *Service) removeGrant(ctx context.Context, r ref, id string, dryRun bool) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		k, err := findKey(ctx, tx, r)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `DELETE FROM kms_grant WHERE account = $1 AND region = $2 AND key_id = $3 AND id = $4`, k.Account, k.Region, k.ID, id)
		switch {
		case err != nil:
			return fmt.Errorf("remove grant from %s: %w", k.arn(), err)
		case n == 0:
			return aws.Errorf("NotFoundException", "Grant ID '%s' not found", id)
		case dryRun:
			return errDryRun() // undoes the removal
		}
		return nil
	})
}

// retired is the key and the id of the grant that RetireGrant names, by its
// token or by both.
func (s *Service) retired(c *call.Call, in *api.RetireGrantInput) (ref, string, error) {
	if in.GrantToken != "" {
		n, err := s.readToken(in.GrantToken)
		return n.Key.ref(), n.ID, err
	}
	if in.KeyId == "" || in.GrantId == "" {
		return ref{}, "", aws.Errorf("ValidationException", "Specify either a grant token, or a key ARN and a grant ID.")
	}
	r, err := keyRef(c, in.KeyId)
	return r, in.GrantId, err
}

// retireGrantNeeds asks for kms:RetireGrant, which the grant itself gives: to
// its retiring principal, to the account that made it, and to its grantee when
// it is one of the operations. The account of the key, and an account that is
// the retiring principal, may pass it on by IAM policies. Nobody else has it,
// whatever policies say; the key policy has no say in it.
func (s *Service) retireGrantNeeds(ctx context.Context, c *call.Call, in *api.RetireGrantInput) ([]call.Need, error) {
	r, id, err := s.retired(c, in)
	if err != nil {
		return nil, err
	}
	t, err := s.target(ctx, c, r)
	if err != nil {
		return nil, err
	}
	n := t.need(c, "kms:RetireGrant", nil)
	n.Policy = &policy.Source{Kind: policy.Key, Name: policyName, On: t.keyARN()} // which allows nothing
	g, found, err := s.grant(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if found && g.retirableBy(c.Principal) {
		n.Grant = g.ID
	}
	if n.Grant != "" || c.Account() == t.account || found && aws.RootPrincipal(c.Account()).ARN == g.Retiring {
		// The caller's own policies decide, as about a resource of its account.
		n.Owner, n.Policy = c.Account(), nil
		n.Keys["aws:resourceaccount"] = []string{t.account}
	}
	return []call.Need{n}, nil
}

func (g grant) retirableBy(p aws.Principal) bool {
	is := func(name string) bool {
		return name != "" && (name == p.ARN || name == p.RoleARN || name == p.UniqueID())
	}
	return is(g.Retiring) || is(g.Grantee) && g.allows("RetireGrant") || p.Kind == aws.Root && p.Account == g.Issuer
}

func (s *Service) grant(ctx context.Context, r ref, id string) (g grant, found bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		g, err = state.Get[grant](ctx, tx, `SELECT `+grantColumns+` FROM kms_grant WHERE account = $1 AND region = $2 AND key_id = $3 AND id = $4`,
			r.account, r.region, r.id, id)
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return grant{}, false, nil
	}
	if err != nil {
		return grant{}, false, fmt.Errorf("read grant on %s: %w", r.keyARN(), err)
	}
	return g, true, nil
}

func (s *Service) retireGrant(ctx context.Context, c *call.Call, in *api.RetireGrantInput) (*api.RetireGrantOutput, error) {
	r, id, err := s.retired(c, in)
	if err != nil {
		return nil, err
	}
	return nil, s.removeGrant(ctx, r, id, isTrue(in.DryRun))
}
