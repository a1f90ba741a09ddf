package organizations

import (
	"context"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

// asking is an operation that needs what its caller says.
type asking struct {
	Action, Resource, Owner string
	Policy                  string // of the resource
	Keys                    policy.Keys
	Fixed                   bool
}

// serveAsking puts the operation Ask on the door.
func (w *world) serveAsking() {
	needs := func(_ context.Context, _ *call.Call, in *asking) ([]call.Need, error) {
		n := call.Need{Action: in.Action, Resource: in.Resource, Owner: in.Owner, Keys: in.Keys}
		if in.Policy != "" {
			doc, err := policy.Parse(in.Policy, policy.Resource)
			if err != nil {
				return nil, err
			}
			n.Policy = &policy.Source{Kind: policy.Resource, On: in.Resource, Doc: doc, Fixed: in.Fixed}
		}
		return []call.Need{n}, nil
	}
	w.Door.Serve("test", []call.Operation{call.Op("Ask", needs, func(context.Context, *call.Call, *asking) (*struct{}, error) { return nil, nil })})
}

// ask returns "" for an allowed question, or the reason of the refusal.
func (w *world) ask(who call.Session, q asking) string {
	w.t.Helper()
	_, err := w.Door.As(who).Invoke(w.t.Context(), "test", "Ask", &q)
	if err == nil {
		return ""
	}
	_, reason, ok := strings.Cut(err.Error(), " "+q.Resource+" ")
	if !ok {
		return err.Error()
	}
	return reason
}

func as(p aws.Principal) call.Session { return call.Session{Principal: p, Region: "us-east-1"} }

func session(account, path, name string) aws.Principal {
	return aws.Principal{
		Kind: aws.Session, Account: account, ID: "AROA:" + name,
		ARN: aws.NewARN("sts", "", account, "assumed-role/"+name+"/s"), RoleARN: aws.NewARN("iam", "", account, "role"+path+name),
	}
}

const (
	byDenySCP = "with an explicit deny in a service control policy"
	byDenyRCP = "with an explicit deny in a resource control policy"
	noSCP     = "because no service control policy allows the s3:PutObject action"
)

func TestServiceControlPolicies(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		w.serveAsking()
		put := asking{Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k"}
		member, manager, stranger := as(aws.RootPrincipal("222222222222")), as(aws.RootPrincipal("111111111111")), as(aws.RootPrincipal("444444444444"))
		check := func(when string, who call.Session, want string) {
			t.Helper()
			q := put
			q.Owner = who.Principal.Account
			if got := w.ask(who, q); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		check("in no organization", member, "")
		w.join("222222222222")
		check("a member", member, "")
		deny := w.policy(scp, "no-put", `{"Version":"2012-10-17","Statement":[{"Sid":"NoPut","Effect":"Deny","Action":"s3:PutObject","Resource":"*"}]}`, w.root)
		check("denied at the root", member, byDenySCP)
		check("the management account", manager, "")
		check("another organization's", stranger, "")
		e.Grant("linked/s@222222222222", everything)
		e.Grant("alice@222222222222", everything)
		check("a role", as(session("222222222222", "/", "linked")), byDenySCP)
		linked := session("222222222222", "/aws-service-role/x.amazonaws.com/", "linked")
		if got := w.ask(as(linked), asking{Action: "s3:PutObject", Resource: "*"}); !strings.Contains(got, "identity-based") {
			t.Errorf("a service-linked role is bound by its own policies only: %q", got)
		}
		// A path may hold a colon, and is no way past the organization.
		const sly = "/x:role/aws-service-role/x.amazonaws.com/"
		slyRole := session("222222222222", sly, "sly")
		if got := w.ask(as(slyRole), put); got != byDenySCP {
			t.Errorf("a role below %s: %q", sly, got)
		}
		check("a service", as(aws.ServicePrincipal("events.amazonaws.com")), "because no resource-based policy allows the s3:PutObject action")

		// Somebody of a member account is bound wherever the resource is.
		if got := w.ask(member, asking{Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k", Owner: "444444444444", Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"s3:*","Resource":"*"}]}`}); got != byDenySCP {
			t.Errorf("across accounts: %q", got)
		}

		// Each level has to allow: an allow list on one is enough to keep the rest out.
		w.detach(deny, w.root)
		check("after detaching", member, "")
		ou := w.unit(w.root, "u")
		allow := w.policy(scp, "only-get", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`, ou)
		w.detach("p-FullAWSAccess", ou)
		check("beside the unit", member, "")
		if _, err := w.api.MoveAccount(t.Context(), &api.MoveAccountInput{AccountId: "222222222222", SourceParentId: w.root, DestinationParentId: ou}); err != nil {
			t.Fatal(err)
		}
		check("in the unit", member, noSCP)
		if _, err := w.api.UpdatePolicy(t.Context(), &api.UpdatePolicyInput{PolicyId: allow, Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`}); err != nil {
			t.Fatal(err)
		}
		check("after the update", member, "")
		w.attach(deny, "222222222222")
		check("denied at the account", member, byDenySCP)
		if _, err := w.api.DisablePolicyType(t.Context(), &api.DisablePolicyTypeInput{RootId: w.root, PolicyType: scp}); err != nil {
			t.Fatal(err)
		}
		check("the type disabled", member, "")
		if _, err := w.api.EnablePolicyType(t.Context(), &api.EnablePolicyTypeInput{RootId: w.root, PolicyType: scp}); err != nil {
			t.Fatal(err)
		}
		check("enabled again", member, "")
		w.attach(deny, ou)
		check("denied at the unit", member, byDenySCP)
		if _, err := w.api.RemoveAccountFromOrganization(t.Context(), &api.RemoveAccountFromOrganizationInput{AccountId: "222222222222"}); err != nil {
			t.Fatal(err)
		}
		check("out of the organization", member, "")

		// A closed account may do nothing any more, and nobody anything in it.
		w.join("333333333333")
		if _, err := w.api.CloseAccount(t.Context(), &api.CloseAccountInput{AccountId: "333333333333"}); err != nil {
			t.Fatal(err)
		}
		check("a closed account", as(aws.RootPrincipal("333333333333")), byDenySCP)
		open := asking{Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k", Owner: "333333333333", Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`}
		if got := w.ask(stranger, open); got != byDenyRCP {
			t.Errorf("a closed account's bucket: %q", got)
		}
		for name, call := range map[string]func() error{
			"AccountAlreadyClosedException": func() error {
				_, err := w.api.CloseAccount(t.Context(), &api.CloseAccountInput{AccountId: "333333333333"})
				return err
			},
			"ConstraintViolationException": func() error {
				_, err := w.api.CloseAccount(t.Context(), &api.CloseAccountInput{AccountId: "111111111111"})
				return err
			},
			"OrganizationNotEmptyException": func() error {
				_, err := w.api.DeleteOrganization(t.Context(), &api.DeleteOrganizationInput{})
				return err
			},
		} {
			if err := call(); code(err) != name {
				t.Errorf("%v, want %s", err, name)
			}
		}
	}, Schema(), iam.Schema())
}

func TestResourceControlPolicies(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		w.serveAsking()
		w.join("222222222222")
		w.join("333333333333")
		w.policy(rcp, "ours-only", `{"Version":"2012-10-17","Statement":[{"Sid":"Ours","Effect":"Deny","Principal":"*","Action":["s3:*","kms:*","sts:*"],"Resource":"*",
			"Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"`+w.org+`"},"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}}]}`, w.root)
		allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`
		colleague, stranger := as(aws.RootPrincipal("333333333333")), as(aws.RootPrincipal("444444444444"))
		for _, tt := range []struct {
			name string
			who  call.Session
			q    asking
			want string
		}{
			{"a member's bucket, to a member", colleague, asking{Action: "s3:GetObject", Owner: "222222222222"}, ""},
			{"a member's bucket, to a stranger", stranger, asking{Action: "s3:GetObject", Owner: "222222222222"}, byDenyRCP},
			{"a member's bucket, to anybody", call.Session{}, asking{Action: "s3:GetObject", Owner: "222222222222"}, byDenyRCP},
			{"a member's bucket, to a service", as(aws.ServicePrincipal("x.amazonaws.com")), asking{Action: "s3:GetObject", Owner: "222222222222"}, ""},
			{"the management account's bucket", stranger, asking{Action: "s3:GetObject", Owner: "111111111111"}, ""},
			{"a stranger's bucket, to a member", colleague, asking{Action: "s3:GetObject", Owner: "444444444444"}, ""},
			{"a role of a member", stranger, asking{Action: "sts:AssumeRole", Owner: "222222222222"}, byDenyRCP},
			{"a key", stranger, asking{Action: "kms:Decrypt", Owner: "222222222222"}, byDenyRCP},
			{"a grant is retired", stranger, asking{Action: "kms:RetireGrant", Owner: "222222222222"}, ""},
			{"a key of AWS's", stranger, asking{Action: "kms:Decrypt", Owner: "222222222222", Fixed: true}, ""},
			{"a bus", stranger, asking{Action: "events:PutEvents", Owner: "222222222222"}, ""},
		} {
			tt.q.Resource, tt.q.Policy = "arn:aws:x:::thing", allow
			if got := w.ask(tt.who, tt.q); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}, Schema(), iam.Schema())
}

// TestKeys holds the condition keys that follow from organizations.
func TestKeys(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		w.serveAsking()
		w.join("222222222222")
		ou := w.unit(w.root, "u")
		if _, err := w.api.MoveAccount(t.Context(), &api.MoveAccountInput{AccountId: "222222222222", SourceParentId: w.root, DestinationParentId: ou}); err != nil {
			t.Fatal(err)
		}
		root, unit := w.org+"/"+w.root+"/", w.org+"/"+w.root+"/"+ou+"/"
		service := call.Session{Principal: aws.ServicePrincipal("x.amazonaws.com"), SourceARN: "arn:aws:events:us-east-1:222222222222:rule/r"}
		for _, tt := range []struct {
			key, value string
			who        call.Session
			owner      string
		}{
			{"aws:PrincipalOrgID", w.org, as(aws.RootPrincipal("222222222222")), "444444444444"},
			{"aws:PrincipalOrgID", w.org, as(aws.RootPrincipal("111111111111")), "444444444444"},
			{"aws:PrincipalOrgID", "", as(aws.RootPrincipal("444444444444")), "222222222222"},
			{"aws:PrincipalOrgID", "", service, "222222222222"},
			{"aws:PrincipalOrgPaths", root, as(aws.RootPrincipal("111111111111")), "444444444444"},
			{"aws:PrincipalOrgPaths", unit, as(aws.RootPrincipal("222222222222")), "444444444444"},
			{"aws:ResourceOrgID", w.org, as(aws.RootPrincipal("444444444444")), "222222222222"},
			{"aws:ResourceOrgPaths", unit, as(aws.RootPrincipal("444444444444")), "222222222222"},
			{"aws:ResourceOrgID", "", as(aws.RootPrincipal("222222222222")), "444444444444"},
			{"aws:SourceOrgID", w.org, service, "444444444444"},
			{"aws:SourceOrgPaths", unit, service, "444444444444"},
			{"aws:SourceOrgID", "", as(aws.RootPrincipal("222222222222")), "222222222222"},
		} {
			condition := `"ForAnyValue:StringEquals":{"` + tt.key + `":"` + tt.value + `"}`
			if tt.value == "" {
				condition = `"Null":{"` + tt.key + `":"true"}`
			}
			q := asking{Action: "test:Ask", Resource: "arn:aws:x:::thing", Owner: tt.owner,
				Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{` + condition + `}}]}`}
			if got := w.ask(tt.who, q); got != "" {
				t.Errorf("%s is not %q for %s on %s: %s", tt.key, tt.value, tt.who.Principal.ARN, tt.owner, got)
			}
		}
	}, Schema(), iam.Schema())
}

// TestOtherProcess changes what binds an account through one opening of the
// database, and asks through another.
func TestOtherProcess(t *testing.T) {
	url := statetest.Postgres(t)
	if url == "" {
		t.Skip(statetest.PostgresEnv + " is not set")
	}
	schemas := []state.Schema{Schema(), iam.Schema(), job.Schema()}
	here := servicetest.New(t, statetest.Open(t, url, schemas...))
	there := servicetest.New(t, statetest.Open(t, url, schemas...))
	other := newService(there, newRegistry())
	if all, err := other.Current(t.Context()); all != nil || err != nil {
		t.Fatalf("%v, %v", all, err)
	}
	w := newWorld(here)
	w.join("222222222222")
	levels := func() (n int) {
		t.Helper()
		all, err := other.Current(t.Context())
		if err != nil || all == nil {
			t.Fatalf("%v, %v", all, err)
		}
		m, err := all.Member(t.Context(), "222222222222")
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range m.SCPs {
			n += len(level)
		}
		return n
	}
	if got := levels(); got != 2 {
		t.Errorf("%d policies, want one on each of two levels", got)
	}
	id := w.policy(scp, "p", everything, "222222222222")
	if got := levels(); got != 3 {
		t.Errorf("%d policies after attaching", got)
	}
	w.detach(id, "222222222222")
	if got := levels(); got != 2 {
		t.Errorf("%d policies after detaching", got)
	}
	if _, err := w.api.RemoveAccountFromOrganization(t.Context(), &api.RemoveAccountFromOrganizationInput{AccountId: "222222222222"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.DeleteOrganization(t.Context(), &api.DeleteOrganizationInput{}); err != nil {
		t.Fatal(err)
	}
	if all, err := other.Current(t.Context()); all != nil || err != nil {
		t.Fatalf("%v, %v", all, err)
	}
}

// BenchmarkCurrent is what a call costs that no organization binds, and one
// that is bound.
func BenchmarkCurrent(b *testing.B) {
	db := statetest.Open(b, statetest.SQLite(b), Schema())
	s := &Service{db: db}
	run := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			all, err := s.Current(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if all != nil {
				if _, err := all.Member(b.Context(), "222222222222"); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("none", run)
	err := s.write(b.Context(), func(tx *state.Tx) error {
		o := organization{ID: "o-0123456789", Management: "111111111111", Features: allFeatures, Root: "r-0123"}
		if _, err := tx.Exec(b.Context(), insertOrganization, o.ID, o.Management, o.Features, o.Root, o.Created); err != nil {
			return err
		}
		if err := o.set(b.Context(), tx, scp, true); err != nil {
			return err
		}
		if err := o.insert(b.Context(), tx, node{ID: o.Root, Kind: rootKind}); err != nil {
			return err
		}
		return o.join(b.Context(), tx, "222222222222", "", created, o.Created)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("member", run)
}
