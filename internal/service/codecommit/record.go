package codecommit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// A change of refs takes three steps: begin writes down what git will be
// asked for, git does it, settle records what it did together with the events.
// Each is durable before the next begins. What begin wrote and nobody settled
// is found by Reconcile, which asks the disk.

// intent is a change that git has been or will be asked for.
type intent struct {
	ID      string    `db:"id"`
	Trace   string    `db:"trace"`
	Caller  string    `db:"caller"`
	Created time.Time `db:"created"`
}

// step is one ref update of an intent.
type step struct {
	Push   string `db:"push"`
	Trace  string `db:"trace"`
	Caller string `db:"caller"`
	Ref    string `db:"ref"`
	Old    string `db:"old"`
	New    string `db:"new"`
}

// begin writes down what git will be asked for.
func (s *Service) begin(ctx context.Context, c *call.Call, r *repository, commands []git.Command) (*intent, error) {
	in := &intent{ID: c.NewID(), Trace: c.Trace, Caller: c.Principal.ARN, Created: c.Time}
	err := s.db.Update(ctx, func(tx *state.Tx) error { return in.insert(ctx, tx, r, commands) })
	return in, err
}

func (in *intent) insert(ctx context.Context, tx *state.Tx, r *repository, commands []git.Command) error {
	_, err := tx.Exec(ctx, `INSERT INTO codecommit_push (id, repository, trace, caller, created) VALUES ($1, $2, $3, $4, $5)`,
		in.ID, r.ID, in.Trace, in.Caller, state.Millis(in.Created))
	for _, c := range commands {
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO codecommit_push_ref (push, repository, ref, old, new) VALUES ($1, $2, $3, $4, $5)`,
			in.ID, r.ID, c.Ref, c.Old, c.New)
	}
	return err
}

func (in *intent) remove(ctx context.Context, tx *state.Tx) error {
	if _, err := tx.Exec(ctx, `DELETE FROM codecommit_push_ref WHERE push = $1`, in.ID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM codecommit_push WHERE id = $1`, in.ID)
	return err
}

// settle records what git did of an intent, with its events, and makes HEAD
// name the first branch. It is tried again for a good while, since git has
// moved the refs already and the client waits. What it cannot finish,
// Reconcile will.
func (s *Service) settle(ctx context.Context, r *repository, in *intent, changed []git.Command) error {
	ctx = context.WithoutCancel(ctx)
	head := ""
	var err error
	for pause := 20 * time.Millisecond; pause < time.Minute; pause *= 4 {
		if head, err = s.record(ctx, r, in, changed); err == nil || errors.Is(err, state.ErrClosed) {
			break
		}
		time.Sleep(pause)
	}
	if err != nil || head == "" {
		return err
	}
	// The intent outlives the record until HEAD is right.
	err = s.setHead(r, head)
	if err == nil {
		err = s.db.Update(ctx, func(tx *state.Tx) error { return in.remove(ctx, tx) })
	}
	if err != nil {
		slog.Error("HEAD is to be set at the next start", "repository", r.arn(), "branch", head, "error", err)
	}
	return nil
}

// record is one attempt of settle. It returns the branch that HEAD is to name
// from now on; empty when it stays.
func (s *Service) record(ctx context.Context, r *repository, in *intent, changed []git.Command) (head string, err error) {
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		rec, err := s.recorder(ctx, tx, r)
		if err != nil || rec == nil {
			return err
		}
		for _, c := range changed {
			if err := rec.chain(ctx, in, c); err != nil {
				return err
			}
		}
		if head, err = rec.firstBranch(ctx, changed); err != nil || head != "" {
			return err
		}
		return in.remove(ctx, tx)
	})
	return head, err
}

func (s *Service) setHead(r *repository, branch string) error {
	repo, err := s.repo(r)
	if err != nil {
		return err
	}
	if branch != "" {
		branch = "refs/heads/" + branch
	}
	return repo.SetHead(branch)
}

// recorder writes ref changes of one repository in one transaction.
type recorder struct {
	tx   *state.Tx
	repo *repository // as it is now
	now  time.Time
}

// recorder returns nil when the repository has been deleted meanwhile.
func (s *Service) recorder(ctx context.Context, tx *state.Tx, r *repository) (*recorder, error) {
	now, err := state.Get[repository](ctx, tx, selectRepository+`WHERE id = $1`, r.ID)
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	return &recorder{tx: tx, repo: &now, now: s.now()}, err
}

// target is what a ref points to as it was recorded.
func (w *recorder) target(ctx context.Context, ref string) (string, error) {
	id, err := state.Get[string](ctx, w.tx, `SELECT target FROM codecommit_ref WHERE repository = $1 AND name = $2`, w.repo.ID, ref)
	if errors.Is(err, state.ErrNotFound) {
		return git.Zero, nil
	}
	return id, err
}

// pending are the steps of a ref that were begun and not recorded.
func (w *recorder) pending(ctx context.Context, ref string) ([]step, error) {
	return state.List[step](ctx, w.tx, `
		SELECT r.push, p.trace, p.caller, r.ref, r.old, r.new
		FROM codecommit_push_ref r JOIN codecommit_push p ON p.id = r.push
		WHERE r.repository = $1 AND r.ref = $2 ORDER BY p.created, p.id`, w.repo.ID, ref)
}

// chain records one ref change of an intent. Two pushes that follow each other
// may come here in either order: the one before, which git has done too, is
// then recorded along with it.
func (w *recorder) chain(ctx context.Context, in *intent, c git.Command) error {
	pending, err := w.pending(ctx, c.Ref)
	if err != nil {
		return err
	}
	mine := slices.IndexFunc(pending, func(p step) bool { return p.Push == in.ID })
	if mine < 0 {
		return nil // recorded along with the one after it
	}
	at, err := w.target(ctx, c.Ref)
	if err != nil {
		return err
	}
	last := pending[mine]
	others := slices.Delete(slices.Clone(pending), mine, mine+1)
	for _, p := range wayTo(at, c.Old, others) {
		if err := w.apply(ctx, p, p.Old, p.New); err != nil {
			return err
		}
		at = p.New
	}
	return w.apply(ctx, last, at, c.New)
}

// wayTo finds steps that lead from one commit to another, each used once; nil
// when there are none or none are needed.
func wayTo(from, to string, steps []step) []step {
	if from == to {
		return nil
	}
	for i, p := range steps {
		if p.Old != from {
			continue
		}
		if p.New == to {
			return []step{p}
		}
		rest := slices.Delete(slices.Clone(steps), i, i+1)
		if more := wayTo(p.New, to, rest); more != nil {
			return append([]step{p}, more...)
		}
	}
	return nil
}

// apply records that a ref has moved and emits the event.
func (w *recorder) apply(ctx context.Context, p step, from, to string) error {
	if p.Push != "" {
		if _, err := w.tx.Exec(ctx, `DELETE FROM codecommit_push_ref WHERE push = $1 AND ref = $2`, p.Push, p.Ref); err != nil {
			return err
		}
	}
	if from == to {
		return nil
	}
	var err error
	if to == git.Zero {
		_, err = w.tx.Exec(ctx, `DELETE FROM codecommit_ref WHERE repository = $1 AND name = $2`, w.repo.ID, p.Ref)
	} else {
		_, err = w.tx.Exec(ctx, `
			INSERT INTO codecommit_ref (repository, name, target) VALUES ($1, $2, $3)
			ON CONFLICT (repository, name) DO UPDATE SET target = excluded.target`, w.repo.ID, p.Ref, to)
		if err == nil {
			err = w.arrived(ctx, p.Ref, to, p.Trace)
		}
	}
	if err != nil {
		return err
	}
	e, ok := w.event(p, from, to)
	if !ok {
		return nil
	}
	return w.tx.Emit(ctx, e)
}

// refDetail is the detail of a CodeCommit Repository State Change.
type refDetail struct {
	CallerUserARN     string `json:"callerUserArn,omitempty"`
	CommitID          string `json:"commitId,omitempty"`
	OldCommitID       string `json:"oldCommitId,omitempty"`
	Event             string `json:"event"`
	ReferenceFullName string `json:"referenceFullName"`
	ReferenceName     string `json:"referenceName"`
	ReferenceType     string `json:"referenceType"`
	RepositoryID      string `json:"repositoryId"`
	RepositoryName    string `json:"repositoryName"`
}

// event is the news of one ref change. Only branches and tags make news.
func (w *recorder) event(p step, from, to string) (aws.Event, bool) {
	d := refDetail{
		CallerUserARN: p.Caller, CommitID: to, OldCommitID: from, Event: "referenceUpdated",
		ReferenceFullName: p.Ref, RepositoryID: w.repo.ID, RepositoryName: w.repo.Name,
	}
	if name, ok := strings.CutPrefix(p.Ref, "refs/heads/"); ok {
		d.ReferenceName, d.ReferenceType = name, "branch"
	} else if name, ok := strings.CutPrefix(p.Ref, "refs/tags/"); ok {
		d.ReferenceName, d.ReferenceType = name, "tag"
	} else {
		return aws.Event{}, false
	}
	if from == git.Zero {
		d.Event, d.OldCommitID = "referenceCreated", ""
	}
	if to == git.Zero {
		d.Event, d.CommitID = "referenceDeleted", ""
	}
	detail, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings always marshal
	}
	return aws.Event{
		Account: w.repo.Account, Region: w.repo.Region, Source: "aws.codecommit",
		DetailType: "CodeCommit Repository State Change", Time: w.now,
		Resources: []string{w.repo.arn()}, Detail: detail, Trace: p.Trace,
	}, true
}

// firstBranch makes the first branch of a repository its default branch and
// returns it; empty when nothing is to be done.
func (w *recorder) firstBranch(ctx context.Context, changed []git.Command) (string, error) {
	if w.repo.DefaultBranch != "" {
		return "", nil
	}
	for _, c := range changed {
		name, ok := strings.CutPrefix(c.Ref, "refs/heads/")
		if !ok || c.New == git.Zero {
			continue
		}
		w.repo.DefaultBranch = name
		return name, touch(ctx, w.tx, w.repo.ID, w.now, `default_branch = $3`, name)
	}
	return "", nil
}

// move changes one ref on behalf of an API call. git.ErrMoved means that the
// ref is not where the caller believed it to be, and that nothing changed.
func (s *Service) move(ctx context.Context, c *call.Call, r *repository, command git.Command) error {
	repo, err := s.repo(r)
	if err != nil {
		return err
	}
	in, err := s.begin(ctx, c, r, []git.Command{command})
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := repo.UpdateRefs(ctx, command); err != nil {
		return errors.Join(err, s.db.Update(ctx, func(tx *state.Tx) error { return in.remove(ctx, tx) }))
	}
	return s.settle(ctx, r, in, []git.Command{command})
}

// Reconcile finishes what an earlier process began and did not record: it
// compares the refs on disk with the record and emits the events that are
// missing. It is called before the service takes calls.
func (s *Service) Reconcile(ctx context.Context) error {
	var dirty []repository
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		dirty, err = state.List[repository](ctx, tx, selectRepository+`WHERE id IN (SELECT repository FROM codecommit_push) ORDER BY id`)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range dirty {
		if err := s.reconcile(ctx, &r); err != nil {
			return fmt.Errorf("reconcile repository %s: %w", r.arn(), err)
		}
	}
	return nil
}

func (s *Service) reconcile(ctx context.Context, r *repository) error {
	repo, err := s.repo(r)
	if err != nil {
		return err
	}
	if err := repo.Recover(); err != nil {
		return err
	}
	refs, err := repo.Refs(ctx)
	if errors.Is(err, git.ErrNoRepository) {
		slog.Error("a repository's directory is missing", "repository", r.arn(), "id", r.ID)
		return nil
	}
	if err != nil {
		return err
	}
	head := r.DefaultBranch
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		rec, err := s.recorder(ctx, tx, r)
		if err != nil || rec == nil {
			return err
		}
		first, err := rec.catchUp(ctx, refs)
		if err != nil {
			return err
		}
		head = firstOf(rec.repo.DefaultBranch, first)
		return nil
	})
	if err != nil {
		return err
	}
	// The intents go last, so that a crash before this point is reconciled.
	if err := s.setHead(r, head); err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		for _, statement := range []string{
			`DELETE FROM codecommit_push_ref WHERE repository = $1`,
			`DELETE FROM codecommit_push WHERE repository = $1`,
		} {
			if _, err := tx.Exec(ctx, statement, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// catchUp brings the record up to the refs on disk, along the intents where
// they tell the way.
func (w *recorder) catchUp(ctx context.Context, disk map[string]string) (string, error) {
	type row struct {
		Name   string `db:"name"`
		Target string `db:"target"`
	}
	recorded, err := state.List[row](ctx, w.tx, `SELECT name, target FROM codecommit_ref WHERE repository = $1`, w.repo.ID)
	if err != nil {
		return "", err
	}
	was, names := map[string]string{}, []string{}
	for _, r := range recorded {
		was[r.Name] = r.Target
		names = append(names, r.Name)
	}
	for name := range disk {
		if was[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var created []git.Command
	for _, name := range names {
		from, to := firstOf(was[name], git.Zero), firstOf(disk[name], git.Zero)
		if err := w.catchUpRef(ctx, name, from, to); err != nil {
			return "", err
		}
		created = append(created, git.Command{Ref: name, Old: from, New: to})
	}
	return w.firstBranch(ctx, created)
}

func (w *recorder) catchUpRef(ctx context.Context, ref, from, to string) error {
	if from == to {
		return nil
	}
	pending, err := w.pending(ctx, ref)
	if err != nil {
		return err
	}
	steps := wayTo(from, to, pending)
	for _, p := range steps {
		if err := w.apply(ctx, p, p.Old, p.New); err != nil {
			return err
		}
	}
	if steps != nil {
		return nil
	}
	// No chain of intents leads there; whoever meant the last one did it.
	last := step{Ref: ref}
	for _, p := range pending {
		if p.New == to {
			last = p
		}
	}
	return w.apply(ctx, last, from, to)
}

// tidy has the repository's packs joined when there are many.
func (s *Service) tidy(ctx context.Context, r *repository, repo *git.Repository) {
	if repo.Packs() < git.ManyPacks {
		return
	}
	err := s.db.Update(context.WithoutCancel(ctx), func(tx *state.Tx) error {
		return job.Enqueue(ctx, tx, job.New{Kind: maintainJob, Key: r.ID, Payload: dir(r.Account, r.Region, r.ID)})
	})
	if err != nil {
		slog.Warn("repository maintenance could not be scheduled", "repository", r.arn(), "error", err)
	}
}
