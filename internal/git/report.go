package git

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
)

// maxReport bounds what git may say about a push.
const maxReport = 16 << 20

// report is git's verdict on the commands of a push.
type report struct {
	unpack string // "ok", or what went wrong
	refs   map[string]verdict
}

// verdict is the fate of one ref: its line, without "ok REF" or "ng REF", and
// the option lines of report-status-v2 that follow it.
type verdict struct {
	ok      bool
	reason  string
	options []string
}

func refused(reason string) verdict { return verdict{reason: reason} }

// parseReport reads the pkt-lines of a report-status or report-status-v2. It
// fails when the report does not end properly.
func parseReport(data []byte) (*report, error) {
	rep := &report{refs: map[string]verdict{}}
	br := bufio.NewReader(bytes.NewReader(data))
	buf := make([]byte, maxPacket)
	last := ""
	for {
		line, kind, err := readPacket(br, buf)
		if err != nil {
			return nil, fmt.Errorf("report of git receive-pack: %w", malformed(err))
		}
		if kind == flushPacket {
			break
		}
		word, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch word {
		case "unpack":
			rep.unpack = rest
		case "ok":
			last = rest
			rep.refs[rest] = verdict{ok: true}
		case "ng":
			ref, reason, _ := strings.Cut(rest, " ")
			last = ref
			rep.refs[ref] = refused(reason)
		case "option":
			v := rep.refs[last]
			v.options = append(v.options, rest)
			rep.refs[last] = v
		}
	}
	if rep.unpack == "" {
		return nil, fmt.Errorf("report of git receive-pack: %w", ErrProtocol)
	}
	return rep, nil
}

// encode writes the report for a client, with a line for each of its commands
// in their order.
func (rep *report) encode(commands []Command) []byte {
	out := appendPacket(nil, "unpack "+rep.unpack+"\n")
	for _, c := range commands {
		v, known := rep.refs[c.Ref]
		switch {
		case !known:
			out = appendPacket(out, "ng "+c.Ref+" no status reported\n")
		case v.ok:
			out = appendPacket(out, "ok "+c.Ref+"\n")
		default:
			out = appendPacket(out, "ng "+c.Ref+" "+v.reason+"\n")
		}
		for _, o := range v.options {
			out = appendPacket(out, "option "+o+"\n")
		}
	}
	return append(out, flush...)
}
