package sekisho

import (
	"context"
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// tenants are the server's accounts, as Organizations asks for them.
type tenants struct{ s *Server }

// AccountName returns what an account is called, and whether there is one.
func (t tenants) AccountName(ctx context.Context, id string) (string, bool, error) {
	return t.s.iam.AccountName(ctx, id)
}

// MakeAccount makes the account of an id, and writes down its key like that of
// every account. Names of Organizations may be any text and need not be
// unique; those of accounts here are profiles of the credentials file: what
// cannot be in one becomes a dash, and a name that another account has gets
// the id behind it.
func (t tenants) MakeAccount(ctx context.Context, name, id string) error {
	if has, ok, err := t.AccountName(ctx, id); err != nil {
		return err
	} else if ok {
		name = has // made before
	}
	word := strings.Join(strings.FieldsFunc(name, odd), "-")
	_, err := t.s.iam.CreateAccount(ctx, word, id)
	if e, refused := errors.AsType[*aws.Error](err); refused && e.Code == "InvalidAccount" {
		_, err = t.s.iam.CreateAccount(ctx, strings.TrimPrefix(word+"-"+id, "-"), id)
	}
	if err != nil {
		return err
	}
	return t.s.writeCredentials(ctx)
}
