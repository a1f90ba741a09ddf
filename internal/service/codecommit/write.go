package codecommit

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

const (
	maxChanged = 7 << 20   // content of all files of one commit
	maxEntries = 100       // files of one commit
	maxMessage = 256 << 10 // bytes of a commit message
	maxAuthor  = 1000      // bytes of a name
	maxEmail   = 254
)

// modesByName are the modes of files by their names in the API.
var modesByName = map[string]git.Mode{"": git.Regular, "NORMAL": git.Regular, "EXECUTABLE": git.Executable, "SYMLINK": git.Symlink}

// draft is a commit that an API call asks for.
type draft struct {
	repo, branch, parent   string
	name, email, message   string
	defaultMessage         string
	keepEmptyFolders       bool
	changes                []git.FileChange
	copies                 []api.PutFileEntry     // whose content comes from the parent
	modes                  []api.SetFileModeEntry // of files of the parent
	errSame                error                  // when nothing would change
	added, updated, erased []api.FileMetadata
}

// commit makes the commit and moves the branch to it.
func (s *Service) commit(ctx context.Context, c *call.Call, d *draft) (*git.Made, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	r, tip, err := s.branch(ctx, c, d.repo, d.branch)
	if err != nil {
		return nil, err
	}
	if err := s.checkParent(ctx, r, d, tip); err != nil {
		return nil, err
	}
	if err := s.complete(ctx, r, d); err != nil {
		return nil, err
	}
	made, err := s.makeCommit(ctx, c, r, d)
	if err != nil {
		return nil, err
	}
	if made.Tree == made.ParentTree {
		return nil, d.errSame
	}
	old := git.Zero
	if d.parent != "" {
		old = d.parent
	}
	err = s.move(ctx, c, r, git.Command{Ref: heads + d.branch, Old: old, New: made.Commit})
	if errors.Is(err, git.ErrMoved) {
		return nil, errOutdated(d.branch)
	}
	return made, err
}

func errOutdated(branch string) *aws.Error {
	return aws.Errorf("ParentCommitIdOutdatedException", "The file could not be added because the provided parent commit ID is not the current tip of the branch %s. To view the full commit ID of the current head of the branch, use GetBranch.", branch)
}

func (d *draft) check() error {
	if len(d.name) > maxAuthor {
		return errNameTooLong
	}
	if len(d.email) > maxEmail || strings.ContainsAny(d.email, "<>\n\r\x00") {
		return errBadEmail
	}
	if len(d.message) > maxMessage {
		return errMessageTooLong
	}
	return nil
}

// checkParent refuses a commit that is not to stand on the branch's tip.
func (s *Service) checkParent(ctx context.Context, r *repository, d *draft, tip string) error {
	if d.parent != "" && !git.IsObjectID(d.parent) {
		return aws.Errorf("InvalidParentCommitIdException", "The parent commit ID %s is not valid.", d.parent)
	}
	if tip == "" {
		return s.checkFirst(ctx, r, d)
	}
	if d.parent == "" {
		return errParentRequired
	}
	if d.parent == tip {
		return nil
	}
	return s.read(ctx, r, func(o *git.Reader) error {
		if _, err := exactCommit(o, d.parent); err != nil {
			if _, answer := errors.AsType[*aws.Error](err); answer {
				return aws.Errorf("ParentCommitDoesNotExistException", "The parent commit ID %s does not exist in the branch %s.", d.parent, d.branch)
			}
			return err
		}
		return errOutdated(d.branch)
	})
}

// checkFirst is about a branch that does not exist: only an empty repository
// gets its first branch by a commit.
func (s *Service) checkFirst(ctx context.Context, r *repository, d *draft) error {
	var refs []string
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		refs, err = state.List[string](ctx, tx, `
			SELECT name FROM codecommit_ref WHERE repository = $1 AND (name = $2 OR name > 'refs/heads/' AND name < 'refs/heads0')
			ORDER BY CASE WHEN name = $2 THEN 0 ELSE 1 END LIMIT 1`, r.ID, "refs/tags/"+d.branch)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(refs) == 0 && d.parent != "":
		return aws.Errorf("ParentCommitDoesNotExistException", "The parent commit ID %s does not exist.", d.parent)
	case len(refs) == 0:
		return nil
	case refs[0] == "refs/tags/"+d.branch:
		return aws.Errorf("BranchNameIsTagNameException", "The branch name %s is not valid because it is a tag name. Enter the name of a branch in the repository. For a list of valid branch names, use ListBranches.", d.branch)
	}
	return errNoBranch(d.branch)
}

// complete looks up in the parent what the draft says about its files, and
// sorts the changes into added, updated and deleted.
func (s *Service) complete(ctx context.Context, r *repository, d *draft) error {
	return s.read(ctx, r, func(o *git.Reader) error {
		tree := ""
		if d.parent != "" {
			parent, err := o.Commit(d.parent)
			if err != nil {
				return err
			}
			tree = parent.Tree
		}
		if err := d.copy(o, tree); err != nil {
			return err
		}
		if err := d.chmod(o, tree); err != nil {
			return err
		}
		return d.sort(o, tree)
	})
}

// existing finds a file of the parent; ok is false when there is none.
func existing(o *git.Reader, tree, file string) (e git.Entry, ok bool, err error) {
	if tree == "" {
		return e, false, nil
	}
	e, err = o.Lookup(tree, file)
	if errors.Is(err, git.ErrNotFound) {
		return e, false, nil
	}
	return e, err == nil && fileModes[e.Mode] != "", err
}

func errNoFile(file string) *aws.Error {
	return aws.Errorf("FileDoesNotExistException", "The specified file does not exist: %s. Verify that you have used the correct file name, full path, and extension.", file)
}

// copy turns entries with a source file into changes.
func (d *draft) copy(o *git.Reader, tree string) error {
	for _, entry := range d.copies {
		from, err := cleanPath(entry.SourceFile.FilePath)
		if err != nil {
			return err
		}
		if path.Base(from) == ".gitkeep" {
			return errRestrictedSource
		}
		e, ok, err := existing(o, tree, from)
		if err != nil {
			return err
		}
		if !ok {
			return errNoFile(from)
		}
		mode := e.Mode
		if entry.FileMode != "" {
			mode = modesByName[entry.FileMode]
		}
		d.changes = append(d.changes, git.FileChange{Path: strings.Trim(entry.FilePath, "/"), Mode: mode, BlobID: e.ID})
		if entry.SourceFile.IsMove != nil && *entry.SourceFile.IsMove {
			d.changes = append(d.changes, git.FileChange{Path: from, Delete: true})
		}
	}
	return nil
}

// chmod turns mode entries into changes.
func (d *draft) chmod(o *git.Reader, tree string) error {
	for _, m := range d.modes {
		file, err := cleanPath(m.FilePath)
		if err != nil {
			return err
		}
		e, ok, err := existing(o, tree, file)
		if err != nil {
			return err
		}
		if !ok {
			return errNoFile(file)
		}
		d.changes = append(d.changes, git.FileChange{Path: file, Mode: modesByName[m.FileMode], BlobID: e.ID})
	}
	return nil
}

// sort refuses two changes of one path and says of each what it will be.
func (d *draft) sort(o *git.Reader, tree string) error {
	seen := map[string]bool{}
	for _, c := range d.changes {
		if seen[c.Path] {
			return errSamePath
		}
		seen[c.Path] = true
		e, ok, err := existing(o, tree, c.Path)
		if err != nil {
			return err
		}
		m := api.FileMetadata{AbsolutePath: c.Path, FileMode: fileModes[c.Mode]}
		switch {
		case c.Delete && !ok:
			return errNoFile(c.Path)
		case c.Delete:
			m.BlobId, m.FileMode = e.ID, fileModes[e.Mode]
			d.erased = append(d.erased, m)
		case ok:
			d.updated = append(d.updated, m)
		default:
			d.added = append(d.added, m)
		}
	}
	for file := range seen {
		for up := path.Dir(file); up != "."; up = path.Dir(up) {
			if seen[up] && !d.deletes(up) {
				return errEntryConflict
			}
		}
	}
	return nil
}

func (d *draft) deletes(file string) bool {
	for _, e := range d.erased {
		if e.AbsolutePath == file {
			return true
		}
	}
	return false
}

func (s *Service) makeCommit(ctx context.Context, c *call.Call, r *repository, d *draft) (*git.Made, error) {
	repo, err := s.repo(r)
	if err != nil {
		return nil, err
	}
	who := git.Signature{Name: d.name, Email: d.email, Date: strconv.FormatInt(c.Time.Unix(), 10) + " +0000"}
	if who.Name == "" {
		who.Name = c.Principal.ARN
	}
	message := d.message
	if message == "" {
		message = d.defaultMessage
	}
	// Deletions first: they make room for a file where a folder was.
	slices.SortStableFunc(d.changes, func(a, b git.FileChange) int {
		switch {
		case a.Delete == b.Delete:
			return 0
		case a.Delete:
			return -1
		}
		return 1
	})
	made, err := repo.MakeCommit(ctx, git.CommitRequest{
		Parent: d.parent, Author: who, Committer: who, Message: message,
		Changes: d.changes, KeepEmptyFolders: d.keepEmptyFolders,
	})
	return made, pathError(err)
}

// pathError words what stands in the way of a file.
func pathError(err error) error {
	switch {
	case errors.Is(err, git.ErrBadPath):
		return aws.Errorf("InvalidPathException", "The path is not valid: %s", err)
	case errors.Is(err, git.ErrIsDirectory):
		return errFileIsDirectory
	case errors.Is(err, git.ErrIsFile):
		return errDirectoryIsFile
	case errors.Is(err, git.ErrIsSubmodule):
		return errPathIsSubmodule
	case errors.Is(err, git.ErrNotFound):
		return errNoFile(err.Error())
	}
	return err
}

// blobs fills in the ids of the files that were put.
func blobs(list []api.FileMetadata, made *git.Made) []api.FileMetadata {
	out := []api.FileMetadata{}
	for _, m := range list {
		if id := made.Blobs[m.AbsolutePath]; id != "" {
			m.BlobId = id
		}
		out = append(out, m)
	}
	return out
}

func (s *Service) createCommitNeeds(ctx context.Context, c *call.Call, in *api.CreateCommitInput) ([]call.Need, error) {
	return s.branchNeeds(ctx, c, "CreateCommit", in.RepositoryName, in.BranchName)
}

func (s *Service) createCommit(ctx context.Context, c *call.Call, in *api.CreateCommitInput) (*api.CreateCommitOutput, error) {
	d := &draft{
		repo: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId,
		name: in.AuthorName, email: in.Email, message: in.CommitMessage,
		keepEmptyFolders: in.KeepEmptyFolders != nil && *in.KeepEmptyFolders, errSame: errNoChange,
	}
	if err := d.fill(in); err != nil {
		return nil, err
	}
	made, err := s.commit(ctx, c, d)
	if err != nil {
		return nil, err
	}
	return &api.CreateCommitOutput{
		CommitId: made.Commit, TreeId: made.Tree,
		FilesAdded: blobs(d.added, made), FilesUpdated: blobs(d.updated, made), FilesDeleted: blobs(d.erased, made),
	}, nil
}

// fill takes the file changes of a CreateCommit over into the draft.
func (d *draft) fill(in *api.CreateCommitInput) error {
	n := len(in.PutFiles) + len(in.DeleteFiles) + len(in.SetFileModes)
	if n == 0 {
		return errEntryRequired
	}
	if n > maxEntries {
		return errTooManyEntries
	}
	for _, e := range in.DeleteFiles {
		file, err := requiredPath(e.FilePath)
		if err != nil {
			return err
		}
		d.changes = append(d.changes, git.FileChange{Path: file, Delete: true})
	}
	total := 0
	for _, e := range in.PutFiles {
		if err := d.put(e); err != nil {
			return err
		}
		if total += len(e.FileContent); total > maxChanged {
			return errContentTooLarge
		}
	}
	for _, m := range in.SetFileModes {
		if m.FileMode == "" {
			return errModeRequired
		}
		if m.FileMode != "NORMAL" && m.FileMode != "EXECUTABLE" {
			return errBadMode
		}
		if _, err := requiredPath(m.FilePath); err != nil {
			return err
		}
	}
	d.modes = in.SetFileModes
	d.defaultMessage = "Changed " + strconv.Itoa(n) + " files"
	return nil
}

func requiredPath(p string) (string, error) {
	file, err := cleanPath(p)
	if err == nil && file == "" {
		err = errPathRequired
	}
	return file, err
}

func (d *draft) put(e api.PutFileEntry) error {
	file, err := requiredPath(e.FilePath)
	if err != nil {
		return err
	}
	mode, ok := modesByName[e.FileMode]
	switch {
	case !ok:
		return errBadMode
	case e.FileContent != nil && e.SourceFile != nil:
		return errSourceAndContent
	case e.SourceFile != nil:
		d.copies = append(d.copies, e)
		return nil
	case e.FileContent == nil:
		return errSourceOrContent
	case len(e.FileContent) > maxFile:
		return errContentTooLarge
	}
	d.changes = append(d.changes, git.FileChange{Path: file, Mode: mode, Content: e.FileContent})
	return nil
}

func (s *Service) putFileNeeds(ctx context.Context, c *call.Call, in *api.PutFileInput) ([]call.Need, error) {
	return s.branchNeeds(ctx, c, "PutFile", in.RepositoryName, in.BranchName)
}

func (s *Service) putFile(ctx context.Context, c *call.Call, in *api.PutFileInput) (*api.PutFileOutput, error) {
	file, err := requiredPath(in.FilePath)
	if err != nil {
		return nil, err
	}
	mode, ok := modesByName[in.FileMode]
	switch {
	case !ok:
		return nil, errBadMode
	case len(in.FileContent) == 0:
		return nil, errContentRequired
	case len(in.FileContent) > maxFile:
		return nil, errContentTooLarge
	}
	d := &draft{
		repo: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId,
		name: in.Name, email: in.Email, message: in.CommitMessage, defaultMessage: "Added " + file, errSame: errSameContent,
		changes: []git.FileChange{{Path: file, Mode: mode, Content: in.FileContent}},
	}
	made, err := s.commit(ctx, c, d)
	if err != nil {
		return nil, err
	}
	return &api.PutFileOutput{CommitId: made.Commit, BlobId: made.Blobs[file], TreeId: made.Tree}, nil
}

func (s *Service) deleteFileNeeds(ctx context.Context, c *call.Call, in *api.DeleteFileInput) ([]call.Need, error) {
	return s.branchNeeds(ctx, c, "DeleteFile", in.RepositoryName, in.BranchName)
}

func (s *Service) deleteFile(ctx context.Context, c *call.Call, in *api.DeleteFileInput) (*api.DeleteFileOutput, error) {
	file, err := requiredPath(in.FilePath)
	if err != nil {
		return nil, err
	}
	if in.ParentCommitId == "" {
		return nil, errParentRequired
	}
	d := &draft{
		repo: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId,
		name: in.Name, email: in.Email, message: in.CommitMessage, defaultMessage: "Deleted " + file, errSame: errNoChange,
		keepEmptyFolders: in.KeepEmptyFolders != nil && *in.KeepEmptyFolders,
		changes:          []git.FileChange{{Path: file, Delete: true}},
	}
	made, err := s.commit(ctx, c, d)
	if err != nil {
		return nil, err
	}
	return &api.DeleteFileOutput{CommitId: made.Commit, BlobId: d.erased[0].BlobId, TreeId: made.Tree, FilePath: file}, nil
}
