package cloudformation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

// definition is what a stack is made from.
type definition struct {
	Template     string
	Parameters   map[string]string
	Tags         []aws.Tag
	Capabilities []string
}

// operation is what a stack is in the middle of.
type operation struct {
	ID    string
	Kind  string // create, update, delete
	Phase string // apply, rollback, cleanup, delete
	Token string
	// Session is in whose name resources are made, before the role is put on.
	Session call.Session
	// OnFailure is ROLLBACK, DO_NOTHING or DELETE.
	OnFailure string
	// Target is what an update turns the stack into, Previous what it was.
	Target, Previous *definition
	// RetainExceptOnCreate deletes what a failed operation created, whatever
	// its DeletionPolicy.
	RetainExceptOnCreate bool
	// Retain and Skip are resources to be left alone, Force those that refuse
	// to go.
	Retain, Skip []string
	Force        bool
	ChangeSet    string
	Deadline     time.Time
}

// stackBody is the part of a stack that no query asks for.
type stackBody struct {
	Def             definition
	Op              *operation
	Outputs         []cfn.OutputValue
	RoleARN         string
	ChangeSetID     string
	OnFailure       string
	DisableRollback bool
	Timeout         int64
	// Token and Request are the last ClientRequestToken and what it asked for.
	Token, Request       string
	RetainExceptOnCreate bool
	DeletionMode         string
}

// stack is a row of cloudformation_stack.
type stack struct {
	ID          string    `db:"id"`
	Account     string    `db:"account"`
	Region      string    `db:"region"`
	Name        string    `db:"name"`
	Status      string    `db:"status"`
	Reason      string    `db:"reason"`
	Live        bool      `db:"live"`
	Protected   bool      `db:"protected"`
	Parent      string    `db:"parent"`
	Root        string    `db:"root"`
	Description string    `db:"description"`
	Created     time.Time `db:"created"`
	Updated     time.Time `db:"updated"`
	Deleted     time.Time `db:"deleted"`
	// Cancelled is the operation that CancelUpdateStack asked to be given up,
	// CancelToken the token of that request.
	Cancelled   string `db:"cancelled"`
	CancelToken string `db:"cancel_token"`
	Sealed      []byte `db:"body"`

	stackBody `db:"-"`
}

// busy reports whether an operation is under way.
func (st *stack) busy() bool {
	return strings.HasSuffix(st.Status, "_IN_PROGRESS") && st.Status != "REVIEW_IN_PROGRESS"
}

const stackColumns = `id, account, region, name, status, reason, live, protected, parent, root, description,
	created, updated, deleted, cancelled, cancel_token, body`

func (s *Service) seal(v any, bound string) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bound, err)
	}
	return s.box.Seal(b, []byte(bound)), nil
}

func (s *Service) open(sealed []byte, bound string, into any) error {
	b, err := s.box.Open(sealed, []byte(bound))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", bound, err)
	}
	return nil
}

func (s *Service) opened(st stack, err error) (*stack, error) {
	if err != nil {
		return nil, err
	}
	if err := s.open(st.Sealed, st.ID, &st.stackBody); err != nil {
		return nil, err
	}
	return &st, nil
}

// findStack finds a stack by name or ARN within an account and region. A
// deleted stack is found by its ARN alone.
func (s *Service) findStack(ctx context.Context, tx *state.Tx, account, region, name string) (*stack, error) {
	query := `SELECT ` + stackColumns + ` FROM cloudformation_stack WHERE account = $1 AND region = $2 AND `
	if strings.HasPrefix(name, "arn:") {
		query += `id = $3`
	} else {
		query += `name = $3 AND live = 1`
	}
	st, err := s.opened(state.Get[stack](ctx, tx, query, account, region, name))
	if errors.Is(err, state.ErrNotFound) {
		return nil, noStack(name)
	}
	return st, err
}

func noStack(name string) *aws.Error { return validation("Stack with id %s does not exist", name) }

// stack finds the stack that a call names.
func (s *Service) stack(ctx context.Context, c *call.Call, name string) (*stack, error) {
	var st *stack
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		st, err = s.findStack(ctx, tx, c.Account(), c.Region, name)
		return err
	})
	return st, err
}

// loadStack finds a stack by its ARN for those who work on it.
func (s *Service) loadStack(ctx context.Context, tx *state.Tx, id string) (*stack, error) {
	return s.opened(state.Get[stack](ctx, tx, `SELECT `+stackColumns+` FROM cloudformation_stack WHERE id = $1`, id))
}

func (s *Service) stackByID(ctx context.Context, id string) (*stack, error) {
	var st *stack
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		st, err = s.loadStack(ctx, tx, id)
		return err
	})
	return st, err
}

func (s *Service) insertStack(ctx context.Context, tx *state.Tx, st *stack) error {
	body, err := s.seal(st.stackBody, st.ID)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO cloudformation_stack (`+stackColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', '', $15)`,
		st.ID, st.Account, st.Region, st.Name, st.Status, st.Reason, st.Live, st.Protected, st.Parent, st.Root,
		st.Description, st.Created, st.Updated, st.Deleted, body)
	tx.Wake(topic(st.ID))
	return err
}

// saveStack writes what operations change of a stack. Its protection, its
// parent and its cancellation are written where they are set: an operation may
// be under way.
func (s *Service) saveStack(ctx context.Context, tx *state.Tx, st *stack) error {
	body, err := s.seal(st.stackBody, st.ID)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE cloudformation_stack SET status = $2, reason = $3, live = $4,
		description = $5, updated = $6, deleted = $7, body = $8 WHERE id = $1`,
		st.ID, st.Status, st.Reason, st.Live, st.Description, st.Updated, st.Deleted, body)
	tx.Wake(topic(st.ID))
	return err
}

// made is a resource that exists, or did.
type made struct {
	Physical            string
	Properties          *cfn.Node         `json:",omitempty"`
	Metadata            *cfn.Node         `json:",omitempty"`
	Attributes          map[string]string `json:",omitempty"`
	DeletionPolicy      string            `json:",omitempty"`
	UpdateReplacePolicy string            `json:",omitempty"`
}

// pending is a step that was begun: it is recorded before the first call.
type pending struct {
	// Name is the physical name of what is made, decided beforehand.
	Name string
	// Token names the step to services that know client tokens.
	Token string
	// Since is when the step began: what is older was not made by it.
	Since time.Time
	// Replace says that the step makes a new resource beside the old one;
	// Physical is its id once it exists.
	Replace  bool   `json:",omitempty"`
	Physical string `json:",omitempty"`
	// Properties are those the step leads to; Back says that it leads back
	// from them.
	Properties *cfn.Node
	Back       bool `json:",omitempty"`
}

// resourceBody is the part of a resource that no query asks for.
type resourceBody struct {
	Now made
	// Before is what the resource was before the update under way.
	Before *made `json:",omitempty"`
	// Trash are physical resources to be deleted when the update is over.
	Trash   []made   `json:",omitempty"`
	Pending *pending `json:",omitempty"`
}

// resource is a row of cloudformation_resource.
type resource struct {
	Stack    string    `db:"stack"`
	Logical  string    `db:"logical"`
	Type     string    `db:"type"`
	Physical string    `db:"physical"`
	Status   string    `db:"status"`
	Reason   string    `db:"reason"`
	Updated  time.Time `db:"updated"`
	// Op is the operation that last touched the resource.
	Op     string `db:"op"`
	Sealed []byte `db:"body"`

	resourceBody `db:"-"`
}

// exists reports whether the resource may exist outside the record.
func (r *resource) exists() bool {
	return r.Status != "DELETE_COMPLETE" && r.Status != "DELETE_SKIPPED"
}

const resourceColumns = `stack, logical, type, physical, status, reason, updated, op, body`

func (s *Service) resources(ctx context.Context, tx *state.Tx, stackID string) ([]resource, error) {
	rows, err := state.List[resource](ctx, tx,
		`SELECT `+resourceColumns+` FROM cloudformation_resource WHERE stack = $1 ORDER BY logical`, stackID)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if err := s.open(rows[i].Sealed, stackID+"/"+rows[i].Logical, &rows[i].resourceBody); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (s *Service) saveResource(ctx context.Context, tx *state.Tx, r *resource) error {
	r.Physical = r.Now.Physical
	if r.Pending != nil && r.Pending.Physical != "" {
		r.Physical = r.Pending.Physical
	}
	body, err := s.seal(r.resourceBody, r.Stack+"/"+r.Logical)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO cloudformation_resource (`+resourceColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (stack, logical) DO UPDATE SET type = excluded.type, physical = excluded.physical,
			status = excluded.status, reason = excluded.reason, updated = excluded.updated, op = excluded.op,
			body = excluded.body`,
		r.Stack, r.Logical, r.Type, r.Physical, r.Status, r.Reason, r.Updated, r.Op, body)
	return err
}

func (s *Service) dropResource(ctx context.Context, tx *state.Tx, r *resource) error {
	_, err := tx.Exec(ctx, `DELETE FROM cloudformation_resource WHERE stack = $1 AND logical = $2`, r.Stack, r.Logical)
	return err
}

// event is a row of cloudformation_event.
type event struct {
	Stack      string    `db:"stack"`
	Seq        int64     `db:"seq"`
	ID         string    `db:"id"`
	Logical    string    `db:"logical"`
	Physical   string    `db:"physical"`
	Type       string    `db:"type"`
	Status     string    `db:"status"`
	Reason     string    `db:"reason"`
	Properties string    `db:"properties"`
	Token      string    `db:"token"`
	Op         string    `db:"op"`
	At         time.Time `db:"at"`
}

const eventColumns = `stack, seq, id, logical, physical, type, status, reason, properties, token, op, at`

func (s *Service) emit(ctx context.Context, tx *state.Tx, e event) error {
	e.Seq = s.sequence(e.At)
	_, err := tx.Exec(ctx, `INSERT INTO cloudformation_event (`+eventColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		e.Stack, e.Seq, e.ID, e.Logical, e.Physical, e.Type, e.Status, e.Reason, e.Properties, e.Token, e.Op, e.At)
	return err
}

// setStatus moves a stack to a status and records the event.
func (s *Service) setStatus(ctx context.Context, tx *state.Tx, st *stack, status, reason string, at time.Time) error {
	st.Status, st.Reason = status, reason
	e := event{
		Stack: st.ID, ID: aws.NewUUID(), Logical: st.Name, Physical: st.ID, Type: "AWS::CloudFormation::Stack",
		Status: status, Reason: reason, At: at,
	}
	if st.Op != nil {
		e.Token, e.Op = st.Op.Token, st.Op.ID
	}
	if err := s.emit(ctx, tx, e); err != nil {
		return err
	}
	if err := s.announce(ctx, tx, st, at); err != nil {
		return err
	}
	return s.saveStack(ctx, tx, st)
}

// announce puts the event of a stack's status on the default bus.
func (s *Service) announce(ctx context.Context, tx *state.Tx, st *stack, at time.Time) error {
	detail, err := json.Marshal(map[string]any{
		"stack-id":             st.ID,
		"status-details":       map[string]string{"status": st.Status, "status-reason": st.Reason},
		"client-request-token": st.Token,
	})
	if err != nil {
		return err
	}
	e := aws.Event{
		Account: st.Account, Region: st.Region, Source: "aws.cloudformation",
		DetailType: "CloudFormation Stack Status Change", Time: at, Resources: []string{st.ID}, Detail: detail,
	}
	return st.tell(ctx, tx, e)
}

// announceResource puts the event of a resource's status on the default bus.
func (s *Service) announceResource(ctx context.Context, tx *state.Tx, st *stack, of event) error {
	detail, err := json.Marshal(map[string]any{
		"stack-id":             st.ID,
		"logical-resource-id":  of.Logical,
		"physical-resource-id": of.Physical,
		"resource-type":        of.Type,
		"status-details":       map[string]string{"status": of.Status, "status-reason": of.Reason},
		"client-request-token": of.Token,
	})
	if err != nil {
		return err
	}
	return st.tell(ctx, tx, aws.Event{
		Account: st.Account, Region: st.Region, Source: "aws.cloudformation",
		DetailType: "CloudFormation Resource Status Change", Time: of.At, Resources: []string{st.ID}, Detail: detail,
	})
}

// tell emits an event as part of the trace of the stack's operation.
func (st *stack) tell(ctx context.Context, tx *state.Tx, e aws.Event) error {
	if st.Op != nil {
		e.Trace = st.Op.Session.Trace
	}
	return tx.Emit(ctx, e)
}

// isPhysical reports whether a physical id belongs to a resource other than
// the one named.
func (s *Service) isPhysical(ctx context.Context, physical, stackID, logical string) (bool, error) {
	var n int64
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		n, err = state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM cloudformation_resource
			WHERE physical = $1 AND NOT (stack = $2 AND logical = $3)`, physical, stackID, logical)
		return err
	})
	return n > 0, err
}

// claim records that a physical id belongs to a resource, unless it belongs to
// another one.
func (s *Service) claim(ctx context.Context, physical, stackID, logical string) (bool, error) {
	var n int64
	err := s.db.Update(ctx, func(tx *state.Tx) (err error) {
		n, err = tx.Exec(ctx, `UPDATE cloudformation_resource SET physical = $1 WHERE stack = $2 AND logical = $3
			AND NOT EXISTS (SELECT 1 FROM cloudformation_resource o WHERE o.physical = $1 AND NOT (o.stack = $2 AND o.logical = $3))`,
			physical, stackID, logical)
		return err
	})
	return n > 0, err
}
