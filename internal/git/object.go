package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Signature says who made a commit and when. Date is in git's own form, such
// as "1484167798 -0800".
type Signature struct {
	Name, Email, Date string
}

// Commit is a commit taken apart.
type Commit struct {
	ID        string
	Tree      string
	Parents   []string
	Author    Signature
	Committer Signature
	Message   string
	// Extra are the other headers (gpgsig, mergetag, encoding …), as they
	// stand.
	Extra string
}

// Commit returns the commit with an id. An id of an annotated tag is followed
// to its commit.
func (o *Reader) Commit(id string) (*Commit, error) {
	id, err := o.peel(id)
	if err != nil {
		return nil, err
	}
	data, err := o.read(id, CommitObject, maxObject)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", id, err)
	}
	c.ID = id
	return c, nil
}

// peel follows annotated tags.
func (o *Reader) peel(id string) (string, error) {
	const deepest = 10
	for range deepest {
		typ, _, err := o.Stat(id)
		if err != nil || typ != TagObject {
			return id, err
		}
		data, err := o.read(id, TagObject, maxObject)
		if err != nil {
			return "", err
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		id = strings.TrimPrefix(string(line), "object ")
	}
	return "", fmt.Errorf("tag %s: %w", id, ErrNotFound)
}

var errCorrupt = errors.New("corrupt object")

// parseCommit reads a commit object.
func parseCommit(data []byte) (*Commit, error) {
	head, message, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		head = bytes.TrimSuffix(data, []byte("\n"))
	}
	var c Commit
	var extra []string
	encoding := ""
	for line := range strings.SplitSeq(string(head), "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author = parseSignature(value)
		case "committer":
			c.Committer = parseSignature(value)
		case "encoding":
			encoding = value
			extra = append(extra, line)
		default:
			extra = append(extra, line)
		}
	}
	if !IsObjectID(c.Tree) {
		return nil, errCorrupt
	}
	for _, p := range c.Parents {
		if !IsObjectID(p) {
			return nil, errCorrupt
		}
	}
	c.Message = toUTF8(string(message), encoding)
	for _, s := range []*string{&c.Author.Name, &c.Author.Email, &c.Author.Date, &c.Committer.Name, &c.Committer.Email, &c.Committer.Date} {
		*s = toUTF8(*s, encoding)
	}
	c.Extra = toUTF8(strings.Join(extra, "\n"), encoding)
	return &c, nil
}

// parseSignature takes "Name <email> date" apart, however odd.
func parseSignature(s string) Signature {
	end := strings.LastIndexByte(s, '>')
	if end < 0 {
		return Signature{Name: strings.TrimSpace(s)}
	}
	who, date := s[:end], strings.TrimSpace(s[end+1:])
	name, email, _ := strings.Cut(who, "<")
	return Signature{Name: strings.TrimSpace(name), Email: strings.TrimSpace(email), Date: date}
}

// toUTF8 makes text of old commits printable: Latin-1 is converted, anything
// else that is not UTF-8 loses its odd bytes.
func toUTF8(s, encoding string) string {
	if utf8.ValidString(s) {
		return s
	}
	switch strings.ToLower(encoding) {
	case "iso-8859-1", "iso8859-1", "latin1", "latin-1":
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		return string(runes)
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Mode is the mode of a tree entry.
type Mode uint32

// Modes of tree entries.
const (
	Regular    Mode = 0o100644
	Executable Mode = 0o100755
	Symlink    Mode = 0o120000
	Directory  Mode = 0o040000
	Submodule  Mode = 0o160000
)

// String returns the mode as git prints it: six octal digits.
func (m Mode) String() string { return fmt.Sprintf("%06o", uint32(m)) }

// canonical folds the odd modes of old histories into the ones there are.
func (m Mode) canonical() Mode {
	switch m & 0o170000 {
	case 0o040000:
		return Directory
	case 0o120000:
		return Symlink
	case 0o160000:
		return Submodule
	}
	if m&0o100 != 0 {
		return Executable
	}
	return Regular
}

// Entry is one line of a tree.
type Entry struct {
	Name string
	Mode Mode
	ID   string
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode == Directory }

// Tree returns a directory's entries in git's order.
func (o *Reader) Tree(id string) ([]Entry, error) {
	if id == emptyTree {
		return nil, nil
	}
	data, err := o.read(id, TreeObject, maxObject)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", id, err)
	}
	return entries, nil
}

// emptyTree is the tree without entries. Git knows it without having it.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// parseTree reads a tree object.
func parseTree(data []byte) ([]Entry, error) {
	const rawID = 20
	entries := make([]Entry, 0, len(data)/36)
	for len(data) > 0 {
		space := bytes.IndexByte(data, ' ')
		end := bytes.IndexByte(data, 0)
		if space < 1 || space > 7 || end < space+2 || len(data) < end+1+rawID {
			return nil, errCorrupt
		}
		var mode Mode
		for _, c := range data[:space] {
			if c < '0' || c > '7' {
				return nil, errCorrupt
			}
			mode = mode<<3 | Mode(c-'0')
		}
		entries = append(entries, Entry{
			Name: string(data[space+1 : end]),
			Mode: mode.canonical(),
			ID:   hex.EncodeToString(data[end+1 : end+1+rawID]),
		})
		data = data[end+1+rawID:]
	}
	return entries, nil
}

// Lookup returns the entry at a slash-separated path below a tree. The empty
// path is the tree itself.
func (o *Reader) Lookup(tree, path string) (Entry, error) {
	at := Entry{Mode: Directory, ID: tree}
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if !at.IsDir() {
			return Entry{}, ErrNotFound
		}
		entries, err := o.Tree(at.ID)
		if err != nil {
			return Entry{}, err
		}
		found := false
		for _, e := range entries {
			if e.Name == name {
				at, found = e, true
				break
			}
		}
		if !found {
			return Entry{}, ErrNotFound
		}
	}
	return at, nil
}

// Change is a file that differs between two trees. Before is nil for an added
// file, After for a deleted one. Submodules count as files.
type Change struct {
	Path          string
	Before, After *Entry
}

// errStop ends a walk early without an error.
var errStop = errors.New("stop")

// Diff calls fn for each file that differs between two trees, in git's order,
// until fn returns false. An empty id is the tree without entries. Renames
// are a deletion and an addition.
func (o *Reader) Diff(before, after string, fn func(Change) bool) error {
	err := o.diff("", or(before, emptyTree), or(after, emptyTree), func(c Change) error {
		if !fn(c) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (o *Reader) diff(dir, before, after string, fn func(Change) error) error {
	if before == after {
		return nil
	}
	a, err := o.Tree(before)
	if err != nil {
		return err
	}
	b, err := o.Tree(after)
	if err != nil {
		return err
	}
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = strings.Compare(a[0].sortKey(), b[0].sortKey())
		}
		var x, y *Entry
		if order <= 0 {
			x, a = &a[0], a[1:]
		}
		if order >= 0 {
			y, b = &b[0], b[1:]
		}
		if err := o.diffEntry(dir, x, y, fn); err != nil {
			return err
		}
	}
	return nil
}

// sortKey is what git orders a tree's entries by.
func (e Entry) sortKey() string {
	if e.IsDir() {
		return e.Name + "/"
	}
	return e.Name
}

// diffEntry compares two entries of one name and kind; one may be nil.
func (o *Reader) diffEntry(dir string, x, y *Entry, fn func(Change) error) error {
	e := x
	if e == nil {
		e = y
	}
	path := dir + e.Name
	if e.IsDir() {
		before, after := emptyTree, emptyTree
		if x != nil {
			before = x.ID
		}
		if y != nil {
			after = y.ID
		}
		return o.diff(path+"/", before, after, fn)
	}
	if x != nil && y != nil && *x == *y {
		return nil
	}
	return fn(Change{Path: path, Before: x, After: y})
}

// Files calls fn for each file below a tree, in git's order: regular files,
// symbolic links and submodules. fn may use the reader.
func (o *Reader) Files(tree string, fn func(path string, e Entry) error) error {
	return o.diff("", emptyTree, tree, func(c Change) error { return fn(c.Path, *c.After) })
}
