package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// worktree is a git working tree that pushes to a repository of sekisho.
type worktree struct {
	dir string
	url string
	env []string
}

// newWorktree makes an empty working tree. git asks the environment for its
// password, so that it appears in no list of processes and in no file. It
// trusts ca alone: the machine's own authorities, hundreds of files that some
// builds of git read anew for each connection, are none of its business.
func newWorktree(ctx context.Context, dir, url, ca, user, password string) (*worktree, error) {
	ca, err := filepath.Abs(ca)
	if err != nil {
		return nil, err
	}
	others := filepath.Join(dir, ".git", "authorities") // none
	w := &worktree{dir: dir, url: url, env: append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+ca, "GIT_SSL_CAPATH="+others,
		"GIT_AUTHOR_NAME=developer", "GIT_AUTHOR_EMAIL=developer@example.com",
		"GIT_COMMITTER_NAME=developer", "GIT_COMMITTER_EMAIL=developer@example.com",
		"SEKISHO_GIT_USER="+user, "SEKISHO_GIT_PASSWORD="+password,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper",
		`GIT_CONFIG_VALUE_0=!f() { echo "username=$SEKISHO_GIT_USER"; echo "password=$SEKISHO_GIT_PASSWORD"; }; f`,
	)}
	if err := os.MkdirAll(others, 0o755); err != nil {
		return nil, err
	}
	if err := w.git(ctx, "init", "-q"); err != nil {
		return nil, err
	}
	return w, w.git(ctx, "symbolic-ref", "HEAD", "refs/heads/main")
}

// write writes a file of the tree.
func (w *worktree) write(file, text string) error {
	path := filepath.Join(w.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func (w *worktree) commit(ctx context.Context, message string) error {
	if err := w.git(ctx, "add", "--all"); err != nil {
		return err
	}
	return w.git(ctx, "commit", "-q", "-m", message)
}

// send pushes what was committed.
func (w *worktree) send(ctx context.Context) error {
	return w.git(ctx, "push", "-q", w.url, "main")
}

func (w *worktree) push(ctx context.Context, message string) error {
	if err := w.commit(ctx, message); err != nil {
		return err
	}
	return w.send(ctx)
}

func (w *worktree) git(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir, c.Env = w.dir, w.env
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// without returns a policy without the statement of a Sid.
func without(policy, sid string) (string, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal([]byte(policy), &doc); err != nil {
		return "", err
	}
	var statements []json.RawMessage
	if err := json.Unmarshal(doc["Statement"], &statements); err != nil {
		return "", err
	}
	kept := make([]json.RawMessage, 0, len(statements))
	for _, text := range statements {
		var s struct{ Sid string }
		if err := json.Unmarshal(text, &s); err != nil {
			return "", err
		}
		if s.Sid != sid {
			kept = append(kept, text)
		}
	}
	if len(kept) == len(statements) {
		return "", fmt.Errorf("the policy has no statement %s", sid)
	}
	rest, err := json.Marshal(kept)
	if err != nil {
		return "", err
	}
	doc["Statement"] = rest
	out, err := json.Marshal(doc)
	return string(out), err
}
