package organizations

import (
	"context"
	"errors"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// How an account came into its organization.
const (
	invited = "INVITED"
	created = "CREATED"
)

// maxAccounts is the most that AWS raises an organization's quota to.
const maxAccounts = 10_000

// account is a node with what accounts have beyond the others.
type account struct {
	node
	Method string    `db:"method"`
	Joined time.Time `db:"joined"`
	Closed time.Time `db:"closed"`
	Email  string    `db:"email"`
}

const (
	accountColumns = `n.id, n.org, n.parent, n.kind, n.name, n.created, a.method, a.joined, a.closed, COALESCE(e.email, '') AS email
		FROM organizations_node n
		JOIN organizations_account a ON a.id = n.id
		LEFT JOIN organizations_email e ON e.account = n.id`
	findAccount   = `SELECT ` + accountColumns + ` WHERE n.id = $1 AND n.org = $2`
	listAccounts  = `SELECT ` + accountColumns + ` WHERE n.org = $1 AND n.kind = 'ACCOUNT' AND n.id > $2 ORDER BY n.id LIMIT $3`
	insertAccount = `INSERT INTO organizations_account (id, method, joined, closed) VALUES ($1, $2, $3, 0)`
	findEmail     = `SELECT email FROM organizations_email WHERE account = $1`
)

// join puts an account below the root.
func (o organization) join(ctx context.Context, tx *state.Tx, id, name, method string, now time.Time) error {
	if _, err := tx.Exec(ctx, insertAccount, id, method, now); err != nil {
		return err
	}
	return o.insert(ctx, tx, node{ID: id, Parent: o.Root, Kind: accountKind, Name: name, Created: now})
}

// account returns an account of the organization.
func (o organization) account(ctx context.Context, tx *state.Tx, id string) (account, error) {
	a, err := state.Get[account](ctx, tx, findAccount, id, o.ID)
	if errors.Is(err, state.ErrNotFound) {
		return a, errNoAccount
	}
	return a, err
}

// ownEmail is the address of an account that was given none: it belongs to
// nobody, by RFC 2606.
func ownEmail(id string) string { return id + "@accounts.invalid" }

// emailOf is an account's address.
func emailOf(ctx context.Context, tx *state.Tx, id string) (string, error) {
	email, err := state.Get[string](ctx, tx, findEmail, id)
	if errors.Is(err, state.ErrNotFound) {
		return ownEmail(id), nil
	}
	return email, err
}

// accountOf returns whose an address is; ok is false when it is nobody's.
func accountOf(ctx context.Context, tx *state.Tx, email string) (id string, ok bool, err error) {
	folded := strings.ToLower(email)
	if id, own := strings.CutSuffix(folded, ownEmail("")); own && aws.IsAccountID(id) {
		return id, true, nil
	}
	id, err = state.Get[string](ctx, tx, `SELECT account FROM organizations_email WHERE folded = $1`, folded)
	if errors.Is(err, state.ErrNotFound) {
		return "", false, nil
	}
	return id, err == nil, err
}

// shape is the account as answers show it.
func (o organization) accountShape(ctx context.Context, tx *state.Tx, a account) (*api.Account, error) {
	way, err := o.way(ctx, tx, a.node)
	if err != nil {
		return nil, err
	}
	out := &api.Account{
		Id: a.ID, Arn: o.arn(a.ID), Email: a.Email, Name: a.Name, Status: "ACTIVE", State: "ACTIVE",
		Paths: []string{o.path(way) + a.ID + "/"}, JoinedMethod: a.Method, JoinedTimestamp: &a.Joined,
	}
	if out.Email == "" {
		out.Email = ownEmail(a.ID)
	}
	if !a.Closed.IsZero() {
		out.Status, out.State = "SUSPENDED", "SUSPENDED"
	}
	return out, nil
}

func (s *Service) describeAccount(ctx context.Context, c *call.Call, in *api.DescribeAccountInput) (*api.DescribeAccountOutput, error) {
	out := &api.DescribeAccountOutput{}
	err := s.look(ctx, c, func(tx *state.Tx, o organization) error {
		a, err := o.account(ctx, tx, in.AccountId)
		if err != nil {
			return err
		}
		out.Account, err = o.accountShape(ctx, tx, a)
		return err
	})
	return out, err
}

func (s *Service) listAccounts(ctx context.Context, c *call.Call, in *api.ListAccountsInput) (*api.ListAccountsOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListAccountsOutput{Accounts: []api.Account{}}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		list, err := state.List[account](ctx, tx, listAccounts, o.ID, p.after, p.limit+1)
		if err != nil {
			return err
		}
		list, out.NextToken = cut(p, list, func(a account) string { return a.ID })
		for _, a := range list {
			shape, err := o.accountShape(ctx, tx, a)
			if err != nil {
				return err
			}
			out.Accounts = append(out.Accounts, *shape)
		}
		return nil
	})
	return out, err
}

func (s *Service) listAccountsForParent(ctx context.Context, c *call.Call, in *api.ListAccountsForParentInput) (*api.ListAccountsForParentOutput, error) {
	out := &api.ListAccountsForParentOutput{Accounts: []api.Account{}}
	var err error
	out.NextToken, err = s.children(ctx, c, in.ParentId, accountKind, in.NextToken, in.MaxResults, func(tx *state.Tx, o organization, n node) error {
		a, err := o.account(ctx, tx, n.ID)
		if err != nil {
			return err
		}
		shape, err := o.accountShape(ctx, tx, a)
		if err == nil {
			out.Accounts = append(out.Accounts, *shape)
		}
		return err
	})
	return out, err
}

func (s *Service) moveAccount(ctx context.Context, c *call.Call, in *api.MoveAccountInput) (*api.MoveAccountOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		a, err := o.account(ctx, tx, in.AccountId)
		if err != nil {
			return err
		}
		source, err := o.parent(ctx, tx, in.SourceParentId, errNoSource)
		if err != nil {
			return err
		}
		destination, err := o.parent(ctx, tx, in.DestinationParentId, errNoDestination)
		if err != nil {
			return err
		}
		switch a.Parent {
		case destination.ID:
			return errDuplicateAccount
		case source.ID:
			_, err = tx.Exec(ctx, `UPDATE organizations_node SET parent = $2 WHERE id = $1`, a.ID, destination.ID)
			return err
		}
		return errNoSource
	})
}

// closeAccount closes a member account for good: from then on its principals
// may do nothing, and nobody may use its resources (see member.go).
func (s *Service) closeAccount(ctx context.Context, c *call.Call, in *api.CloseAccountInput) (*api.CloseAccountOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		if o.Features != allFeatures {
			return constraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE", "This operation can be called only by organizations with ALL features enabled.")
		}
		a, err := o.account(ctx, tx, in.AccountId)
		switch {
		case err != nil:
			return err
		case a.ID == o.Management:
			return constraint("CANNOT_CLOSE_MANAGEMENT_ACCOUNT", "You attempted to close the management account. To close the management account for the organization, you must first either remove or close all member accounts in the organization.")
		case !a.Closed.IsZero():
			return aws.Errorf("AccountAlreadyClosedException", "The provided account is already closed.")
		}
		_, err = tx.Exec(ctx, `UPDATE organizations_account SET closed = $2 WHERE id = $1`, a.ID, c.Time)
		return err
	})
}

// removeAccount makes a member account one that is in no organization. Every
// account of sekisho can stand alone.
func (s *Service) removeAccount(ctx context.Context, c *call.Call, in *api.RemoveAccountFromOrganizationInput) (*api.RemoveAccountFromOrganizationOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error { return o.release(ctx, tx, in.AccountId) })
}

// leaveOrganization is removeAccount, called by the account itself.
func (s *Service) leaveOrganization(ctx context.Context, c *call.Call, _ *api.LeaveOrganizationInput) (*api.LeaveOrganizationOutput, error) {
	return nil, s.write(ctx, func(tx *state.Tx) error {
		o, err := organizationOf(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		return o.release(ctx, tx, c.Account())
	})
}

// release takes a member account out of the organization. A closed one stays
// closed, and with that in its organization.
func (o organization) release(ctx context.Context, tx *state.Tx, id string) error {
	a, err := o.account(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case a.ID == o.Management:
		return errManagementStay
	case !a.Closed.IsZero():
		return aws.Errorf("AccountAlreadyClosedException", "The provided account is already closed.")
	}
	return o.remove(ctx, tx, a.ID)
}
