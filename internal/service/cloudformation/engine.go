package cloudformation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// The phases of an operation. What is recorded with the stack says which one
// it is in; each of them can be begun again and passes over what is done.
const (
	phaseApply    = "apply"    // make and change resources towards the target
	phaseRollback = "rollback" // turn changed resources back
	phaseCleanup  = "cleanup"  // delete what was replaced or left out
	phaseDelete   = "delete"   // delete everything
)

// payload is what a job of ours holds.
type payload struct {
	Stack, Op string
}

func enqueue(ctx context.Context, tx *state.Tx, st *stack) error {
	return job.Enqueue(ctx, tx, job.New{Kind: jobKind, Key: st.ID, Payload: payload{st.ID, st.Op.ID}})
}

// run is one stack operation being carried out.
type run struct {
	s   *Service
	job *job.Job
	st  *stack
	op  *operation

	// session is in whose name resources are made; refused is why there is
	// none.
	session call.Session
	refused error

	// secrets are not repeated in events.
	secrets []string

	mu   sync.Mutex
	rows map[string]*resource
}

// work carries out the operation that a stack is in the middle of.
func (s *Service) work(ctx context.Context, j *job.Job) error {
	var p payload
	if err := json.Unmarshal(j.Payload, &p); err != nil {
		return job.Dead(fmt.Errorf("payload: %w", err))
	}
	r := &run{s: s, job: j, rows: map[string]*resource{}}
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		if r.st, err = s.loadStack(ctx, tx, p.Stack); err != nil {
			return err
		}
		rows, err := s.resources(ctx, tx, p.Stack)
		for i := range rows {
			r.rows[rows[i].Logical] = &rows[i]
		}
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.st.Op == nil || r.st.Op.ID != p.Op || !r.st.busy() {
		return nil
	}
	r.op = r.st.Op
	r.secrets = noEcho(r.op.Target, &r.st.Def)
	r.session, r.refused = s.wear(ctx, r.op.Session, r.st.RoleARN, r.st.ID)
	err = r.carryOut(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, job.ErrLost) && j.Attempt >= j.MaxAttempts {
		s.log.ErrorContext(ctx, "stack operation given up", "stack", r.st.ID, "status", r.st.Status, "err", err)
		return r.abandon(ctx)
	}
	return err
}

// abandoned is where a stack ends whose operation our own trouble stops for
// good.
var abandoned = map[string]string{
	"CREATE_IN_PROGRESS":                           "CREATE_FAILED",
	"ROLLBACK_IN_PROGRESS":                         "ROLLBACK_FAILED",
	"DELETE_IN_PROGRESS":                           "DELETE_FAILED",
	"UPDATE_IN_PROGRESS":                           "UPDATE_FAILED",
	"UPDATE_ROLLBACK_IN_PROGRESS":                  "UPDATE_ROLLBACK_FAILED",
	"UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":          "UPDATE_COMPLETE",
	"UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}

// abandon ends an operation that cannot be carried out, so that its stack can
// be deleted or tried again.
func (r *run) abandon(ctx context.Context) error {
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := r.s.loadStack(ctx, tx, r.st.ID)
		if err != nil {
			return err
		}
		r.st, r.op = st, st.Op
		return r.end(ctx, tx, abandoned[st.Status], "Internal Failure")
	})
}

// carryOut goes from phase to phase until the operation is over.
func (r *run) carryOut(ctx context.Context) error {
	for r.st.busy() {
		var err error
		switch r.op.Phase {
		case phaseApply:
			err = r.apply(ctx)
		case phaseRollback:
			err = r.rollback(ctx)
		case phaseCleanup:
			err = r.cleanup(ctx)
		case phaseDelete:
			err = r.deleteAll(ctx)
		default:
			return fmt.Errorf("stack %s: unknown phase %q", r.st.ID, r.op.Phase)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wear returns the session of a stack operation: the caller's own, or that of
// the stack's role.
func (s *Service) wear(ctx context.Context, session call.Session, roleARN, stackID string) (call.Session, error) {
	if roleARN == "" {
		return session, nil
	}
	own := call.AsService(principal, session.Region, stackID).Within(session.Trace, session.Scope)
	own.BaseURL = session.BaseURL
	out, err := stsapi.Client{Invoker: s.door.As(own)}.AssumeRole(ctx, &stsapi.AssumeRoleInput{
		RoleArn: roleARN, RoleSessionName: "AWSCloudFormation",
	})
	if err != nil {
		return call.Session{}, roleRefused(roleARN, err)
	}
	cr := out.Credentials
	p, err := s.door.Identify(ctx, cr.AccessKeyId, cr.SecretAccessKey, cr.SessionToken)
	if err != nil {
		return call.Session{}, roleRefused(roleARN, err)
	}
	return own.Wearing(p), nil
}

func roleRefused(roleARN string, err error) error {
	var e *aws.Error
	if !errors.As(err, &e) {
		return err
	}
	return validation("Role %s is invalid or cannot be assumed", roleARN)
}

// instance binds a definition to the stack.
func (r *run) instance(ctx context.Context, d *definition) (*cfn.Instance, error) {
	t, err := cfn.Parse(d.Template)
	if err != nil {
		return nil, err
	}
	return t.Instance(r.s.env(ctx, r.st, d))
}

// env is what a stack's template is resolved for.
func (s *Service) env(ctx context.Context, st *stack, d *definition) cfn.Env {
	return cfn.Env{
		Account: st.Account, Region: st.Region, StackID: st.ID, StackName: st.Name,
		Parameters: d.Parameters, Tags: d.Tags, Types: s.schema,
		Import: func(name string) (value string, ok bool, err error) {
			err = s.db.View(ctx, func(tx *state.Tx) (err error) {
				value, err = state.Get[string](ctx, tx,
					`SELECT value FROM cloudformation_export WHERE account = $1 AND region = $2 AND name = $3`,
					st.Account, st.Region, name)
				return err
			})
			if errors.Is(err, state.ErrNotFound) {
				return "", false, nil
			}
			return value, err == nil, err
		},
	}
}

// Ref and Attribute answer for the resources that exist (cfn.Existing).
func (r *run) Ref(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return refOf(r.rows[id])
}

// Attribute returns an attribute of a resource that exists.
func (r *run) Attribute(id, name string) (*cfn.Node, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return attributeOf(r.rows[id], name)
}

func refOf(row *resource) (string, bool) {
	if row == nil || !row.exists() || row.Now.Physical == "" {
		return "", false
	}
	return row.Now.Physical, true
}

func attributeOf(row *resource, name string) (*cfn.Node, bool) {
	if _, ok := refOf(row); !ok {
		return nil, false
	}
	if v, ok := row.Now.Attributes[name]; ok {
		return cfn.Text(v), true
	}
	return nil, true
}

func (r *run) row(id string) *resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows[id]
}

// cancelled looks whether someone asked for the update to be given up.
func (r *run) cancelled(ctx context.Context) (bool, error) {
	st, err := r.s.stackByID(ctx, r.st.ID)
	if err != nil {
		return false, err
	}
	return st.Cancelled == r.op.ID, nil
}

// apply makes the stack's resources what the target says.
func (r *run) apply(ctx context.Context) error {
	if r.refused != nil {
		return r.fail(ctx, answer(r.refused))
	}
	in, err := r.instance(ctx, r.op.Target)
	if err == nil {
		var imports []string
		if imports, err = in.Imports(); err == nil {
			err = r.s.db.Update(ctx, func(tx *state.Tx) error { return r.s.addImports(ctx, tx, r.st, imports) })
		}
	}
	if err != nil {
		return r.fail(ctx, answer(err))
	}
	failed, err := walk(ctx, in.Active(), in.Needs, false, func(ctx context.Context, id string) (bool, error) {
		return r.applyOne(ctx, in, id)
	})
	if err != nil {
		return err
	}
	if r.timedOut(r.s.now()) {
		return r.fail(ctx, "Stack creation time exceeded the specified timeout. ")
	}
	if len(failed) > 0 {
		return r.fail(ctx, r.failedResources(failed))
	}
	outputs, err := in.OutputValues(r)
	if err != nil {
		return r.fail(ctx, answer(err))
	}
	return r.applied(ctx, in, outputs)
}

// answer is the text of an error as a stack's reason shows it.
func answer(err error) string {
	var e *aws.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return "Internal Failure"
}

// failedResources words why an operation failed, as AWS does.
func (r *run) failedResources(ids []string) string {
	var create, update []string
	for _, id := range ids {
		switch row := r.row(id); row.Status {
		case "UPDATE_FAILED":
			update = append(update, id)
		default:
			create = append(create, id)
		}
	}
	var text string
	if create != nil {
		text += "The following resource(s) failed to create: [" + strings.Join(create, ", ") + "]. "
	}
	if update != nil {
		text += "The following resource(s) failed to update: [" + strings.Join(update, ", ") + "]. "
	}
	return text
}

// applied records a target that was reached: its outputs, exports and
// imports.
func (r *run) applied(ctx context.Context, in *cfn.Instance, outputs []cfn.OutputValue) error {
	imports, err := in.Imports()
	if err != nil {
		return r.fail(ctx, answer(err))
	}
	previous := r.st.stackBody
	err = r.s.db.Update(ctx, func(tx *state.Tx) error {
		r.st.stackBody = previous
		switch now, err := r.s.loadStack(ctx, tx, r.st.ID); {
		case err != nil:
			return err
		case now.Cancelled == r.op.ID:
			return validation("User Initiated")
		}
		if err := r.s.export(ctx, tx, r.st, outputs); err != nil {
			return err
		}
		if err := r.s.setImports(ctx, tx, r.st, imports); err != nil {
			return err
		}
		now := r.s.now()
		r.st.Def, r.st.Outputs, r.st.Description = *r.op.Target, outputs, in.Description
		if r.op.Kind == "create" {
			return r.end(ctx, tx, "CREATE_COMPLETE", "")
		}
		r.op.Phase = phaseCleanup
		return r.s.setStatus(ctx, tx, r.st, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "", now)
	})
	var e *aws.Error
	if errors.As(err, &e) { // cancelled, or an export is taken or in use
		r.st.stackBody = previous
		r.op.Phase = phaseApply
		return r.fail(ctx, e.Message)
	}
	return err
}

// end brings the operation to its end in the transaction that records it.
func (r *run) end(ctx context.Context, tx *state.Tx, status, reason string) error {
	r.st.Op = r.op // a transaction may run twice
	now := r.s.now()
	if err := r.s.finishChangeSet(ctx, tx, r.op.ChangeSet, status); err != nil {
		return err
	}
	if err := r.s.setStatus(ctx, tx, r.st, status, reason, now); err != nil {
		return err
	}
	if !strings.HasSuffix(status, "_FAILED") {
		r.st.Op = nil
		if err := r.s.saveStack(ctx, tx, r.st); err != nil {
			return err
		}
	}
	return r.job.Finish(ctx, tx)
}

// fail turns to what has to happen when a target cannot be reached.
func (r *run) fail(ctx context.Context, reason string) error {
	if err := ctx.Err(); err != nil {
		return err // the process ends; the next one goes on
	}
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		now := r.s.now()
		switch {
		case r.op.OnFailure == "DO_NOTHING" && r.op.Kind == "create":
			return r.end(ctx, tx, "CREATE_FAILED", reason)
		case r.op.OnFailure == "DO_NOTHING":
			return r.end(ctx, tx, "UPDATE_FAILED", reason)
		case r.op.Kind == "update":
			r.op.Phase = phaseRollback
			return r.s.setStatus(ctx, tx, r.st, "UPDATE_ROLLBACK_IN_PROGRESS", reason, now)
		case r.op.OnFailure == "DELETE":
			r.op.Phase = phaseDelete
			return r.s.setStatus(ctx, tx, r.st, "DELETE_IN_PROGRESS", reason+"Delete requested by user.", now)
		}
		r.op.Phase = phaseDelete
		if !strings.HasSuffix(reason, " ") {
			reason += " "
		}
		return r.s.setStatus(ctx, tx, r.st, "ROLLBACK_IN_PROGRESS", reason+"Rollback requested by user.", now)
	})
}

// rollback turns the resources that an update changed back.
func (r *run) rollback(ctx context.Context) error {
	previous := r.op.Previous
	if previous == nil {
		previous = &r.st.Def
	}
	in, err := r.instance(ctx, previous)
	if err != nil {
		return r.unwound(ctx, nil, answer(err))
	}
	var ids []string
	for _, id := range in.Active() {
		if row := r.rows[id]; row != nil && (row.Before != nil || row.Pending != nil) {
			ids = append(ids, id)
		}
	}
	failed, err := walk(ctx, ids, in.Needs, true, r.restore)
	if err != nil {
		return err
	}
	reason := ""
	if failed != nil {
		reason = "The following resource(s) failed to update: [" + strings.Join(failed, ", ") + "]. "
	}
	return r.unwound(ctx, in, reason)
}

// unwound records the end of the turning back.
func (r *run) unwound(ctx context.Context, in *cfn.Instance, problem string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		if problem != "" {
			return r.end(ctx, tx, "UPDATE_ROLLBACK_FAILED", problem)
		}
		if r.op.Previous != nil {
			r.st.Def = *r.op.Previous
		}
		imports, err := in.Imports()
		if err == nil { // an export may be gone by now: the import stays recorded
			if err := r.s.setImports(ctx, tx, r.st, imports); err != nil {
				return err
			}
		}
		r.op.Phase = phaseCleanup
		return r.s.setStatus(ctx, tx, r.st, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "", r.s.now())
	})
}

// cleanup deletes what the stack no longer has: resources that were replaced
// or left out of the template. What cannot be deleted stays behind, as on
// AWS.
func (r *run) cleanup(ctx context.Context) error {
	in, err := r.instance(ctx, &r.st.Def)
	if err != nil { // it was applied a moment ago
		return fmt.Errorf("stack %s: %w", r.st.ID, err)
	}
	back := r.st.Status == "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(r.rows)) {
		if !in.Has(id) || len(r.rows[id].Trash) > 0 {
			ids = append(ids, id)
		}
	}
	if _, err := walk(ctx, ids, r.users(ctx), true, func(ctx context.Context, id string) (bool, error) {
		return true, r.discard(ctx, in, id, back)
	}); err != nil {
		return err
	}
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		for _, row := range r.rows {
			if row.Before == nil && row.Trash == nil && row.Pending == nil {
				continue
			}
			row.Before, row.Trash, row.Pending = nil, nil, nil
			if err := r.s.saveResource(ctx, tx, row); err != nil {
				return err
			}
		}
		if back {
			return r.end(ctx, tx, "UPDATE_ROLLBACK_COMPLETE", "")
		}
		return r.end(ctx, tx, "UPDATE_COMPLETE", "")
	})
}

// users returns what uses a resource, in both templates that its stack has
// seen: these have to go before it.
func (r *run) users(ctx context.Context) func(id string) []string {
	users := map[string][]string{}
	for _, d := range []*definition{&r.st.Def, r.op.Previous, r.op.Target} {
		if d == nil {
			continue
		}
		in, err := r.instance(ctx, d)
		if err != nil {
			continue
		}
		for _, id := range in.Active() {
			for _, need := range in.Needs(id) {
				if !slices.Contains(users[need], id) && !reaches(users, id, need) {
					users[need] = append(users[need], id)
				}
			}
		}
	}
	return func(id string) []string { return users[id] }
}

// reaches reports whether a uses b, so that b's using a would be a circle:
// two templates may depend in opposite directions.
func reaches(users map[string][]string, a, b string) bool {
	seen := map[string]bool{}
	var visit func(id string) bool
	visit = func(id string) bool {
		if id == b {
			return true
		}
		if seen[id] {
			return false
		}
		seen[id] = true
		return slices.ContainsFunc(users[id], visit)
	}
	return slices.ContainsFunc(users[a], visit)
}

// deleteAll deletes the stack's resources, for DeleteStack and for the
// rollback of a creation.
func (r *run) deleteAll(ctx context.Context) error {
	if r.refused != nil {
		return r.gone(ctx, answer(r.refused))
	}
	if err := r.exportsInUse(ctx); err != nil {
		var e *aws.Error
		if !errors.As(err, &e) {
			return err
		}
		return r.gone(ctx, e.Message)
	}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(r.rows)) {
		if r.rows[id].exists() {
			ids = append(ids, id)
		}
	}
	failed, err := walk(ctx, ids, r.users(ctx), true, r.deleteOne)
	if err != nil {
		return err
	}
	reason := ""
	if failed != nil {
		reason = "The following resource(s) failed to delete: [" + strings.Join(failed, ", ") + "]. "
	}
	return r.gone(ctx, reason)
}

func (r *run) exportsInUse(ctx context.Context) error {
	return r.s.db.View(ctx, func(tx *state.Tx) error { return r.s.exportsFree(ctx, tx, r.st) })
}

// gone records that a stack is deleted or rolled back, or could not be.
func (r *run) gone(ctx context.Context, problem string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	back := r.st.Status == "ROLLBACK_IN_PROGRESS"
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		switch {
		case problem != "" && back:
			return r.end(ctx, tx, "ROLLBACK_FAILED", problem)
		case problem != "":
			return r.end(ctx, tx, "DELETE_FAILED", problem)
		}
		if err := r.s.dropExchange(ctx, tx, r.st); err != nil {
			return err
		}
		r.st.Outputs = nil
		if back {
			return r.end(ctx, tx, "ROLLBACK_COMPLETE", "")
		}
		r.st.Live, r.st.Deleted = false, r.s.now()
		if err := r.s.dropChangeSets(ctx, tx, r.st.ID, ""); err != nil {
			return err
		}
		return r.end(ctx, tx, "DELETE_COMPLETE", "")
	})
}

// timedOut reports whether a creation took longer than its caller allowed.
func (r *run) timedOut(now time.Time) bool {
	return !r.op.Deadline.IsZero() && now.After(r.op.Deadline)
}
