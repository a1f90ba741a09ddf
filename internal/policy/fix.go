package policy

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Fixes returns the smallest changes that together turn a refusal into an
// Allow: statements to add and where, or Denies to narrow. Each is tried by
// evaluating again with it applied; nil means that none was found, or that d
// is no refusal. Where a policy that cannot be changed stands in the way, that
// is the one answer.
func Fixes(set *Set, r *Request, d Decision) []Fix {
	if set == nil {
		set = nobody
	}
	if s := r.Policy; s != nil && s.Fixed && slices.Contains(d.Silent, s.Kind) {
		return []Fix{{Kind: s.Kind, Name: s.Name, On: s.On, Fixed: true}}
	}
	w := workbench{set: *set, r: *r}
	var fixes []Fix
	for range maxFixes {
		if d.Effect == Allow {
			return fixes
		}
		step := w.step(d)
		if len(step) == 0 {
			return nil
		}
		fixes = append(fixes, step...)
		d = Evaluate(&w.set, &w.r)
	}
	return nil
}

// maxFixes bounds the rounds: a removed Deny may uncover what it hid, and
// there are fewer kinds of policy than this.
const maxFixes = 8

// workbench holds copies of the policies to which fixes are applied.
type workbench struct {
	set Set
	r   Request
}

// step applies a fix for each part of a refusal.
func (w *workbench) step(d Decision) []Fix {
	var out []Fix
	if d.Effect == ExplicitDeny {
		// From the last statement on, so that indexes stay true.
		for _, m := range slices.Backward(d.Because) {
			if !w.remove(m) {
				return nil
			}
			out = append(out, Fix{Kind: m.Kind, Name: m.Name, On: m.On, Remove: &m})
		}
		slices.Reverse(out)
		return out
	}
	for _, kind := range w.toAdd(d.Silent) {
		f, ok := w.add(kind)
		if !ok {
			return nil
		}
		out = append(out, f)
	}
	return out
}

// toAdd leaves out what need not speak: in the caller's own account an
// identity policy is enough, and the resource's policy may stay silent.
func (w *workbench) toAdd(silent []Kind) []Kind {
	p := &w.r.Principal
	home := w.r.Owner == "" || w.r.Owner == p.Account
	if p.Account == "" || !home {
		return silent
	}
	return slices.DeleteFunc(slices.Clone(silent), func(k Kind) bool {
		return k == Resource && slices.Contains(silent, Identity)
	})
}

// draft is a statement as it is shown.
type draft struct {
	Effect    string
	Principal map[string]string              `json:",omitempty"`
	Action    actions                        `json:",omitempty"`
	Resource  string                         `json:",omitempty"`
	Condition map[string]map[string][]string `json:",omitempty"`
}

// add puts the smallest Allow into a policy of a kind.
func (w *workbench) add(kind Kind) (Fix, bool) {
	s := draft{Effect: "Allow", Action: actions{w.r.Action}, Resource: escapeWildcards(w.r.Resource)}
	f := Fix{Kind: kind}
	switch kind {
	case Resource, Trust, Key, RCP:
		s.Principal = w.principal(kind)
		if s.Principal == nil {
			return Fix{}, false
		}
	}
	switch kind {
	case Trust:
		s.Resource = ""
	case Key:
		s.Resource = "*"
	}
	s.Condition = w.narrowing(kind)
	if doc := s.document(kind); doc != nil {
		before := *w
		if w.attach(kind, doc, &f) && !w.stillSilent(kind) {
			return w.finish(f, doc), true
		}
		*w = before
	}
	s.Condition = nil
	doc := s.document(kind)
	if doc == nil || !w.attach(kind, doc, &f) || w.stillSilent(kind) {
		return Fix{}, false
	}
	return w.finish(f, doc), true
}

func (w *workbench) finish(f Fix, doc *Document) Fix {
	f.Statement = doc.Statement(0)
	return f
}

func (w *workbench) stillSilent(kind Kind) bool {
	d := Evaluate(&w.set, &w.r)
	return d.Effect == ExplicitDeny || slices.Contains(d.Silent, kind)
}

// document parses the draft as a document of its own, which proves that AWS
// would take it.
func (s *draft) document(kind Kind) *Document {
	doc, err := Parse(`{"Version":"2012-10-17","Statement":[`+string(s.text())+"]}", kind)
	if err != nil {
		return nil
	}
	return doc
}

// escapeWildcards keeps a resource's own wildcards from matching more, as an
// object's key may hold them.
func escapeWildcards(resource string) string {
	if resource == "*" {
		return resource
	}
	return Escape(resource)
}

// principal names the caller for a resource's policy: the service, the user
// or role, or another account as a whole where the policy names that account
// so already.
func (w *workbench) principal(kind Kind) map[string]string {
	p := &w.r.Principal
	switch {
	case kind == RCP, p.Kind == aws.Anonymous:
		return map[string]string{"AWS": "*"}
	case p.Kind == aws.Service:
		return map[string]string{"Service": p.ARN}
	}
	home := w.r.Owner == "" || w.r.Owner == p.Account
	if s := w.r.Policy; !home && s != nil && s.Doc != nil {
		root := aws.RootPrincipal(p.Account).ARN
		if slices.Contains(s.Doc.principals, root) {
			return map[string]string{"AWS": root}
		}
	}
	return map[string]string{"AWS": callerARN(p)}
}

// narrowing returns conditions as narrow as the request, on the keys for
// which a statement that is about this request failed: who wrote it meant to
// tell values of these keys apart. For iam:PassRole the service is such a
// key, and for a service the account it acts for: it acts for any.
func (w *workbench) narrowing(kind Kind) map[string]map[string][]string {
	keys := w.failedKeys(kind)
	if kind == Identity && strings.EqualFold(w.r.Action, "iam:PassRole") {
		keys = append(keys, "iam:passedtoservice")
	}
	if w.r.Principal.Kind == aws.Service && !slices.Contains(keys, "aws:sourceaccount") {
		keys = append(keys, "aws:sourceaccount")
	}
	var s draft
	for _, key := range keys {
		values, ok := w.context().Lookup(key)
		if !ok || len(values) == 0 || slices.Contains(fleeting, key) {
			continue
		}
		op := "StringEquals"
		if len(values) > 1 {
			op = "ForAllValues:StringEquals"
		}
		escaped := make([]string, len(values))
		for i, v := range values {
			escaped[i] = strings.ReplaceAll(v, "${", "${$}{")
		}
		s.condition(op, spelling(key), escaped)
	}
	return s.Condition
}

// fleeting are keys whose values pass with the call: a statement that asked
// for them would not allow the next call.
var fleeting = []string{"aws:currenttime", "aws:epochtime", "aws:tokenissuetime", "aws:userid", "sts:rolesessionname", "s3:versionid"}

func (w *workbench) context() Context {
	if w.r.Context == nil {
		return Keys(nil)
	}
	return w.r.Context
}

// failedKeys lists the keys whose conditions kept Allows of a kind from
// applying.
func (w *workbench) failedKeys(kind Kind) []string {
	j := judge{r: &w.r, ctx: w.context()}
	var keys []string
	for _, s := range w.sources(kind) {
		if s.Doc == nil {
			continue
		}
		for i := range s.Doc.statements {
			st := &s.Doc.statements[i]
			if st.effect != Allow || !j.concerns(st) || s.Doc.kind != Identity && st.principals != nil && j.principalOf(st) == notNamed {
				continue
			}
			for k := range st.conditions {
				c := &st.conditions[k]
				if !c.holds(&j) && !slices.Contains(keys, c.key) {
					keys = append(keys, c.key)
				}
			}
		}
	}
	return keys
}

// sources are the policies of a kind that speak for the request.
func (w *workbench) sources(kind Kind) []Source {
	switch kind {
	case Identity:
		return w.set.Identity
	case Boundary:
		return w.set.Boundary
	case Session:
		return w.set.Session
	case Resource, Trust, Key:
		if w.r.Policy != nil {
			return []Source{*w.r.Policy}
		}
	}
	return nil
}

// attach puts a document beside the ones of its kind, and says in f where it
// goes.
func (w *workbench) attach(kind Kind, doc *Document, f *Fix) bool {
	caller := callerARN(&w.r.Principal)
	fresh := Source{Kind: kind, On: caller, Doc: doc}
	place := func(list []Source) []Source {
		f.On = caller
		if len(list) == 1 && kind != Identity {
			f.Name = list[0].Name
		}
		if len(list) > 0 && list[0].On != "" && kind != Identity {
			f.On = list[0].On
		}
		return append(slices.Clone(list), fresh)
	}
	switch kind {
	case Identity:
		w.set.Identity = place(w.set.Identity)
	case Boundary:
		w.set.Boundary = place(w.set.Boundary)
	case Session:
		w.set.Session = place(w.set.Session)
	case SCP:
		w.set.SCPs = widen(w.set.SCPs, fresh)
		f.On = w.r.Principal.Account
	case RCP:
		w.r.RCPs = widen(w.r.RCPs, fresh)
		f.On = w.r.Owner
	default:
		w.r.Policy = w.extended(kind, doc, f)
	}
	return true
}

func widen(levels [][]Source, fresh Source) [][]Source {
	out := make([][]Source, len(levels))
	for i, level := range levels {
		out[i] = append(slices.Clone(level), fresh)
	}
	return out
}

// extended is the resource's policy with one more statement.
func (w *workbench) extended(kind Kind, doc *Document, f *Fix) *Source {
	s := Source{Kind: kind, On: w.r.Resource}
	if w.r.Policy != nil {
		s = *w.r.Policy
	}
	if s.On == "" {
		s.On = w.r.Resource
	}
	f.Name, f.On = s.Name, s.On
	if s.Doc == nil {
		s.Doc = doc
		return &s
	}
	merged := *s.Doc
	merged.statements = append(slices.Clone(merged.statements), doc.statements...)
	s.Doc = &merged
	return &s
}

// remove takes a Deny out of the policy it stands in.
func (w *workbench) remove(m Match) bool {
	drop := func(list []Source) ([]Source, bool) {
		for i := range list {
			s := list[i]
			if s.Kind != m.Kind || s.Name != m.Name || s.On != m.On || s.Doc == nil || m.Statement >= s.Doc.Len() || s.Doc.statements[m.Statement].effect != ExplicitDeny {
				continue
			}
			list = slices.Clone(list)
			list[i].Doc = s.Doc.without(m.Statement)
			return list, true
		}
		return list, false
	}
	var ok bool
	switch m.Kind {
	case Identity:
		w.set.Identity, ok = drop(w.set.Identity)
	case Boundary:
		w.set.Boundary, ok = drop(w.set.Boundary)
	case Session:
		w.set.Session, ok = drop(w.set.Session)
	case SCP:
		w.set.SCPs, ok = dropLevel(w.set.SCPs, drop)
	case RCP:
		w.r.RCPs, ok = dropLevel(w.r.RCPs, drop)
	default:
		var list []Source
		if list, ok = drop([]Source{*w.r.Policy}); ok {
			w.r.Policy = &list[0]
		}
	}
	return ok
}

func dropLevel(levels [][]Source, drop func([]Source) ([]Source, bool)) ([][]Source, bool) {
	for i := range levels {
		if level, ok := drop(levels[i]); ok {
			levels = slices.Clone(levels)
			levels[i] = level
			return levels, true
		}
	}
	return levels, false
}

// spelling writes a key as AWS's documentation does, where that is known.
func spelling(key string) string {
	for _, s := range []string{
		"aws:CalledVia", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:RequestedRegion", "aws:SourceAccount",
		"aws:SourceArn", "aws:SourceIp", "aws:ViaAWSService", "aws:SecureTransport", "codecommit:References",
		"iam:PassedToService", "kms:CallerAccount", "kms:GrantIsForAWSResource", "kms:ViaService", "sts:ExternalId",
		"sts:RoleSessionName", "sts:SourceIdentity",
	} {
		if strings.EqualFold(s, key) {
			return s
		}
	}
	return key
}
