package servicetest_test

import (
	"context"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/servicetest"
)

type sayInput struct{ Word string }
type sayOutput struct{ Word, By string }

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) {
		e.Door.Serve("echo", []call.Operation{call.Op("Say",
			func(_ context.Context, c *call.Call, in *sayInput) ([]call.Need, error) {
				return []call.Need{{Action: "echo:Say", Resource: aws.NewARN("echo", c.Region, c.Account(), "wall")}}, nil
			},
			func(_ context.Context, c *call.Call, in *sayInput) (*sayOutput, error) {
				if in.Word == "panic" {
					panic("asked for")
				}
				return &sayOutput{in.Word, c.Principal.ARN}, nil
			})})
	})
}
