package iam_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	models "github.com/sekisho/sekisho/internal/api"
	"github.com/sekisho/sekisho/internal/service/iam"
)

// samples are values of members by their names; other members get the first of
// candidates that the model takes.
var (
	samples = map[string]string{
		"Url": "https://idp.example.com", "SerialNumber": "arn:aws:iam::111111111111:mfa/phone", "Arn": "arn:aws:iam::111111111111:user/zoe",
		"PolicySourceArn": "arn:aws:iam::111111111111:user/zoe", "PolicyArn": "arn:aws:iam::111111111111:policy/P",
		"SAMLProviderArn":          "arn:aws:iam::111111111111:saml-provider/Corp",
		"OpenIDConnectProviderArn": "arn:aws:iam::111111111111:oidc-provider/idp.example.com",
		"DeletionTaskId":           "task/aws-service-role/events.amazonaws.com/AWSServiceRoleForCloudWatchEvents/1",
		"AWSServiceName":           "events.amazonaws.com", "ServiceName": "codecommit.amazonaws.com", "AccountAlias": "acme-corp",
	}
	candidates = []string{"zoe", "/", "v1", "123456", "AKIA5555555555555555", "01234567-0123-0123-0123-012345678901", allowAll, trust, "Active", "SSH",
		strings.Repeat("x", 1000), strings.Repeat("a", 40)}
)

// sample fills what an operation requires.
func sample(t testing.TB, operation string, in any) {
	t.Helper()
	fill(reflect.ValueOf(in).Elem(), func() string {
		if err := models.Check("iam", operation, in); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := models.Check("iam", operation, in); err != nil {
		t.Fatalf("%s: no sample: %v", operation, err)
	}
}

// fill sets the members of a structure that the check complains of.
func fill(v reflect.Value, check func() string) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		blamed := regexp.MustCompile(`['.](?i:` + name + `)['.]`)
		wrong := func() bool { return blamed.MatchString(check()) }
		if !wrong() && samples[name] == "" || !f.CanSet() {
			continue
		}
		switch f.Kind() {
		case reflect.String:
			for _, c := range append([]string{samples[name]}, candidates...) {
				if f.SetString(c); c != "" && !wrong() {
					break
				}
			}
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			if one := f.Index(0); one.Kind() == reflect.String {
				for _, c := range candidates {
					if one.SetString(c); !wrong() {
						break
					}
				}
			} else {
				fill(one, check)
			}
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
			if f.Elem().Kind() == reflect.Int64 && wrong() {
				f.Elem().SetInt(3600)
			}
		}
	}
}

// TestEveryPermission holds that no operation is done for somebody who may do
// everything but it, and that whoever may do it alone gets past the question.
func TestEveryPermission(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		for _, op := range w.iam.Operations() {
			action := "iam:" + op.Name
			in := op.Input()
			sample(w, op.Name, in)
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
			usual := op.Input()
			sample(w, op.Name, usual)
			fields := reflect.TypeOf(usual).Elem()
			for i := range fields.NumField() {
				for _, text := range odd {
					in := op.Input()
					reflect.ValueOf(in).Elem().Set(reflect.ValueOf(usual).Elem())
					switch f := reflect.ValueOf(in).Elem().Field(i); {
					case f.Kind() == reflect.String:
						f.SetString(text)
					case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
						f.Set(reflect.ValueOf([]string{text}))
					default:
						continue
					}
					if models.Check("iam", op.Name, in) != nil {
						continue
					}
					if _, err := w.root.Invoke(ctx(), "iam", op.Name, in); code(err) == "ServiceFailure" {
						t.Errorf("%s with %s %q: %v", op.Name, fields.Field(i).Name, text, err)
					}
				}
			}
		}
	})
}
