package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

// TestLeastPrivilege replaces the policies of all roles of the delivery by what
// sekisho policy generate makes of the record: the next delivery succeeds, and
// fails when any statement is taken out, any action of it or any resource.
func TestLeastPrivilege(t *testing.T) {
	l := newLab(t)
	known := l.known("pipeline")
	l.push("Seen by the record")
	l.finished("pipeline", known)

	roles := []string{l.action, l.service, l.forwarding, l.starting}
	least := map[string]string{}
	for _, role := range roles {
		text, notes := l.generate("--role", role, "--unused")
		least[role] = text
		t.Logf("%s\n%s%s", role, text, notes)
	}
	for _, role := range roles {
		for name := range l.inline(role) {
			l.setInline(role, name, "")
		}
		l.setInline(role, "least", least[role])
	}
	if id, e := l.attempt("With the least privilege", false); e.Status != cptypes.PipelineExecutionStatusSucceeded {
		t.Fatalf("with the generated policies the execution is %s:\n%s", e.Status, l.explain(id))
	}
	for _, role := range roles {
		lost := role == l.forwarding || role == l.starting
		for name, text := range smaller(least[role]) {
			l.in(t, *roleName(role)+" lacks "+name, func(l *lab) {
				l.setInline(role, "least", text)
				if id, e := l.attempt(*roleName(role)+" without "+name, lost); !lost && e.Status != cptypes.PipelineExecutionStatusFailed {
					l.t.Errorf("the execution of %s is %s", id, e.Status)
				}
			})
		}
	}

	// Nothing of it is too much.
	if _, notes := l.generate("--role", l.service, "--unused"); !strings.Contains(notes, "allow nothing that was never used") {
		t.Errorf("after the replacement: %s", notes)
	}
}

// generate is sekisho policy generate: what it prints, and what it says about
// it.
func (l *lab) generate(args ...string) (text, notes string) {
	l.t.Helper()
	var out, errs strings.Builder
	c := exec.Command(binary, append([]string{"policy", "generate", "--data", l.dir}, args...)...)
	c.Env, c.Stdout, c.Stderr = os.Environ(), &out, &errs
	if err := c.Run(); err != nil {
		l.t.Fatalf("policy generate %v: %v\n%s", args, err, errs.String())
	}
	return out.String(), errs.String()
}

// smaller are the policies that lack one thing of a policy, by what they lack.
// A policy needs a statement, so one that is left with none allows something
// else.
func smaller(text string) map[string]string {
	const other = `{"Effect":"Allow","Action":"codecommit:ListRepositories","Resource":"*"}`
	out := map[string]string{}
	add := func(name string, change func(list []map[string]any) []map[string]any) {
		if out[name] = edited(text, change); out[name] == "" {
			out[name] = with("", other)
		}
	}
	for i, s := range statementsOf(text) {
		add(fmt.Sprint("statement ", i), func(list []map[string]any) []map[string]any { return slices.Delete(list, i, i+1) })
		for _, element := range []string{"Action", "Resource"} {
			all := listed(s[element])
			if len(all) == 1 {
				continue
			}
			for _, one := range all {
				add(one, func(list []map[string]any) []map[string]any {
					list[i][element] = slices.DeleteFunc(slices.Clone(all), func(v string) bool { return v == one })
					return list
				})
			}
		}
	}
	return out
}

// statementsOf are the statements of a policy.
func statementsOf(text string) []map[string]any {
	var d statements
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		panic(err)
	}
	return d.Statement
}
