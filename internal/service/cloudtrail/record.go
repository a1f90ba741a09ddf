package cloudtrail

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// maxShown is how large the parameters of a call may be; larger ones are left
// out, as in AWS's records.
const maxShown = 100 << 10

// stored is an entry as its row keeps it.
type stored struct {
	ID         string
	Time       time.Time
	Service    string
	Operation  string
	Region     string
	Principal  aws.Principal
	SourceIP   string           `json:",omitempty"`
	UserAgent  string           `json:",omitempty"`
	Secure     bool             `json:",omitempty"`
	Via        []string         `json:",omitempty"`
	SourceARN  string           `json:",omitempty"`
	BaseURL    string           `json:",omitempty"`
	ReadOnly   bool             `json:",omitempty"`
	Judgements []call.Judgement `json:",omitempty"`
	Request    json.RawMessage  `json:",omitempty"`
	Response   json.RawMessage  `json:",omitempty"`
	Resources  []string         `json:",omitempty"`
	ErrorCode  string           `json:",omitempty"`
	Error      string           `json:",omitempty"`
	Status     int              `json:",omitempty"`
	Took       time.Duration    `json:",omitempty"`
}

// Record stores the record of a call. It can be read when Record returns, and
// is on disk; that of a reading call from inside the process is on disk with
// whatever is next written there, and so before anything that came of the call
// (docs/decisions/0007-records-of-inner-reads.md).
func (s *Service) Record(ctx context.Context, e *call.Entry) error {
	c := e.Call
	entry, err := json.Marshal(pack(e))
	if err != nil {
		return fmt.Errorf("record of %s %s: %w", c.Service, c.Operation, err)
	}
	id := s.ids.next(c.Time)
	account, owner := accounts(e)
	uses := s.uses.due(e)
	update := s.db.Update
	if e.Inside && e.ReadOnly && e.Error == nil {
		update = s.db.UpdateSoon
	}
	return update(ctx, func(tx *state.Tx) error {
		if err := s.schedule(ctx, tx); err != nil {
			return err
		}
		if err := s.recordUse(ctx, tx, uses, c.Time); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO cloudtrail_event (id, account, owner, region, source, name, username, access_key, read_only, management, resources, trace, scope, entry)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			id, account, owner, eventRegion(c), c.Service, eventName(c.Service, c.Operation), username(c.Principal), c.Principal.AccessKeyID,
			e.ReadOnly, management(c.Service, c.Operation), names(e.Resources), c.Trace, c.Scope, json.RawMessage(entry))
		return err
	})
}

func pack(e *call.Entry) stored {
	c := e.Call
	out := stored{
		ID: c.ID, Time: c.Time.UTC(), Service: c.Service, Operation: c.Operation, Region: c.Region, Principal: c.Principal,
		SourceIP: c.SourceIP, UserAgent: c.UserAgent, Secure: c.Secure, Via: c.Via, SourceARN: c.SourceARN, BaseURL: c.BaseURL,
		ReadOnly: e.ReadOnly, Judgements: e.Judgements, Request: shown(e.Request), Response: shown(e.Response),
		Resources: unique(e.Resources), Took: e.Took,
	}
	if e.Error != nil {
		out.ErrorCode, out.Error, out.Status = e.Error.Code, e.Error.Message, e.Error.Status
	}
	return out
}

func shown(text json.RawMessage) json.RawMessage {
	if len(text) > maxShown {
		return nil
	}
	return text
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// unpack is the inverse of pack.
func (r row) unpack() (*call.Entry, error) {
	var p stored
	if err := json.Unmarshal([]byte(r.Entry), &p); err != nil {
		return nil, fmt.Errorf("record %s: %w", r.ID, err)
	}
	e := &call.Entry{
		Call: &call.Call{
			ID: p.ID, Trace: r.Trace, Scope: r.Scope, Service: p.Service, Operation: p.Operation, Region: p.Region,
			Principal: p.Principal, Time: p.Time, SourceIP: p.SourceIP, UserAgent: p.UserAgent, Secure: p.Secure,
			Via: p.Via, SourceARN: p.SourceARN, BaseURL: p.BaseURL,
		},
		ReadOnly: p.ReadOnly, Judgements: p.Judgements, Request: p.Request, Response: p.Response, Resources: p.Resources, Took: p.Took,
	}
	if p.ErrorCode != "" {
		e.Error = &aws.Error{Code: p.ErrorCode, Message: p.Error, Status: p.Status}
	}
	return e, nil
}

// row is a record as it is read.
type row struct {
	ID    string `db:"id"`
	Trace string `db:"trace"`
	Scope string `db:"scope"`
	Entry string `db:"entry"`
}

const rowColumns = `id, trace, scope, entry`

// accounts are the account in whose history the call stands, and the other
// one in which it stands too, if its resource belongs to another.
func accounts(e *call.Entry) (account, owner string) {
	account = e.Call.Principal.Account
	for _, j := range e.Judgements {
		other := j.Owner
		if other == "" {
			a, _ := aws.ParseARN(j.Resource)
			other = a.Account
		}
		switch {
		case other == "" || other == account:
		case account == "":
			account = other
		default:
			return account, other
		}
	}
	return account, ""
}

// names are the resources as LookupEvents finds them: by ARN and by name, one
// a line.
func names(arns []string) string {
	if len(arns) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteByte('\n')
	for _, arn := range unique(arns) {
		b.WriteString(arn)
		b.WriteByte('\n')
		if r := resourceOf(arn); r.name != arn {
			b.WriteString(r.name)
			b.WriteByte('\n')
		}
		if r := resourceOf(arn); r.kind != "" {
			b.WriteString(r.kind)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// resource is a resource as CloudTrail names it.
type resource struct{ arn, kind, name, account string }

var resourceKinds = map[string]string{
	"kms:key":                    "AWS::KMS::Key",
	"kms:alias":                  "AWS::KMS::Alias",
	"iam:role":                   "AWS::IAM::Role",
	"iam:user":                   "AWS::IAM::User",
	"iam:group":                  "AWS::IAM::Group",
	"iam:policy":                 "AWS::IAM::Policy",
	"events:event-bus":           "AWS::Events::EventBus",
	"events:rule":                "AWS::Events::Rule",
	"cloudformation:stack":       "AWS::CloudFormation::Stack",
	"codecommit:repository":      "AWS::CodeCommit::Repository",
	"codepipeline:pipeline":      "AWS::CodePipeline::Pipeline",
	"s3:bucket":                  "AWS::S3::Bucket",
	"s3:object":                  "AWS::S3::Object",
	"cloudformation:changeSet":   "AWS::CloudFormation::ChangeSet",
	"codepipeline:actiontype":    "AWS::CodePipeline::CustomActionType",
	"codepipeline:webhook":       "AWS::CodePipeline::Webhook",
	"cloudformation:stackpolicy": "AWS::CloudFormation::Stack",
}

func resourceOf(arn string) resource {
	a, ok := aws.ParseARN(arn)
	if !ok {
		return resource{arn: arn, name: arn}
	}
	kind, name, split := strings.Cut(a.Resource, "/")
	switch a.Service {
	case "codecommit":
		kind, name = "repository", a.Resource
	case "codepipeline":
		if k, rest, typed := strings.Cut(a.Resource, ":"); typed {
			kind, name = k, rest
		} else {
			kind, name = "pipeline", strings.SplitN(a.Resource, "/", 2)[0]
		}
	case "s3":
		kind, name = "bucket", a.Resource
		if split {
			kind, name = "object", arn
		}
	case "kms":
		name = arn
	case "iam", "events":
		name = a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
	}
	if name == "" {
		name = arn
	}
	return resource{arn: arn, kind: resourceKinds[a.Service+":"+kind], name: name, account: a.Account}
}

// eventName is the operation's name in CloudTrail's records.
func eventName(service, operation string) string {
	if service == "events" {
		switch operation {
		case "ForwardEvent":
			return "PutEvents" // by a rule
		case "PutStatement":
			return "PutPermission" // by a stack
		}
	}
	return operation
}

// eventRegion is where the call stands in the history: global services record
// in us-east-1.
func eventRegion(c *call.Call) string {
	if c.Service == "iam" || c.Service == "organizations" || c.Region == "" {
		return "us-east-1"
	}
	return c.Region
}

// dataOperations are the operations on S3's objects, and on what buses carry:
// AWS calls them data events and keeps them out of the event history.
var dataOperations = map[string][]string{
	"events": {"PutEvents", "ForwardEvent"},
	"s3": {
		"AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "DeleteObject", "DeleteObjects",
		"DeleteObjectTagging", "GetObject", "GetObjectAcl", "GetObjectAttributes", "GetObjectLegalHold", "GetObjectRetention",
		"GetObjectTagging", "GetObjectTorrent", "HeadBucket", "HeadObject", "ListMultipartUploads", "ListObjectVersions",
		"ListObjects", "ListObjectsV2", "ListParts", "PutObject", "PutObjectAcl", "PutObjectLegalHold", "PutObjectRetention",
		"PutObjectTagging", "RenameObject", "RestoreObject", "SelectObjectContent", "UploadPart", "UploadPartCopy", "WriteGetObjectResponse",
	},
}

func management(service, operation string) bool {
	return !slices.Contains(dataOperations[service], operation)
}

// username is whom LookupEvents finds the event by.
func username(p aws.Principal) string {
	switch p.Kind {
	case aws.Session:
		return p.SessionName()
	case aws.User, aws.Federated, aws.Root:
		return p.Name()
	}
	return ""
}
