package policyeval

import (
	"bytes"
	"strings"
	"testing"
)

func run(t testing.TB, o Options, lines ...string) []string {
	t.Helper()
	var out bytes.Buffer
	if err := Run(t.Context(), strings.NewReader(strings.Join(lines, "\n")), &out, o); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestTry(t *testing.T) {
	for _, l := range run(t, Options{}, `{"id":"1","request":{"callerArn":"arn:aws:iam::111111111111:user/a","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k","resourceOwner":"111111111111","context":{"aws:SourceIp":"10.0.0.1","x":["a","b"]}},"identityPolicies":[{"Version":"2012-10-17","Statement":{"Sid":"Read","Effect":"Allow","Action":"s3:*","Resource":"*"}}],"resourcePolicy":null,"permissionsBoundaries":[],"sessionPolicies":[],"serviceControlPolicies":[],"resourceControlPolicies":[]}`,
		`{"id":"2","request":{"callerArn":"arn:aws:iam::111111111111:user/a","action":"s3:GetObject","resourceArn":"arn:aws:s3:::b/k"},"identityPolicies":[{"Version":"2012-10-17","Statement":{"Sid":"Read","Effect":"Deny","Action":"s3:*","Resource":"*"}}],"serviceControlPolicies":[[{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}],[]]}`,
		`{"id":"3"`, `x`,
	) {
		t.Log(l)
	}
}
