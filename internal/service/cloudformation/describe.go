package cloudformation

import (
	"context"
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

// pageSize is how many items AWS returns at once.
const pageSize = 100

// pageToken and fromToken are the two ways between a place in a list and the
// text that callers hand back.
func pageToken(place string) string { return base64.RawURLEncoding.EncodeToString([]byte(place)) }

func fromToken(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 {
		return "", validation("The specified NextToken is not valid")
	}
	return string(b), nil
}

// offsetToken is fromToken for lists that are counted.
func offsetToken(token string) (int, error) {
	place, err := fromToken(token)
	if err != nil || place == "" {
		return 0, err
	}
	n, err := strconv.Atoi(place)
	if err != nil || n < 0 {
		return 0, validation("The specified NextToken is not valid")
	}
	return n, nil
}

// page cuts a page out of a list.
func page[T any](list []T, token string) ([]T, string, error) {
	from, err := offsetToken(token)
	if err != nil {
		return nil, "", err
	}
	from = min(from, len(list))
	to := min(from+pageSize, len(list))
	next := ""
	if to < len(list) {
		next = pageToken(strconv.Itoa(to))
	}
	return list[from:to], next, nil
}

func timePointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Service) describeStacksNeeds(ctx context.Context, c *call.Call, in *api.DescribeStacksInput) ([]call.Need, error) {
	if in.StackName == "" { // to describe them all is to list them
		return []call.Need{
			{Action: "cloudformation:DescribeStacks", Resource: "*"},
			{Action: "cloudformation:ListStacks", Resource: anyStack(c)},
		}, nil
	}
	return s.need(ctx, c, "cloudformation:DescribeStacks", in.StackName, nil)
}

// anyStack is the ARN that asks about all stacks of an account.
func anyStack(c *call.Call) string {
	return aws.NewARN("cloudformation", c.Region, c.Account(), "stack/*/*")
}

func (s *Service) describeStacks(ctx context.Context, c *call.Call, in *api.DescribeStacksInput) (*api.DescribeStacksOutput, error) {
	if in.StackName != "" {
		st, err := s.stack(ctx, c, in.StackName)
		if err != nil {
			return nil, err
		}
		return &api.DescribeStacksOutput{Stacks: []api.Stack{describe(st)}}, nil
	}
	stacks, next, err := s.listed(ctx, c, in.NextToken, true)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStacksOutput{Stacks: []api.Stack{}, NextToken: next}
	for _, st := range stacks {
		out.Stacks = append(out.Stacks, describe(st))
	}
	return out, nil
}

// listed is a page of the account's stacks, newest first.
func (s *Service) listed(ctx context.Context, c *call.Call, token string, liveOnly bool) ([]*stack, string, error) {
	place, err := fromToken(token)
	if err != nil {
		return nil, "", err
	}
	created, id := int64(1)<<62, ""
	if place != "" {
		ms, rest, ok := strings.Cut(place, " ")
		if created, err = strconv.ParseInt(ms, 10, 64); err != nil || !ok {
			return nil, "", validation("The specified NextToken is not valid")
		}
		id = rest
	}
	var stacks []*stack
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[stack](ctx, tx, `SELECT `+stackColumns+` FROM cloudformation_stack
			WHERE account = $1 AND region = $2 AND (created, id) < ($3, $4) AND live >= $5
			ORDER BY created DESC, id DESC LIMIT $6`, c.Account(), c.Region, created, id, liveOnly, pageSize+1)
		if err != nil {
			return err
		}
		for _, row := range rows {
			st, err := s.opened(row, nil)
			if err != nil {
				return err
			}
			stacks = append(stacks, st)
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if len(stacks) <= pageSize {
		return stacks, "", nil
	}
	last := stacks[pageSize-1]
	return stacks[:pageSize], pageToken(strconv.FormatInt(state.Millis(last.Created), 10) + " " + last.ID), nil
}

func describe(st *stack) api.Stack {
	d := &st.Def
	if d.Template == "" && st.Op != nil && st.Op.Target != nil {
		d = st.Op.Target
	}
	out := api.Stack{
		StackId: st.ID, StackName: st.Name, ChangeSetId: st.ChangeSetID, Description: st.Description,
		CreationTime: &st.Created, DeletionTime: timePointer(st.Deleted), LastUpdatedTime: timePointer(st.Updated),
		RollbackConfiguration: &api.RollbackConfiguration{}, StackStatus: st.Status, StackStatusReason: st.Reason,
		DisableRollback: new(st.DisableRollback), NotificationARNs: []string{}, Capabilities: d.Capabilities,
		RoleARN: st.RoleARN, EnableTerminationProtection: new(st.Protected), ParentId: st.Parent, RootId: st.Root,
		DriftInformation: &api.StackDriftInformation{StackDriftStatus: "NOT_CHECKED"},
		Tags:             convert(d.Tags, func(t aws.Tag) api.Tag { return api.Tag{Key: t.Key, Value: t.Value} }),
		DeletionMode:     st.DeletionMode,
	}
	if out.Tags == nil {
		out.Tags = []api.Tag{}
	}
	if st.Timeout > 0 {
		out.TimeoutInMinutes = new(st.Timeout)
	}
	if st.RetainExceptOnCreate {
		out.RetainExceptOnCreate = new(true)
	}
	out.Parameters = shownParameters(d)
	for _, o := range st.Outputs {
		out.Outputs = append(out.Outputs, api.Output{
			OutputKey: o.Name, OutputValue: o.Value, Description: o.Description, ExportName: o.Export,
		})
	}
	return out
}

// shownParameters are a definition's parameters in the order of the template,
// those with NoEcho masked.
func shownParameters(d *definition) []api.Parameter {
	t, err := cfn.Parse(d.Template)
	if err != nil {
		return nil
	}
	var out []api.Parameter
	for _, p := range t.Parameters {
		v := d.Parameters[p.Name]
		if p.NoEcho {
			v = "****"
		}
		out = append(out, api.Parameter{ParameterKey: p.Name, ParameterValue: v})
	}
	return out
}

func (s *Service) listStacksNeeds(_ context.Context, c *call.Call, _ *api.ListStacksInput) ([]call.Need, error) {
	return []call.Need{{Action: "cloudformation:ListStacks", Resource: anyStack(c)}}, nil
}

func (s *Service) listStacks(ctx context.Context, c *call.Call, in *api.ListStacksInput) (*api.ListStacksOutput, error) {
	stacks, next, err := s.listed(ctx, c, in.NextToken, false)
	if err != nil {
		return nil, err
	}
	out := &api.ListStacksOutput{StackSummaries: []api.StackSummary{}, NextToken: next}
	for _, st := range stacks {
		if len(in.StackStatusFilter) > 0 && !slices.Contains(in.StackStatusFilter, st.Status) {
			continue
		}
		out.StackSummaries = append(out.StackSummaries, api.StackSummary{
			StackId: st.ID, StackName: st.Name, TemplateDescription: st.Description, CreationTime: &st.Created,
			LastUpdatedTime: timePointer(st.Updated), DeletionTime: timePointer(st.Deleted), StackStatus: st.Status,
			StackStatusReason: st.Reason, ParentId: st.Parent, RootId: st.Root,
			DriftInformation: &api.StackDriftInformationSummary{StackDriftStatus: "NOT_CHECKED"},
		})
	}
	return out, nil
}

func (s *Service) describeStackEventsNeeds(ctx context.Context, c *call.Call, in *api.DescribeStackEventsInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:DescribeStackEvents", in.StackName, nil)
}

func (s *Service) describeStackEvents(ctx context.Context, c *call.Call, in *api.DescribeStackEventsInput) (*api.DescribeStackEventsOutput, error) {
	before := int64(math.MaxInt64)
	place, err := fromToken(in.NextToken)
	if err == nil && place != "" {
		if before, err = strconv.ParseInt(place, 10, 64); err != nil {
			err = validation("The specified NextToken is not valid")
		}
	}
	if err != nil {
		return nil, err
	}
	st, err := s.stackNamed(ctx, c, in.StackName)
	if err != nil {
		return nil, err
	}
	var events []event
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		events, err = state.List[event](ctx, tx, `SELECT `+eventColumns+` FROM cloudformation_event
			WHERE stack = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`, st.ID, before, pageSize+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStackEventsOutput{StackEvents: []api.StackEvent{}}
	if len(events) > pageSize {
		events = events[:pageSize]
		out.NextToken = pageToken(strconv.FormatInt(events[pageSize-1].Seq, 10))
	}
	for _, e := range events {
		out.StackEvents = append(out.StackEvents, api.StackEvent{
			StackId: e.Stack, StackName: st.Name, EventId: e.ID, LogicalResourceId: e.Logical, PhysicalResourceId: e.Physical,
			ResourceType: e.Type, Timestamp: new(e.At), ResourceStatus: e.Status, ResourceStatusReason: e.Reason,
			ResourceProperties: e.Properties, ClientRequestToken: e.Token, OperationId: e.Op,
		})
	}
	return out, nil
}

// stackNamed is stack for operations whose text about a missing one differs.
func (s *Service) stackNamed(ctx context.Context, c *call.Call, name string) (*stack, error) {
	st, err := s.stack(ctx, c, name)
	if errorCode(err) == "ValidationError" {
		return nil, validation("Stack [%s] does not exist", name)
	}
	return st, err
}

// stackAndResources reads a stack with its resources.
func (s *Service) stackAndResources(ctx context.Context, c *call.Call, name string) (st *stack, rows []resource, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		if st, err = s.findStack(ctx, tx, c.Account(), c.Region, name); err != nil {
			return err
		}
		rows, err = s.resources(ctx, tx, st.ID)
		return err
	})
	return st, rows, err
}

func (s *Service) describeStackResourceNeeds(ctx context.Context, c *call.Call, in *api.DescribeStackResourceInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:DescribeStackResource", in.StackName, nil)
}

func (s *Service) describeStackResource(ctx context.Context, c *call.Call, in *api.DescribeStackResourceInput) (*api.DescribeStackResourceOutput, error) {
	st, rows, err := s.stackAndResources(ctx, c, in.StackName)
	if errorCode(err) == "ValidationError" {
		return nil, validation("Stack '%s' does not exist", in.StackName)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Logical != in.LogicalResourceId {
			continue
		}
		d := &api.StackResourceDetail{
			StackName: st.Name, StackId: st.ID, LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type,
			LastUpdatedTimestamp: new(r.Updated), ResourceStatus: r.Status, ResourceStatusReason: r.Reason, Metadata: "{}",
			DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"},
		}
		if r.Now.Metadata != nil {
			d.Metadata = string(r.Now.Metadata.JSON())
		}
		return &api.DescribeStackResourceOutput{StackResourceDetail: d}, nil
	}
	return nil, validation("Resource %s does not exist for stack %s", in.LogicalResourceId, in.StackName)
}

func (s *Service) describeStackResourcesNeeds(ctx context.Context, c *call.Call, in *api.DescribeStackResourcesInput) ([]call.Need, error) {
	name := in.StackName
	if name == "" && in.PhysicalResourceId != "" {
		id, err := s.stackOf(ctx, c, in.PhysicalResourceId)
		if err != nil {
			return nil, err
		}
		if id == "" {
			return []call.Need{{Action: "cloudformation:DescribeStackResources", Resource: anyStack(c)}}, nil
		}
		name = id
	}
	if name == "" {
		return []call.Need{{Action: "cloudformation:DescribeStackResources", Resource: anyStack(c)}}, nil
	}
	return s.need(ctx, c, "cloudformation:DescribeStackResources", name, nil)
}

// stackOf finds the caller's stack that a physical resource is part of.
func (s *Service) stackOf(ctx context.Context, c *call.Call, physical string) (string, error) {
	var ids []string
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		ids, err = state.List[string](ctx, tx, `
			SELECT r.stack FROM cloudformation_resource r JOIN cloudformation_stack s ON s.id = r.stack
			WHERE r.physical = $1 AND s.account = $2 AND s.region = $3 AND s.live = 1 ORDER BY r.stack LIMIT 1`,
			physical, c.Account(), c.Region)
		return err
	})
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

func (s *Service) describeStackResources(ctx context.Context, c *call.Call, in *api.DescribeStackResourcesInput) (*api.DescribeStackResourcesOutput, error) {
	name := in.StackName
	switch {
	case name == "" && in.PhysicalResourceId == "":
		return nil, validation("Either StackName or PhysicalResourceId must be specified.")
	case name != "" && in.PhysicalResourceId != "":
		return nil, validation("StackName and PhysicalResourceId must not be specified together.")
	case name == "":
		id, err := s.stackOf(ctx, c, in.PhysicalResourceId)
		if err != nil {
			return nil, err
		}
		if name = id; name == "" {
			return nil, validation("Stack for %s does not exist", in.PhysicalResourceId)
		}
	}
	st, rows, err := s.stackAndResources(ctx, c, name)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStackResourcesOutput{StackResources: []api.StackResource{}}
	for _, r := range rows {
		if in.LogicalResourceId != "" && r.Logical != in.LogicalResourceId {
			continue
		}
		out.StackResources = append(out.StackResources, api.StackResource{
			StackName: st.Name, StackId: st.ID, LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type,
			Timestamp: new(r.Updated), ResourceStatus: r.Status, ResourceStatusReason: r.Reason,
			DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"},
		})
		if len(out.StackResources) == pageSize {
			break // AWS returns no more either
		}
	}
	return out, nil
}

func (s *Service) listStackResourcesNeeds(ctx context.Context, c *call.Call, in *api.ListStackResourcesInput) ([]call.Need, error) {
	return s.need(ctx, c, "cloudformation:ListStackResources", in.StackName, nil)
}

func (s *Service) listStackResources(ctx context.Context, c *call.Call, in *api.ListStackResourcesInput) (*api.ListStackResourcesOutput, error) {
	_, rows, err := s.stackAndResources(ctx, c, in.StackName)
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStackResourcesOutput{StackResourceSummaries: []api.StackResourceSummary{}, NextToken: next}
	for _, r := range rows {
		out.StackResourceSummaries = append(out.StackResourceSummaries, api.StackResourceSummary{
			LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type,
			LastUpdatedTimestamp: new(r.Updated), ResourceStatus: r.Status, ResourceStatusReason: r.Reason,
			DriftInformation: &api.StackResourceDriftInformationSummary{StackResourceDriftStatus: "NOT_CHECKED"},
		})
	}
	return out, nil
}

func (s *Service) listExportsNeeds(context.Context, *call.Call, *api.ListExportsInput) ([]call.Need, error) {
	return []call.Need{{Action: "cloudformation:ListExports", Resource: "*"}}, nil
}

func (s *Service) listExports(ctx context.Context, c *call.Call, in *api.ListExportsInput) (*api.ListExportsOutput, error) {
	after, err := fromToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	var rows []exportRow
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		rows, err = state.List[exportRow](ctx, tx, `SELECT name, stack, value FROM cloudformation_export
			WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`, c.Account(), c.Region, after, pageSize+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListExportsOutput{Exports: []api.Export{}}
	if len(rows) > pageSize {
		rows = rows[:pageSize]
		out.NextToken = pageToken(rows[pageSize-1].Name)
	}
	for _, e := range rows {
		out.Exports = append(out.Exports, api.Export{ExportingStackId: e.Stack, Name: e.Name, Value: e.Value})
	}
	return out, nil
}

func (s *Service) listImportsNeeds(context.Context, *call.Call, *api.ListImportsInput) ([]call.Need, error) {
	return []call.Need{{Action: "cloudformation:ListImports", Resource: "*"}}, nil
}

func (s *Service) listImports(ctx context.Context, c *call.Call, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	var names []string
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		names, err = s.importers(ctx, tx, c.Account(), c.Region, in.ExportName)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, validation("Export '%s' is not imported by any stack.", in.ExportName)
	}
	names, next, err := page(names, in.NextToken)
	return &api.ListImportsOutput{Imports: names, NextToken: next}, err
}
