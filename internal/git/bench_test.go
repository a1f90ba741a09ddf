package git

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

func reader(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }

func BenchmarkReadCommit(b *testing.B) {
	r := newRepository(b)
	made := makeCommit(b, r, "", FileChange{Path: "f", Mode: Regular, Content: []byte("hello")})
	b.ReportAllocs()
	for b.Loop() {
		o, err := r.Reader(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.Commit(made.Commit); err != nil {
			b.Fatal(err)
		}
		o.Close()
	}
}

func BenchmarkMakeCommit(b *testing.B) {
	r := newRepository(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		makeCommit(b, r, "", FileChange{Path: "f", Mode: Regular, Content: fmt.Append(nil, i)})
	}
}

func BenchmarkArchiveSmall(b *testing.B) {
	r := newRepository(b)
	var files []FileChange
	for i := range 20 {
		files = append(files, FileChange{Path: fmt.Sprintf("d%d/f%d", i%4, i), Mode: Regular, Content: []byte(strings.Repeat("text ", 200))})
	}
	made := makeCommit(b, r, "", files...)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Archive(b.Context(), made.Commit, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdvertise(b *testing.B) {
	r := newRepository(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Advertise(b.Context(), ReceivePack, "", io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPush is one ref update with a pack of one commit, without the
// client's share.
func BenchmarkPush(b *testing.B) {
	r := newRepository(b)
	s := serve(b, r)
	who := Signature{Name: "Ann", Email: "ann@example.com"}
	old := Zero
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		p := newPackWriter()
		root := &node{loaded: true}
		change := FileChange{Path: "f", Mode: Regular, Content: fmt.Append(nil, i)}
		if err := root.apply(nil, p, change, map[string]string{}); err != nil {
			b.Fatal(err)
		}
		tree, err := root.write(p)
		if err != nil {
			b.Fatal(err)
		}
		who.Date = fmt.Sprintf("%d +0000", 1700000000+i)
		req := CommitRequest{Author: who, Committer: who, Message: "m"}
		if old != Zero {
			req.Parent = old
		}
		id, err := p.add(commitType, req.encode(tree))
		if err != nil {
			b.Fatal(err)
		}
		body := append(pack(b, []Command{{"refs/heads/main", old, id}}, "report-status side-band-64k"), p.finish()...)
		var out bytes.Buffer
		b.StartTimer()
		if err := r.ReceivePack(b.Context(), s.push("", bytes.NewReader(body), &out)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if !strings.Contains(out.String(), "ok refs/heads/main") {
			b.Fatalf("answer %q", out.String())
		}
		old = id
		b.StartTimer()
	}
}
