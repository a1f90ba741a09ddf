package git

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxCommands is how many refs one push may update.
const MaxCommands = 4000

// maxPreamble bounds what a client may send before its pack.
const maxPreamble = 8 << 20

// errTooMany is said with CodeCommit's own words.
var errTooMany = errors.New("Too many reference update commands") //nolint:staticcheck // the words git shows

// Command is one ref update a client asks for. Old is Zero for a ref to be
// created, New is Zero for one to be deleted.
type Command struct {
	Ref, Old, New string
}

// pushRequest is what a client sends before its pack.
type pushRequest struct {
	commands []Command
	refs     map[string]bool // of commands
	shallow  []string        // payloads of shallow lines, passed on as they are
	caps     []string
}

// has reports whether the client asked for a capability, such as atomic.
func (p *pushRequest) has(name string) bool {
	for _, c := range p.caps {
		if c == name {
			return true
		}
	}
	return false
}

// sendsPack reports whether a pack follows: it does unless every command
// deletes.
func sendsPack(commands []Command) bool {
	for _, c := range commands {
		if c.New != Zero {
			return true
		}
	}
	return false
}

// readPush reads the ref commands of a push and its push options, which are
// dropped. What remains in br is the pack. A request without commands is
// empty and valid: git probes with one.
func readPush(br *bufio.Reader) (*pushRequest, error) {
	var p pushRequest
	read := 0
	buf := make([]byte, maxPacket)
	for {
		line, kind, err := readPacket(br, buf)
		if err != nil {
			return nil, malformed(err)
		}
		if kind == flushPacket {
			break
		}
		if kind != dataPacket {
			return nil, fmt.Errorf("%w: unexpected packet among the ref commands", ErrProtocol)
		}
		if read += len(line) + 4; read > maxPreamble {
			return &p, errTooMany
		}
		if err := p.add(line); err != nil {
			return &p, err
		}
	}
	if len(p.commands) > 0 && p.has("push-options") {
		if err := skipOptions(br, buf); err != nil {
			return nil, err
		}
	}
	return &p, nil
}

// malformed makes an early end of the request a fault of the client's.
func malformed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends too early", ErrProtocol)
	}
	return err
}

func (p *pushRequest) add(line []byte) error {
	if body, ok := bytes.CutPrefix(line, []byte("shallow ")); ok {
		id := string(bytes.TrimSuffix(body, []byte("\n")))
		if !IsObjectID(id) {
			return fmt.Errorf("%w: bad shallow line", ErrProtocol)
		}
		p.shallow = append(p.shallow, "shallow "+id)
		return nil
	}
	if bytes.HasPrefix(line, []byte("push-cert")) {
		return fmt.Errorf("%w: signed pushes are not offered", ErrProtocol)
	}
	text, caps, found := strings.Cut(string(line), "\x00")
	if found && len(p.commands) == 0 {
		p.caps = strings.Fields(caps)
	}
	for _, c := range p.caps {
		if format, ok := strings.CutPrefix(c, "object-format="); ok && format != "sha1" {
			return fmt.Errorf("%w: object format %q is not offered", ErrProtocol, format)
		}
	}
	c, err := parseCommand(strings.TrimSuffix(text, "\n"))
	if err != nil {
		return err
	}
	if p.refs[c.Ref] {
		return fmt.Errorf("%w: %s is updated twice", ErrProtocol, c.Ref)
	}
	if p.refs == nil {
		p.refs = map[string]bool{}
	}
	p.refs[c.Ref] = true
	if p.commands = append(p.commands, c); len(p.commands) > MaxCommands {
		return errTooMany
	}
	return nil
}

// parseCommand takes "OLD NEW REF" apart. A name git would refuse is left for
// it to refuse by name; one that could not be told back to the client is not
// the protocol.
func parseCommand(s string) (Command, error) {
	const id = len(Zero)
	if len(s) <= 2*id+2 || s[id] != ' ' || s[2*id+1] != ' ' {
		return Command{}, fmt.Errorf("%w: bad ref command", ErrProtocol)
	}
	c := Command{Old: s[:id], New: s[id+1 : 2*id+1], Ref: s[2*id+2:]}
	if !IsObjectID(c.Old) || !IsObjectID(c.New) {
		return Command{}, fmt.Errorf("%w: bad object id in a ref command", ErrProtocol)
	}
	for i := range len(c.Ref) {
		if c.Ref[i] <= ' ' || c.Ref[i] == 0x7f {
			return Command{}, fmt.Errorf("%w: bad ref name %q", ErrProtocol, c.Ref)
		}
	}
	if len(c.Ref) > 4096 {
		return Command{}, fmt.Errorf("%w: a ref name of %d bytes", ErrProtocol, len(c.Ref))
	}
	return c, nil
}

// skipOptions reads past the push options.
func skipOptions(br *bufio.Reader, buf []byte) error {
	for read := 0; ; {
		line, kind, err := readPacket(br, buf)
		if err != nil {
			return malformed(err)
		}
		if kind == flushPacket {
			return nil
		}
		if read += len(line) + 4; kind != dataPacket || read > maxPreamble {
			return fmt.Errorf("%w: bad push options", ErrProtocol)
		}
	}
}

// encode writes the request for git: only these commands, and the
// capabilities that concern git. The report and the side band are always
// asked for, because we read them.
func (p *pushRequest) encode(commands []Command) []byte {
	caps := []string{"side-band-64k"}
	if p.has("report-status-v2") {
		caps = append(caps, "report-status-v2")
	} else {
		caps = append(caps, "report-status")
	}
	for _, c := range p.caps {
		name, _, _ := strings.Cut(c, "=")
		switch name {
		case "atomic", "quiet", "delete-refs", "ofs-delta", "object-format", "agent", "session-id":
			caps = append(caps, c)
		}
	}
	var out []byte
	for _, s := range p.shallow {
		out = appendPacket(out, s)
	}
	for i, c := range commands {
		line := c.Old + " " + c.New + " " + c.Ref
		if i == 0 {
			line += "\x00 " + strings.Join(caps, " ")
		}
		out = appendPacket(out, line)
	}
	return append(out, flush...)
}

// IsObjectID reports whether s is a whole object id in lower case.
func IsObjectID(s string) bool {
	if len(s) != len(Zero) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// CheckRefName reports whether name is a full ref name that git accepts and
// that is valid UTF-8: the rules of git check-ref-format.
func CheckRefName(name string) bool {
	if !strings.HasPrefix(name, "refs/") || len(name) > 1024 || !utf8.ValidString(name) {
		return false
	}
	if strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || len(part) > 250 || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f || strings.IndexByte("~^:?*[\\", c) >= 0 {
			return false
		}
	}
	return strings.Count(name, "/") >= 2
}
