package policy

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestConditions(t *testing.T) {
	k := func(kv ...string) Keys { // one key and its values
		if len(kv) == 0 {
			return Keys{}
		}
		return Keys{kv[0]: kv[1:]}
	}
	for _, tt := range []struct {
		name      string
		condition string
		ctx       Keys
		want      bool
	}{
		{"equals", `{"StringEquals":{"aws:X":"a"}}`, k("aws:x", "a"), true},
		{"equals is case-sensitive", `{"StringEquals":{"aws:X":"a"}}`, k("aws:x", "A"), false},
		{"equals takes wildcards literally", `{"StringEquals":{"aws:X":"a*"}}`, k("aws:x", "ab"), false},
		{"equals star", `{"StringEquals":{"aws:X":"a*"}}`, k("aws:x", "a*"), true},
		{"values are alternatives", `{"StringEquals":{"aws:X":["a","b"]}}`, k("aws:x", "b"), true},
		{"no values", `{"StringEquals":{"aws:X":[]}}`, k("aws:x", "b"), false},
		{"keys are all needed", `{"StringEquals":{"aws:X":"a","aws:Y":"a"}}`, k("aws:x", "a"), false},
		{"absent", `{"StringEquals":{"aws:X":"a"}}`, k(), false},
		{"absent if exists", `{"StringEqualsIfExists":{"aws:X":"a"}}`, k(), true},
		{"present if exists", `{"StringEqualsIfExists":{"aws:X":"a"}}`, k("aws:x", "b"), false},
		{"not equals", `{"StringNotEquals":{"aws:X":["a","b"]}}`, k("aws:x", "c"), true},
		{"not equals, one matches", `{"StringNotEquals":{"aws:X":["a","b"]}}`, k("aws:x", "b"), false},
		{"not equals, absent", `{"StringNotEquals":{"aws:X":"a"}}`, k(), true},
		{"ignore case", `{"StringEqualsIgnoreCase":{"aws:X":"aB"}}`, k("aws:x", "Ab"), true},
		{"not ignore case", `{"StringNotEqualsIgnoreCase":{"aws:X":"aB"}}`, k("aws:x", "Ab"), false},
		{"like", `{"StringLike":{"aws:X":"a*c?"}}`, k("aws:x", "abbcd"), true},
		{"like one character", `{"StringLike":{"aws:X":"a?"}}`, k("aws:x", "aé"), true},
		{"not like", `{"StringNotLike":{"aws:X":"a*"}}`, k("aws:x", "b"), true},
		{"not like, absent", `{"StringNotLike":{"aws:X":"a*"}}`, k(), true},
		{"operator name is folded", `{"stringlike":{"aws:X":"a*"}}`, k("aws:x", "ab"), true},

		{"numeric equals", `{"NumericEquals":{"aws:X":"10"}}`, k("aws:x", "10.0"), true},
		{"numeric less", `{"NumericLessThan":{"aws:X":10}}`, k("aws:x", "9"), true},
		{"numeric not less", `{"NumericLessThan":{"aws:X":10}}`, k("aws:x", "10"), false},
		{"numeric less equal", `{"NumericLessThanEquals":{"aws:X":10}}`, k("aws:x", "10"), true},
		{"numeric greater", `{"NumericGreaterThan":{"aws:X":10}}`, k("aws:x", "11"), true},
		{"numeric greater equal", `{"NumericGreaterThanEquals":{"aws:X":10}}`, k("aws:x", "9.5"), false},
		{"numeric text", `{"NumericEquals":{"aws:X":10}}`, k("aws:x", "ten"), false},
		{"numeric not equals", `{"NumericNotEquals":{"aws:X":10}}`, k("aws:x", "11"), true},
		{"numeric not equals, absent", `{"NumericNotEquals":{"aws:X":10}}`, k(), true},

		{"date less", `{"DateLessThan":{"aws:X":"2026-01-02T00:00:00Z"}}`, k("aws:x", "2026-01-01T23:59:59Z"), true},
		{"date epoch", `{"DateGreaterThan":{"aws:X":"1000000"}}`, k("aws:x", "2026-01-01T00:00:00Z"), true},
		{"date equals zones", `{"DateEquals":{"aws:X":"2026-01-01T01:00:00+01:00"}}`, k("aws:x", "2026-01-01T00:00:00Z"), true},
		{"date alone", `{"DateGreaterThanEquals":{"aws:X":"2026-01-01"}}`, k("aws:x", "2026-01-01T00:00:00Z"), true},
		{"date not equals, absent", `{"DateNotEquals":{"aws:X":"2026-01-01"}}`, k(), true},
		{"date less equals", `{"DateLessThanEquals":{"aws:X":"2026-01-01"}}`, k("aws:x", "2026-01-01T00:00:00.5Z"), false},

		{"bool of JSON", `{"Bool":{"aws:X":false}}`, k("aws:x", "false"), true},
		{"bool text", `{"Bool":{"aws:X":"TRUE"}}`, k("aws:x", "true"), true},
		{"bool absent", `{"Bool":{"aws:X":"false"}}`, k(), false},
		{"bool if exists", `{"BoolIfExists":{"aws:X":"false"}}`, k(), true},
		{"binary", `{"BinaryEquals":{"aws:X":"YWI="}}`, k("aws:x", "YWI="), true},
		{"binary other", `{"BinaryEquals":{"aws:X":"YWI="}}`, k("aws:x", "YWM="), false},

		{"ip in network", `{"IpAddress":{"aws:X":"10.0.0.0/8"}}`, k("aws:x", "10.255.0.1"), true},
		{"ip alone", `{"IpAddress":{"aws:X":"10.0.0.1"}}`, k("aws:x", "10.0.0.2"), false},
		{"ip v6", `{"IpAddress":{"aws:X":"2001:db8::/32"}}`, k("aws:x", "2001:db8::1"), true},
		{"ip unclean network", `{"IpAddress":{"aws:X":"10.1.2.3/8"}}`, k("aws:x", "10.9.9.9"), true},
		{"not ip", `{"NotIpAddress":{"aws:X":["10.0.0.0/8","192.168.0.0/16"]}}`, k("aws:x", "192.168.1.1"), false},
		{"not ip, absent", `{"NotIpAddress":{"aws:X":"10.0.0.0/8"}}`, k(), true},

		{"arn like", `{"ArnLike":{"aws:X":"arn:aws:iam::*:role/R*"}}`, k("aws:x", roleR), true},
		{"arn equals is like", `{"ArnEquals":{"aws:X":"arn:aws:iam::*:role/*"}}`, k("aws:x", roleR), true},
		{"arn star stays in its component", `{"ArnLike":{"aws:X":"arn:aws:iam::*"}}`, k("aws:x", roleR), false},
		{"arn star crosses in the resource", `{"ArnLike":{"aws:X":"arn:aws:s:r:1:a*d"}}`, k("aws:x", "arn:aws:s:r:1:a:b/c:d"), true},
		{"arn of no arn", `{"ArnLike":{"aws:X":"*"}}`, k("aws:x", "hello"), false},
		{"arn not like", `{"ArnNotLike":{"aws:X":"arn:aws:iam::*:user/*"}}`, k("aws:x", roleR), true},
		{"arn not equals, absent", `{"ArnNotEquals":{"aws:X":"arn:aws:iam::*:user/*"}}`, k(), true},

		{"null true, absent", `{"Null":{"aws:X":"true"}}`, k(), true},
		{"null true, present", `{"Null":{"aws:X":true}}`, k("aws:x", "a"), false},
		{"null false, present", `{"Null":{"aws:X":"false"}}`, k("aws:x", "a"), true},
		{"null false, absent", `{"Null":{"aws:X":"false"}}`, k(), false},

		{"all values", `{"ForAllValues:StringEquals":{"aws:X":["a","b"]}}`, k("aws:x", "a", "b"), true},
		{"all values, one more", `{"ForAllValues:StringEquals":{"aws:X":["a","b"]}}`, k("aws:x", "a", "c"), false},
		{"all values, absent", `{"ForAllValues:StringEquals":{"aws:X":"a"}}`, k(), true},
		{"all values, empty text", `{"ForAllValues:StringEquals":{"aws:X":"a"}}`, k("aws:x", ""), true},
		{"all values negated", `{"ForAllValues:StringNotEquals":{"aws:X":"a"}}`, k("aws:x", "b", "a"), false},
		{"any value", `{"ForAnyValue:StringEquals":{"aws:X":"a"}}`, k("aws:x", "b", "a"), true},
		{"any value, none", `{"ForAnyValue:StringEquals":{"aws:X":"a"}}`, k("aws:x", "b", "c"), false},
		{"any value, absent", `{"ForAnyValue:StringEquals":{"aws:X":"a"}}`, k(), false},
		{"any value negated", `{"ForAnyValue:StringNotEquals":{"aws:X":"a"}}`, k("aws:x", "b", "a"), true},
		{"any value negated, absent", `{"ForAnyValue:StringNotEquals":{"aws:X":"a"}}`, k(), false},
		{"any value like if exists", `{"ForAnyValue:StringLikeIfExists":{"aws:X":"a*"}}`, k(), true},
		{"many values without qualifier", `{"StringEquals":{"aws:X":"a"}}`, k("aws:x", "b", "a"), true},

		{"variable", `{"StringEquals":{"aws:X":"${aws:Y}"}}`, Keys{"aws:x": {"v"}, "aws:y": {"v"}}, true},
		{"variable's wildcards are literal", `{"StringLike":{"aws:X":"${aws:Y}"}}`, Keys{"aws:x": {"abc"}, "aws:y": {"a*"}}, false},
		{"variable absent", `{"StringLike":{"aws:X":"a${aws:Y}*"}}`, Keys{"aws:x": {"abc"}}, false},
		{"variable default", `{"StringLike":{"aws:X":"${aws:Y, 'ab'}c"}}`, Keys{"aws:x": {"abc"}}, true},
		{"variable of many values", `{"StringLike":{"aws:X":"${aws:Y}"}}`, Keys{"aws:x": {"a"}, "aws:y": {"a", "b"}}, false},
		{"escaped star", `{"StringLike":{"aws:X":"a${*}"}}`, k("aws:x", "abc"), false},
		{"escaped star itself", `{"StringLike":{"aws:X":"a${*}${?}${$}"}}`, k("aws:x", "a*?$"), true},
		{"not a variable", `{"StringEquals":{"aws:X":"${"}}`, k("aws:x", "${"), true},
		{"variable ignoring case", `{"StringEqualsIgnoreCase":{"aws:X":"${aws:Y}"}}`, Keys{"aws:x": {"V"}, "aws:y": {"v"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := &Set{Identity: sources(t, Identity, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+tt.condition+`}`)}
			r := &Request{Principal: caller(alice), Action: "s3:GetObject", Resource: object, Context: tt.ctx}
			d := Evaluate(set, r)
			if got := d.Effect == Allow; got != tt.want {
				t.Errorf("holds = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOldVersionHasNoVariables(t *testing.T) {
	d, err := Parse(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}`, Identity)
	if err != nil {
		t.Fatal(err)
	}
	set := &Set{Identity: []Source{{Kind: Identity, Doc: d}}}
	for resource, want := range map[string]Effect{"arn:aws:s3:::alice": ImplicitDeny, "arn:aws:s3:::${aws:username}": Allow} {
		r := &Request{Principal: caller(alice), Action: "s3:ListBucket", Resource: resource, Context: Keys{"aws:username": {"alice"}}}
		if got := Decide(set, r); got != want {
			t.Errorf("%s: %v, want %v", resource, got, want)
		}
	}
}

func TestResourcePatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, resource string
		want              bool
	}{
		{"*", "anything", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/x/y:z", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b", false},
		{"arn:aws:s3:::b/?", "arn:aws:s3:::b/xy", false},
		{"arn:aws:s3:::b/a*b*c", "arn:aws:s3:::b/aXbbYc", true},
		{"arn:aws:codecommit:*:111111111111:r", "arn:aws:codecommit:us-east-1:111111111111:r", true},
		{"arn:aws:codecommit:us-*-1:111111111111:r", "arn:aws:codecommit:us-east-1:111111111111:r", true},
		{"arn:aws:codecommit:us*1:111111111111:r", "arn:aws:codecommit:us:1:111111111111:r", false},
		{"arn:aws:iam::*:role/*", "arn:aws:iam::111111111111:role/a/b", true},
		{"arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::alice/x", true},
		{"arn:aws:s3:::${aws:userid}/*", "arn:aws:s3:::alice/x", false},
		{"arn:aws:s3:::${aws:userid, 'alice'}/*", "arn:aws:s3:::alice/x", true},
		{"arn:aws:s3:::b/${*}", "arn:aws:s3:::b/x", false},
		{"arn:aws:s3:::b/${*}", "arn:aws:s3:::b/*", true},
		{"arn:aws:sns:us-east-1:${aws:username}:x", "arn:aws:sns:us-east-1:alice:x", false},
	} {
		set := &Set{Identity: sources(t, Identity, `{"Effect":"Allow","Action":"*","Resource":"`+tt.pattern+`"}`)}
		r := &Request{Principal: caller(alice), Action: "s3:GetObject", Resource: tt.resource, Context: Keys{"aws:username": {"alice"}}}
		if got := Decide(set, r) == Allow; got != tt.want {
			t.Errorf("%s matches %s = %v, want %v", tt.pattern, tt.resource, got, tt.want)
		}
	}
}

func TestMissingKeys(t *testing.T) {
	set := &Set{Identity: sources(t, Identity, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`)}
	d := Evaluate(set, &Request{Principal: caller(alice), Action: "s3:GetObject", Resource: object})
	if want := []string{"aws:MultiFactorAuthPresent"}; !slices.Equal(d.Missing, want) {
		t.Errorf("missing = %v, want %v", d.Missing, want)
	}
}

func TestFixes(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:222222222222:key/k"
	for _, tt := range []struct {
		evaluation
		want []string // "kind on statement" or "kind name remove"
	}{
		{evaluation{name: "identity", caller: session}, []string{`identity ` + roleR + ` {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
		{evaluation{name: "object with a star", caller: alice, resource: "arn:aws:s3:::b/*"}, []string{`identity ` + alice + ` {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${*}"}`}},
		{evaluation{name: "both sides", caller: session, owner: acctB, attached: grant(arnPrincipal(acctB))}, []string{
			`identity ` + roleR + ` {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`,
			`resource arn:aws:s3:::b {"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
		{evaluation{name: "the caller, where its account is named", caller: session, owner: acctB, identity: allowAll,
			attached: `{"Effect":"Allow","Principal":{"AWS":"` + rootA + `"},"Action":"s3:Put*","Resource":"*"}`}, []string{
			`resource arn:aws:s3:::b {"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
		{evaluation{name: "key policy", caller: session, owner: acctB, identity: allowAll, action: "kms:Decrypt", resource: key, attachedKind: Key, attached: grant(arnPrincipal(acctB))}, []string{
			`key ` + key + ` {"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},"Action":"kms:Decrypt","Resource":"*"}`}},
		{evaluation{name: "trust policy", caller: session, owner: acctB, identity: allowAll, action: "sts:AssumeRole", resource: "arn:aws:iam::222222222222:role/T", attachedKind: Trust,
			attached: `{"Effect":"Allow","Principal":{"AWS":"` + acctB + `"},"Action":"sts:AssumeRole"}`}, []string{
			`trust arn:aws:iam::222222222222:role/T {"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},"Action":"sts:AssumeRole"}`}},
		{evaluation{name: "service", caller: "events.amazonaws.com", action: "sts:AssumeRole", resource: "arn:aws:iam::111111111111:role/T", attachedKind: Trust,
			attached: `{"Effect":"Allow","Principal":{"AWS":"` + acctB + `"},"Action":"sts:AssumeRole"}`}, []string{
			`trust arn:aws:iam::111111111111:role/T {"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}`}},
		{evaluation{name: "another branch", caller: alice, action: "codecommit:GitPush", resource: "arn:aws:codecommit:us-east-1:111111111111:r", ctx: Keys{"codecommit:references": {"refs/heads/dev"}},
			identity: `{"Effect":"Allow","Action":"codecommit:*","Resource":"*","Condition":{"StringEquals":{"codecommit:References":"refs/heads/main"}}}`}, []string{
			`identity ` + alice + ` {"Effect":"Allow","Action":"codecommit:GitPush","Resource":"arn:aws:codecommit:us-east-1:111111111111:r","Condition":{"StringEquals":{"codecommit:References":["refs/heads/dev"]}}}`}},
		{evaluation{name: "pass role", caller: alice, action: "iam:PassRole", resource: roleR, ctx: Keys{"iam:passedtoservice": {"codepipeline.amazonaws.com"}}}, []string{
			`identity ` + alice + ` {"Effect":"Allow","Action":"iam:PassRole","Resource":"` + roleR + `","Condition":{"StringEquals":{"iam:PassedToService":["codepipeline.amazonaws.com"]}}}`}},
		{evaluation{name: "deny, and silence below it", caller: alice, identity: denyGet}, []string{
			`identity remove 0`, `identity ` + alice + ` {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
		{evaluation{name: "two denies", caller: alice, identity: denyGet + "," + allowAll + "," + denyGet}, []string{`identity remove 0`, `identity remove 2`}},
		{evaluation{name: "two levels of SCPs", caller: alice, identity: allowAll, scps: []string{allowNone, allowAll, allowNone}}, []string{
			`scp 111111111111 {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`, `scp 111111111111 {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
		{evaluation{name: "RCPs", caller: alice, identity: allowAll, rcps: []string{""}}, []string{
			`rcp 111111111111 {"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`}},
		{evaluation{name: "boundary", caller: alice, identity: allowAll, boundary: allowNone}, []string{
			`boundary ` + alice + ` {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, r := tt.build(t)
			var got []string
			for _, f := range Fixes(set, r, Evaluate(set, r)) {
				if f.Remove != nil {
					n, _ := json.Marshal(f.Remove.Statement)
					got = append(got, f.Kind.String()+" remove "+string(n))
					continue
				}
				got = append(got, f.Kind.String()+" "+f.On+" "+string(f.Statement))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("fixes:\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}
