package servicetest

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
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
	// People is IAM, where a test serves it: callers then have the unique ids
	// of its users and roles. Nil means the world's own.
	People policy.Directory

	skew     atomic.Int64
	mu       sync.Mutex
	policies map[string][]policy.Source
	records  []*call.Entry
	// removed are users and roles that are not there, lives how often each was
	// removed so far, and people the ARNs behind unique ids.
	removed map[string]bool
	lives   map[string]int
	people  map[string]string
}

// New returns a world over a database.
func New(t *testing.T, db *state.DB) *Env {
	t.Helper()
	master, err := seal.NewMaster(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{T: t, DB: db, Master: master, policies: map[string][]policy.Source{},
		removed: map[string]bool{}, lives: map[string]int{}, people: map[string]string{},
	}
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
	p, err := e.principal(who)
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
	p, err := e.principal(who)
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
	s, err := e.session(strings.Fields(who))
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
	p, err := e.principal(keyID)
	if err != nil {
		return seal.Secret{}, aws.Principal{}, aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	return seal.NewSecret([]byte("secret")), p, nil
}

// Remove deletes a user or role, as far as policies name it.
func (e *Env) Remove(who string) error {
	p, err := e.principal(who)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed[p.PolicyARN()] = true
	e.lives[p.PolicyARN()]++
	return nil
}

// Restore makes a removed user or role anew, under its name, with another
// unique id.
func (e *Env) Restore(who string) error {
	p, err := e.principal(who)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.removed, p.PolicyARN())
	return nil
}

// ResolvePrincipal implements policy.Directory: every user, role and account
// exists but those that were removed and those whose name begins with
// "missing".
func (e *Env) ResolvePrincipal(_ context.Context, arn string) (string, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if name := arn[strings.LastIndexAny(arn, ":/")+1:]; strings.HasPrefix(name, "missing") || e.removed[arn] {
		return "", false, nil
	}
	return e.uniqueID(arn), true, nil
}

// PrincipalARN implements policy.Directory.
func (e *Env) PrincipalARN(_ context.Context, id string) (string, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	arn, ok := e.people[id]
	return arn, ok && !e.removed[arn] && e.uniqueID(arn) == id, nil
}

// idOf is the unique id of a caller's user or role.
func (e *Env) idOf(arn string) (string, error) {
	if e.People != nil {
		id, ok, err := e.People.ResolvePrincipal(context.Background(), arn)
		if ok || err != nil {
			return id, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.uniqueID(arn), nil
}

// uniqueID is the id that a user or role has in its present life; empty for
// everything else.
func (e *Env) uniqueID(arn string) string {
	prefix := "AIDA"
	switch a, _ := aws.ParseARN(arn); {
	case strings.HasPrefix(a.Resource, "role/"):
		prefix = "AROA"
	case !strings.HasPrefix(a.Resource, "user/"):
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", arn, e.lives[arn]))
	id := prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
	e.people[id] = arn
	return id
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
func (e *Env) session(words []string) (call.Session, error) {
	if len(words) == 0 {
		return call.Session{}, fmt.Errorf("nobody is named")
	}
	p, err := e.principal(words[0])
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
func (e *Env) principal(who string) (aws.Principal, error) {
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
		arn := aws.NewARN("iam", "", account, "role/"+role)
		id, err := e.idOf(arn)
		return aws.Principal{
			Kind: aws.Session, Account: account, Temporary: true,
			ARN:     aws.NewARN("sts", "", account, "assumed-role/"+role+"/"+sess),
			RoleARN: arn,
			ID:      id + ":" + sess,
		}, err
	}
	arn := aws.NewARN("iam", "", account, "user/"+name)
	id, err := e.idOf(arn)
	return aws.Principal{Kind: aws.User, Account: account, ARN: arn, ID: id}, err
}

// testLog writes log lines to the test's output.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
