package events_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/events"
)

// Statements that are put and removed at the same time, rules and targets too:
// nobody's are lost.
func TestAtOnce(t *testing.T) {
	each(t, func(w *world) {
		w.Grant("root@"+receiver, all("*", "*"))
		c, ctx := api.Client{Invoker: w.As("root@" + receiver)}, t.Context()
		const n = 12
		var wg sync.WaitGroup
		try := func(_ any, err error) {
			if err != nil {
				t.Error(err)
			}
		}
		try(c.PutRule(ctx, &api.PutRuleInput{Name: "shared", EventPattern: `{"source":["x"]}`}))
		for i := range n {
			sid := fmt.Sprintf("s%d", i)
			statement := `{"Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"*","Condition":{"StringEquals":{"events:source":"` + sid + `"}}}`
			wg.Go(func() {
				if i%2 == 0 {
					try(c.PutPermission(ctx, &api.PutPermissionInput{StatementId: sid, Action: "events:PutEvents", Principal: "222222222222"}))
				} else {
					try(c.PutStatement(ctx, &api.PutStatementInput{StatementId: sid, Statement: statement}))
				}
				if i%3 == 0 {
					try(c.RemovePermission(ctx, &api.RemovePermissionInput{StatementId: sid}))
				}
				try(c.PutRule(ctx, &api.PutRuleInput{Name: "r" + sid, EventPattern: `{"source":["x"]}`}))
			})
			wg.Go(func() { // more targets than a rule may have
				_, _ = c.PutTargets(ctx, &api.PutTargetsInput{Rule: "shared", Targets: []api.Target{
					{Id: sid, Arn: "arn:aws:events:us-east-1:" + receiver + ":event-bus/default"},
				}})
			})
		}
		wg.Wait()
		bus, err := c.DescribeEventBus(ctx, &api.DescribeEventBusInput{})
		try(bus, err)
		var doc struct{ Statement []struct{ Sid string } }
		if err := json.Unmarshal([]byte(bus.Policy), &doc); err != nil || len(doc.Statement) != n-n/3 {
			t.Errorf("%d statements, %v: %s", len(doc.Statement), err, bus.Policy)
		}
		rules, err := c.ListRules(ctx, &api.ListRulesInput{})
		if try(rules, err); len(rules.Rules) != n+1 {
			t.Errorf("%d rules", len(rules.Rules))
		}
		targets, err := c.ListTargetsByRule(ctx, &api.ListTargetsByRuleInput{Rule: "shared"})
		if try(targets, err); len(targets.Targets) != 5 {
			t.Errorf("%d targets", len(targets.Targets))
		}
	})
}
