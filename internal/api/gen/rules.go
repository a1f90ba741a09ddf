package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// unchecked are shapes whose constraints sekisho does not keep to: any name
// of a region's form is a region here.
var unchecked = map[string][]string{
	"s3": {"BucketLocationConstraint"},
}

// ownErrors are the services whose models name refusals member by member
// (RepositoryNameRequiredException, InvalidMaxResultsException). What such an
// error speaks about is theirs to check, and not wire's.
var ownErrors = []string{"codecommit", "cloudtrail"}

// stems are the parts of such errors that name members, in lower case: those
// for absent ones, and those for bad values.
type stems struct{ absent, bad []string }

func ownStems(service string, m *model) stems {
	var s stems
	if !slices.Contains(ownErrors, service) {
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		if !m.Shapes[name].Exception {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(name, "Exception"))
		if stem, ok := strings.CutSuffix(name, "required"); ok {
			s.absent = append(s.absent, stem)
		}
		if stem, ok := strings.CutPrefix(name, "invalid"); ok {
			s.bad = append(s.bad, stem)
		}
		for _, end := range []string{"invalid", "sizelimitexceeded"} {
			if stem, ok := strings.CutSuffix(name, end); ok {
				s.bad = append(s.bad, stem)
			}
		}
	}
	return s
}

// required tells whether the service answers for the member's absence.
func (s stems) required(m member) bool { return speaksOf(s.absent, m) }

// value tells whether the service answers for a bad value of the member.
func (s stems) value(m member) bool { return speaksOf(s.bad, m) }

// speaksOf tells whether a stem is the beginning or the end of the name of
// the member or of its shape: Path speaks of filePath, Commit of
// commitSpecifier, RepositoryName of repositoryNames.
func speaksOf(stems []string, m member) bool {
	for _, name := range []string{strings.ToLower(m.Name), strings.ToLower(m.Shape)} {
		for _, stem := range stems {
			if strings.HasPrefix(name, stem) || strings.HasSuffix(name, stem) {
				return true
			}
		}
	}
	return false
}

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
	if s.Type == "structure" || slices.Contains(unchecked[g.service], name) {
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
