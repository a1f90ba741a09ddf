package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// maxPolicySize is how long a bucket policy may be.
const maxPolicySize = 20 << 10

// bucketPolicy is a parsed policy, as it is kept in memory.
type bucketPolicy struct {
	source *policy.Source
	public bool
}

// parsePolicy parses a bucket's policy and refuses what AWS refuses in one.
func parsePolicy(bucket, text string) (*bucketPolicy, error) {
	if len(text) > maxPolicySize {
		return nil, errMalformedPolicy(fmt.Sprintf("Policies can only contain up to %d bytes.", maxPolicySize))
	}
	if !strings.HasPrefix(text, "{") || !json.Valid([]byte(text)) {
		return nil, errMalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
	}
	doc, err := policy.Parse(text, policy.Resource)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return nil, errMalformedPolicy(e.Message)
	}
	if err != nil {
		return nil, errMalformedPolicy(err.Error())
	}
	p := &bucketPolicy{source: &policy.Source{
		Kind: policy.Resource, Name: "bucket policy", On: bucketARN(bucket), Doc: doc,
	}}
	for i := range doc.Len() {
		st, err := readStatement(doc.Statement(i))
		if err != nil {
			return nil, errMalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
		}
		if err := st.check(bucket); err != nil {
			return nil, err
		}
		p.public = p.public || st.public()
	}
	return p, nil
}

func errMalformedPolicy(message string) *aws.Error {
	return aws.Errorf("MalformedPolicy", "%s", message).WithStatus(400)
}

// statement is what S3 itself looks at in a statement of a bucket policy.
type statement struct {
	Effect       string
	Principal    principals
	NotPrincipal principals
	Action       texts
	NotAction    texts
	Resource     texts
	NotResource  texts
	Condition    map[string]map[string]texts
}

func readStatement(raw json.RawMessage) (*statement, error) {
	var st statement
	return &st, json.Unmarshal(raw, &st)
}

// texts is a string, number or truth value, or a list of them.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var many []json.RawMessage
	if b[0] != '[' {
		many = []json.RawMessage{b}
	} else if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	for _, one := range many {
		text := string(one)
		if one[0] == '"' {
			if err := json.Unmarshal(one, &text); err != nil {
				return err
			}
		}
		*t = append(*t, text)
	}
	return nil
}

// principals is "*", or lists by the kind of principal.
type principals map[string]texts

func (p *principals) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		var everyone texts
		if err := everyone.UnmarshalJSON(b); err != nil {
			return err
		}
		*p = principals{"AWS": everyone}
		return nil
	}
	m := map[string]texts{}
	err := json.Unmarshal(b, &m)
	*p = m
	return err
}

// check refuses actions that are not S3's, resources that are not this
// bucket's, and statements in which no action goes with any resource.
func (st *statement) check(bucket string) error {
	for _, a := range slices.Concat(st.Action, st.NotAction) {
		if a != "*" && !strings.HasPrefix(strings.ToLower(a), "s3:") {
			return errMalformedPolicy("Policy has invalid action")
		}
	}
	var onBucket, onObjects bool
	for _, r := range slices.Concat(st.Resource, st.NotResource) {
		name, ok := strings.CutPrefix(r, bucketARN(""))
		switch {
		case !ok:
			return errMalformedPolicy("Policy has invalid resource")
		case name == bucket:
			onBucket = true
		case strings.HasPrefix(name, bucket+"/"):
			onObjects = true
		case strings.HasPrefix(name, bucket) && strings.HasPrefix(name[len(bucket):], "*"):
			onBucket, onObjects = true, true
		default:
			return errMalformedPolicy("Policy has invalid resource")
		}
	}
	if len(st.Action) == 0 || len(st.Resource) == 0 {
		return nil
	}
	for _, a := range st.Action {
		if level := levelOf(a); level == anyLevel || level == bucketLevel && onBucket || level == objectLevel && onObjects {
			return nil
		}
	}
	return errMalformedPolicy("Action does not apply to any resource(s) in statement")
}

const (
	anyLevel = iota
	bucketLevel
	objectLevel
)

// objectActions are the actions whose resource is an object.
var objectActions = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`
		abortmultipartupload bypassgovernanceretention deleteobject deleteobjecttagging deleteobjectversion
		deleteobjectversiontagging getobject getobjectacl getobjectattributes getobjectlegalhold getobjectretention
		getobjecttagging getobjecttorrent getobjectversion getobjectversionacl getobjectversionattributes
		getobjectversionforreplication getobjectversiontagging getobjectversiontorrent listmultipartuploadparts
		objectowneroverridetobucketowner putobject putobjectacl putobjectlegalhold putobjectretention putobjecttagging
		putobjectversionacl putobjectversiontagging replicatedelete replicateobject replicatetags restoreobject
		updateobjectencryption`) {
		m[name] = true
	}
	return m
}()

// levelOf says what an action applies to: patterns may apply to either.
func levelOf(action string) int {
	name := strings.ToLower(strings.TrimPrefix(strings.ToLower(action), "s3:"))
	switch {
	case strings.ContainsAny(name, "*?"):
		return anyLevel
	case objectActions[name]:
		return objectLevel
	}
	return bucketLevel
}

// onBucketPolicy is onBucket for the operations on the policy itself. The root
// of the bucket's account may do them whatever the policy says, so that nobody
// locks himself out of his own bucket.
func onBucketPolicy[In any](s *Service, action string) func(context.Context, *call.Call, *In) ([]call.Need, error) {
	needs := onBucket[In](s, action)
	return func(ctx context.Context, c *call.Call, in *In) ([]call.Need, error) {
		list, err := needs(ctx, c, in)
		if err == nil && c.Principal.Kind == aws.Root && c.Account() == list[0].Owner {
			list[0].Policy = nil
		}
		return list, err
	}
}

// ownBucket is a bucket of the caller's own account: no other one sees or
// changes its policy, permission or not.
func (s *Service) ownBucket(ctx context.Context, c *call.Call, name, method string) (*bucket, error) {
	b, err := s.bucket(ctx, name)
	if err == nil && b.Account != c.Account() {
		return nil, aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405).
			With("Method", method).With("ResourceType", "BUCKETPOLICY")
	}
	return b, err
}

// putBucketPolicy replaces a bucket's policy.
func (s *Service) putBucketPolicy(ctx context.Context, c *call.Call, in *api.PutBucketPolicyInput) (*api.PutBucketPolicyOutput, error) {
	b, err := s.ownBucket(ctx, c, in.Bucket, "PUT")
	if err != nil {
		return nil, err
	}
	parsed, err := parsePolicy(b.Name, in.Policy)
	if err != nil {
		return nil, err
	}
	text, err := s.kept(ctx, parsed.source.Doc)
	if err != nil {
		return nil, err
	}
	id := c.NewID()
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		access, err := now.publicAccess()
		if err != nil {
			return err
		}
		if access.BlockPublicPolicy && parsed.public {
			return errPublicPolicy(c, b.Name)
		}
		_, err = tx.Exec(ctx, `UPDATE s3_bucket SET policy = $1, policy_id = $2 WHERE name = $3`, text, id, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketPolicyOutput{}, nil
}

// kept is a policy as it is kept. One that names principals that do not exist
// is refused.
func (s *Service) kept(ctx context.Context, doc *policy.Document) (string, error) {
	text, err := policy.Bind(ctx, doc, s.principals)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return "", errMalformedPolicy(e.Message).With("Detail", `"AWS" : "`+e.Principal+`"`)
	}
	return text, err
}

func errPublicPolicy(c *call.Call, bucket string) error {
	return aws.Errorf("AccessDenied", `User: %s is not authorized to perform: s3:PutBucketPolicy on resource: "%s" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.`,
		c.Principal.ARN, bucketARN(bucket)).WithStatus(403)
}

func (s *Service) getBucketPolicy(ctx context.Context, c *call.Call, in *api.GetBucketPolicyInput) (*api.GetBucketPolicyOutput, error) {
	b, err := s.ownBucket(ctx, c, in.Bucket, "GET")
	if err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, errNoBucketPolicy(b.Name)
	}
	text, err := policy.Show(ctx, b.Policy, s.principals)
	if err != nil {
		return nil, fmt.Errorf("policy of bucket %s: %w", b.Name, err)
	}
	return &api.GetBucketPolicyOutput{Policy: text}, nil
}

func errNoBucketPolicy(bucket string) error {
	return aws.Errorf("NoSuchBucketPolicy", "The bucket policy does not exist").WithStatus(404).With("BucketName", bucket)
}

func (s *Service) getBucketPolicyStatus(ctx context.Context, c *call.Call, in *api.GetBucketPolicyStatusInput) (*api.GetBucketPolicyStatusOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, errNoBucketPolicy(b.Name)
	}
	p, err := parsePolicy(b.Name, b.Policy)
	if err != nil {
		return nil, fmt.Errorf("stored policy of bucket %s: %w", b.Name, err)
	}
	return &api.GetBucketPolicyStatusOutput{PolicyStatus: &api.PolicyStatus{IsPublic: &p.public}}, nil
}

func (s *Service) deleteBucketPolicy(ctx context.Context, c *call.Call, in *api.DeleteBucketPolicyInput) (*api.DeleteBucketPolicyOutput, error) {
	b, err := s.ownBucket(ctx, c, in.Bucket, "DELETE")
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		_, err := tx.Exec(ctx, `UPDATE s3_bucket SET policy = '', policy_id = '' WHERE name = $1`, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketPolicyOutput{}, nil
}
