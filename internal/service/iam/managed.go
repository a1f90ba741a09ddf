package iam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// managedPolicy is a managed policy: a customer's, or one of AWS's own.
type managedPolicy struct {
	Account        string    `db:"account"` // awsOwned for AWS's own
	Folded         string    `db:"folded"`
	Name           string    `db:"name"`
	Path           string    `db:"path"`
	ARN            string    `db:"arn"`
	ID             string    `db:"id"`
	Description    string    `db:"description"`
	DefaultVersion int64     `db:"default_version"`
	LastVersion    int64     `db:"last_version"`
	Created        time.Time `db:"created"`
	Updated        time.Time `db:"updated"`
}

type policyVersion struct {
	Version  int64     `db:"version"`
	Document string    `db:"document"`
	Created  time.Time `db:"created"`
}

const policyColumns = `account, folded, name, path, arn, id, description, default_version, last_version, created, updated`

const (
	findPolicyByARN = `SELECT ` + policyColumns + ` FROM iam_policy WHERE account = $1 AND arn = $2`
	listOwnPolicies = `SELECT ` + policyColumns + ` FROM iam_policy WHERE account = $1 ORDER BY folded`
	insertPolicy    = `INSERT INTO iam_policy (` + policyColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (account, folded) DO NOTHING`
	updatePolicy  = `UPDATE iam_policy SET default_version = $2, last_version = $3, updated = $4 WHERE arn = $1`
	insertVersion = `INSERT INTO iam_policy_version (arn, version, document, created) VALUES ($1, $2, $3, $4)`
	findVersion   = `SELECT version, document, created FROM iam_policy_version WHERE arn = $1 AND version = $2`
	listVersions  = `SELECT version, document, created FROM iam_policy_version WHERE arn = $1 ORDER BY version DESC`
	deleteVersion = `DELETE FROM iam_policy_version WHERE arn = $1 AND version = $2`
)

// findPolicy returns a policy that entities of an account may use: one of the
// account, or of AWS.
func findPolicy(ctx context.Context, tx *state.Tx, account, arn string) (managedPolicy, error) {
	if p, ok := builtin(arn); ok {
		return p.managedPolicy(), nil
	}
	return ownPolicy(ctx, tx, account, arn)
}

// ownPolicy returns a policy of the account, which it may change.
func ownPolicy(ctx context.Context, tx *state.Tx, account, arn string) (managedPolicy, error) {
	if err := checkARN(arn); err != nil {
		return managedPolicy{}, err
	}
	p, err := state.Get[managedPolicy](ctx, tx, findPolicyByARN, account, arn)
	if errors.Is(err, state.ErrNotFound) {
		return p, noSuch("Policy %s was not found.", arn)
	}
	return p, err
}

// version returns a version of a policy; 0 is the default one.
func (p managedPolicy) version(ctx context.Context, tx *state.Tx, number int64) (policyVersion, error) {
	if number == 0 {
		number = p.DefaultVersion
	}
	if b, ok := builtin(p.ARN); ok {
		if number != p.DefaultVersion {
			return policyVersion{}, state.ErrNotFound
		}
		return policyVersion{number, b.document, p.Created}, nil
	}
	return state.Get[policyVersion](ctx, tx, findVersion, p.ARN, number)
}

func (p managedPolicy) save(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, updatePolicy, p.ARN, p.DefaultVersion, p.LastVersion, p.Updated)
	return err
}

func (p managedPolicy) api() api.Policy {
	return api.Policy{
		PolicyName: p.Name, PolicyId: p.ID, Arn: p.ARN, Path: p.Path, DefaultVersionId: versionID(p.DefaultVersion),
		IsAttachable: new(true), CreateDate: &p.Created, UpdateDate: &p.Updated,
		AttachmentCount: new(int64), PermissionsBoundaryUsageCount: new(int64),
	}
}

func versionID(n int64) string { return "v" + strconv.FormatInt(n, 10) }

// versionNumber reads a version's id. What is none is no version: -1.
func versionNumber(id string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, "v"), 10, 64)
	if err != nil || n < 1 {
		return -1
	}
	return n
}

func (v policyVersion) api(def int64) api.PolicyVersion {
	return api.PolicyVersion{VersionId: versionID(v.Version), IsDefaultVersion: new(v.Version == def), CreateDate: &v.Created}
}

func (s *Service) createPolicy(ctx context.Context, c *call.Call, in *api.CreatePolicyInput) (*api.CreatePolicyOutput, error) {
	if err := managedDocument(in.PolicyDocument); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	now := c.Time.Truncate(time.Second)
	p := managedPolicy{
		Account: c.Account(), Folded: strings.ToLower(in.PolicyName), Name: in.PolicyName, Path: orSlash(in.Path),
		ARN: entityARN(c.Account(), managed, in.Path, in.PolicyName), ID: newID("ANPA"), Description: in.Description,
		DefaultVersion: 1, LastVersion: 1, Created: now, Updated: now,
	}
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, insertPolicy, p.Account, p.Folded, p.Name, p.Path, p.ARN, p.ID, p.Description, p.DefaultVersion, p.LastVersion, p.Created, p.Updated)
		if err == nil && n == 0 {
			err = exists("A policy called %s already exists. Duplicate names are not allowed.", p.Name)
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertVersion, p.ARN, p.DefaultVersion, in.PolicyDocument, now); err != nil {
			return err
		}
		if err := policyQuota.check(ctx, tx, c.Account()); err != nil {
			return err
		}
		return addTags(ctx, tx, p.ID, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	out := p.api()
	out.Tags = in.Tags
	return &api.CreatePolicyOutput{Policy: &out}, nil
}

// usage counts who uses a policy, as permissions and as boundary.
func usage(ctx context.Context, tx *state.Tx, account, arn string) (attached, bounds int64, err error) {
	attached, err = state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_attachment WHERE account = $1 AND arn = $2`, account, arn)
	if err != nil {
		return 0, 0, err
	}
	bounds, err = state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_entity WHERE account = $1 AND boundary = $2`, account, arn)
	return attached, bounds, err
}

func (s *Service) getPolicy(ctx context.Context, c *call.Call, in *api.GetPolicyInput) (*api.GetPolicyOutput, error) {
	var out api.Policy
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findPolicy(ctx, tx, c.Account(), in.PolicyArn)
		if err != nil {
			return err
		}
		attached, bounds, err := usage(ctx, tx, c.Account(), p.ARN)
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, p.ID)
		out = p.api()
		out.AttachmentCount, out.PermissionsBoundaryUsageCount = &attached, &bounds
		out.Description, out.Tags = p.Description, shownTags(tags)
		return err
	})
	return &api.GetPolicyOutput{Policy: &out}, err
}

func (s *Service) listPolicies(ctx context.Context, c *call.Call, in *api.ListPoliciesInput) (*api.ListPoliciesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListPoliciesOutput{Policies: []api.Policy{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		var list []managedPolicy
		var err error
		if in.Scope != "AWS" {
			if list, err = state.List[managedPolicy](ctx, tx, listOwnPolicies, c.Account()); err != nil {
				return err
			}
		}
		if in.Scope != "Local" {
			for _, b := range builtins {
				list = append(list, b.managedPolicy())
			}
		}
		list = slices.DeleteFunc(list, func(m managedPolicy) bool { return !strings.HasPrefix(m.Path, orSlash(in.PathPrefix)) })
		key := func(m managedPolicy) string { return m.Folded + " " + m.Account }
		slices.SortFunc(list, func(a, b managedPolicy) int { return cmp.Compare(key(a), key(b)) })
		used, err := usedPolicies(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(m managedPolicy) bool { return !used.wanted(m.ARN, in) })
		list, out.IsTruncated, out.Marker = pageThrough(p, list, key)
		for _, m := range list {
			a := m.api()
			a.AttachmentCount, a.PermissionsBoundaryUsageCount = new(used.attached[m.ARN]), new(used.bounds[m.ARN])
			out.Policies = append(out.Policies, a)
		}
		return nil
	})
	return out, err
}

// usages says how often each policy of an account is used.
type usages struct{ attached, bounds map[string]int64 }

func usedPolicies(ctx context.Context, tx *state.Tx, account string) (usages, error) {
	type count struct {
		ARN string `db:"arn"`
		N   int64  `db:"n"`
	}
	u := usages{map[string]int64{}, map[string]int64{}}
	rows, err := state.List[count](ctx, tx, `SELECT arn, COUNT(*) AS n FROM iam_attachment WHERE account = $1 GROUP BY arn`, account)
	for _, r := range rows {
		u.attached[r.ARN] = r.N
	}
	if err != nil {
		return u, err
	}
	rows, err = state.List[count](ctx, tx, `SELECT boundary AS arn, COUNT(*) AS n FROM iam_entity WHERE account = $1 AND boundary <> '' GROUP BY boundary`, account)
	for _, r := range rows {
		u.bounds[r.ARN] = r.N
	}
	return u, err
}

// wanted applies the filters of ListPolicies.
func (u usages) wanted(arn string, in *api.ListPoliciesInput) bool {
	switch {
	case in.PolicyUsageFilter == "PermissionsPolicy" && u.attached[arn] == 0,
		in.PolicyUsageFilter == "PermissionsBoundary" && u.bounds[arn] == 0:
		return false
	}
	return in.OnlyAttached == nil || !*in.OnlyAttached || u.attached[arn]+u.bounds[arn] > 0
}

func (s *Service) deletePolicy(ctx context.Context, c *call.Call, in *api.DeletePolicyInput) (*api.DeletePolicyOutput, error) {
	return nil, s.changePolicy(ctx, c, in.PolicyArn, func(tx *state.Tx, p *managedPolicy) error {
		attached, bounds, err := usage(ctx, tx, c.Account(), p.ARN)
		if err != nil {
			return err
		}
		if attached+bounds > 0 {
			return conflict("Cannot delete a policy attached to entities.")
		}
		versions, err := state.List[policyVersion](ctx, tx, listVersions, p.ARN)
		if err != nil {
			return err
		}
		if len(versions) > 1 {
			return conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		for _, q := range []string{
			`DELETE FROM iam_policy_version WHERE arn = $1`,
			`DELETE FROM iam_tag WHERE owner_id = (SELECT id FROM iam_policy WHERE arn = $1)`,
			`DELETE FROM iam_policy WHERE arn = $1`,
		} {
			if _, err := tx.Exec(ctx, q, p.ARN); err != nil {
				return err
			}
		}
		return nil
	})
}

// changePolicy finds a policy of the account, lets change alter it, and saves
// it. AWS's own policies are nobody's to change.
func (s *Service) changePolicy(ctx context.Context, c *call.Call, arn string, change func(tx *state.Tx, p *managedPolicy) error) error {
	if _, ok := builtin(arn); ok {
		return aws.Errorf("AccessDenied", "Policy %s is managed by AWS and cannot be changed.", arn).WithStatus(403)
	}
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := ownPolicy(ctx, tx, c.Account(), arn)
		if err != nil {
			return err
		}
		if err := change(tx, &p); err != nil {
			return err
		}
		return p.save(ctx, tx)
	})
}

func (s *Service) createPolicyVersion(ctx context.Context, c *call.Call, in *api.CreatePolicyVersionInput) (*api.CreatePolicyVersionOutput, error) {
	if err := managedDocument(in.PolicyDocument); err != nil {
		return nil, err
	}
	var out api.PolicyVersion
	err := s.changePolicy(ctx, c, in.PolicyArn, func(tx *state.Tx, p *managedPolicy) error {
		versions, err := state.List[policyVersion](ctx, tx, listVersions, p.ARN)
		if err != nil {
			return err
		}
		if len(versions) >= maxVersions {
			return limit("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.LastVersion++
		p.Updated = c.Time.Truncate(time.Second)
		if in.SetAsDefault != nil && *in.SetAsDefault {
			p.DefaultVersion = p.LastVersion
		}
		v := policyVersion{p.LastVersion, in.PolicyDocument, p.Updated}
		out = v.api(p.DefaultVersion)
		_, err = tx.Exec(ctx, insertVersion, p.ARN, v.Version, v.Document, v.Created)
		return err
	})
	return &api.CreatePolicyVersionOutput{PolicyVersion: &out}, err
}

func noSuchVersion(arn, id string) error {
	return noSuch("Policy %s version %s does not exist or is not attachable.", arn, id)
}

func (s *Service) getPolicyVersion(ctx context.Context, c *call.Call, in *api.GetPolicyVersionInput) (*api.GetPolicyVersionOutput, error) {
	var out api.PolicyVersion
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findPolicy(ctx, tx, c.Account(), in.PolicyArn)
		if err != nil {
			return err
		}
		v, err := p.version(ctx, tx, versionNumber(in.VersionId))
		if errors.Is(err, state.ErrNotFound) {
			return noSuchVersion(p.ARN, in.VersionId)
		}
		out = v.api(p.DefaultVersion)
		out.Document = encoded(v.Document)
		return err
	})
	return &api.GetPolicyVersionOutput{PolicyVersion: &out}, err
}

func (s *Service) listPolicyVersions(ctx context.Context, c *call.Call, in *api.ListPolicyVersionsInput) (*api.ListPolicyVersionsOutput, error) {
	pg, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListPolicyVersionsOutput{Versions: []api.PolicyVersion{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findPolicy(ctx, tx, c.Account(), in.PolicyArn)
		if err != nil {
			return err
		}
		versions, err := state.List[policyVersion](ctx, tx, listVersions, p.ARN)
		if p.Account == awsOwned {
			v, _ := p.version(ctx, tx, 0)
			versions = []policyVersion{v}
		}
		// Newest first: the key counts down.
		key := func(v policyVersion) string { return fmt.Sprintf("%019d", 1<<62-v.Version) }
		versions, out.IsTruncated, out.Marker = pageThrough(pg, versions, key)
		for _, v := range versions {
			out.Versions = append(out.Versions, v.api(p.DefaultVersion))
		}
		return err
	})
	return out, err
}

func (s *Service) deletePolicyVersion(ctx context.Context, c *call.Call, in *api.DeletePolicyVersionInput) (*api.DeletePolicyVersionOutput, error) {
	return nil, s.changePolicy(ctx, c, in.PolicyArn, func(tx *state.Tx, p *managedPolicy) error {
		number := versionNumber(in.VersionId)
		if number == p.DefaultVersion {
			return conflict("Cannot delete the default version of a policy.")
		}
		n, err := tx.Exec(ctx, deleteVersion, p.ARN, number)
		if err == nil && n == 0 {
			return noSuchVersion(p.ARN, in.VersionId)
		}
		return err
	})
}

func (s *Service) setDefaultPolicyVersion(ctx context.Context, c *call.Call, in *api.SetDefaultPolicyVersionInput) (*api.SetDefaultPolicyVersionOutput, error) {
	return nil, s.changePolicy(ctx, c, in.PolicyArn, func(tx *state.Tx, p *managedPolicy) error {
		v, err := p.version(ctx, tx, versionNumber(in.VersionId))
		if errors.Is(err, state.ErrNotFound) {
			return noSuchVersion(p.ARN, in.VersionId)
		}
		p.DefaultVersion, p.Updated = v.Version, c.Time.Truncate(time.Second)
		return err
	})
}
