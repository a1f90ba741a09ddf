package iam_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
)

var samples = servicetest.Sampler{
	Service: "iam",
	Values: map[string]string{
		"Url": "https://idp.example.com", "SerialNumber": "arn:aws:iam::111111111111:mfa/phone", "Arn": "arn:aws:iam::111111111111:user/zoe",
		"PolicySourceArn": "arn:aws:iam::111111111111:user/zoe", "PolicyArn": "arn:aws:iam::111111111111:policy/P",
		"SAMLProviderArn":          "arn:aws:iam::111111111111:saml-provider/Corp",
		"OpenIDConnectProviderArn": "arn:aws:iam::111111111111:oidc-provider/idp.example.com",
		"DeletionTaskId":           "task/aws-service-role/events.amazonaws.com/AWSServiceRoleForCloudWatchEvents/1",
		"AWSServiceName":           "events.amazonaws.com", "ServiceName": "codecommit.amazonaws.com", "AccountAlias": "acme-corp",
	},
	Candidates: []string{"zoe", "/", "v1", "123456", "AKIA5555555555555555", "01234567-0123-0123-0123-012345678901", allowAll, trust, "Active", "SSH",
		strings.Repeat("x", 1000), strings.Repeat("a", 40)},
}

// TestEveryPermission holds that no operation is done for somebody who may do
// everything but it, and that whoever may do it alone gets past the question.
func TestEveryPermission(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		for _, op := range w.iam.Operations() {
			action := "iam:" + op.Name
			in := op.Input()
			samples.Fill(w, op.Name, in)
			ask := func(who string) error {
				_, err := w.env.As(who+"@"+one).Invoke(ctx(), "iam", op.Name, in)
				return err
			}
			w.env.Grant("all-but-"+op.Name+"@"+one, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"`+action+`","Resource":"*"}}`)
			if err := ask("all-but-" + op.Name); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "perform: "+action+" ") {
				t.Errorf("%s without its permission: %v", op.Name, err)
			}
			w.env.Grant("only-"+op.Name+"@"+one, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["`+action+`","iam:PassRole"],"Resource":"*"}}`)
			if err := ask("only-" + op.Name); err != nil && strings.Contains(err.Error(), "is not authorized to perform") {
				t.Errorf("%s with its permission: %v", op.Name, err)
			}
		}
	})
}

// TestOddInputs holds that no text that the model takes, however odd, is
// trouble of our own.
func TestOddInputs(t *testing.T) {
	odd := []string{
		"\x00", "a\xff", "arn:aws:iam::111111111111:policy/\x00", "arn:aws:iam::111111111111:user/a\x00b", "arn:::::aaaaaaaaaaaaaaa", "djE6AA", "djE6_w",
		`"`, `/"*/`, "task/aws-service-role/\x00/x/y", "https://x.example/\x00",
	}
	each(t, iam.Options{}, func(w world) {
		for _, op := range w.iam.Operations() {
			samples.Odd(w, op.Name, op.Input, odd, func(in any, member, text string) {
				if _, err := w.root.Invoke(ctx(), "iam", op.Name, in); code(err) == "ServiceFailure" {
					t.Errorf("%s with %s %q: %v", op.Name, member, text, err)
				}
			})
		}
	})
}
