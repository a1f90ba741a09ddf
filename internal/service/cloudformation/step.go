package cloudformation

import (
	"context"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

// AWS's reasons for the steps of a resource.
const (
	initiated = "Resource creation Initiated"
	replacing = "Requested update requires the creation of a new physical resource; hence creating one."
)

// record saves a resource and, when status or reason are news, the event.
func (r *run) record(ctx context.Context, row *resource, status, reason string, properties *cfn.Node) error {
	return r.s.db.Update(ctx, func(tx *state.Tx) error {
		now := r.s.now()
		row.Status, row.Reason, row.Updated, row.Op = status, reason, now, r.op.ID
		if err := r.s.saveResource(ctx, tx, row); err != nil {
			return err
		}
		return r.event(ctx, tx, row, properties)
	})
}

// event records what just happened to a resource.
func (r *run) event(ctx context.Context, tx *state.Tx, row *resource, properties *cfn.Node) error {
	e := event{
		Stack: row.Stack, Logical: row.Logical, Physical: row.Physical, Type: row.Type, Status: row.Status,
		Reason: row.Reason, Token: r.op.Token, Op: r.op.ID, At: row.Updated,
		ID: row.Logical + "-" + row.Status + "-" + row.Updated.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if properties != nil {
		e.Properties = r.masked(properties)
	}
	if err := r.s.emit(ctx, tx, e); err != nil {
		return err
	}
	return r.s.announceResource(ctx, tx, r.st, e)
}

// masked is a resource's properties as events show them: parameters with
// NoEcho and secret access keys are not repeated.
func (r *run) masked(properties *cfn.Node) string {
	secrets := slices.Clone(r.secrets)
	r.mu.Lock()
	for _, row := range r.rows {
		if v := row.Now.Attributes["SecretAccessKey"]; v != "" {
			secrets = append(secrets, v)
		}
	}
	r.mu.Unlock()
	if secrets == nil {
		return string(properties.JSON())
	}
	return string(hide(properties, secrets).JSON())
}

// noEcho returns the values of the parameters of an operation that AWS does
// not repeat.
func noEcho(definitions ...*definition) []string {
	var secrets []string
	for _, d := range definitions {
		if d == nil {
			continue
		}
		t, err := cfn.Parse(d.Template)
		if err != nil {
			continue
		}
		for _, p := range t.Parameters {
			if v := d.Parameters[p.Name]; p.NoEcho && v != "" && !slices.Contains(secrets, v) {
				secrets = append(secrets, v)
			}
		}
	}
	return secrets
}

func hide(n *cfn.Node, secrets []string) *cfn.Node {
	out := &cfn.Node{Kind: n.Kind, Text: n.Text}
	for _, secret := range secrets {
		if strings.Contains(out.Text, secret) {
			out.Kind, out.Text = cfn.String, strings.ReplaceAll(out.Text, secret, "****")
		}
	}
	for _, item := range n.Items {
		out.Items = append(out.Items, hide(item, secrets))
	}
	for _, f := range n.Fields {
		out.Fields = append(out.Fields, cfn.Field{Key: f.Key, Value: hide(f.Value, secrets)})
	}
	return out
}

// add puts a resource among those of the run.
func (r *run) add(row *resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows[row.Logical] = row
}

// set changes a resource under the lock: others may be looking at it.
func (r *run) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// applyOne brings one resource to what the target says of it. It reports
// whether that worked.
func (r *run) applyOne(ctx context.Context, in *cfn.Instance, id string) (bool, error) {
	template, _ := in.Resource(id)
	row := r.row(id)
	if row != nil && row.Op == r.op.ID && strings.HasSuffix(row.Status, "_FAILED") {
		return false, nil // recorded before the process died
	}
	fresh := row == nil || !row.exists() || row.Now.Physical == "" && row.Pending == nil || row.Status == "CREATE_FAILED"
	if fresh && row != nil && row.Now.Physical != "" {
		// A creation that failed half-way and was kept: what there is of it
		// goes when the operation is over.
		row.Trash = append(row.Trash, row.Now)
	}
	if fresh {
		var trash []made
		if row != nil {
			trash = row.Trash
		}
		row = &resource{Stack: r.st.ID, Logical: id, Type: template.Type}
		row.Trash = trash
	}
	target, err := r.target(in, template)
	if err == nil {
		err = r.mayGoOn(ctx)
	}
	if err != nil {
		status := "UPDATE_FAILED"
		if fresh {
			status = "CREATE_FAILED"
			r.add(row)
		}
		return r.failed(ctx, row, status, err, "")
	}
	switch {
	case fresh:
		r.add(row)
		return r.create(ctx, row, target, false)
	case row.Pending != nil && row.Op == r.op.ID && row.Status == "CREATE_IN_PROGRESS":
		return r.create(ctx, row, target, true)
	}
	return r.modify(ctx, row, target)
}

// target resolves what a resource is to be.
func (r *run) target(in *cfn.Instance, t *cfn.Resource) (made, error) {
	m := made{DeletionPolicy: t.DeletionPolicy, UpdateReplacePolicy: t.UpdateReplacePolicy}
	var err error
	if m.Properties, err = in.Properties(t.ID, r); err != nil {
		return m, err
	}
	if m.Metadata, err = in.Metadata(t.ID, r); err != nil {
		return m, err
	}
	if m.Properties.HasUnknown() {
		return m, validation("Template error: resource %s depends on a value that does not exist", t.ID)
	}
	return m, nil
}

// mayGoOn refuses to begin more when the operation's time is over or someone
// asked for its end.
func (r *run) mayGoOn(ctx context.Context) error {
	if r.timedOut(r.s.now()) {
		return validation("Resource creation cancelled")
	}
	if r.op.Kind != "update" {
		return nil
	}
	cancelled, err := r.cancelled(ctx)
	if err != nil {
		return err
	}
	if cancelled {
		return validation("Resource update cancelled")
	}
	return nil
}

// failed records that a step failed, and why.
func (r *run) failed(ctx context.Context, row *resource, status string, err error, token string) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err() // the process ends; the step is taken up again
	}
	reason := r.s.reason(ctx, row, err, token)
	return false, r.record(ctx, row, status, reason, nil)
}

// create makes a resource that did not exist. resumed says that a process
// died over it: the resource may be there already.
func (r *run) create(ctx context.Context, row *resource, target made, resumed bool) (bool, error) {
	if !resumed {
		row.Pending = r.begin(row, target)
		if err := r.record(ctx, row, "CREATE_IN_PROGRESS", "", target.Properties); err != nil {
			return false, err
		}
	}
	q := r.request(row, target.Properties, resumed)
	q.made = func(ctx context.Context, physical string) error {
		if row.Now.Physical == physical {
			return nil
		}
		r.set(func() { row.Now.Physical, row.Now.Properties = physical, target.Properties })
		return r.record(ctx, row, "CREATE_IN_PROGRESS", initiated, target.Properties)
	}
	if err := r.call(ctx, q, maker.create); err != nil {
		return r.failed(ctx, row, "CREATE_FAILED", err, q.Token)
	}
	r.set(func() {
		target.Physical, target.Attributes = q.Physical, q.Attributes
		row.Now, row.Pending = target, nil
	})
	return true, r.record(ctx, row, "CREATE_COMPLETE", "", target.Properties)
}

func (r *run) begin(row *resource, target made) *pending {
	return &pending{
		Name: r.s.types[row.Type].nameFor(r.st, row.Logical, target.Properties), Token: aws.NewUUID(),
		Since: r.s.now(), Properties: target.Properties,
	}
}

// call makes the calls of a step in the operation's session.
func (r *run) call(ctx context.Context, q *request, step func(maker, context.Context, *request) error) error {
	if r.refused != nil {
		return r.refused
	}
	return step(r.s.types[q.Type].maker, ctx, q)
}

func (r *run) request(row *resource, properties *cfn.Node, resumed bool) *request {
	q := &request{
		Invoker: r.s.door.As(r.session), s: r.s, session: r.session, Stack: r.st, Type: row.Type, LogicalID: row.Logical,
		Physical: row.Now.Physical, Properties: properties, Before: row.Now.Properties,
		Attributes: map[string]string{}, Resumed: resumed,
		made: func(context.Context, string) error { return nil },
	}
	for k, v := range row.Now.Attributes {
		q.Attributes[k] = v
	}
	if p := row.Pending; p != nil {
		q.Name, q.Token, q.Since = p.Name, p.Token, p.Since
	}
	return q
}

// modify changes a resource that exists, or replaces it.
func (r *run) modify(ctx context.Context, row *resource, target made) (bool, error) {
	resumed := row.Pending != nil && row.Op == r.op.ID && row.Status == "UPDATE_IN_PROGRESS"
	same := target.Properties.Equal(row.Now.Properties) && row.Pending == nil
	if same {
		return true, r.attributesOnly(ctx, row, target)
	}
	k := r.s.types[row.Type]
	if resumed && row.Pending.Replace {
		return r.replace(ctx, row, target, true)
	}
	if len(cfn.Replaces(row.Now.Properties, target.Properties, k.schema)) == 0 {
		return r.update(ctx, row, target, resumed)
	}
	if name := k.customName(target.Properties); name != "" && name == k.customName(row.Now.Properties) {
		return r.failed(ctx, row, "UPDATE_FAILED", problemf("CloudFormation cannot update a stack when a custom-named "+
			"resource requires replacing. Rename %s and update the stack again.", name), "")
	}
	return r.replace(ctx, row, target, false)
}

// attributesOnly records new metadata and policies of a resource: nothing
// happens to it, and AWS has no event for that either.
func (r *run) attributesOnly(ctx context.Context, row *resource, target made) error {
	if row.Now.DeletionPolicy == target.DeletionPolicy && row.Now.UpdateReplacePolicy == target.UpdateReplacePolicy &&
		row.Now.Metadata.Equal(target.Metadata) {
		return nil
	}
	r.remember(row)
	r.set(func() {
		row.Now.DeletionPolicy, row.Now.UpdateReplacePolicy, row.Now.Metadata =
			target.DeletionPolicy, target.UpdateReplacePolicy, target.Metadata
	})
	return r.s.db.Update(ctx, func(tx *state.Tx) error { return r.s.saveResource(ctx, tx, row) })
}

// remember keeps what a resource was before the update, once.
func (r *run) remember(row *resource) {
	if row.Before == nil {
		before := row.Now
		row.Before = &before
	}
}

func (r *run) update(ctx context.Context, row *resource, target made, resumed bool) (bool, error) {
	if !resumed {
		r.remember(row)
		row.Pending = r.begin(row, target)
		if err := r.record(ctx, row, "UPDATE_IN_PROGRESS", "", target.Properties); err != nil {
			return false, err
		}
	}
	q := r.request(row, target.Properties, resumed)
	if err := r.call(ctx, q, maker.update); err != nil {
		return r.failed(ctx, row, "UPDATE_FAILED", err, q.Token)
	}
	r.set(func() {
		target.Physical, target.Attributes = q.Physical, q.Attributes
		row.Now, row.Pending = target, nil
	})
	return true, r.record(ctx, row, "UPDATE_COMPLETE", "", target.Properties)
}

// replace makes a new resource; the old one goes when the update is over.
func (r *run) replace(ctx context.Context, row *resource, target made, resumed bool) (bool, error) {
	if !resumed {
		r.remember(row)
		row.Pending = r.begin(row, target)
		row.Pending.Replace = true
		if err := r.record(ctx, row, "UPDATE_IN_PROGRESS", replacing, target.Properties); err != nil {
			return false, err
		}
	}
	q := r.request(row, target.Properties, resumed)
	q.Physical, q.Before, q.Attributes = row.Pending.Physical, nil, map[string]string{}
	q.made = func(ctx context.Context, physical string) error {
		if row.Pending.Physical == physical {
			return nil
		}
		row.Pending.Physical = physical
		return r.record(ctx, row, "UPDATE_IN_PROGRESS", initiated, target.Properties)
	}
	if err := r.call(ctx, q, maker.create); err != nil {
		return r.failed(ctx, row, "UPDATE_FAILED", err, q.Token)
	}
	r.set(func() {
		old := row.Now
		old.UpdateReplacePolicy = target.UpdateReplacePolicy
		row.Trash = append(row.Trash, old)
		target.Physical, target.Attributes = q.Physical, q.Attributes
		row.Now, row.Pending = target, nil
	})
	return true, r.record(ctx, row, "UPDATE_COMPLETE", "", target.Properties)
}

// restore turns one resource back to what it was before the update.
func (r *run) restore(ctx context.Context, id string) (bool, error) {
	row := r.row(id)
	if slices.Contains(r.op.Skip, id) {
		return true, r.restored(ctx, row, row.Now)
	}
	p := row.Pending
	if p != nil && p.Replace {
		if p.Physical != "" {
			row.Trash = append(row.Trash, made{Physical: p.Physical, Properties: p.Properties})
		}
		row.Pending = nil
		return true, r.restored(ctx, row, row.Now)
	}
	if row.Before == nil {
		return true, r.restored(ctx, row, row.Now)
	}
	before := *row.Before
	if before.Physical != row.Now.Physical {
		row.Trash = slices.DeleteFunc(row.Trash, func(m made) bool { return m.Physical == before.Physical })
		anew := row.Now
		anew.UpdateReplacePolicy = ""
		row.Trash = append(row.Trash, anew)
		return true, r.restored(ctx, row, before)
	}
	return r.putBack(ctx, row, before)
}

// putBack updates a resource in place to what it was.
func (r *run) putBack(ctx context.Context, row *resource, before made) (bool, error) {
	attempted := row.Now.Properties
	if row.Pending != nil {
		attempted = row.Pending.Properties
	}
	if attempted.Equal(before.Properties) {
		return true, r.restored(ctx, row, before)
	}
	if row.Pending == nil || !row.Pending.Back {
		row.Pending = r.begin(row, row.Now)
		row.Pending.Properties, row.Pending.Back = attempted, true
	}
	if err := r.record(ctx, row, "UPDATE_IN_PROGRESS", "", nil); err != nil {
		return false, err
	}
	q := r.request(row, before.Properties, true)
	q.Before = attempted
	if err := r.call(ctx, q, maker.update); err != nil {
		return r.failed(ctx, row, "UPDATE_FAILED", err, q.Token)
	}
	before.Attributes = q.Attributes
	return true, r.restored(ctx, row, before)
}

func (r *run) restored(ctx context.Context, row *resource, m made) error {
	r.set(func() { row.Now, row.Before, row.Pending = m, nil, nil })
	return r.record(ctx, row, "UPDATE_COMPLETE", "", nil)
}

// discard deletes what an update left over of one logical resource. Failures
// are recorded and otherwise passed over.
func (r *run) discard(ctx context.Context, in *cfn.Instance, id string, back bool) error {
	row := r.row(id)
	for len(row.Trash) > 0 {
		m := row.Trash[0]
		retain := m.UpdateReplacePolicy == "Retain" && !back
		if err := r.discardOne(ctx, row, m, retain); err != nil {
			return err
		}
		row.Trash = row.Trash[1:]
	}
	if in.Has(id) {
		return nil
	}
	if err := r.discardOne(ctx, row, row.Now, r.retained(row, back)); err != nil {
		return err
	}
	return r.s.db.Update(ctx, func(tx *state.Tx) error { return r.s.dropResource(ctx, tx, row) })
}

// retained reports whether a resource outlives its stack. created says that
// the operation that fails made it.
func (r *run) retained(row *resource, created bool) bool {
	switch row.Now.DeletionPolicy {
	case "Retain":
		return !created || !r.op.RetainExceptOnCreate
	case "RetainExceptOnCreate":
		return !created
	}
	return false
}

func (r *run) discardOne(ctx context.Context, row *resource, m made, retain bool) error {
	ghost := *row // the row itself stays as it is
	ghost.Now, ghost.Pending, ghost.Physical = m, nil, m.Physical
	tell := func(status, reason string) error {
		return r.s.db.Update(ctx, func(tx *state.Tx) error {
			ghost.Status, ghost.Reason, ghost.Updated = status, reason, r.s.now()
			return r.event(ctx, tx, &ghost, nil)
		})
	}
	if retain {
		return tell("DELETE_SKIPPED", "")
	}
	if m.Physical == "" {
		return nil
	}
	if err := tell("DELETE_IN_PROGRESS", ""); err != nil {
		return err
	}
	q := r.request(&ghost, m.Properties, false)
	q.Token = aws.NewUUID()
	if err := r.call(ctx, q, maker.remove); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return tell("DELETE_FAILED", r.s.reason(ctx, &ghost, err, q.Token))
	}
	return tell("DELETE_COMPLETE", "")
}

// deleteOne deletes one resource of a stack that goes.
func (r *run) deleteOne(ctx context.Context, id string) (bool, error) {
	row := r.row(id)
	created := r.op.Kind == "create"
	if slices.Contains(r.op.Retain, id) || r.retained(row, created) {
		return true, r.record(ctx, row, "DELETE_SKIPPED", "", nil)
	}
	victims := slices.Clone(row.Trash)
	if row.Pending != nil && row.Pending.Physical != "" {
		victims = append(victims, made{Physical: row.Pending.Physical, Properties: row.Pending.Properties})
	}
	victims = append(victims, row.Now)
	token := aws.NewUUID()
	for _, m := range victims {
		if m.Physical == "" {
			continue
		}
		if row.Status != "DELETE_IN_PROGRESS" {
			if err := r.record(ctx, row, "DELETE_IN_PROGRESS", "", nil); err != nil {
				return false, err
			}
		}
		ghost := *row
		ghost.Now = m
		q := r.request(&ghost, m.Properties, false)
		q.Token = token
		if err := r.call(ctx, q, maker.remove); err != nil {
			if r.op.Force && ctx.Err() == nil {
				return true, r.record(ctx, row, "DELETE_SKIPPED", r.s.reason(ctx, row, err, token), nil)
			}
			return r.failed(ctx, row, "DELETE_FAILED", err, token)
		}
	}
	return true, r.record(ctx, row, "DELETE_COMPLETE", "", nil)
}
