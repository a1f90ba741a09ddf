package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// manualApproval waits for PutApprovalResult, or until its time is over.
type manualApproval struct{}

func (manualApproval) bounds() bounds { return bounds{} }

// limit bounds the short work of beginning to wait. The waiting has a bound of
// its own; see wait.
func (manualApproval) limit() time.Duration { return 365 * 24 * time.Hour }

func (manualApproval) keys() []configKey {
	return []configKey{
		{name: "NotificationArn", never: "NotificationArn needs Amazon SNS, which sekisho does not implement"},
		{name: "CustomData"}, {name: "ExternalEntityLink"},
	}
}

// approvalTimeout is how long an approval waits when it does not say.
const approvalTimeout = 7 * 24 * time.Hour

func (manualApproval) run(ctx context.Context, w *work) (actionOutput, error) {
	wait := approvalTimeout
	if w.declared.TimeoutInMinutes != nil {
		wait = time.Duration(*w.declared.TimeoutInMinutes) * time.Minute
	}
	err := w.service.db.Update(ctx, func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `
			UPDATE codepipeline_action SET token = $1, input = $2
			WHERE account = $3 AND region = $4 AND pipeline = $5 AND id = $6 AND status = 'InProgress' AND token = ''`,
			aws.NewUUID(), w.row.InputRaw, w.pipeline.Account, w.pipeline.Region, w.pipeline.Name, w.row.ID)
		if err != nil || n == 0 {
			return err
		}
		return job.Enqueue(ctx, tx, job.New{
			Kind: approvalJob, Key: w.row.ID, Payload: actionRef{w.pipeline, w.row.ID}, RunAt: w.row.Started.Add(wait),
		})
	})
	if err != nil {
		return actionOutput{}, err
	}
	return actionOutput{}, errWaits
}

// expireApproval fails an approval that nobody answered in time.
func (s *Service) expireApproval(ctx context.Context, j *job.Job) error {
	var at actionRef
	if err := json.Unmarshal(j.Payload, &at); err != nil {
		return job.Dead(err)
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		a, err := at.Pipeline.action(ctx, tx, at.ID)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		if err == nil && a.Status == inProgress {
			out := actionOutput{Error: &api.ErrorDetails{Code: jobFailed, Message: "The approval was not answered in time."}}
			if err := at.Pipeline.finish(ctx, tx, a, failed, at.Pipeline.arn(), out, time.Now().UTC()); err != nil {
				return err
			}
		}
		return j.Finish(ctx, tx)
	})
}
