// Package archtest holds the import rules: which package may know which. They
// are listed as data; a violation names the import.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sekisho/sekisho/"

// rules say what the packages below a prefix may import of this module; the
// longest prefix that fits a package counts. Everybody may import aws.
var rules = []struct{ pkg, may string }{
	{"internal/aws", ""},
	// 1: pure
	{"internal/policy", ""},
	{"internal/sigv4", ""},
	{"internal/eventpattern", ""},
	{"internal/cfn", ""},
	{"internal/seal", ""},
	{"internal/token", "internal/seal"},
	{"internal/qr", ""},
	{"internal/oidc", ""},
	{"internal/policyeval", "internal/policy"},
	{"internal/policylint", "internal/policy"},
	// 2: bytes, state and wire
	{"internal/state", ""},
	{"internal/job", "internal/state internal/fsck"},
	{"internal/fsck", "internal/state internal/seal"},
	{"internal/blob", ""},
	{"internal/git", ""},
	{"internal/wire", ""},
	// 3: how operations are declared and reached
	{"internal/call", "internal/policy"},
	{"internal/api", "internal/api internal/call internal/wire"},
	{"internal/checkpoint", "internal/call internal/policy internal/seal internal/token"},
	// 4: services, which never know each other
	{"internal/service", "internal/call internal/api internal/state internal/fsck internal/blob internal/job internal/git internal/policy internal/eventpattern internal/cfn internal/seal internal/token internal/qr internal/oidc"},
	// 5: the edges
	{"internal/gateway", "internal/checkpoint internal/call internal/api internal/wire internal/sigv4 internal/seal internal/policy"},
	{"internal/client", "internal/api internal/wire internal/sigv4 internal/seal"},
	{"internal/explain", "internal/call internal/policy"},
	{"internal/leastprivilege", "internal/call internal/policy"},
	// 6: whoever joins the parts, and the harnesses
	{"", "internal templates ."},
}

// forbidden are imports from elsewhere that only some packages may have.
var forbidden = []struct{ what, except string }{
	{"net/http", "internal/oidc internal/wire internal/sigv4 internal/gateway internal/client internal/cli internal/api/gen ."},
	{"modernc.org/sqlite", "internal/state"},
	{"github.com/jackc/pgx", "internal/state internal/statetest"},
	{"database/sql", "internal/state internal/statetest"},
	{"github.com/spf13/cobra", "internal/cli cmd"},
}

// service is the one rule with a name in it: a service imports itself and no
// other.
const services = "internal/service/"

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || rel != "." && hasGoMod(path) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := strings.TrimSuffix(rel[:len(rel)-len(d.Name())], "/")
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if why := judge(pkg, name); why != "" {
				t.Errorf("%s imports %s: %s", rel, name, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("looked at %d files only", seen)
	}
}

func hasGoMod(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// judge tells why package pkg may not import name, or "".
func judge(pkg, name string) string {
	own, ours := strings.CutPrefix(name+"/", module)
	own = strings.TrimSuffix(own, "/")
	if !ours {
		for _, f := range forbidden {
			if within(name, f.what) && !among(pkg, f.except) {
				return "only " + f.except + " may"
			}
		}
		return ""
	}
	if own == "internal/aws" || within(own, pkg) && pkg != "" {
		return ""
	}
	if strings.HasSuffix(pkg, "test") && strings.HasPrefix(pkg, "internal/") {
		return "" // a harness
	}
	if s, ok := strings.CutPrefix(pkg, services); ok {
		s, _, _ = strings.Cut(s, "/")
		if other, ok := strings.CutPrefix(own, services); ok && !within(other, s) {
			return "services reach each other through the door only"
		}
	}
	longest, may := -1, ""
	for _, r := range rules {
		if (r.pkg == "" || within(pkg, r.pkg)) && len(r.pkg) > longest {
			longest, may = len(r.pkg), r.may
		}
	}
	if among(own, may) {
		return ""
	}
	return "a package of its layer may import only: " + may
}

func within(pkg, prefix string) bool { return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") }

// among reports whether pkg lies below one of the prefixes; "." is the root
// package alone.
func among(pkg, prefixes string) bool {
	for p := range strings.FieldsSeq(prefixes) {
		if p == "." && pkg == "" || p != "." && within(pkg, p) {
			return true
		}
	}
	return false
}
