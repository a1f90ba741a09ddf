// Package cloudformation is AWS CloudFormation: stacks, change sets and the
// resource types of sekisho's services. A stack operation is a job that walks
// the resources in the order of their dependencies and makes each of them
// through the typed client of its service, as the caller or as the stack's
// role. Every step is recorded before and after it is taken, so that an
// operation continues where a dying process left it.
package cloudformation

import (
	"context"
	"embed"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the tables of stacks.
func Schema() state.Schema { return state.Schema{Name: "cloudformation", Migrations: migrations} }

// principal is CloudFormation as it calls other services.
const principal = "cloudformation.amazonaws.com"

// jobKind is the kind of the jobs that carry out stack operations.
const jobKind = "cloudformation/stack"

// Service is AWS CloudFormation.
type Service struct {
	db    *state.DB
	door  call.Door
	box   *seal.Box
	types map[string]kind
	log   *slog.Logger
	now   func() time.Time
	hold  time.Duration
	seq   atomic.Int64
}

// Options are the optional parts of a service; the zero value works.
type Options struct {
	// Log receives what is our own trouble; nil means slog.Default.
	Log *slog.Logger
	// Now is the clock of stack operations; nil means time.Now.
	Now func() time.Time
	// Hold is how long an answer that starts a stack operation waits for the
	// operation to end. AWS's waiters look once and then sleep for half a
	// minute; a short wait here spares them that. 0 means 2 s, less than 0
	// not to wait.
	Hold time.Duration
}

// New returns the service and registers its jobs. box seals templates'
// parameters and attributes at rest.
func New(db *state.DB, jobs *job.Queue, door call.Door, box *seal.Box, o Options) *Service {
	s := &Service{db: db, door: door, box: box, log: o.Log, now: o.Now, hold: o.Hold}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.hold == 0 {
		s.hold = 2 * time.Second
	}
	s.types = s.kinds()
	jobs.Handle(jobKind, s.work)
	return s
}

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("CreateStack", s.createStackNeeds, s.createStack),
		call.Op("UpdateStack", s.updateStackNeeds, s.updateStack),
		call.Op("DeleteStack", s.deleteStackNeeds, s.deleteStack),
		call.Op("CancelUpdateStack", s.cancelUpdateStackNeeds, s.cancelUpdateStack),
		call.Op("ContinueUpdateRollback", s.continueUpdateRollbackNeeds, s.continueUpdateRollback),
		call.Op("RollbackStack", s.rollbackStackNeeds, s.rollbackStack),
		call.Op("UpdateTerminationProtection", s.updateTerminationProtectionNeeds, s.updateTerminationProtection),

		call.Op("DescribeStacks", s.describeStacksNeeds, s.describeStacks),
		call.Op("ListStacks", s.listStacksNeeds, s.listStacks),
		call.Op("DescribeStackEvents", s.describeStackEventsNeeds, s.describeStackEvents),
		call.Op("DescribeStackResource", s.describeStackResourceNeeds, s.describeStackResource),
		call.Op("DescribeStackResources", s.describeStackResourcesNeeds, s.describeStackResources),
		call.Op("ListStackResources", s.listStackResourcesNeeds, s.listStackResources),
		call.Op("ListExports", s.listExportsNeeds, s.listExports),
		call.Op("ListImports", s.listImportsNeeds, s.listImports),

		call.Op("GetTemplate", s.getTemplateNeeds, s.getTemplate),
		call.Op("GetTemplateSummary", s.getTemplateSummaryNeeds, s.getTemplateSummary),
		call.Op("ValidateTemplate", s.validateTemplateNeeds, s.validateTemplate),

		call.Op("CreateChangeSet", s.createChangeSetNeeds, s.createChangeSet),
		call.Op("DescribeChangeSet", s.describeChangeSetNeeds, s.describeChangeSet),
		call.Op("ListChangeSets", s.listChangeSetsNeeds, s.listChangeSets),
		call.Op("DeleteChangeSet", s.deleteChangeSetNeeds, s.deleteChangeSet),
		call.Op("ExecuteChangeSet", s.executeChangeSetNeeds, s.executeChangeSet),
	}
}

func validation(format string, args ...any) *aws.Error {
	return aws.Errorf("ValidationError", format, args...)
}

// schema answers for resource types as package cfn asks.
func (s *Service) schema(name string) (cfn.Schema, bool) {
	k, ok := s.types[name]
	return k.schema, ok
}

// sequence orders events.
func (s *Service) sequence(now time.Time) int64 {
	for {
		last, next := s.seq.Load(), now.UnixNano()
		if next <= last {
			next = last + 1
		}
		if s.seq.CompareAndSwap(last, next) {
			return next
		}
	}
}

// settled waits a moment for a stack operation to end. Whoever does not wait
// misses nothing: the operation goes on.
func (s *Service) settled(ctx context.Context, stackID string) {
	if s.hold < 0 {
		return
	}
	changed, stop := s.db.Listen(topic(stackID))
	defer stop()
	timer := time.NewTimer(s.hold)
	defer timer.Stop()
	for {
		st, err := s.stackByID(ctx, stackID)
		if err != nil || !st.busy() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func topic(stackID string) string { return "cloudformation " + stackID }
