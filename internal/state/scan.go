package state

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Get returns the first row of a query, or ErrNotFound. T is a struct whose
// fields carry `db:"column"` tags, or a scalar for queries of one column.
func Get[T any](ctx context.Context, tx *Tx, sql string, args ...any) (T, error) {
	var one T
	found := false
	err := each(ctx, tx, sql, args, func(p *plan, r rows) (bool, error) {
		found = true
		return false, p.scan(r, reflect.ValueOf(&one).Elem())
	}, reflect.TypeFor[T]())
	if err == nil && !found {
		err = ErrNotFound
	}
	return one, err
}

// List returns all rows of a query; T is as for Get. Without rows the list is
// empty and not nil.
func List[T any](ctx context.Context, tx *Tx, sql string, args ...any) ([]T, error) {
	list := []T{}
	err := each(ctx, tx, sql, args, func(p *plan, r rows) (bool, error) {
		var one T
		if err := p.scan(r, reflect.ValueOf(&one).Elem()); err != nil {
			return false, err
		}
		list = append(list, one)
		return true, nil
	}, reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return list, nil
}

// each runs a query and calls row for its rows while that returns true.
func each(ctx context.Context, tx *Tx, sql string, args []any, row func(*plan, rows) (bool, error), t reflect.Type) (err error) {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tx.failed = err
		}
	}()
	r, err := tx.conn.query(ctx, sql, portable(args))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := r.close(); err == nil {
			err = closeErr
		}
	}()
	p, err := planFor(sql, t, r)
	if err != nil {
		return err
	}
	for r.Next() {
		more, err := row(p, r)
		if err != nil || !more {
			return err
		}
	}
	return r.Err()
}

// plan says where the columns of a query go in a type.
type plan struct {
	whole  bool    // the type is one column
	fields [][]int // per column
	pool   sync.Pool
}

type planKey struct {
	sql string
	t   reflect.Type
}

var plans sync.Map // planKey to *plan; grows with the texts of queries, which are constants

func planFor(sql string, t reflect.Type, r rows) (*plan, error) {
	key := planKey{sql, t}
	if p, ok := plans.Load(key); ok {
		return p.(*plan), nil
	}
	columns, err := r.columns()
	if err != nil {
		return nil, err
	}
	p := &plan{}
	if t.Kind() != reflect.Struct || t == timeType {
		if len(columns) != 1 {
			return nil, fmt.Errorf("%d columns for one %s", len(columns), t)
		}
		p.whole = true
	} else {
		tagged := map[string][]int{}
		for _, f := range reflect.VisibleFields(t) {
			if name := f.Tag.Get("db"); name != "" {
				tagged[name] = f.Index
			}
		}
		for _, c := range columns {
			index, ok := tagged[c]
			if !ok {
				return nil, fmt.Errorf("%s has no field for column %s", t, c)
			}
			p.fields = append(p.fields, index)
		}
	}
	p.pool.New = func() any { s := make([]any, len(columns)); return &s }
	plans.Store(key, p)
	return p, nil
}

var (
	timeType = reflect.TypeFor[time.Time]()
	boolType = reflect.TypeFor[bool]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

func (p *plan) scan(r rows, v reflect.Value) error {
	destp := p.pool.Get().(*[]any)
	defer p.pool.Put(destp)
	dest := *destp
	defer clear(dest)
	var convert []func()
	add := func(i int, f reflect.Value) {
		switch f.Type() {
		case timeType:
			ms := new(int64)
			dest[i] = ms
			convert = append(convert, func() { f.Set(reflect.ValueOf(Time(*ms))) })
		case boolType:
			n := new(int64)
			dest[i] = n
			convert = append(convert, func() { f.SetBool(*n != 0) })
		case rawType:
			b := new([]byte)
			dest[i] = b
			convert = append(convert, func() { f.SetBytes(*b) })
		default:
			dest[i] = f.Addr().Interface()
		}
	}
	if p.whole {
		add(0, v)
	}
	for i, index := range p.fields {
		add(i, v.FieldByIndex(index))
	}
	if err := r.Scan(dest...); err != nil {
		return err
	}
	for _, c := range convert {
		c()
	}
	return nil
}
