package gateway

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// tlsRecord is the first byte of a TLS handshake; no HTTP method begins with
// it.
const tlsRecord = 0x16

// helloTimeout bounds how long a connection may keep silent before its first
// byte.
const helloTimeout = 30 * time.Second

// listener accepts TLS and plain connections on one port and tells them apart
// by their first byte.
type listener struct {
	net.Listener
	config *tls.Config
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Split returns a listener over l whose connections are *tls.Conn where the
// client speaks TLS, and plain otherwise.
func Split(l net.Listener, config *tls.Config) net.Listener {
	s := &listener{Listener: l, config: config, conns: make(chan net.Conn), closed: make(chan struct{})}
	go s.accept()
	return s
}

// accept hands each connection to a goroutine of its own, because its first
// byte may be long in coming.
func (l *listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			go l.sort(c)
			continue
		}
		select {
		case <-l.closed:
			return
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			l.Close()
			return
		}
		time.Sleep(10 * time.Millisecond) // out of file descriptors, most likely
	}
}

func (l *listener) sort(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(helloTimeout))
	r := bufio.NewReaderSize(c, 4096)
	first, err := r.Peek(1)
	if err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	c = &peeked{Conn: c, r: r}
	if first[0] == tlsRecord {
		c = tls.Server(c, l.config)
	}
	select {
	case l.conns <- c:
	case <-l.closed:
		c.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) {
	if p.r != nil && p.r.Buffered() == 0 {
		p.r = nil // from here on straight from the connection
	}
	if p.r == nil {
		return p.Conn.Read(b)
	}
	return p.r.Read(b)
}
