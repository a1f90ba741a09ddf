package call

import (
	"encoding/json"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// Entry is the record of one call, allowed or refused.
type Entry struct {
	Call *Call
	// Inside is true for calls that a service makes: their answers stay in the
	// process, and leave it only with those of calls from outside.
	Inside bool
	// ReadOnly tells reading operations from writing ones.
	ReadOnly bool
	// Judgements are all permissions that were asked, in order.
	Judgements []Judgement
	// Request and Response are the parameters as CloudTrail shows them, in
	// JSON, without secrets and bodies; nil when there are none.
	Request, Response json.RawMessage
	// Resources are the ARNs the call was about.
	Resources []string
	// Error is what the caller was answered; nil means success.
	Error *aws.Error
	// Took is how long the call lasted.
	Took time.Duration
}

// Judgement is one Need with its decision and, for a refusal, the smallest
// change that would turn it.
type Judgement struct {
	Action   string
	Resource string
	// Owner is the account that owns the resource.
	Owner    string `json:",omitempty"`
	Decision policy.Decision
	Fixes    []policy.Fix `json:",omitempty"`
	// Gone is set for a refusal in which the resource's policy names somebody
	// who was deleted; the caller may be of the same name.
	Gone *Gone `json:",omitempty"`
	// Sums are those of the documents in Decision.Because, in its order: they
	// tell whether a document has changed since.
	Sums []string `json:",omitempty"`
	// Why is the whole story of a refusal, as the policies were then; nil for
	// what was allowed, which is most.
	Why *Why `json:",omitempty"`
}

// Why is everything that went into a decision.
type Why struct {
	// Context are all keys that conditions could see, as AWS spells them.
	Context policy.Keys
	// Consulted are the policies in the order of evaluation.
	Consulted []policy.Consulted
	// Carry is what the request itself would have had to carry.
	Carry []policy.Carried `json:",omitempty"`
}

// Gone are the unique ids that stand in a resource's policy in the place of
// users and roles deleted since.
type Gone struct {
	Kind     policy.Kind
	Name, On string // as in policy.Source
	IDs      []string
}
