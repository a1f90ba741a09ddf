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

// maxFixes bounds the rounds: a removed Deny may uncover what it hid, each
// level of an organization takes one, and AWS has no more than seven levels,
// twice.
const maxFixes = 16

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
			f, ok := w.exempt(m)
			if !ok {
				return nil
			}
			out = append(out, f)
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
	if w.r.Principal.Account == "" || !w.r.home() {
		return silent
	}
	return slices.DeleteFunc(slices.Clone(silent), func(k Kind) bool {
		return k == Resource && slices.Contains(silent, Identity)
	})
}

// draft is a statement as it is shown.
type draft struct {
	Effect    string
	Principal any                            `json:",omitempty"`
	Action    actions                        `json:",omitempty"`
	Resource  string                         `json:",omitempty"`
	Condition map[string]map[string][]string `json:",omitempty"`
}

// add puts the smallest Allow into a policy of a kind.
func (w *workbench) add(kind Kind) (Fix, bool) {
	s := draft{Effect: "Allow", Action: actions{w.r.Action}, Resource: escapeWildcards(w.r.Resource)}
	f := Fix{Kind: kind}
	switch kind {
	case Trust:
		s.Principal, s.Resource = w.principal(), ""
	case Key:
		s.Principal, s.Resource = w.principal(), "*"
	case Resource:
		s.Principal = w.principal()
	case RCP: // of all RCPs, AWS lets RCPFullAWSAccess alone allow
		doc := (&draft{Effect: "Allow", Principal: "*", Action: actions{"*"}, Resource: "*"}).document(kind)
		ok := w.attach(kind, doc, &f)
		return f, ok
	}
	s.Condition = w.narrowing(kind)
	if doc := s.document(kind); doc != nil {
		before := *w
		if w.attach(kind, doc, &f) {
			return f, true
		}
		*w = before
	}
	s.Condition = nil
	doc := s.document(kind)
	ok := doc != nil && w.attach(kind, doc, &f)
	return f, ok
}

// silentLevel is the first level of an organization's policies that does not
// allow, and -1 when all do, as for every other kind.
func (w *workbench) silentLevel(kind Kind) int {
	levels := w.set.SCPs
	switch kind {
	case SCP:
	case RCP:
		levels = w.r.RCPs
	default:
		return -1
	}
	var j judge
	j.begin(&w.r, nil)
	return slices.IndexFunc(levels, func(l []Source) bool { return !j.scan(l, 0).ok() })
}

// stillSilent reports whether a kind of policy does not allow yet, at a level
// of it.
func (w *workbench) stillSilent(kind Kind, level int) bool {
	if level >= 0 {
		return w.silentLevel(kind) == level
	}
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

// principal names the caller for a resource's policy: the service, the user or
// the role.
func (w *workbench) principal() map[string]string {
	p := &w.r.Principal
	switch {
	case p.Kind == aws.Anonymous:
		return map[string]string{"AWS": "*"}
	case p.Kind == aws.Service:
		return map[string]string{"Service": p.ARN}
	case p.Account == "":
		return map[string]string{"Federated": p.ARN}
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
	switch kind {
	case Boundary, SCP: // they bind others, too
		keys = append(keys, "aws:principalarn")
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
	var j judge
	j.begin(&w.r, nil)
	var keys []string
	for _, s := range w.sources(kind) {
		if s.Doc == nil {
			continue
		}
		for i := range s.Doc.statements {
			st := &s.Doc.statements[i]
			if st.effect != Allow || !j.concerns(st) || st.principals != nil && j.principalOf(st) == notNamed {
				continue
			}
			for k := range st.conditions {
				c := &st.conditions[k]
				if !c.holds(&j) && !slices.Contains(keys, c.key.name) {
					keys = append(keys, c.key.name)
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
// goes. It reports whether the document does what it is for.
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
	level := w.silentLevel(kind)
	switch kind {
	case Identity:
		w.set.Identity = place(w.set.Identity)
	case Boundary:
		w.set.Boundary = place(w.set.Boundary)
	case Session:
		w.set.Session = place(w.set.Session)
	case SCP:
		w.set.SCPs = widen(w.set.SCPs, level, fresh, w.r.Principal.Account, f)
	case RCP:
		w.r.RCPs = widen(w.r.RCPs, level, fresh, w.r.Owner, f)
	default:
		w.r.Policy = w.extended(kind, doc, f)
	}
	f.Statement = doc.Statement(0)
	return !w.stillSilent(kind, level)
}

// widen puts a document at a level, which is called by what its policies stand
// on, or else by the account.
func widen(levels [][]Source, level int, fresh Source, account string, f *Fix) [][]Source {
	out := slices.Clone(levels)
	if level < 0 {
		return out
	}
	f.Level, f.On = level, account
	if l := levels[level]; len(l) > 0 && l[0].On != "" {
		f.On = l[0].On
	}
	out[level] = append(slices.Clone(levels[level]), fresh)
	return out
}

// holder is what the policy of a resource stands on: objects have that of their
// bucket.
func holder(resource string) string {
	if strings.HasPrefix(resource, "arn:aws:s3:::") {
		resource, _, _ = strings.Cut(resource, "/")
	}
	return resource
}

// extended is the resource's policy with one more statement.
func (w *workbench) extended(kind Kind, doc *Document, f *Fix) *Source {
	s := Source{Kind: kind}
	if w.r.Policy != nil {
		s = *w.r.Policy
	}
	if s.On == "" {
		s.On = holder(w.r.Resource)
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

// exempt narrows a Deny so that it spares the request, or takes it out of the
// policy it stands in where no statement can tell the request from others.
func (w *workbench) exempt(m Match) (Fix, bool) {
	f := Fix{Kind: m.Kind, Name: m.Name, On: m.On, Level: m.Level, Remove: &m}
	s := w.at(m)
	if s == nil || m.Statement >= s.Doc.Len() {
		return f, false
	}
	f.Was = s.Doc.Statement(m.Statement)
	if list, beyond, ok := w.narrow(s, m.Statement); ok {
		if doc := s.Doc.replaced(m.Statement, list); doc != nil && !w.denies(doc, s, len(list), m.Statement) {
			f.Instead, f.Beyond = list, beyond
			w.put(m, doc)
			return f, true
		}
	}
	w.put(m, s.Doc.without(m.Statement))
	return f, true
}

// denies reports whether one of the n statements from the i'th on denies the
// request, in a document that takes the place of a source's.
func (w *workbench) denies(doc *Document, s *Source, n, i int) bool {
	alone := *doc
	alone.statements = doc.statements[i : i+n]
	r := w.r
	r.RCPs, r.Policy, r.Grant = nil, nil, ""
	set := Set{}
	if len(w.set.Boundary) > 0 {
		set.Boundary = []Source{{Kind: Boundary}} // which NotPrincipal minds
	}
	only := Source{Kind: s.Kind, Doc: &alone}
	switch s.Kind {
	case Resource, Trust, Key:
		r.Policy = &only
	default:
		set.Identity = []Source{only}
	}
	return Decide(&set, &r) == ExplicitDeny
}

// at is the source in which a statement stands; nil when it is not there.
func (w *workbench) at(m Match) *Source {
	list := []Source{}
	switch m.Kind {
	case Identity:
		list = w.set.Identity
	case Boundary:
		list = w.set.Boundary
	case Session:
		list = w.set.Session
	case SCP, RCP:
		levels := w.set.SCPs
		if m.Kind == RCP {
			levels = w.r.RCPs
		}
		if m.Level < len(levels) {
			list = levels[m.Level]
		}
	default:
		return w.r.Policy
	}
	if m.Index >= len(list) {
		return nil
	}
	return &list[m.Index]
}

// put has another document in the place of the one a statement stands in.
func (w *workbench) put(m Match, doc *Document) {
	in := func(list []Source) []Source {
		list = slices.Clone(list)
		list[m.Index].Doc = doc
		return list
	}
	levels := func(all [][]Source) [][]Source {
		all = slices.Clone(all)
		all[m.Level] = in(all[m.Level])
		return all
	}
	switch m.Kind {
	case Identity:
		w.set.Identity = in(w.set.Identity)
	case Boundary:
		w.set.Boundary = in(w.set.Boundary)
	case Session:
		w.set.Session = in(w.set.Session)
	case SCP:
		w.set.SCPs = levels(w.set.SCPs)
	case RCP:
		w.r.RCPs = levels(w.r.RCPs)
	default:
		s := *w.r.Policy
		s.Doc = doc
		w.r.Policy = &s
	}
}

// Spell writes the name of a context key as AWS's documentation does, where that
// is known.
func Spell(key string) string { return spelling(key) }

// spelling writes a key as AWS's documentation does, where that is known.
func spelling(key string) string {
	for _, s := range []string{
		"aws:CalledVia", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:RequestedRegion", "aws:SourceAccount",
		"aws:SourceArn", "aws:SourceIp", "aws:ViaAWSService", "aws:SecureTransport", "codecommit:References",
		"aws:MultiFactorAuthPresent", "iam:PassedToService", "kms:CallerAccount", "kms:GrantIsForAWSResource", "kms:ViaService", "sts:ExternalId",
		"sts:RoleSessionName", "sts:SourceIdentity", "aws:PrincipalOrgID", "aws:ResourceAccount", "aws:ResourceOrgID",
		"s3:ResourceAccount", "s3:VersionId", "events:creatorAccount", "kms:EncryptionContextKeys", "kms:RequestAlias", "kms:ResourceAliases",
		"kms:KeySpec", "kms:KeyUsage", "kms:KeyOrigin", "kms:MultiRegion", "sts:TransitiveTagKeys", "aws:TagKeys",
	} {
		if strings.EqualFold(s, key) {
			return s
		}
	}
	return key
}
