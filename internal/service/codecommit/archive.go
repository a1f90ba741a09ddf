package codecommit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
)

const (
	archiveJob = "codecommit/archive"
	// principal forwards the caller's identity to S3.
	principal = "codecommit.amazonaws.com"
	// kept is how long the fate of an upload can be asked for.
	kept = 24 * time.Hour
)

// archive is a row of codecommit_archive.
type archive struct {
	ID         string `db:"id"`
	Repository string `db:"repository"`
	Commit     string `db:"commit_id"`
	Bucket     string `db:"bucket"`
	Key        string `db:"key"`
	KMSKey     string `db:"kms_key"`
	ACL        string `db:"acl"`
	Session    string `db:"session"`

	Status         string    `db:"status"`
	ErrorCode      string    `db:"error_code"`
	ErrorMessage   string    `db:"error_message"`
	ErrorStatus    int64     `db:"error_status"`
	ErrorRequestID string    `db:"error_request_id"`
	VersionID      string    `db:"version_id"`
	ETag           string    `db:"etag"`
	Updated        time.Time `db:"updated"`
}

const selectArchive = `
	SELECT id, repository, commit_id, bucket, key, kms_key, acl, session,
		status, error_code, error_message, error_status, error_request_id, version_id, etag, updated
	FROM codecommit_archive `

func (s *Service) uploadArchiveNeeds(ctx context.Context, c *call.Call, in *api.UploadArchiveInput) ([]call.Need, error) {
	return s.needs(ctx, c, "UploadArchive", in.RepositoryName)
}

// uploadArchive puts a small archive into the bucket before it answers, and
// leaves a large one to a job.
func (s *Service) uploadArchive(ctx context.Context, c *call.Call, in *api.UploadArchiveInput) (*api.UploadArchiveOutput, error) {
	if err := checkCommitID(in.CommitId); err != nil {
		return nil, err
	}
	r, repo, err := s.served(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	session := c.Forward(principal)
	text, err := json.Marshal(session)
	if err != nil {
		return nil, err
	}
	a := &archive{
		ID: c.NewID(), Repository: r.ID, Commit: in.CommitId, Bucket: in.S3Bucket, Key: in.S3Key, KMSKey: in.KmsKeyId, ACL: in.Acl,
		Session: string(text), Status: api.ArchiveInProgress, Updated: c.Time,
	}
	zip := &bounded{most: s.inline}
	err = repo.Archive(ctx, in.CommitId, zip)
	switch {
	case errors.Is(err, errFull):
		return &api.UploadArchiveOutput{ArchiveId: a.ID}, s.insertArchive(ctx, a, true)
	case errors.Is(err, git.ErrNotFound):
		return nil, aws.Errorf("CommitIdDoesNotExistException", "The commit ID %s does not exist.", in.CommitId)
	case err != nil:
		return nil, err
	}
	put, err := s.put(ctx, session, a, bytes.NewReader(zip.data), new(int64(len(zip.data))))
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	a.end(put, err)
	return &api.UploadArchiveOutput{ArchiveId: a.ID}, s.insertArchive(ctx, a, false)
}

var errFull = errors.New("the buffer is full")

// bounded keeps what is written until it is too much.
type bounded struct {
	data []byte
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.most {
		return 0, errFull
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// insertArchive stores a new upload, and drops old ones that nobody will ask
// about. It is on disk with the record of the call.
func (s *Service) insertArchive(ctx context.Context, a *archive, enqueue bool) error {
	return s.db.UpdateSoon(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM codecommit_archive WHERE repository = $1 AND updated < $2 AND status <> $3`,
			a.Repository, state.Millis(a.Updated.Add(-kept)), api.ArchiveInProgress)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO codecommit_archive (id, repository, commit_id, bucket, key, kms_key, acl, session,
				status, error_code, error_message, error_status, error_request_id, version_id, etag, updated)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			a.ID, a.Repository, a.Commit, a.Bucket, a.Key, a.KMSKey, a.ACL, a.Session,
			a.Status, a.ErrorCode, a.ErrorMessage, a.ErrorStatus, a.ErrorRequestID, a.VersionID, a.ETag, state.Millis(a.Updated))
		if err != nil || !enqueue {
			return err
		}
		return job.Enqueue(ctx, tx, job.New{Kind: archiveJob, Key: a.ID, Payload: a.ID, MaxAttempts: 5})
	})
}

// put writes the archive into the bucket as the caller.
func (s *Service) put(ctx context.Context, session call.Session, a *archive, body io.Reader, length *int64) (*s3api.PutObjectOutput, error) {
	return s3api.Client{Invoker: s.door.As(session)}.PutObject(ctx, &s3api.PutObjectInput{
		Bucket: a.Bucket, Key: a.Key, Body: body, ContentLength: length, ContentType: "application/zip",
		ServerSideEncryption: "aws:kms", SSEKMSKeyId: a.KMSKey, ACL: a.ACL,
	})
}

// end notes how an upload ended.
func (a *archive) end(put *s3api.PutObjectOutput, err error) {
	if err == nil {
		a.Status, a.VersionID, a.ETag = api.ArchiveComplete, put.VersionId, put.ETag
		return
	}
	a.Status = api.ArchiveError
	e, ok := errors.AsType[*aws.Error](err)
	if !ok {
		slog.Warn("an archive could not be uploaded", "archive", a.ID, "error", err)
		a.ErrorCode, a.ErrorMessage, a.ErrorStatus = "InternalFailure", "The archive could not be uploaded.", 500
		return
	}
	a.ErrorCode, a.ErrorMessage, a.ErrorStatus = e.Code, e.Message, int64(e.Status)
	a.ErrorRequestID = cmp.Or(e.Fields["RequestId"], e.RequestID)
}

// uploadJob uploads a large archive.
func (s *Service) uploadJob(ctx context.Context, j *job.Job) error {
	var id string
	if err := json.Unmarshal(j.Payload, &id); err != nil {
		return job.Dead(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.uploads[id] = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.uploads, id)
		s.mu.Unlock()
	}()
	a, r, err := s.loadArchive(ctx, id)
	if err != nil || a == nil || a.Status != api.ArchiveInProgress {
		return err
	}
	put, err := s.stream(ctx, a, r)
	if err != nil && s.again(ctx, j, id, err) {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	a.end(put, err)
	return s.db.Update(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE codecommit_archive SET status = $2, error_code = $3, error_message = $4, error_status = $5,
				error_request_id = $6, version_id = $7, etag = $8, updated = $9
			WHERE id = $1 AND status = $10`,
			a.ID, a.Status, a.ErrorCode, a.ErrorMessage, a.ErrorStatus, a.ErrorRequestID, a.VersionID, a.ETag,
			state.Millis(s.now()), api.ArchiveInProgress)
		if err != nil {
			return err
		}
		return j.Finish(ctx, tx)
	})
}

// again reports whether a failed upload is worth another attempt: not when S3
// has refused it, and not for ever.
func (s *Service) again(ctx context.Context, j *job.Job, id string, err error) bool {
	if ctx.Err() != nil {
		return !s.cancelled(id)
	}
	e, answered := errors.AsType[*aws.Error](err)
	return (!answered || e.Status >= 500) && j.Attempt < j.MaxAttempts
}

func (s *Service) cancelled(id string) bool {
	a, _, err := s.loadArchive(context.Background(), id)
	return err == nil && (a == nil || a.Status != api.ArchiveInProgress)
}

// loadArchive reads an upload with its repository; nil when it is gone.
func (s *Service) loadArchive(ctx context.Context, id string) (*archive, *repository, error) {
	var a archive
	var r repository
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		if a, err = state.Get[archive](ctx, tx, selectArchive+`WHERE id = $1`, id); err != nil {
			return err
		}
		r, err = state.Get[repository](ctx, tx, selectRepository+`WHERE id = $1`, a.Repository)
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil, nil
	}
	return &a, &r, err
}

// stream uploads an archive while it is made.
func (s *Service) stream(ctx context.Context, a *archive, r *repository) (*s3api.PutObjectOutput, error) {
	var session call.Session
	if err := json.Unmarshal([]byte(a.Session), &session); err != nil {
		return nil, err
	}
	repo, err := s.repo(r)
	if err != nil {
		return nil, err
	}
	body, w := io.Pipe()
	made := make(chan struct{})
	go func() {
		defer close(made)
		w.CloseWithError(repo.Archive(ctx, a.Commit, w))
	}()
	put, err := s.put(ctx, session, a, body, nil)
	body.CloseWithError(errors.New("the upload has ended"))
	<-made
	return put, err
}

func (s *Service) getUploadArchiveStatusNeeds(ctx context.Context, c *call.Call, in *api.GetUploadArchiveStatusInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetUploadArchiveStatus", in.RepositoryName)
}

// findArchive reads an upload of a repository.
func findArchive(ctx context.Context, tx *state.Tx, c *call.Call, name, id string) (*archive, error) {
	r, err := find(ctx, tx, c, name)
	if err != nil {
		return nil, err
	}
	a, err := state.Get[archive](ctx, tx, selectArchive+`WHERE id = $1 AND repository = $2`, id, r.ID)
	if errors.Is(err, state.ErrNotFound) {
		return nil, aws.Errorf("ArchiveDoesNotExistException", "The archive %s does not exist.", id)
	}
	return &a, err
}

func (s *Service) getUploadArchiveStatus(ctx context.Context, c *call.Call, in *api.GetUploadArchiveStatusInput) (*api.GetUploadArchiveStatusOutput, error) {
	var a *archive
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		a, err = findArchive(ctx, tx, c, in.RepositoryName, in.ArchiveId)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.GetUploadArchiveStatusOutput{
		Status: a.Status, ErrorCode: a.ErrorCode, ErrorMessage: a.ErrorMessage, ErrorStatus: int(a.ErrorStatus),
		ErrorRequestId: a.ErrorRequestID, VersionId: a.VersionID, ETag: a.ETag,
	}, nil
}

func (s *Service) cancelUploadArchiveNeeds(ctx context.Context, c *call.Call, in *api.CancelUploadArchiveInput) ([]call.Need, error) {
	return s.needs(ctx, c, "CancelUploadArchive", in.RepositoryName)
}

func (s *Service) cancelUploadArchive(ctx context.Context, c *call.Call, in *api.CancelUploadArchiveInput) (*api.CancelUploadArchiveOutput, error) {
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		a, err := findArchive(ctx, tx, c, in.RepositoryName, in.ArchiveId)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE codecommit_archive SET status = $2, updated = $3 WHERE id = $1 AND status = $4`,
			a.ID, api.ArchiveCancelled, state.Millis(c.Time), api.ArchiveInProgress)
		if err != nil {
			return err
		}
		return job.Cancel(ctx, tx, archiveJob, a.ID)
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.uploads[in.ArchiveId]; cancel != nil {
		cancel()
	}
	return nil, nil
}
