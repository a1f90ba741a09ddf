package iam

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// accessOperations are those about what is allowed and what was used.
func (s *Service) accessOperations() []call.Operation {
	return []call.Operation{
		across("GetAccountAuthorizationDetails", "", none[api.GetAccountAuthorizationDetailsInput], s.getAccountAuthorizationDetails),
		call.Op("ListPoliciesGrantingServiceAccess", func(ctx context.Context, c *call.Call, in *api.ListPoliciesGrantingServiceAccessInput) ([]call.Need, error) {
			return s.arnTarget(ctx, c, in.Arn, "iam:ListPoliciesGrantingServiceAccess")
		}, s.listPoliciesGrantingServiceAccess),
		call.Op("GetAccessKeyLastUsed", s.getAccessKeyLastUsedNeeds, s.getAccessKeyLastUsed),
		call.Op("GenerateServiceLastAccessedDetails", func(ctx context.Context, c *call.Call, in *api.GenerateServiceLastAccessedDetailsInput) ([]call.Need, error) {
			return s.arnTarget(ctx, c, in.Arn, "iam:GenerateServiceLastAccessedDetails")
		}, s.generateServiceLastAccessedDetails),
		across("GetServiceLastAccessedDetails", "", none[api.GetServiceLastAccessedDetailsInput], s.getServiceLastAccessedDetails),
		across("GetServiceLastAccessedDetailsWithEntities", "", none[api.GetServiceLastAccessedDetailsWithEntitiesInput], s.getServiceLastAccessedDetailsWithEntities),
	}
}

// serviceNames are AWS's names of services by their namespaces. Others are
// shown by the namespace.
var serviceNames = map[string]string{
	"cloudformation": "AWS CloudFormation",
	"cloudtrail":     "AWS CloudTrail",
	"codebuild":      "AWS CodeBuild",
	"codecommit":     "AWS CodeCommit",
	"codepipeline":   "AWS CodePipeline",
	"events":         "Amazon EventBridge",
	"iam":            "AWS Identity and Access Management",
	"kms":            "AWS Key Management Service",
	"organizations":  "AWS Organizations",
	"s3":             "Amazon S3",
	"sts":            "AWS Security Token Service",
}

// lastUsed is when a role was last used, and where; empty when never.
func (s *Service) lastUsed(ctx context.Context, roleID string) (*api.RoleLastUsed, error) {
	uses, err := s.uses.UsesOf(ctx, []string{roleID})
	out := &api.RoleLastUsed{}
	for _, u := range uses {
		if out.LastUsedDate == nil || u.Time.After(*out.LastUsedDate) {
			out.LastUsedDate, out.Region = new(u.Time.Truncate(time.Second)), u.Region
		}
	}
	return out, err
}

// keyHolder finds whose an access key is; the name is empty for the root.
func (s *Service) keyHolder(ctx context.Context, keyID string) (k keyRow, name string, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		if k, err = state.Get[keyRow](ctx, tx, findKey, keyID); err != nil || k.UserID == k.Account {
			return err
		}
		e, err := state.Get[entity](ctx, tx, findEntityByID, k.UserID)
		name = e.Name
		return err
	})
	return k, name, err
}

// getAccessKeyLastUsedNeeds asks about the user who has the key; about a key
// that is nobody's in the account, all users.
func (s *Service) getAccessKeyLastUsedNeeds(ctx context.Context, c *call.Call, in *api.GetAccessKeyLastUsedInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	k, name, err := s.keyHolder(ctx, in.AccessKeyId)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return nil, err
	}
	if err != nil || k.Account != c.Account() || name == "" {
		name = "*"
	}
	n, err := s.target(ctx, c, subject{kind: user, name: name})
	n.Action = "iam:GetAccessKeyLastUsed"
	return []call.Need{n}, err
}

func (s *Service) getAccessKeyLastUsed(ctx context.Context, c *call.Call, in *api.GetAccessKeyLastUsedInput) (*api.GetAccessKeyLastUsedOutput, error) {
	k, name, err := s.keyHolder(ctx, in.AccessKeyId)
	if errors.Is(err, state.ErrNotFound) || err == nil && k.Account != c.Account() {
		return nil, noSuch("The Access Key with id %s cannot be found.", in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	used := &api.AccessKeyLastUsed{ServiceName: notApplicable, Region: notApplicable}
	use, ok, err := s.uses.KeyUse(ctx, k.ID)
	if ok {
		*used = api.AccessKeyLastUsed{LastUsedDate: new(use.Time.Truncate(time.Second)), ServiceName: use.Service, Region: use.Region}
	}
	return &api.GetAccessKeyLastUsedOutput{UserName: name, AccessKeyLastUsed: used}, err
}

// accessor is an entity in a report of last accesses, with the services that
// its policies allow.
type accessor struct {
	Type, Name, ID, ARN, Path string
	Services                  []string
}

func (a accessor) info() *api.EntityInfo {
	return &api.EntityInfo{Arn: a.ARN, Name: a.Name, Type: a.Type, Id: a.ID, Path: a.Path}
}

func newAccessor(e entity, services []string) accessor {
	return accessor{strings.ToUpper(e.Kind), e.Name, e.ID, e.arn(), e.Path, services}
}

// accessJob is a report: who could access what, and what they last did.
type accessJob struct {
	ID          string          `db:"id"`
	Account     string          `db:"account"`
	Granularity string          `db:"granularity"`
	Created     time.Time       `db:"created"`
	Entities    json.RawMessage `db:"entities"`
	Uses        json.RawMessage `db:"uses"`
}

// jobLasts is how long a report can be fetched: AWS keeps them for seven days.
const jobLasts = 7 * 24 * time.Hour

// generateServiceLastAccessedDetails makes the report at once. Its entities
// are the one that is named, the users of a group, or those who have a policy;
// its services those that the entity's policies, or the policy, allow.
func (s *Service) generateServiceLastAccessedDetails(ctx context.Context, c *call.Call, in *api.GenerateServiceLastAccessedDetailsInput) (*api.GenerateServiceLastAccessedDetailsOutput, error) {
	var who []accessor
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		who, err = accessors(ctx, tx, c.Account(), in.Arn)
		return err
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(who))
	for i, a := range who {
		ids[i] = a.ID
	}
	uses, err := s.uses.UsesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	job := accessJob{ID: c.NewID(), Account: c.Account(), Granularity: cmp.Or(in.Granularity, "SERVICE_LEVEL"), Created: c.Time}
	if job.Entities, err = json.Marshal(who); err != nil {
		return nil, err
	}
	if job.Uses, err = json.Marshal(uses); err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM iam_access_job WHERE created < $1`, c.Time.Add(-jobLasts)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO iam_access_job (id, account, granularity, created, entities, uses) VALUES ($1, $2, $3, $4, $5, $6)`,
			job.ID, job.Account, job.Granularity, job.Created, job.Entities, job.Uses)
		return err
	})
	return &api.GenerateServiceLastAccessedDetailsOutput{JobId: job.ID}, err
}

// accessors are the entities of a report about an ARN.
func accessors(ctx context.Context, tx *state.Tx, account, arn string) ([]accessor, error) {
	k, _, err := entityOfARN(arn)
	if err != nil {
		return nil, err
	}
	if k == managed {
		return policyAccessors(ctx, tx, account, arn)
	}
	e, err := entityByARN(ctx, tx, account, arn)
	if err != nil {
		return nil, err
	}
	policies, err := heldBy(ctx, tx, e)
	if err != nil {
		return nil, err
	}
	var docs []*policy.Document
	for _, h := range policies {
		docs = append(docs, h.source.Doc)
	}
	services := allowedServices(docs)
	list := []accessor{newAccessor(e, services)}
	if k != group {
		return list, nil
	}
	users, err := state.List[entity](ctx, tx, listMembers, e.ID, "", userQuota.max)
	for _, u := range users {
		list = append(list, newAccessor(u, services))
	}
	return list, err
}

// policyAccessors are the users and roles that have a managed policy, users
// also by their groups.
func policyAccessors(ctx context.Context, tx *state.Tx, account, arn string) ([]accessor, error) {
	p, err := findPolicy(ctx, tx, account, arn)
	if err != nil {
		return nil, err
	}
	source, err := managedSource(ctx, tx, account, p.ARN, policy.Identity, p.ARN)
	if err != nil {
		return nil, err
	}
	services := allowedServices([]*policy.Document{source[0].Doc})
	using, err := state.List[entity](ctx, tx, listUsing, account, arn, "PermissionsPolicy")
	if err != nil {
		return nil, err
	}
	// The policy itself carries the services when nobody has it.
	list := []accessor{{Type: "POLICY", ARN: p.ARN, Name: p.Name, ID: p.ID, Path: p.Path, Services: services}}
	seen := map[string]bool{}
	add := func(e entity) {
		if !seen[e.ID] {
			seen[e.ID] = true
			list = append(list, newAccessor(e, services))
		}
	}
	for _, e := range using {
		add(e)
		if kind(e.Kind) != group {
			continue
		}
		users, err := state.List[entity](ctx, tx, listMembers, e.ID, "", userQuota.max)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			add(u)
		}
	}
	return list, nil
}

// allowedServices are the namespaces in which documents allow something: those
// that they name and, for wildcards, those that sekisho knows.
func allowedServices(docs []*policy.Document) []string {
	candidates := map[string]bool{}
	for name := range serviceNames {
		candidates[name] = true
	}
	for _, d := range docs {
		if d == nil {
			continue
		}
		named, _ := allows(d)
		for _, action := range slices.Concat(named...) {
			if service, _, ok := strings.Cut(action, ":"); ok {
				candidates[strings.ToLower(service)] = true
			}
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(candidates)) {
		if slices.ContainsFunc(docs, func(d *policy.Document) bool { return grants(d, name) }) {
			list = append(list, name)
		}
	}
	return list
}

// accessReport is a job's report, as it is read.
type accessReport struct {
	accessJob
	who  []accessor
	uses []call.Use
}

func (s *Service) accessReport(ctx context.Context, c *call.Call, id string) (accessReport, error) {
	var r accessReport
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		r.accessJob, err = state.Get[accessJob](ctx, tx, `SELECT id, account, granularity, created, entities, uses FROM iam_access_job WHERE id = $1 AND account = $2`, id, c.Account())
		return err
	})
	if errors.Is(err, state.ErrNotFound) || err == nil && c.Time.Sub(r.Created) > jobLasts {
		return r, noSuch("The job with id %s cannot be found.", id)
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(r.Entities, &r.who); err != nil {
		return r, err
	}
	return r, json.Unmarshal(r.accessJob.Uses, &r.uses)
}

// services are all services of the report.
func (r accessReport) services() []string {
	if len(r.who) == 0 {
		return nil
	}
	return r.who[0].Services
}

// arnOf is the ARN of an entity of the report.
func (r accessReport) arnOf(id string) string {
	for _, a := range r.who {
		if a.ID == id {
			return a.ARN
		}
	}
	return ""
}

// service is what the report says of one service.
func (r accessReport) service(namespace string) api.ServiceLastAccessed {
	out := api.ServiceLastAccessed{ServiceName: cmp.Or(serviceNames[namespace], namespace), ServiceNamespace: namespace}
	entities := map[string]bool{}
	actions := map[string]call.Use{}
	for _, u := range r.uses {
		if u.Service != namespace {
			continue
		}
		entities[u.PrincipalID] = true
		if last := actions[u.Action]; u.Time.After(last.Time) {
			actions[u.Action] = u
		}
		if out.LastAuthenticated == nil || u.Time.After(*out.LastAuthenticated) {
			out.LastAuthenticated = new(u.Time)
			out.LastAuthenticatedEntity, out.LastAuthenticatedRegion = r.arnOf(u.PrincipalID), u.Region
		}
	}
	out.TotalAuthenticatedEntities = new(int64(len(entities)))
	if r.Granularity != "ACTION_LEVEL" {
		return out
	}
	out.TrackedActionsLastAccessed = []api.TrackedActionLastAccessed{}
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		u := actions[name]
		out.TrackedActionsLastAccessed = append(out.TrackedActionsLastAccessed, api.TrackedActionLastAccessed{
			ActionName: name, LastAccessedTime: new(u.Time), LastAccessedEntity: r.arnOf(u.PrincipalID), LastAccessedRegion: u.Region,
		})
	}
	return out
}

func (s *Service) getServiceLastAccessedDetails(ctx context.Context, c *call.Call, in *api.GetServiceLastAccessedDetailsInput) (*api.GetServiceLastAccessedDetailsOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	r, err := s.accessReport(ctx, c, in.JobId)
	if err != nil {
		return nil, err
	}
	out := &api.GetServiceLastAccessedDetailsOutput{
		JobStatus: "COMPLETED", JobType: r.Granularity, JobCreationDate: &r.Created, JobCompletionDate: &r.Created,
		ServicesLastAccessed: []api.ServiceLastAccessed{},
	}
	var list []string
	list, out.IsTruncated, out.Marker = pageThrough(p, r.services(), func(name string) string { return name })
	for _, name := range list {
		out.ServicesLastAccessed = append(out.ServicesLastAccessed, r.service(name))
	}
	return out, nil
}

// getServiceLastAccessedDetailsWithEntities shows the users and roles of a
// report by when they last used a service, the latest first.
func (s *Service) getServiceLastAccessedDetailsWithEntities(ctx context.Context, c *call.Call, in *api.GetServiceLastAccessedDetailsWithEntitiesInput) (*api.GetServiceLastAccessedDetailsWithEntitiesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	r, err := s.accessReport(ctx, c, in.JobId)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(r.services(), in.ServiceNamespace) {
		return nil, noSuch("The service namespace %s is not part of the report.", in.ServiceNamespace)
	}
	last := map[string]time.Time{}
	for _, u := range r.uses {
		if u.Service == in.ServiceNamespace && u.Time.After(last[u.PrincipalID]) {
			last[u.PrincipalID] = u.Time
		}
	}
	who := slices.DeleteFunc(r.who, func(a accessor) bool { return a.Type != "USER" && a.Type != "ROLE" })
	slices.SortStableFunc(who, func(a, b accessor) int { return last[b.ID].Compare(last[a.ID]) })
	out := &api.GetServiceLastAccessedDetailsWithEntitiesOutput{
		JobStatus: "COMPLETED", JobCreationDate: &r.Created, JobCompletionDate: &r.Created, EntityDetailsList: []api.EntityDetails{},
	}
	type place struct {
		accessor
		key string
	}
	list := make([]place, len(who))
	for i, a := range who {
		list[i] = place{a, fmt.Sprintf("%06d", i)}
	}
	list, out.IsTruncated, out.Marker = pageThrough(p, list, func(p place) string { return p.key })
	for _, a := range list {
		shown := api.EntityDetails{EntityInfo: a.info()}
		if at, ok := last[a.ID]; ok {
			shown.LastAuthenticated = &at
		}
		out.EntityDetailsList = append(out.EntityDetailsList, shown)
	}
	return out, nil
}
