package cloudformation

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

const noChanges = "The submitted information didn't contain changes. Submit different information to create a change set."

// changeSetBody is the part of a change set that no query asks for.
type changeSetBody struct {
	Type        string // CREATE, UPDATE
	Description string
	Def         definition
	Changes     []cfn.Change
	RoleARN     string
	OnFailure   string
	Nested      bool
	Token       string
	Request     string
}

// changeSet is a row of cloudformation_change_set.
type changeSet struct {
	ID        string    `db:"id"`
	Stack     string    `db:"stack"`
	Name      string    `db:"name"`
	Status    string    `db:"status"`
	Reason    string    `db:"reason"`
	Execution string    `db:"execution"`
	Created   time.Time `db:"created"`
	Sealed    []byte    `db:"body"`

	changeSetBody `db:"-"`
}

const changeSetColumns = `id, stack, name, status, reason, execution, created, body`

func (s *Service) openedChangeSet(cs changeSet, err error) (*changeSet, error) {
	if err != nil {
		return nil, err
	}
	if err := s.open(cs.Sealed, cs.ID, &cs.changeSetBody); err != nil {
		return nil, err
	}
	return &cs, nil
}

func (s *Service) insertChangeSet(ctx context.Context, tx *state.Tx, cs *changeSet) error {
	body, err := s.seal(cs.changeSetBody, cs.ID)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO cloudformation_change_set (`+changeSetColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		cs.ID, cs.Stack, cs.Name, cs.Status, cs.Reason, cs.Execution, cs.Created, body)
	return err
}

// findChangeSet finds a change set by its ARN, or by its name within a stack.
func (s *Service) findChangeSet(ctx context.Context, tx *state.Tx, c *call.Call, stackName, name string) (*stack, *changeSet, error) {
	gone := aws.Errorf("ChangeSetNotFound", "ChangeSet [%s] does not exist", name)
	if strings.HasPrefix(name, "arn:") {
		cs, err := s.openedChangeSet(state.Get[changeSet](ctx, tx,
			`SELECT `+changeSetColumns+` FROM cloudformation_change_set WHERE id = $1`, name))
		if errors.Is(err, state.ErrNotFound) {
			return nil, nil, gone
		}
		if err != nil {
			return nil, nil, err
		}
		st, err := s.loadStack(ctx, tx, cs.Stack)
		if err == nil && (st.Account != c.Account() || st.Region != c.Region) {
			return nil, nil, gone
		}
		return st, cs, err
	}
	if stackName == "" {
		return nil, nil, validation("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	st, err := s.findStack(ctx, tx, c.Account(), c.Region, stackName)
	if errorCode(err) == "ValidationError" {
		return nil, nil, validation("Stack [%s] does not exist", stackName)
	}
	if err != nil {
		return nil, nil, err
	}
	cs, err := s.openedChangeSet(state.Get[changeSet](ctx, tx,
		`SELECT `+changeSetColumns+` FROM cloudformation_change_set WHERE stack = $1 AND name = $2`, st.ID, name))
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil, gone
	}
	return st, cs, err
}

func (s *Service) changeSet(ctx context.Context, c *call.Call, stackName, name string) (st *stack, cs *changeSet, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		st, cs, err = s.findChangeSet(ctx, tx, c, stackName, name)
		return err
	})
	return st, cs, err
}

// changeSetNeed is the permission on the stack of a change set.
func (s *Service) changeSetNeed(ctx context.Context, c *call.Call, action, stackName, name string) ([]call.Need, error) {
	keys := asked{changeSet: name}.keys()
	if stackName != "" {
		return s.need(ctx, c, action, stackName, keys)
	}
	st, cs, err := s.changeSet(ctx, c, "", name)
	switch {
	case err == nil:
		return []call.Need{st.need(action, asked{changeSet: cs.Name}.keys())}, nil
	case errorCode(err) == "":
		return nil, err
	}
	return []call.Need{{Action: action, Resource: anyStack(c), Keys: keys}}, nil
}

func (s *Service) createChangeSetNeeds(ctx context.Context, c *call.Call, in *api.CreateChangeSetInput) ([]call.Need, error) {
	needs, err := s.need(ctx, c, "cloudformation:CreateChangeSet", in.StackName, asked{
		templateURL: in.TemplateURL, roleARN: in.RoleARN, changeSet: in.ChangeSetName, types: in.ResourceTypes, tags: in.Tags,
	}.keys())
	return passing(needs, err, in.RoleARN)
}

func (s *Service) createChangeSet(ctx context.Context, c *call.Call, in *api.CreateChangeSetInput) (*api.CreateChangeSetOutput, error) {
	for {
		out, err := s.tryChangeSet(ctx, c, in)
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
}

func (s *Service) tryChangeSet(ctx context.Context, c *call.Call, in *api.CreateChangeSetInput) (*api.CreateChangeSetOutput, error) {
	st, err := s.changing(ctx, c, in)
	if err != nil {
		return nil, err
	}
	cs := &changeSet{
		ID:    aws.NewARN("cloudformation", c.Region, c.Account(), "changeSet/"+in.ChangeSetName+"/"+c.NewID()),
		Stack: st.ID, Name: in.ChangeSetName, Status: "CREATE_COMPLETE", Execution: "AVAILABLE", Created: c.Time,
		changeSetBody: changeSetBody{
			Type: in.ChangeSetType, Description: in.Description, RoleARN: in.RoleARN, OnFailure: in.OnStackFailure,
			Nested: is(in.IncludeNestedStacks), Token: in.ClientToken, Request: digest(in),
		},
	}
	if cs.Type == "" {
		cs.Type = "UPDATE"
	}
	previous := &st.Def
	if st.Status == "REVIEW_IN_PROGRESS" || st.Status == "" {
		previous = nil
	}
	t, d, err := s.define(ctx, c, source{
		TemplateBody: in.TemplateBody, TemplateURL: in.TemplateURL, UsePrevious: in.UsePreviousTemplate,
		Parameters: in.Parameters, Tags: in.Tags, Capabilities: in.Capabilities, ResourceTypes: in.ResourceTypes,
		NotificationARNs: in.NotificationARNs, Rollback: in.RollbackConfiguration,
	}, previous)
	if err != nil {
		return nil, err
	}
	if cs.Nested && slices.ContainsFunc(t.Resources, func(r cfn.Resource) bool { return r.Type == "AWS::CloudFormation::Stack" }) {
		return nil, validation("IncludeNestedStacks: change sets of nested stacks are not provided by sekisho.")
	}
	cs.Def = *d
	p, err := s.plan(ctx, st, t, d)
	e, refused := errors.AsType[*aws.Error](err)
	switch {
	case refused: // the template cannot be resolved for this stack: the change set says so
		cs.Status, cs.Execution, cs.Reason = "FAILED", "UNAVAILABLE", e.Message
	case err != nil:
		return nil, err
	case p.empty():
		cs.Status, cs.Execution, cs.Reason = "FAILED", "UNAVAILABLE", noChanges
	}
	cs.Changes = p.changes
	return s.saveChangeSet(ctx, c, st, cs)
}

// changing finds the stack a change set is for, or the one it will make.
func (s *Service) changing(ctx context.Context, c *call.Call, in *api.CreateChangeSetInput) (*stack, error) {
	switch {
	case in.ChangeSetType == "IMPORT", len(in.ResourcesToImport) > 0, is(in.ImportExistingResources):
		return nil, validation("Importing resources is not provided by sekisho.")
	case in.DeploymentMode != "":
		return nil, validation("DeploymentMode %s is not provided by sekisho.", in.DeploymentMode)
	case in.OnStackFailure == "DELETE" && in.ChangeSetType != "CREATE":
		return nil, validation("OnStackFailure DELETE can be specified only for a change set of type CREATE.")
	}
	st, err := s.stack(ctx, c, in.StackName)
	none := errorCode(err) == "ValidationError"
	if err != nil && !none {
		return nil, err
	}
	if in.ChangeSetType == "CREATE" {
		if none && stackName.MatchString(in.StackName) {
			return s.newStack(c, in.StackName), nil
		}
		if none {
			return nil, noStack(in.StackName)
		}
		if st.Status != "REVIEW_IN_PROGRESS" {
			return nil, validation("Stack [%s] already exists and cannot be created again with the changeSet [%s].", st.Name, in.ChangeSetName)
		}
		return st, nil
	}
	if none || !st.Live {
		return nil, validation("Stack [%s] does not exist", in.StackName)
	}
	return st, updatable(st)
}

// saveChangeSet records a change set, and with it a new stack under review.
func (s *Service) saveChangeSet(ctx context.Context, c *call.Call, st *stack, cs *changeSet) (*api.CreateChangeSetOutput, error) {
	out := &api.CreateChangeSetOutput{Id: cs.ID, StackId: st.ID}
	anew := st.Status == ""
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		if anew {
			st.Status = "REVIEW_IN_PROGRESS"
			if err := s.review(ctx, tx, c, st); err != nil {
				return err
			}
		} else if now, err := s.loadStack(ctx, tx, st.ID); err != nil || !now.Updated.Equal(st.Updated) {
			return cmp.Or(err, errMoved)
		}
		_, old, err := s.findChangeSet(ctx, tx, c, st.ID, cs.Name)
		if err == nil {
			if cs.Token != "" && old.Token == cs.Token && old.Request == cs.Request {
				out.Id = old.ID
				return nil
			}
			if old.Execution == "AVAILABLE" || old.Execution == "EXECUTE_IN_PROGRESS" {
				return aws.Errorf("AlreadyExistsException", "ChangeSet %s already exists", cs.Name)
			}
			// The AWS CLI names change sets by the second, and a deployment
			// takes less than one here: the name of a set that is over is
			// free.
			_, err = tx.Exec(ctx, `DELETE FROM cloudformation_change_set WHERE id = $1`, old.ID)
		}
		if err != nil && errorCode(err) != "ChangeSetNotFound" {
			return err
		}
		return s.insertChangeSet(ctx, tx, cs)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// review records a stack that has nothing but a change set.
func (s *Service) review(ctx context.Context, tx *state.Tx, c *call.Call, st *stack) error {
	if _, err := s.findStack(ctx, tx, c.Account(), c.Region, st.Name); errorCode(err) != "ValidationError" {
		if err != nil {
			return err
		}
		return aws.Errorf("AlreadyExistsException", "Stack [%s] already exists", st.Name)
	}
	if err := s.insertStack(ctx, tx, st); err != nil {
		return err
	}
	return s.setStatus(ctx, tx, st, "REVIEW_IN_PROGRESS", "User Initiated", c.Time)
}

func (s *Service) describeChangeSetNeeds(ctx context.Context, c *call.Call, in *api.DescribeChangeSetInput) ([]call.Need, error) {
	return s.changeSetNeed(ctx, c, "cloudformation:DescribeChangeSet", in.StackName, in.ChangeSetName)
}

func (s *Service) describeChangeSet(ctx context.Context, c *call.Call, in *api.DescribeChangeSetInput) (*api.DescribeChangeSetOutput, error) {
	st, cs, err := s.changeSet(ctx, c, in.StackName, in.ChangeSetName)
	if err != nil {
		return nil, err
	}
	changes, next, err := page(cs.Changes, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeChangeSetOutput{
		ChangeSetName: cs.Name, ChangeSetId: cs.ID, StackId: st.ID, StackName: st.Name, Description: cs.Description,
		Parameters: shownParameters(&cs.Def), CreationTime: new(cs.Created), ExecutionStatus: cs.Execution, Status: cs.Status,
		StatusReason: cs.Reason, NotificationARNs: []string{}, RollbackConfiguration: &api.RollbackConfiguration{},
		Capabilities: cs.Def.Capabilities, NextToken: next, IncludeNestedStacks: new(cs.Nested), OnStackFailure: cs.OnFailure,
		Tags:    convert(cs.Def.Tags, func(t aws.Tag) api.Tag { return api.Tag{Key: t.Key, Value: t.Value} }),
		Changes: []api.Change{},
	}
	secrets := noEcho(&cs.Def, &st.Def)
	for _, ch := range changes {
		out.Changes = append(out.Changes, api.Change{Type: "Resource", ResourceChange: shownChange(ch, is(in.IncludePropertyValues), secrets)})
	}
	return out, nil
}

func shownChange(ch cfn.Change, values bool, secrets []string) *api.ResourceChange {
	rc := &api.ResourceChange{
		Action: ch.Action, LogicalResourceId: ch.LogicalID, PhysicalResourceId: ch.PhysicalID, ResourceType: ch.Type,
		Replacement: ch.Replacement, Scope: ch.Scope, PolicyAction: ch.PolicyAction, Details: []api.ResourceChangeDetail{},
	}
	if rc.Scope == nil {
		rc.Scope = []string{}
	}
	for _, d := range ch.Details {
		target := &api.ResourceTargetDefinition{Attribute: d.Attribute, Name: d.Name, RequiresRecreation: d.RequiresRecreation}
		if target.RequiresRecreation == "" {
			target.RequiresRecreation = "Never"
		}
		if values && d.Name != "" {
			target.BeforeValue = shownValue(ch.Before.Get(d.Name), secrets)
			target.AfterValue = shownValue(ch.After.Get(d.Name), secrets)
		}
		rc.Details = append(rc.Details, api.ResourceChangeDetail{
			Target: target, Evaluation: d.Evaluation, ChangeSource: d.Source, CausingEntity: d.CausingEntity,
		})
	}
	if values {
		rc.BeforeContext, rc.AfterContext = shownContext(ch.Before, secrets), shownContext(ch.After, secrets)
	}
	return rc
}

func shownValue(n *cfn.Node, secrets []string) string {
	if n == nil {
		return ""
	}
	n = hide(n, secrets)
	if n.Kind == cfn.List || n.Kind == cfn.Map {
		return string(n.JSON())
	}
	return n.Text
}

func shownContext(n *cfn.Node, secrets []string) string {
	if n == nil {
		return ""
	}
	return string(cfn.Object(cfn.Field{Key: "Properties", Value: hide(n, secrets)}).JSON())
}

func (s *Service) listChangeSetsNeeds(ctx context.Context, c *call.Call, in *api.ListChangeSetsInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:ListChangeSets", in.StackName, nil)
}

func (s *Service) listChangeSets(ctx context.Context, c *call.Call, in *api.ListChangeSetsInput) (*api.ListChangeSetsOutput, error) {
	st, err := s.stackNamed(ctx, c, in.StackName)
	if err != nil {
		return nil, err
	}
	var sets []changeSet
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		sets, err = state.List[changeSet](ctx, tx, `SELECT `+changeSetColumns+` FROM cloudformation_change_set
			WHERE stack = $1 ORDER BY created, id`, st.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	sets, next, err := page(sets, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListChangeSetsOutput{Summaries: []api.ChangeSetSummary{}, NextToken: next}
	for _, row := range sets {
		cs, err := s.openedChangeSet(row, nil)
		if err != nil {
			return nil, err
		}
		out.Summaries = append(out.Summaries, api.ChangeSetSummary{
			StackId: st.ID, StackName: st.Name, ChangeSetId: cs.ID, ChangeSetName: cs.Name, ExecutionStatus: cs.Execution,
			Status: cs.Status, StatusReason: cs.Reason, CreationTime: new(cs.Created), Description: cs.Description,
			IncludeNestedStacks: new(cs.Nested),
		})
	}
	return out, nil
}

func (s *Service) deleteChangeSetNeeds(ctx context.Context, c *call.Call, in *api.DeleteChangeSetInput) ([]call.Need, error) {
	return s.changeSetNeed(ctx, c, "cloudformation:DeleteChangeSet", in.StackName, in.ChangeSetName)
}

func (s *Service) deleteChangeSet(ctx context.Context, c *call.Call, in *api.DeleteChangeSetInput) (*api.DeleteChangeSetOutput, error) {
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		_, cs, err := s.findChangeSet(ctx, tx, c, in.StackName, in.ChangeSetName)
		if errorCode(err) == "ChangeSetNotFound" {
			return nil // AWS deletes what is not there without a word
		}
		if err != nil {
			return err
		}
		if cs.Execution == "EXECUTE_IN_PROGRESS" {
			return aws.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be deleted in its current status of [%s]", cs.ID, cs.Execution)
		}
		_, err = tx.Exec(ctx, `DELETE FROM cloudformation_change_set WHERE id = $1`, cs.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteChangeSetOutput{}, nil
}

func (s *Service) executeChangeSetNeeds(ctx context.Context, c *call.Call, in *api.ExecuteChangeSetInput) ([]call.Need, error) {
	return s.changeSetNeed(ctx, c, "cloudformation:ExecuteChangeSet", in.StackName, in.ChangeSetName)
}

func (s *Service) executeChangeSet(ctx context.Context, c *call.Call, in *api.ExecuteChangeSetInput) (*api.ExecuteChangeSetOutput, error) {
	st, cs, err := s.changeSet(ctx, c, in.StackName, in.ChangeSetName)
	if err != nil {
		return nil, err
	}
	kind := "update"
	if cs.Type == "CREATE" {
		kind = "create"
	}
	op := s.operation(c, kind, in.ClientRequestToken)
	op.ChangeSet, op.Target, op.RetainExceptOnCreate = cs.ID, &cs.Def, is(in.RetainExceptOnCreate)
	if op.OnFailure = cs.OnFailure; op.OnFailure == "" {
		op.OnFailure = "ROLLBACK"
	}
	if is(in.DisableRollback) {
		if cs.OnFailure != "" {
			return nil, validation("DisableRollback cannot be specified for a change set that was created with OnStackFailure.")
		}
		op.OnFailure = "DO_NOTHING"
	}
	role := cs.RoleARN
	if role == "" {
		role = st.RoleARN
	}
	if _, err := s.wear(ctx, op.Session, role, st.ID); err != nil {
		return nil, err
	}
	if err := s.beginChangeSet(ctx, c, cs.ID, op, role, digest(in)); err != nil {
		return nil, err
	}
	s.settled(ctx, st.ID)
	return &api.ExecuteChangeSetOutput{}, nil
}

// beginChangeSet records the execution of a change set and the job that does
// it. The stack's other change sets are worth nothing from now on.
func (s *Service) beginChangeSet(ctx context.Context, c *call.Call, id string, op *operation, role, request string) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		st, cs, err := s.findChangeSet(ctx, tx, c, "", id)
		if err != nil {
			return err
		}
		if again, err := repeated(st, op.Token, request); again || err != nil {
			return err
		}
		if cs.Status != "CREATE_COMPLETE" || cs.Execution != "AVAILABLE" {
			in := cs.Status
			if in == "CREATE_COMPLETE" {
				in = cs.Execution
			}
			return aws.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current status of [%s]", cs.ID, in)
		}
		status := "UPDATE_IN_PROGRESS"
		if op.Kind == "create" {
			if status = "CREATE_IN_PROGRESS"; st.Status != "REVIEW_IN_PROGRESS" {
				return cannotUpdate(st)
			}
			st.Def, st.OnFailure = *op.Target, op.OnFailure
			st.DisableRollback = op.OnFailure == "DO_NOTHING"
		} else {
			if err := updatable(st); err != nil {
				return err
			}
			previous := st.Def
			if st.Status == "UPDATE_FAILED" && st.Op != nil && st.Op.Previous != nil {
				previous = *st.Op.Previous
			}
			op.Previous = &previous
		}
		st.Op, st.RoleARN, st.ChangeSetID, st.Updated = op, role, cs.ID, c.Time
		st.Token, st.Request = op.Token, request
		if err := s.dropChangeSets(ctx, tx, st.ID, cs.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE cloudformation_change_set SET execution = 'EXECUTE_IN_PROGRESS' WHERE id = $1`, cs.ID); err != nil {
			return err
		}
		if err := s.setStatus(ctx, tx, st, status, "User Initiated", c.Time); err != nil {
			return err
		}
		return enqueue(ctx, tx, st)
	})
}

// finishChangeSet records how the execution of a change set ended.
func (s *Service) finishChangeSet(ctx context.Context, tx *state.Tx, id, status string) error {
	if id == "" {
		return nil
	}
	execution := "EXECUTE_FAILED"
	if status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" {
		execution = "EXECUTE_COMPLETE"
	}
	_, err := tx.Exec(ctx, `UPDATE cloudformation_change_set SET execution = $2 WHERE id = $1`, id, execution)
	return err
}

// outdateChangeSets says of a stack's change sets that the stack has moved on
// without them.
func (s *Service) outdateChangeSets(ctx context.Context, tx *state.Tx, stackID string) error {
	_, err := tx.Exec(ctx, `UPDATE cloudformation_change_set SET execution = 'OBSOLETE' WHERE stack = $1 AND execution = 'AVAILABLE'`, stackID)
	return err
}

// dropChangeSets deletes a stack's change sets but one.
func (s *Service) dropChangeSets(ctx context.Context, tx *state.Tx, stackID, except string) error {
	_, err := tx.Exec(ctx, `DELETE FROM cloudformation_change_set WHERE stack = $1 AND id <> $2`, stackID, except)
	return err
}
