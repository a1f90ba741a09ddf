package apitest_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/api/apitest"
)

// TestPatterns compiles every pattern of every model, and lists the ones
// that are not checked because Go cannot express them.
func TestPatterns(t *testing.T) {
	var unchecked []string
	for _, m := range apitest.Models() {
		for name, r := range m.Rules {
			if r.RE2 == "-" {
				unchecked = append(unchecked, m.Name+"."+name)
				continue
			}
			pattern := r.RE2
			if pattern == "" {
				pattern = r.Pattern
			}
			if _, err := regexp.Compile("^(?:" + pattern + ")$"); err != nil {
				t.Errorf("%s.%s: %v", m.Name, name, err)
			}
		}
	}
	slices.Sort(unchecked)
	if diff := cmp.Diff([]string{"events.PathParameter", "iam.accountAliasType"}, unchecked); diff != "" {
		t.Errorf("unchecked patterns (-want +got):\n%s", diff)
	}
}
