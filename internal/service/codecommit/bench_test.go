package codecommit

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

func benchService(b *testing.B) *Service {
	b.Helper()
	path := b.TempDir()
	db, err := state.Open(b.Context(), path+"/db", Schema(), job.Schema())
	if err != nil {
		b.Fatal(err)
	}
	store, err := git.Open(b.Context(), path+"/git", git.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		store.Close()
		db.Close()
	})
	s := New(db, store, nil, job.NewQueue(db, job.Options{}))
	if _, err := s.createRepository(b.Context(), rootCall(""), &api.CreateRepositoryInput{RepositoryName: "app"}); err != nil {
		b.Fatal(err)
	}
	return s
}

func benchCommit(b *testing.B, s *Service, parent string, i int) string {
	b.Helper()
	out, err := s.putFile(b.Context(), rootCall(""), &api.PutFileInput{RepositoryName: "app", BranchName: "main", ParentCommitId: parent, FilePath: "f", FileContent: fmt.Append(nil, i)})
	if err != nil {
		b.Fatal(err)
	}
	return out.CommitId
}

func BenchmarkGetBranch(b *testing.B) {
	s := benchService(b)
	benchCommit(b, s, "", 0)
	c, in := rootCall(""), &api.GetBranchInput{RepositoryName: "app", BranchName: "main"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.getBranchNeeds(b.Context(), c, in); err != nil {
			b.Fatal(err)
		}
		if _, err := s.getBranch(b.Context(), c, in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutFile(b *testing.B) {
	s := benchService(b)
	parent := ""
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		parent = benchCommit(b, s, parent, i)
	}
}

// BenchmarkPush is the server's whole share of a small push: advertisement,
// pack, record and events.
func BenchmarkPush(b *testing.B) {
	s := benchService(b)
	work := &clone{t: b, dir: b.TempDir()}
	work.ok("init", "-q", "-b", "main")
	old := git.Zero
	c := rootCall("t")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		id, request := benchPush(b, work, old, i)
		var out bytes.Buffer
		b.StartTimer()
		if _, err := s.gitPush(b.Context(), c, &api.GitPushInput{RepositoryName: "app", Advertise: true, Out: &out}); err != nil {
			b.Fatal(err)
		}
		if _, err := s.gitPush(b.Context(), c, &api.GitPushInput{RepositoryName: "app", Body: bytes.NewReader(request), Out: &out}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if !strings.Contains(out.String(), "ok refs/heads/main") {
			b.Fatalf("answer %q", out.String())
		}
		old = id
		b.StartTimer()
	}
}

// benchPush makes one more commit and the request that pushes it.
func benchPush(b *testing.B, work *clone, old string, i int) (id string, request []byte) {
	b.Helper()
	id = work.commit(fmt.Sprint(i))
	revs := "main\n"
	if old != git.Zero {
		revs += "^" + old + "\n"
	}
	pack := exec.Command("git", "pack-objects", "--stdout", "--revs", "--thin", "-q")
	pack.Dir, pack.Stdin = work.dir, strings.NewReader(revs)
	data, err := pack.Output()
	if err != nil {
		b.Fatal(err)
	}
	line := old + " " + id + " refs/heads/main\x00 report-status side-band-64k"
	return id, append([]byte("00"+hex2(len(line)+4)+line+"0000"), data...)
}
