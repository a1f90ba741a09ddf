package cloudtrail

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// sequence numbers the records of a process.
type sequence struct{ n atomic.Uint32 }

// next returns an event id: a UUID (version 7) that sorts by the time of the
// call, to a quarter of a microsecond, and then by the order of recording.
func (s *sequence) next(t time.Time) string {
	b := stamp(t)
	binary.BigEndian.PutUint16(b[8:], uint16(s.n.Add(1))&0x3fff|0x8000)
	rand.Read(b[10:]) // never fails, by its documentation
	return text(b)
}

// firstID is not greater than any id of a time.
func firstID(t time.Time) string {
	b := stamp(t)
	b[8] = 0x80
	return text(b)
}

// stamp fills the part of an id that is the time.
func stamp(t time.Time) (b [16]byte) {
	ns := max(t.UnixNano(), 0)
	ms, rest := uint64(ns)/1e6, uint64(ns)%1e6
	binary.BigEndian.PutUint64(b[:], ms<<16|rest*4096/1e6)
	b[6] = b[6]&0x0f | 0x70
	return b
}

func text(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
