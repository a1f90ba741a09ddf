package cloudformation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const noUpdates = "No updates are to be performed."

var stackName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)

// need is the permission on the stack that a call names. It is judged by its
// own ARN and tags, and where there is none by the ARN of any stack of that
// name.
func (s *Service) need(ctx context.Context, c *call.Call, action, name string, keys policy.Keys) ([]call.Need, error) {
	st, err := s.stack(ctx, c, name)
	switch {
	case err == nil:
		return []call.Need{st.need(action, keys)}, nil
	case errorCode(err) != "ValidationError":
		return nil, err
	case !strings.HasPrefix(name, "arn:"):
		name = aws.NewARN("cloudformation", c.Region, c.Account(), "stack/"+name+"/*")
	}
	return []call.Need{{Action: action, Resource: name, Keys: keys}}, nil
}

// need is the permission on a stack that is there.
func (st *stack) need(action string, keys policy.Keys) call.Need {
	d := &st.Def
	if d.Template == "" && st.Op != nil && st.Op.Target != nil {
		d = st.Op.Target // it is being made
	}
	if keys == nil {
		keys = policy.Keys{}
	}
	for _, t := range d.Tags {
		keys["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	return call.Need{Action: action, Resource: st.ID, Keys: keys}
}

// asked is what CloudFormation's own condition keys tell of a request.
type asked struct {
	templateURL, stackPolicyURL, roleARN, changeSet string

	types []string
	tags  []api.Tag
}

func (a asked) keys() policy.Keys {
	k := policy.Keys{}
	for name, value := range map[string]string{
		"cloudformation:templateurl": a.templateURL, "cloudformation:stackpolicyurl": a.stackPolicyURL,
		"cloudformation:rolearn": a.roleARN, "cloudformation:changesetname": a.changeSet,
	} {
		if value != "" {
			k[name] = []string{value}
		}
	}
	if len(a.types) > 0 {
		k["cloudformation:resourcetypes"] = a.types
	}
	for _, t := range a.tags {
		k.AddRequestTag(t.Key, t.Value)
	}
	return k
}

// passing adds the permission to hand CloudFormation a role.
func passing(needs []call.Need, err error, roleARN string) ([]call.Need, error) {
	if err != nil || roleARN == "" {
		return needs, err
	}
	return append(needs, call.Need{
		Action: "iam:PassRole", Resource: roleARN, Keys: policy.Keys{"iam:passedtoservice": {principal}},
	}), nil
}

func (s *Service) createStackNeeds(ctx context.Context, c *call.Call, in *api.CreateStackInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:CreateStack", in.StackName, asked{
		templateURL: in.TemplateURL, stackPolicyURL: in.StackPolicyURL, roleARN: in.RoleARN, types: in.ResourceTypes, tags: in.Tags,
	}.keys())
	return passing(needs, err, in.RoleARN)
}

func (s *Service) createStack(ctx context.Context, c *call.Call, in *api.CreateStackInput) (*api.CreateStackOutput, error) {
	if !stackName.MatchString(in.StackName) {
		return nil, validation("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", in.StackName)
	}
	onFailure, err := onFailure(in.OnFailure, in.DisableRollback)
	if err != nil {
		return nil, err
	}
	t, d, err := s.define(ctx, c, source{
		TemplateBody: in.TemplateBody, TemplateURL: in.TemplateURL, Parameters: in.Parameters, Tags: in.Tags,
		Capabilities: in.Capabilities, ResourceTypes: in.ResourceTypes, NotificationARNs: in.NotificationARNs,
		Rollback: in.RollbackConfiguration, StackPolicy: in.StackPolicyBody + in.StackPolicyURL,
	}, nil)
	if err != nil {
		return nil, err
	}
	st := s.newStack(c, in.StackName)
	st.Protected = is(in.EnableTerminationProtection)
	st.stackBody = stackBody{
		Def: *d, RoleARN: in.RoleARN, OnFailure: onFailure, DisableRollback: is(in.DisableRollback),
		Token: in.ClientRequestToken, Request: digest(in), RetainExceptOnCreate: is(in.RetainExceptOnCreate),
	}
	if in.TimeoutInMinutes != nil {
		st.Timeout = *in.TimeoutInMinutes
	}
	st.Description = t.Description
	if _, err := t.Instance(s.env(ctx, st, d)); err != nil {
		return nil, err
	}
	st.Op = s.operation(c, "create", in.ClientRequestToken)
	st.Op.Target, st.Op.OnFailure, st.Op.RetainExceptOnCreate = d, onFailure, st.RetainExceptOnCreate
	if st.Timeout > 0 {
		st.Op.Deadline = c.Time.Add(time.Duration(st.Timeout) * time.Minute)
	}
	if _, err := s.wear(ctx, st.Op.Session, st.RoleARN, st.ID); err != nil {
		return nil, err
	}
	id, err := s.beginCreate(ctx, c, st)
	if err != nil {
		return nil, err
	}
	s.settled(ctx, id)
	return &api.CreateStackOutput{StackId: id}, nil
}

func is(b *bool) bool { return b != nil && *b }

func onFailure(choice string, disableRollback *bool) (string, error) {
	if choice != "" && disableRollback != nil {
		return "", validation("Only one of the parameters OnFailure and DisableRollback can be specified.")
	}
	switch {
	case choice != "":
		return choice, nil
	case is(disableRollback):
		return "DO_NOTHING", nil
	}
	return "ROLLBACK", nil
}

// newStack is a stack that a call is about to make.
func (s *Service) newStack(c *call.Call, name string) *stack {
	return &stack{
		ID:      aws.NewARN("cloudformation", c.Region, c.Account(), "stack/"+name+"/"+c.NewID()),
		Account: c.Account(), Region: c.Region, Name: name, Live: true, Created: c.Time,
	}
}

// operation is a new operation in the caller's name.
func (s *Service) operation(c *call.Call, kind, token string) *operation {
	phase := phaseApply
	if kind == "delete" {
		phase = phaseDelete
	}
	return &operation{ID: c.NewID(), Kind: kind, Phase: phase, Token: token, Session: c.Forward(principal)}
}

// digest tells requests apart that bear the same token.
func digest(in any) string {
	b, err := json.Marshal(in)
	if err != nil { // inputs are plain data
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// repeated reports whether a request was made before, by its token.
func repeated(st *stack, token, request string) (bool, error) {
	if token == "" || st.Token != token {
		return false, nil
	}
	if st.Request != request {
		return false, aws.Errorf("TokenAlreadyExistsException",
			"A client request token already exists: %s was used with other parameters", token)
	}
	return true, nil
}

// beginCreate records a new stack and the job that makes it.
func (s *Service) beginCreate(ctx context.Context, c *call.Call, st *stack) (id string, err error) {
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		old, err := s.findStack(ctx, tx, c.Account(), c.Region, st.Name)
		if err == nil {
			again, err := repeated(old, st.Token, st.Request)
			if err != nil {
				return err
			}
			if id = old.ID; again {
				return nil
			}
			return aws.Errorf("AlreadyExistsException", "Stack [%s] already exists", st.Name)
		}
		if errorCode(err) != "ValidationError" {
			return err
		}
		id = st.ID
		st.Status = "CREATE_IN_PROGRESS"
		if err := s.insertStack(ctx, tx, st); err != nil {
			return err
		}
		if err := s.setStatus(ctx, tx, st, "CREATE_IN_PROGRESS", "User Initiated", c.Time); err != nil {
			return err
		}
		return enqueue(ctx, tx, st)
	})
	return id, err
}

func (s *Service) updateStackNeeds(ctx context.Context, c *call.Call, in *api.UpdateStackInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:UpdateStack", in.StackName, asked{
		templateURL: in.TemplateURL, stackPolicyURL: in.StackPolicyURL, roleARN: in.RoleARN, types: in.ResourceTypes, tags: in.Tags,
	}.keys())
	return passing(needs, err, in.RoleARN)
}

// errMoved says that a stack was changed by someone else between its being
// read and the change that was planned from what was read.
var errMoved = errors.New("the stack has changed meanwhile")

func (s *Service) updateStack(ctx context.Context, c *call.Call, in *api.UpdateStackInput) (*api.UpdateStackOutput, error) {
	for {
		out, err := s.tryUpdate(ctx, c, in)
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
}

func (s *Service) tryUpdate(ctx context.Context, c *call.Call, in *api.UpdateStackInput) (*api.UpdateStackOutput, error) {
	st, err := s.stack(ctx, c, in.StackName)
	if err != nil {
		return nil, err
	}
	request := digest(in)
	if again, err := repeated(st, in.ClientRequestToken, request); again || err != nil {
		return &api.UpdateStackOutput{StackId: st.ID}, err
	}
	if err := updatable(st); err != nil {
		return nil, err
	}
	t, d, err := s.define(ctx, c, source{
		TemplateBody: in.TemplateBody, TemplateURL: in.TemplateURL, UsePrevious: in.UsePreviousTemplate,
		Parameters: in.Parameters, Tags: in.Tags, Capabilities: in.Capabilities, ResourceTypes: in.ResourceTypes,
		NotificationARNs: in.NotificationARNs, Rollback: in.RollbackConfiguration,
		StackPolicy: in.StackPolicyBody + in.StackPolicyURL + in.StackPolicyDuringUpdateBody + in.StackPolicyDuringUpdateURL,
	}, &st.Def)
	if err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, st, t, d)
	if err != nil {
		return nil, err
	}
	if p.empty() {
		return nil, validation(noUpdates)
	}
	role := in.RoleARN
	if role == "" {
		role = st.RoleARN
	}
	op := s.operation(c, "update", in.ClientRequestToken)
	op.Target, op.RetainExceptOnCreate = d, is(in.RetainExceptOnCreate)
	if op.OnFailure = "ROLLBACK"; is(in.DisableRollback) {
		op.OnFailure = "DO_NOTHING"
	}
	if _, err := s.wear(ctx, op.Session, role, st.ID); err != nil {
		return nil, err
	}
	if err := s.beginUpdate(ctx, c, st, op, role, request); err != nil {
		return nil, err
	}
	s.settled(ctx, st.ID)
	return &api.UpdateStackOutput{StackId: st.ID}, nil
}

// updatable refuses stacks that are busy, broken or only half there.
func updatable(st *stack) error {
	switch st.Status {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED", "CREATE_FAILED":
		return nil
	}
	return cannotUpdate(st)
}

func cannotUpdate(st *stack) error {
	return validation("Stack:%s is in %s state and can not be updated.", st.ID, st.Status)
}

// beginUpdate records an update of the stack that was seen, and the job that
// does it. Change sets that were made before are worth nothing from now on.
func (s *Service) beginUpdate(ctx context.Context, c *call.Call, seen *stack, op *operation, role, request string) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := s.loadStack(ctx, tx, seen.ID)
		if err != nil {
			return err
		}
		if err := updatable(st); err != nil {
			return err
		}
		if !st.Updated.Equal(seen.Updated) {
			return errMoved
		}
		previous := st.Def
		if st.Status == "UPDATE_FAILED" && st.Op != nil && st.Op.Previous != nil {
			previous = *st.Op.Previous // what was before the update that failed
		}
		op.Previous = &previous
		st.Op, st.RoleARN, st.Updated = op, role, c.Time
		st.Token, st.Request = op.Token, request
		if err := s.outdateChangeSets(ctx, tx, st.ID); err != nil {
			return err
		}
		if err := s.setStatus(ctx, tx, st, "UPDATE_IN_PROGRESS", "User Initiated", c.Time); err != nil {
			return err
		}
		return enqueue(ctx, tx, st)
	})
}

// plan is what an update would do.
type plan struct {
	changes []cfn.Change
	// more is set when outputs or tags change besides resources.
	more bool
}

func (p plan) empty() bool { return len(p.changes) == 0 && !p.more }

// snapshot answers for the resources of a stack (cfn.Existing).
type snapshot map[string]*resource

func (s snapshot) Ref(id string) (string, bool) { return refOf(s[id]) }

func (s snapshot) Attribute(id, name string) (*cfn.Node, bool) { return attributeOf(s[id], name) }

// plan calculates what an update to a definition would do.
func (s *Service) plan(ctx context.Context, st *stack, t *cfn.Template, d *definition) (plan, error) {
	in, err := t.Instance(s.env(ctx, st, d))
	if err != nil {
		return plan{}, err
	}
	var old *cfn.Instance
	if st.Def.Template != "" {
		if before, err := cfn.Parse(st.Def.Template); err == nil {
			old, _ = before.Instance(s.env(ctx, st, &st.Def)) // nil tells causes apart less well, no more
		}
	}
	world, states := snapshot{}, map[string]cfn.State{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := s.resources(ctx, tx, st.ID)
		for i := range rows {
			if r := &rows[i]; r.exists() && r.Now.Physical != "" && r.Status != "CREATE_FAILED" {
				world[r.Logical] = r
				states[r.Logical] = cfn.State{
					Type: r.Type, PhysicalID: r.Now.Physical, Properties: r.Now.Properties, Metadata: r.Now.Metadata,
					DeletionPolicy: r.Now.DeletionPolicy, UpdateReplacePolicy: r.Now.UpdateReplacePolicy,
				}
			}
		}
		return err
	})
	if err != nil {
		return plan{}, err
	}
	p := plan{}
	if p.changes, err = in.Changes(old, states, world, s.schema); err != nil {
		return p, err
	}
	outputs, err := in.OutputValues(world)
	if err != nil {
		return p, err
	}
	p.more = st.Status == "REVIEW_IN_PROGRESS" || st.Status == "UPDATE_FAILED" || st.Status == "CREATE_FAILED" ||
		!slices.Equal(outputs, st.Outputs) || !slices.Equal(d.Tags, st.Def.Tags)
	return p, nil
}

func (s *Service) deleteStackNeeds(ctx context.Context, c *call.Call, in *api.DeleteStackInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:DeleteStack", in.StackName, asked{roleARN: in.RoleARN}.keys())
	return passing(needs, err, in.RoleARN)
}

func (s *Service) deleteStack(ctx context.Context, c *call.Call, in *api.DeleteStackInput) (*api.DeleteStackOutput, error) {
	st, err := s.stack(ctx, c, in.StackName)
	if errorCode(err) == "ValidationError" || err == nil && !st.Live {
		return &api.DeleteStackOutput{}, nil // AWS says nothing about stacks that are not there
	}
	if err != nil {
		return nil, err
	}
	s.settled(ctx, st.ID)
	role := in.RoleARN
	if role == "" {
		role = st.RoleARN
	}
	op := s.operation(c, "delete", in.ClientRequestToken)
	op.Retain, op.Force = in.RetainResources, in.DeletionMode == "FORCE_DELETE_STACK"
	if _, err := s.wear(ctx, op.Session, role, st.ID); err != nil {
		return nil, err
	}
	if err := s.beginDelete(ctx, c, st.ID, op, role, digest(in)); err != nil {
		return nil, err
	}
	s.settled(ctx, st.ID)
	return &api.DeleteStackOutput{}, nil
}

func (s *Service) beginDelete(ctx context.Context, c *call.Call, id string, op *operation, role, request string) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := s.loadStack(ctx, tx, id)
		if err != nil {
			return err
		}
		if again, err := repeated(st, op.Token, request); again || err != nil || !st.Live {
			return err
		}
		protected, err := s.protected(ctx, tx, st)
		switch {
		case err != nil:
			return err
		case protected:
			return validation("Stack [%s] cannot be deleted while TerminationProtection is enabled", st.Name)
		case st.busy():
			return validation("Stack [%s] cannot be deleted while in status %s", st.ID, st.Status)
		case len(op.Retain) > 0 && st.Status != "DELETE_FAILED":
			return validation("Invalid operation on stack [%s]. When you delete a stack, specify which resources to retain "+
				"only when the stack is in the DELETE_FAILED state.", st.ID)
		case op.Force && st.Status != "DELETE_FAILED":
			return validation("Invalid operation on stack [%s]. FORCE_DELETE_STACK can be specified only when the stack is in the DELETE_FAILED state.", st.ID)
		}
		strange, err := s.othersThan(ctx, tx, st.ID, "DELETE_FAILED", op.Retain)
		if err != nil {
			return err
		}
		if strange != nil {
			return validation("Invalid operation on stack [%s]. The specified resources to retain must be in a valid state. "+
				"Do not specify the following resources: [%s]", st.ID, strings.Join(strange, ", "))
		}
		if st.Op != nil { // of a failed update: both templates order what is left
			op.Previous, op.Target = st.Op.Previous, st.Op.Target
		}
		st.Op, st.RoleARN = op, role
		st.Token, st.Request = op.Token, request
		if op.Force {
			st.DeletionMode = "FORCE_DELETE_STACK"
		}
		if err := s.setStatus(ctx, tx, st, "DELETE_IN_PROGRESS", "User Initiated", c.Time); err != nil {
			return err
		}
		return enqueue(ctx, tx, st)
	})
}

// protected reports whether a stack must not be deleted. The protection of a
// root stack covers the stacks nested in it, but for what its own operations
// do to them.
func (s *Service) protected(ctx context.Context, tx *state.Tx, st *stack) (bool, error) {
	if st.Protected || st.Root == "" {
		return st.Protected, nil
	}
	root, err := s.loadStack(ctx, tx, st.Root)
	if err != nil {
		return false, err
	}
	return root.Live && root.Protected && !root.busy(), nil
}

// othersThan returns which of the named resources of a stack are not in a
// status.
func (s *Service) othersThan(ctx context.Context, tx *state.Tx, stackID, status string, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	have, err := state.List[string](ctx, tx, `SELECT logical FROM cloudformation_resource WHERE stack = $1 AND status = $2`, stackID, status)
	return without(names, have), err
}

func (s *Service) cancelUpdateStackNeeds(ctx context.Context, c *call.Call, in *api.CancelUpdateStackInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:CancelUpdateStack", in.StackName, nil)
}

// cancelUpdateStack asks for an update to be given up. The same request made
// again is answered as the first one was.
func (s *Service) cancelUpdateStack(ctx context.Context, c *call.Call, in *api.CancelUpdateStackInput) (*api.CancelUpdateStackOutput, error) {
	var id string
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := s.findStack(ctx, tx, c.Account(), c.Region, in.StackName)
		if err != nil {
			return err
		}
		id = st.ID
		if in.ClientRequestToken != "" && in.ClientRequestToken == st.CancelToken {
			return nil
		}
		if st.Status != "UPDATE_IN_PROGRESS" || st.Op == nil {
			return validation("CancelUpdateStack cannot be called from current stack status")
		}
		_, err = tx.Exec(ctx, `UPDATE cloudformation_stack SET cancelled = $2, cancel_token = $3 WHERE id = $1`,
			st.ID, st.Op.ID, in.ClientRequestToken)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.settled(ctx, id)
	return &api.CancelUpdateStackOutput{}, nil
}

func (s *Service) continueUpdateRollbackNeeds(ctx context.Context, c *call.Call, in *api.ContinueUpdateRollbackInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:ContinueUpdateRollback", in.StackName, asked{roleARN: in.RoleARN}.keys())
	return passing(needs, err, in.RoleARN)
}

func (s *Service) continueUpdateRollback(ctx context.Context, c *call.Call, in *api.ContinueUpdateRollbackInput) (*api.ContinueUpdateRollbackOutput, error) {
	r := resumption{stack: in.StackName, role: in.RoleARN, token: in.ClientRequestToken, request: digest(in)}
	id, err := s.resume(ctx, c, r, func(tx *state.Tx, st *stack) (string, error) {
		if st.Status != "UPDATE_ROLLBACK_FAILED" || st.Op == nil {
			return "", cannotUpdate(st)
		}
		strange, err := s.othersThan(ctx, tx, st.ID, "UPDATE_FAILED", in.ResourcesToSkip)
		if err != nil {
			return "", err
		}
		if strange != nil { // among them those of nested stacks
			return "", validation("Only resources of the stack that are in the UPDATE_FAILED state can be skipped: [%s]", strings.Join(strange, ", "))
		}
		st.Op.Skip = in.ResourcesToSkip
		return "UPDATE_ROLLBACK_IN_PROGRESS", nil
	})
	if err != nil {
		return nil, err
	}
	s.settled(ctx, id)
	return &api.ContinueUpdateRollbackOutput{}, nil
}

func (s *Service) rollbackStackNeeds(ctx context.Context, c *call.Call, in *api.RollbackStackInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:RollbackStack", in.StackName, asked{roleARN: in.RoleARN}.keys())
	return passing(needs, err, in.RoleARN)
}

func (s *Service) rollbackStack(ctx context.Context, c *call.Call, in *api.RollbackStackInput) (*api.RollbackStackOutput, error) {
	r := resumption{stack: in.StackName, role: in.RoleARN, token: in.ClientRequestToken, request: digest(in)}
	id, err := s.resume(ctx, c, r, func(_ *state.Tx, st *stack) (string, error) {
		if st.Op != nil {
			st.Op.RetainExceptOnCreate = is(in.RetainExceptOnCreate)
		}
		switch {
		case st.Op == nil:
		case st.Status == "UPDATE_FAILED":
			st.Op.Phase = phaseRollback
			return "UPDATE_ROLLBACK_IN_PROGRESS", nil
		case st.Status == "CREATE_FAILED":
			st.Op.Phase = phaseDelete
			return "ROLLBACK_IN_PROGRESS", nil
		}
		return "", validation("Stack:%s is in %s state and can not be rolled back.", st.ID, st.Status)
	})
	if err != nil {
		return nil, err
	}
	s.settled(ctx, id)
	return &api.RollbackStackOutput{StackId: id}, nil
}

// resumption is a request to take up an operation that had failed.
type resumption struct{ stack, role, token, request string }

// resume takes up an operation that had failed, in the caller's name. turn
// sets its direction and returns the stack's status.
func (s *Service) resume(ctx context.Context, c *call.Call, r resumption, turn func(*state.Tx, *stack) (string, error)) (id string, err error) {
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := s.findStack(ctx, tx, c.Account(), c.Region, r.stack)
		if err != nil {
			return err
		}
		id = st.ID
		if again, err := repeated(st, r.token, r.request); again || err != nil {
			return err
		}
		status, err := turn(tx, st)
		if err != nil {
			return err
		}
		st.Op.Session, st.Op.Token = c.Forward(principal), r.token
		st.Token, st.Request = r.token, r.request
		if r.role != "" {
			st.RoleARN = r.role
		}
		if err := s.setStatus(ctx, tx, st, status, "User Initiated", c.Time); err != nil {
			return err
		}
		return enqueue(ctx, tx, st)
	})
	return id, err
}

func (s *Service) updateTerminationProtectionNeeds(ctx context.Context, c *call.Call, in *api.UpdateTerminationProtectionInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:UpdateTerminationProtection", in.StackName, nil)
}

func (s *Service) updateTerminationProtection(ctx context.Context, c *call.Call, in *api.UpdateTerminationProtectionInput) (*api.UpdateTerminationProtectionOutput, error) {
	var id string
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		st, err := s.findStack(ctx, tx, c.Account(), c.Region, in.StackName)
		if err != nil {
			return err
		}
		if !st.Live {
			return noStack(in.StackName)
		}
		if st.Parent != "" {
			return validation("TerminationProtection cannot be updated on the nested stack [%s]; update the root stack instead", st.Name)
		}
		id = st.ID
		_, err = tx.Exec(ctx, `UPDATE cloudformation_stack SET protected = $2 WHERE id = $1`, st.ID, is(in.EnableTerminationProtection))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateTerminationProtectionOutput{StackId: id}, nil
}
