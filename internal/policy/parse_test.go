package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
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
		{"number with two dots", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"aws:x":1.2.3}}}`), syntaxErrors},
		{"date of a month that is none", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:x":"234-13"}}}`), legacyParsing},
		{"date with half a zone", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:x":"2016-12-13t2:00:00.593194+1"}}}`), legacyParsing},
		{"date beyond all numbers", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:x":"9223372036854775808"}}}`), legacyParsing},
		{"variable as a network", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:x":"${aws:SourceIp}"}}}`), legacyParsing},
		{"variable as a truth value", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:x":"${aws:y}"}}}`), legacyParsing},
		{"variable as a principal", Trust, st(`{"Effect":"Allow","Principal":{"AWS":"${aws:PrincipalArn}"},"Action":"sts:AssumeRole"}`), `Invalid principal in policy: "AWS":"${aws:PrincipalArn}"`},
		{"canonical user of a key", Key, st(grant(`{"CanonicalUser":"` + strings.Repeat("a", 64) + `"}`)), "Policy contains a statement with one or more invalid principals."},
		{"unknown sort of principal", Resource, st(grant(`{"GCP":"x"}`)), "Invalid principal in policy"},
		{"duplicate key, attached", Resource, st(`{"Effect":"Allow","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "Statement/policy already has instance of Effect"},
		{"both actions, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"*","NotAction":"s3:*","Resource":"*"}`), "Statement/policy already has instance of Action"},
		{"empty action, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}`), "Missing required field Action cannot be empty!"},
		{"action of no text, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":5,"Resource":"*"}`), "Invalid policy syntax."},
		{"NotPrincipal in an RCP", RCP, st(`{"Effect":"Deny","NotPrincipal":"*","Action":"s3:*","Resource":"*"}`), "Has prohibited field NotPrincipal"},
		{"NotAction in an RCP", RCP, st(`{"Effect":"Deny","Principal":"*","NotAction":"s3:*","Resource":"*"}`), "Has prohibited field NotAction"},
		{"NotAction in trust", Trust, st(`{"Effect":"Allow","Principal":"*","NotAction":"sts:AssumeRole"}`), "Has prohibited field NotAction"},
		{"resource without partition", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"aws:s3:::b"}`), `Partition "s3" is not valid for resource "arn:s3:::b:*".`},
		{"resource of another partition", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws-cn:s3:::b"}`), `Partition "aws-cn" is not valid for resource "arn:aws-cn:s3:::b".`},
		{"resource of two words", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"a:b"}`), `Partition "b" is not valid for resource "arn:b:*:*:*:*".`},
		{"resource without a service", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws"}`), "Resource vendor must be fully qualified and cannot contain regexes."},
		{"resource of five components", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3::b"}`), legacyParsing},
		{"resource with an empty service", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws::::b"}`), legacyParsing},
		{"s3 with region", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:us-east-1::b"}`), "Resource arn:aws:s3:us-east-1::b can not contain region information."},
		{"path of IAM", Identity, st(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:iam:::b"}`), `IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.`},

		// IAM goes over a document several times, and answers with what it
		// finds first.
		{"legacy parsing before what is missing", Identity, st(`{"Effect":"denY"},{"Sid":"a","Effect":"Allow"},{"Sid":"a","Effect":"Allow"}`), legacyParsing},
		{"syntax before legacy parsing", Identity, st(`{"Effect":"denY","Action":"*","Resource":"*"},{"Effect":"Allow","Foo":1}`), syntaxErrors},
		{"Sids before actions", Identity, st(`{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow"}`), duplicateSid},
		{"actions before resources", Identity, st(`{"Effect":"Allow"}`), noActions},
		{"resources before the form of actions", Identity, st(`{"Effect":"Allow","Action":"s:3:x","Resource":"b"}`), `Resource b must be in ARN format or "*".`},
		{"the document's order, attached", Resource, st(`{"Effect":"Allow","Principal":"*","Action":"Get","Resource":"b"}`), "Policy has invalid action"},
		{"deep", Identity, strings.Repeat("[", 100000), syntaxErrors},
		{"many names", Identity, `{` + strings.Repeat(`"a":1,`, 50) + `"b":1}`, syntaxErrors},
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

func TestParseTakes(t *testing.T) {
	one := func(s string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket",` + s + `}}`
	}
	for _, tt := range []struct {
		name string
		kind Kind
		text string
	}{
		{"an action with blanks", Identity, `{"Statement":{"Effect":"Allow","Action":"iam: any thing ","Resource":"*"}}`},
		{"every action of every service", Identity, `{"Statement":{"Effect":"Allow","Action":"*:*","Resource":"*"}}`},
		{"a service nobody knows", Identity, `{"Statement":{"Effect":"Allow","Action":"a.b-c:d","Resource":"arn:aws:fdsasf"}}`},
		{"the partition as a wildcard", Identity, one(`"Resource":"arn:*:s3:::b"`)},
		{"the root user as a resource", Identity, one(`"Resource":"arn:aws:iam::111111111111:root"`)},
		{"the beginning of a path of IAM", Identity, one(`"Resource":["arn:aws:iam::*:u*","arn:aws:iam::*:*","arn:aws:iam::*:user/${aws:username}"]`)},
		{"no condition", Identity, one(`"Resource":"*","Condition":{}`)},
		{"an operator without keys, whatever it is", Identity, one(`"Resource":"*","Condition":{"x":{},"DateGreaterThan":{}}`)},
		{"a key without a service", Identity, one(`"Resource":"*","Condition":{"ForAnyValue:StringEqualsIfExists":{"a":"b"}}`)},
		{"dates", Identity, one(`"Resource":"*","Condition":{"DateLessThan":{"a":["2016-12-13T21:20:37.593194+00:00","2016-12-13t2:00:00.593194+23","1700000000","2026","2026-02"]}}`)},
		{"a canonical user", Resource, `{"Statement":` + grant(`{"CanonicalUser":"`+strings.Repeat("0a", 32)+`"}`) + `}`},
		{"a trust policy for all of STS", Trust, `{"Statement":{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":["sts:*","*"]}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.text, tt.kind); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026": "2026-01-01T00:00:00Z", "2026-02": "2026-02-01T00:00:00Z", "2026-02-03": "2026-02-03T00:00:00Z",
		"2026-02-03T04Z": "2026-02-03T04:00:00Z", "2026-02-03T04:05Z": "2026-02-03T04:05:00Z", "2026-02-03t04:05:06z": "2026-02-03T04:05:06Z",
		"2026-02-03T04:05:06": "2026-02-03T04:05:06Z", "2026-02-03T04:05:06.789Z": "2026-02-03T04:05:06.789Z",
		"2026-02-03T04:05:06+01:30": "2026-02-03T02:35:06Z", "2026-02-03T04:05:06-0100": "2026-02-03T05:05:06Z",
		"0": "1970-01-01T00:00:00Z", "1767225600": "2026-01-01T00:00:00Z",
		"": "", "now": "", "2026-13": "", "2026-00-01": "", "2026-02-30": "", "2026-02-03T24:00Z": "", "2026-02-03T04:05:60Z": "",
		"2026-02-03T": "", "2026-02-03 04:05": "", "2026-02-03T04:05:06.Z": "", "2026-02-03T04:05:06.1234567890Z": "",
		"2026-02-03T04:05:06+1": "", "2026-02-03T04:05:06+25:00": "", "-5": "", "12345678901234567890": "", "2026-02-03Z": "",
	} {
		got, ok := parseTime(text)
		if ok != (want != "") || ok && got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("parseTime(%q) = %v, %v, want %q", text, got, ok, want)
		}
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
	if got, want := d.principals, []string{rootA, roleR}; !slices.Equal(got, want) {
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
			want := decideWith(d, kind, action, resource)
			if got := decideWith(again, kind, action, resource); got != want {
				t.Fatalf("decides %v, printed %v", want, got)
			}
			if got := decideWith(reprint(t, d), kind, action, resource); got != want {
				t.Fatalf("decides %v, printed by encoding/json %v", want, got)
			}
			Check(d)
			for i := range d.Len() {
				if line, column := d.Position(i); line < 1 || column < 1 {
					t.Fatalf("statement %d stands at %d:%d", i, line, column)
				}
			}
		}
	})
}

// reprint prints a document as encoding/json does: its names sorted, without
// space, with escapes of its own.
func reprint(t *testing.T, d *Document) *Document {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	again, err := Parse(string(text), d.Kind())
	if err != nil {
		t.Fatalf("printed document is refused: %v\n%s", err, text)
	}
	return again
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
