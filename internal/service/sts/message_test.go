package sts_test

import (
	"testing"

	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/token"
)

func TestDecodeAuthorizationMessage(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		box := e.Master.For("messages")
		e.Door.Serve("sts", sts.New(iam.New(e.DB, e.Master, iam.Options{}), e.Master.For(iam.TokenPurpose), sts.Options{Messages: box}).Operations())
		w := world{e.T, e, nil}
		sealed, err := token.SealMessage(box, one, []byte(`{"allowed":false}`))
		if err != nil {
			w.Fatal(err)
		}
		decode := func(who, text string) (string, error) {
			out, err := api.Client{Invoker: e.As(who)}.DecodeAuthorizationMessage(ctx(), &api.DecodeAuthorizationMessageInput{EncodedMessage: text})
			if err != nil {
				return "", err
			}
			return out.DecodedMessage, nil
		}
		if got, err := decode("root@"+one, sealed); got != `{"allowed":false}` || err != nil {
			w.Errorf("%s, %v", got, err)
		}
		_, err = decode("alice@"+one, sealed)
		w.refused("without the permission", err, "AccessDenied", "sts:DecodeAuthorizationMessage")
		e.Grant("alice@"+one, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:DecodeAuthorizationMessage","Resource":"*"}}`)
		if _, err := decode("alice@"+one, sealed); err != nil {
			w.Errorf("with the permission: %v", err)
		}
		_, err = decode("root@222222222222", sealed)
		w.refused("another account", err, "InvalidAuthorizationMessageException", "")
		_, err = decode("root@"+one, "nonsense")
		w.refused("nonsense", err, "InvalidAuthorizationMessageException", "")
	}, iam.Schema())
}
