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
	group  sync.WaitGroup // everything that runs behind

	mu      sync.Mutex
	ended   bool
	waiting map[net.Conn]struct{} // for their first byte
}

// Split returns a listener over l whose connections are *tls.Conn where the
// client speaks TLS, and plain otherwise. Close closes the connections, too,
// that nobody has accepted; when it returns nothing is left behind.
func Split(l net.Listener, config *tls.Config) net.Listener {
	s := &listener{Listener: l, config: config, conns: make(chan net.Conn), closed: make(chan struct{}), waiting: map[net.Conn]struct{}{}}
	s.group.Go(s.accept)
	return s
}

// accept hands each connection to a goroutine of its own, because its first
// byte may be long in coming.
func (l *listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.group.Go(func() { l.sort(c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			l.end()
		}
		select {
		case <-l.closed:
			return
		case <-time.After(10 * time.Millisecond): // out of file descriptors, most likely
		}
	}
}

// sort waits for a connection's first byte, and for somebody to accept it.
func (l *listener) sort(c net.Conn) {
	if !l.wait(c) {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Now().Add(helloTimeout))
	r := bufio.NewReaderSize(c, 4096)
	first, err := r.Peek(1)
	l.waited(c)
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

// wait notes that a connection is waited for, unless the listener has ended.
func (l *listener) wait(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.waiting[c] = struct{}{}
	}
	return !l.ended
}

func (l *listener) waited(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, c)
}

// end tells everything behind to stop.
func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.closed)
	for c := range l.waiting {
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
	err := l.Listener.Close()
	l.end()
	l.group.Wait()
	return err
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
