package policylint

import (
	"errors"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// document is a policy in a file.
type document struct {
	root *node
	kind policy.Kind
	// where says which one it is in a template: the resource and the property.
	where string
	// limit is how long it may be; 0 leaves it open.
	limit int
	// types are the types of the template's resources.
	types map[string]string
}

// errNeither is what a file is that cannot be looked at.
var errNeither = errors.New("it is neither a policy (it has no Statement) nor a CloudFormation template (it has no Resources)")

// documents are the policies of a file. kind is that of a policy document, and
// 0 where it has to be inferred; a template says it itself.
func documents(root *node, kind policy.Kind) ([]document, error) {
	switch {
	case root.get("Resources") != nil && root.get("Resources").shape == object:
		return inTemplate(root.get("Resources")), nil
	case root.get("Statement") == nil:
		return nil, errNeither
	}
	d := document{root: root, kind: kind}
	if kind == 0 {
		d.kind = infer(root)
	}
	return []document{d}, nil
}

// infer tells the kind of a document by its elements.
func infer(root *node) policy.Kind {
	var m model
	m.read(root, nil)
	attached := slices.ContainsFunc(m.statements, func(s *statement) bool { return s.principal != nil })
	every := func(is func(s *statement) bool) bool {
		return len(m.statements) > 0 && !slices.ContainsFunc(m.statements, func(s *statement) bool { return !is(s) })
	}
	actions := func(prefix string) func(s *statement) bool {
		return func(s *statement) bool {
			return len(s.actions) > 0 && !slices.ContainsFunc(s.actions, func(a text) bool { return !strings.HasPrefix(strings.ToLower(a.s), prefix) })
		}
	}
	switch {
	case !attached:
		return policy.Identity
	case every(actions("sts:")) && every(func(s *statement) bool { return len(s.resources) == 0 }):
		return policy.Trust
	case every(actions("kms:")):
		return policy.Key
	}
	return policy.Resource
}

// holder is a property that holds a policy.
type holder struct {
	path  string // below Properties; "[]" for each item of a list
	kind  policy.Kind
	limit int
}

// holders are the properties with policies, by the type of the resource.
var holders = map[string][]holder{
	"AWS::IAM::Role": {
		{"AssumeRolePolicyDocument", policy.Trust, policy.MaxTrust}, {"Policies[].PolicyDocument", policy.Identity, policy.MaxInlineRole},
	},
	"AWS::IAM::User":          {{"Policies[].PolicyDocument", policy.Identity, policy.MaxInlineUser}},
	"AWS::IAM::Group":         {{"Policies[].PolicyDocument", policy.Identity, policy.MaxInlineGroup}},
	"AWS::IAM::Policy":        {{"PolicyDocument", policy.Identity, policy.MaxInlineRole}},
	"AWS::IAM::RolePolicy":    {{"PolicyDocument", policy.Identity, policy.MaxInlineRole}},
	"AWS::IAM::UserPolicy":    {{"PolicyDocument", policy.Identity, policy.MaxInlineUser}},
	"AWS::IAM::GroupPolicy":   {{"PolicyDocument", policy.Identity, policy.MaxInlineGroup}},
	"AWS::IAM::ManagedPolicy": {{"PolicyDocument", policy.Identity, policy.MaxManaged}},

	"AWS::S3::BucketPolicy":               {{"PolicyDocument", policy.Resource, policy.MaxBucket}},
	"AWS::S3::AccessPoint":                {{"Policy", policy.Resource, policy.MaxBucket}},
	"AWS::KMS::Key":                       {{"KeyPolicy", policy.Key, policy.MaxKey}},
	"AWS::KMS::ReplicaKey":                {{"KeyPolicy", policy.Key, policy.MaxKey}},
	"AWS::Events::EventBus":               {{"Policy", policy.Resource, policy.MaxBus}},
	"AWS::Events::EventBusPolicy":         {{"Statement", policy.Resource, policy.MaxBus}},
	"AWS::SNS::TopicPolicy":               {{"PolicyDocument", policy.Resource, 0}},
	"AWS::SQS::QueuePolicy":               {{"PolicyDocument", policy.Resource, 0}},
	"AWS::ECR::Repository":                {{"RepositoryPolicyText", policy.Resource, 0}},
	"AWS::SecretsManager::ResourcePolicy": {{"ResourcePolicy", policy.Resource, 0}},
	"AWS::Organizations::ResourcePolicy":  {{"Content", policy.Resource, 0}},
	"AWS::Organizations::Policy":          {{"Content", policy.SCP, 0}},
}

func inTemplate(resources *node) []document {
	types := map[string]string{}
	for _, r := range resources.fields {
		if t := r.value.get("Type"); t != nil {
			types[r.name] = t.text
		}
	}
	var out []document
	for _, r := range resources.fields {
		properties := r.value.get("Properties")
		for _, h := range holders[types[r.name]] {
			kind := h.kind
			if kind == policy.SCP {
				switch t := properties.get("Type"); {
				case t != nil && t.text == "RESOURCE_CONTROL_POLICY":
					kind = policy.RCP
				case t == nil || t.text != "SERVICE_CONTROL_POLICY":
					continue // of another language
				}
			}
			for _, found := range held(properties, h.path) {
				if h.path == "Statement" {
					found = &node{place: found.place, shape: object, fields: []field{
						{found.place, "Version", &node{place: found.place, shape: scalar, text: "2012-10-17"}}, {found.place, "Statement", found},
					}}
				}
				out = append(out, document{root: found, kind: kind, where: r.name + "." + h.path, limit: h.limit, types: types})
			}
		}
	}
	return out
}

// held follows a path to the policies there: objects that are no function.
func held(n *node, path string) []*node {
	name, rest, deeper := strings.Cut(path, ".")
	each, isList := strings.CutSuffix(name, "[]")
	n = n.get(each)
	var found []*node
	for _, v := range branches(n) {
		if isList && v.shape == list {
			for _, item := range v.items {
				found = append(found, branches(item)...)
			}
			continue
		}
		found = append(found, v)
	}
	var out []*node
	for _, v := range found {
		if deeper {
			out = append(out, held(v, rest)...)
		} else if name, _ := v.only(); v.shape == object && !isFunction(name) {
			out = append(out, v)
		}
	}
	return out
}
