package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/eventpattern"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

// maxRequest is how large the entries of one PutEvents may be together.
const maxRequest = 256 << 10

// putEvents puts entries on their buses, each if it may. When none may, the
// whole call is refused.
func (s *Service) putEvents(ctx context.Context, c *call.Call, in *api.PutEventsInput) (*api.PutEventsOutput, error) {
	if in.EndpointId != "" {
		return nil, notImplemented("PutEvents to a global endpoint")
	}
	size := 0
	for _, e := range in.Entries {
		size += entrySize(e)
	}
	if size > maxRequest {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	results := make([]api.PutEventsResultEntry, len(in.Entries))
	var accepted []aws.Event
	var denied []*aws.Error
	failed := 0
	for i, entry := range in.Entries {
		event, lost, err := s.admit(ctx, c, entry)
		if err == nil {
			results[i].EventId = event.ID
			if !lost {
				accepted = append(accepted, event)
			}
			continue
		}
		refusal, ok := errors.AsType[*aws.Error](err)
		if !ok {
			return nil, err
		}
		failed++
		results[i] = api.PutEventsResultEntry{ErrorCode: refusal.Code, ErrorMessage: refusal.Message}
		if refusal.Code == "AccessDeniedException" {
			denied = append(denied, refusal)
		}
	}
	if len(denied) > 0 && len(denied) == len(in.Entries) {
		return nil, denied[0]
	}
	if err := s.emit(ctx, accepted); err != nil {
		return nil, err
	}
	return &api.PutEventsOutput{FailedEntryCount: new(int64(failed)), Entries: results}, nil
}

func (s *Service) emit(ctx context.Context, events []aws.Event) error {
	if len(events) == 0 {
		return nil
	}
	// Soon enough: the record of the call waits for the disk, and so for this.
	return s.db.UpdateSoon(ctx, func(tx *state.Tx) error {
		for _, e := range events {
			if err := tx.Emit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// entrySize counts as AWS counts.
func entrySize(e api.PutEventsRequestEntry) int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != nil {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// admit judges one entry and makes the event of it. lost says that its bus
// does not exist: AWS answers with an id all the same.
func (s *Service) admit(ctx context.Context, c *call.Call, in api.PutEventsRequestEntry) (e aws.Event, lost bool, err error) {
	if err := checkEntry(in); err != nil {
		return e, false, err
	}
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return e, false, aws.Errorf("InvalidArgument", "Parameter EventBusName is not valid. Reason: Provided Arn is not in correct format.")
	}
	n, exists, err := s.needOf(ctx, ref, "events:PutEvents", eventKeys(in.Source, in.DetailType, false))
	if err != nil {
		return e, false, err
	}
	if err := c.Allowed(ctx, n); err != nil {
		return e, false, err
	}
	e = aws.Event{
		ID: c.NewID(), Account: c.Account(), Region: c.Region, Source: in.Source, DetailType: in.DetailType, Time: c.Time,
		Resources: in.Resources, Detail: json.RawMessage(in.Detail), Bus: ref.arn(), Trace: c.Trace,
	}
	if in.Time != nil {
		e.Time = *in.Time
	}
	return e, !exists, nil
}

func checkEntry(in api.PutEventsRequestEntry) error {
	for _, field := range []struct{ name, value string }{
		{"Source", in.Source}, {"DetailType", in.DetailType}, {"Detail", in.Detail},
	} {
		if field.value == "" {
			return aws.Errorf("InvalidArgument", "Parameter %s is not valid. Reason: %s is a required argument.", field.name, field.name)
		}
	}
	switch {
	case len(in.DetailType) > 128:
		return aws.Errorf("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType must have at most 128 characters.")
	case strings.HasPrefix(strings.ToLower(in.Source), "aws."):
		return aws.Errorf("NotAuthorizedForSourceException", "Not authorized for the source.")
	case !isObject(in.Detail):
		return aws.Errorf("MalformedDetail", "Detail is malformed.")
	}
	return nil
}

// isObject reports whether text is a JSON object that patterns can be matched
// against.
func isObject(text string) bool {
	_, err := eventpattern.ParseEvent([]byte(text))
	return err == nil && json.Valid([]byte(text))
}

// eventKeys are the condition keys of an event on its way to a bus.
func eventKeys(source, detailType string, fromBus bool) policy.Keys {
	keys := policy.Keys{
		"events:source":             {source},
		"events:detail-type":        {detailType},
		"events:eventbusinvocation": {"false"},
	}
	if fromBus {
		keys["events:eventbusinvocation"] = []string{"true"}
	}
	return keys
}

func (s *Service) forwardEventNeeds(ctx context.Context, c *call.Call, in *api.ForwardEventInput) ([]call.Need, error) {
	// Only a rule forwards: nobody comes from the network on behalf of one.
	if _, isRule := ruleFromARN(c.SourceARN); !isRule || c.SourceIP != principal {
		return nil, aws.Errorf("UnknownOperationException", "ForwardEvent is no operation of EventBridge.")
	}
	ref, ok := busFromARN(in.EventBusName)
	if !ok {
		return nil, invalid("Parameter EventBusName is not valid. Reason: Provided Arn is not in correct format.")
	}
	n, _, err := s.needOf(ctx, ref, "events:PutEvents", eventKeys(in.Source, in.DetailType, true))
	return []call.Need{n}, err
}

// forwardEvent puts another bus's event on a bus, unchanged, and once however
// often it is delivered.
func (s *Service) forwardEvent(ctx context.Context, c *call.Call, in *api.ForwardEventInput) (*api.ForwardEventOutput, error) {
	ref, ok := busFromARN(in.EventBusName)
	if !ok || in.Time == nil || !isObject(in.Detail) {
		return nil, invalid("The event is not valid.")
	}
	e := aws.Event{
		ID: in.EventId, Account: in.Account, Region: in.Region, Source: in.Source, DetailType: in.DetailType, Time: *in.Time,
		Resources: in.Resources, Detail: json.RawMessage(in.Detail), Bus: ref.arn(), Hops: 1, Trace: c.Trace,
	}
	// Soon enough: the record of the call waits for the disk, and so for this.
	return &api.ForwardEventOutput{EventId: in.EventId}, s.db.UpdateSoon(ctx, func(tx *state.Tx) error {
		if _, err := findBus(ctx, tx, ref); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `INSERT INTO events_accepted (delivery, created) VALUES ($1, $2) ON CONFLICT (delivery) DO NOTHING`, in.DeliveryId, c.Time)
		if err != nil || n == 0 {
			return err
		}
		return tx.Emit(ctx, e)
	})
}

func (s *Service) testEventPatternNeeds(context.Context, *call.Call, *api.TestEventPatternInput) ([]call.Need, error) {
	return []call.Need{{Action: "events:TestEventPattern", Resource: "*"}}, nil
}

func (s *Service) testEventPattern(_ context.Context, _ *call.Call, in *api.TestEventPatternInput) (*api.TestEventPatternOutput, error) {
	p, err := eventpattern.Parse(in.EventPattern)
	if err != nil {
		return nil, err
	}
	e, err := eventpattern.ParseEvent([]byte(in.Event))
	if err != nil {
		return nil, invalid("Parameter Event is not valid.")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(in.Event), &fields); err != nil {
		return nil, invalid("Parameter Event is not valid.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if v := fields[name]; v == nil || bytes.Equal(v, []byte("null")) {
			return nil, invalid("Parameter Event is not valid. Reason: the event must contain %s.", name)
		}
	}
	return &api.TestEventPatternOutput{Result: new(p.Matches(e))}, nil
}
