package cloudtrail

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// callerPage is how many records Calls reads at a time.
const callerPage = 500

// Calls gives the record of every call of a user, or of a role in all its
// sessions, from one time until before another, in order of time, data events
// included. An error of each ends it. No index leads to a caller: it reads what
// the account did in that time.
func (s *Service) Calls(ctx context.Context, caller string, from, to time.Time, each func(*call.Entry) error) error {
	a, _ := aws.ParseARN(caller)
	last := "" // of the page before
	for {
		var rows []row
		err := s.db.View(ctx, func(tx *state.Tx) (err error) {
			rows, err = state.List[row](ctx, tx, `
				SELECT `+rowColumns+` FROM cloudtrail_event
				WHERE account = $1 AND id >= $2 AND id < $3 AND id > $4 AND entry LIKE $5 ORDER BY id LIMIT $6`,
				a.Account, firstID(from), firstID(to), last, mentions(caller), callerPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range rows {
			e, err := r.unpack()
			if err != nil {
				return err
			}
			if e.Call.Principal.PolicyARN() != caller {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
		}
		if len(rows) < callerPage {
			return nil
		}
		last = rows[len(rows)-1].ID
	}
}

// mentions is a LIKE pattern for entries with an ARN in them: it may be like
// others, too.
func mentions(arn string) string {
	text, err := json.Marshal(arn)
	if err != nil {
		return "%"
	}
	return "%" + strings.NewReplacer(`\`, "_", "%", "_").Replace(string(text)) + "%"
}

// Pipeline returns the ARN of the pipeline that an execution is of, as far as
// the record tells; empty when it does not.
func (s *Service) Pipeline(ctx context.Context, execution string) (string, error) {
	list, err := s.read(ctx, `
		SELECT `+rowColumns+` FROM cloudtrail_event WHERE scope = $1 AND scope <> '' ORDER BY id LIMIT 50`, execution)
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if a, ok := aws.ParseARN(e.Call.SourceARN); ok && a.Service == "codepipeline" {
			return e.Call.SourceARN, nil
		}
	}
	return "", nil
}
