package events

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/internal/call"
)

// ForwardEventInput is the input of ForwardEvent: an event that a rule of
// another bus forwards, as it is.
type ForwardEventInput struct {
	EventBusName string     `aws:"EventBusName,required"` // the receiving bus's ARN
	DeliveryId   string     `aws:"DeliveryId,required"`
	EventId      string     `aws:"EventId,required"`
	Account      string     `aws:"Account,required"`
	Region       string     `aws:"Region,required"`
	Source       string     `aws:"Source,required"`
	DetailType   string     `aws:"DetailType,required"`
	Time         *time.Time `aws:"Time,required"`
	Resources    []string   `aws:"Resources"`
	Detail       string     `aws:"Detail,required"`
}

// ForwardEventOutput is the output of ForwardEvent.
type ForwardEventOutput struct {
	EventId string `aws:"EventId"`
}

// ForwardEvent invokes the operation ForwardEvent, which AWS performs without
// a public name: it is PutEvents by a rule whose target is a bus, and keeps
// the event's account, region, id and time.
func (c Client) ForwardEvent(ctx context.Context, in *ForwardEventInput) (*ForwardEventOutput, error) {
	return call.Invoke[ForwardEventOutput](ctx, c.Invoker, "events", "ForwardEvent", in)
}

// PutStatementInput is the input of PutStatement: one statement of a bus's
// policy.
type PutStatementInput struct {
	EventBusName string `aws:"EventBusName"` // name or ARN; empty means the default bus
	StatementId  string `aws:"StatementId,required"`
	Statement    string `aws:"Statement,required"` // a JSON object; its Sid becomes StatementId
}

// PutStatementOutput is the output of PutStatement.
type PutStatementOutput struct{}

// PutStatement invokes the operation PutStatement, which has no public name:
// it is PutPermission of one statement in any form, and leaves the policy's
// other statements as they are. AWS's PutPermission takes only the simplest
// statements one by one; any other means replacing the whole policy, and with
// it what someone else put there in between.
func (c Client) PutStatement(ctx context.Context, in *PutStatementInput) (*PutStatementOutput, error) {
	return call.Invoke[PutStatementOutput](ctx, c.Invoker, "events", "PutStatement", in)
}
