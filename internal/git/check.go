package git

import (
	"context"
	"strings"
)

// Check has git go through all objects of the repository and what they refer
// to. It returns what git complains about, line by line.
func (r *Repository) Check(ctx context.Context) ([]string, error) {
	if !r.Exists() {
		return nil, ErrNoRepository
	}
	cmd := r.store.command(ctx, r.dir, "fsck", "--full", "--no-dangling", "--no-progress")
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var lines []string
	for line := range strings.Lines(string(said)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "notice:") {
			lines = append(lines, line)
		}
	}
	if err != nil && len(lines) == 0 {
		return nil, err
	}
	return lines, nil
}
