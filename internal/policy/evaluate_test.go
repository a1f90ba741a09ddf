package policy

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
)

const (
	acctA = "111111111111"
	acctB = "222222222222"
)

// caller builds a principal from its ARN, as tests write it.
func caller(arn string) aws.Principal {
	a, ok := aws.ParseARN(arn)
	switch {
	case arn == "":
		return aws.Principal{}
	case !ok:
		return aws.ServicePrincipal(arn)
	case a.Resource == "root":
		return aws.RootPrincipal(a.Account)
	}
	p := aws.Principal{Kind: aws.User, ARN: arn, Account: a.Account, ID: "AIDAEXAMPLE"}
	if role, ok := strings.CutPrefix(a.Resource, "assumed-role/"); ok {
		p.Kind = aws.Session
		p.RoleARN = "arn:aws:iam::" + a.Account + ":role/" + role[:strings.IndexByte(role, '/')]
	}
	if strings.HasPrefix(a.Resource, "federated-user/") {
		p.Kind = aws.Federated
	}
	return p
}

// doc wraps statements into a document.
func doc(t testing.TB, kind Kind, statements string) *Document {
	t.Helper()
	d, err := Parse(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, kind)
	if err != nil {
		t.Fatalf("%s policy %s: %v", kind, statements, err)
	}
	return d
}

func sources(t testing.TB, kind Kind, statements string) []Source {
	if statements == "" {
		return nil
	}
	return []Source{{Kind: kind, Name: kind.String(), Doc: doc(t, kind, statements)}}
}

const (
	alice   = "arn:aws:iam::111111111111:user/alice"
	rootA   = "arn:aws:iam::111111111111:root"
	roleR   = "arn:aws:iam::111111111111:role/R"
	session = "arn:aws:sts::111111111111:assumed-role/R/s1"
	fed     = "arn:aws:sts::111111111111:federated-user/bob"
	object  = "arn:aws:s3:::b/k"
	bucketB = "arn:aws:s3:::b"

	allowAll  = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	allowGet  = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}`
	allowNone = `{"Effect":"Allow","Action":"ec2:Nothing","Resource":"*"}`
	denyGet   = `{"Effect":"Deny","Action":"s3:Get*","Resource":"*"}`
)

// grant is a resource policy's statement that names a principal.
func grant(principal string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":"*","Resource":"*"}`
}

func arnPrincipal(arn string) string { return `{"AWS":"` + arn + `"}` }

type evaluation struct {
	name                                  string
	caller, owner                         string
	action, resource                      string
	identity, attached, boundary, session string
	scps, rcps                            []string
	attachedKind                          Kind
	grant                                 string
	ctx                                   Keys
	want                                  Effect
	reason                                string
}

func (e evaluation) build(t testing.TB) (*Set, *Request) {
	set := &Set{
		Identity: sources(t, Identity, e.identity),
		Boundary: sources(t, Boundary, e.boundary),
		Session:  sources(t, Session, e.session),
	}
	for _, l := range e.scps {
		set.SCPs = append(set.SCPs, sources(t, SCP, l))
	}
	r := &Request{Principal: caller(e.caller), Owner: e.owner, Action: e.action, Resource: e.resource, Grant: e.grant}
	for _, l := range e.rcps {
		r.RCPs = append(r.RCPs, sources(t, RCP, l))
	}
	if r.Action == "" {
		r.Action = "s3:GetObject"
	}
	if r.Resource == "" {
		r.Resource = object
	}
	if r.Owner == "" {
		r.Owner = acctA
	}
	if e.ctx != nil {
		r.Context = e.ctx
	}
	if e.attachedKind != 0 || e.attached != "" {
		if e.attachedKind == 0 {
			e.attachedKind = Resource
		}
		r.Policy = &Source{Kind: e.attachedKind}
		if s := sources(t, e.attachedKind, e.attached); s != nil {
			r.Policy = &s[0]
		}
	}
	return set, r
}

func runEvaluations(t *testing.T, cases []evaluation) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			set, r := tt.build(t)
			d := Evaluate(set, r)
			if d.Effect != tt.want {
				t.Fatalf("effect = %v (because %v, silent %v), want %v", d.Effect, d.Because, d.Silent, tt.want)
			}
			if got := Decide(set, r); got != d.Effect {
				t.Errorf("Decide = %v, Evaluate = %v", got, d.Effect)
			}
			if tt.reason != "" && d.Reason(r.Action) != tt.reason {
				t.Errorf("reason = %q, want %q", d.Reason(r.Action), tt.reason)
			}
			if d.Effect == Allow {
				if len(d.Because) == 0 {
					t.Error("allowed by nothing")
				}
				return
			}
			checkFixes(t, set, r, d)
		})
	}
}

// checkFixes holds every refusal of the tables to the promise of Fixes.
func checkFixes(t *testing.T, set *Set, r *Request, d Decision) {
	t.Helper()
	fixes := Fixes(set, r, d)
	if len(fixes) == 0 {
		t.Fatalf("no fix for %v, silent %v", d.Effect, d.Silent)
	}
	for _, f := range fixes {
		if f.On == "" && f.Remove == nil || f.Kind == 0 || (f.Statement == nil) == (f.Remove == nil) {
			t.Errorf("fix does not say where or what: %+v", f)
		}
	}
}

func TestSingleAccount(t *testing.T) {
	runEvaluations(t, []evaluation{
		{name: "nothing speaks", caller: alice, want: ImplicitDeny, reason: "because no identity-based policy allows the s3:GetObject action"},
		{name: "identity allows", caller: alice, identity: allowGet, want: Allow},
		{name: "action is folded", caller: alice, identity: allowGet, action: "S3:getobject", want: Allow},
		{name: "resource is not folded", caller: alice, identity: allowGet, resource: "arn:aws:s3:::B/k", want: ImplicitDeny},
		{name: "deny wins", caller: alice, identity: allowAll + "," + denyGet, want: ExplicitDeny, reason: "with an explicit deny in an identity-based policy"},
		{name: "root needs nothing", caller: rootA, want: Allow},
		{name: "root is bound by SCPs", caller: rootA, scps: []string{allowNone}, want: ImplicitDeny, reason: "because no service control policy allows the s3:GetObject action"},
		{name: "root is bound by a bucket's deny", caller: rootA, attached: `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`, want: ExplicitDeny, reason: "with an explicit deny in a resource-based policy"},
		{name: "every SCP level allows", caller: alice, identity: allowAll, scps: []string{allowAll, allowGet}, want: Allow},
		{name: "one SCP level is silent", caller: alice, identity: allowAll, scps: []string{allowAll, allowNone}, want: ImplicitDeny},
		{name: "SCP denies", caller: alice, identity: allowAll, scps: []string{allowAll + "," + denyGet}, want: ExplicitDeny, reason: "with an explicit deny in a service control policy"},
		{name: "RCP allows", caller: alice, identity: allowAll, rcps: []string{grant(`"*"`)}, want: Allow},
		{name: "RCP denies", caller: alice, identity: allowAll, rcps: []string{grant(`"*"`) + `,{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`}, want: ExplicitDeny, reason: "with an explicit deny in a resource control policy"},
		{name: "boundary silent", caller: alice, identity: allowAll, boundary: allowNone, want: ImplicitDeny, reason: "because no permissions boundary allows the s3:GetObject action"},
		{name: "boundary allows", caller: alice, identity: allowAll, boundary: allowGet, want: Allow},
		{name: "boundary alone gives nothing", caller: alice, boundary: allowAll, want: ImplicitDeny},
		{name: "boundary denies", caller: alice, identity: allowAll, boundary: allowAll + "," + denyGet, want: ExplicitDeny, reason: "with an explicit deny in a permissions boundary"},
		{name: "session silent", caller: session, identity: allowAll, session: allowNone, want: ImplicitDeny, reason: "because no session policy allows the s3:GetObject action"},
		{name: "session allows", caller: session, identity: allowAll, session: allowGet, want: Allow},
		{name: "session denies", caller: session, identity: allowAll, session: denyGet, want: ExplicitDeny, reason: "with an explicit deny in a session policy"},
		{name: "stranger", caller: "", want: ImplicitDeny, reason: "because no resource-based policy allows the s3:GetObject action"},
		{name: "stranger and everyone", caller: "", attached: grant(`"*"`), want: Allow},
		{name: "stranger and account", caller: "", attached: grant(arnPrincipal(acctA)), want: ImplicitDeny},
		{name: "service named", caller: "events.amazonaws.com", attached: grant(`{"Service":"events.amazonaws.com"}`), want: Allow},
		{name: "other service named", caller: "events.amazonaws.com", attached: grant(`{"Service":["sns.amazonaws.com"]}`), want: ImplicitDeny},
		{name: "services are not bound by SCPs", caller: "events.amazonaws.com", attached: grant(`{"Service":"events.amazonaws.com"}`), scps: []string{allowNone}, want: Allow},
		{name: "bucket and object are apart", caller: alice, identity: allowGet, action: "s3:GetObject", resource: bucketB, want: ImplicitDeny},
		{name: "no resource is only matched by star", caller: alice, identity: `{"Effect":"Allow","Action":"codecommit:ListRepositories","Resource":"arn:aws:codecommit:*:*:*"}`, action: "codecommit:ListRepositories", resource: "*", want: ImplicitDeny},
		{name: "NotAction", caller: alice, identity: `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, want: Allow},
		{name: "NotAction listed", caller: alice, identity: `{"Effect":"Allow","NotAction":["iam:*","s3:Get*"],"Resource":"*"}`, want: ImplicitDeny},
		{name: "NotResource", caller: alice, identity: `{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::c/*"}`, want: Allow},
		{name: "NotResource listed", caller: alice, identity: `{"Effect":"Allow","Action":"*","NotResource":["arn:aws:s3:::b/*"]}`, want: ImplicitDeny},
	})
}

// TestNamedBy is the table of what a resource policy's Allow overcomes.
func TestNamedBy(t *testing.T) {
	principals := map[string]string{
		"user": arnPrincipal(alice), "role": arnPrincipal(roleR), "session": arnPrincipal(session),
		"federated": arnPrincipal(fed), "everyone": `"*"`, "AWS everyone": `{"AWS":"*"}`,
		"account": arnPrincipal(rootA), "account id": arnPrincipal(acctA),
	}
	for _, tt := range []struct {
		named, caller               string
		identity, boundary, session bool // overcomes the silence of
	}{
		{"user", alice, true, true, true},
		{"role", session, true, false, false},
		{"session", session, true, true, true},
		{"federated", fed, true, true, true},
		{"user", fed, false, false, false},
		{"everyone", alice, true, true, true},
		{"AWS everyone", session, true, true, true},
		{"account", alice, false, false, false},
		{"account id", session, false, false, false},
	} {
		check := func(what, boundary, session string, allowed bool) {
			t.Helper()
			e := evaluation{caller: tt.caller, attached: grant(principals[tt.named]), boundary: boundary, session: session}
			set, r := e.build(t)
			if got := Decide(set, r) == Allow; got != allowed {
				t.Errorf("%s named, %s calls: overcomes %s = %v, want %v", tt.named, tt.caller, what, got, allowed)
			}
		}
		check("identity", "", "", tt.identity)
		check("boundary", allowNone, "", tt.boundary)
		check("session policy", "", allowNone, tt.session)
	}
	runEvaluations(t, []evaluation{
		{name: "star with aws:PrincipalArn", caller: session, boundary: allowNone, session: allowNone, ctx: Keys{"aws:principalarn": {roleR}},
			attached: `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + roleR + `"}}}`, want: Allow},
	})
}

func TestNotPrincipal(t *testing.T) {
	deny := func(list string) string {
		return grant(`"*"`) + `,{"Effect":"Deny","NotPrincipal":{"AWS":[` + list + `]},"Action":"*","Resource":"*"}`
	}
	q := func(s ...string) string { return `"` + strings.Join(s, `","`) + `"` }
	runEvaluations(t, []evaluation{
		{name: "role alone", caller: session, identity: allowAll, attached: deny(q(roleR)), want: ExplicitDeny},
		{name: "role and session", caller: session, identity: allowAll, attached: deny(q(roleR, session)), want: ExplicitDeny},
		{name: "role, session, account", caller: session, identity: allowAll, attached: deny(q(roleR, session, rootA)), want: Allow},
		{name: "user and account", caller: alice, identity: allowAll, attached: deny(q(alice, rootA)), want: Allow},
		{name: "user alone", caller: alice, identity: allowAll, attached: deny(q(alice)), want: ExplicitDeny},
		{name: "root", caller: rootA, attached: deny(q(rootA)), want: Allow},
		{name: "boundary is denied all the same", caller: alice, identity: allowAll, boundary: allowAll, attached: deny(q(alice, rootA)), want: ExplicitDeny},
		{name: "allow to all others", caller: alice, attached: `{"Effect":"Allow","NotPrincipal":{"AWS":"` + roleR + `"},"Action":"*","Resource":"*"}`, want: Allow},
		{name: "allow to all others but me", caller: session, attached: `{"Effect":"Allow","NotPrincipal":{"AWS":"` + roleR + `"},"Action":"*","Resource":"*"}`, want: ImplicitDeny},
		{name: "strangers are others", caller: "", attached: `{"Effect":"Allow","NotPrincipal":{"AWS":"` + roleR + `"},"Action":"*","Resource":"*"}`, want: Allow},
	})
}

func TestCrossAccount(t *testing.T) {
	runEvaluations(t, []evaluation{
		{name: "both", caller: session, owner: acctB, identity: allowGet, attached: grant(arnPrincipal(rootA)), want: Allow},
		{name: "both, user named", caller: alice, owner: acctB, identity: allowGet, attached: grant(arnPrincipal(alice)), want: Allow},
		{name: "identity silent, user named", caller: alice, owner: acctB, attached: grant(arnPrincipal(alice)), want: ImplicitDeny},
		{name: "identity silent, session named", caller: session, owner: acctB, attached: grant(arnPrincipal(session)), want: ImplicitDeny},
		{name: "identity silent, everyone", caller: session, owner: acctB, attached: grant(`"*"`), want: ImplicitDeny},
		{name: "resource silent", caller: alice, owner: acctB, identity: allowAll, attached: grant(arnPrincipal(acctB)), want: ImplicitDeny, reason: "because no resource-based policy allows the s3:GetObject action"},
		{name: "resource has no policy", caller: alice, owner: acctB, identity: allowAll, want: ImplicitDeny},
		{name: "root of another account", caller: rootA, owner: acctB, attached: grant(arnPrincipal(rootA)), want: Allow},
		{name: "root of another account unnamed", caller: rootA, owner: acctB, want: ImplicitDeny},
		{name: "boundary counts", caller: alice, owner: acctB, identity: allowAll, boundary: allowNone, attached: grant(arnPrincipal(alice)), want: ImplicitDeny},
		{name: "session counts", caller: session, owner: acctB, identity: allowAll, session: allowNone, attached: grant(arnPrincipal(session)), want: ImplicitDeny},
		{name: "SCP of the caller counts", caller: alice, owner: acctB, identity: allowAll, scps: []string{denyGet}, attached: grant(arnPrincipal(alice)), want: ExplicitDeny},
		{name: "RCP of the owner counts", caller: alice, owner: acctB, identity: allowAll, rcps: []string{`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`}, attached: grant(arnPrincipal(alice)), want: ExplicitDeny},
		{name: "deny of the resource", caller: alice, owner: acctB, identity: allowAll, attached: grant(`"*"`) + `,{"Effect":"Deny","Principal":{"AWS":"` + acctA + `"},"Action":"s3:*","Resource":"*"}`, want: ExplicitDeny},
	})
}

func TestTrust(t *testing.T) {
	trust := func(principal string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}`
	}
	const target = "arn:aws:iam::111111111111:role/T"
	const assume = `{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"` + target + `"}`
	e := func(e evaluation) evaluation {
		e.action, e.resource, e.attachedKind = "sts:AssumeRole", target, Trust
		return e
	}
	runEvaluations(t, []evaluation{
		e(evaluation{name: "user named is enough", caller: alice, attached: trust(arnPrincipal(alice)), want: Allow}),
		e(evaluation{name: "role named is enough", caller: session, attached: trust(arnPrincipal(roleR)), want: Allow}),
		e(evaluation{name: "account needs identity", caller: alice, attached: trust(arnPrincipal(rootA)), want: ImplicitDeny}),
		e(evaluation{name: "account and identity", caller: alice, identity: assume, attached: trust(arnPrincipal(rootA)), want: Allow}),
		e(evaluation{name: "identity alone", caller: alice, identity: assume, attached: trust(arnPrincipal(acctB)), want: ImplicitDeny, reason: "because no role trust policy allows the sts:AssumeRole action"}),
		e(evaluation{name: "no such role", caller: alice, identity: assume, want: ImplicitDeny}),
		e(evaluation{name: "identity denies", caller: alice, identity: `{"Effect":"Deny","Action":"sts:*","Resource":"*"}`, attached: trust(arnPrincipal(alice)), want: ExplicitDeny}),
		e(evaluation{name: "trust denies", caller: alice, identity: assume, attached: trust(arnPrincipal(rootA)) + `,{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}`, want: ExplicitDeny, reason: "with an explicit deny in the role trust policy"}),
		e(evaluation{name: "service", caller: "codepipeline.amazonaws.com", attached: trust(`{"Service":"codepipeline.amazonaws.com"}`), want: Allow}),
		e(evaluation{name: "other service", caller: "events.amazonaws.com", attached: trust(`{"Service":"codepipeline.amazonaws.com"}`), want: ImplicitDeny}),
		e(evaluation{name: "cross-account needs both", caller: "arn:aws:sts::222222222222:assumed-role/S/s", attached: trust(arnPrincipal("arn:aws:iam::222222222222:role/S")), want: ImplicitDeny}),
		e(evaluation{name: "cross-account has both", caller: "arn:aws:sts::222222222222:assumed-role/S/s", identity: assume, attached: trust(arnPrincipal(acctB)), want: Allow}),
		e(evaluation{name: "external id", caller: alice, identity: assume, ctx: Keys{"sts:externalid": {"x1"}},
			attached: `{"Effect":"Allow","Principal":{"AWS":"` + rootA + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}`, want: Allow}),
		e(evaluation{name: "external id absent", caller: alice, identity: assume,
			attached: `{"Effect":"Allow","Principal":{"AWS":"` + rootA + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}`, want: ImplicitDeny}),
	})
}

func TestKeyPolicy(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:111111111111:key/k"
	const use = `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	e := func(e evaluation) evaluation {
		e.action, e.resource, e.attachedKind = "kms:Decrypt", key, Key
		return e
	}
	runEvaluations(t, []evaluation{
		e(evaluation{name: "administrator without delegation", caller: alice, identity: allowAll, attached: grant(arnPrincipal(roleR)), want: ImplicitDeny, reason: "because no resource-based policy allows the kms:Decrypt action"}),
		e(evaluation{name: "root without delegation", caller: rootA, attached: grant(arnPrincipal(roleR)), want: ImplicitDeny}),
		e(evaluation{name: "root with delegation", caller: rootA, attached: grant(arnPrincipal(rootA)), want: Allow}),
		e(evaluation{name: "delegation and identity", caller: alice, identity: use, attached: grant(arnPrincipal(rootA)), want: Allow}),
		e(evaluation{name: "delegation alone", caller: alice, attached: grant(arnPrincipal(rootA)), want: ImplicitDeny, reason: "because no identity-based policy allows the kms:Decrypt action"}),
		e(evaluation{name: "named directly", caller: session, attached: grant(arnPrincipal(roleR)), want: Allow}),
		e(evaluation{name: "grant", caller: session, attached: grant(arnPrincipal(rootA)), grant: "g1", want: Allow}),
		e(evaluation{name: "grant and deny", caller: session, identity: `{"Effect":"Deny","Action":"kms:*","Resource":"*"}`, grant: "g1", want: ExplicitDeny}),
		e(evaluation{name: "grant within boundary", caller: session, boundary: allowNone, grant: "g1", want: ImplicitDeny}),
		e(evaluation{name: "cross-account", caller: session, owner: acctB, identity: use, attached: grant(arnPrincipal(rootA)), want: Allow}),
		e(evaluation{name: "cross-account without identity", caller: session, owner: acctB, attached: grant(arnPrincipal(roleR)), want: ImplicitDeny}),
		e(evaluation{name: "cross-account without key policy", caller: session, owner: acctB, identity: use, attached: grant(arnPrincipal(acctB)), want: ImplicitDeny}),
	})
}

func TestNoAllocations(t *testing.T) {
	set, r := benchmarkSet(t, 5)
	if Decide(set, r) != Allow {
		t.Fatal("the benchmark's request is refused")
	}
	if n := testing.AllocsPerRun(100, func() { Decide(set, r) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}
