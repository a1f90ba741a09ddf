package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git names objects by it
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What stands in the way of a file.
var (
	// ErrBadPath is returned for paths no git tree may hold.
	ErrBadPath = errors.New("not a valid path")
	// ErrIsDirectory is returned for a file where a directory is.
	ErrIsDirectory = errors.New("a directory has this name")
	// ErrIsFile is returned for a file below something that is a file.
	ErrIsFile = errors.New("a file has the name of a directory of this path")
	// ErrIsSubmodule is returned for paths at or below a submodule.
	ErrIsSubmodule = errors.New("the path leads into a submodule")
)

// FileChange is one file of a commit to be made: put, unless Delete is set.
type FileChange struct {
	Path string
	Mode Mode
	// Content is the file's content; BlobID names one that exists instead.
	Content []byte
	BlobID  string
	Delete  bool
}

// CommitRequest is a commit to be made.
type CommitRequest struct {
	// Parent is the parent's id; empty makes a first commit.
	Parent    string
	Author    Signature
	Committer Signature
	Message   string
	Changes   []FileChange
	// KeepEmptyFolders puts a .gitkeep into directories whose last file is
	// deleted; otherwise they go with it.
	KeepEmptyFolders bool
}

// Made is a commit that has been stored and that no ref names yet.
type Made struct {
	Commit, Tree string
	// ParentTree is the tree of the parent; empty without one.
	ParentTree string
	// Blobs are the ids of the files that were put, by path.
	Blobs map[string]string
}

// MakeCommit stores a commit and what it needs, synced, as one pack. No ref is
// changed.
func (r *Repository) MakeCommit(ctx context.Context, req CommitRequest) (*Made, error) {
	o, err := r.Reader(ctx)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	made := &Made{Blobs: map[string]string{}}
	if req.Parent != "" {
		parent, err := o.Commit(req.Parent)
		if err != nil {
			return nil, err
		}
		made.ParentTree = parent.Tree
	}
	pack := newPackWriter()
	root := &node{id: made.ParentTree, loaded: made.ParentTree == ""}
	for _, c := range req.Changes {
		if err := root.apply(o, pack, c, made.Blobs); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
	}
	if req.KeepEmptyFolders {
		if err := root.keepEmpty(pack); err != nil {
			return nil, err
		}
	}
	if made.Tree, err = root.write(pack); err != nil {
		return nil, err
	}
	if made.Commit, err = pack.add(commitType, req.encode(made.Tree)); err != nil {
		return nil, err
	}
	_, err = r.run(ctx, pack.finish(), "index-pack", "--stdin")
	if err != nil {
		return nil, err
	}
	return made, syncDir(r.dir + "/objects/pack")
}

// encode returns the commit object.
func (req *CommitRequest) encode(tree string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", tree)
	if req.Parent != "" {
		fmt.Fprintf(&b, "parent %s\n", req.Parent)
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s", req.Author.encode(), req.Committer.encode(), req.Message)
	return b.Bytes()
}

// encode writes the signature without what would break the object's form.
func (s Signature) encode() string {
	clean := func(t string) string {
		return strings.TrimSpace(strings.Map(func(c rune) rune {
			if c < ' ' || c == '<' || c == '>' || c == 0x7f {
				return -1
			}
			return c
		}, t))
	}
	return clean(s.Name) + " <" + clean(s.Email) + "> " + s.Date
}

// CheckPath reports whether path may name a file in a git tree.
func CheckPath(path string) bool {
	if path == "" || len(path) > 4096 || strings.ContainsRune(path, 0) {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		switch strings.ToLower(part) {
		case "", ".", "..", ".git", "git~1":
			return false
		}
	}
	return true
}

// node is a directory in the making. It is read only when it is changed.
type node struct {
	id      string
	loaded  bool
	changed bool
	lost    bool // a file was deleted from it
	entries map[string]Entry
	dirs    map[string]*node // those of entries that were walked into
}

func (n *node) load(o *Reader) error {
	if n.entries != nil {
		return nil
	}
	n.entries, n.dirs = map[string]Entry{}, map[string]*node{}
	if n.loaded {
		return nil
	}
	n.loaded = true
	entries, err := o.Tree(n.id)
	for _, e := range entries {
		n.entries[e.Name] = e
	}
	return err
}

// apply makes one change below the node.
func (n *node) apply(o *Reader, pack *packWriter, c FileChange, blobs map[string]string) error {
	if !CheckPath(c.Path) {
		return ErrBadPath
	}
	dir, err := n.parent(o, c)
	if err != nil {
		return err
	}
	name := c.Path[strings.LastIndexByte(c.Path, '/')+1:]
	old, exists := dir.entries[name]
	if exists && old.IsDir() && !dir.dirs[name].empty() {
		return ErrIsDirectory
	}
	if exists && old.Mode == Submodule {
		return ErrIsSubmodule
	}
	if c.Delete {
		if !exists {
			return ErrNotFound
		}
		delete(dir.entries, name)
		dir.lost = true
		return nil
	}
	if err := dir.put(pack, name, c); err != nil {
		return err
	}
	blobs[c.Path] = dir.entries[name].ID
	return nil
}

// keepEmpty puts a .gitkeep into the directories below the node whose last
// file was deleted.
func (n *node) keepEmpty(pack *packWriter) error {
	for _, d := range n.dirs {
		if d.lost && len(d.entries) == 0 {
			if err := d.put(pack, ".gitkeep", FileChange{Mode: Regular}); err != nil {
				return err
			}
		}
		if err := d.keepEmpty(pack); err != nil {
			return err
		}
	}
	return nil
}

// empty reports whether nothing is left of a directory.
func (n *node) empty() bool {
	if n == nil || !n.changed {
		return false
	}
	for name, e := range n.entries {
		if !e.IsDir() || !n.dirs[name].empty() {
			return false
		}
	}
	return true
}

func (n *node) put(pack *packWriter, name string, c FileChange) error {
	id := c.BlobID
	if id == "" {
		var err error
		if id, err = pack.add(blobType, c.Content); err != nil {
			return err
		}
	}
	n.entries[name] = Entry{Name: name, Mode: c.Mode, ID: id}
	delete(n.dirs, name) // an emptied directory makes room
	return nil
}

// parent walks to the directory of a path, making what is missing, and marks
// the way as changed.
func (n *node) parent(o *Reader, c FileChange) (*node, error) {
	parts := strings.Split(c.Path, "/")
	for _, part := range parts[:len(parts)-1] {
		if err := n.load(o); err != nil {
			return nil, err
		}
		n.changed = true
		next := n.dirs[part]
		if next == nil {
			e, exists := n.entries[part]
			switch {
			case !exists && c.Delete:
				return nil, ErrNotFound
			case !exists:
				next = &node{loaded: true}
			case e.Mode == Submodule:
				return nil, ErrIsSubmodule
			case !e.IsDir():
				return nil, ErrIsFile
			default:
				next = &node{id: e.ID}
			}
			n.dirs[part] = next
			n.entries[part] = Entry{Name: part, Mode: Directory}
		}
		n = next
	}
	n.changed = true
	return n, n.load(o)
}

// write stores the node and what is below it, and returns its id.
func (n *node) write(pack *packWriter) (string, error) {
	if !n.changed && n.id != "" {
		return n.id, nil
	}
	for name, d := range n.dirs {
		id, err := d.write(pack)
		if err != nil {
			return "", err
		}
		if id == emptyTree {
			delete(n.entries, name)
			continue
		}
		n.entries[name] = Entry{Name: name, Mode: Directory, ID: id}
	}
	list := make([]Entry, 0, len(n.entries))
	for _, e := range n.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	var b bytes.Buffer
	for _, e := range list {
		id, err := hex.DecodeString(e.ID)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%o %s\x00", uint32(e.Mode), e.Name)
		b.Write(id)
	}
	return pack.add(treeType, b.Bytes())
}

// Object types as packs number them.
const (
	commitType byte = 1
	treeType   byte = 2
	blobType   byte = 3
)

var typeNames = [...]string{commitType: "commit", treeType: "tree", blobType: "blob"}

// packWriter makes a pack of whole objects in memory.
type packWriter struct {
	objects bytes.Buffer
	known   map[string]bool
	z       *zlib.Writer
}

func newPackWriter() *packWriter {
	p := &packWriter{known: map[string]bool{}}
	p.objects.Write(make([]byte, 12)) // the header, known at the end
	p.z = zlib.NewWriter(io.Discard)
	return p
}

// add puts an object into the pack, once, and returns its id.
func (p *packWriter) add(typ byte, data []byte) (string, error) {
	h := sha1.New() //nolint:gosec // git names objects by it
	fmt.Fprintf(h, "%s %d\x00", typeNames[typ], len(data))
	h.Write(data)
	id := hex.EncodeToString(h.Sum(nil))
	if p.known[id] {
		return id, nil
	}
	p.known[id] = true
	size := uint64(len(data))
	c := typ<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.objects.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	p.objects.WriteByte(c)
	p.z.Reset(&p.objects)
	if _, err := p.z.Write(data); err != nil {
		return "", err
	}
	return id, p.z.Close()
}

// finish returns the pack.
func (p *packWriter) finish() []byte {
	b := p.objects.Bytes()
	copy(b, "PACK")
	binary.BigEndian.PutUint32(b[4:], 2)
	binary.BigEndian.PutUint32(b[8:], uint32(len(p.known)))
	sum := sha1.Sum(b) //nolint:gosec // the pack's own checksum
	return append(b, sum[:]...)
}
