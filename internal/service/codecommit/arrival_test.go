package codecommit

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

// A commit leads to the push that brought it, and the events of that push.
func TestTraceOfACommit(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		c := w.clone(w.serveGit(root), "app")
		first := c.commit("one")
		c.ok("push", "origin", "main", "HEAD:refs/heads/other")
		between := c.commit("two")
		last := c.commit("three")
		c.ok("push", "origin", "main")
		traces := map[string]string{}
		for _, e := range w.events() {
			traces[details(w.T, []aws.Event{e})[0]["commitId"]] = e.Trace
		}
		for _, id := range []string{first, last, last[:7]} {
			want := traces[first]
			if strings.HasPrefix(last, id) {
				want = traces[last]
			}
			if got := must[string](w.T)(w.s.Trace(w.T.Context(), id)); got != want || got == "" {
				w.T.Errorf("trace of %s is %q, want %q", id, got, want)
			}
		}
		must[*api.DeleteRepositoryOutput](w.T)(w.client(root).DeleteRepository(w.T.Context(), &api.DeleteRepositoryInput{RepositoryName: "app"}))
		for _, id := range []string{between, last, last[:6], "HEAD", ""} {
			if got := must[string](w.T)(w.s.Trace(w.T.Context(), id)); got != "" {
				w.T.Errorf("trace of %q is %q, want none", id, got)
			}
		}
	})
}
