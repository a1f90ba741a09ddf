package organizations

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
)

func samples(w *world) servicetest.Sampler {
	return servicetest.Sampler{
		Service: "organizations",
		Values: map[string]string{
			"AccountId": "222222222222", "RootId": w.root, "ParentId": w.root, "SourceParentId": w.root, "DestinationParentId": w.root,
			"ChildId": "222222222222", "PolicyId": "p-0123456789", "TargetId": "222222222222", "ResourceId": "222222222222",
			"OrganizationalUnitId": "ou-abcd-01234567", "HandshakeId": "h-0123456789", "CreateAccountRequestId": "car-01234567",
			"Email": "a@b.example", "Id": "444444444444",
		},
		Candidates: []string{"name", "SERVICE_CONTROL_POLICY", "TAG_POLICY", "ACCOUNT", everything},
	}
}

// TestEveryPermission holds that no operation is done for somebody who may do
// everything but it, and that whoever may do it alone gets past the question.
func TestEveryPermission(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		s := samples(w)
		for _, op := range e.Door.Operations()["organizations"] {
			action := "organizations:" + op.Name
			in := op.Input()
			s.Fill(e.T, op.Name, in)
			ask := func(who string) error {
				_, err := e.As(who+"@111111111111").Invoke(e.T.Context(), "organizations", op.Name, in)
				return err
			}
			e.Grant("all-but-"+op.Name+"@111111111111", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"`+action+`","Resource":"*"}}`)
			if err := ask("all-but-" + op.Name); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "perform: "+action+" ") {
				e.T.Errorf("%s without its permission: %v", op.Name, err)
			}
			if op.Name == "DeleteOrganization" {
				continue // the others need it
			}
			e.Grant("only-"+op.Name+"@111111111111", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"`+action+`","Resource":"*"}}`)
			if err := ask("only-" + op.Name); err != nil && strings.Contains(err.Error(), "is not authorized to perform") {
				e.T.Errorf("%s with its permission: %v", op.Name, err)
			}
		}
	}, Schema(), iam.Schema())
}

// TestOddInputs holds that no text that the model takes, however odd, is
// trouble of our own.
func TestOddInputs(t *testing.T) {
	odd := []string{"\x00", "a\xff", "p-\x00", "h-\x00", "ou-\x00", "AA", "_w", `"`, strings.Repeat("é", 300)}
	servicetest.Each(t, func(e *servicetest.Env) {
		w := newWorld(e)
		s := samples(w)
		root := e.As("root@111111111111")
		for _, op := range e.Door.Operations()["organizations"] {
			s.Odd(e.T, op.Name, op.Input, odd, func(in any, member, text string) {
				if _, err := root.Invoke(e.T.Context(), "organizations", op.Name, in); code(err) == "ServiceException" {
					e.T.Errorf("%s with %s %q: %v", op.Name, member, text, err)
				}
			})
		}
	}, Schema(), iam.Schema())
}
