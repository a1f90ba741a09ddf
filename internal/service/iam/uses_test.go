package iam_test

import (
	"context"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/service/iam"
)

// oneUse is a record in which every access key was used once, and in which
// each user and role did something once.
type oneUse struct{}

func (oneUse) KeyUse(context.Context, string) (call.Use, bool, error) {
	return call.Use{Service: "s3", Action: "GetObject", Region: "eu-west-1", Time: used}, true, nil
}

var used = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The first of the principals is the latest.
func (oneUse) UsesOf(_ context.Context, ids []string) ([]call.Use, error) {
	var out []call.Use
	for i, id := range ids {
		if id[:4] != "AIDA" && id[:4] != "AROA" {
			continue
		}
		at := used.Add(-time.Duration(i) * time.Hour)
		out = append(out,
			call.Use{PrincipalID: id, Service: "s3", Action: "GetObject", Region: "eu-west-1", Time: at},
			call.Use{PrincipalID: id, Service: "s3", Action: "PutObject", Region: "us-east-1", Time: at.Add(-time.Minute)},
			call.Use{PrincipalID: id, Service: "sts", Action: "GetCallerIdentity", Region: "us-east-1", Time: at.Add(-time.Minute)})
	}
	return out, nil
}

func TestLastAccessed(t *testing.T) {
	each(t, iam.Options{Uses: oneUse{}}, func(w world) {
		w.user("alice", allowS3)
		must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "bob"}))(w)
		must(w.root.CreateGroup(ctx(), &api.CreateGroupInput{GroupName: "g"}))(w)
		must(w.root.CreateRole(ctx(), &api.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trust}))(w)
		must(w.root.AddUserToGroup(ctx(), &api.AddUserToGroupInput{GroupName: "g", UserName: "alice"}))(w)
		must(w.root.AddUserToGroup(ctx(), &api.AddUserToGroupInput{GroupName: "g", UserName: "bob"}))(w)
		p := must(w.root.CreatePolicy(ctx(), &api.CreatePolicyInput{PolicyName: "P", PolicyDocument: allowAll}))(w).Policy.Arn
		must(w.root.AttachGroupPolicy(ctx(), &api.AttachGroupPolicyInput{GroupName: "g", PolicyArn: p}))(w)
		must(w.root.AttachRolePolicy(ctx(), &api.AttachRolePolicyInput{RoleName: "R", PolicyArn: p}))(w)

		role := must(w.root.GetRole(ctx(), &api.GetRoleInput{RoleName: "R"}))(w).Role
		if l := role.RoleLastUsed; l == nil || l.LastUsedDate == nil || !l.LastUsedDate.Equal(used) || l.Region != "eu-west-1" {
			t.Errorf("RoleLastUsed = %+v", l)
		}

		report := func(arn, granularity string) string {
			w.Helper()
			return must(w.root.GenerateServiceLastAccessedDetails(ctx(), &api.GenerateServiceLastAccessedDetailsInput{Arn: arn, Granularity: granularity}))(w).JobId
		}
		user := "arn:aws:iam::" + one + ":user/alice"
		out := must(w.root.GetServiceLastAccessedDetails(ctx(), &api.GetServiceLastAccessedDetailsInput{JobId: report(user, "ACTION_LEVEL")}))(w)
		if out.JobStatus != "COMPLETED" || out.JobType != "ACTION_LEVEL" {
			t.Errorf("%+v", out)
		}
		names := map[string]api.ServiceLastAccessed{}
		for _, s := range out.ServicesLastAccessed {
			names[s.ServiceNamespace] = s
		}
		s3 := names["s3"]
		if s3.ServiceName != "Amazon S3" || !s3.LastAuthenticated.Equal(used) || s3.LastAuthenticatedEntity != user || s3.LastAuthenticatedRegion != "eu-west-1" || *s3.TotalAuthenticatedEntities != 1 {
			t.Errorf("s3: %+v", s3)
		}
		if a := s3.TrackedActionsLastAccessed; len(a) != 2 || a[0].ActionName != "GetObject" || a[1].ActionName != "PutObject" || a[1].LastAccessedRegion != "us-east-1" {
			t.Errorf("s3's actions: %+v", a)
		}
		if kms := names["kms"]; kms.ServiceNamespace != "kms" || kms.LastAuthenticated != nil || *kms.TotalAuthenticatedEntities != 0 {
			t.Errorf("kms: %+v", kms)
		}

		// A group and a policy: their users and roles.
		group := report("arn:aws:iam::"+one+":group/g", "")
		page := must(w.root.GetServiceLastAccessedDetails(ctx(), &api.GetServiceLastAccessedDetailsInput{JobId: group, MaxItems: new(int64(1))}))(w)
		if len(page.ServicesLastAccessed) != 1 || !*page.IsTruncated || page.ServicesLastAccessed[0].TrackedActionsLastAccessed != nil {
			t.Errorf("one page: %+v", page)
		}
		entities := func(job string) (list []string) {
			w.Helper()
			out := must(w.root.GetServiceLastAccessedDetailsWithEntities(ctx(), &api.GetServiceLastAccessedDetailsWithEntitiesInput{JobId: job, ServiceNamespace: "s3"}))(w)
			for i, e := range out.EntityDetailsList {
				if i > 0 && e.LastAuthenticated.After(*out.EntityDetailsList[i-1].LastAuthenticated) {
					t.Error("not the latest first")
				}
				list = append(list, e.EntityInfo.Type+" "+e.EntityInfo.Name)
			}
			return list
		}
		if got := entities(group); len(got) != 2 || got[0] != "USER alice" || got[1] != "USER bob" {
			t.Errorf("of the group: %v", got)
		}
		if got := entities(report(p, "")); len(got) != 3 {
			t.Errorf("of the policy: %v", got)
		}
		if _, err := w.root.GetServiceLastAccessedDetailsWithEntities(ctx(), &api.GetServiceLastAccessedDetailsWithEntitiesInput{JobId: group, ServiceNamespace: "ec2"}); code(err) != "NoSuchEntity" {
			t.Errorf("a service that is not in the report: %v", err)
		}
		other := api.Client{Invoker: w.env.As("root@" + two)}
		if _, err := other.GetServiceLastAccessedDetails(ctx(), &api.GetServiceLastAccessedDetailsInput{JobId: group}); code(err) != "NoSuchEntity" {
			t.Errorf("another account's report: %v", err)
		}
		w.env.Advance(8 * 24 * time.Hour)
		if _, err := w.root.GetServiceLastAccessedDetails(ctx(), &api.GetServiceLastAccessedDetailsInput{JobId: group}); code(err) != "NoSuchEntity" {
			t.Errorf("an old report: %v", err)
		}
	})
}
