package codecommit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

// repository is a row of codecommit_repository.
type repository struct {
	ID            string    `db:"id"`
	Account       string    `db:"account"`
	Region        string    `db:"region"`
	Name          string    `db:"name"`
	Description   string    `db:"description"`
	DefaultBranch string    `db:"default_branch"`
	Created       time.Time `db:"created"`
	Modified      time.Time `db:"modified"`
}

func (r *repository) arn() string { return aws.NewARN("codecommit", r.Region, r.Account, r.Name) }

// dir is where the git repository lies below the store's root. It does not
// hold the name, so that renaming costs nothing.
func dir(account, region, id string) string { return account + "/" + region + "/" + id + ".git" }

func (s *Service) repo(r *repository) (*git.Repository, error) {
	return s.git.Repository(dir(r.Account, r.Region, r.ID))
}

// metadata is the repository as the API shows it. The clone URL leads back to
// where the caller came from; it holds the region, which no host name of ours
// tells.
func (r *repository) metadata(c *call.Call) *api.RepositoryMetadata {
	return &api.RepositoryMetadata{
		AccountId:             r.Account,
		RepositoryId:          r.ID,
		RepositoryName:        r.Name,
		RepositoryDescription: r.Description,
		DefaultBranch:         r.DefaultBranch,
		CreationDate:          new(r.Created),
		LastModifiedDate:      new(r.Modified),
		CloneUrlHttp:          strings.TrimSuffix(c.BaseURL, "/") + "/" + r.Region + "/v1/repos/" + r.Name,
		CloneUrlSsh:           "ssh://git-codecommit." + r.Region + ".amazonaws.com/v1/repos/" + r.Name,
		Arn:                   r.arn(),
	}
}

const selectRepository = `
	SELECT id, account, region, name, description, default_branch, created, modified
	FROM codecommit_repository `

// find reads a repository of the caller's account and region.
func find(ctx context.Context, tx *state.Tx, c *call.Call, name string) (*repository, error) {
	return findIn(ctx, tx, c.Account(), c.Region, name)
}

func findIn(ctx context.Context, tx *state.Tx, account, region, name string) (*repository, error) {
	r, err := state.Get[repository](ctx, tx, selectRepository+`WHERE account = $1 AND region = $2 AND name = $3`, account, region, name)
	if errors.Is(err, state.ErrNotFound) {
		return nil, errNoRepository(name)
	}
	return &r, err
}

// load is find in a transaction of its own.
func (s *Service) load(ctx context.Context, c *call.Call, name string) (r *repository, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		r, err = find(ctx, tx, c, name)
		return err
	})
	return r, err
}

var namePattern = regexp.MustCompile(`^[\w.-]{1,100}$`)

func checkName(name string) error {
	if name == "" {
		return errNameRequired
	}
	if !namePattern.MatchString(name) || strings.HasSuffix(name, ".git") {
		return errBadName
	}
	return nil
}

// needs is the usual permission: an action on a repository of the caller's
// account, which may be conditioned on the repository's tags.
func (s *Service) needs(ctx context.Context, c *call.Call, action, name string) ([]call.Need, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	n, err := s.need(ctx, action, aws.ARN{Partition: aws.Partition, Service: "codecommit", Region: c.Region, Account: c.Account(), Resource: name})
	return []call.Need{n}, err
}

func (s *Service) need(ctx context.Context, action string, arn aws.ARN) (call.Need, error) {
	n := call.Need{Action: "codecommit:" + action, Resource: arn.String(), Keys: policy.Keys{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		tags, err := state.List[tag](ctx, tx, `
			SELECT t.key, t.value FROM codecommit_repository r JOIN codecommit_tag t ON t.repository = r.id
			WHERE r.account = $1 AND r.region = $2 AND r.name = $3`, arn.Account, arn.Region, arn.Resource)
		for _, t := range tags {
			n.Keys["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
		}
		return err
	})
	return n, err
}

// referenceKey is the condition key of branch-level permissions. It is absent
// where no ref is known yet.
const referenceKey = "codecommit:references"

// branchNeeds is the permission to change a branch.
func (s *Service) branchNeeds(ctx context.Context, c *call.Call, action, name, branch string) ([]call.Need, error) {
	if err := checkBranch(branch); err != nil {
		return nil, err
	}
	needs, err := s.needs(ctx, c, action, name)
	for _, n := range needs {
		n.Keys[referenceKey] = []string{"refs/heads/" + branch}
	}
	return needs, err
}

func (s *Service) createRepositoryNeeds(_ context.Context, c *call.Call, in *api.CreateRepositoryInput) ([]call.Need, error) {
	if err := checkName(in.RepositoryName); err != nil {
		return nil, err
	}
	keys := requestTags(in.Tags)
	needs := []call.Need{{Action: "codecommit:CreateRepository", Resource: aws.NewARN("codecommit", c.Region, c.Account(), in.RepositoryName), Keys: keys}}
	if len(in.Tags) > 0 {
		tagging := needs[0]
		tagging.Action = "codecommit:TagResource"
		needs = append(needs, tagging)
	}
	return needs, nil
}

func (s *Service) createRepository(ctx context.Context, c *call.Call, in *api.CreateRepositoryInput) (*api.CreateRepositoryOutput, error) {
	if in.KmsKeyId != "" {
		return nil, aws.Errorf("NotImplemented", "CreateRepository with kmsKeyId is not implemented by sekisho: repositories are not encrypted with customer managed keys.").WithStatus(501)
	}
	if utf8.RuneCountInString(in.RepositoryDescription) > 1000 {
		return nil, errBadDescription
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	r := &repository{ID: c.NewID(), Account: c.Account(), Region: c.Region, Name: in.RepositoryName, Description: in.RepositoryDescription, Created: c.Time, Modified: c.Time}
	err := s.db.View(ctx, func(tx *state.Tx) error { return free(ctx, tx, r.Account, r.Region, r.Name) })
	if err != nil {
		return nil, err
	}
	repo, err := s.repo(r)
	if err != nil {
		return nil, err
	}
	if err := repo.Create(); err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		if err := free(ctx, tx, r.Account, r.Region, r.Name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO codecommit_repository (id, account, region, name, description, default_branch, created, modified)
			VALUES ($1, $2, $3, $4, $5, '', $6, $6)`,
			r.ID, r.Account, r.Region, r.Name, r.Description, state.Millis(c.Time))
		if err != nil {
			return err
		}
		return putTags(ctx, tx, r.ID, in.Tags)
	})
	if err != nil {
		return nil, errors.Join(taken(err, r.Name), repo.Delete())
	}
	return &api.CreateRepositoryOutput{RepositoryMetadata: r.metadata(c)}, nil
}

// free refuses a name that is taken.
func free(ctx context.Context, tx *state.Tx, account, region, name string) error {
	_, err := findIn(ctx, tx, account, region, name)
	if err == nil {
		return errRepositoryExists(name)
	}
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "RepositoryDoesNotExistException" {
		return nil
	}
	return err
}

// taken words the loss of a race for a name.
func taken(err error, name string) error {
	if state.IsUnique(err) {
		return errRepositoryExists(name)
	}
	return err
}

func (s *Service) getRepositoryNeeds(ctx context.Context, c *call.Call, in *api.GetRepositoryInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetRepository", in.RepositoryName)
}

func (s *Service) getRepository(ctx context.Context, c *call.Call, in *api.GetRepositoryInput) (*api.GetRepositoryOutput, error) {
	r, err := s.load(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return &api.GetRepositoryOutput{RepositoryMetadata: r.metadata(c)}, nil
}

func (s *Service) batchGetRepositoriesNeeds(ctx context.Context, c *call.Call, in *api.BatchGetRepositoriesInput) ([]call.Need, error) {
	if len(in.RepositoryNames) == 0 {
		return nil, errNamesRequired
	}
	if len(in.RepositoryNames) > 100 {
		return nil, errTooManyNames
	}
	var needs []call.Need
	for _, name := range in.RepositoryNames {
		n, err := s.needs(ctx, c, "BatchGetRepositories", name)
		if err != nil {
			return nil, err
		}
		needs = append(needs, n...)
	}
	return needs, nil
}

func (s *Service) batchGetRepositories(ctx context.Context, c *call.Call, in *api.BatchGetRepositoriesInput) (*api.BatchGetRepositoriesOutput, error) {
	out := &api.BatchGetRepositoriesOutput{Repositories: []api.RepositoryMetadata{}, RepositoriesNotFound: []string{}, Errors: []api.BatchGetRepositoriesError{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		for _, name := range in.RepositoryNames {
			r, err := find(ctx, tx, c, name)
			if e, ok := errors.AsType[*aws.Error](err); ok {
				out.RepositoriesNotFound = append(out.RepositoriesNotFound, name)
				out.Errors = append(out.Errors, api.BatchGetRepositoriesError{RepositoryName: name, ErrorCode: e.Code, ErrorMessage: e.Message})
				continue
			}
			if err != nil {
				return err
			}
			out.Repositories = append(out.Repositories, *r.metadata(c))
		}
		return nil
	})
	return out, err
}

func (s *Service) listRepositoriesNeeds(context.Context, *call.Call, *api.ListRepositoriesInput) ([]call.Need, error) {
	return []call.Need{{Action: "codecommit:ListRepositories", Resource: "*"}}, nil
}

// The four orders of ListRepositories. The position is the last item's time
// and name.
var listOrders = map[string]string{
	"repositoryName ascending":    `AND name > $4 AND CAST($3 AS BIGINT) >= 0 ORDER BY name`,
	"repositoryName descending":   `AND name < $4 AND CAST($3 AS BIGINT) >= 0 ORDER BY name DESC`,
	"lastModifiedDate ascending":  `AND (modified, name) > ($3, $4) ORDER BY modified, name`,
	"lastModifiedDate descending": `AND (modified, name) < ($3, $4) ORDER BY modified DESC, name DESC`,
}

func (s *Service) listRepositories(ctx context.Context, c *call.Call, in *api.ListRepositoriesInput) (*api.ListRepositoriesOutput, error) {
	by, order := in.SortBy, in.Order
	if by == "" {
		by = "repositoryName"
	}
	if order == "" {
		order = "ascending"
	}
	if by != "repositoryName" && by != "lastModifiedDate" {
		return nil, aws.Errorf("InvalidSortByException", "The sort-by value %s is not valid.", by)
	}
	where, ok := listOrders[by+" "+order]
	if !ok {
		return nil, aws.Errorf("InvalidOrderException", "The sort order %s is not valid.", order)
	}
	after, name, err := position(in.NextToken, order == "descending")
	if err != nil {
		return nil, err
	}
	var rows []repository
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err = state.List[repository](ctx, tx, selectRepository+`WHERE account = $1 AND region = $2 `+where+` LIMIT $5`,
			c.Account(), c.Region, after, name, s.page+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListRepositoriesOutput{Repositories: []api.RepositoryNameIdPair{}}
	if len(rows) > s.page {
		rows = rows[:s.page]
		last := rows[s.page-1]
		out.NextToken = pageToken(strconv.FormatInt(state.Millis(last.Modified), 10), last.Name)
	}
	for _, r := range rows {
		out.Repositories = append(out.Repositories, api.RepositoryNameIdPair{RepositoryName: r.Name, RepositoryId: r.ID})
	}
	return out, nil
}

// position reads the place a listing goes on from; without a token it is
// before everything.
func position(token string, descending bool) (modified int64, name string, err error) {
	if token == "" && descending {
		return 1 << 62, "\x7f", nil // after every name and time
	}
	if token == "" {
		return 0, "", nil
	}
	parts, err := tokenParts(token, 2)
	if err != nil {
		return 0, "", err
	}
	modified, err = strconv.ParseInt(parts[0], 10, 64)
	if err != nil || modified < 0 {
		return 0, "", errBadToken
	}
	return modified, parts[1], nil
}

// pageToken packs the place where a listing stopped.
func pageToken(parts ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\n")))
}

// tokenParts unpacks a page token of n parts.
func tokenParts(token string, n int) ([]string, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	parts := strings.SplitN(string(text), "\n", n)
	if err != nil || len(parts) != n || !utf8.Valid(text) || strings.ContainsRune(string(text), 0) {
		return nil, errBadToken
	}
	return parts, nil
}

func (s *Service) deleteRepositoryNeeds(ctx context.Context, c *call.Call, in *api.DeleteRepositoryInput) ([]call.Need, error) {
	return s.needs(ctx, c, "DeleteRepository", in.RepositoryName)
}

const removeJob = "codecommit/remove"

// deleteRepository forgets a repository; its directory is removed behind it.
// One that does not exist is no error on AWS: the answer names no id.
func (s *Service) deleteRepository(ctx context.Context, c *call.Call, in *api.DeleteRepositoryInput) (*api.DeleteRepositoryOutput, error) {
	out := &api.DeleteRepositoryOutput{}
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := find(ctx, tx, c, in.RepositoryName)
		if _, none := errors.AsType[*aws.Error](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		out.RepositoryId = r.ID
		for _, statement := range []string{
			`DELETE FROM codecommit_repository WHERE id = $1`,
			`DELETE FROM codecommit_tag WHERE repository = $1`,
			`DELETE FROM codecommit_ref WHERE repository = $1`,
			`DELETE FROM codecommit_arrival WHERE repository = $1`,
			`DELETE FROM codecommit_push WHERE repository = $1`,
			`DELETE FROM codecommit_push_ref WHERE repository = $1`,
			`DELETE FROM codecommit_archive WHERE repository = $1`,
		} {
			if _, err := tx.Exec(ctx, statement, r.ID); err != nil {
				return err
			}
		}
		return job.Enqueue(ctx, tx, job.New{Kind: removeJob, Key: r.ID, Payload: dir(r.Account, r.Region, r.ID)})
	})
	return out, err
}

// remove removes the directory of a deleted repository.
func (s *Service) remove(_ context.Context, j *job.Job) error {
	repo, err := s.repoOf(j)
	if err != nil {
		return job.Dead(err)
	}
	return repo.Delete()
}

func (s *Service) updateRepositoryNameNeeds(ctx context.Context, c *call.Call, in *api.UpdateRepositoryNameInput) ([]call.Need, error) {
	from, err := s.needs(ctx, c, "UpdateRepositoryName", in.OldName)
	if err != nil {
		return nil, err
	}
	to, err := s.needs(ctx, c, "UpdateRepositoryName", in.NewName)
	return append(from, to...), err
}

func (s *Service) updateRepositoryName(ctx context.Context, c *call.Call, in *api.UpdateRepositoryNameInput) (*api.UpdateRepositoryNameOutput, error) {
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := find(ctx, tx, c, in.OldName)
		if err != nil {
			return err
		}
		if err := free(ctx, tx, r.Account, r.Region, in.NewName); err != nil {
			return err
		}
		return touch(ctx, tx, r.ID, c.Time, `name = $3`, in.NewName)
	})
	return nil, taken(err, in.NewName)
}

// touch changes one column of a repository and when it was last modified.
func touch(ctx context.Context, tx *state.Tx, id string, now time.Time, set string, value any) error {
	_, err := tx.Exec(ctx, `UPDATE codecommit_repository SET modified = $2, `+set+` WHERE id = $1`, id, state.Millis(now), value)
	return err
}

func (s *Service) updateRepositoryDescriptionNeeds(ctx context.Context, c *call.Call, in *api.UpdateRepositoryDescriptionInput) ([]call.Need, error) {
	return s.needs(ctx, c, "UpdateRepositoryDescription", in.RepositoryName)
}

func (s *Service) updateRepositoryDescription(ctx context.Context, c *call.Call, in *api.UpdateRepositoryDescriptionInput) (*api.UpdateRepositoryDescriptionOutput, error) {
	if utf8.RuneCountInString(in.RepositoryDescription) > 1000 {
		return nil, errBadDescription
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := find(ctx, tx, c, in.RepositoryName)
		if err != nil {
			return err
		}
		return touch(ctx, tx, r.ID, c.Time, `description = $3`, in.RepositoryDescription)
	})
}

const maintainJob = "codecommit/maintain"

// maintain packs what many pushes have left in many small packs.
func (s *Service) maintain(ctx context.Context, j *job.Job) error {
	repo, err := s.repoOf(j)
	if err != nil {
		return job.Dead(err)
	}
	err = repo.Maintain(ctx)
	if errors.Is(err, git.ErrNoRepository) {
		return nil
	}
	return err
}

// repoOf is the repository whose directory is a job's payload.
func (s *Service) repoOf(j *job.Job) (*git.Repository, error) {
	var name string
	if err := json.Unmarshal(j.Payload, &name); err != nil {
		return nil, fmt.Errorf("job %s: payload %s: %w", j.Kind, j.Payload, err)
	}
	return s.git.Repository(name)
}
