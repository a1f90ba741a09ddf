package iam_test

import (
	"fmt"
	"sync"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/service/iam"
)

// atOnce calls do n times side by side, and counts the codes of its errors.
func atOnce(n int, do func(i int) error) map[string]int {
	var mu sync.Mutex
	var group sync.WaitGroup
	codes := map[string]int{}
	for i := range n {
		group.Go(func() {
			err := do(i)
			mu.Lock()
			defer mu.Unlock()
			if c := code(err); c != "" || err == nil {
				codes[c]++
			} else {
				codes[err.Error()]++
			}
		})
	}
	group.Wait()
	return codes
}

// TestSideBySide holds that names stay unique, quotas hold, and nothing is left
// hanging on what was deleted, whoever is faster.
func TestSideBySide(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		want := func(what string, got map[string]int, code string, n, other int) {
			w.Helper()
			if got[""] != n || got[code] != other || len(got) != 2 {
				w.Errorf("%s: %v, want %d done and %d %s", what, got, n, other, code)
			}
		}
		names := []string{"alice", "Alice", "ALICE"}
		want("one name", atOnce(12, func(i int) error {
			_, err := w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: names[i%3]})
			return err
		}), "EntityAlreadyExists", 1, 11)
		want("two keys a user", atOnce(8, func(int) error {
			_, err := w.root.CreateAccessKey(ctx(), &api.CreateAccessKeyInput{UserName: "alice"})
			return err
		}), "LimitExceeded", 2, 6)
		const arn = "arn:aws:iam::" + one + ":policy/"
		for i := range 24 {
			must(w.root.CreatePolicy(ctx(), &api.CreatePolicyInput{PolicyName: fmt.Sprint("P", i), PolicyDocument: allowS3}))(w)
		}
		want("twenty policies a user", atOnce(24, func(i int) error {
			_, err := w.root.AttachUserPolicy(ctx(), &api.AttachUserPolicyInput{UserName: "alice", PolicyArn: fmt.Sprint(arn, "P", i)})
			return err
		}), "LimitExceeded", 20, 4)
		want("five versions a policy", atOnce(8, func(int) error {
			_, err := w.root.CreatePolicyVersion(ctx(), &api.CreatePolicyVersionInput{PolicyArn: arn + "P0", PolicyDocument: allowS3})
			return err
		}), "LimitExceeded", 4, 4)

		// A policy is deleted while it is attached to somebody.
		must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "bob"}))(w)
		for i := range 10 {
			name := fmt.Sprint("D", i)
			must(w.root.CreatePolicy(ctx(), &api.CreatePolicyInput{PolicyName: name, PolicyDocument: allowS3}))(w)
			codes := atOnce(2, func(i int) error {
				if i == 0 {
					_, err := w.root.DeletePolicy(ctx(), &api.DeletePolicyInput{PolicyArn: arn + name})
					return err
				}
				_, err := w.root.AttachUserPolicy(ctx(), &api.AttachUserPolicyInput{UserName: "bob", PolicyArn: arn + name})
				return err
			})
			if codes[""] != 1 || codes["DeleteConflict"]+codes["NoSuchEntity"] != 1 {
				w.Errorf("delete beside attach: %v", codes)
			}
		}
		for _, p := range must(w.root.ListAttachedUserPolicies(ctx(), &api.ListAttachedUserPoliciesInput{UserName: "bob"}))(w).AttachedPolicies {
			must(w.root.GetPolicy(ctx(), &api.GetPolicyInput{PolicyArn: p.PolicyArn}))(w)
		}
	})
}

// TestPagesUnderChange holds that what stays is listed once, whatever comes and
// goes between two pages.
func TestPagesUnderChange(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		for i := range 9 {
			must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: fmt.Sprint("u", i)}))(w)
		}
		seen, marker := map[string]int{}, ""
		for page := 0; page == 0 || marker != ""; page++ {
			out := must(w.root.ListUsers(ctx(), &api.ListUsersInput{MaxItems: new(int64(3)), Marker: marker}))(w)
			for _, u := range out.Users {
				seen[u.UserName]++
			}
			if marker = out.Marker; page == 0 { // the page's last goes, one comes before it and one behind
				must(w.root.DeleteUser(ctx(), &api.DeleteUserInput{UserName: "u2"}))(w)
				must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "t"}))(w)
				must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "U3a"}))(w)
			}
		}
		if want := map[string]int{"u0": 1, "u1": 1, "u2": 1, "u3": 1, "U3a": 1, "u4": 1, "u5": 1, "u6": 1, "u7": 1, "u8": 1}; fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("seen %v, want %v", seen, want)
		}
	})
}
