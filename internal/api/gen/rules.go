package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// collectRules notes the constrained shapes that an input can reach.
func (g *generator) collectRules(name string, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	if g.hasRule(name) {
		g.rules[name] = true
	}
	s := g.Shapes[name]
	for _, m := range s.Members {
		g.collectRules(m.Shape, seen)
	}
	for _, r := range []*ref{s.Member, s.Key, s.Value} {
		if r != nil {
			g.collectRules(r.Shape, seen)
		}
	}
}

// hasRule tells whether a shape, or a part of it that is no structure, is
// constrained.
func (g *generator) hasRule(name string) bool {
	s := g.Shapes[name]
	if s.Type == "structure" {
		return false
	}
	if s.Min != nil || s.Max != nil || s.Pattern != "" || len(s.Enum) > 0 {
		return true
	}
	for _, r := range []*ref{s.Member, s.Key, s.Value} {
		if r != nil && g.hasRule(r.Shape) {
			return true
		}
	}
	return false
}

func (g *generator) ruleTable(b *bytes.Buffer) error {
	b.WriteString("Rules: map[string]wire.Rule{\n")
	for _, name := range slices.Sorted(maps.Keys(g.rules)) {
		s := g.Shapes[name]
		fmt.Fprintf(b, "%q: {", name)
		if s.Min != nil {
			fmt.Fprintf(b, "Min: new(%s.0), ", strconv.FormatFloat(*s.Min, 'f', -1, 64))
		}
		if s.Max != nil {
			fmt.Fprintf(b, "Max: new(%s.0), ", strconv.FormatFloat(*s.Max, 'f', -1, 64))
		}
		if s.Pattern != "" {
			fmt.Fprintf(b, "Pattern: %q, ", s.Pattern)
			if re := re2(s.Pattern); re != s.Pattern {
				fmt.Fprintf(b, "RE2: %q, ", re)
			}
		}
		if len(s.Enum) > 0 {
			fmt.Fprintf(b, "Enum: %s, ", quoted(s.Enum))
		}
		g.partRule(b, "Elem", s.Member)
		g.partRule(b, "Elem", s.Value)
		g.partRule(b, "Key", s.Key)
		b.WriteString("},\n")
	}
	b.WriteString("},\n")
	return nil
}

func (g *generator) partRule(b *bytes.Buffer, field string, r *ref) {
	if r != nil && g.hasRule(r.Shape) {
		fmt.Fprintf(b, "%s: %q, ", field, r.Shape)
	}
}
