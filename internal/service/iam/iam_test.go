package iam_test

import (
	"context"
	"testing"

	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
)

// TestScripts runs testdata/*.txtar in two accounts, 111111111111 (one) and
// 222222222222 (two).
func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) {
		e.Door.Serve("iam", newIAM(e, iam.Options{}).Operations())
	}, iam.Schema())
}

// newIAM is IAM whose passwords cost little. TestPasswordsAreHashedSlowly has
// them at full strength.
func newIAM(e *servicetest.Env, o iam.Options) *iam.Service {
	s := fullIAM(e, o)
	s.Hasten()
	return s
}

func fullIAM(e *servicetest.Env, o iam.Options) *iam.Service {
	o.Now = e.Now
	s := iam.New(e.DB, e.Master, o)
	for id, name := range map[string]string{"111111111111": "one", "222222222222": "two"} {
		if _, err := s.CreateAccount(context.Background(), name, id); err != nil {
			e.T.Fatal(err)
		}
	}
	e.People = s
	return s
}
