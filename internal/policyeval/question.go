package policyeval

import (
	"errors"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// question is one line, taken apart. Its texts are parts of the line; its
// lists are used again for the next.
type question struct {
	id                              string // as it stands in the line, with its quotes
	caller, action, resource, owner string
	asked                           bool // there was a request

	context policy.Keys
	values  []string // that the context's lists are parts of

	identity, boundary, session []string
	attached                    string // empty: none
	scps, rcps                  [][]string

	names map[string]string // of context keys, in lower case
}

// maxNames bounds the names of keys that are kept in lower case.
const maxNames = 10000

func newQuestion() *question {
	return &question{context: policy.Keys{}, names: map[string]string{}}
}

// read takes a line apart. The documents in it are not looked at.
func (q *question) read(line string) error {
	q.id, q.asked = `""`, false
	q.forget()
	q.identity, q.boundary, q.session = q.identity[:0], q.boundary[:0], q.session[:0]
	q.attached, q.scps, q.rcps = "", q.scps[:0], q.rcps[:0]
	s := scanner{text: line}
	if err := s.object(func(name string) error { return q.member(&s, name) }); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	return q.complete()
}

// forget makes room for a request.
func (q *question) forget() {
	q.caller, q.action, q.resource, q.owner = "", "", "", ""
	clear(q.context)
	q.values = q.values[:0]
}

// complete refuses a line that lacks what nobody can guess.
func (q *question) complete() error {
	switch {
	case !q.asked:
		return errors.New("request is missing")
	case q.caller == "":
		return errors.New("request.callerArn is missing")
	case q.action == "":
		return errors.New("request.action is missing")
	case q.resource == "":
		return errors.New("request.resourceArn is missing")
	}
	if _, operation, ok := strings.Cut(q.action, ":"); !ok || operation == "" {
		return errors.New("request.action is not service:Action: " + q.action)
	}
	return nil
}

// member reads one field. Fields that are not known are passed over.
func (q *question) member(s *scanner, name string) (err error) {
	switch name {
	case "id":
		return q.readID(s)
	case "request":
		return q.request(s)
	case "identityPolicies":
		q.identity, err = documents(s, name, q.identity)
	case "permissionsBoundaries":
		q.boundary, err = documents(s, name, q.boundary)
	case "sessionPolicies":
		q.session, err = documents(s, name, q.session)
	case "serviceControlPolicies":
		q.scps, err = levels(s, name, q.scps)
	case "resourceControlPolicies":
		q.rcps, err = levels(s, name, q.rcps)
	case "resourcePolicy":
		if q.attached = ""; !s.null() {
			q.attached, err = s.span()
		}
	default:
		err = s.value(0)
	}
	return err
}

// readID keeps the id as it stands in the line. A number will do, too; null
// counts as none.
func (q *question) readID(s *scanner) error {
	if s.null() {
		q.id = `""`
		return nil
	}
	if c := s.next(); c != '"' && c != '-' && (c < '0' || c > '9') {
		return s.fail("id is not a string")
	}
	start := s.pos
	if err := s.value(0); err != nil {
		return err
	}
	q.id = s.text[start:s.pos]
	return nil
}

func (q *question) request(s *scanner) error {
	q.asked = true
	q.forget()
	if s.next() != '{' {
		return s.fail("request is not an object")
	}
	return s.object(func(name string) (err error) {
		switch name {
		case "callerArn":
			q.caller, err = text(s, name)
		case "action":
			q.action, err = text(s, name)
		case "resourceArn":
			q.resource, err = text(s, name)
		case "resourceOwner":
			q.owner, err = text(s, name)
		case "context":
			err = q.keys(s)
		default:
			err = s.value(0)
		}
		return err
	})
}

// text reads a string; null counts as none.
func text(s *scanner, name string) (string, error) {
	if s.null() {
		return "", nil
	}
	if s.next() != '"' {
		return "", s.fail("request." + name + " is not a string")
	}
	return s.string()
}

func (q *question) keys(s *scanner) error {
	clear(q.context)
	if s.null() {
		return nil
	}
	if s.next() != '{' {
		return s.fail("request.context is not an object")
	}
	return s.object(func(name string) error {
		from := len(q.values)
		name = q.lower(name)
		switch s.next() {
		case 'n':
			delete(q.context, name)
			return s.value(0)
		case '[':
			if err := s.array(func() error { return q.value(s) }); err != nil {
				return err
			}
		default:
			if err := q.value(s); err != nil {
				return err
			}
		}
		q.context[name] = q.values[from:len(q.values):len(q.values)]
		return nil
	})
}

// value reads a value of a key: a string, or a number or truth value as it is
// written.
func (q *question) value(s *scanner) error {
	switch s.next() {
	case '"':
		v, err := s.string()
		q.values = append(q.values, v)
		return err
	case '{', '[', 'n':
		return s.fail("request.context holds what is neither a string nor an array of strings")
	}
	start := s.pos
	err := s.value(0)
	q.values = append(q.values, s.text[start:s.pos])
	return err
}

// lower returns a key's name in lower case, and remembers it.
func (q *question) lower(name string) string {
	l, ok := q.names[name]
	if !ok {
		if len(q.names) >= maxNames {
			clear(q.names)
		}
		l = strings.ToLower(name)
		q.names[strings.Clone(name)] = l
	}
	return l
}

// documents reads an array of documents.
func documents(s *scanner, name string, list []string) ([]string, error) {
	list = list[:0]
	if s.null() {
		return list, nil
	}
	if s.next() != '[' {
		return list, s.fail(name + " is not an array")
	}
	err := s.array(func() error {
		d, err := s.span()
		list = append(list, d)
		return err
	})
	return list, err
}

// levels reads an array of arrays of documents.
func levels(s *scanner, name string, list [][]string) ([][]string, error) {
	list = list[:0]
	if s.null() {
		return list, nil
	}
	if s.next() != '[' {
		return list, s.fail(name + " is not an array")
	}
	err := s.array(func() error {
		list = slices.Grow(list, 1)[:len(list)+1] // with the list that stood there
		last := &list[len(list)-1]
		var err error
		*last, err = documents(s, "a level of "+name, *last)
		return err
	})
	return list, err
}
