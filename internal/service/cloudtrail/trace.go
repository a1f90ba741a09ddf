package cloudtrail

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// maxStory bounds what Trace and Story return.
const maxStory = 20_000

// Trace returns the record of every call that one cause led to, in order of
// time, data events included. With a scope, the calls of other pipeline
// executions of the same trace are left out.
func (s *Service) Trace(ctx context.Context, trace, scope string) ([]*call.Entry, error) {
	return s.read(ctx, `
		SELECT `+rowColumns+` FROM cloudtrail_event
		WHERE trace = $1 AND ($2 = '' OR scope = '' OR scope = $2) ORDER BY id LIMIT $3`, trace, scope, maxStory)
}

// Story returns the record of a pipeline execution, by its id, in order of
// time: the calls that led to it, and those that it made. The calls of other
// executions with the same cause are left out.
func (s *Service) Story(ctx context.Context, execution string) ([]*call.Entry, error) {
	if execution == "" {
		return nil, nil
	}
	return s.read(ctx, `
		SELECT `+rowColumns+` FROM cloudtrail_event
		WHERE trace IN (SELECT DISTINCT trace FROM cloudtrail_event WHERE scope = $1 AND scope <> '') AND (scope = '' OR scope = $1)
		ORDER BY id LIMIT $2`, execution, maxStory)
}

// Request returns the record of one call inside the process, by its request id,
// which tells its time and so where to look, or of any call by its event id.
// Nil means that there is none. A call from outside is found by Trace: it has
// the id of its trace.
func (s *Service) Request(ctx context.Context, id string) (*call.Entry, error) {
	from, to := id, id // of the ids of events
	if at, ok := aws.UUIDTime(id); ok {
		from, to = firstID(at), firstID(at.Add(time.Millisecond))
	}
	start := `{"ID":"` + id + `"` // of what pack makes
	list, err := s.read(ctx, `
		SELECT `+rowColumns+` FROM cloudtrail_event WHERE id = $1
		UNION SELECT `+rowColumns+` FROM cloudtrail_event WHERE id >= $2 AND id < $3 AND substr(entry, 1, $4) = $5
		LIMIT 1`, id, from, to, len(start), start)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (s *Service) read(ctx context.Context, query string, args ...any) ([]*call.Entry, error) {
	var rows []row
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		rows, err = state.List[row](ctx, tx, query, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]*call.Entry, 0, len(rows))
	for _, r := range rows {
		e, err := r.unpack()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
