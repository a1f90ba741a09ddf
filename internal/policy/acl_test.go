package policy

import (
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
)

// TestAccessControlLists has a list be one more Allow of the resource's account,
// which no Deny yields to and the caller's account has still to agree to.
func TestAccessControlLists(t *testing.T) {
	const own, other = "111111111111", "222222222222"
	user := aws.Principal{Kind: aws.User, ARN: "arn:aws:iam::111111111111:user/u", Account: own, ID: "AIDAU"}
	parse := func(kind Kind, statement string) *Document {
		d, err := Parse(`{"Version":"2012-10-17","Statement":[`+statement+`]}`, kind)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	mine := &Set{Identity: []Source{{Kind: Identity, Doc: parse(Identity, `{"Effect":"Allow","Action":"*","Resource":"*"}`)}}}
	deny := &Source{Kind: Resource, Doc: parse(Resource, `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`)}
	allow := Source{Kind: Resource, Doc: parse(Resource, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`)}
	silenced := allow
	silenced.DenyOnly = true
	for _, tt := range []struct {
		name   string
		set    *Set
		who    aws.Principal
		owner  string
		list   Grantee
		policy *Source
		want   Effect
	}{
		{"another account's, listed", mine, user, other, CallersAccount, nil, Allow},
		{"another account's, not listed", mine, user, other, NoGrantee, nil, ImplicitDeny},
		{"another account's, without leave at home", nil, user, other, CallersAccount, nil, ImplicitDeny},
		{"another account's, a group, without leave at home", nil, user, other, CallersGroup, nil, ImplicitDeny},
		{"at home the account's own entry is not enough", nil, user, own, CallersAccount, nil, ImplicitDeny},
		{"at home a group is", nil, user, own, CallersGroup, nil, Allow},
		{"nobody, in a group", nil, aws.Principal{Kind: aws.Anonymous}, other, CallersGroup, nil, Allow},
		{"nobody, in none", nil, aws.Principal{Kind: aws.Anonymous}, other, NoGrantee, nil, ImplicitDeny},
		{"a Deny beats a list", mine, user, other, CallersGroup, deny, ExplicitDeny},
		{"a policy that can only deny", mine, user, other, NoGrantee, &silenced, ImplicitDeny},
		{"the same that can allow", mine, user, other, NoGrantee, &allow, Allow},
	} {
		d := Evaluate(tt.set, &Request{Principal: tt.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Owner: tt.owner, ACL: tt.list, Policy: tt.policy})
		if d.Effect != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, d.Effect, tt.want)
		}
		if acl := len(d.Because) > 0 && d.Because[len(d.Because)-1].ACL; acl != (tt.want == Allow && tt.policy == nil) {
			t.Errorf("%s: the decision names a list: %v", tt.name, acl)
		}
	}
}
