package e2e

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// dial opens a TLS connection to a server; it is closed when the test ends.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}
