package iam

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// quota is how many things of a kind an account may have: the most that AWS
// raises its quotas to.
type quota struct {
	summary string // in GetAccountSummary, with "Quota" behind it for the quota
	name    string // in LimitExceeded
	max     int64
	count   string // the query that counts them; $1 is the account
}

var (
	userQuota     = quota{"Users", "UsersPerAccount", 5000, `SELECT COUNT(*) FROM iam_entity WHERE account = $1 AND kind = 'user'`}
	groupQuota    = quota{"Groups", "GroupsPerAccount", 500, `SELECT COUNT(*) FROM iam_entity WHERE account = $1 AND kind = 'group'`}
	roleQuota     = quota{"Roles", "RolesPerAccount", 5000, `SELECT COUNT(*) FROM iam_entity WHERE account = $1 AND kind = 'role'`}
	policyQuota   = quota{"Policies", "PoliciesPerAccount", 10000, `SELECT COUNT(*) FROM iam_policy WHERE account = $1`}
	profileQuota  = quota{"InstanceProfiles", "InstanceProfilesPerAccount", 5000, `SELECT COUNT(*) FROM iam_profile WHERE account = $1`}
	serverQuota   = quota{"ServerCertificates", "ServerCertificatesPerAccount", 1000, `SELECT COUNT(*) FROM iam_server_certificate WHERE account = $1`}
	samlQuota     = quota{"", "SAMLProvidersPerAccount", 100, `SELECT COUNT(*) FROM iam_saml_provider WHERE account = $1`}
	oidcQuota     = quota{"", "OpenIdConnectProvidersPerAccount", 700, `SELECT COUNT(*) FROM iam_oidc_provider WHERE account = $1`}
	entityQuotas  = map[kind]quota{user: userQuota, group: groupQuota, role: roleQuota}
	summaryQuotas = []quota{userQuota, groupQuota, roleQuota, policyQuota, profileQuota, serverQuota}
)

// check refuses what has just been added beyond the quota.
func (q quota) check(ctx context.Context, tx *state.Tx, account string) error {
	n, err := state.Get[int64](ctx, tx, q.count, account)
	if err == nil && n > q.max {
		return limit("Cannot exceed quota for %s: %d", q.name, q.max)
	}
	return err
}

// summaryCounts are the other figures of GetAccountSummary.
var summaryCounts = map[string]string{
	"Providers":                         `SELECT (SELECT COUNT(*) FROM iam_saml_provider WHERE account = $1) + (SELECT COUNT(*) FROM iam_oidc_provider WHERE account = $1)`,
	"PolicyVersionsInUse":               `SELECT COUNT(*) FROM iam_policy_version WHERE arn IN (SELECT arn FROM iam_policy WHERE account = $1)`,
	"MFADevices":                        `SELECT COUNT(*) FROM iam_mfa WHERE account = $1`,
	"MFADevicesInUse":                   `SELECT COUNT(*) FROM iam_mfa WHERE account = $1 AND user_id <> ''`,
	"AccountMFAEnabled":                 `SELECT COUNT(*) FROM (SELECT 1 AS one FROM iam_mfa WHERE account = $1 AND user_id = $1 LIMIT 1) AS x`,
	"AccountAccessKeysPresent":          `SELECT COUNT(*) FROM (SELECT 1 AS one FROM iam_access_key WHERE user_id = $1 LIMIT 1) AS x`,
	"AccountSigningCertificatesPresent": `SELECT COUNT(*) FROM (SELECT 1 AS one FROM iam_signing_certificate WHERE user_id = $1 LIMIT 1) AS x`,
}

// getAccountSummary counts what there is, and names the quotas that hold.
func (s *Service) getAccountSummary(ctx context.Context, c *call.Call, _ *api.GetAccountSummaryInput) (*api.GetAccountSummaryOutput, error) {
	sum := map[string]int64{
		"AccessKeysPerUserQuota": maxKeys, "GroupsPerUserQuota": maxGroups, "PolicySizeQuota": maxManagedPolicy,
		"SigningCertificatesPerUserQuota": maxCertificates,
		"VersionsPerPolicyQuota":          maxVersions, "AttachedPoliciesPerUserQuota": maxAttached,
		"AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"AssumeRolePolicySizeQuota": maxTrustPolicy, "UserPolicySizeQuota": int64(inlineQuota(user)),
		"GroupPolicySizeQuota": int64(inlineQuota(group)), "RolePolicySizeQuota": int64(inlineQuota(role)),
		"AccountPasswordPresent": 0, // roots have no password here
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		count := func(name, query string) (err error) {
			sum[name], err = state.Get[int64](ctx, tx, query, c.Account())
			return err
		}
		for _, q := range summaryQuotas {
			sum[q.summary+"Quota"] = q.max
			if err := count(q.summary, q.count); err != nil {
				return err
			}
		}
		for name, query := range summaryCounts {
			if err := count(name, query); err != nil {
				return err
			}
		}
		return nil
	})
	return &api.GetAccountSummaryOutput{SummaryMap: sum}, err
}
