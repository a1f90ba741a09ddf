package checkpoint

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const (
	oldID  = "AROAOOOOOOOOOOOOOOOOO"
	hereID = "AROAHHHHHHHHHHHHHHHHH"
	userID = "AIDAUUUUUUUUUUUUUUUUU"
	mineID = "AROAMMMMMMMMMMMMMMMMM"
)

// A refusal by a resource's policy names who is meant by it and gone, if it may
// be the caller's namesake, and shows everybody else by ARN.
func TestPeople(t *testing.T) {
	const here = "arn:aws:iam::111111111111:role/here"
	b := newBench(t, `{"Effect":"Allow","Action":"s3:Z","Resource":"*"}`)
	b.people.arns = map[string]string{hereID: here, mineID: "arn:aws:iam::111111111111:role/mine"}
	names := func(effect string, ids ...string) string {
		return `{"Effect":"` + effect + `","Principal":{"AWS":["` + strings.Join(ids, `","`) + `"]},"Action":"s3:A","Resource":"*"}`
	}
	caller := callers["role"]
	caller.ID = mineID + ":s"
	stranger := caller
	stranger.Account = "222222222222"
	user := callers["user"]
	for _, tt := range []struct {
		name       string
		caller     aws.Principal
		statements []string
		gone       []string
	}{
		{"a role that is gone", caller, []string{names("Allow", hereID, oldID, oldID, userID)}, []string{oldID}},
		{"of another account", stranger, []string{names("Allow", oldID)}, []string{oldID}},
		{"everybody is there", caller, []string{names("Allow", hereID)}, nil},
		{"a user, asked by a role", caller, []string{names("Allow", userID)}, nil},
		{"a role, asked by somebody of another sort", user, []string{names("Allow", oldID)}, nil},
		{"a statement about something else", caller, []string{strings.Replace(names("Allow", oldID), "s3:A", "s3:B", 1)}, nil},
		{"a Deny decides", caller, []string{names("Allow", oldID), names("Deny", mineID, hereID)}, nil},
	} {
		doc, err := policy.Parse(`{"Statement":[`+strings.Join(tt.statements, ",")+`]}`, policy.Resource)
		if err != nil {
			t.Fatal(err)
		}
		n := call.Need{Action: "s3:A", Resource: "arn:aws:s3:::x", Owner: "111111111111", Policy: &policy.Source{Kind: policy.Resource, On: "arn:aws:s3:::x", Doc: doc}}
		j, err := b.Judge(t.Context(), &call.Call{Service: "s3", Principal: tt.caller, Time: b.now}, n)
		if err != nil || j.Decision.Effect == policy.Allow {
			t.Fatalf("%s: %+v, %v", tt.name, j, err)
		}
		var gone []string
		if j.Gone != nil {
			gone = j.Gone.IDs
			if j.Gone.Kind != policy.Resource || j.Gone.On != n.Resource {
				t.Errorf("%s: %+v", tt.name, j.Gone)
			}
		}
		if !slices.Equal(gone, tt.gone) {
			t.Errorf("%s: gone are %v, want %v", tt.name, gone, tt.gone)
		}
		for _, f := range j.Fixes {
			for _, s := range append(f.Instead, f.Was, f.Statement) {
				if strings.Contains(string(s), hereID) || strings.Contains(string(s), mineID) {
					t.Errorf("%s: a repair names somebody by id: %s", tt.name, s)
				}
			}
			if f.Remove != nil && !strings.Contains(string(f.Was), here) {
				t.Errorf("%s: the Deny is shown as %s", tt.name, f.Was)
			}
		}
	}

	b.people.broken = errors.New("the database is gone")
	doc, err := policy.Parse(`{"Statement":`+names("Allow", oldID)+`}`, policy.Resource)
	if err != nil {
		t.Fatal(err)
	}
	n := call.Need{Action: "s3:A", Resource: "arn:aws:s3:::x", Policy: &policy.Source{Kind: policy.Resource, Doc: doc}}
	if _, err := b.Judge(t.Context(), &call.Call{Service: "s3", Principal: caller, Time: b.now}, n); !errors.Is(err, b.people.broken) {
		t.Errorf("answered %v", err)
	}
}
