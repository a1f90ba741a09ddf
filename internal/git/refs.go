package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrMoved is returned when a ref is not where the caller believed it to be.
var ErrMoved = errors.New("the ref has moved")

// Refs returns what the named refs point to on disk, or all refs when none
// are named. Absent ones are left out.
func (r *Repository) Refs(ctx context.Context, names ...string) (map[string]string, error) {
	args := []string{"for-each-ref", "--format=%(objectname) %(refname)"}
	out, err := r.run(ctx, nil, append(args, names...)...)
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.SplitSeq(string(out), "\n") {
		if id, name, ok := strings.Cut(line, " "); ok {
			refs[name] = id
		}
	}
	return refs, nil
}

// UpdateRefs moves refs, all or none, each only from Old to New. The change is
// synced when it returns. ErrMoved means that nothing was changed.
func (r *Repository) UpdateRefs(ctx context.Context, commands ...Command) error {
	var in bytes.Buffer
	for _, c := range commands {
		if !CheckRefName(c.Ref) {
			return fmt.Errorf("bad ref name %q", c.Ref)
		}
		if c.New == Zero {
			fmt.Fprintf(&in, "delete %s\x00%s\x00", c.Ref, c.Old)
		} else {
			fmt.Fprintf(&in, "update %s\x00%s\x00%s\x00", c.Ref, c.New, c.Old)
		}
	}
	if _, err := r.run(ctx, in.Bytes(), "update-ref", "-z", "--stdin"); err != nil {
		if strings.Contains(err.Error(), "cannot lock ref") {
			return fmt.Errorf("%w: %w", ErrMoved, err)
		}
		return err
	}
	return r.syncRefs(commands)
}

// SetHead makes HEAD name a branch (refs/heads/…), or the place of a branch
// to come when ref is empty. Clones check it out.
func (r *Repository) SetHead(ref string) error {
	if ref = or(ref, unborn); !CheckRefName(ref) {
		return fmt.Errorf("bad ref name %q", ref)
	}
	if !r.Exists() {
		return ErrNoRepository
	}
	if err := writeFile(filepath.Join(r.dir, "HEAD"), "ref: "+ref+"\n"); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// ManyPacks is how many packs a repository may gather before Maintain is due.
const ManyPacks = 40

// Packs counts the repository's packs: each push leaves one.
func (r *Repository) Packs() int {
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects", "pack", "*.pack"))
	if err != nil {
		return 0
	}
	return len(packs)
}

// Maintain joins small packs into larger ones and loose refs into one file.
// It goes on beside fetches and pushes, and drops no object.
func (r *Repository) Maintain(ctx context.Context) error {
	if _, err := r.run(ctx, nil, "repack", "-d", "-q", "--geometric=2"); err != nil {
		return err
	}
	r.store.readers.forget(r.dir) // they hold the old packs open
	_, err := r.run(ctx, nil, "pack-refs", "--all")
	return err
}
