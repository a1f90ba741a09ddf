package main

import (
	"fmt"
	"slices"
	"strings"
)

// always are response members that AWS sends also when they are empty,
// besides required ones: "Structure.member" by service.
var always = map[string][]string{
	"kms": {"KeyMetadata.Description"},
	"codecommit": {
		"Commit.additionalData", "Commit.message", "UserInfo.email", "UserInfo.name",
	},
	"s3": {
		"ListObjectsOutput.Prefix", "ListObjectsOutput.Marker",
		"ListObjectsV2Output.Prefix",
		"ListObjectVersionsOutput.Prefix", "ListObjectVersionsOutput.KeyMarker", "ListObjectVersionsOutput.VersionIdMarker",
		"ListMultipartUploadsOutput.KeyMarker", "ListMultipartUploadsOutput.UploadIdMarker",
	},
}

// secret are members that can hold secrets although the model does not call
// them sensitive.
var secret = map[string][]string{
	"cloudformation": {"Parameter.ParameterValue", "Parameter.ResolvedValue"},
}

// locations are the tag options of the places a member can have outside the
// body.
var locations = map[string]string{
	"header": "header", "headers": "prefix", "uri": "uri", "querystring": "query", "statusCode": "status",
}

// tag is the text of a member's struct tag: its name on the wire, then
// options, which package wire documents at its struct plans.
func (g *generator) tag(shapeName string, in *shape, m member) (string, error) {
	s := g.Shapes[m.Shape]
	t := tag{g.wireName(m, s)}
	rest := g.Metadata.Protocol == "rest-xml"
	if rest && m.Location != "" {
		option, ok := locations[m.Location]
		if !ok {
			return "", fmt.Errorf("location %q", m.Location)
		}
		t.add(option)
	}
	t.addIf(slices.Contains(in.Required, m.Name), "required")
	t.addIf(slices.Contains(always[g.service], shapeName+"."+m.Name), "always")
	t.addIf(g.sensitive(m.Shape) || slices.Contains(secret[g.service], shapeName+"."+m.Name), "sensitive")
	t.addIf(in.Payload == m.Name, "payload")
	t.addIf(s.Streaming || m.Streaming || s.EventStream, "stream")
	t.addIf(s.EventStream, "eventstream")
	t.addIf(m.IdempotencyToken, "token")
	t.addIf(m.JSONValue, "json")
	t.addIf(m.HostLabel, "host")
	t.addIf(m.XMLAttribute, "attr")
	g.addNamespace(&t, m.XMLNamespace, s.XMLNamespace)
	g.addTime(&t, m.ref, s)
	if err := g.addCollection(&t, m.ref, s); err != nil {
		return "", err
	}
	if t[0] != m.Name {
		t.add("member=" + m.Name)
	}
	t.addIf(slices.Contains(in.Required, m.Name) && g.own.required(m), "own-required")
	if g.hasRule(m.Shape) {
		if g.own.value(m) {
			t.add("own-value")
		} else {
			t.add("rule=" + m.Shape)
		}
	}
	return strings.Join(t, ","), nil
}

type tag []string

func (t *tag) add(option string) { *t = append(*t, option) }

func (t *tag) addIf(cond bool, option string) {
	if cond {
		t.add(option)
	}
}

// wireName is the member's name on the wire. That of a payload is the root
// element's; a flattened list is named by its elements.
func (g *generator) wireName(m member, s *shape) string {
	flat := m.Flattened || s.Flattened
	switch {
	case g.Metadata.Protocol == "json":
		return m.Name
	case m.LocationName != "":
		return m.LocationName
	case flat && s.Type == "list" && s.Member.LocationName != "":
		return s.Member.LocationName
	case s.Type == "structure" && s.LocationName != "":
		return s.LocationName
	}
	return m.Name
}

func (g *generator) sensitive(name string) bool {
	s := g.Shapes[name]
	switch {
	case s.Sensitive:
		return true
	case s.Type == "list":
		return g.sensitive(s.Member.Shape)
	case s.Type == "map":
		return g.sensitive(s.Value.Shape) || g.sensitive(s.Key.Shape)
	}
	return false
}

func (g *generator) addNamespace(t *tag, candidates ...*xmlNamespace) {
	for _, n := range candidates {
		if n == nil || g.Metadata.Protocol == "json" {
			continue
		}
		t.add("ns=" + n.URI)
		t.addIf(n.Prefix != "", "nsprefix="+n.Prefix)
		return
	}
}

// addTime says how a timestamp is written where that is not the protocol's
// way at this place.
func (g *generator) addTime(t *tag, r ref, s *shape) {
	if s.Type != "timestamp" {
		return
	}
	switch {
	case r.TimestampFormat != "":
		t.add("time=" + r.TimestampFormat)
	case s.TimestampFormat != "":
		t.add("time=" + s.TimestampFormat)
	}
}

// addCollection names the parts of a list or map where that is not the
// protocol's way. Collections within collections keep to it in all models.
func (g *generator) addCollection(t *tag, r ref, s *shape) error {
	if g.Metadata.Protocol == "json" {
		return nil
	}
	switch s.Type {
	case "list":
		flat := r.Flattened || s.Flattened
		t.addIf(flat, "flattened")
		t.addIf(!flat && s.Member.LocationName != "", "item="+s.Member.LocationName)
		return g.plain(s.Member.Shape)
	case "map":
		t.addIf(r.Flattened || s.Flattened, "flattened")
		t.addIf(s.Key.LocationName != "", "key="+s.Key.LocationName)
		t.addIf(s.Value.LocationName != "", "value="+s.Value.LocationName)
		return g.plain(s.Value.Shape)
	}
	return nil
}

// plain refuses what a collection within a collection cannot express.
func (g *generator) plain(name string) error {
	s := g.Shapes[name]
	switch {
	case s.Type == "timestamp" && s.TimestampFormat != "":
		return fmt.Errorf("elements of shape %s have a timestamp format of their own", name)
	case s.Type == "list" && (s.Flattened || s.Member.LocationName != ""):
		return fmt.Errorf("nested list %s has names of its own", name)
	case s.Type == "map" && (s.Flattened || s.Key.LocationName != "" || s.Value.LocationName != ""):
		return fmt.Errorf("nested map %s has names of its own", name)
	}
	return nil
}
