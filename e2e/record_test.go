package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	smithy "github.com/aws/smithy-go/middleware"
)

// TestKilledServerKeepsTheRecord kills a server while clients read and write.
// After the next start the record has every call that was answered.
func TestKilledServerKeepsTheRecord(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		s := start(t, args...)
		for round := range 3 {
			api := s.account("repository")
			answered := answeredUntil(api, round, 300*time.Millisecond, s.kill)
			if len(answered) < 10 {
				t.Fatalf("only %d calls were answered", len(answered))
			}
			s.again()
			recorded := s.recorded("GetUser", "CreateUser")
			for id, name := range answered {
				if recorded[id] != name {
					t.Errorf("round %d: %s was answered, request %s, and is recorded as %q", round, name, id, recorded[id])
				}
			}
		}
	})
}

// answeredUntil makes users and reads them, side by side, until end has ended
// the server, and returns the operations that were answered by request id.
func answeredUntil(api *account, round int, after time.Duration, end func()) map[string]string {
	ctx, cancel := context.WithCancel(context.Background())
	answered := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	note := func(m smithy.Metadata, operation string) {
		if id, ok := middleware.GetRequestIDMetadata(m); ok {
			mu.Lock()
			answered[id] = operation
			mu.Unlock()
		}
	}
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := aws.String(fmt.Sprintf("u-%d-%d-%d", round, w, i))
				if made, err := api.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); err == nil {
					note(made.ResultMetadata, "CreateUser")
				}
				if got, err := api.iam.GetUser(ctx, &iam.GetUserInput{UserName: name}); err == nil {
					note(got.ResultMetadata, "GetUser")
				}
			}
		})
	}
	time.Sleep(after)
	end()
	cancel()
	wg.Wait()
	return answered
}

// recorded are the calls of some operations in the history of the repository's
// account: their names by request id.
func (s *server) recorded(operations ...string) map[string]string {
	s.t.Helper()
	config := s.config("repository")
	config.Region = "us-east-1" // where IAM is recorded
	api := cloudtrail.NewFromConfig(config)
	all := map[string]string{}
	for _, name := range operations {
		pages := cloudtrail.NewLookupEventsPaginator(api, &cloudtrail.LookupEventsInput{
			LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: cttypes.LookupAttributeKeyEventName, AttributeValue: &name}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(context.Background())
			if err != nil {
				s.t.Fatal(err)
			}
			for _, e := range page.Events {
				var shape struct{ RequestID, EventName string }
				if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &shape); err != nil {
					s.t.Fatal(err)
				}
				all[shape.RequestID] = shape.EventName
			}
		}
	}
	return all
}
