package cloudformation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

// exportRow is a row of cloudformation_export.
type exportRow struct {
	Name  string `db:"name"`
	Stack string `db:"stack"`
	Value string `db:"value"`
}

// addImports records what a stack is about to import, so that the exports
// stay while it does.
func (s *Service) addImports(ctx context.Context, tx *state.Tx, st *stack, names []string) error {
	for _, name := range names {
		if _, err := tx.Exec(ctx, `INSERT INTO cloudformation_import (account, region, name, stack) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`, st.Account, st.Region, name, st.ID); err != nil {
			return err
		}
	}
	return nil
}

// setImports records what a stack imports, and nothing else.
func (s *Service) setImports(ctx context.Context, tx *state.Tx, st *stack, names []string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM cloudformation_import WHERE stack = $1`, st.ID); err != nil {
		return err
	}
	return s.addImports(ctx, tx, st, names)
}

// importers returns the names of the stacks that import an export.
func (s *Service) importers(ctx context.Context, tx *state.Tx, account, region, name string) ([]string, error) {
	return state.List[string](ctx, tx, `
		SELECT s.name FROM cloudformation_import i JOIN cloudformation_stack s ON s.id = i.stack
		WHERE i.account = $1 AND i.region = $2 AND i.name = $3 ORDER BY s.name`, account, region, name)
}

// export replaces a stack's exports. It refuses to take another stack's name,
// and to take away or change what is imported.
func (s *Service) export(ctx context.Context, tx *state.Tx, st *stack, outputs []cfn.OutputValue) error {
	held, err := state.List[exportRow](ctx, tx,
		`SELECT name, stack, value FROM cloudformation_export WHERE stack = $1 ORDER BY name`, st.ID)
	if err != nil {
		return err
	}
	for _, e := range held {
		i := slices.IndexFunc(outputs, func(o cfn.OutputValue) bool { return o.Export == e.Name })
		if i >= 0 && outputs[i].Value == e.Value {
			continue
		}
		verb := "updated"
		if i < 0 {
			verb = "deleted"
		}
		if err := s.unused(ctx, tx, st, e.Name, verb); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cloudformation_export WHERE stack = $1`, st.ID); err != nil {
		return err
	}
	for _, o := range outputs {
		if o.Export == "" {
			continue
		}
		if err := s.exportOne(ctx, tx, st, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) exportOne(ctx context.Context, tx *state.Tx, st *stack, o cfn.OutputValue) error {
	other, err := state.Get[string](ctx, tx, `
		SELECT s.name FROM cloudformation_export e JOIN cloudformation_stack s ON s.id = e.stack
		WHERE e.account = $1 AND e.region = $2 AND e.name = $3`, st.Account, st.Region, o.Export)
	if err == nil {
		return validation("Export with name %s is already exported by stack %s. ", o.Export, other)
	}
	if !errors.Is(err, state.ErrNotFound) {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO cloudformation_export (account, region, name, stack, value) VALUES ($1, $2, $3, $4, $5)`,
		st.Account, st.Region, o.Export, st.ID, o.Value)
	return err
}

func (s *Service) unused(ctx context.Context, tx *state.Tx, st *stack, name, verb string) error {
	users, err := s.importers(ctx, tx, st.Account, st.Region, name)
	if err != nil || len(users) == 0 {
		return err
	}
	return validation("Export %s cannot be %s as it is in use by %s", name, verb, strings.Join(users, ", "))
}

// exportsFree refuses while another stack imports something of this one.
func (s *Service) exportsFree(ctx context.Context, tx *state.Tx, st *stack) error {
	names, err := state.List[string](ctx, tx, `SELECT name FROM cloudformation_export WHERE stack = $1 ORDER BY name`, st.ID)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.unused(ctx, tx, st, name, "deleted"); err != nil {
			return err
		}
	}
	return nil
}

// dropExchange ends a stack's exports and imports.
func (s *Service) dropExchange(ctx context.Context, tx *state.Tx, st *stack) error {
	if err := s.exportsFree(ctx, tx, st); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cloudformation_export WHERE stack = $1`, st.ID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM cloudformation_import WHERE stack = $1`, st.ID)
	return err
}
