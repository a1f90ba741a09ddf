package policy

import (
	"encoding/json"
	"testing"
)

func TestWiden(t *testing.T) {
	patterns := []string{"arn:aws:s3:::artifacts/shop/*", "arn:aws:s3:::target/release/*", "arn:aws:s3:::odd/" + Escape("a*b?${c}") + "/*"}
	for _, tt := range []struct{ name, statement, want string }{
		{
			"an artifact becomes all of the pipeline's",
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::artifacts/shop/Commit/p1gldZf"}`,
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::artifacts/shop/*"}`,
		},
		{
			"the principal stays",
			`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::target/release/a b<c>.html"}`,
			`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::target/release/*"}`,
		},
		{
			"other objects stay",
			`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::artifacts/other/Commit/p1gldZf"}`,
			`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::artifacts/other/Commit/p1gldZf"}`,
		},
		{
			"wildcards of a key mean themselves",
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::odd/a${*}b${?}${$}{c}/x${*}"}`,
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::odd/a${*}b${?}${$}{c}/*"}`,
		},
		{
			"a wildcard of a pattern is none of a resource's",
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::odd/aXb/x"}`,
			`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::odd/aXb/x"}`,
		},
		{
			"an encryption context that names an artifact",
			`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:eu-central-1:222222222222:key/k","Condition":{"StringEquals":{"kms:ViaService":["s3.eu-central-1.amazonaws.com"],"kms:encryptioncontext:aws:s3:arn":["arn:aws:s3:::artifacts/shop/Commit/p1gldZf"]}}}`,
			`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:eu-central-1:222222222222:key/k","Condition":{"StringEquals":{"kms:ViaService":["s3.eu-central-1.amazonaws.com"]},"StringLike":{"kms:encryptioncontext:aws:s3:arn":["arn:aws:s3:::artifacts/shop/*"]}}}`,
		},
		{"a trust policy has no resource", `{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}`, `{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}`},
		{"a Deny to narrow has no statement", ``, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Fix{Statement: json.RawMessage(tt.statement)}.Widen(patterns)
			if string(got.Statement) != tt.want {
				t.Errorf("got  %s\nwant %s", got.Statement, tt.want)
			}
		})
	}
}

func TestFixesAreGoodForTheNextCall(t *testing.T) {
	doc := func(kind Kind, text string) *Document {
		d, err := Parse(text, kind)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	const role = "arn:aws:iam::111111111111:role/T"
	trust := doc(Trust, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole",
		"Condition":{"StringEquals":{"sts:RoleSessionName":"another","aws:SourceAccount":"222222222222"},"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}}}`)
	r := &Request{
		Principal: caller("events.amazonaws.com"), Action: "sts:AssumeRole", Resource: role, Owner: "111111111111",
		Policy: &Source{Kind: Trust, On: role, Doc: trust},
		Context: Keys{
			"sts:rolesessionname": {"1726745559598"}, "aws:currenttime": {"2026-01-01T00:00:00Z"}, "aws:sourceaccount": {"111111111111"},
		},
	}
	fixes := Fixes(nil, r, Evaluate(nil, r))
	want := `{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":["111111111111"]}}}`
	if len(fixes) != 1 || string(fixes[0].Statement) != want {
		t.Errorf("got %s\nwant %s", fixes[0].Statement, want)
	}
}

func TestMerge(t *testing.T) {
	statement := func(action, resource string) json.RawMessage {
		return json.RawMessage(`{"Effect":"Allow","Action":` + action + `,"Resource":"` + resource + `"}`)
	}
	in := []Fix{
		{Kind: Identity, On: "r", Statement: statement(`"s3:PutObject"`, "b/*")},
		{Kind: Identity, On: "r", Statement: statement(`"s3:PutObject"`, "b/*")},
		{Kind: Resource, On: "b", Statement: statement(`"s3:PutObject"`, "b/*")},
		{Kind: Identity, On: "r", Statement: statement(`"s3:PutObjectAcl"`, "b/*")},
		{Kind: Identity, On: "r", Statement: statement(`"s3:PutObject"`, "c/*")},
		{Kind: Identity, On: "r", Statement: statement(`"s3:PutObjectAcl"`, "b/*")},
		{Kind: Identity, On: "r", Remove: &Match{Kind: Identity, Statement: 1}},
		{Kind: Identity, On: "r", Remove: &Match{Kind: Identity, Statement: 1}},
		{Kind: Identity, On: "r", Remove: &Match{Kind: Identity, Statement: 2}},
	}
	want := []Fix{
		{Kind: Identity, On: "r", Statement: statement(`["s3:PutObject","s3:PutObjectAcl"]`, "b/*")},
		in[2], in[4], in[6], in[8],
	}
	got, _ := json.Marshal(Merge(in))
	if w, _ := json.Marshal(want); string(got) != string(w) {
		t.Errorf("got  %s\nwant %s", got, w)
	}
}

func TestAPolicyThatCannotBeChanged(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:222222222222:key/k"
	doc, err := Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"222222222222"}}}}`, Key)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{
		Principal: caller(alice), Action: "kms:Decrypt", Resource: key, Owner: "222222222222",
		Context: Keys{"kms:calleraccount": {"111111111111"}}, Policy: &Source{Kind: Key, Name: "default", On: key, Doc: doc, Fixed: true},
	}
	fixes := Fixes(nil, r, Evaluate(nil, r))
	if len(fixes) != 1 || !fixes[0].Fixed || fixes[0].On != key || fixes[0].Statement != nil {
		t.Errorf("got %+v", fixes)
	}
}

// A service acts for every account: what lets it in names the account it may
// act for.
func TestFixesForServicesNameTheAccount(t *testing.T) {
	const role = "arn:aws:iam::111111111111:role/T"
	r := &Request{
		Principal: caller("events.amazonaws.com"), Action: "sts:AssumeRole", Resource: role, Owner: "111111111111",
		Policy: &Source{Kind: Trust, On: role}, Context: Keys{"aws:sourceaccount": {"111111111111"}},
	}
	fixes := Fixes(nil, r, Evaluate(nil, r))
	want := `{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":["111111111111"]}}}`
	if len(fixes) != 1 || string(fixes[0].Statement) != want {
		t.Errorf("got %+v, want %s", fixes, want)
	}
}
