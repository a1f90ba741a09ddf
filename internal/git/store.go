package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoRepository is returned for a repository that is not on disk.
var ErrNoRepository = errors.New("no such git repository")

// ErrNotFound is returned for an object or path that does not exist.
var ErrNotFound = errors.New("no such git object")

// ErrProtocol is returned for requests that are not the git protocol.
var ErrProtocol = errors.New("malformed git request")

// Zero is the object id that stands for "no object" in a ref update.
const Zero = "0000000000000000000000000000000000000000"

// minMajor and minMinor are the oldest git that has all we use.
const minMajor, minMinor = 2, 39

// Options tune a Store. The zero value is fit for use.
type Options struct {
	// Git is the git to run; empty means the one on PATH.
	Git string
	// MaxProcesses bounds the git processes that serve fetches and pushes at
	// one time; 0 means 128.
	MaxProcesses int
	// MaxReaders bounds the pooled reading processes; 0 means 16.
	MaxReaders int
	// ReaderIdle is how long a reading process waits for work before it is
	// ended; 0 means 30 s.
	ReaderIdle time.Duration
	// Stall is how long a client may neither send nor take anything before
	// it is given up; 0 means 10 minutes.
	Stall time.Duration
	// Log is told of git processes that die; nil means slog.Default().
	Log *slog.Logger
}

// Store is a directory of repositories and the git that serves them.
type Store struct {
	root    string
	git     string
	env     []string
	log     *slog.Logger
	stall   time.Duration
	slots   chan struct{}
	readers *pool
}

// Open prepares root, which it creates when absent, and checks that git is
// there and new enough.
func Open(ctx context.Context, root string, o Options) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	name := o.Git
	if name == "" {
		name = "git"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("git %d.%d or newer is needed to serve repositories: %w", minMajor, minMinor, err)
	}
	s := &Store{root: root, git: path, env: environment(), log: o.Log, stall: or(o.Stall, 10*time.Minute), slots: make(chan struct{}, or(o.MaxProcesses, 128))}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.readers = newPool(s, or(o.MaxReaders, 16), or(o.ReaderIdle, 30*time.Second))
	if err := s.checkVersion(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Close ends the pooled processes. Operations that still run keep theirs.
func (s *Store) Close() error {
	s.readers.close()
	return nil
}

func (s *Store) checkVersion(ctx context.Context) error {
	cmd := s.command(ctx, "", "version")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", s.git, err)
	}
	text := strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	var major, minor int
	if _, err := fmt.Sscanf(text, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("%s: version %q not understood", s.git, text)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("%s is version %s; %d.%d or newer is needed", s.git, text, minMajor, minMinor)
	}
	return nil
}

// settings is all the configuration git sees besides a repository's own file,
// which we wrote.
var settings = [][2]string{
	// Only we start processes: no hooks, no housekeeping behind a push.
	{"core.hooksPath", os.DevNull},
	{"core.fsmonitor", "false"},
	{"gc.auto", "0"},
	{"maintenance.auto", "false"},
	{"receive.autogc", "false"},
	{"safe.directory", "*"},
	// An acknowledged push survives: objects, packs and refs are synced. A
	// push stays one pack, which is three syncs instead of one per object.
	{"core.fsync", "all"},
	{"core.fsyncMethod", "fsync"},
	{"receive.unpackLimit", "1"},
	// Two pushes that meet at a ref wait for one another.
	{"core.filesRefLockTimeout", "5000"},
	{"core.packedRefsTimeout", "5000"},
	// Objects no client should have to fear; what old histories are full of
	// stays allowed.
	// The alternate of a push's quarantine is the repository itself, whose
	// refs git has read: a process that lists none is cheaper than another git.
	{"core.alternateRefsCommand", "true"},
	{"receive.fsckObjects", "true"},
	{"receive.fsck.zeroPaddedFilemode", "ignore"},
	{"receive.fsck.missingSpaceBeforeDate", "ignore"},
	{"receive.fsck.missingNameBeforeEmail", "ignore"},
	{"receive.fsck.missingEmail", "ignore"},
	{"receive.fsck.badTimezone", "ignore"},
	{"receive.fsck.badFilemode", "ignore"},
	// Push options are read and dropped by us.
	{"receive.advertisePushOptions", "true"},
	{"receive.denyDeleteCurrent", "refuse"},
	// An empty repository names no branch, so the client's own default holds.
	{"lsrefs.unborn", "ignore"},
	// Memory stays bounded, whatever is pushed or fetched.
	{"core.bigFileThreshold", "32m"},
	{"pack.windowMemory", "128m"},
	{"pack.deltaCacheSize", "64m"},
}

// environment is what git children see: our settings, and nothing of the
// system's or the user's.
func environment() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"HOME=/nonexistent",
		"XDG_CONFIG_HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings)),
	}
	for _, name := range []string{"TMPDIR", "SYSTEMROOT"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	for i, kv := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+kv[0], "GIT_CONFIG_VALUE_"+n+"="+kv[1])
	}
	return env
}

// grace is how long a git process may take to end after it was asked to.
const grace = 5 * time.Second

// command prepares a git process in its own process group. When ctx ends, the
// group is asked to end (git then removes its lock files) and after a grace
// killed.
func (s *Store) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.git, args...)
	cmd.Env = s.env
	cmd.Dir = dir
	if dir == "" {
		cmd.Dir = s.root
	}
	isolate(cmd)
	cmd.Cancel = func() error { return terminate(cmd) }
	cmd.WaitDelay = grace
	return cmd
}

// acquire waits for a slot for one more serving process.
func (s *Store) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) release() { <-s.slots }

// Repository is one bare repository of a Store. It is a handle: nothing says
// that the repository exists.
type Repository struct {
	store *Store
	name  string
	dir   string
}

// Repository returns a handle on the repository at the slash-separated name
// below the store's root, such as 111122223333/us-east-1/ID.git.
func (s *Store) Repository(name string) (*Repository, error) {
	if !fs.ValidPath(name) || name == "." || !strings.HasSuffix(name, ".git") {
		return nil, fmt.Errorf("%q is no repository name", name)
	}
	return &Repository{store: s, name: name, dir: filepath.Join(s.root, filepath.FromSlash(name))}, nil
}

// config is the whole of a repository's own configuration.
const config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"

// unborn is where HEAD points while there is no branch.
const unborn = "refs/heads/main"

// Create makes an empty repository. One that exists is left as it is.
func (r *Repository) Create() error {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			return err
		}
	}
	if err := writeNew(filepath.Join(r.dir, "config"), config); err != nil {
		return err
	}
	// HEAD is written last: without it the directory is no repository.
	if err := writeNew(filepath.Join(r.dir, "HEAD"), "ref: "+unborn+"\n"); err != nil {
		return err
	}
	for _, d := range []string{"objects", "refs", "."} {
		if err := syncDir(filepath.Join(r.dir, d)); err != nil {
			return err
		}
	}
	return r.syncParents()
}

// syncParents makes the repository's own directory entry last, and those of
// the directories above it.
func (r *Repository) syncParents() error {
	for d := filepath.Dir(r.dir); strings.HasPrefix(d, r.store.root); d = filepath.Dir(d) {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// Exists reports whether the repository is on disk.
func (r *Repository) Exists() bool {
	_, err := os.Stat(filepath.Join(r.dir, "HEAD"))
	return err == nil
}

// Delete removes the repository; an absent one is no error. Readers of it end.
func (r *Repository) Delete() error {
	gone := r.dir + ".deleted"
	err := os.Rename(r.dir, gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.store.readers.forget(r.dir)
	return os.RemoveAll(gone)
}

// Recover removes what git processes that were killed have left behind: lock
// files that would block later pushes, and half-received packs. No git
// process may be at work on the repository.
func (r *Repository) Recover() error {
	if !r.Exists() {
		return nil
	}
	for _, name := range []string{"HEAD.lock", "packed-refs.lock", "packed-refs.new", "config.lock"} {
		if err := remove(filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(filepath.Join(r.dir, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".lock") {
			return remove(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, pattern := range []string{"objects/tmp_objdir-incoming-*", "objects/incoming-*", "objects/pack/tmp_*", "objects/pack/.tmp-*"} {
		left, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// run runs a short git command in the repository and returns what it prints.
func (r *Repository) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	if !r.Exists() {
		return nil, ErrNoRepository
	}
	cmd := r.store.command(ctx, r.dir, args...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var out bytes.Buffer
	said := &tail{}
	cmd.Stdout, cmd.Stderr = &out, said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, said)
	}
	return out.Bytes(), nil
}

// writeNew writes a file whole and synced, unless it exists.
func writeNew(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return writeFile(path, text)
}

// writeFile replaces a file, whole and synced.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// tail keeps the last kilobyte of what a process says on its standard error.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 1024
	t.kept = append(t.kept, p...)
	if len(t.kept) > most {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-most:]...)
	}
	return len(p), nil
}

// blames reports whether git's last words lay the failure at the client's
// door, in one of these phrases.
func (t *tail) blames(phrases ...string) bool {
	return slices.ContainsFunc(phrases, func(p string) bool { return bytes.Contains(t.kept, []byte("fatal: "+p)) })
}

func (t *tail) String() string { return strings.TrimSpace(string(t.kept)) }
