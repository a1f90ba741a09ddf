package organizations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	// servicePrincipal is who makes the role in a new account.
	servicePrincipal = "organizations.amazonaws.com"
	defaultRole      = "OrganizationAccountAccessRole"
	createJob        = "organizations/create-account"
)

// States of a request to create an account.
const (
	inProgress = "IN_PROGRESS"
	succeeded  = "SUCCEEDED"
	failed     = "FAILED"
)

// request is a request to create an account.
type request struct {
	ID        string          `db:"id"`
	Org       string          `db:"org"`
	Name      string          `db:"name"`
	Email     string          `db:"email"`
	Role      string          `db:"role"`
	Account   string          `db:"account"`
	Tags      json.RawMessage `db:"tags"`
	State     string          `db:"state"`
	Failure   string          `db:"failure"`
	Requested time.Time       `db:"requested"`
	Completed time.Time       `db:"completed"`
}

const (
	requestColumns = `id, org, name, email, role, account, tags, state, failure, requested, completed`
	findRequest    = `SELECT ` + requestColumns + ` FROM organizations_request WHERE id = $1`
	listRequests   = `SELECT ` + requestColumns + ` FROM organizations_request WHERE org = $1 AND id > $2 ORDER BY id`
	insertRequest  = `INSERT INTO organizations_request (` + requestColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, 0)`
	finishRequest  = `UPDATE organizations_request SET state = $2, failure = $3, completed = $4 WHERE id = $1 AND state = 'IN_PROGRESS'`
)

// shape is the request as answers show it: the account's id once there is an
// account.
func (r request) shape() *api.CreateAccountStatus {
	out := &api.CreateAccountStatus{
		Id: r.ID, AccountName: r.Name, State: r.State, RequestedTimestamp: &r.Requested, FailureReason: r.Failure,
	}
	if r.State == succeeded {
		out.AccountId = r.Account
	}
	if !r.Completed.IsZero() {
		out.CompletedTimestamp = &r.Completed
	}
	return out
}

// createAccount starts what makeAccount does. What is wrong with the address,
// AWS tells in the status.
func (s *Service) createAccount(ctx context.Context, c *call.Call, in *api.CreateAccountInput) (*api.CreateAccountOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := checkTexts(in.Email); err != nil {
		return nil, err
	}
	if strings.HasPrefix(in.RoleName, "AWSServiceRoleFor") {
		return nil, invalid("INVALID_ROLE_NAME", "You provided a role name that isn't valid. A role name can't begin with the reserved prefix AWSServiceRoleFor.")
	}
	tags, err := json.Marshal(in.Tags)
	if err != nil {
		return nil, err
	}
	r := request{
		ID: newID("car-", 32), Name: in.AccountName, Email: in.Email, Role: in.RoleName, Tags: tags, State: inProgress, Requested: c.Time,
	}
	if r.Account, err = s.freeID(ctx); err != nil {
		return nil, err
	}
	if r.Role == "" {
		r.Role = defaultRole
	}
	err = s.change(ctx, c, func(tx *state.Tx, o organization) error {
		r.Org = o.ID
		if err := o.room(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertRequest, r.ID, r.Org, r.Name, r.Email, r.Role, r.Account, r.Tags, r.State, r.Requested); err != nil {
			return err
		}
		return job.Enqueue(ctx, tx, job.New{Kind: createJob, Key: r.ID, Payload: creation{r.ID, c.Trace, c.Region}})
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateAccountOutput{CreateAccountStatus: r.shape()}, nil
}

// freeID returns an id that no account has.
func (s *Service) freeID(ctx context.Context) (string, error) {
	for {
		id := aws.RandomText(12, "123456789")
		if _, taken, err := s.accounts.AccountName(ctx, id); !taken || err != nil {
			return id, err
		}
	}
}

// room refuses one account more than the quota.
func (o organization) room(ctx context.Context, tx *state.Tx) error {
	n, err := state.Get[int64](ctx, tx, `
		SELECT (SELECT COUNT(*) FROM organizations_node WHERE org = $1 AND kind = 'ACCOUNT')
			+ (SELECT COUNT(*) FROM organizations_request WHERE org = $1 AND state = 'IN_PROGRESS')`, o.ID)
	if err == nil && n >= maxAccounts {
		return constraint("ACCOUNT_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of AWS accounts.")
	}
	return err
}

// creation is the payload of createJob.
type creation struct{ Request, Trace, Region string }

// makeAccount makes the account of a request, and in it the role through which
// the management account reaches it. It joins the organization last, so that
// no policy of the organization keeps the role from being made. Each step bears
// repetition.
func (s *Service) makeAccount(ctx context.Context, j *job.Job) error {
	var payload creation
	if err := json.Unmarshal(j.Payload, &payload); err != nil {
		return job.Dead(err)
	}
	r, management, failure, err := s.begin(ctx, payload.Request)
	if err != nil || r.State != inProgress {
		return err
	}
	if failure != "" {
		return s.finish(ctx, j, r, failure)
	}
	if err = s.accounts.MakeAccount(ctx, r.Name, r.Account); err == nil {
		err = s.makeRoles(ctx, payload, r, management)
	}
	switch {
	case err != nil && j.Attempt >= j.MaxAttempts:
		return errors.Join(err, s.finish(ctx, j, r, "INTERNAL_FAILURE"))
	case err != nil:
		return fmt.Errorf("make account %s of request %s: %w", r.Account, r.ID, err)
	}
	return s.finish(ctx, j, r, "")
}

// begin reads a request, and takes the account's address for it. failure is
// AWS's word for why it cannot be had.
func (s *Service) begin(ctx context.Context, id string) (r request, management, failure string, err error) {
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		failure = ""
		var err error
		r, err = state.Get[request](ctx, tx, findRequest, id)
		if errors.Is(err, state.ErrNotFound) {
			return nil // the organization was deleted
		}
		if err != nil || r.State != inProgress {
			return err
		}
		management, err = state.Get[string](ctx, tx, `SELECT management FROM organizations_organization WHERE id = $1`, r.Org)
		if err != nil {
			return err
		}
		if !validEmail(r.Email) {
			failure = "INVALID_EMAIL"
			return nil
		}
		owner, taken, err := accountOf(ctx, tx, r.Email)
		if err != nil || taken {
			if taken && owner != r.Account {
				failure = "EMAIL_ALREADY_EXISTS"
			}
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO organizations_email (account, folded, email) VALUES ($1, $2, $3)`,
			r.Account, strings.ToLower(r.Email), r.Email)
		return err
	})
	return r, management, failure, err
}

// makeRoles makes the role that the management account may assume, and
// Organizations' own.
func (s *Service) makeRoles(ctx context.Context, payload creation, r request, management string) error {
	root := call.Session{
		Principal: aws.RootPrincipal(r.Account), Region: payload.Region, SourceIP: servicePrincipal, UserAgent: servicePrincipal,
		Trace: payload.Trace,
	}
	if err := s.linkRole(ctx, root); err != nil {
		return err
	}
	iam := iamapi.Client{Invoker: s.door.As(root)}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + aws.RootPrincipal(management).ARN + `"},"Action":"sts:AssumeRole"}]}`
	_, err := iam.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: r.Role, AssumeRolePolicyDocument: trust})
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "EntityAlreadyExists" {
		err = nil // made by the run before
	}
	if err != nil {
		return err
	}
	_, err = iam.AttachRolePolicy(ctx, &iamapi.AttachRolePolicyInput{RoleName: r.Role, PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	return err
}

// linkRole makes the service-linked role that AWS has in every account of an
// organization with all features, in somebody's name. One that is there stays.
func (s *Service) linkRole(ctx context.Context, who call.Session) error {
	iam := iamapi.Client{Invoker: s.door.As(who)}
	_, err := iam.CreateServiceLinkedRole(ctx, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: servicePrincipal})
	e, answered := errors.AsType[*aws.Error](err)
	switch {
	case answered && e.Code == "InvalidInput":
		return nil // its name is taken, by itself
	case answered && e.Code == "AccessDenied":
		return errDependency
	}
	return err
}

// finish ends a request: in an organization, or with the reason why not.
func (s *Service) finish(ctx context.Context, j *job.Job, r request, failure string) error {
	return s.write(ctx, func(tx *state.Tx) error {
		outcome := succeeded
		if failure != "" {
			outcome = failed
			if _, err := tx.Exec(ctx, `DELETE FROM organizations_email WHERE account = $1`, r.Account); err != nil {
				return err
			}
		} else if err := r.admit(ctx, tx, s.now()); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, finishRequest, r.ID, outcome, failure, s.now())
		if err != nil || n == 0 {
			return err
		}
		return j.Finish(ctx, tx)
	})
}

// admit puts the account of a request into its organization.
func (r request) admit(ctx context.Context, tx *state.Tx, now time.Time) error {
	o, err := state.Get[organization](ctx, tx, `SELECT `+organizationColumns+` FROM organizations_organization o WHERE o.id = $1`, r.Org)
	if err != nil {
		return err
	}
	if err := o.join(ctx, tx, r.Account, r.Name, created, now); err != nil {
		return err
	}
	var tags []api.Tag
	if err := json.Unmarshal(r.Tags, &tags); err != nil {
		return err
	}
	return o.putTags(ctx, tx, r.Account, tags)
}

// validEmail holds an address against the rules that AWS documents for
// CreateAccount.
func validEmail(email string) bool {
	local, domain, ok := strings.Cut(email, "@")
	ascii := func(r rune) bool { return r < 0x80 }
	odd := func(r rune) bool { return !ascii(r) || strings.ContainsRune(" \t\r\n\"'()<>[]:;,\\|%&@", r) }
	outside := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}
	return ok && len(email) >= 6 && len(email) <= 64 && local != "" && !strings.HasPrefix(local, ".") && !strings.ContainsFunc(local, odd) &&
		strings.Contains(domain, ".") && !strings.ContainsFunc(domain, outside) && strings.Trim(domain, "-.") == domain
}

func (s *Service) describeCreateAccountStatus(ctx context.Context, c *call.Call, in *api.DescribeCreateAccountStatusInput) (*api.DescribeCreateAccountStatusOutput, error) {
	out := &api.DescribeCreateAccountStatusOutput{}
	err := s.look(ctx, c, func(tx *state.Tx, o organization) error {
		r, err := state.Get[request](ctx, tx, findRequest, in.CreateAccountRequestId)
		if errors.Is(err, state.ErrNotFound) || err == nil && r.Org != o.ID {
			return errNoRequest
		}
		out.CreateAccountStatus = r.shape()
		return err
	})
	return out, err
}

func (s *Service) listCreateAccountStatus(ctx context.Context, c *call.Call, in *api.ListCreateAccountStatusInput) (*api.ListCreateAccountStatusOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListCreateAccountStatusOutput{CreateAccountStatuses: []api.CreateAccountStatus{}}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		list, err := state.List[request](ctx, tx, listRequests, o.ID, p.after)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(r request) bool { return len(in.States) > 0 && !slices.Contains(in.States, r.State) })
		list, out.NextToken = cut(p, list, func(r request) string { return r.ID })
		for _, r := range list {
			out.CreateAccountStatuses = append(out.CreateAccountStatuses, *r.shape())
		}
		return nil
	})
	return out, err
}
