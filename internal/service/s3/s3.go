package s3

import (
	"sync"
	"time"

	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// Service is Amazon S3.
type Service struct {
	db         *state.DB
	blobs      blob.Store
	box        *seal.Box
	door       call.Door
	principals policy.Directory

	policies policyCache
	// minPart is the least size of all parts of an upload but the last.
	minPart int64
	// small is the size up to which bodies are kept in their rows.
	small int
	// orphanAge is how old a blob without a row must be to be swept: older
	// than any upload can last between its blob and its row.
	orphanAge time.Duration
	// alone is when this process got the blob store to itself: what is older and
	// has no row never will have one. Zero: others write there too.
	alone time.Time
	now   func() time.Time // for what runs without a call
}

// New returns the service. box seals the data keys of SSE-S3; door leads to
// KMS; the jobs that remove bodies run on queue.
func New(db *state.DB, blobs blob.Store, box *seal.Box, door call.Door, principals policy.Directory, queue *job.Queue) *Service {
	s := &Service{
		db: db, blobs: blobs, box: box, door: door, principals: principals,
		minPart: 5 << 20, small: maxSmall, orphanAge: 24 * time.Hour, now: time.Now,
	}
	queue.Handle(collectJob, s.collect)
	queue.Handle(sweepJob, s.sweep)
	queue.Handle(lifecycleJob, s.expire)
	return s
}

// Alone says that no other process writes into the blob store from now on, so
// that what a killed one left is swept at once. It is called before Run.
func (s *Service) Alone() {
	s.alone = s.now().Add(-clockTick)
}

// clockTick is more than a file's time may be behind the clock.
const clockTick = 20 * time.Millisecond

// kms returns a client of KMS that calls with the caller's own identity, in
// the bucket's region.
func (s *Service) kms(c *call.Call, region string) kmsapi.Client {
	session := c.Forward("s3.amazonaws.com")
	session.Region = region
	return kmsapi.Client{Invoker: s.door.As(session)}
}

// policyCache keeps parsed bucket policies by their id, which changes with
// every policy that is put.
type policyCache struct {
	mu sync.Mutex
	m  map[string]*bucketPolicy
}

const maxCachedPolicies = 4096

func (p *policyCache) get(id string) *bucketPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m[id]
}

func (p *policyCache) put(id string, parsed *bucketPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil || len(p.m) >= maxCachedPolicies {
		p.m = map[string]*bucketPolicy{}
	}
	p.m[id] = parsed
}

// owner is the canonical user id of an account.
func owner(account string) (id string) {
	if account == anonymous {
		return anonymousID
	}
	return aws.CanonicalID(account)
}

// isService reports whether the caller is an AWS service acting as itself.
func isService(p aws.Principal) bool { return p.Kind == aws.Service }
