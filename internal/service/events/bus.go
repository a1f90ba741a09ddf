package events

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

const (
	maxBuses  = 100
	maxPolicy = policy.MaxBus
)

// bus is a bus as it is stored.
type bus struct {
	Account     string    `db:"account"`
	Region      string    `db:"region"`
	Name        string    `db:"name"`
	Description string    `db:"description"`
	Policy      string    `db:"policy"`
	Created     time.Time `db:"created"`
	Modified    time.Time `db:"modified"`
}

func (b bus) ref() busRef { return busRef{b.Account, b.Region, b.Name} }

const busColumns = `account, region, name, description, policy, created, modified`

// findBus reads a bus. The default one is always there.
func findBus(ctx context.Context, tx *state.Tx, ref busRef) (bus, error) {
	b, err := state.Get[bus](ctx, tx, `SELECT `+busColumns+` FROM events_bus WHERE account = $1 AND region = $2 AND name = $3`,
		ref.account, ref.region, ref.name)
	if !errors.Is(err, state.ErrNotFound) {
		return b, err
	}
	if ref.name != defaultBus {
		return bus{}, noBus(ref.name)
	}
	return bus{Account: ref.account, Region: ref.region, Name: ref.name}, nil
}

// save stores a bus; now is when it changed.
func (b bus) save(ctx context.Context, tx *state.Tx, now time.Time) error {
	if b.Created.IsZero() {
		b.Created = now
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO events_bus (`+busColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (account, region, name) DO UPDATE
		SET description = excluded.description, policy = excluded.policy, modified = excluded.modified`,
		b.Account, b.Region, b.Name, b.Description, b.Policy, b.Created, now)
	return err
}

// policyOf returns the policy of a bus; nil means none. A bus that does not
// exist has none. exists tells the two apart.
func (s *Service) policyOf(ctx context.Context, ref busRef) (p *policy.Source, exists bool, err error) {
	var b bus
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		b, err = findBus(ctx, tx, ref)
		return err
	})
	if _, isMissing := errors.AsType[*aws.Error](err); isMissing {
		return nil, false, nil
	}
	if err != nil || b.Policy == "" {
		return nil, err == nil, err
	}
	doc, err := s.policies.get(b.Policy)
	if err != nil {
		return nil, true, err
	}
	return &policy.Source{Kind: policy.Resource, On: ref.arn(), Doc: doc}, true, nil
}

// busNeed is the permission for an action on a bus.
func (s *Service) busNeed(ctx context.Context, c *call.Call, action, nameOrARN string, keys policy.Keys) ([]call.Need, error) {
	ref, err := busOf(c, nameOrARN)
	if err != nil {
		return nil, err
	}
	n, _, err := s.needOf(ctx, ref, action, keys)
	return []call.Need{n}, err
}

// needOf is the permission for an action on a bus, and whether the bus exists.
func (s *Service) needOf(ctx context.Context, ref busRef, action string, keys policy.Keys) (n call.Need, exists bool, err error) {
	n = call.Need{Action: action, Resource: ref.arn(), Keys: keys}
	if n.Policy, exists, err = s.policyOf(ctx, ref); err == nil {
		err = s.addResourceTags(ctx, &n)
	}
	return n, exists, err
}

func (s *Service) createEventBusNeeds(ctx context.Context, c *call.Call, in *api.CreateEventBusInput) ([]call.Need, error) {
	needs, err := s.busNeed(ctx, c, "events:CreateEventBus", in.Name, tagKeys(in.Tags))
	if err != nil || len(in.Tags) == 0 {
		return needs, err
	}
	tagging := needs[0]
	tagging.Action = "events:TagResource"
	return append(needs, tagging), nil
}

func (s *Service) createEventBus(ctx context.Context, c *call.Call, in *api.CreateEventBusInput) (*api.CreateEventBusOutput, error) {
	if err := refuseBusParts(in.KmsKeyIdentifier, in.DeadLetterConfig, in.LogConfig); err != nil {
		return nil, err
	}
	if in.EventSourceName != "" || strings.HasPrefix(in.Name, "aws.partner/") {
		return nil, notImplemented("An event bus of a partner event source")
	}
	if in.Name == "" || strings.Contains(in.Name, "/") {
		return nil, invalid("Event bus name must not contain '/'.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	b := bus{Account: c.Account(), Region: c.Region, Name: in.Name, Description: in.Description}
	err := s.db.Update(ctx, func(tx *state.Tx) error { return b.create(ctx, tx, c.Time, in.Tags) })
	if err != nil {
		return nil, err
	}
	return &api.CreateEventBusOutput{EventBusArn: b.ref().arn(), Description: in.Description}, nil
}

func (b bus) create(ctx context.Context, tx *state.Tx, now time.Time, tags []api.Tag) error {
	_, err := findBus(ctx, tx, b.ref())
	if err == nil {
		return aws.Errorf("ResourceAlreadyExistsException", "Event bus %s already exists.", b.Name)
	}
	if _, isMissing := errors.AsType[*aws.Error](err); !isMissing {
		return err
	}
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM events_bus WHERE account = $1 AND region = $2 AND name <> $3`, b.Account, b.Region, defaultBus)
	if err != nil {
		return err
	}
	if n >= maxBuses {
		return errLimit
	}
	if err := b.save(ctx, tx, now); err != nil {
		return err
	}
	return putTags(ctx, tx, b.ref().arn(), tags)
}

// refuseBusParts refuses by name what sekisho's buses do not have.
func refuseBusParts(key string, letters *api.DeadLetterConfig, log *api.LogConfig) error {
	switch {
	case key != "":
		return notImplemented("KmsKeyIdentifier of an event bus")
	case letters != nil && letters.Arn != "":
		return notImplemented("DeadLetterConfig with an SQS queue")
	case log != nil && log.Level != "" && log.Level != "OFF":
		return notImplemented("LogConfig of an event bus")
	}
	return nil
}

func (s *Service) deleteEventBusNeeds(ctx context.Context, c *call.Call, in *api.DeleteEventBusInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:DeleteEventBus", in.Name, nil)
}

// deleteEventBus removes a bus that has no rules. A bus that is not there is
// as good as deleted.
func (s *Service) deleteEventBus(ctx context.Context, c *call.Call, in *api.DeleteEventBusInput) (*api.DeleteEventBusOutput, error) {
	ref, err := busOf(c, in.Name)
	if err != nil {
		return nil, err
	}
	if ref.name == defaultBus {
		return nil, invalid("Cannot delete event bus default.")
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM events_rule WHERE account = $1 AND region = $2 AND bus = $3`, ref.account, ref.region, ref.name)
		if err != nil {
			return err
		}
		if n > 0 {
			return invalid("Event bus %s can't be deleted since it has rules.", ref.name)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM events_bus WHERE account = $1 AND region = $2 AND name = $3`, ref.account, ref.region, ref.name); err != nil {
			return err
		}
		return dropTags(ctx, tx, ref.arn())
	})
	return nil, err
}

func (s *Service) describeEventBusNeeds(ctx context.Context, c *call.Call, in *api.DescribeEventBusInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:DescribeEventBus", in.Name, nil)
}

func (s *Service) describeEventBus(ctx context.Context, c *call.Call, in *api.DescribeEventBusInput) (*api.DescribeEventBusOutput, error) {
	ref, err := busOf(c, in.Name)
	if err != nil {
		return nil, err
	}
	var b bus
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		b, err = findBus(ctx, tx, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	shown, err := policy.Show(ctx, b.Policy, s.principals)
	if err != nil {
		return nil, err
	}
	return &api.DescribeEventBusOutput{
		Name: b.Name, Arn: ref.arn(), Description: b.Description, Policy: shown,
		CreationTime: timeOrNil(b.Created), LastModifiedTime: timeOrNil(b.Modified),
	}, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Service) listEventBusesNeeds(_ context.Context, c *call.Call, _ *api.ListEventBusesInput) ([]call.Need, error) {
	return []call.Need{{Action: "events:ListEventBuses", Resource: busRef{c.Account(), c.Region, "*"}.arn()}}, nil
}

func (s *Service) listEventBuses(ctx context.Context, c *call.Call, in *api.ListEventBusesInput) (*api.ListEventBusesOutput, error) {
	p, err := pageOf(in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	var list []bus
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		list, err = state.List[bus](ctx, tx, `
			SELECT `+busColumns+` FROM events_bus
			WHERE account = $1 AND region = $2 AND name > $3 AND name >= $4 AND name < $5 ORDER BY name LIMIT $6`,
			c.Account(), c.Region, p.after, in.NamePrefix, prefixEnd(in.NamePrefix), p.limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	list, token := cut(p, withDefault(list, c, in.NamePrefix, p.after), func(b bus) string { return b.Name })
	out := &api.ListEventBusesOutput{EventBuses: []api.EventBus{}, NextToken: token}
	for _, b := range list {
		shown, err := policy.Show(ctx, b.Policy, s.principals)
		if err != nil {
			return nil, err
		}
		out.EventBuses = append(out.EventBuses, api.EventBus{
			Name: b.Name, Arn: b.ref().arn(), Description: b.Description, Policy: shown,
			CreationTime: timeOrNil(b.Created), LastModifiedTime: timeOrNil(b.Modified),
		})
	}
	return out, nil
}

// withDefault puts the default bus in its place where it has no row.
func withDefault(list []bus, c *call.Call, prefix, after string) []bus {
	if !strings.HasPrefix(defaultBus, prefix) || after >= defaultBus {
		return list
	}
	at := len(list)
	for i, b := range list {
		if b.Name == defaultBus {
			return list
		}
		if b.Name > defaultBus {
			at = i
			break
		}
	}
	out := append([]bus{}, list[:at]...)
	out = append(out, bus{Account: c.Account(), Region: c.Region, Name: defaultBus})
	return append(out, list[at:]...)
}

func (s *Service) updateEventBusNeeds(ctx context.Context, c *call.Call, in *api.UpdateEventBusInput) ([]call.Need, error) {
	return s.busNeed(ctx, c, "events:UpdateEventBus", in.Name, nil)
}

func (s *Service) updateEventBus(ctx context.Context, c *call.Call, in *api.UpdateEventBusInput) (*api.UpdateEventBusOutput, error) {
	if err := refuseBusParts(in.KmsKeyIdentifier, in.DeadLetterConfig, in.LogConfig); err != nil {
		return nil, err
	}
	ref, err := busOf(c, in.Name)
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		b, err := findBus(ctx, tx, ref)
		if err != nil {
			return err
		}
		b.Description = in.Description
		return b.save(ctx, tx, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateEventBusOutput{Arn: ref.arn(), Name: ref.name, Description: in.Description}, nil
}
