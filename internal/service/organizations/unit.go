package organizations

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	maxUnits = 1000
	maxDepth = 5 // of units below the root
)

func (s *Service) createUnit(ctx context.Context, c *call.Call, in *api.CreateOrganizationalUnitInput) (*api.CreateOrganizationalUnitOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := checkTexts(in.Name); err != nil {
		return nil, err
	}
	out := &api.CreateOrganizationalUnitOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		parent, err := o.parent(ctx, tx, in.ParentId, errNoParent)
		if err != nil {
			return err
		}
		way, err := o.way(ctx, tx, parent)
		if err != nil {
			return err
		}
		if len(way) > maxDepth {
			return constraint("OU_DEPTH_LIMIT_EXCEEDED", "You have exceeded the allowed depth of the OU tree.")
		}
		count, err := state.Get[int64](ctx, tx, countKind, o.ID, unitKind)
		if err != nil {
			return err
		}
		if count >= maxUnits {
			return constraint("OU_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of OUs.")
		}
		n := node{ID: newID("ou-"+o.Root[len("r-"):]+"-", 8), Parent: parent.ID, Kind: unitKind, Name: in.Name, Created: c.Time}
		if taken, err := o.named(ctx, tx, n); taken || err != nil {
			return orElse(err, errDuplicateUnit)
		}
		if err := o.insert(ctx, tx, n); err != nil {
			return err
		}
		out.OrganizationalUnit = o.unit(append(way, n))
		return o.putTags(ctx, tx, n.ID, in.Tags)
	})
	return out, err
}

// named reports whether a unit's parent has another unit of its name.
func (o organization) named(ctx context.Context, tx *state.Tx, n node) (bool, error) {
	count, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_node
		WHERE parent = $1 AND kind = 'ORGANIZATIONAL_UNIT' AND name = $2 AND id <> $3`, n.Parent, n.Name, n.ID)
	return count > 0, err
}

// unit is a unit as answers show it, by the way to it.
func (o organization) unit(way []node) *api.OrganizationalUnit {
	n := way[len(way)-1]
	return &api.OrganizationalUnit{Id: n.ID, Arn: o.arn(n.ID), Name: n.Name, Path: o.path(way)}
}

// unitOf is a unit as answers show it.
func (o organization) unitOf(ctx context.Context, tx *state.Tx, n node) (*api.OrganizationalUnit, error) {
	way, err := o.way(ctx, tx, n)
	if err != nil {
		return nil, err
	}
	return o.unit(way), nil
}

func (s *Service) describeUnit(ctx context.Context, c *call.Call, in *api.DescribeOrganizationalUnitInput) (*api.DescribeOrganizationalUnitOutput, error) {
	out := &api.DescribeOrganizationalUnitOutput{}
	err := s.look(ctx, c, func(tx *state.Tx, o organization) error {
		n, err := o.ofKind(ctx, tx, unitKind, in.OrganizationalUnitId, errNoUnit)
		if err != nil {
			return err
		}
		out.OrganizationalUnit, err = o.unitOf(ctx, tx, n)
		return err
	})
	return out, err
}

func (s *Service) updateUnit(ctx context.Context, c *call.Call, in *api.UpdateOrganizationalUnitInput) (*api.UpdateOrganizationalUnitOutput, error) {
	if err := checkTexts(in.Name); err != nil {
		return nil, err
	}
	out := &api.UpdateOrganizationalUnitOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		n, err := o.ofKind(ctx, tx, unitKind, in.OrganizationalUnitId, errNoUnit)
		if err != nil {
			return err
		}
		if in.Name != "" {
			n.Name = in.Name
		}
		if taken, err := o.named(ctx, tx, n); taken || err != nil {
			return orElse(err, errDuplicateUnit)
		}
		if _, err := tx.Exec(ctx, `UPDATE organizations_node SET name = $2 WHERE id = $1`, n.ID, n.Name); err != nil {
			return err
		}
		out.OrganizationalUnit, err = o.unitOf(ctx, tx, n)
		return err
	})
	return out, err
}

func (s *Service) deleteUnit(ctx context.Context, c *call.Call, in *api.DeleteOrganizationalUnitInput) (*api.DeleteOrganizationalUnitOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		n, err := o.ofKind(ctx, tx, unitKind, in.OrganizationalUnitId, errNoUnit)
		if err != nil {
			return err
		}
		children, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_node WHERE org = $1 AND parent = $2`, o.ID, n.ID)
		if err != nil {
			return err
		}
		if children > 0 {
			return errUnitNotEmpty
		}
		return o.remove(ctx, tx, n.ID)
	})
}

// children lists the nodes of a kind right below a parent.
func (s *Service) children(ctx context.Context, c *call.Call, parent, kind, token string, limit *int64, each func(tx *state.Tx, o organization, n node) error) (next string, err error) {
	p, err := pageOf(token, limit)
	if err != nil {
		return "", err
	}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		if _, err := o.parent(ctx, tx, parent, errNoParent); err != nil {
			return err
		}
		list, err := state.List[node](ctx, tx, listChildren, o.ID, parent, kind, p.after, p.limit+1)
		if err != nil {
			return err
		}
		list, next = cut(p, list, func(n node) string { return n.ID })
		for _, n := range list {
			if err := each(tx, o, n); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

func (s *Service) listUnits(ctx context.Context, c *call.Call, in *api.ListOrganizationalUnitsForParentInput) (*api.ListOrganizationalUnitsForParentOutput, error) {
	out := &api.ListOrganizationalUnitsForParentOutput{OrganizationalUnits: []api.OrganizationalUnit{}}
	var err error
	out.NextToken, err = s.children(ctx, c, in.ParentId, unitKind, in.NextToken, in.MaxResults, func(tx *state.Tx, o organization, n node) error {
		u, err := o.unitOf(ctx, tx, n)
		if err == nil {
			out.OrganizationalUnits = append(out.OrganizationalUnits, *u)
		}
		return err
	})
	return out, err
}

func (s *Service) listChildren(ctx context.Context, c *call.Call, in *api.ListChildrenInput) (*api.ListChildrenOutput, error) {
	out := &api.ListChildrenOutput{Children: []api.Child{}}
	var err error
	out.NextToken, err = s.children(ctx, c, in.ParentId, in.ChildType, in.NextToken, in.MaxResults, func(_ *state.Tx, _ organization, n node) error {
		out.Children = append(out.Children, api.Child{Id: n.ID, Type: n.Kind})
		return nil
	})
	return out, err
}

// listParents lists the one parent that a unit or account has.
func (s *Service) listParents(ctx context.Context, c *call.Call, in *api.ListParentsInput) (*api.ListParentsOutput, error) {
	if _, err := pageOf(in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	out := &api.ListParentsOutput{}
	err := s.look(ctx, c, func(tx *state.Tx, o organization) error {
		n, err := o.find(ctx, tx, in.ChildId, errNoChild)
		if err != nil {
			return err
		}
		p, err := o.find(ctx, tx, n.Parent, errNoChild)
		out.Parents = []api.Parent{{Id: p.ID, Type: p.Kind}}
		return err
	})
	return out, err
}
