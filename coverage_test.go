package sekisho

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/api"
)

var update = flag.Bool("update", false, "rewrite docs/coverage.md")

// TestCoverage holds docs/coverage.md to the operation tables, so that it
// cannot flatter.
func TestCoverage(t *testing.T) {
	s, err := New(t.Context(), Config{Data: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := coverage(s)
	const file = "docs/coverage.md"
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test -run Coverage . -update", file)
	}
}

func coverage(s *Server) string {
	var b strings.Builder
	b.WriteString("# What works\n\nGenerated from the operation tables: `go test -run Coverage . -update`. " +
		"Every operation here is judged by IAM policy and recorded; every other operation of these services answers `NotImplemented` by its name.\n")
	served := s.door.Operations()
	for _, name := range slices.Sorted(maps.Keys(served)) {
		service := api.Services()[name]
		var public, internal, open []string
		for _, op := range served[name] {
			if _, modelled := service.Operation(op.Name); !modelled {
				internal = append(internal, "`"+op.Name+"`")
				continue
			}
			public = append(public, "`"+op.Name+"`")
			if op.Public != "" {
				open = append(open, fmt.Sprintf("- `%s` needs no permission: %s.", op.Name, strings.TrimSuffix(op.Public, ".")))
			}
		}
		fmt.Fprintf(&b, "\n## %s\n\n%d of AWS's %d operations: %s.\n", name, len(public), len(service.Operations), strings.Join(public, ", "))
		if len(internal) > 0 {
			fmt.Fprintf(&b, "\nNot in AWS's public model, reached by git or by other services: %s.\n", strings.Join(internal, ", "))
		}
		if len(open) > 0 {
			fmt.Fprintf(&b, "\n%s\n", strings.Join(open, "\n"))
		}
	}
	return b.String()
}
