package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/jackc/pgx/v5"
)

// TestCutDatabaseConnections ends all connections of a server to PostgreSQL,
// over and over, while commits are delivered. Calls are answered, if with an
// error, each commit is delivered once, and the process lives on.
func TestCutDatabaseConnections(t *testing.T) {
	base := os.Getenv("SEKISHO_TEST_POSTGRES")
	if base == "" {
		t.Skip("SEKISHO_TEST_POSTGRES is not set")
	}
	url := freshDatabase(t, base)
	k := &killing{world: deliver(t, "--database", url), chance: rand.New(rand.NewPCG(killSeed, 1))}
	process := k.cmd.Process.Pid
	cut := cutter(t, url)
	refused := 0
	for i := range 6 {
		known := k.known("pipeline")
		id := k.change(i)
		stop := k.during(func() { cut(); time.Sleep(k.within(40 * time.Millisecond)) })
		calls := k.calling(i)
		k.pushed()
		time.Sleep(k.within(300 * time.Millisecond))
		refused += calls()
		stop()
		k.delivered(known, id)
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
	}
	t.Logf("%d calls were refused", refused)
	if err := syscall.Kill(process, 0); err != nil {
		t.Errorf("the process has ended: %v", err)
	}
}

// cutter returns a function that ends all other connections to a database.
func cutter(t *testing.T, url string) func() {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ctx) })
	return func() {
		_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err != nil {
			t.Error(err)
		}
	}
}

// during does something over and over until it is stopped.
func (s *server) during(do func()) (stop func()) {
	quit := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				do()
			}
		}
	})
	return func() { close(quit); wait.Wait() }
}

// calling puts objects until it is stopped; it fails the test when a call
// hangs, when one is lost that was acknowledged, and returns how many were
// refused.
func (k *killing) calling(round int) (stop func() int) {
	a, bucket := k.pipelines["pipeline"], "called"
	if round == 0 {
		if _, err := a.s3.CreateBucket(context.Background(), createBucket(bucket)); err != nil && !strings.Contains(err.Error(), "BucketAlready") {
			k.t.Logf("create bucket: %v", err)
		}
	}
	refused, n := 0, 0
	var kept []string
	end := k.server.during(func() {
		n++
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		key := fmt.Sprintf("round %d call %d", round, n)
		_, err := a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)})
		switch _, answered := errors.AsType[smithy.APIError](err); {
		case err == nil:
			kept = append(kept, key)
		case answered:
			refused++
		default:
			k.t.Errorf("a call was not answered: %v", err)
		}
	})
	return func() int {
		end()
		for _, key := range kept {
			for try := 0; ; try++ {
				out, err := a.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
				if err == nil && *out.ContentLength == int64(len(key)) {
					break
				}
				if e, ok := errors.AsType[smithy.APIError](err); try == 20 || ok && e.ErrorCode() == "NotFound" {
					k.t.Errorf("%s was acknowledged and is lost: %v", key, err)
					break
				}
			}
		}
		return refused
	}
}

// pushed pushes as somebody does who sees an error and tries again.
func (k *killing) pushed() {
	k.t.Helper()
	for tries := 0; ; tries++ {
		out, err := try(k.tree, k.env, "git", "push", "-q", "origin", "main")
		if err == nil {
			return
		}
		if tries == 50 {
			k.t.Fatalf("git push: %v\n%s", err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestRestartedDatabase restarts PostgreSQL, in an orderly way and not, while
// a commit is delivered.
func TestRestartedDatabase(t *testing.T) {
	t.Parallel() // it waits, most of the time
	p := newPostgres(t)
	k := &killing{world: deliver(t, "--database", p.url), chance: rand.New(rand.NewPCG(killSeed, 2))}
	for i, mode := range []string{"fast", "immediate", "fast"} {
		known := k.known("pipeline")
		id := k.change(i)
		calls := k.calling(i)
		k.pushed()
		time.Sleep(k.within(60 * time.Millisecond))
		p.stop(mode)
		if i == 1 {
			time.Sleep(11 * time.Second) // longer than transactions are begun anew
		}
		p.start()
		t.Logf("%s: %d calls were refused", mode, calls())
		k.delivered(known, id)
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
	}
}

// postgres is a server of a test's own.
type postgres struct {
	t        *testing.T
	bin, dir string
	as       *syscall.SysProcAttr
	port     int
	url      string
}

func newPostgres(t *testing.T) *postgres {
	t.Helper()
	p := &postgres{t: t, dir: t.TempDir()}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = []string{path}
		}
	}
	if len(found) == 0 {
		t.Skip("PostgreSQL is not installed here")
	}
	p.bin = filepath.Dir(slices.Max(found))
	if os.Geteuid() == 0 {
		p.unprivileged()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	p.url = fmt.Sprintf("postgres://sekisho@127.0.0.1:%d/postgres?sslmode=disable", p.port)
	p.run("initdb", "-D", p.dir+"/data", "-U", "sekisho", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	p.start()
	t.Cleanup(func() { p.stop("immediate") })
	return p
}

// unprivileged gives the server to another user: PostgreSQL refuses to be root.
func (p *postgres) unprivileged() {
	p.t.Helper()
	u, err := osuser.Lookup("postgres")
	if err != nil {
		p.t.Skipf("root cannot run PostgreSQL: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("", "sekisho-e2e-postgres-") // where that user gets to
	if err == nil {
		p.t.Cleanup(func() { os.RemoveAll(dir) })
		err = os.Chown(dir, uid, gid)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.dir, p.as = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (p *postgres) run(name string, args ...string) {
	p.t.Helper()
	c := exec.Command(filepath.Join(p.bin, name), args...)
	c.Dir, c.SysProcAttr = p.dir, p.as
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (p *postgres) start() {
	p.t.Helper()
	p.run("pg_ctl", "start", "-w", "-D", p.dir+"/data", "-l", p.dir+"/log", "-o", fmt.Sprintf("-p %d -h 127.0.0.1 -k %s", p.port, p.dir))
}

func (p *postgres) stop(mode string) {
	p.t.Helper()
	p.run("pg_ctl", "stop", "-D", p.dir+"/data", "-m", mode)
}
