package s3

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"strconv"
	"sync"

	"github.com/sekisho/sekisho/internal/aws"
)

// trailed is a body that ends with trailers, as aws-chunked ones do. They are
// known once the body was read to EOF.
type trailed interface{ Trailer(name string) string }

// claims are what a request says about the body it brings.
type claims struct {
	md5       string // Content-MD5, base64
	algorithm algorithm
	checksum  string // base64; empty means that a trailer brings it, or nobody
	trailer   bool   // the checksum must come as a trailer
	// any says that trailers may bring a checksum of whatever algorithm.
	any bool
}

// newClaims reads the digests of a request. sdk is x-amz-sdk-checksum-algorithm.
func newClaims(body io.Reader, contentMD5 string, given sums, sdk string) (claims, error) {
	if contentMD5 != "" && !sumMD5.valid(contentMD5) {
		return claims{}, aws.Errorf("InvalidDigest", "The Content-MD5 you specified was invalid.").With("Content-MD5", contentMD5)
	}
	c := claims{md5: contentMD5}
	var err error
	if c.algorithm, c.checksum, err = given.only(); err != nil {
		return claims{}, err
	}
	announced, err := parseAlgorithm(sdk)
	if err != nil {
		return claims{}, err
	}
	_, hasTrailers := body.(trailed)
	switch {
	case announced == noAlgorithm:
		c.any = c.algorithm == noAlgorithm && hasTrailers
	case c.algorithm != noAlgorithm && c.algorithm != announced:
		return claims{}, aws.Errorf("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	case c.algorithm == noAlgorithm && !hasTrailers:
		return claims{}, errNoAnnouncedChecksum()
	case c.algorithm == noAlgorithm:
		c.algorithm, c.trailer = announced, true
	}
	return c, nil
}

func errNoAnnouncedChecksum() error {
	return aws.Errorf("InvalidRequest",
		"x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
}

// intake reads a body once, bounded, with every digest it needs computed side
// by side, and fails at the end when the body is not what was claimed.
//
// Bodies of more than one block are hashed by a goroutine per digest while
// the next block is read and the last one is encrypted and written. stop ends
// them, and has to be called.
type intake struct {
	src    io.Reader
	limit  int64
	claims claims
	hashes [algorithmCount]hash.Hash

	size    int64
	rest    []byte // read and hashed (or being hashed), not yet handed on
	ended   error  // io.EOF once the body ended and was believed
	blocks  [2]*block
	turn    int
	workers []chan *block
	// stored is the algorithm whose value the object keeps.
	stored algorithm
}

// blockSize is how much of a body is hashed at once.
const blockSize = 256 << 10

type block struct {
	bytes [blockSize]byte
	n     int
	busy  sync.WaitGroup // digests that still read it
}

var blockPool = sync.Pool{New: func() any { return new(block) }}

// newIntake prepares reading body. wantMD5 asks for the MD5 also when none was
// claimed: it is the ETag. store is the algorithm whose checksum the caller
// wants at any rate; noAlgorithm leaves it to the claims, or to CRC64NVME,
// which S3 computes when nobody asks for one.
func newIntake(body io.Reader, limit int64, cl claims, wantMD5 bool, store algorithm) *intake {
	if body == nil {
		body = eof{}
	}
	in := &intake{src: body, limit: limit, claims: cl, stored: store}
	if in.stored == noAlgorithm {
		in.stored = cl.algorithm
	}
	if in.stored == noAlgorithm {
		in.stored = sumCRC64NVME
	}
	in.need(in.stored)
	if cl.algorithm != noAlgorithm {
		in.need(cl.algorithm)
	}
	if wantMD5 || cl.md5 != "" {
		in.need(sumMD5)
	}
	if cl.any {
		for a := sumCRC32; a < algorithmCount; a++ {
			in.need(a)
		}
	}
	return in
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func (in *intake) need(a algorithm) {
	if in.hashes[a] == nil {
		in.hashes[a] = a.newHash()
	}
}

// Read implements io.Reader. It returns io.EOF only for a body that was read
// whole and is what the request claimed.
func (in *intake) Read(p []byte) (int, error) {
	if len(in.rest) == 0 {
		if in.ended == nil {
			in.ended = in.next()
		}
		if len(in.rest) == 0 {
			if in.ended == nil {
				return 0, nil
			}
			return 0, in.ended
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// next reads a block and has it hashed.
func (in *intake) next() error {
	b := in.blocks[in.turn]
	if b == nil {
		b = blockPool.Get().(*block)
		in.blocks[in.turn] = b
	}
	b.busy.Wait()
	n, err := fill(in.src, b.bytes[:])
	b.n = n
	in.size += int64(n)
	if in.size > in.limit {
		return errEntityTooLarge(in.size, in.limit)
	}
	if err != nil && err != io.EOF {
		return err
	}
	if err == io.EOF && in.workers == nil {
		in.hashNow(b)
	} else {
		in.hashAside(b)
	}
	in.turn = 1 - in.turn
	if err == io.EOF {
		if bad := in.believe(); bad != nil {
			return bad // what is left in rest stays there: nobody may have it
		}
	}
	in.rest = b.bytes[:n]
	return err
}

// fill reads until b is full or the reader ends. A reader that ended too
// early says so with io.ErrUnexpectedEOF, which must not be taken for the end.
func fill(r io.Reader, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return n, errIncompleteBody()
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (in *intake) hashNow(b *block) {
	for _, h := range in.hashes {
		if h != nil {
			h.Write(b.bytes[:b.n])
		}
	}
}

func (in *intake) hashAside(b *block) {
	if in.workers == nil {
		for _, h := range in.hashes {
			if h != nil {
				in.startWorker(h)
			}
		}
	}
	b.busy.Add(len(in.workers))
	for _, w := range in.workers {
		w <- b
	}
}

func (in *intake) startWorker(h hash.Hash) {
	blocks := make(chan *block, len(in.blocks))
	in.workers = append(in.workers, blocks)
	go func() {
		for b := range blocks {
			h.Write(b.bytes[:b.n])
			b.busy.Done()
		}
	}()
}

// stop waits for the digests and gives the blocks back. It may be called at
// any time, and twice.
func (in *intake) stop() {
	for _, w := range in.workers {
		close(w)
	}
	in.workers = nil
	in.rest = nil
	if in.ended == nil {
		in.ended = errors.New("read of a body after its end")
	}
	for i, b := range in.blocks {
		if b != nil {
			b.busy.Wait()
			blockPool.Put(b)
			in.blocks[i] = nil
		}
	}
}

// believe compares the digests with what was claimed, at the end.
func (in *intake) believe() error {
	for _, b := range in.blocks {
		if b != nil {
			b.busy.Wait()
		}
	}
	cl := &in.claims
	if cl.md5 != "" && cl.md5 != in.sum(sumMD5) {
		return aws.Errorf("BadDigest", "The Content-MD5 you specified did not match what we received.").
			With("ExpectedDigest", cl.md5).With("CalculatedDigest", in.sum(sumMD5))
	}
	if cl.checksum != "" && cl.checksum != in.sum(cl.algorithm) {
		return errChecksumMismatch(cl.algorithm)
	}
	return in.believeTrailers()
}

func (in *intake) believeTrailers() error {
	cl := &in.claims
	t, ok := in.src.(trailed)
	if !ok {
		return nil
	}
	if cl.trailer {
		value := t.Trailer(cl.algorithm.header())
		if value == "" {
			return errNoAnnouncedChecksum()
		}
		return in.believeTrailer(cl.algorithm, value)
	}
	if !cl.any {
		return nil
	}
	for _, name := range []string{"xxhash64", "xxhash3", "xxhash128"} {
		if t.Trailer("x-amz-checksum-"+name) != "" {
			return errHeaderNotImplemented("x-amz-checksum-" + name)
		}
	}
	for a := sumCRC32; a < algorithmCount; a++ {
		if value := t.Trailer(a.header()); value != "" {
			in.stored = a
			return in.believeTrailer(a, value)
		}
	}
	return nil
}

func (in *intake) believeTrailer(a algorithm, value string) error {
	if !a.valid(value) {
		return aws.Errorf("InvalidRequest", "Value for %s trailing header is invalid.", a.header())
	}
	if value != in.sum(a) {
		return errChecksumMismatch(a)
	}
	return nil
}

// sum is a digest of the whole body in base64, after EOF.
func (in *intake) sum(a algorithm) string {
	return base64.StdEncoding.EncodeToString(in.hashes[a].Sum(nil))
}

// md5 is the MD5 of the whole body, after EOF.
func (in *intake) md5() [md5.Size]byte {
	return [md5.Size]byte(in.hashes[sumMD5].Sum(nil))
}

func errIncompleteBody() error {
	return aws.Errorf("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errEntityTooLarge(size, limit int64) error {
	return aws.Errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
		With("ProposedSize", strconv.FormatInt(size, 10)).With("MaxSizeAllowed", strconv.FormatInt(limit, 10))
}
