package policyeval

import (
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// parsed is what became of a document's text.
type parsed struct {
	doc     *policy.Document
	refusal string // AWS's, when it is no policy
	err     error  // when it is not even JSON
}

// cache keeps parsed documents by their text: the same few stand in line after
// line.
type cache struct {
	kinds [policy.RCP + 1]map[string]*parsed
	room  int // for texts; when it is used up, all are forgotten
	size  int // of all texts
}

// cacheRoom bounds the texts that an evaluator keeps.
const cacheRoom = 4 << 20

// parse returns what a text is as a policy of a kind.
func (c *cache) parse(text string, kind policy.Kind) *parsed {
	if p := c.kinds[kind][text]; p != nil {
		return p
	}
	p := parse(text, kind)
	if c.size += len(text); c.size > c.room {
		*c = cache{room: c.room, size: len(text)}
	}
	if c.kinds[kind] == nil {
		c.kinds[kind] = map[string]*parsed{}
	}
	c.kinds[kind][strings.Clone(text)] = p
	return p
}

func parse(text string, kind policy.Kind) *parsed {
	text = strings.Clone(text) // the document keeps it, and the line's batch need not stay
	if err := check(text); err != nil {
		return &parsed{err: err}
	}
	doc, err := policy.Parse(text, kind)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return &parsed{refusal: e.Message}
	}
	return &parsed{doc: doc, err: err}
}
