package codepipeline

import (
	"errors"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
)

// An action fails for what it is refused, not for sekisho's own trouble: that
// is an error of the job, which begins the action again.
func TestTroubleIsNoRefusal(t *testing.T) {
	for _, tt := range []struct {
		err  *aws.Error
		want bool // the action has failed
	}{
		{aws.Errorf("AccessDenied", "no").WithStatus(403), true},
		{aws.Errorf("NotImplemented", "not here").WithStatus(501), true},
		{aws.Errorf("InternalFailure", "the database is away").WithStatus(500), false},
		{aws.Errorf("KMSInternalException", "the database is away").WithStatus(500), false},
		{aws.Errorf("RequestTimeout", "the server ends").WithStatus(400), false},
	} {
		for name, err := range map[string]error{
			"a role":     refused(tt.err, "not authorized"),
			"a bucket":   s3Failure("artifacts", "it could not be read", tt.err),
			"repository": codecommitFailure("shop", "main", tt.err),
		} {
			if _, failed := errors.AsType[*failure](err); failed != tt.want {
				t.Errorf("%s, %s: %v", name, tt.err.Code, err)
			}
		}
	}
}
