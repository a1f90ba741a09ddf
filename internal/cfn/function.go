package cfn

import (
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// shapes check the arguments of functions as far as they stand in the
// template.
var shapes = map[string]func(arg *Node) error{
	"Fn::Join": pair("Template error: every Fn::Join object requires two parameters, (1) a string delimiter and " +
		"(2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."),
	"Fn::Split": pair("Template error: every Fn::Split object requires two parameters, (1) a string delimiter and " +
		"(2) a string to be split or a function that returns a string to be split."),
	"Fn::Select": pair("Template error: Fn::Select requires a list argument with two elements: an integer index and a list"),
	"Fn::FindInMap": list(3, 3, "Template error: every Fn::FindInMap object requires three parameters, "+
		"the map name, map key and the attribute for return value"),
	"Fn::Base64":      anything,
	"Fn::GetAZs":      anything,
	"Fn::ImportValue": anything,
	"Fn::Cidr":        list(2, 3, "Template error: every Fn::Cidr object requires two or three parameters, the ipBlock, the count and the cidrBits"),
	"Fn::And":         list(2, 10, "Template error: every Fn::And object requires a list of at least 2 and at most 10 boolean parameters."),
	"Fn::Or":          list(2, 10, "Template error: every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters."),
	"Fn::Not":         list(1, 1, "Template error: every Fn::Not object requires one boolean parameter."),
	"Fn::Equals":      list(2, 2, "Template error: every Fn::Equals object requires a list of 2 string parameters."),
	"Fn::Contains":    list(2, 2, "Template error: every Fn::Contains object requires a list of strings and a string."),
	"Fn::EachMemberEquals": list(2, 2,
		"Template error: every Fn::EachMemberEquals object requires a list of strings and a string."),
	"Fn::EachMemberIn": list(2, 2, "Template error: every Fn::EachMemberIn object requires two lists of strings."),
}

func anything(*Node) error { return nil }

func list(least, most int, text string) func(*Node) error {
	return func(arg *Node) error {
		if arg.Kind != List || len(arg.Items) < least || len(arg.Items) > most {
			return invalid("%s", text)
		}
		return nil
	}
}

func pair(text string) func(*Node) error { return list(2, 2, text) }

// subPart is a piece of Fn::Sub's text: a literal or the name of a variable.
type subPart struct {
	text     string
	variable bool
}

func subParts(arg *Node) (text string, values *Node, err error) {
	switch {
	case arg.Kind == String:
		return arg.Text, nil, nil
	case arg.Kind == List && len(arg.Items) == 2 && arg.Items[0].Kind == String && arg.Items[1].Kind == Map:
		return arg.Items[0].Text, arg.Items[1], nil
	case arg.Kind == List && len(arg.Items) == 1 && arg.Items[0].Kind == String:
		return arg.Items[0].Text, nil, nil
	}
	return "", nil, invalid("Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. " +
		"Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
}

func subVariables(text string) ([]subPart, error) {
	var parts []subPart
	for {
		before, rest, found := strings.Cut(text, "${")
		if before != "" {
			parts = append(parts, subPart{before, false})
		}
		if !found {
			return parts, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return append(parts, subPart{"${" + rest, false}), nil
		}
		text = after
		if strings.HasPrefix(name, "!") {
			parts = append(parts, subPart{"${" + name[1:] + "}", false})
			continue
		}
		if name = strings.TrimSpace(name); !isVariable(name) {
			return nil, invalid("Template error: variable names in Fn::Sub syntax must contain only alphanumeric " +
				"characters, underscores, periods, and colons")
		}
		parts = append(parts, subPart{name, true})
	}
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '.' && c != ':' {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

// maxText bounds what one resolution may build: text, and nodes counted as so
// much text each.
const (
	maxText  = 16 << 20
	nodeText = 64
)

// resolver resolves values of an instance against resources that exist.
type resolver struct {
	in        *Instance
	resources Existing
	built     int
}

// Existing answers for resources that exist.
type Existing interface {
	// Ref returns what Ref of a resource gives: its physical id or the like.
	Ref(id string) (string, bool)
	// Attribute returns an attribute; nil and true mean that a resource that
	// exists lacks it.
	Attribute(id, name string) (*Node, bool)
}

// value resolves n. It returns nil for AWS::NoValue.
func (r *resolver) value(n *Node) (*Node, error) {
	if name, arg, ok := n.call(); ok {
		return r.function(name, arg)
	}
	switch n.Kind {
	case List:
		items, err := r.items(n.Items)
		return &Node{Kind: List, Items: items}, err
	case Map:
		out := &Node{Kind: Map}
		for _, f := range n.Fields {
			v, err := r.value(f.Value)
			if err != nil {
				return nil, err
			}
			if v != nil {
				out.Fields = append(out.Fields, Field{f.Key, v})
			}
		}
		return out, nil
	}
	return n, r.build(len(n.Text))
}

// build counts text, so that functions within functions cannot grow without
// bound.
func (r *resolver) build(n int) error {
	if r.built += n + 1; r.built > maxText {
		return invalid("Template error: the values of a template may not exceed %d bytes", maxText)
	}
	return nil
}

// take counts a value that stands elsewhere and is used here once more.
func (r *resolver) take(n *Node) error {
	if err := r.build(len(n.Text) + nodeText); err != nil {
		return err
	}
	for _, item := range n.Items {
		if err := r.take(item); err != nil {
			return err
		}
	}
	for _, f := range n.Fields {
		if err := r.take(f.Value); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) items(items []*Node) ([]*Node, error) {
	var out []*Node
	for _, item := range items {
		v, err := r.value(item)
		if err != nil {
			return nil, err
		}
		if v != nil {
			out = append(out, v)
		}
	}
	return out, nil
}

func (r *resolver) function(name string, arg *Node) (*Node, error) {
	switch name {
	case "Ref":
		return r.ref(arg.Text)
	case "Fn::GetAtt":
		return r.getAtt(arg)
	case "Fn::Sub":
		return r.sub(arg)
	case "Fn::If":
		return r.branch(arg)
	case "Fn::FindInMap":
		return r.findInMap(arg)
	case "Fn::ImportValue":
		return r.importValue(arg)
	case "Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn":
		return nil, invalid("Template error: %s is only allowed in conditions and rules", name)
	}
	v, err := r.value(arg)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, invalid("Template error: %s does not take AWS::NoValue", name)
	}
	if name == "Fn::Select" {
		return selected(v)
	}
	if v.HasUnknown() {
		return unknown(), nil
	}
	switch name {
	case "Fn::Join":
		return r.join(v)
	case "Fn::Split":
		return r.split(v)
	case "Fn::Base64":
		if !v.IsScalar() {
			return nil, invalid("Template error: every Fn::Base64 object must have a String-typed value.")
		}
		return Text(base64.StdEncoding.EncodeToString([]byte(v.Text))), r.build(2 * len(v.Text))
	case "Fn::GetAZs":
		return r.zones(v)
	case "Fn::Cidr":
		return cidr(v)
	}
	return nil, invalid("Template error: unrecognized intrinsic function %s", name)
}

func (r *resolver) ref(name string) (*Node, error) {
	env := &r.in.Env
	switch name {
	case "AWS::NoValue":
		return nil, nil
	case "AWS::AccountId":
		return Text(env.Account), nil
	case "AWS::Region":
		return Text(env.Region), nil
	case "AWS::Partition":
		return Text("aws"), nil
	case "AWS::URLSuffix":
		return Text("amazonaws.com"), nil
	case "AWS::StackId":
		return Text(env.StackID), nil
	case "AWS::StackName":
		return Text(env.StackName), nil
	case "AWS::NotificationARNs":
		return Texts(env.NotificationARNs...), nil
	}
	if p := r.in.parameters[name]; p != nil {
		v := p.node(env.Parameters[name])
		return v, r.take(v)
	}
	if err := r.in.mustExist(name); err != nil {
		return nil, err
	}
	if r.resources != nil {
		if id, ok := r.resources.Ref(name); ok {
			return Text(id), r.build(len(id))
		}
	}
	return unknown(), nil
}

func (r *resolver) getAtt(arg *Node) (*Node, error) {
	id, attribute, err := getAttParts(arg)
	if err != nil {
		return nil, err
	}
	if attribute, err = r.value(attribute); err != nil {
		return nil, err
	}
	return r.attribute(id, attribute.String())
}

func (r *resolver) attribute(id, name string) (*Node, error) {
	if err := r.in.mustExist(id); err != nil {
		return nil, err
	}
	if r.resources == nil {
		return unknown(), nil
	}
	v, ok := r.resources.Attribute(id, name)
	if !ok {
		return unknown(), nil
	}
	if v == nil {
		return nil, invalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt", id, name)
	}
	return v, r.build(len(v.Text))
}

func (r *resolver) sub(arg *Node) (*Node, error) {
	text, values, err := subParts(arg)
	if err != nil {
		return nil, err
	}
	parts, err := subVariables(text)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, p := range parts {
		if !p.variable {
			b.WriteString(p.text)
			continue
		}
		v, err := r.variable(p.text, values)
		if err != nil {
			return nil, err
		}
		if v != nil && v.Kind == Unknown {
			return unknown(), nil
		}
		if !v.IsScalar() {
			return nil, invalid("Template error: Fn::Sub expression does not resolve to a string")
		}
		if err := r.build(len(v.Text)); err != nil {
			return nil, err
		}
		b.WriteString(v.Text)
	}
	return Text(b.String()), r.build(b.Len())
}

func (r *resolver) variable(name string, values *Node) (*Node, error) {
	if v := values.Get(name); v != nil {
		return r.value(v)
	}
	if id, attribute, ok := strings.Cut(name, "."); ok {
		return r.attribute(id, attribute)
	}
	v, err := r.ref(name)
	if err == nil && v != nil && v.Kind == List {
		return nil, invalid("Template error: variable %s in Fn::Sub expression does not resolve to a string", name)
	}
	return v, err
}

func (r *resolver) branch(arg *Node) (*Node, error) {
	holds, err := r.in.condition(arg.Items[0].Text)
	if err != nil {
		return nil, err
	}
	return r.value(arg.Items[branchIndex(holds)])
}

func (r *resolver) findInMap(arg *Node) (*Node, error) {
	keys, err := r.items(arg.Items)
	if err != nil {
		return nil, err
	}
	if err := shapes["Fn::FindInMap"](&Node{Kind: List, Items: keys}); err != nil {
		return nil, err
	}
	n := r.in.mappings
	for i, k := range keys {
		if k.Kind == Unknown {
			return nil, invalid("Template error: Fn::FindInMap must not depend on resources")
		}
		n = n.Get(k.Text)
		if n == nil && i == 0 {
			return nil, invalid("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", k.Text)
		}
	}
	if n == nil {
		return nil, invalid("Template error: Unable to get mapping for %s::%s::%s", keys[0].Text, keys[1].Text, keys[2].Text)
	}
	return n, r.take(n)
}

func (r *resolver) importValue(arg *Node) (*Node, error) {
	name, err := r.value(arg)
	if err != nil {
		return nil, err
	}
	if !name.IsScalar() {
		return nil, invalid("Template error: the attribute in Fn::ImportValue must not depend on any resources, " +
			"imported values, or Fn::GetAZs")
	}
	r.in.imports[name.Text] = true
	if r.in.Env.Import == nil {
		return unknown(), nil
	}
	v, ok, err := r.in.Env.Import(name.Text)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalid("No export named %s found.", name.Text)
	}
	return Text(v), r.build(len(v))
}

func (r *resolver) join(v *Node) (*Node, error) {
	if v.Kind != List || len(v.Items) != 2 || !v.Items[0].IsScalar() || v.Items[1].Kind != List {
		return nil, shapes["Fn::Join"](Text(""))
	}
	parts := make([]string, 0, len(v.Items[1].Items))
	size := 0
	for _, item := range v.Items[1].Items {
		if !item.IsScalar() {
			return nil, shapes["Fn::Join"](Text(""))
		}
		parts = append(parts, item.Text)
		size += len(item.Text) + len(v.Items[0].Text)
	}
	if err := r.build(size); err != nil {
		return nil, err
	}
	return Text(strings.Join(parts, v.Items[0].Text)), nil
}

func (r *resolver) split(v *Node) (*Node, error) {
	if v.Kind != List || len(v.Items) != 2 || !v.Items[0].IsScalar() || !v.Items[1].IsScalar() || v.Items[0].Text == "" {
		return nil, shapes["Fn::Split"](Text(""))
	}
	text, delimiter := v.Items[1].Text, v.Items[0].Text
	if err := r.build(len(text) + nodeText*strings.Count(text, delimiter)); err != nil {
		return nil, err
	}
	return Texts(strings.Split(text, delimiter)...), nil
}

func selected(v *Node) (*Node, error) {
	if v.Kind != List || len(v.Items) != 2 {
		return nil, shapes["Fn::Select"](Text(""))
	}
	if v.Items[0].Kind == Unknown || v.Items[1].Kind == Unknown {
		return unknown(), nil
	}
	index, ok := wholeNumber(v.Items[0])
	if !ok || v.Items[1].Kind != List {
		return nil, shapes["Fn::Select"](Text(""))
	}
	if index < 0 || index >= len(v.Items[1].Items) {
		return nil, invalid("Template error: Fn::Select  cannot select nonexistent value at index %d", index)
	}
	return v.Items[1].Items[index], nil
}

// zones returns the availability zones of a region; every region of sekisho
// has three.
func (r *resolver) zones(v *Node) (*Node, error) {
	if !v.IsScalar() {
		return nil, invalid("Template error: Fn::GetAZs requires the name of a region")
	}
	region := v.String()
	if region == "" {
		region = r.in.Env.Region
	}
	return Texts(region+"a", region+"b", region+"c"), nil
}

func cidr(v *Node) (*Node, error) {
	bad := func() (*Node, error) {
		return nil, invalid("Template error: Fn::Cidr requires an address block, a count from 1 to 256 and the number of subnet bits")
	}
	if v.Kind != List || len(v.Items) < 2 || len(v.Items) > 3 {
		return bad()
	}
	block, err := netip.ParsePrefix(v.Items[0].String())
	count, ok := wholeNumber(v.Items[1])
	if err != nil || !ok || count < 1 || count > 256 {
		return bad()
	}
	width := block.Addr().BitLen()
	bits := 8
	if width == 128 {
		bits = 64
	}
	if len(v.Items) == 3 {
		if bits, ok = wholeNumber(v.Items[2]); !ok {
			return bad()
		}
	}
	length := width - bits
	if bits < 1 || length < block.Bits() || length > width || length-block.Bits() < 31 && count > 1<<(length-block.Bits()) {
		return bad()
	}
	out := &Node{Kind: List}
	for i := range count {
		out.Items = append(out.Items, Text(netip.PrefixFrom(offset(block.Masked().Addr(), uint64(i), bits), length).String()))
	}
	return out, nil
}

// offset adds n blocks of 2^bits addresses to a.
func offset(a netip.Addr, n uint64, bits int) netip.Addr {
	b := a.As16()
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if bits >= 64 {
		high += n << (bits - 64)
	} else {
		before := low
		low += n << bits
		if low < before {
			high++
		}
		if bits > 0 {
			high += n >> (64 - bits)
		}
	}
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	out := netip.AddrFrom16(b)
	if a.Is4() {
		return out.Unmap()
	}
	return out
}

// compareText returns how a scalar compares in conditions; lists compare as JSON.
func compareText(n *Node) string {
	if n.IsScalar() {
		return n.Text
	}
	return string(n.Canonical())
}

func contains(list *Node, text string) bool {
	return list != nil && slices.ContainsFunc(list.Items, func(n *Node) bool { return compareText(n) == text })
}
