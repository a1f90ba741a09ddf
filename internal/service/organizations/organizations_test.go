package organizations

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/apitest"
	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
)

// registry are the accounts that there are, in memory: those of the scripts,
// and those that were made.
type registry struct {
	mu    sync.Mutex
	names map[string]string
	iam   *iam.Service // where accounts are made; nil for nowhere
}

func newRegistry() *registry {
	return &registry{names: map[string]string{
		"111111111111": "management", "222222222222": "workload", "333333333333": "other", "444444444444": "outsider",
	}}
}

func (r *registry) AccountName(_ context.Context, id string) (string, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, ok := r.names[id]
	return name, ok, nil
}

func (r *registry) MakeAccount(ctx context.Context, name, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[id] = name
	_, err := r.iam.CreateAccount(ctx, id, id)
	return err
}

func newService(e *servicetest.Env, accounts *registry) *Service {
	s := New(e.DB, e.Door, e.Jobs, accounts, Options{Now: e.Now})
	e.Door.Serve("organizations", s.Operations())
	e.Door.Bind(s)
	return s
}

// withIAM is a registry whose accounts IAM has.
func withIAM(e *servicetest.Env) *registry {
	r := newRegistry()
	r.iam = iam.New(e.DB, e.Master, iam.Options{Now: e.Now})
	e.Door.Serve("iam", r.iam.Operations())
	for id, name := range r.names {
		if _, err := r.iam.CreateAccount(e.T.Context(), name, id); err != nil {
			e.T.Fatal(err)
		}
	}
	return r
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) { newService(e, withIAM(e)) }, Schema(), iam.Schema())
}

const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// world is a service with IAM beside it, whose jobs run, and an organization
// of account 111111111111 with both policy types enabled.
type world struct {
	*servicetest.Env
	t    *testing.T
	api  api.Client
	org  string
	root string
}

func newWorld(e *servicetest.Env) *world {
	t := e.T
	newService(e, withIAM(e))
	w := &world{Env: e, t: t, api: api.Client{Invoker: e.As("root@111111111111")}}
	e.Start()
	made, err := w.api.CreateOrganization(t.Context(), &api.CreateOrganizationInput{})
	if err != nil {
		t.Fatal(err)
	}
	w.org = made.Organization.Id
	roots, err := w.api.ListRoots(t.Context(), &api.ListRootsInput{})
	if err != nil {
		t.Fatal(err)
	}
	w.root = roots.Roots[0].Id
	for _, kind := range policyTypes {
		if _, err := w.api.EnablePolicyType(t.Context(), &api.EnablePolicyTypeInput{RootId: w.root, PolicyType: kind}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// join brings an account into the organization.
func (w *world) join(account string) {
	w.t.Helper()
	out, err := w.api.InviteAccountToOrganization(w.t.Context(), &api.InviteAccountToOrganizationInput{Target: &api.HandshakeParty{Type: "ACCOUNT", Id: account}})
	if err != nil {
		w.t.Fatal(err)
	}
	guest := api.Client{Invoker: w.As("root@" + account)}
	if _, err := guest.AcceptHandshake(w.t.Context(), &api.AcceptHandshakeInput{HandshakeId: out.Handshake.Id}); err != nil {
		w.t.Fatal(err)
	}
}

// unit makes a unit.
func (w *world) unit(parent, name string) string {
	w.t.Helper()
	out, err := w.api.CreateOrganizationalUnit(w.t.Context(), &api.CreateOrganizationalUnitInput{ParentId: parent, Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.OrganizationalUnit.Id
}

// policy makes a policy and attaches it to targets.
func (w *world) policy(kind, name, content string, targets ...string) string {
	w.t.Helper()
	out, err := w.api.CreatePolicy(w.t.Context(), &api.CreatePolicyInput{Type: kind, Name: name, Content: content})
	if err != nil {
		w.t.Fatal(err)
	}
	id := out.Policy.PolicySummary.Id
	for _, target := range targets {
		w.attach(id, target)
	}
	return id
}

func (w *world) attach(id, target string) {
	w.t.Helper()
	if _, err := w.api.AttachPolicy(w.t.Context(), &api.AttachPolicyInput{PolicyId: id, TargetId: target}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) detach(id, target string) {
	w.t.Helper()
	if _, err := w.api.DetachPolicy(w.t.Context(), &api.DetachPolicyInput{PolicyId: id, TargetId: target}); err != nil {
		w.t.Fatal(err)
	}
}

// create creates an account and waits for the request to end.
func (w *world) create(in *api.CreateAccountInput) *api.CreateAccountStatus {
	w.t.Helper()
	out, err := w.api.CreateAccount(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	if out.CreateAccountStatus.State != inProgress || out.CreateAccountStatus.AccountId != "" {
		w.t.Errorf("the answer is %+v", out.CreateAccountStatus)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now, err := w.api.DescribeCreateAccountStatus(w.t.Context(), &api.DescribeCreateAccountStatusInput{CreateAccountRequestId: out.CreateAccountStatus.Id})
		if err != nil {
			w.t.Fatal(err)
		}
		if now.CreateAccountStatus.State != inProgress {
			return now.CreateAccountStatus
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the account is not made")
		}
	}
}

func code(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return ""
}

func TestCreateAccount(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		// No policy of the organization keeps the role from being made.
		noIAM := w.policy(scp, "no-iam", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:*","Resource":"*"}]}`, w.root)
		made := w.create(&api.CreateAccountInput{AccountName: "Production Account", Email: "Prod@example.com", Tags: []api.Tag{{Key: "a", Value: "b"}}})
		if made.State != succeeded || made.AccountId == "" || made.CompletedTimestamp == nil {
			t.Fatalf("%+v", made)
		}
		got, err := w.api.DescribeAccount(t.Context(), &api.DescribeAccountInput{AccountId: made.AccountId})
		if err != nil {
			t.Fatal(err)
		}
		if a := got.Account; a.Name != "Production Account" || a.Email != "Prod@example.com" || a.JoinedMethod != created || a.Status != "ACTIVE" {
			t.Errorf("%+v", a)
		}
		tags, err := w.api.ListTagsForResource(t.Context(), &api.ListTagsForResourceInput{ResourceId: made.AccountId})
		if err != nil || len(tags.Tags) != 1 {
			t.Errorf("tags %+v, %v", tags, err)
		}
		w.detach(noIAM, w.root)
		w.holdsRole(made.AccountId, defaultRole)
		policies, err := w.api.ListPoliciesForTarget(t.Context(), &api.ListPoliciesForTargetInput{TargetId: made.AccountId, Filter: scp})
		if err != nil || len(policies.Policies) != 1 || policies.Policies[0].Name != "FullAWSAccess" {
			t.Errorf("policies %+v, %v", policies, err)
		}

		if second := w.create(&api.CreateAccountInput{AccountName: "Production Account", Email: "other@example.com", RoleName: "Door"}); second.State != succeeded {
			t.Errorf("a name may be used twice: %+v", second)
		} else {
			w.holdsRole(second.AccountId, "Door")
		}
		for email, want := range map[string]string{
			"prod@EXAMPLE.com": "EMAIL_ALREADY_EXISTS", "222222222222@accounts.invalid": "EMAIL_ALREADY_EXISTS", "a,b@example.com": "INVALID_EMAIL",
		} {
			if r := w.create(&api.CreateAccountInput{AccountName: "x", Email: email}); r.State != failed || r.FailureReason != want {
				t.Errorf("%s: %+v, want %s", email, r, want)
			}
		}
		list, err := w.api.ListCreateAccountStatus(t.Context(), &api.ListCreateAccountStatusInput{States: []string{succeeded}})
		if err != nil || len(list.CreateAccountStatuses) != 2 {
			t.Errorf("%+v, %v", list, err)
		}
		_, err = w.api.DescribeCreateAccountStatus(t.Context(), &api.DescribeCreateAccountStatusInput{CreateAccountRequestId: "car-12345678"})
		if code(err) != "CreateAccountStatusNotFoundException" {
			t.Error(err)
		}
		_, err = w.api.CreateAccount(t.Context(), &api.CreateAccountInput{AccountName: "x", Email: "x@example.com", RoleName: "AWSServiceRoleForX"})
		if code(err) != "InvalidInputException" {
			t.Error(err)
		}

		// The address goes with the account, also out of the organization.
		if _, err := w.api.RemoveAccountFromOrganization(t.Context(), &api.RemoveAccountFromOrganizationInput{AccountId: made.AccountId}); err != nil {
			t.Fatal(err)
		}
		_, err = w.api.InviteAccountToOrganization(t.Context(), &api.InviteAccountToOrganizationInput{Target: &api.HandshakeParty{Type: "EMAIL", Id: "prod@example.com"}})
		if err != nil {
			t.Error(err)
		}
	}, Schema(), iam.Schema())
}

// holdsRole looks for the role that the management account may assume.
func (w *world) holdsRole(account, name string) {
	w.t.Helper()
	client := iamapi.Client{Invoker: w.As("root@" + account)}
	role, err := client.GetRole(w.t.Context(), &iamapi.GetRoleInput{RoleName: name})
	if err != nil {
		w.t.Fatalf("role %s of %s: %v", name, account, err)
	}
	if _, err := client.GetRole(w.t.Context(), &iamapi.GetRoleInput{RoleName: "AWSServiceRoleForOrganizations"}); err != nil {
		w.t.Error(err)
	}
	trust, err := url.PathUnescape(role.Role.AssumeRolePolicyDocument)
	if err != nil || !strings.Contains(trust, `"arn:aws:iam::111111111111:root"`) {
		w.t.Errorf("trust %s (%v)", trust, err)
	}
	attached, err := client.ListAttachedRolePolicies(w.t.Context(), &iamapi.ListAttachedRolePoliciesInput{RoleName: name})
	if err != nil || len(attached.AttachedPolicies) != 1 || attached.AttachedPolicies[0].PolicyName != "AdministratorAccess" {
		w.t.Errorf("policies of %s: %+v, %v", name, attached, err)
	}
}

// TestEveryOperationAsks calls every operation as somebody without any policy.
func TestEveryOperationAsks(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		s := newService(e, newRegistry())
		model := api.Model()
		wanted := map[string]bool{}
		for _, op := range model.Operations {
			wanted[op.Name] = true
		}
		for _, op := range s.Operations() {
			if !wanted[op.Name] {
				t.Errorf("AWS has no %s", op.Name)
			}
			in := op.Input()
			(&apitest.Sampler{Model: model}).Fill(in)
			_, err := e.As("nobody@111111111111").Invoke(t.Context(), "organizations", op.Name, in)
			if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "organizations:"+op.Name) {
				t.Errorf("%s: %v", op.Name, err)
			}
		}
	}, Schema())
}

func TestValidEmail(t *testing.T) {
	for email, want := range map[string]bool{
		"a@b.cd": true, "First.Last+tag@sub.example.com": true,
		"": false, "a@b.c": false, ".a@example.com": false, "a@example": false, "a@-example.com": false, "a@example.com.": false,
		"a b@example.com": false, "a@b@example.com": false, "ä@example.com": false, "a@exämple.com": false, "@example.com": false,
		"a(b)@example.com": false, strings.Repeat("a", 60) + "@b.cd": false,
	} {
		if got := validEmail(email); got != want {
			t.Errorf("validEmail(%q) = %v", email, got)
		}
	}
}

func TestQuotas(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		deny := func(kind string, size int) string {
			principal := ""
			if kind == rcp {
				principal = `"Principal":"*",`
			}
			text := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny",` + principal + `"Action":"s3:*","Resource":"*"}]}`
			return text + strings.Repeat(" ", size-len(text))
		}
		reason := func(err error) string {
			e, _ := errors.AsType[*aws.Error](err)
			if e == nil {
				return ""
			}
			return e.Code + " " + e.Fields["Reason"]
		}
		for _, kind := range policyTypes {
			_, err := w.api.CreatePolicy(t.Context(), &api.CreatePolicyInput{Type: kind, Name: "long", Content: deny(kind, quotas[kind].size+1)})
			if got := reason(err); got != "ConstraintViolationException POLICY_CONTENT_LIMIT_EXCEEDED" {
				t.Errorf("%s: %v", kind, err)
			}
			for i := range quotas[kind].attached - 1 { // beside the one that allows everything
				w.policy(kind, "p"+strconv.Itoa(i), deny(kind, quotas[kind].size), w.root)
			}
			id := w.policy(kind, "one more", deny(kind, 200))
			_, err = w.api.AttachPolicy(t.Context(), &api.AttachPolicyInput{PolicyId: id, TargetId: w.root})
			if got := reason(err); got != "ConstraintViolationException MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED" {
				t.Errorf("%s: %v", kind, err)
			}
		}
		var tags []api.Tag
		for i := range maxTags {
			tags = append(tags, api.Tag{Key: strconv.Itoa(i)})
		}
		if _, err := w.api.TagResource(t.Context(), &api.TagResourceInput{ResourceId: w.root, Tags: tags}); err != nil {
			t.Error(err)
		}
		list, err := w.api.ListTagsForResource(t.Context(), &api.ListTagsForResourceInput{ResourceId: w.root})
		if err != nil || len(list.Tags) != maxTags || list.NextToken != "" {
			t.Errorf("%d tags, %v", len(list.Tags), err)
		}
		_, err = w.api.TagResource(t.Context(), &api.TagResourceInput{ResourceId: w.root, Tags: []api.Tag{{Key: "more"}}})
		if got := reason(err); got != "ConstraintViolationException MAX_TAG_LIMIT_EXCEEDED" {
			t.Error(err)
		}
	}, Schema(), iam.Schema())
}
