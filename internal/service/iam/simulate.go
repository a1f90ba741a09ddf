package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// simulationOperations are those of the policy simulator.
func (s *Service) simulationOperations() []call.Operation {
	return []call.Operation{
		across("SimulateCustomPolicy", "", none[api.SimulateCustomPolicyInput], s.simulateCustomPolicy),
		call.Op("SimulatePrincipalPolicy", func(ctx context.Context, c *call.Call, in *api.SimulatePrincipalPolicyInput) ([]call.Need, error) {
			return s.arnTarget(ctx, c, in.PolicySourceArn, "iam:SimulatePrincipalPolicy")
		}, s.simulatePrincipalPolicy),
		across("GetContextKeysForCustomPolicy", "", none[api.GetContextKeysForCustomPolicyInput], s.getContextKeysForCustomPolicy),
		call.Op("GetContextKeysForPrincipalPolicy", func(ctx context.Context, c *call.Call, in *api.GetContextKeysForPrincipalPolicyInput) ([]call.Need, error) {
			return s.arnTarget(ctx, c, in.PolicySourceArn, "iam:GetContextKeysForPrincipalPolicy")
		}, s.getContextKeysForPrincipalPolicy),
	}
}

// namedDoc is a document of a simulation with the id that results name it by.
type namedDoc struct {
	id  string
	doc *policy.Document
}

// simulation is a set of policies, and the circumstances in which requests
// are made that they are asked about.
type simulation struct {
	identity, boundary []namedDoc
	bounded            bool
	resource           string // the text of the resource's policy; empty without
	caller             aws.Principal
	owner              string // of resources whose ARN names no account
	member             *call.Member
	keys               policy.Keys
	asked              []string // the context keys that the policies ask for
}

// Organizations knows what binds accounts: the service organizations does.
type Organizations interface {
	// Current returns the organizations there are; nil means none.
	Current(ctx context.Context) (call.Organizations, error)
}

// Bind makes organizations known to simulations. It is called while the parts
// are joined, before the first call.
func (s *Service) Bind(o Organizations) { s.organizations = o }

// member is where an account stands in its organization; nil when in none.
func (s *Service) member(ctx context.Context, account string) (*call.Member, error) {
	if s.organizations == nil {
		return nil, nil
	}
	all, err := s.organizations.Current(ctx)
	if all == nil || err != nil {
		return nil, err
	}
	return all.Member(ctx, account)
}

func (s *Service) simulateCustomPolicy(_ context.Context, c *call.Call, in *api.SimulateCustomPolicyInput) (*api.SimulateCustomPolicyOutput, error) {
	if in.ResourcePolicy != "" && in.CallerArn == "" {
		return nil, invalid("CallerArn is required when ResourcePolicy is given.")
	}
	// Whoever has these policies: a user of the account.
	sim := simulation{caller: somebody(c.Account())}
	if err := sim.prepare(c, &api.SimulatePrincipalPolicyInput{
		PolicyInputList: in.PolicyInputList, PermissionsBoundaryPolicyInputList: in.PermissionsBoundaryPolicyInputList,
		ResourcePolicy: in.ResourcePolicy, ResourceOwner: in.ResourceOwner, CallerArn: in.CallerArn, ContextEntries: in.ContextEntries,
		ResourceHandlingOption: in.ResourceHandlingOption,
	}); err != nil {
		return nil, err
	}
	list, truncated, marker, err := sim.results(in.ActionNames, in.ResourceArns, in.Marker, in.MaxItems)
	return &api.SimulateCustomPolicyOutput{EvaluationResults: list, IsTruncated: truncated, Marker: marker}, err
}

// somebody is a user who has no name.
func somebody(account string) aws.Principal {
	return aws.Principal{Kind: aws.User, ARN: entityARN(account, user, "/", "simulated"), Account: account, ID: "AIDASIMULATED"}
}

// simulatePrincipalPolicy simulates with the policies of a user, group or
// role, its boundary and the organization's, and those that are given besides.
func (s *Service) simulatePrincipalPolicy(ctx context.Context, c *call.Call, in *api.SimulatePrincipalPolicyInput) (*api.SimulatePrincipalPolicyOutput, error) {
	sim := simulation{caller: somebody(c.Account())}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		e, err := entityByARN(ctx, tx, c.Account(), in.PolicySourceArn)
		if err != nil {
			return err
		}
		if in.ResourcePolicy != "" && in.CallerArn == "" && kind(e.Kind) != user {
			return invalid("CallerArn is required when ResourcePolicy is given and PolicySourceArn is not a user.")
		}
		sim.caller = simulated(e)
		list, err := heldBy(ctx, tx, e)
		if err != nil {
			return err
		}
		sim.identity = nil
		for _, h := range list {
			sim.identity = append(sim.identity, namedDoc{h.sourceID(), h.source.Doc})
		}
		if e.Boundary == "" {
			return nil
		}
		bounds, err := managedSource(ctx, tx, e.Account, e.Boundary, policy.Boundary, e.arn())
		sim.bounded = true
		for _, b := range bounds {
			sim.boundary = []namedDoc{{e.Boundary[strings.LastIndexByte(e.Boundary, '/')+1:], b.Doc}}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if sim.member, err = s.member(ctx, c.Account()); err != nil {
		return nil, err
	}
	if err := sim.prepare(c, in); err != nil {
		return nil, err
	}
	list, truncated, marker, err := sim.results(in.ActionNames, in.ResourceArns, in.Marker, in.MaxItems)
	return &api.SimulatePrincipalPolicyOutput{EvaluationResults: list, IsTruncated: truncated, Marker: marker}, err
}

// simulated is whom requests of an entity come from: the user, a session of
// the role, a user of the group.
func simulated(e entity) aws.Principal {
	switch kind(e.Kind) {
	case user:
		return aws.Principal{Kind: aws.User, ARN: e.arn(), Account: e.Account, ID: e.ID}
	case role:
		return aws.Principal{
			Kind: aws.Session, ARN: aws.NewARN("sts", "", e.Account, "assumed-role/"+e.Name+"/simulated"), Account: e.Account,
			ID: e.ID + ":simulated", RoleARN: e.arn(), Temporary: true,
		}
	}
	return somebody(e.Account)
}

// sourceID is what results call a policy: a managed one by its name, an inline
// one with its holder, such as user_alice_mine.
func (h held) sourceID() string {
	if h.arn != "" {
		return h.arn[strings.LastIndexByte(h.arn, '/')+1:]
	}
	return h.entity.Kind + "_" + h.entity.Name + "_" + h.source.Name
}

// prepare adds what a request gives: policies, resource policy, caller, owner
// and context.
func (sim *simulation) prepare(c *call.Call, in *api.SimulatePrincipalPolicyInput) error {
	if in.ResourceHandlingOption != "" {
		return invalid("ResourceHandlingOption is for simulations of ec2:RunInstances, which sekisho does not know.")
	}
	docs, err := inputs(in.PolicyInputList, policy.Identity)
	if err != nil {
		return err
	}
	for i, d := range docs {
		sim.identity = append(sim.identity, namedDoc{fmt.Sprintf("PolicyInputList.%d", i+1), d})
	}
	bounds, err := inputs(in.PermissionsBoundaryPolicyInputList, policy.Boundary)
	if err != nil {
		return err
	}
	if len(bounds) > 1 {
		return invalid("At most one permissions boundary can be simulated.")
	}
	if len(bounds) == 1 {
		sim.boundary, sim.bounded = []namedDoc{{"PermissionsBoundaryPolicyInputList.1", bounds[0]}}, true
	}
	if in.CallerArn != "" {
		k, _, err := entityOfARN(in.CallerArn)
		if err != nil || k != user {
			return invalid("Invalid Entity Arn: %s does not clearly define entity type and name.", in.CallerArn)
		}
		a, _ := aws.ParseARN(in.CallerArn)
		sim.caller = aws.Principal{Kind: aws.User, ARN: in.CallerArn, Account: a.Account, ID: "AIDASIMULATED"}
	}
	sim.owner, sim.resource = sim.caller.Account, in.ResourcePolicy
	if in.ResourceOwner != "" {
		if sim.owner, err = accountOf(in.ResourceOwner); err != nil {
			return err
		}
	}
	if sim.keys, err = given(c, in.ContextEntries); err != nil {
		return err
	}
	all := make([]*policy.Document, 0, len(sim.identity)+2)
	for _, d := range slices.Concat(sim.identity, sim.boundary) {
		all = append(all, d.doc)
	}
	if sim.resource != "" {
		d, err := inputs([]string{sim.resource}, policy.Resource)
		if err != nil {
			return err
		}
		all = append(all, d...)
	}
	sim.asked = contextKeys(all)
	return nil
}

// sources are documents as the engine takes them.
func sources(list []namedDoc, k policy.Kind, on string) []policy.Source {
	out := make([]policy.Source, len(list))
	for i, d := range list {
		out[i] = policy.Source{Kind: k, Name: d.id, On: on, Doc: d.doc}
	}
	return out
}

// results are one page of what the actions come to: one result an action, with
// one for each of the resources below it.
func (sim *simulation) results(actions, resources []string, marker string, maxItems *int64) (list []api.EvaluationResult, truncated *bool, next string, err error) {
	p, err := pageOf(marker, maxItems)
	if err != nil {
		return nil, nil, "", err
	}
	type place struct{ key, action string }
	var places []place
	for i, action := range actions {
		if service, name, ok := strings.Cut(action, ":"); !ok || service == "" || name == "" {
			return nil, nil, "", invalid("Invalid action name: %s", action)
		}
		places = append(places, place{fmt.Sprintf("%06d", i), action})
	}
	for _, r := range resources {
		if _, ok := aws.ParseARN(r); !ok && r != "*" {
			return nil, nil, "", invalid("Invalid resource ARN: %s", r)
		}
	}
	places, truncated, next = pageThrough(p, places, func(p place) string { return p.key })
	list = []api.EvaluationResult{}
	for _, a := range places {
		r, err := sim.result(a.action, resources)
		if err != nil {
			return nil, nil, "", err
		}
		list = append(list, r)
	}
	return list, truncated, next, nil
}

// result is what one action comes to. On several resources it is allowed when
// it is on each of them.
func (sim *simulation) result(action string, resources []string) (api.EvaluationResult, error) {
	if len(resources) == 0 {
		one, err := sim.on(action, "*")
		return api.EvaluationResult{
			EvalActionName: action, EvalResourceName: "*", EvalDecision: one.EvalResourceDecision, MatchedStatements: one.MatchedStatements,
			MissingContextValues: one.MissingContextValues, PermissionsBoundaryDecisionDetail: one.PermissionsBoundaryDecisionDetail,
			OrganizationsDecisionDetail: sim.organizations(action, "*"),
		}, err
	}
	out := api.EvaluationResult{EvalActionName: action, EvalResourceName: "*", EvalDecision: policy.Allow.String(), MissingContextValues: []string{}}
	if len(resources) == 1 {
		out.EvalResourceName = resources[0]
	}
	for i, r := range resources {
		one, err := sim.on(action, r)
		if err != nil {
			return out, err
		}
		out.ResourceSpecificResults = append(out.ResourceSpecificResults, one)
		if i == 0 || worse(one.EvalResourceDecision, out.EvalDecision) {
			out.EvalDecision, out.MatchedStatements = one.EvalResourceDecision, one.MatchedStatements
			out.EvalDecisionDetails, out.PermissionsBoundaryDecisionDetail = one.EvalDecisionDetails, one.PermissionsBoundaryDecisionDetail
			out.OrganizationsDecisionDetail = sim.organizations(action, r)
		}
	}
	return out, nil
}

// worse reports whether a decision is further from Allow than another.
func worse(a, b string) bool {
	order := []string{policy.Allow.String(), policy.ImplicitDeny.String(), policy.ExplicitDeny.String()}
	return slices.Index(order, a) > slices.Index(order, b)
}

// request is what is asked about an action on a resource.
func (sim *simulation) request(action, resource string) (policy.Request, error) {
	r := policy.Request{Principal: sim.caller, Action: action, Resource: resource, Owner: sim.owner, Context: sim.keys}
	a, _ := aws.ParseARN(resource)
	if a.Account != "" {
		r.Owner = a.Account
	}
	if sim.resource == "" {
		return r, nil
	}
	k := policy.Resource
	if a.Service == "kms" {
		k = policy.Key // without its word there is no access
	}
	docs, err := inputs([]string{sim.resource}, k)
	if err == nil {
		r.Policy = &policy.Source{Kind: k, Name: "ResourcePolicy", On: resource, Doc: docs[0]}
	}
	return r, err
}

// on is what an action on one resource comes to.
func (sim *simulation) on(action, resource string) (api.ResourceSpecificResult, error) {
	r, err := sim.request(action, resource)
	if err != nil {
		return api.ResourceSpecificResult{}, err
	}
	set := &policy.Set{Identity: sources(sim.identity, policy.Identity, sim.caller.PolicyARN()), Boundary: sources(sim.boundary, policy.Boundary, sim.caller.PolicyARN())}
	if sim.member != nil {
		set.SCPs = sim.member.SCPs
	}
	d := policy.Evaluate(set, &r)
	out := api.ResourceSpecificResult{
		EvalResourceName: resource, EvalResourceDecision: d.Effect.String(), MatchedStatements: []api.Statement{},
		MissingContextValues: sim.missing(),
	}
	for _, m := range d.Because {
		if st, ok := matched(set, r.Policy, m); ok {
			out.MatchedStatements = append(out.MatchedStatements, st)
		}
	}
	if resource != "*" {
		out.EvalDecisionDetails = sim.details(set, r)
	}
	if sim.bounded {
		// What the boundary allows is what it would allow as the only policy.
		alone := r
		alone.Owner, alone.Policy = alone.Principal.Account, nil
		effect := policy.Decide(&policy.Set{Identity: sources(sim.boundary, policy.Identity, "")}, &alone)
		out.PermissionsBoundaryDecisionDetail = &api.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: new(effect == policy.Allow)}
	}
	return out, nil
}

// details say of a request into another account what each side's policies come
// to; within an account there is nothing to say.
func (sim *simulation) details(set *policy.Set, r policy.Request) map[string]string {
	out := map[string]string{}
	if r.Owner == sim.caller.Account {
		return out
	}
	own := r
	own.Owner, own.Policy = sim.caller.Account, nil
	out["IAM Policy"] = policy.Decide(set, &own).String()
	out["Resource Policy"] = policy.ImplicitDeny.String()
	if r.Policy != nil {
		out["Resource Policy"] = policy.Decide(&policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Doc: everything}}}, &r).String()
	}
	return out
}

// organizations says whether the organization's policies allow an action; nil
// outside organizations.
func (sim *simulation) organizations(action, resource string) *api.OrganizationsDecisionDetail {
	if sim.member == nil {
		return nil
	}
	r := policy.Request{Principal: sim.caller, Action: action, Resource: resource, Owner: sim.caller.Account, Context: sim.keys}
	effect := policy.Decide(&policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Doc: everything}}, SCPs: sim.member.SCPs}, &r)
	return &api.OrganizationsDecisionDetail{AllowedByOrganizations: new(effect == policy.Allow)}
}

// missing are the context keys that the policies ask for and that were not
// given.
func (sim *simulation) missing() []string {
	list := []string{}
	for _, name := range sim.asked {
		if _, ok := sim.keys[strings.ToLower(name)]; !ok {
			list = append(list, name)
		}
	}
	return list
}

// matched shows a statement that decided; false for what is no statement.
func matched(set *policy.Set, resource *policy.Source, m policy.Match) (api.Statement, bool) {
	if m.Root || m.Grant != "" {
		return api.Statement{}, false
	}
	list, sort := set.Identity, "IAM Policy"
	switch m.Kind {
	case policy.Boundary:
		list = set.Boundary
	case policy.Resource, policy.Key:
		list, sort = []policy.Source{*resource}, "Resource Policy"
	case policy.SCP:
		if m.Level >= len(set.SCPs) {
			return api.Statement{}, false
		}
		list, sort = set.SCPs[m.Level], "Service Control Policy"
	}
	if m.Index >= len(list) {
		return api.Statement{}, false
	}
	start, end := span(list[m.Index].Doc, m.Statement)
	return api.Statement{SourcePolicyId: list[m.Index].Name, SourcePolicyType: sort, StartPosition: start, EndPosition: end}, true
}

// span is where a statement stands in its document, as AWS's parser counts: it
// begins where the parser was before it read the statement, behind the bracket
// of the array or the statement before. A statement outside an array begins
// behind its own brace.
func span(d *policy.Document, i int) (start, end *api.Position) {
	text := d.String()
	at := offset(d, i)
	behind := strings.TrimRight(text[:at], " \t\r\n")
	switch {
	case i > 0:
		start = positionAt(text, offset(d, i-1)+len(d.Statement(i-1)))
	case strings.HasSuffix(behind, "["):
		start = positionAt(text, len(behind))
	default:
		start = positionAt(text, at+1)
	}
	return start, positionAt(text, at+len(d.Statement(i)))
}

// offset is where a statement begins in its document's text.
func offset(d *policy.Document, i int) int {
	line, column := d.Position(i)
	text, at := d.String(), 0
	for range line - 1 {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	return at + column - 1
}

// positionAt is the line and the column, from 1, of an offset.
func positionAt(text string, at int) *api.Position {
	before := text[:at]
	return &api.Position{
		Line:   new(int64(1 + strings.Count(before, "\n"))),
		Column: new(int64(at - strings.LastIndexByte(before, '\n'))),
	}
}
