package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// defaultStall is how long a client may neither send nor take a byte that is
// waited for. S3 gives up after some 20 seconds.
const defaultStall = 30 * time.Second

// patient bounds how long a request waits for its client: by the piece, so
// that a slow transfer goes on and one that stands still ends, instead of
// holding a connection for ever.
type patient struct {
	io.ReadCloser // the request's body
	control       *http.ResponseController
	limit         time.Duration
}

// bound makes a request's body patient. What the connection's last request
// left of deadlines is lifted.
func bound(w http.ResponseWriter, r *http.Request, limit time.Duration) *patient {
	p := &patient{ReadCloser: r.Body, control: http.NewResponseController(w), limit: limit}
	p.control.SetWriteDeadline(time.Time{})
	if r.Body != http.NoBody {
		// It also holds for a body that nobody reads: the server does, before it
		// answers.
		p.control.SetReadDeadline(time.Now().Add(limit))
	}
	return p
}

// Read reads the body. At its end the deadline is lifted, because from then on
// the server waits for the client to go away, and that is nothing to hurry.
func (p *patient) Read(b []byte) (int, error) {
	p.control.SetReadDeadline(time.Now().Add(p.limit))
	n, err := p.ReadCloser.Read(b)
	switch {
	case err == io.EOF:
		p.control.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, aws.Errorf("RequestTimeout",
			"Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.").
			WithStatus(http.StatusBadRequest)
	}
	return n, err
}

// answering reads an answer's stream and gives the client time for each piece.
type answering struct {
	io.Reader
	p *patient
}

func (a answering) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	a.p.writing()
	return n, err
}

// writing gives the client time to take what is written next.
func (p *patient) writing() { p.control.SetWriteDeadline(time.Now().Add(p.limit)) }
