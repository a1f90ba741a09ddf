package cloudformation

import (
	"context"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
)

// maker makes resources of one type. Each step may be cut off anywhere and is
// then begun again with request.Resumed set.
type maker interface {
	// create makes the resource. It calls request.made as soon as there is
	// something, and leaves Physical and Attributes filled.
	create(ctx context.Context, q *request) error
	// update changes the resource from request.Before to Properties, and
	// leaves Attributes as they are then.
	update(ctx context.Context, q *request) error
	// remove deletes the resource. One that is gone is no error.
	remove(ctx context.Context, q *request) error
}

// request is one step of one resource.
type request struct {
	// Invoker calls in the name of the stack operation.
	call.Invoker
	s       *Service
	session call.Session
	Stack   *stack
	Type    string

	LogicalID string
	// Name is the physical name decided for what is made.
	Name string
	// Physical is the physical id: given, except to create.
	Physical string
	// Token names this step, for services that know client tokens.
	Token string
	// Resumed says that the step was begun before, at Since.
	Resumed bool
	Since   time.Time

	Properties, Before *cfn.Node
	// Attributes are those of the resource: as recorded, and then as they are.
	Attributes map[string]string

	made func(ctx context.Context, physical string) error
}

// exists records that the resource is there.
func (q *request) exists(ctx context.Context, physical string) error {
	q.Physical = physical
	return q.made(ctx, physical)
}

// read fills into from the resource's properties.
func (q *request) read(into any) error { return decode(q.Properties, into) }

// readBefore fills into from the properties before the step. They were
// accepted once, so that what does not fit is left empty.
func (q *request) readBefore(into any) {
	if q.Before != nil {
		_ = decode(q.Before, into) // what was never made needs no undoing
	}
}

// decode fills into from resolved properties.
func decode(n *cfn.Node, into any) error {
	if err := cfn.Decode(n, into); err != nil {
		return problem{err.Error()}
	}
	return nil
}

// ours reports whether something that a resumed step finds in its way was
// made by that step before it was cut off.
func (q *request) ours(created *time.Time) bool {
	// Some services keep whole seconds only.
	return q.Resumed && created != nil && !created.Before(q.Since.Truncate(time.Second))
}

// changed reports whether a property differs from what it was.
func (q *request) changed(name string) bool { return !q.Properties.Get(name).Equal(q.Before.Get(name)) }

// kind is a resource type.
type kind struct {
	schema cfn.Schema
	maker  maker
	// name is the property that gives a custom name; limit is how long
	// generated ones may be, lower that they are in lower case.
	name  string
	limit int
	lower bool
	// service is how reasons call the service behind the type, legacy that
	// they are worded in the older way.
	service string
	legacy  bool
	// iam and named say which capability the type needs.
	iam, named bool
}

// customName is the name that a template gives a resource itself.
func (k kind) customName(properties *cfn.Node) string {
	if k.name == "" {
		return ""
	}
	return properties.Get(k.name).String()
}

// nameFor is the physical name of a resource about to be made: its custom
// name, or the stack's name, the logical id and something random.
func (k kind) nameFor(st *stack, logical string, properties *cfn.Node) string {
	if name := k.customName(properties); name != "" {
		return name
	}
	limit := k.limit
	if limit == 0 {
		limit = 128
	}
	const random = 12
	room := limit - random - 2
	stackPart := st.Name
	if len(stackPart)+len(logical) > room {
		logical = logical[:min(len(logical), max(room/2, room-len(stackPart)))]
		stackPart = stackPart[:min(len(stackPart), room-len(logical))]
	}
	name := stackPart + "-" + logical + "-" + aws.RandomText(random, aws.UpperAlnum)
	if k.lower {
		return strings.ToLower(name)
	}
	return name
}

// kinds are the resource types that exist.
func (s *Service) kinds() map[string]kind {
	tags := func(replace []string, attributes ...string) cfn.Schema {
		return cfn.Schema{Attributes: attributes, Replace: replace, Tags: true}
	}
	plain := func(replace []string, attributes ...string) cfn.Schema {
		return cfn.Schema{Attributes: attributes, Replace: replace}
	}
	return map[string]kind{
		"AWS::IAM::Role": {maker: role{}, name: "RoleName", limit: 64, service: "Iam", iam: true, named: true,
			schema: tags([]string{"Path", "RoleName"}, "Arn", "RoleId")},
		"AWS::IAM::User": {maker: user{}, name: "UserName", limit: 64, service: "Iam", iam: true, named: true,
			schema: tags([]string{"UserName"}, "Arn")},
		"AWS::IAM::Group": {maker: group{}, name: "GroupName", limit: 128, service: "Iam", iam: true, named: true,
			schema: plain([]string{"GroupName"}, "Arn")},
		"AWS::IAM::Policy": {maker: inlinePolicy{}, limit: 128, service: "Iam", iam: true,
			schema: plain(nil, "Id")},
		"AWS::IAM::ManagedPolicy": {maker: managedPolicy{}, name: "ManagedPolicyName", limit: 128, service: "Iam", iam: true, named: true,
			schema: plain([]string{"Description", "ManagedPolicyName", "Path"}, "PolicyArn", "PolicyId", "DefaultVersionId",
				"AttachmentCount", "CreateDate", "IsAttachable", "PermissionsBoundaryUsageCount", "UpdateDate")},
		"AWS::IAM::AccessKey": {maker: accessKey{}, service: "Iam", iam: true,
			schema: plain([]string{"Serial", "UserName"}, "SecretAccessKey", "Id")},
		"AWS::IAM::UserToGroupAddition": {maker: membership{}, service: "Iam", iam: true,
			schema: plain([]string{"GroupName"}, "Id")},

		"AWS::KMS::Key": {maker: key{}, service: "Kms",
			schema: tags(nil, "Arn", "KeyId")},
		"AWS::KMS::ReplicaKey": {maker: replicaKey{}, service: "Kms", schema: tags([]string{"PrimaryKeyArn"}, "Arn", "KeyId")},
		"AWS::KMS::Alias":      {maker: alias{}, name: "AliasName", service: "Kms", schema: plain([]string{"AliasName"})},

		"AWS::S3::Bucket": {maker: bucket{}, name: "BucketName", limit: 63, lower: true, service: "S3",
			schema: tags([]string{"BucketName", "ObjectLockEnabled"}, "Arn", "DomainName", "RegionalDomainName", "DualStackDomainName", "WebsiteURL")},
		"AWS::S3::BucketPolicy": {maker: bucketPolicy{}, service: "S3", schema: plain([]string{"Bucket"})},

		"AWS::CodeCommit::Repository": {maker: repository{}, name: "RepositoryName", service: "AWSCodeCommit", legacy: true,
			schema: tags(nil, "Arn", "CloneUrlHttp", "CloneUrlSsh", "Name")},

		"AWS::Events::Rule": {maker: rule{}, name: "Name", limit: 64, service: "EventBridge",
			schema: tags([]string{"Name", "EventBusName"}, "Arn")},
		"AWS::Events::EventBus": {maker: eventBus{}, name: "Name", limit: 256, service: "EventBridge",
			schema: tags([]string{"Name"}, "Arn", "Name", "Policy")},
		"AWS::Events::EventBusPolicy": {maker: eventBusPolicy{}, service: "EventBridge",
			schema: plain([]string{"StatementId", "EventBusName"})},

		"AWS::CodePipeline::Pipeline": {maker: pipeline{}, name: "Name", limit: 100, service: "AWSCodePipeline", legacy: true,
			schema: tags([]string{"Name"}, "Version")},

		"AWS::CloudFormation::Stack": {maker: nested{}, limit: 128, service: "AmazonCloudFormation", legacy: true,
			schema: tags(nil, "Outputs.", "StackId", "StackStatus")},
		"AWS::CloudFormation::WaitConditionHandle": {maker: nothing{}, schema: plain(nil, "Id")},
		"AWS::CDK::Metadata":                       {maker: nothing{}, schema: plain(nil)},
	}
}

// nothing is a resource that is only a place in a template, as on AWS.
type nothing struct{}

func (nothing) create(ctx context.Context, q *request) error {
	q.Attributes["Id"] = q.Name
	return q.exists(ctx, q.Name)
}
func (nothing) update(context.Context, *request) error { return nil }
func (nothing) remove(context.Context, *request) error { return nil }

// document is the text of a policy: properties hold it as an object or as
// text.
func document(n *cfn.Node) string {
	if n == nil {
		return ""
	}
	if n.IsScalar() {
		return n.Text
	}
	return string(n.JSON())
}

// tag is a tag as templates spell it.
type tag struct {
	Key   string `cfn:",required"`
	Value string
}

// tagChanges returns what to tag and which keys to untag.
func tagChanges(before, after []tag) (set []tag, unset []string) {
	old := map[string]string{}
	for _, t := range before {
		old[t.Key] = t.Value
	}
	for _, t := range after {
		if v, ok := old[t.Key]; !ok || v != t.Value {
			set = append(set, t)
		}
		delete(old, t.Key)
	}
	for _, t := range before {
		if _, gone := old[t.Key]; gone {
			unset = append(unset, t.Key)
		}
	}
	return set, unset
}

// convert turns the elements of a list into others.
func convert[A, B any](list []A, f func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, f(a))
	}
	return out
}

// without returns the elements of a that b lacks.
func without(a, b []string) []string {
	has := map[string]bool{}
	for _, s := range b {
		has[s] = true
	}
	var out []string
	for _, s := range a {
		if !has[s] {
			out = append(out, s)
		}
	}
	return out
}
