package servicetest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// Env is one world: a database, a checkpoint before the services under test,
// callers with policies, and the record of what they did.
type Env struct {
	T      *testing.T
	DB     *state.DB
	Master *seal.Master
	// Door is the checkpoint; Serve the services under test on it.
	Door *checkpoint.Checkpoint
	// Jobs is the queue of the database. It runs once Start is called.
	Jobs *job.Queue

	skew     atomic.Int64
	mu       sync.Mutex
	policies map[string][]policy.Source
	records  []*call.Entry
}

// New returns a world over a database.
func New(t *testing.T, db *state.DB) *Env {
	t.Helper()
	master, err := seal.NewMaster(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{T: t, DB: db, Master: master, policies: map[string][]policy.Source{}}
	log := slog.New(slog.NewTextHandler(testLog{t}, nil))
	e.Door = checkpoint.New(e, e, checkpoint.Options{Log: log, Now: e.Now, BaseURL: "https://127.0.0.1:4566"})
	e.Jobs = job.NewQueue(db, job.Options{})
	return e
}

// Start runs the job queue, and whatever else is given, until the test ends.
func (e *Env) Start(more ...func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, run := range append(more, e.Jobs.Run) {
		group.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				e.T.Errorf("background work ended: %v", err)
			}
		})
	}
	e.T.Cleanup(func() {
		stop()
		group.Wait()
	})
}

// Now is the world's clock: the real one, moved by Advance.
func (e *Env) Now() time.Time { return time.Now().Add(time.Duration(e.skew.Load())) }

// Advance moves the clock.
func (e *Env) Advance(d time.Duration) { e.skew.Add(int64(d)) }

// Grant gives a caller an identity policy, beside those it has.
func (e *Env) Grant(who, document string) {
	e.T.Helper()
	p, err := principal(who)
	if err != nil {
		e.T.Fatal(err)
	}
	doc, err := policy.Parse(document, policy.Identity)
	if err != nil {
		e.T.Fatalf("policy of %s: %v", who, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.policies[p.PolicyARN()]
	e.policies[p.PolicyARN()] = append(list, policy.Source{
		Kind: policy.Identity, Name: fmt.Sprintf("policy-%d", len(list)+1), On: p.PolicyARN(), Doc: doc,
	})
}

// Forget takes all identity policies from a caller.
func (e *Env) Forget(who string) {
	p, err := principal(who)
	if err != nil {
		e.T.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.policies, p.PolicyARN())
}

// As returns an invoker for WHO (see the package's documentation), with "in
// REGION" and "via SERVICE" where they are wanted.
func (e *Env) As(who string) call.Invoker {
	e.T.Helper()
	s, err := session(strings.Fields(who))
	if err != nil {
		e.T.Fatal(err)
	}
	return e.Door.As(s)
}

// For implements checkpoint.Identity.
func (e *Env) For(_ context.Context, p aws.Principal) (*policy.Set, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &policy.Set{Identity: e.policies[p.PolicyARN()]}, nil
}

// Key implements checkpoint.Identity: WHO's key id is WHO, its secret
// "secret", its token "token".
func (e *Env) Key(_ context.Context, keyID, _ string) (seal.Secret, aws.Principal, error) {
	p, err := principal(keyID)
	if err != nil {
		return seal.Secret{}, aws.Principal{}, aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	return seal.NewSecret([]byte("secret")), p, nil
}

// ResolvePrincipal says that every user, role and account exists but those
// whose name begins with "missing".
func (e *Env) ResolvePrincipal(_ context.Context, arn string) (string, bool, error) {
	name := arn[strings.LastIndexAny(arn, ":/")+1:]
	return "AIDA" + strings.ToUpper(name), !strings.HasPrefix(name, "missing"), nil
}

// Record implements checkpoint.Recorder.
func (e *Env) Record(_ context.Context, entry *call.Entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records = append(e.records, entry)
	return nil
}

// Records returns what was recorded, oldest first.
func (e *Env) Records() []*call.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*call.Entry(nil), e.records...)
}

// session reads WHO [in REGION] [via SERVICE].
func session(words []string) (call.Session, error) {
	if len(words) == 0 {
		return call.Session{}, fmt.Errorf("nobody is named")
	}
	p, err := principal(words[0])
	if err != nil {
		return call.Session{}, err
	}
	s := call.Session{Principal: p, Region: "us-east-1", SourceIP: "192.0.2.1", UserAgent: "servicetest"}
	for rest := words[1:]; len(rest) > 0; rest = rest[2:] {
		switch {
		case len(rest) > 1 && rest[0] == "in":
			s.Region = rest[1]
		case len(rest) > 1 && rest[0] == "via":
			s.Via = append(s.Via, rest[1])
		default:
			return call.Session{}, fmt.Errorf("unexpected %q", rest[0])
		}
	}
	return s, nil
}

// principal reads WHO.
func principal(who string) (aws.Principal, error) {
	if who == "anonymous" {
		return aws.Principal{}, nil
	}
	if strings.HasSuffix(who, ".amazonaws.com") {
		return aws.ServicePrincipal(who), nil
	}
	name, account, ok := strings.Cut(who, "@")
	if !ok || !aws.IsAccountID(account) {
		return aws.Principal{}, fmt.Errorf("%q is not NAME@ACCOUNT", who)
	}
	if name == "root" {
		return aws.RootPrincipal(account), nil
	}
	if role, sess, ok := strings.Cut(name, "/"); ok {
		return aws.Principal{
			Kind: aws.Session, Account: account, Temporary: true,
			ARN:     aws.NewARN("sts", "", account, "assumed-role/"+role+"/"+sess),
			RoleARN: aws.NewARN("iam", "", account, "role/"+role),
			ID:      "AROA" + strings.ToUpper(role) + ":" + sess,
		}, nil
	}
	return aws.Principal{
		Kind: aws.User, Account: account,
		ARN: aws.NewARN("iam", "", account, "user/"+name),
		ID:  "AIDA" + strings.ToUpper(name),
	}, nil
}

// testLog writes log lines to the test's output.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
