package cloudformation

import (
	"context"
	"strings"

	evapi "github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/cfn"
)

func (q *request) events() evapi.Client { return evapi.Client{Invoker: q.Invoker} }

func eventTags(tags []tag) []evapi.Tag {
	return convert(tags, func(t tag) evapi.Tag { return evapi.Tag{Key: t.Key, Value: t.Value} })
}

// rule is AWS::Events::Rule. Its physical id is its name, with the bus before
// it where that is not the default one.
type rule struct{}

type ruleProperties struct {
	Description        string
	EventBusName       string
	EventPattern       *cfn.Node
	Name               string
	RoleArn            string
	ScheduleExpression string
	State              string
	Tags               []tag
	Targets            []evapi.Target
}

// ruleName takes a rule's physical id apart.
func ruleName(physical string) (bus, name string) {
	if bus, name, ok := strings.Cut(physical, "|"); ok {
		return bus, name
	}
	return "", physical
}

func (rule) create(ctx context.Context, q *request) error {
	var p ruleProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if !q.Resumed {
		if _, err := q.events().DescribeRule(ctx, &evapi.DescribeRuleInput{Name: q.Name, EventBusName: p.EventBusName}); err == nil {
			return problemf("%s already exists", q.Name) // PutRule would take it over
		}
	}
	if err := q.putRule(ctx, q.Name, p); err != nil {
		return err
	}
	physical := q.Name
	if p.EventBusName != "" && p.EventBusName != "default" {
		physical = p.EventBusName + "|" + q.Name
	}
	if err := q.exists(ctx, physical); err != nil {
		return err
	}
	return q.targets(ctx, nil, p.Targets)
}

func (q *request) putRule(ctx context.Context, name string, p ruleProperties) error {
	in := &evapi.PutRuleInput{
		Name: name, EventBusName: p.EventBusName, Description: p.Description, EventPattern: document(p.EventPattern),
		ScheduleExpression: p.ScheduleExpression, State: p.State, RoleArn: p.RoleArn,
	}
	if q.Before == nil {
		in.Tags = eventTags(p.Tags) // of an existing rule they are TagResource's
	}
	out, err := q.events().PutRule(ctx, in)
	if err == nil {
		q.Attributes["Arn"] = out.RuleArn
	}
	return err
}

// targets brings a rule's targets from one state to another.
func (q *request) targets(ctx context.Context, before, after []evapi.Target) error {
	bus, name := ruleName(q.Physical)
	id := func(t evapi.Target) string { return t.Id }
	if gone := without(convert(before, id), convert(after, id)); gone != nil {
		out, err := q.events().RemoveTargets(ctx, &evapi.RemoveTargetsInput{Rule: name, EventBusName: bus, Ids: gone})
		if err != nil {
			return err
		}
		for _, f := range out.FailedEntries {
			return aws.Errorf(f.ErrorCode, "%s", f.ErrorMessage)
		}
	}
	if len(after) == 0 {
		return nil
	}
	out, err := q.events().PutTargets(ctx, &evapi.PutTargetsInput{Rule: name, EventBusName: bus, Targets: after})
	if err != nil {
		return err
	}
	for _, f := range out.FailedEntries {
		return aws.Errorf(f.ErrorCode, "%s", f.ErrorMessage)
	}
	return nil
}

func (rule) update(ctx context.Context, q *request) error {
	var before, after ruleProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	_, name := ruleName(q.Physical)
	if err := q.putRule(ctx, name, after); err != nil {
		return err
	}
	if err := q.eventTags(ctx, q.Attributes["Arn"], before.Tags, after.Tags); err != nil {
		return err
	}
	return q.targets(ctx, before.Targets, after.Targets)
}

func (q *request) eventTags(ctx context.Context, arn string, before, after []tag) error {
	set, unset := tagChanges(before, after)
	if unset != nil {
		if _, err := q.events().UntagResource(ctx, &evapi.UntagResourceInput{ResourceARN: arn, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}
	_, err := q.events().TagResource(ctx, &evapi.TagResourceInput{ResourceARN: arn, Tags: eventTags(set)})
	return err
}

func (rule) remove(ctx context.Context, q *request) error {
	var p ruleProperties
	_ = decode(q.Properties, &p) // a rule of bad properties was never made
	if err := q.targets(ctx, p.Targets, nil); err != nil {
		return unlessMissing(err)
	}
	bus, name := ruleName(q.Physical)
	_, err := q.events().DeleteRule(ctx, &evapi.DeleteRuleInput{Name: name, EventBusName: bus})
	return unlessMissing(err)
}

// eventBus is AWS::Events::EventBus.
type eventBus struct{}

type eventBusProperties struct {
	DeadLetterConfig *evapi.DeadLetterConfig
	Description      string
	EventSourceName  string
	KmsKeyIdentifier string
	LogConfig        *evapi.LogConfig
	Name             string `cfn:",required"`
	Policy           *cfn.Node
	Tags             []tag
}

func (eventBus) create(ctx context.Context, q *request) error {
	var p eventBusProperties
	if err := q.read(&p); err != nil {
		return err
	}
	out, err := q.events().CreateEventBus(ctx, &evapi.CreateEventBusInput{
		Name: p.Name, Description: p.Description, EventSourceName: p.EventSourceName, KmsKeyIdentifier: p.KmsKeyIdentifier,
		DeadLetterConfig: p.DeadLetterConfig, LogConfig: p.LogConfig, Tags: eventTags(p.Tags),
	})
	switch {
	case err == nil:
		q.Attributes["Arn"] = out.EventBusArn
	case q.Resumed && existing(err):
		got, e := q.events().DescribeEventBus(ctx, &evapi.DescribeEventBusInput{Name: p.Name})
		if e != nil || !q.ours(got.CreationTime) {
			return err
		}
		q.Attributes["Arn"] = got.Arn
	default:
		return err
	}
	q.Attributes["Name"], q.Attributes["Policy"] = p.Name, document(p.Policy)
	if err := q.exists(ctx, p.Name); err != nil {
		return err
	}
	if p.Policy == nil {
		return nil
	}
	return q.putBusPolicy(ctx, p)
}

func (q *request) putBusPolicy(ctx context.Context, p eventBusProperties) error {
	_, err := q.events().PutPermission(ctx, &evapi.PutPermissionInput{EventBusName: p.Name, Policy: document(p.Policy)})
	return err
}

func (eventBus) update(ctx context.Context, q *request) error {
	var before, after eventBusProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if q.changed("Description") || q.changed("KmsKeyIdentifier") || q.changed("DeadLetterConfig") || q.changed("LogConfig") {
		if _, err := q.events().UpdateEventBus(ctx, &evapi.UpdateEventBusInput{
			Name: after.Name, Description: after.Description, KmsKeyIdentifier: after.KmsKeyIdentifier,
			DeadLetterConfig: after.DeadLetterConfig, LogConfig: after.LogConfig,
		}); err != nil {
			return err
		}
	}
	if err := q.eventTags(ctx, q.Attributes["Arn"], before.Tags, after.Tags); err != nil {
		return err
	}
	if !q.changed("Policy") {
		return nil
	}
	q.Attributes["Policy"] = document(after.Policy)
	if after.Policy != nil {
		return q.putBusPolicy(ctx, after)
	}
	_, err := q.events().RemovePermission(ctx, &evapi.RemovePermissionInput{EventBusName: after.Name, RemoveAllPermissions: new(true)})
	return unlessMissing(err)
}

func (eventBus) remove(ctx context.Context, q *request) error {
	_, err := q.events().DeleteEventBus(ctx, &evapi.DeleteEventBusInput{Name: q.Physical})
	return unlessMissing(err)
}

// eventBusPolicy is AWS::Events::EventBusPolicy: one statement of a bus's
// policy.
type eventBusPolicy struct{}

type eventBusPolicyProperties struct {
	Action       string
	Condition    *evapi.Condition
	EventBusName string
	Principal    string
	Statement    *cfn.Node
	StatementId  string `cfn:",required"`
}

func (eventBusPolicy) create(ctx context.Context, q *request) error {
	var p eventBusPolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if err := q.putStatement(ctx, p); err != nil {
		return err
	}
	return q.exists(ctx, q.Name)
}

func (q *request) putStatement(ctx context.Context, p eventBusPolicyProperties) error {
	if p.Statement == nil {
		_, err := q.events().PutPermission(ctx, &evapi.PutPermissionInput{
			EventBusName: p.EventBusName, StatementId: p.StatementId, Action: p.Action, Principal: p.Principal, Condition: p.Condition,
		})
		return err
	}
	if p.Statement.Kind != cfn.Map {
		return problemf("Value of property Statement must be an object")
	}
	if _, err := q.events().DescribeEventBus(ctx, &evapi.DescribeEventBusInput{Name: p.EventBusName}); err != nil {
		return err // AWS's handler looks at the bus as well
	}
	_, err := q.events().PutStatement(ctx, &evapi.PutStatementInput{
		EventBusName: p.EventBusName, StatementId: p.StatementId, Statement: document(p.Statement),
	})
	return err
}

func (eventBusPolicy) update(ctx context.Context, q *request) error {
	var p eventBusPolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	return q.putStatement(ctx, p)
}

func (eventBusPolicy) remove(ctx context.Context, q *request) error {
	var p eventBusPolicyProperties
	if err := decode(q.Properties, &p); err != nil {
		return nil // it was never made
	}
	_, err := q.events().RemovePermission(ctx, &evapi.RemovePermissionInput{EventBusName: p.EventBusName, StatementId: p.StatementId})
	return unlessMissing(err)
}
