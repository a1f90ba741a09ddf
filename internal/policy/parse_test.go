package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	st := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	for _, tt := range []struct {
		name string
		kind Kind
		text string
		want string
	}{
		{"empty", Identity, ``, syntaxErrors},
		{"not JSON", Identity, `{"Version":`, syntaxErrors},
		{"trailing text", Identity, `{} x`, syntaxErrors},
		{"not JSON, attached", Trust, `hello`, invalidJSON},
		{"array", Identity, `[]`, syntaxErrors},
		{"duplicate key", Identity, `{"Version":"2012-10-17","Version":"2012-10-17","Statement":` + allowAll + `}`, syntaxErrors},
		{"duplicate key inside", Identity, st(`{"Effect":"Allow","Effect":"Allow","Action":"*","Resource":"*"}`), syntaxErrors},
		{"bad version", Identity, `{"Version":"2012-10-18","Statement":` + allowAll + `}`, syntaxErrors},
		{"version of no text", Identity, `{"Version":1,"Statement":` + allowAll + `}`, syntaxErrors},
		{"unknown element", Identity, `{"Foo":1,"Statement":` + allowAll + `}`, syntaxErrors},
		{"unknown element, attached", Resource, `{"Foo":1,"Statement":` + grant(`"*"`) + `}`, "Unknown field Foo"},
		{"no statement", Identity, `{"Version":"2012-10-17"}`, syntaxErrors},
		{"no statement, attached", Resource, `{"Version":"2012-10-17"}`, "Missing required field Statement"},
		{"empty statement list", Identity, st(``), syntaxErrors},
		{"statement of no object", Identity, st(`"x"`), syntaxErrors},
		{"unknown in statement", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Foo":1}`), syntaxErrors},
		{"no effect", Identity, st(`{"Action":"*","Resource":"*"}`), syntaxErrors},
		{"bad effect", Identity, st(`{"Effect":"Perhaps","Action":"*","Resource":"*"}`), syntaxErrors},
		{"effect in another case", Identity, st(`{"Effect":"allow","Action":"*","Resource":"*"}`), legacyParsing},
		{"bad effect, attached", Resource, st(`{"Effect":"allow","Principal":"*","Action":"*","Resource":"*"}`), "Invalid effect: allow"},
		{"no action", Identity, st(`{"Effect":"Allow","Resource":"*"}`), "Policy statement must contain actions."},
		{"empty action", Identity, st(`{"Effect":"Allow","Action":[],"Resource":"*"}`), "Policy statement must contain actions."},
		{"action of no text", Identity, st(`{"Effect":"Allow","Action":5,"Resource":"*"}`), syntaxErrors},
		{"both actions", Identity, st(`{"Effect":"Allow","Action":"*","NotAction":"s3:*","Resource":"*"}`), syntaxErrors},
		{"no resource", Identity, st(`{"Effect":"Allow","Action":"*"}`), "Policy statement must contain resources."},
		{"no resource, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"*"}`), "Missing required field Resource"},
		{"action without vendor", Identity, st(`{"Effect":"Allow","Action":"GetObject","Resource":"*"}`), noVendor},
		{"action of two colons", Identity, st(`{"Effect":"Allow","Action":"s3:Get:Object","Resource":"*"}`), colons},
		{"vendor with wildcard", Identity, st(`{"Effect":"Allow","Action":"s*:Get","Resource":"*"}`), "Vendor s* is not valid"},
		{"action, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"GetObject","Resource":"*"}`), "Policy has invalid action"},
		{"resource without arn", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"bucket"}`), `Resource bucket must be in ARN format or "*".`},
		{"resource of no partition", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:s3:::b"}`), `Partition "s3" is not valid for resource "arn:s3:::b:*".`},
		{"resource vendor", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s*:::b"}`), "Resource vendor must be fully qualified and cannot contain regexes."},
		{"iam with region", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:iam:us-east-1:111111111111:role/x"}`), "IAM resource arn:aws:iam:us-east-1:111111111111:role/x cannot contain region information."},
		{"resource, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"b"}`), "Policy has invalid resource"},
		{"duplicate sid", Identity, st(`{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}`), duplicateSid},
		{"sid alphabet", Identity, st(`{"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"}`), sidAlphabet},
		{"principal in identity policy", Identity, st(grant(`"*"`)), noPrincipal},
		{"no principal", Resource, st(allowAll), "Missing required field Principal"},
		{"no principal in trust", Trust, st(`{"Effect":"Allow","Action":"sts:AssumeRole"}`), "Missing required field Principal"},
		{"resource in trust", Trust, st(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`), "Has prohibited field Resource"},
		{"not sts in trust", Trust, st(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}`), onlyAssumeRole},
		{"sts:GetCallerIdentity in trust", Trust, st(`{"Effect":"Allow","Principal":"*","Action":"sts:GetCallerIdentity"}`), onlyAssumeRole},
		{"group", Trust, st(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:group/g"},"Action":"sts:AssumeRole"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:group/g"`},
		{"wildcard in principal", Trust, st(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:role/*"},"Action":"sts:AssumeRole"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:role/*"`},
		{"unknown service", Trust, st(`{"Effect":"Allow","Principal":{"Service":"codepipeline"},"Action":"sts:AssumeRole"}`), `Invalid principal in policy: "SERVICE":"codepipeline"`},
		{"group, bucket", Resource, st(grant(arnPrincipal("arn:aws:iam::111111111111:group/g"))), "Invalid principal in policy"},
		{"group, key", Key, st(grant(arnPrincipal("arn:aws:iam::111111111111:group/g"))), "Policy contains a statement with one or more invalid principals."},
		{"empty principal", Resource, st(grant(`{}`)), "Invalid principal in policy"},
		{"empty principals", Resource, st(grant(`{"AWS":[]}`)), "Invalid principal in policy"},
		{"canonical user", Resource, st(grant(`{"CanonicalUser":"ab"}`)), "Invalid principal in policy"},
		{"operator", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"aws:x":"1"}}}`), syntaxErrors},
		{"operator, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringIs":{"aws:x":"1"}}}`), "Invalid Condition type : StringIs"},
		{"NullIfExists", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NullIfExists":{"aws:x":"true"}}}`), syntaxErrors},
		{"condition key", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"SourceIp":"1"}}}`), "Policy has an invalid condition key"},
		{"condition of no object", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":"x"}}`), syntaxErrors},
		{"condition null", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:x":null}}}`), syntaxErrors},
		{"date", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}}`), legacyParsing},
		{"deep", Identity, strings.Repeat("[", 100000), syntaxErrors},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text, tt.kind)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Message != tt.want {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestErrorPosition(t *testing.T) {
	_, err := Parse("{\n \"Statement\": {\n  \"Effect\": \"Perhaps\"}}", Identity)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Line != 3 || e.Column != 13 {
		t.Errorf("error = %#v, want line 3, column 13", err)
	}
}

func TestDocument(t *testing.T) {
	const statement = `{"Sid":"One", "Effect":"Allow","Principal":{"AWS":["111111111111","` + roleR + `","AROAEXAMPLE123456789"],"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}`
	const text = "{ \"Statement\" :" + statement + "}\n"
	d, err := Parse(text, Trust)
	if err != nil {
		t.Fatal(err)
	}
	if d.String() != text || string(d.Statement(0)) != statement || d.Statement(1) != nil || d.Len() != 1 || d.Version() != "" {
		t.Errorf("the document does not keep its text: %q", d.String())
	}
	if got, want := Principals(d), []string{rootA, roleR}; !slices.Equal(got, want) {
		t.Errorf("principals = %v, want %v", got, want)
	}
}

// FuzzParse holds that no text makes the parser panic, and that a document
// put together again from its statements decides as it did.
func FuzzParse(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[`+allowAll+`,`+denyGet+`]}`, "s3:GetObject", object)
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"iam:*","NotResource":"arn:aws:s3:::${aws:username}/*","Condition":{"ForAllValues:StringLikeIfExists":{"aws:x":["a*",1,true]},"NumericLessThan":{"s3:max-keys":10}}}}`, "s3:GetObject", object)
	f.Add(`{"Statement":[`+grant(`{"AWS":"*"}`)+`]}`, "kms:Decrypt", "*")
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}}`, "sts:AssumeRole", roleR)
	f.Add("{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"s3:*\\u00ff\",\"Resource\":\"arn:aws:s3:*:*:*?*\"}}", "s3:x", "arn:aws:s3:::a:b")
	f.Fuzz(func(t *testing.T, text, action, resource string) {
		for kind := Identity; kind <= RCP; kind++ {
			d, err := Parse(text, kind)
			if err != nil {
				if e, ok := errors.AsType[*Error](err); !ok || e.Message == "" {
					t.Fatalf("error is %#v", err)
				}
				continue
			}
			statements := make([]string, d.Len())
			for i := range statements {
				statements[i] = string(d.Statement(i))
			}
			again, err := Parse(`{"Version":"`+orOld(d.Version())+`","Statement":[`+strings.Join(statements, ",")+`]}`, kind)
			if err != nil {
				t.Fatalf("printed document is refused: %v", err)
			}
			if a, b := decideWith(d, kind, action, resource), decideWith(again, kind, action, resource); a != b {
				t.Fatalf("decides %v, printed %v", a, b)
			}
		}
	})
}

func orOld(version string) string {
	if version == "" {
		return "2008-10-17"
	}
	return version
}

func decideWith(d *Document, kind Kind, action, resource string) Effect {
	r := &Request{Principal: caller(session), Action: action, Resource: resource, Owner: acctA,
		Context: Keys{"aws:username": {"alice"}, "aws:x": {"a", "b"}, "s3:max-keys": {"5"}}}
	set := &Set{}
	s := Source{Kind: kind, Doc: d}
	switch kind {
	case Resource, Trust, Key:
		r.Policy = &s
	case RCP:
		r.RCPs = [][]Source{{s}}
	default:
		set.Identity = []Source{s}
	}
	e := Evaluate(set, r)
	Fixes(set, r, e)
	return e.Effect
}
