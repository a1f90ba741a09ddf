package policy

import (
	"slices"
	"testing"
)

// TestNarrow shows what becomes of a Deny that has to spare one request.
func TestNarrow(t *testing.T) {
	who := Keys{"aws:principalarn": {roleR}}
	for _, tt := range []struct {
		evaluation
		want   []string
		beyond string
	}{
		{evaluation{name: "its own policy, one action and all of the service", caller: session, identity: allowAll + `,{"Sid":"No","Effect":"Deny","Action":["s3:GetObject","s3:PutObject"],"Resource":"*"}`},
			[]string{
				`{"Sid":"No","Effect":"Deny","Action":"s3:PutObject","Resource":"*"}`,
				`{"Effect":"Deny","Action":"s3:GetObject","NotResource":"arn:aws:s3:::b/k"}`,
			}, ""},
		{evaluation{name: "a bucket's guard", caller: session, ctx: who, identity: allowAll,
			attached: `{"Sid":"No","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{"Null":{"aws:x":"true"}}}`},
			[]string{
				`{"Sid":"No","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{"ArnNotEquals":{"aws:PrincipalArn":"` + roleR + `"},"Null":{"aws:x":"true"}}}`,
				`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/k"],"Condition":{"ArnEquals":{"aws:PrincipalArn":"` + roleR + `"},"Null":{"aws:x":"true"}}}`,
			}, ""},
		{evaluation{name: "a part of a bucket cannot be said", caller: session, identity: allowAll + `,{"Effect":"Deny","Action":"s3:GetObject","Resource":["arn:aws:s3:::b/*","arn:aws:s3:::c/*"]}`},
			[]string{`{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::c/*"}`}, "s3:GetObject on all that arn:aws:s3:::b/* means"},
		{evaluation{name: "nothing tells the caller", caller: alice, identity: allowAll, scps: []string{denyGet + "," + allowAll}}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, r := tt.build(t)
			for i := range set.Identity {
				set.Identity[i].On = roleR
			}
			if r.Policy != nil {
				r.Policy.On = bucketB
			}
			fixes := Fixes(set, r, Evaluate(set, r))
			if len(fixes) != 1 || fixes[0].Remove == nil || fixes[0].Was == nil {
				t.Fatalf("fixes are %+v", fixes)
			}
			var got []string
			for _, text := range fixes[0].Instead {
				got = append(got, string(text))
			}
			if !slices.Equal(got, tt.want) || fixes[0].Beyond != tt.beyond {
				t.Errorf("instead\n%q, sparing %q\nwant\n%q, sparing %q", got, fixes[0].Beyond, tt.want, tt.beyond)
			}
		})
	}
}

func TestExcept(t *testing.T) {
	got, ok := except("codecommit:Git*", "codecommit:GitPull")
	if want := []string{"codecommit:GitPush"}; !ok || !slices.Equal(got, want) {
		t.Errorf("GitPull taken from Git* leaves %q, want %q", got, want)
	}
	list, ok := except("s3:*", "s3:GetObject")
	if !ok || len(list) > 60 {
		t.Fatalf("%d patterns, %v", len(list), ok)
	}
	set := compileAll(list)
	for _, name := range spelledActions()["s3"] {
		if set(lower("s3:"+name)) != (name != "GetObject") {
			t.Errorf("s3:%s", name)
		}
	}
	if _, ok := except("acme:*", "acme:Do"); ok {
		t.Error("the actions of a service that nobody knows are listed")
	}
}

func compileAll(list []string) func(action string) bool {
	return func(action string) bool {
		return slices.ContainsFunc(list, func(text string) bool { p := compileAction(text); return p.matchAction([]byte(action)) })
	}
}

func TestCarry(t *testing.T) {
	const allowed = allowAll + `,{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":`
	for _, tt := range []struct {
		name, identity string
		ctx            Keys
		want           []Carried
	}{
		{"MFA", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`, nil, []Carried{{"aws:MultiFactorAuthPresent", "true"}}},
		{"TLS", allowed + `{"Bool":{"aws:SecureTransport":"false"}}}`, Keys{"aws:securetransport": {"false"}}, []Carried{{"aws:SecureTransport", "true"}}},
		{"an encryption header", allowed + `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}}`, nil, []Carried{{"s3:x-amz-server-side-encryption", "aws:kms"}}},
		{"two headers", allowed + `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"s3:x-amz-acl":"private"}}}`, nil,
			[]Carried{{"s3:x-amz-server-side-encryption", "aws:kms"}, {"s3:x-amz-acl", "private"}}},
		{"not what it asks for", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}`, nil, nil},
		{"nothing helps", denyGet, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := &Set{Identity: sources(t, Identity, tt.identity)}
			r := &Request{Principal: caller(alice), Action: "s3:GetObject", Resource: object, Context: tt.ctx}
			if got := Carry(set, r, Evaluate(set, r)); !slices.Equal(got, tt.want) {
				t.Errorf("carry %v, want %v", got, tt.want)
			}
		})
	}
}

// TestConsult has every policy speak in the order of evaluation.
func TestConsult(t *testing.T) {
	e := evaluation{caller: session, identity: allowGet + "," + denyGet, boundary: allowNone, scps: []string{allowAll, allowAll}, rcps: []string{grant(`"*"`)},
		attached: grant(arnPrincipal(alice)), owner: acctB}
	set, r := e.build(t)
	var got []string
	for _, c := range Consult(set, r) {
		text := c.Kind.String() + " " + c.Effect.String()
		for _, s := range c.Spoke {
			text += " " + s.Effect.String()
			if s.Others {
				text += " of others"
			}
		}
		got = append(got, text)
	}
	want := []string{
		"rcp allowed allowed", "scp allowed allowed", "scp allowed allowed", "resource implicitDeny allowed of others",
		"identity explicitDeny allowed explicitDeny", "boundary implicitDeny",
	}
	if !slices.Equal(got, want) {
		t.Errorf("consulted\n%q\nwant\n%q", got, want)
	}
	alone := Consult(nil, &Request{Principal: caller(alice), Action: "s3:GetObject", Resource: object, Owner: acctB})
	if len(alone) != 2 || !alone[0].Absent || !alone[1].Absent || alone[1].On != bucketB {
		t.Errorf("of nothing there is %+v", alone)
	}
}
