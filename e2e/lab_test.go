package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// lab is the working system, from which permissions are taken and to which
// they are given back.
type lab struct {
	*world
	// The roles by their ARNs: the action's, the pipeline's, and those of the
	// two rules.
	action, service, forwarding, starting string
	artifacts, target, key                string
}

func newLab(t *testing.T, args ...string) *lab {
	w := deliver(t, args...)
	l := &lab{world: w}
	l.action = w.outputs["shop-connection"]["ActionRoleArn"]
	l.forwarding = w.outputs["shop-connection"]["ForwardingRoleArn"]
	l.service = w.outputs["shop-foundation"]["PipelineRoleArn"]
	l.artifacts = w.outputs["shop-foundation"]["ArtifactBucketName"]
	l.key = w.outputs["shop-foundation"]["KeyArn"]
	l.target = w.outputs["shop-pipeline"]["TargetBucketName"]
	out, err := l.home().cloudformation.DescribeStackResource(context.Background(), &cloudformation.DescribeStackResourceInput{
		StackName: aws.String("shop-pipeline"), LogicalResourceId: aws.String("StartingRole"),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.starting = "arn:aws:iam::" + pipelineAccount + ":role/" + *out.StackResourceDetail.PhysicalResourceId
	return l
}

// in runs a test of the lab as a subtest, and puts everything back after it.
func (l *lab) in(t *testing.T, name string, test func(l *lab)) {
	t.Run(name, func(t *testing.T) {
		server, world := *l.server, *l.world
		server.t, world.server = t, &server
		here := &lab{}
		*here = *l
		here.world = &world
		before := here.snapshot()
		defer here.restore(before)
		test(here)
	})
}

// home are the clients of the pipeline's account.
func (l *lab) home() *account { return l.pipelines["pipeline"] }

// of returns the clients of the account in an ARN.
func (l *lab) of(arn string) *account {
	if strings.Split(arn, ":")[4] == repositoryAccount {
		return l.repository
	}
	return l.home()
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// policies is every document of the system, and its pipeline.
type policies struct {
	trust    map[string]string            // by role
	inline   map[string]map[string]string // by role and name
	buckets  map[string]string
	key, bus string
	pipeline *cptypes.PipelineDeclaration
}

func (l *lab) snapshot() policies {
	l.t.Helper()
	p := policies{trust: map[string]string{}, inline: map[string]map[string]string{}, buckets: map[string]string{}}
	for _, role := range []string{l.action, l.service, l.forwarding, l.starting} {
		p.trust[role], p.inline[role] = l.trust(role), l.inline(role)
	}
	for _, bucket := range []string{l.artifacts, l.target} {
		p.buckets[bucket] = l.bucketPolicy(bucket)
	}
	p.key, p.bus, p.pipeline = l.keyPolicy(), l.busPolicy(), l.pipeline()
	return p
}

// restore puts back whatever differs.
func (l *lab) restore(p policies) {
	l.t.Helper()
	now := l.snapshot()
	for role, text := range p.trust {
		if now.trust[role] != text {
			l.setTrust(role, text)
		}
		for name := range now.inline[role] {
			if _, ok := p.inline[role][name]; !ok {
				l.setInline(role, name, "")
			}
		}
		for name, text := range p.inline[role] {
			if now.inline[role][name] != text {
				l.setInline(role, name, text)
			}
		}
	}
	for bucket, text := range p.buckets {
		if now.buckets[bucket] != text {
			l.setBucketPolicy(bucket, text)
		}
	}
	if now.key != p.key {
		l.setKeyPolicy(p.key)
	}
	if now.bus != p.bus {
		l.setBusPolicy(p.bus)
	}
	now.pipeline.Version = p.pipeline.Version
	if !reflect.DeepEqual(now.pipeline, p.pipeline) {
		l.setPipeline(p.pipeline)
	}
}

func roleName(arn string) *string { return aws.String(arn[strings.LastIndexByte(arn, '/')+1:]) }

func decoded(text *string) string {
	s, err := url.QueryUnescape(aws.ToString(text))
	if err != nil {
		panic(err)
	}
	return s
}

func (l *lab) trust(role string) string {
	l.t.Helper()
	out, err := l.of(role).iam.GetRole(context.Background(), &iam.GetRoleInput{RoleName: roleName(role)})
	l.must(err)
	return decoded(out.Role.AssumeRolePolicyDocument)
}

func (l *lab) setTrust(role, text string) {
	l.t.Helper()
	_, err := l.of(role).iam.UpdateAssumeRolePolicy(context.Background(), &iam.UpdateAssumeRolePolicyInput{RoleName: roleName(role), PolicyDocument: &text})
	l.must(err)
}

// inline are the inline policies of a role, by name.
func (l *lab) inline(role string) map[string]string {
	l.t.Helper()
	api := l.of(role).iam
	names, err := api.ListRolePolicies(context.Background(), &iam.ListRolePoliciesInput{RoleName: roleName(role)})
	l.must(err)
	list := map[string]string{}
	for _, name := range names.PolicyNames {
		out, err := api.GetRolePolicy(context.Background(), &iam.GetRolePolicyInput{RoleName: roleName(role), PolicyName: &name})
		l.must(err)
		list[name] = decoded(out.PolicyDocument)
	}
	return list
}

// setInline puts an inline policy, or deletes the one of that name.
func (l *lab) setInline(role, name, text string) {
	l.t.Helper()
	api := l.of(role).iam
	var err error
	if text == "" {
		_, err = api.DeleteRolePolicy(context.Background(), &iam.DeleteRolePolicyInput{RoleName: roleName(role), PolicyName: &name})
	} else {
		_, err = api.PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{RoleName: roleName(role), PolicyName: &name, PolicyDocument: &text})
	}
	l.must(err)
}

// anew deletes a role and makes another one of the same name, which does the
// same.
func (l *lab) anew(role string) {
	l.t.Helper()
	api, name, trust, inline := l.of(role).iam, roleName(role), l.trust(role), l.inline(role)
	for policy := range inline {
		l.setInline(role, policy, "")
	}
	_, err := api.DeleteRole(context.Background(), &iam.DeleteRoleInput{RoleName: name})
	l.must(err)
	_, err = api.CreateRole(context.Background(), &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust})
	l.must(err)
	for policy, text := range inline {
		l.setInline(role, policy, text)
	}
}

func (l *lab) bucketPolicy(bucket string) string {
	l.t.Helper()
	out, err := l.home().s3.GetBucketPolicy(context.Background(), &s3.GetBucketPolicyInput{Bucket: &bucket})
	l.must(err)
	return *out.Policy
}

func (l *lab) setBucketPolicy(bucket, text string) {
	l.t.Helper()
	_, err := l.home().s3.PutBucketPolicy(context.Background(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &text})
	l.must(err)
}

func (l *lab) keyPolicy() string {
	l.t.Helper()
	out, err := l.home().kms.GetKeyPolicy(context.Background(), &kms.GetKeyPolicyInput{KeyId: &l.key})
	l.must(err)
	return *out.Policy
}

func (l *lab) setKeyPolicy(text string) {
	l.t.Helper()
	_, err := l.home().kms.PutKeyPolicy(context.Background(), &kms.PutKeyPolicyInput{KeyId: &l.key, Policy: &text})
	l.must(err)
}

// enableKey makes the key usable, whatever was done to it.
func (l *lab) enableKey() {
	l.t.Helper()
	api := l.home().kms
	out, err := api.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &l.key})
	l.must(err)
	if out.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion {
		_, err := api.CancelKeyDeletion(context.Background(), &kms.CancelKeyDeletionInput{KeyId: &l.key})
		l.must(err)
	}
	_, err = api.EnableKey(context.Background(), &kms.EnableKeyInput{KeyId: &l.key})
	l.must(err)
}

func (l *lab) busPolicy() string {
	l.t.Helper()
	out, err := l.home().events.DescribeEventBus(context.Background(), &eventbridge.DescribeEventBusInput{})
	l.must(err)
	return aws.ToString(out.Policy)
}

// setBusPolicy replaces the whole policy; an empty one takes all permissions.
func (l *lab) setBusPolicy(text string) {
	l.t.Helper()
	api := l.home().events
	var err error
	if text == "" {
		_, err = api.RemovePermission(context.Background(), &eventbridge.RemovePermissionInput{RemoveAllPermissions: true})
	} else {
		_, err = api.PutPermission(context.Background(), &eventbridge.PutPermissionInput{Policy: &text})
	}
	l.must(err)
}

func (l *lab) pipeline() *cptypes.PipelineDeclaration {
	l.t.Helper()
	out, err := l.home().codepipeline.GetPipeline(context.Background(), &codepipeline.GetPipelineInput{Name: aws.String("shop")})
	l.must(err)
	return out.Pipeline
}

func (l *lab) setPipeline(p *cptypes.PipelineDeclaration) {
	l.t.Helper()
	_, err := l.home().codepipeline.UpdatePipeline(context.Background(), &codepipeline.UpdatePipelineInput{Pipeline: p})
	l.must(err)
}

// dropTarget deletes the bucket that is delivered to, with everything in it.
func (l *lab) dropTarget() {
	l.t.Helper()
	api := l.home().s3
	list, err := api.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &l.target})
	l.must(err)
	for _, o := range list.Contents {
		_, err := api.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &l.target, Key: o.Key})
		l.must(err)
	}
	_, err = api.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: &l.target})
	l.must(err)
}

func (l *lab) makeTarget(policy string) {
	l.t.Helper()
	_, err := l.home().s3.CreateBucket(context.Background(), &s3.CreateBucketInput{
		Bucket: &l.target, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region},
	})
	l.must(err)
	l.setBucketPolicy(l.target, policy)
}

// statements is a policy that tests take apart.
type statements struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement []map[string]any
}

// edited returns a policy with its statements changed; it is empty when none
// are left.
func edited(text string, change func([]map[string]any) []map[string]any) string {
	d := statements{Version: "2012-10-17"}
	if text != "" {
		var one struct{ Statement map[string]any }
		if json.Unmarshal([]byte(text), &one) == nil && one.Statement != nil {
			d.Statement = []map[string]any{one.Statement}
		} else if err := json.Unmarshal([]byte(text), &d); err != nil {
			panic(err)
		}
	}
	if d.Statement = change(d.Statement); len(d.Statement) == 0 {
		return ""
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// with returns a policy with one more statement.
func with(text, statement string) string {
	return edited(text, func(list []map[string]any) []map[string]any {
		var s map[string]any
		if err := json.Unmarshal([]byte(statement), &s); err != nil {
			panic(err)
		}
		return append(list, s)
	})
}

// without returns a policy that lacks the statement with a Sid.
func without(text, sid string) string {
	return edited(text, func(list []map[string]any) []map[string]any {
		return slices.DeleteFunc(list, func(s map[string]any) bool { return s["Sid"] == sid })
	})
}

// listed is an element that may be one text or many.
func listed(v any) (list []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			list = append(list, e.(string))
		}
	}
	return list
}

// take takes one action out of all policies of a role.
func (l *lab) take(role, action string) {
	l.t.Helper()
	found := false
	policies := l.inline(role)
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		text := edited(policies[name], func(list []map[string]any) []map[string]any {
			for _, s := range list {
				before := listed(s["Action"])
				after := slices.DeleteFunc(slices.Clone(before), func(a string) bool { return a == action })
				found = found || len(after) < len(before)
				s["Action"] = after
			}
			return slices.DeleteFunc(list, func(s map[string]any) bool { return len(s["Action"].([]string)) == 0 })
		})
		l.setInline(role, name, text)
	}
	if !found {
		l.t.Fatalf("%s has no %s to lose", role, action)
	}
}

// unname takes a principal out of the statement of the key's policy that
// gives the use of the key.
func (l *lab) unname(principal string) {
	l.t.Helper()
	l.setKeyPolicy(edited(l.keyPolicy(), func(list []map[string]any) []map[string]any {
		for _, s := range list {
			if s["Sid"] == "PipelineAndRepositoryAccountUseTheKey" {
				named := listed(s["Principal"].(map[string]any)["AWS"])
				s["Principal"] = map[string]any{"AWS": slices.DeleteFunc(named, func(p string) bool { return p == principal })}
			}
		}
		return list
	}))
}
