package sigv4

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Anonymous returns the request of a caller who signs nothing, so that its
// body can be read. The error is an *Error.
func Anonymous(r *http.Request) (*Request, error) {
	q := &Request{r: r, Service: "s3", standing: trusted}
	q.payload = q.header("X-Amz-Content-Sha256")
	switch {
	case q.payload == "":
		q.payload = UnsignedPayload
	case q.payload == UnsignedPayload, q.payload == streamUnsignedTrailer, isDigest(q.payload):
	default:
		return nil, errPayloadValue(q.payload)
	}
	return q, nil
}

// Body is the payload of an S3 request. It is believed at the end: when the
// digest, a signature, the length or a trailer is wrong, Read returns the
// *aws.Error to answer with instead of io.EOF.
type Body struct {
	length int64 // of the payload; -1 when unknown
	read   int64
	err    error // sticky, io.EOF included

	plain io.Reader
	sum   hash.Hash
	want  string // hex, for plain bodies with a digest

	chunks   *chunks
	trailers map[string]string
}

// Body returns the request's payload, read from body, which is what came over
// the wire. It is for S3 requests that were verified or trusted.
func (q *Request) Body(body io.Reader) (*Body, error) {
	if q.standing == doubted || !q.isS3() {
		return nil, errors.New("body of a request that was not verified, or not for S3")
	}
	if body == nil {
		body = http.NoBody
	}
	switch q.payload {
	case streamSigned, streamSignedTrailer, streamUnsignedTrailer:
		return q.chunkedBody(body)
	}
	b := &Body{length: q.r.ContentLength, plain: body}
	if q.payload != UnsignedPayload {
		b.sum, b.want = sha256.New(), q.payload
	}
	return b, nil
}

// Length is the size of the payload in bytes, or -1 when the request does not
// say.
func (b *Body) Length() int64 { return b.length }

// Trailer returns a header that followed the payload, by its name in any case.
// It is known after EOF.
func (b *Body) Trailer(name string) string { return b.trailers[strings.ToLower(name)] }

// Read reads the payload.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	var n int
	if b.chunks != nil {
		n, b.err = b.chunks.read(b, p)
	} else {
		n, b.err = b.readPlain(p)
	}
	if errors.Is(b.err, io.ErrUnexpectedEOF) {
		b.err = errIncomplete()
	}
	return n, b.err
}

func (b *Body) readPlain(p []byte) (int, error) {
	n, err := b.plain.Read(p)
	b.read += int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if err != io.EOF {
		return n, err
	}
	if b.length >= 0 && b.read != b.length {
		return n, errIncomplete()
	}
	if b.sum == nil {
		return n, io.EOF
	}
	if got := hex.EncodeToString(b.sum.Sum(nil)); !strings.EqualFold(got, b.want) {
		return n, s3Error("XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed.",
			"ClientComputedContentSHA256", b.want, "S3ComputedContentSHA256", got)
	}
	return n, io.EOF
}

func errIncomplete() *aws.Error {
	return s3Error("IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errTrailer() *aws.Error {
	return s3Error("MalformedTrailerError", 400, "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// lineLimit bounds the lines between chunks: a size with a signature has less
// than 120 bytes, a trailer is a checksum.
const lineLimit = 4096

// trailerLimit bounds the number of trailers.
const trailerLimit = 16

func (q *Request) chunkedBody(body io.Reader) (*Body, error) {
	text := q.r.Header.Get("X-Amz-Decoded-Content-Length")
	if text == "" {
		return nil, s3Error("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
	}
	length, err := strconv.ParseInt(text, 10, 64)
	if err != nil || length < 0 {
		return nil, s3Error("InvalidArgument", 400, "The value of x-amz-decoded-content-length is not valid.",
			"ArgumentName", "x-amz-decoded-content-length", "ArgumentValue", text)
	}
	c := &chunks{
		src:     bufio.NewReaderSize(body, lineLimit),
		signed:  q.payload != streamUnsignedTrailer,
		trailed: q.payload != streamSigned,
	}
	if c.trailed {
		c.announced = q.r.Header.Values("X-Amz-Trailer")
	}
	if c.signed && q.standing == verified {
		c.check = &chunkSignature{key: q.key, date: q.date, day: q.day, region: q.Region, service: q.Service, previous: q.signature, keyID: q.AccessKeyID}
	}
	if c.check != nil {
		c.check.sum = sha256.New()
	}
	return &Body{length: length, chunks: c}, nil
}

// chunks decodes aws-chunked: size[;chunk-signature=…] CRLF data CRLF, until a
// chunk of size 0, and then the trailers.
type chunks struct {
	src       *bufio.Reader
	signed    bool     // chunks carry signatures
	trailed   bool     // trailers may follow
	announced []string // X-Amz-Trailer
	check     *chunkSignature

	left      int64 // of the chunk being read
	within    bool  // a chunk is being read
	signature string
}

func (c *chunks) read(b *Body, p []byte) (int, error) {
	for {
		if c.left > 0 {
			return c.readData(b, p)
		}
		if c.within {
			if err := c.endChunk(); err != nil {
				return 0, err
			}
		}
		size, err := c.readSize()
		if err != nil {
			return 0, err
		}
		if size == 0 {
			return 0, c.finish(b)
		}
		if size > b.length-b.read {
			return 0, errIncomplete()
		}
		c.left, c.within = size, true
	}
}

func (c *chunks) readData(b *Body, p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.src.Read(p)
	c.left -= int64(n)
	b.read += int64(n)
	if c.check != nil {
		c.check.sum.Write(p[:n])
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// endChunk reads the line end after a chunk's data and checks its signature.
func (c *chunks) endChunk() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if line != "" {
		return errIncomplete()
	}
	c.within = false
	if c.check == nil {
		return nil
	}
	return c.check.chunk(c.signature)
}

// readSize reads the line before a chunk.
func (c *chunks) readSize() (int64, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	digits, extension, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(digits, 16, 63)
	if err != nil {
		return 0, errIncomplete()
	}
	if c.signed {
		signature, ok := strings.CutPrefix(strings.TrimSpace(extension), "chunk-signature=")
		if !ok {
			return 0, errIncomplete()
		}
		c.signature = signature
	}
	return int64(size), nil
}

// finish reads what follows the data: the last chunk's signature has to fit,
// the length has to be the declared one, the trailers the announced ones.
func (c *chunks) finish(b *Body) error {
	if b.read != b.length {
		return errIncomplete()
	}
	if c.check != nil {
		if err := c.check.chunk(c.signature); err != nil {
			return err
		}
	}
	if err := c.readTrailers(b); err != nil {
		return err
	}
	if _, err := c.src.ReadByte(); err != io.EOF {
		if err == nil {
			return errIncomplete()
		}
		return err
	}
	return io.EOF
}

func (c *chunks) readTrailers(b *Body) error {
	const signatureName = "x-amz-trailer-signature"
	var canonical []byte
	var signature string
	for count := 0; ; count++ {
		if _, err := c.src.Peek(1); err == io.EOF {
			break // some clients leave the last line end out
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || !c.trailed || count > trailerLimit || signature != "":
			return errTrailer()
		case name == signatureName && c.signed:
			signature = value
			continue
		case !c.expects(name) || b.trailers[name] != "":
			return errTrailer()
		}
		if b.trailers == nil {
			b.trailers = make(map[string]string, 1)
		}
		b.trailers[name] = value
		canonical = append(canonical, name+":"+value+"\n"...)
	}
	return c.checkTrailers(b, canonical, signature)
}

func (c *chunks) checkTrailers(b *Body, canonical []byte, signature string) error {
	for _, list := range c.announced {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && b.trailers[name] == "" {
				return errTrailer()
			}
		}
	}
	if c.check == nil || !c.trailed {
		return nil
	}
	return c.check.trailer(canonical, signature)
}

// expects reports whether X-Amz-Trailer announced a trailer.
func (c *chunks) expects(name string) bool {
	for _, list := range c.announced {
		for announced := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(announced), name) {
				return true
			}
		}
	}
	return false
}

// line reads one line, without its end.
func (c *chunks) line() (string, error) {
	line, err := c.src.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errIncomplete()
	case err == io.EOF:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// chunkSignature is the chain of signatures that begins with the request's.
type chunkSignature struct {
	key                        [32]byte
	date, day, region, service string
	previous                   string
	keyID                      string
	sum                        hash.Hash // over the current chunk
}

func (s *chunkSignature) chunk(signature string) error {
	buf := s.begin("AWS4-HMAC-SHA256-PAYLOAD")
	buf = append(buf, EmptyPayload...)
	buf = append(buf, '\n')
	var sum [sha256.Size]byte
	buf = hex.AppendEncode(buf, s.sum.Sum(sum[:0]))
	s.sum.Reset()
	return s.check(buf, signature)
}

func (s *chunkSignature) trailer(canonical []byte, signature string) error {
	buf := s.begin("AWS4-HMAC-SHA256-TRAILER")
	sum := sha256.Sum256(canonical)
	return s.check(hex.AppendEncode(buf, sum[:]), signature)
}

func (s *chunkSignature) begin(algorithm string) []byte {
	buf := appendToSign(make([]byte, 0, 384), algorithm, s.date, s.day, s.region, s.service)
	buf = append(buf, s.previous...)
	return append(buf, '\n')
}

func (s *chunkSignature) check(toSign []byte, signature string) error {
	if sameSignature(mac(s.key[:], toSign), signature) {
		s.previous = signature
		return nil
	}
	return s3Error("SignatureDoesNotMatch", 403, "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
		"AWSAccessKeyId", s.keyID, "StringToSign", string(toSign), "SignatureProvided", signature,
		"StringToSignBytes", hexBytes(toSign))
}
