package iam_test

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/internal/call"
)

// oneUse is a record in which every access key was used once.
type oneUse struct{}

func (oneUse) KeyUse(context.Context, string) (call.Use, bool, error) {
	return call.Use{Service: "s3", Action: "GetObject", Region: "eu-west-1", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, true, nil
}
