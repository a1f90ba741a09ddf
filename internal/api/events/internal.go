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
