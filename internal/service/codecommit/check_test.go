package codecommit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/fsck"
)

// Check finds nothing in a sound repository, and damage where a ref moved
// behind the record's back, an object is missing, or the repository is.
func TestCheck(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		meta := w.createRepository("app")
		c := w.clone(w.serveGit(root), "app")
		first := c.commit("one")
		c.commit("two")
		c.ok("push", "origin", "main")
		path := filepath.Join(w.root, dir(account, "us-east-1", meta.RepositoryId))
		wants := func(what, want string) {
			t.Helper()
			var found []string
			if err := w.s.Check(t.Context(), func(f fsck.Finding) { found = append(found, f.String()) }); err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(found, "\n"); want == "" && text != "" || !strings.Contains(text, want) {
				t.Errorf("%s: found %q, want %q", what, text, want)
			}
		}
		wants("sound", "")
		git := func(args ...string) {
			t.Helper()
			if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", path}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		git("update-ref", "refs/heads/stray", first)
		wants("a stray ref", "refs/heads/stray: the ref is at "+first+"; the record does not have it")
		git("update-ref", "-d", "refs/heads/stray")
		git("update-ref", "refs/heads/main", first)
		wants("a moved ref", "refs/heads/main: the ref is at "+first+"; the record has it at ")
		git("update-ref", "-d", "refs/heads/main")
		wants("a lost ref", "refs/heads/main: the ref is missing")
		git("update-ref", "refs/heads/main", first)
		if err := os.RemoveAll(filepath.Join(path, "objects")); err != nil {
			t.Fatal(err)
		}
		os.MkdirAll(filepath.Join(path, "objects"), 0o700)
		wants("no objects", "git fsck: ")
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		wants("no repository", "its directory is missing")
	})
}
