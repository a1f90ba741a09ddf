package git

import (
	"bufio"
	"fmt"
	"io"
)

// Kinds of packet. Packets other than data have no payload.
type packetKind int

const (
	dataPacket packetKind = iota
	flushPacket
	delimPacket
	endPacket
)

// maxPacket is the longest packet git allows, its length included.
const maxPacket = 65520

// readPacket reads one pkt-line. The payload is valid until the next read from
// buf's owner; it aliases buf.
func readPacket(r *bufio.Reader, buf []byte) ([]byte, packetKind, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, err
	}
	n := 0
	for _, c := range head {
		d := hexDigit(c)
		if d < 0 {
			return nil, 0, fmt.Errorf("%w: bad packet length %q", ErrProtocol, head)
		}
		n = n<<4 | d
	}
	switch {
	case n == 0:
		return nil, flushPacket, nil
	case n == 1:
		return nil, delimPacket, nil
	case n == 2:
		return nil, endPacket, nil
	case n == 3 || n > maxPacket:
		return nil, 0, fmt.Errorf("%w: bad packet length %q", ErrProtocol, head)
	}
	n -= 4
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, 0, err
	}
	return buf[:n], dataPacket, nil
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

const flush = "0000"

// appendPacket appends one pkt-line. The payload is at most maxPacket-4 long.
func appendPacket(dst []byte, payload string) []byte {
	dst = fmt.Appendf(dst, "%04x", len(payload)+4)
	return append(dst, payload...)
}

// Bands of side-band-64k.
const (
	bandData     = 1
	bandProgress = 2
	bandError    = 3
)

// appendBand appends data on a band, in as many packets as it takes.
func appendBand(dst []byte, band byte, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), maxPacket-5)
		dst = fmt.Appendf(dst, "%04x", n+5)
		dst = append(dst, band)
		dst = append(dst, data[:n]...)
		data = data[n:]
	}
	return dst
}
