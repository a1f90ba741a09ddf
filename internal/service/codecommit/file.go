package codecommit

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

// maxFile is the size of the largest file that goes through the API.
const maxFile = 6 << 20

// resolve finds the commit that a specifier names: a full commit id, a branch,
// a tag, a full ref name, or HEAD, which is also meant by nothing at all.
func (s *Service) resolve(ctx context.Context, r *repository, spec string) (string, error) {
	if git.IsObjectID(spec) {
		return spec, nil
	}
	if spec == "" || spec == "HEAD" {
		if r.DefaultBranch == "" {
			return "", errNoDefaultBranch
		}
		spec = heads + r.DefaultBranch
	}
	refs := []string{spec}
	if !strings.HasPrefix(spec, "refs/") {
		refs = []string{heads + spec, "refs/tags/" + spec}
	}
	if !git.CheckRefName(refs[0]) {
		return "", aws.Errorf("InvalidCommitException", "The commit specifier %s is not valid.", spec)
	}
	id := ""
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		for _, ref := range refs {
			if id, err = target(ctx, tx, r, ref); err != nil || id != "" {
				return err
			}
		}
		return nil
	})
	if err == nil && id == "" {
		err = errNoCommit(spec)
	}
	return id, err
}

// open finds the repository and commit of a reading call and lends a reader.
func (s *Service) open(ctx context.Context, c *call.Call, name, spec string, fn func(o *git.Reader, commit *git.Commit) error) error {
	r, err := s.load(ctx, c, name)
	if err != nil {
		return err
	}
	id, err := s.resolve(ctx, r, spec)
	if err != nil {
		return err
	}
	return s.read(ctx, r, func(o *git.Reader) error {
		commit, err := commitAt(o, id, spec)
		if err != nil {
			return err
		}
		return fn(o, commit)
	})
}

// commitAt reads the commit an id leads to.
func commitAt(o *git.Reader, id, spec string) (*git.Commit, error) {
	commit, err := o.Commit(id)
	if errors.Is(err, git.ErrNotFound) {
		return nil, errNoCommit(spec)
	}
	return commit, err
}

// cleanPath returns a path as git has it, without slashes at its ends.
func cleanPath(p string) (string, error) {
	p = strings.Trim(p, "/")
	if p != "" && !git.CheckPath(p) {
		return "", aws.Errorf("InvalidPathException", "The path %s is not valid.", p)
	}
	return p, nil
}

// fileModes are the modes of files as the API names them.
var fileModes = map[git.Mode]string{git.Regular: "NORMAL", git.Executable: "EXECUTABLE", git.Symlink: "SYMLINK"}

func (s *Service) getFileNeeds(ctx context.Context, c *call.Call, in *api.GetFileInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetFile", in.RepositoryName)
}

func (s *Service) getFile(ctx context.Context, c *call.Call, in *api.GetFileInput) (*api.GetFileOutput, error) {
	file, err := cleanPath(in.FilePath)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return nil, errPathRequired
	}
	var out *api.GetFileOutput
	err = s.open(ctx, c, in.RepositoryName, in.CommitSpecifier, func(o *git.Reader, commit *git.Commit) error {
		e, err := o.Lookup(commit.Tree, file)
		if errors.Is(err, git.ErrNotFound) || err == nil && fileModes[e.Mode] == "" {
			return aws.Errorf("FileDoesNotExistException", "Could not find path %s", file)
		}
		if err != nil {
			return err
		}
		content, err := readBlob(o, e.ID)
		if err != nil {
			return err
		}
		out = &api.GetFileOutput{
			CommitId: commit.ID, BlobId: e.ID, FilePath: file, FileMode: fileModes[e.Mode],
			FileSize: new(int64(len(content))), FileContent: content,
		}
		return nil
	})
	return out, err
}

// readBlob reads a file that may go through the API.
func readBlob(o *git.Reader, id string) ([]byte, error) {
	content, err := o.Blob(id, maxFile)
	if _, tooLarge := errors.AsType[*git.TooLargeError](err); tooLarge {
		return nil, errTooLarge
	}
	return content, err
}

func (s *Service) getFolderNeeds(ctx context.Context, c *call.Call, in *api.GetFolderInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetFolder", in.RepositoryName)
}

// getFolder lists a folder. The empty path and "/" are the root.
func (s *Service) getFolder(ctx context.Context, c *call.Call, in *api.GetFolderInput) (*api.GetFolderOutput, error) {
	folder, err := cleanPath(in.FolderPath)
	if err != nil {
		return nil, err
	}
	var out *api.GetFolderOutput
	err = s.open(ctx, c, in.RepositoryName, in.CommitSpecifier, func(o *git.Reader, commit *git.Commit) error {
		e, err := o.Lookup(commit.Tree, folder)
		if errors.Is(err, git.ErrNotFound) || err == nil && !e.IsDir() {
			return aws.Errorf("FolderDoesNotExistException", "Could not find path %s", folder)
		}
		if err != nil {
			return err
		}
		entries, err := o.Tree(e.ID)
		if err != nil {
			return err
		}
		out = listFolder(folder, entries)
		out.CommitId, out.TreeId = commit.ID, e.ID
		return nil
	})
	return out, err
}

func listFolder(folder string, entries []git.Entry) *api.GetFolderOutput {
	out := &api.GetFolderOutput{
		FolderPath: folder, SubFolders: []api.Folder{}, Files: []api.File{},
		SymbolicLinks: []api.SymbolicLink{}, SubModules: []api.SubModule{},
	}
	for _, e := range entries {
		full := path.Join(folder, e.Name)
		switch e.Mode {
		case git.Directory:
			out.SubFolders = append(out.SubFolders, api.Folder{TreeId: e.ID, AbsolutePath: full, RelativePath: e.Name})
		case git.Submodule:
			out.SubModules = append(out.SubModules, api.SubModule{CommitId: e.ID, AbsolutePath: full, RelativePath: e.Name})
		case git.Symlink:
			out.SymbolicLinks = append(out.SymbolicLinks, api.SymbolicLink{BlobId: e.ID, AbsolutePath: full, RelativePath: e.Name, FileMode: fileModes[e.Mode]})
		default:
			out.Files = append(out.Files, api.File{BlobId: e.ID, AbsolutePath: full, RelativePath: e.Name, FileMode: fileModes[e.Mode]})
		}
	}
	return out
}

func (s *Service) getBlobNeeds(ctx context.Context, c *call.Call, in *api.GetBlobInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetBlob", in.RepositoryName)
}

func (s *Service) getBlob(ctx context.Context, c *call.Call, in *api.GetBlobInput) (*api.GetBlobOutput, error) {
	if in.BlobId == "" {
		return nil, errBlobRequired
	}
	if !git.IsObjectID(in.BlobId) {
		return nil, aws.Errorf("InvalidBlobIdException", "The blob ID %s is not valid.", in.BlobId)
	}
	r, err := s.load(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &api.GetBlobOutput{}
	err = s.read(ctx, r, func(o *git.Reader) error {
		out.Content, err = readBlob(o, in.BlobId)
		if errors.Is(err, git.ErrNotFound) {
			return aws.Errorf("BlobIdDoesNotExistException", "The blob ID %s does not exist.", in.BlobId)
		}
		return err
	})
	return out, err
}

func (s *Service) getDifferencesNeeds(ctx context.Context, c *call.Call, in *api.GetDifferencesInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetDifferences", in.RepositoryName)
}

// maxDifferences is the page size of GetDifferences when none is asked for,
// and the largest one.
const maxDifferences = 400

func (s *Service) getDifferences(ctx context.Context, c *call.Call, in *api.GetDifferencesInput) (*api.GetDifferencesOutput, error) {
	d, err := s.difference(in)
	if err != nil {
		return nil, err
	}
	r, err := s.load(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	after, err := s.resolve(ctx, r, in.AfterCommitSpecifier)
	if err != nil {
		return nil, err
	}
	before := ""
	if in.BeforeCommitSpecifier != "" {
		if before, err = s.resolve(ctx, r, in.BeforeCommitSpecifier); err != nil {
			return nil, err
		}
	}
	err = s.read(ctx, r, func(o *git.Reader) error {
		x, err := d.at(o, before, in.BeforeCommitSpecifier, d.beforePath)
		if err != nil {
			return err
		}
		y, err := d.at(o, after, in.AfterCommitSpecifier, d.afterPath)
		if err != nil {
			return err
		}
		if x == nil && y == nil {
			return aws.Errorf("PathDoesNotExistException", "The path %s does not exist.", d.afterPath)
		}
		return d.compare(o, x, y)
	})
	return &d.out, err
}

// difference is one page of a comparison.
type difference struct {
	beforePath, afterPath string
	skip, limit           int
	seen                  int
	out                   api.GetDifferencesOutput
}

func (s *Service) difference(in *api.GetDifferencesInput) (*difference, error) {
	if in.AfterCommitSpecifier == "" {
		return nil, errCommitRequired
	}
	d := &difference{limit: min(s.page, maxDifferences), out: api.GetDifferencesOutput{Differences: []api.Difference{}}}
	if in.MaxResults != nil {
		if *in.MaxResults < 1 {
			return nil, errBadMaxResults
		}
		d.limit = int(min(*in.MaxResults, int64(d.limit)))
	}
	var err error
	if d.beforePath, err = cleanPath(in.BeforePath); err != nil {
		return nil, err
	}
	if d.afterPath, err = cleanPath(in.AfterPath); err != nil {
		return nil, err
	}
	// One path alone limits both sides.
	if in.BeforePath == "" {
		d.beforePath = d.afterPath
	}
	if in.AfterPath == "" {
		d.afterPath = d.beforePath
	}
	if in.NextToken != "" {
		parts, err := tokenParts(in.NextToken, 1)
		if err != nil {
			return nil, err
		}
		if d.skip, err = strconv.Atoi(parts[0]); err != nil || d.skip < 0 {
			return nil, errBadToken
		}
	}
	return d, nil
}

// at finds what is compared on one side; nil when there is nothing.
func (d *difference) at(o *git.Reader, id, spec, path string) (*git.Entry, error) {
	if id == "" {
		return nil, nil
	}
	commit, err := commitAt(o, id, spec)
	if err != nil {
		return nil, err
	}
	e, err := o.Lookup(commit.Tree, path)
	if errors.Is(err, git.ErrNotFound) {
		return nil, nil
	}
	return &e, err
}

// compare lists the page's differences between two entries.
func (d *difference) compare(o *git.Reader, x, y *git.Entry) error {
	var before, after string
	if x != nil && x.IsDir() {
		before, x = x.ID, nil
	}
	if y != nil && y.IsDir() {
		after, y = y.ID, nil
	}
	if x != nil && y != nil && x.ID == y.ID && x.Mode == y.Mode && d.beforePath == d.afterPath {
		return nil
	}
	if (x != nil || y != nil) && !d.add(d.beforePath, d.afterPath, x, y) {
		return nil
	}
	return o.Diff(before, after, func(c git.Change) bool {
		return d.add(path.Join(d.beforePath, c.Path), path.Join(d.afterPath, c.Path), c.Before, c.After)
	})
}

// add takes one difference; it reports false when the page is full.
func (d *difference) add(beforePath, afterPath string, x, y *git.Entry) bool {
	d.seen++
	if d.seen <= d.skip {
		return true
	}
	if len(d.out.Differences) == d.limit {
		d.out.NextToken = pageToken(strconv.Itoa(d.seen - 1))
		return false
	}
	diff := api.Difference{ChangeType: "M", BeforeBlob: blobMetadata(beforePath, x), AfterBlob: blobMetadata(afterPath, y)}
	if x == nil {
		diff.ChangeType = "A"
	}
	if y == nil {
		diff.ChangeType = "D"
	}
	d.out.Differences = append(d.out.Differences, diff)
	return true
}

func blobMetadata(path string, e *git.Entry) *api.BlobMetadata {
	if e == nil {
		return nil
	}
	return &api.BlobMetadata{BlobId: e.ID, Path: path, Mode: e.Mode.String()}
}
