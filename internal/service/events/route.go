package events

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/eventpattern"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

const jobDeliver = "events/deliver"

// delivery is one event for one target: the payload of its job. The target is
// as it was when the event matched.
type delivery struct {
	ID       string
	RuleARN  string
	Target   target
	Event    aws.Event
	Ingested time.Time
}

// What became of a delivery.
const (
	// Pending deliveries are under way or wait for their next attempt.
	Pending = "PENDING"
	// Delivered means that the target accepted the event.
	Delivered = "DELIVERED"
	// Failed means that the event became a dead letter.
	Failed = "FAILED"
	// Skipped means that the rule matched and there was nothing to deliver to:
	// it has no target, or the target is a third bus.
	Skipped = "SKIPPED"
)

// candidate is a rule of a bus.
type candidate struct {
	Name    string `db:"name"`
	Pattern string `db:"pattern"`
}

// route matches an event of the outbox with the rules of its bus, and makes a
// job of each target.
func (s *Service) route(ctx context.Context, tx *state.Tx, e aws.Event) error {
	bus := busRef{e.Account, e.Region, defaultBus}
	if e.Bus != "" {
		b, ok := busFromARN(e.Bus)
		if !ok {
			slog.ErrorContext(ctx, "event for no bus", "event", e.ID, "bus", e.Bus)
			return nil
		}
		bus = b
	}
	rules, err := state.List[candidate](ctx, tx, `
		SELECT name, pattern FROM events_rule WHERE account = $1 AND region = $2 AND bus = $3 AND state <> 'DISABLED' ORDER BY name`,
		bus.account, bus.region, bus.name)
	if err != nil || len(rules) == 0 {
		return err
	}
	text, err := e.MarshalEnvelope()
	if err != nil {
		return err
	}
	parsed, err := eventpattern.ParseEvent(text)
	if err != nil {
		return err
	}
	for _, r := range rules {
		p, err := s.patterns.get(r.Pattern)
		if err != nil {
			return err
		}
		if !p.Matches(parsed) {
			continue
		}
		if err := s.dispatch(ctx, tx, e, ruleRef{bus, r.Name}); err != nil {
			return err
		}
	}
	return nil
}

// dispatch records that a rule matched, and enqueues the deliveries to its
// targets.
func (s *Service) dispatch(ctx context.Context, tx *state.Tx, e aws.Event, rule ruleRef) error {
	targets, err := targetsOf(ctx, tx, rule)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		d := delivery{ID: aws.NewUUID(), RuleARN: rule.arn(), Event: e, Ingested: s.now().UTC()}
		return d.skip(ctx, tx, "The rule has no target.")
	}
	for _, id := range slices.Sorted(maps.Keys(targets)) {
		d := delivery{ID: aws.NewUUID(), RuleARN: rule.arn(), Target: targets[id], Event: e, Ingested: s.now().UTC()}
		if _, isBus := busFromARN(d.Target.ARN); isBus && e.Hops > 0 {
			err = d.skip(ctx, tx, "The event came from another event bus: EventBridge does not forward it to a third one.")
		} else if err = d.row().insert(ctx, tx); err == nil {
			err = job.Enqueue(ctx, tx, job.New{Kind: jobDeliver, Payload: d})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skip records a delivery that will not be attempted.
func (d *delivery) skip(ctx context.Context, tx *state.Tx, why string) error {
	row := d.row()
	row.State, row.ErrorMessage = Skipped, why
	return row.insert(ctx, tx)
}

// row is the record of the delivery at its beginning.
func (d *delivery) row() Delivery {
	return Delivery{
		ID: d.ID, Trace: d.Event.Trace, EventID: d.Event.ID, Source: d.Event.Source, DetailType: d.Event.DetailType,
		BusARN: d.busARN(), RuleARN: d.RuleARN, TargetID: d.Target.ID, TargetARN: d.Target.ARN, RoleARN: d.Target.Role,
		State: Pending, Created: d.Ingested, Updated: d.Ingested,
	}
}

func (d *delivery) busARN() string {
	r, _ := ruleFromARN(d.RuleARN)
	return r.bus.arn()
}
