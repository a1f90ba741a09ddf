package cloudformation

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/state"
)

// nested is AWS::CloudFormation::Stack. The stack within is a stack of its
// own, with its own job; this one waits for it.
type nested struct{}

type nestedProperties struct {
	NotificationARNs []string
	Parameters       map[string]string
	Tags             []tag
	TemplateURL      string `cfn:",required"`
	TimeoutInMinutes *int64
}

func (q *request) cloudformation() api.Client { return api.Client{Invoker: q.Invoker} }

func (p nestedProperties) parameters() []api.Parameter {
	var out []api.Parameter
	for _, k := range slices.Sorted(maps.Keys(p.Parameters)) { // in order: a request is known again by its text
		out = append(out, api.Parameter{ParameterKey: k, ParameterValue: p.Parameters[k]})
	}
	return out
}

func (p nestedProperties) tags() []api.Tag {
	return convert(p.Tags, func(t tag) api.Tag { return api.Tag{Key: t.Key, Value: t.Value} })
}

// capabilities of a stack are those its nested stacks have.
func (q *request) capabilities() []string {
	if q.Stack.Op != nil && q.Stack.Op.Target != nil {
		return q.Stack.Op.Target.Capabilities
	}
	return q.Stack.Def.Capabilities
}

func (nested) create(ctx context.Context, q *request) error {
	var p nestedProperties
	if err := q.read(&p); err != nil {
		return err
	}
	id, err := q.createNested(ctx, p)
	if err != nil {
		return err
	}
	if err := q.s.adopt(ctx, id, q.Stack); err != nil {
		return err
	}
	if err := q.exists(ctx, id); err != nil {
		return err
	}
	st, err := q.s.await(ctx, id)
	if err != nil {
		return err
	}
	if st.Status != "CREATE_COMPLETE" {
		return problemf("Embedded stack %s was not successfully created: %s", id, st.Reason)
	}
	q.nestedAttributes(st)
	return nil
}

func (q *request) createNested(ctx context.Context, p nestedProperties) (string, error) {
	out, err := q.cloudformation().CreateStack(ctx, &api.CreateStackInput{
		StackName: q.Name, TemplateURL: p.TemplateURL, Parameters: p.parameters(), Tags: p.tags(),
		TimeoutInMinutes: p.TimeoutInMinutes, NotificationARNs: p.NotificationARNs, Capabilities: q.capabilities(),
		// The parent's rollback deletes it.
		OnFailure: "DO_NOTHING", ClientRequestToken: q.Token,
	})
	if err != nil {
		return "", err
	}
	return out.StackId, nil
}

func (q *request) nestedAttributes(st *stack) {
	clear(q.Attributes)
	q.Attributes["StackId"], q.Attributes["StackStatus"] = st.ID, st.Status
	for _, o := range st.Outputs {
		q.Attributes["Outputs."+o.Name] = o.Value
	}
}

// adopt makes a stack the child of another.
func (s *Service) adopt(ctx context.Context, id string, parent *stack) error {
	root := parent.Root
	if root == "" {
		root = parent.ID
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE cloudformation_stack SET parent = $2, root = $3 WHERE id = $1`, id, parent.ID, root)
		return err
	})
}

// await waits for a stack's operation to end.
func (s *Service) await(ctx context.Context, id string) (*stack, error) {
	changed, stop := s.db.Listen(topic(id))
	defer stop()
	for {
		st, err := s.stackByID(ctx, id)
		if err != nil || !st.busy() {
			return st, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (nested) update(ctx context.Context, q *request) error {
	var p nestedProperties
	if err := q.read(&p); err != nil {
		return err
	}
	_, err := q.cloudformation().UpdateStack(ctx, &api.UpdateStackInput{
		StackName: q.Physical, TemplateURL: p.TemplateURL, Parameters: p.parameters(), Tags: p.tags(),
		NotificationARNs: p.NotificationARNs, Capabilities: q.capabilities(), ClientRequestToken: q.Token,
	})
	same := err != nil && strings.Contains(err.Error(), noUpdates)
	if err != nil && !same {
		return err
	}
	st, err := q.s.await(ctx, q.Physical)
	if err != nil {
		return err
	}
	if same || st.Status == "UPDATE_COMPLETE" {
		q.nestedAttributes(st)
		return nil
	}
	return problemf("Embedded stack %s was not successfully updated. Currently in %s with reason: %s", st.ID, st.Status, st.Reason)
}

func (nested) remove(ctx context.Context, q *request) error {
	st, err := q.s.await(ctx, q.Physical)
	if err != nil {
		return err
	}
	if !st.Live {
		return nil
	}
	if _, err := q.cloudformation().DeleteStack(ctx, &api.DeleteStackInput{StackName: q.Physical}); err != nil {
		return err
	}
	if st, err = q.s.await(ctx, q.Physical); err != nil {
		return err
	}
	if st.Live {
		return problemf("Embedded stack %s was not successfully deleted: %s", st.ID, st.Reason)
	}
	return nil
}
