package organizations

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	inviteAction = "INVITE"
	// invitationLife is how long an invitation is open.
	invitationLife = 15 * 24 * time.Hour
	// handshakeMemory is how long a handshake that is over is shown.
	handshakeMemory = 30 * 24 * time.Hour
)

// States of a handshake.
const (
	open     = "OPEN"
	accepted = "ACCEPTED"
	declined = "DECLINED"
	canceled = "CANCELED"
	expired  = "EXPIRED"
)

// handshake is an invitation.
type handshake struct {
	ID        string          `db:"id"`
	Org       string          `db:"org"`
	Owner     string          `db:"owner"`
	Account   string          `db:"account"`
	Party     string          `db:"party"`
	Notes     string          `db:"notes"`
	Tags      json.RawMessage `db:"tags"`
	Resources json.RawMessage `db:"resources"`
	State     string          `db:"state"`
	Requested time.Time       `db:"requested"`
	Expires   time.Time       `db:"expires"`
}

const (
	handshakeColumns = `id, org, owner, account, party, notes, tags, resources, state, requested, expires`
	findHandshake    = `SELECT ` + handshakeColumns + ` FROM organizations_handshake WHERE id = $1`
	insertHandshake  = `INSERT INTO organizations_handshake (` + handshakeColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	handshakesOf     = `SELECT ` + handshakeColumns + ` FROM organizations_handshake WHERE account = $1 AND id > $2 ORDER BY id`
	handshakesBy     = `SELECT ` + handshakeColumns + ` FROM organizations_handshake WHERE org = $1 AND id > $2 ORDER BY id`
	openInvitation   = `SELECT COUNT(*) FROM organizations_handshake WHERE org = $1 AND account = $2 AND state = 'OPEN' AND expires > $3`
)

// at is the state at a time: nobody has to be there when an invitation
// expires.
func (h handshake) at(now time.Time) string {
	if h.State == open && !now.Before(h.Expires) {
		return expired
	}
	return h.State
}

// shape is the handshake as answers show it.
func (h handshake) shape(now time.Time) (*api.Handshake, error) {
	out := &api.Handshake{
		Id: h.ID, Arn: thingARN(h.Owner, h.Org, h.ID), State: h.at(now), Action: inviteAction,
		RequestedTimestamp: &h.Requested, ExpirationTimestamp: &h.Expires,
		Parties: []api.HandshakeParty{{Id: h.Org, Type: "ORGANIZATION"}},
	}
	err := json.Unmarshal(h.Resources, &out.Resources)
	for _, r := range out.Resources {
		if r.Type == h.Party {
			out.Parties = append(out.Parties, api.HandshakeParty{Id: r.Value, Type: h.Party})
		}
	}
	return out, err
}

// invite invites an account that sekisho has, by its id or address.
func (s *Service) invite(ctx context.Context, c *call.Call, in *api.InviteAccountToOrganizationInput) (*api.InviteAccountToOrganizationOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := checkTexts(in.Notes, in.Target.Id); err != nil {
		return nil, err
	}
	tags, err := json.Marshal(in.Tags)
	if err != nil {
		return nil, err
	}
	target, err := s.invitee(ctx, in.Target)
	if err != nil {
		return nil, err
	}
	name, _, err := s.accounts.AccountName(ctx, c.Account())
	if err != nil {
		return nil, err
	}
	h := handshake{
		ID: newID("h-", 32), Account: target, Party: in.Target.Type, Notes: in.Notes, Tags: tags, State: open,
		Requested: c.Time, Expires: c.Time.Add(invitationLife),
	}
	err = s.change(ctx, c, func(tx *state.Tx, o organization) error {
		if err := o.invitable(ctx, tx, target, c.Time); err != nil {
			return err
		}
		email, err := emailOf(ctx, tx, o.Management)
		if err != nil {
			return err
		}
		h.Org, h.Owner = o.ID, o.Management
		if h.Resources, err = json.Marshal(o.invitation(email, name, in)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, insertHandshake, h.ID, h.Org, h.Owner, h.Account, h.Party, h.Notes, h.Tags, h.Resources, h.State, h.Requested, h.Expires)
		return err
	})
	if err != nil {
		return nil, err
	}
	shape, err := h.shape(c.Time)
	return &api.InviteAccountToOrganizationOutput{Handshake: shape}, err
}

// invitation is what a handshake says about the organization that invites.
func (o organization) invitation(email, name string, in *api.InviteAccountToOrganizationInput) []api.HandshakeResource {
	list := []api.HandshakeResource{
		{Type: "ORGANIZATION", Value: o.ID, Resources: []api.HandshakeResource{
			{Type: "MASTER_EMAIL", Value: email},
			{Type: "MASTER_NAME", Value: name},
			{Type: "ORGANIZATION_FEATURE_SET", Value: o.Features},
		}},
		{Type: in.Target.Type, Value: in.Target.Id},
	}
	if in.Notes != "" {
		list = append(list, api.HandshakeResource{Type: "NOTES", Value: in.Notes})
	}
	return list
}

// invitee finds the account that a party names.
func (s *Service) invitee(ctx context.Context, party *api.HandshakeParty) (string, error) {
	id, named := party.Id, true
	switch party.Type {
	case "ACCOUNT":
		if !aws.IsAccountID(id) {
			return "", invalid("INVALID_PATTERN_TARGET_ID", "You specified an account ID that doesn't match the required pattern.")
		}
	case "EMAIL":
		err := s.db.View(ctx, func(tx *state.Tx) error {
			var err error
			id, named, err = accountOf(ctx, tx, party.Id)
			return err
		})
		if err != nil {
			return "", err
		}
	default:
		return "", invalid("INVALID_PARTY_TYPE_TARGET", "You specified the wrong type of entity (account, organization, or email) as a party.")
	}
	_, there, err := s.accounts.AccountName(ctx, id)
	if err != nil {
		return "", err
	}
	if !named || !there {
		return "", invalid("INVALID_PARTY_TYPE_TARGET", "You specified an account that doesn't exist: sekisho has none of this %s.", strings.ToLower(party.Type))
	}
	return id, nil
}

// invitable refuses accounts that are in an organization, or invited already.
func (o organization) invitable(ctx context.Context, tx *state.Tx, account string, now time.Time) error {
	if err := homeless(ctx, tx, account); err != nil {
		return err
	}
	n, err := state.Get[int64](ctx, tx, openInvitation, o.ID, account, now)
	if err != nil {
		return err
	}
	if n > 0 {
		return aws.Errorf("DuplicateHandshakeException", "A handshake with the same action and target already exists.")
	}
	return o.room(ctx, tx)
}

// homeless refuses accounts that are in an organization.
func homeless(ctx context.Context, tx *state.Tx, account string) error {
	_, err := organizationOf(ctx, tx, account)
	if errors.Is(err, errNotInUse) {
		return nil
	}
	return orElse(err, handshakeConstraint("ALREADY_IN_AN_ORGANIZATION", "The account is already a member of an organization."))
}

// known says what an account has to do with a handshake.
func (h handshake) known(ctx context.Context, tx *state.Tx, account string) (sender, recipient bool, err error) {
	o, err := organizationOf(ctx, tx, account)
	if err != nil && !errors.Is(err, errNotInUse) {
		return false, false, err
	}
	return o.ID == h.Org && o.Management == account, h.Account == account, nil
}

// respond moves a handshake out of OPEN, and does what that means. may says
// who may: the sender or the recipient.
func (s *Service) respond(ctx context.Context, c *call.Call, id, to string, may func(sender, recipient bool) bool, then func(tx *state.Tx, h handshake) error) (*api.Handshake, error) {
	var h handshake
	err := s.write(ctx, func(tx *state.Tx) error {
		var err error
		if h, err = handshakeFor(ctx, tx, c, id, may); err != nil {
			return err
		}
		switch h.at(c.Time) {
		case open:
		case to:
			return aws.Errorf("HandshakeAlreadyInStateException", "The specified handshake is already in the requested state.")
		default:
			return aws.Errorf("InvalidHandshakeTransitionException", "You can't perform the operation on the handshake in its current state, which is %s.", h.at(c.Time))
		}
		h.State = to
		if _, err := tx.Exec(ctx, `UPDATE organizations_handshake SET state = $2 WHERE id = $1`, h.ID, h.State); err != nil {
			return err
		}
		return then(tx, h)
	})
	if err != nil {
		return nil, err
	}
	return h.shape(c.Time)
}

// handshakeFor returns a handshake to an account that it concerns. To all
// others it is not there.
func handshakeFor(ctx context.Context, tx *state.Tx, c *call.Call, id string, may func(sender, recipient bool) bool) (handshake, error) {
	h, err := state.Get[handshake](ctx, tx, findHandshake, id)
	if errors.Is(err, state.ErrNotFound) {
		return h, errNoHandshake
	}
	if err != nil {
		return h, err
	}
	sender, recipient, err := h.known(ctx, tx, c.Account())
	switch {
	case err != nil:
		return h, err
	case !sender && !recipient:
		return h, errNoHandshake
	case !may(sender, recipient):
		return h, errNotManagement
	}
	return h, nil
}

func bySender(sender, _ bool) bool       { return sender }
func byRecipient(_, recipient bool) bool { return recipient }
func byBoth(_, _ bool) bool              { return true }

func nothing(*state.Tx, handshake) error { return nil }

// acceptHandshake brings an invited account into the organization. Where that
// has all features, it takes the caller's permission to make the
// service-linked role.
func (s *Service) acceptHandshake(ctx context.Context, c *call.Call, in *api.AcceptHandshakeInput) (*api.AcceptHandshakeOutput, error) {
	name, _, err := s.accounts.AccountName(ctx, c.Account())
	if err != nil {
		return nil, err
	}
	if err := s.acceptable(ctx, c, in.HandshakeId); err != nil {
		return nil, err
	}
	h, err := s.respond(ctx, c, in.HandshakeId, accepted, byRecipient, func(tx *state.Tx, h handshake) error {
		if err := homeless(ctx, tx, h.Account); err != nil {
			return err
		}
		o, err := state.Get[organization](ctx, tx, `SELECT `+organizationColumns+` FROM organizations_organization o WHERE o.id = $1`, h.Org)
		if err != nil {
			return err
		}
		if err := o.join(ctx, tx, h.Account, name, invited, c.Time); err != nil {
			return err
		}
		var tags []api.Tag
		if err := json.Unmarshal(h.Tags, &tags); err != nil {
			return err
		}
		return o.putTags(ctx, tx, h.Account, tags)
	})
	return &api.AcceptHandshakeOutput{Handshake: h}, err
}

// acceptable makes the service-linked role for an invitation that is open; of
// others, respond says what is wrong.
func (s *Service) acceptable(ctx context.Context, c *call.Call, id string) error {
	wanted := false
	err := s.db.View(ctx, func(tx *state.Tx) error {
		h, err := handshakeFor(ctx, tx, c, id, byRecipient)
		if err != nil || h.at(c.Time) != open || homeless(ctx, tx, h.Account) != nil {
			return err
		}
		features, err := state.Get[string](ctx, tx, `SELECT features FROM organizations_organization WHERE id = $1`, h.Org)
		wanted = features == allFeatures
		return err
	})
	if err != nil || !wanted {
		return err
	}
	return s.linkRole(ctx, c.Forward(servicePrincipal))
}

func (s *Service) declineHandshake(ctx context.Context, c *call.Call, in *api.DeclineHandshakeInput) (*api.DeclineHandshakeOutput, error) {
	h, err := s.respond(ctx, c, in.HandshakeId, declined, byRecipient, nothing)
	return &api.DeclineHandshakeOutput{Handshake: h}, err
}

func (s *Service) cancelHandshake(ctx context.Context, c *call.Call, in *api.CancelHandshakeInput) (*api.CancelHandshakeOutput, error) {
	h, err := s.respond(ctx, c, in.HandshakeId, canceled, bySender, nothing)
	return &api.CancelHandshakeOutput{Handshake: h}, err
}

func (s *Service) describeHandshake(ctx context.Context, c *call.Call, in *api.DescribeHandshakeInput) (*api.DescribeHandshakeOutput, error) {
	out := &api.DescribeHandshakeOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		h, err := handshakeFor(ctx, tx, c, in.HandshakeId, byBoth)
		if err != nil {
			return err
		}
		out.Handshake, err = h.shape(c.Time)
		return err
	})
	return out, err
}

// handshakes is a page of handshakes, without those that are over for long.
func handshakes(ctx context.Context, tx *state.Tx, now time.Time, p page, filter *api.HandshakeFilter, sql, of string) (out []api.Handshake, next string, err error) {
	out = []api.Handshake{}
	if filter != nil && (filter.ParentHandshakeId != "" || filter.ActionType != "" && filter.ActionType != inviteAction) {
		return out, "", nil // there are none but invitations
	}
	list, err := state.List[handshake](ctx, tx, sql, of, p.after)
	if err != nil {
		return nil, "", err
	}
	list = slices.DeleteFunc(list, func(h handshake) bool { return h.at(now) != open && now.Sub(h.Requested) > handshakeMemory })
	list, next = cut(p, list, func(h handshake) string { return h.ID })
	for _, h := range list {
		shape, err := h.shape(now)
		if err != nil {
			return nil, "", err
		}
		out = append(out, *shape)
	}
	return out, next, nil
}

// listHandshakesForAccount lists what the caller's account was invited to, in
// an organization or not.
func (s *Service) listHandshakesForAccount(ctx context.Context, c *call.Call, in *api.ListHandshakesForAccountInput) (*api.ListHandshakesForAccountOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListHandshakesForAccountOutput{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		out.Handshakes, out.NextToken, err = handshakes(ctx, tx, c.Time, p, in.Filter, handshakesOf, c.Account())
		return err
	})
	return out, err
}

func (s *Service) listHandshakesForOrganization(ctx context.Context, c *call.Call, in *api.ListHandshakesForOrganizationInput) (*api.ListHandshakesForOrganizationOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListHandshakesForOrganizationOutput{}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		var err error
		out.Handshakes, out.NextToken, err = handshakes(ctx, tx, c.Time, p, in.Filter, handshakesBy, o.ID)
		return err
	})
	return out, err
}
