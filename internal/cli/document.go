package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/policy"
)

// repairName is what a policy is called that a repair makes where there is
// none.
const repairName = "sekisho-repair"

// document is a policy where AWS's API keeps it.
type document struct {
	kind policy.Kind
	// get returns its text, empty when there is none; put stores another one,
	// and drop takes the policy away that has no statement left. A nil drop says
	// that it cannot go.
	get  func(ctx context.Context) (string, error)
	put  func(ctx context.Context, text string) error
	drop func(ctx context.Context) error
	// physical is what CloudFormation calls what the policy stands on.
	physical string
}

// documentOf finds the document that a fix is about. i calls as the
// administrator of its account.
func documentOf(f explain.Fix, i call.Invoker) (*document, error) {
	a, _ := aws.ParseARN(f.On)
	sort, name, _ := strings.Cut(a.Resource, "/")
	name = name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case f.Kind == "scp" || f.Kind == "rcp":
		return controlPolicy(organizations.Client{Invoker: i}, f), nil
	case strings.HasPrefix(f.Policy, "arn:") && (f.Kind == "identity" || f.Kind == "boundary"):
		return managedPolicy(iam.Client{Invoker: i}, f), nil
	case f.Kind == "identity":
		return inlinePolicy(iam.Client{Invoker: i}, sort, name, f.Policy)
	case f.Kind == "trust":
		return trustPolicy(iam.Client{Invoker: i}, name), nil
	case f.Kind == "key":
		return keyPolicy(kms.Client{Invoker: i}, f.On, name), nil
	case f.Kind == "resource" && a.Service == "s3":
		bucket, _, _ := strings.Cut(a.Resource, "/")
		return bucketPolicy(s3.Client{Invoker: i}, bucket), nil
	case f.Kind == "resource" && a.Service == "events":
		return busPolicy(events.Client{Invoker: i}, f.On, name), nil
	}
	return nil, fmt.Errorf("a %s policy on %s cannot be put in place from here", f.Kind, f.On)
}

// unless returns what an answer says, or the empty text for one of the codes
// by which AWS says that there is no policy.
func unless(text string, err error, codes ...string) (string, error) {
	if e, ok := errors.AsType[*aws.Error](err); ok && slices.Contains(codes, e.Code) {
		return "", nil
	}
	return text, err
}

// unescaped is a document as IAM's API shows it, without the escapes of URLs.
func unescaped(text string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return url.PathUnescape(text)
}

func inlinePolicy(c iam.Client, sort, name, policyName string) (*document, error) {
	if policyName == "" {
		policyName = repairName
	}
	d := &document{kind: policy.Identity, physical: name}
	switch sort {
	case "role":
		d.get = func(ctx context.Context) (string, error) {
			out, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: policyName})
			if err != nil {
				return unless("", err, "NoSuchEntity")
			}
			return unescaped(out.PolicyDocument, nil)
		}
		d.put = func(ctx context.Context, text string) error {
			_, err := c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: policyName, PolicyDocument: text})
			return err
		}
		d.drop = func(ctx context.Context) error {
			_, err := c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: policyName})
			return err
		}
	case "user":
		d.get = func(ctx context.Context) (string, error) {
			out, err := c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: name, PolicyName: policyName})
			if err != nil {
				return unless("", err, "NoSuchEntity")
			}
			return unescaped(out.PolicyDocument, nil)
		}
		d.put = func(ctx context.Context, text string) error {
			_, err := c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: policyName, PolicyDocument: text})
			return err
		}
		d.drop = func(ctx context.Context) error {
			_, err := c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: policyName})
			return err
		}
	case "group":
		d.get = func(ctx context.Context) (string, error) {
			out, err := c.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: name, PolicyName: policyName})
			if err != nil {
				return unless("", err, "NoSuchEntity")
			}
			return unescaped(out.PolicyDocument, nil)
		}
		d.put = func(ctx context.Context, text string) error {
			_, err := c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: name, PolicyName: policyName, PolicyDocument: text})
			return err
		}
		d.drop = func(ctx context.Context) error {
			_, err := c.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: name, PolicyName: policyName})
			return err
		}
	default:
		return nil, fmt.Errorf("a %s has no policy of its own", sort)
	}
	return d, nil
}

// managedPolicy is the default version of a managed policy; putting it makes a
// new one, in the place of the oldest where there are five already.
func managedPolicy(c iam.Client, f explain.Fix) *document {
	kind := policy.Identity
	if f.Kind == "boundary" {
		kind = policy.Boundary
	}
	return &document{
		kind: kind, physical: f.Policy,
		get: func(ctx context.Context) (string, error) {
			p, err := c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: f.Policy})
			if err != nil {
				return "", err
			}
			v, err := c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: f.Policy, VersionId: p.Policy.DefaultVersionId})
			if err != nil {
				return "", err
			}
			return unescaped(v.PolicyVersion.Document, nil)
		},
		put: func(ctx context.Context, text string) error {
			list, err := c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: f.Policy})
			if err != nil {
				return err
			}
			if n := len(list.Versions); n >= 5 {
				oldest := list.Versions[n-1]
				if oldest.IsDefaultVersion != nil && *oldest.IsDefaultVersion {
					oldest = list.Versions[n-2]
				}
				if _, err := c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: f.Policy, VersionId: oldest.VersionId}); err != nil {
					return err
				}
			}
			_, err = c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: f.Policy, PolicyDocument: text, SetAsDefault: new(true)})
			return err
		},
	}
}

func trustPolicy(c iam.Client, role string) *document {
	return &document{
		kind: policy.Trust, physical: role,
		get: func(ctx context.Context) (string, error) {
			out, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: role})
			if err != nil {
				return "", err
			}
			return unescaped(out.Role.AssumeRolePolicyDocument, nil)
		},
		put: func(ctx context.Context, text string) error {
			_, err := c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: role, PolicyDocument: text})
			return err
		},
	}
}

func keyPolicy(c kms.Client, arn, id string) *document {
	return &document{
		kind: policy.Key, physical: id,
		get: func(ctx context.Context) (string, error) {
			out, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: arn})
			if err != nil {
				return "", err
			}
			return out.Policy, nil
		},
		put: func(ctx context.Context, text string) error {
			_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: arn, Policy: text})
			return err
		},
	}
}

func bucketPolicy(c s3.Client, bucket string) *document {
	return &document{
		kind: policy.Resource, physical: bucket,
		get: func(ctx context.Context) (string, error) {
			out, err := c.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
			if err != nil {
				return unless("", err, "NoSuchBucketPolicy")
			}
			return out.Policy, nil
		},
		put: func(ctx context.Context, text string) error {
			_, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: text})
			return err
		},
		drop: func(ctx context.Context) error {
			_, err := c.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: bucket})
			return err
		},
	}
}

func busPolicy(c events.Client, arn, name string) *document {
	return &document{
		kind: policy.Resource, physical: name,
		get: func(ctx context.Context) (string, error) {
			out, err := c.DescribeEventBus(ctx, &events.DescribeEventBusInput{Name: arn})
			if err != nil {
				return "", err
			}
			return out.Policy, nil
		},
		put: func(ctx context.Context, text string) error {
			_, err := c.PutPermission(ctx, &events.PutPermissionInput{EventBusName: name, Policy: text})
			return err
		},
		drop: func(ctx context.Context) error {
			_, err := c.RemovePermission(ctx, &events.RemovePermissionInput{EventBusName: name, RemoveAllPermissions: new(true)})
			return err
		},
	}
}

// controlPolicy is a policy of an organization; where a fix names none, putting
// it makes one and attaches it.
func controlPolicy(c organizations.Client, f explain.Fix) *document {
	kind, sort := policy.SCP, "SERVICE_CONTROL_POLICY"
	if f.Kind == "rcp" {
		kind, sort = policy.RCP, "RESOURCE_CONTROL_POLICY"
	}
	id := f.Policy[strings.LastIndexByte(f.Policy, '/')+1:]
	return &document{
		kind: kind, physical: id,
		get: func(ctx context.Context) (string, error) {
			if id == "" {
				return "", nil
			}
			out, err := c.DescribePolicy(ctx, &organizations.DescribePolicyInput{PolicyId: id})
			if err != nil {
				return "", err
			}
			return out.Policy.Content, nil
		},
		put: func(ctx context.Context, text string) error {
			if id != "" {
				_, err := c.UpdatePolicy(ctx, &organizations.UpdatePolicyInput{PolicyId: id, Content: text})
				return err
			}
			target := f.On[strings.LastIndexByte(f.On, '/')+1:]
			made, err := c.CreatePolicy(ctx, &organizations.CreatePolicyInput{
				Name: repairName + "-" + target, Type: sort, Content: text, Description: "what sekisho explain --apply added",
			})
			if err != nil {
				return err
			}
			_, err = c.AttachPolicy(ctx, &organizations.AttachPolicyInput{PolicyId: made.Policy.PolicySummary.Id, TargetId: target})
			return err
		},
	}
}
