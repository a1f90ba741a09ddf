package events

import (
	"context"
	"embed"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/eventpattern"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// principal is EventBridge as roles and policies name it.
const principal = "events.amazonaws.com"

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the tables of the service.
func Schema() state.Schema { return state.Schema{Name: "events", Migrations: migrations} }

// Service is EventBridge.
type Service struct {
	db       *state.DB
	door     call.Door
	now      func() time.Time
	patterns cache[*eventpattern.Pattern]
	policies cache[*policy.Document]
	// principals is whom the policies of buses can name.
	principals policy.Directory
}

// Options are the optional parts of the service.
type Options struct {
	// Now is the clock of deliveries; nil means time.Now.
	Now func() time.Time
}

// New returns the service. It registers its jobs with queue, and delivers
// while Run runs.
func New(db *state.DB, door call.Door, queue *job.Queue, principals policy.Directory, o Options) *Service {
	s := &Service{db: db, door: door, now: o.Now, principals: principals}
	if s.now == nil {
		s.now = time.Now
	}
	s.patterns.make = eventpattern.Parse
	s.policies.make = func(text string) (*policy.Document, error) { return policy.Parse(text, policy.Resource) }
	queue.Handle(jobDeliver, s.carryOut)
	queue.Handle(jobPrune, s.prune)
	return s
}

// Run takes events from the outbox to their rules until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.schedulePruning(ctx) })
	g.Go(func() error { return s.db.Deliver(ctx, s.route) })
	return g.Wait()
}

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.PublicOp("PutEvents", "each entry is judged by the bus it is for", s.putEvents),
		call.Op("ForwardEvent", s.forwardEventNeeds, s.forwardEvent),
		call.Op("TestEventPattern", s.testEventPatternNeeds, s.testEventPattern),

		call.Op("CreateEventBus", s.createEventBusNeeds, s.createEventBus),
		call.Op("DeleteEventBus", s.deleteEventBusNeeds, s.deleteEventBus),
		call.Op("DescribeEventBus", s.describeEventBusNeeds, s.describeEventBus),
		call.Op("ListEventBuses", s.listEventBusesNeeds, s.listEventBuses),
		call.Op("UpdateEventBus", s.updateEventBusNeeds, s.updateEventBus),
		call.Op("PutPermission", s.putPermissionNeeds, s.putPermission),
		call.Op("PutStatement", s.putStatementNeeds, s.putStatement),
		call.Op("RemovePermission", s.removePermissionNeeds, s.removePermission),

		call.Op("PutRule", s.putRuleNeeds, s.putRule),
		call.Op("DeleteRule", s.deleteRuleNeeds, s.deleteRule),
		call.Op("DescribeRule", s.describeRuleNeeds, s.describeRule),
		call.Op("EnableRule", s.enableRuleNeeds, s.enableRule),
		call.Op("DisableRule", s.disableRuleNeeds, s.disableRule),
		call.Op("ListRules", s.listRulesNeeds, s.listRules),
		call.Op("ListRuleNamesByTarget", s.listRuleNamesByTargetNeeds, s.listRuleNamesByTarget),

		call.Op("PutTargets", s.putTargetsNeeds, s.putTargets),
		call.Op("RemoveTargets", s.removeTargetsNeeds, s.removeTargets),
		call.Op("ListTargetsByRule", s.listTargetsByRuleNeeds, s.listTargetsByRule),

		call.Op("TagResource", s.tagResourceNeeds, s.tagResource),
		call.Op("UntagResource", s.untagResourceNeeds, s.untagResource),
		call.Op("ListTagsForResource", s.listTagsForResourceNeeds, s.listTagsForResource),
	}
}

// cache keeps what was made from texts. What a text means never changes, so
// nothing has to be invalidated.
type cache[T any] struct {
	make func(text string) (T, error)
	mu   sync.Mutex
	made map[string]T
}

// maxCached bounds a cache; beyond it, it starts anew.
const maxCached = 10_000

func (c *cache[T]) get(text string) (T, error) {
	c.mu.Lock()
	v, ok := c.made[text]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := c.make(text)
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil || len(c.made) >= maxCached {
		c.made = map[string]T{}
	}
	c.made[text] = v
	return v, nil
}
