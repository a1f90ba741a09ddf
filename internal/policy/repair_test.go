package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/aws"
)

// universe is two accounts with callers and things, and the policies that
// stand on them, by what they stand on.
type universe struct {
	// documents are texts by "kind on name"; levels are those of SCPs and RCPs.
	documents map[string][]map[string]any
	bounded   map[string]bool // callers with a boundary
	sessioned map[string]bool
}

// plea is one request of the universe.
type plea struct{ who, action, on string }

const (
	bob   = "arn:aws:iam::222222222222:user/bob"
	roleS = "arn:aws:iam::222222222222:role/s"
	keyK  = "arn:aws:kms:eu-central-1:111111111111:key/k"
	busD  = "arn:aws:events:eu-central-1:222222222222:event-bus/default"
)

var (
	callersOfAll = []string{alice, roleR, bob, roleS}
	pleas        = func() (all []plea) {
		for _, who := range callersOfAll {
			for _, a := range []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject"} {
				all = append(all, plea{who, a, bucketB + "/x"}, plea{who, a, bucketB + "/y/z"}, plea{who, a, "arn:aws:s3:::other/x"})
			}
			all = append(all, plea{who, "s3:ListBucket", bucketB}, plea{who, "kms:Decrypt", keyK}, plea{who, "kms:Encrypt", keyK}, plea{who, "events:PutEvents", busD},
				plea{who, "sts:AssumeRole", roleS}, plea{who, "sts:TagSession", roleS}, plea{who, "codecommit:GitPull", "arn:aws:codecommit:eu-central-1:111111111111:shop"})
		}
		return all
	}()
)

func accountOf(arn string) string { a, _ := aws.ParseARN(arn); return a.Account }

// thing is what a policy stands on, its owner and the policy's kind; kind 0
// means that it has none.
func thing(on string) (holder, owner string, kind Kind) {
	switch {
	case strings.HasPrefix(on, "arn:aws:s3:::other"):
		return "arn:aws:s3:::other", acctB, Resource
	case strings.HasPrefix(on, bucketB):
		return bucketB, acctA, Resource
	case on == keyK:
		return keyK, acctA, Key
	case on == busD:
		return busD, acctB, Resource
	case on == roleS:
		return roleS, acctB, Trust
	}
	return "", accountOf(on), 0
}

func place(kind Kind, on string) string { return kind.String() + " " + on }

// texts of the documents on a place, parsed.
func (u *universe) source(t testing.TB, kind Kind, on string) []Source {
	list := u.documents[place(kind, on)]
	if len(list) == 0 {
		return nil
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := Parse(string(text), kind)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return []Source{{Kind: kind, Name: "p", On: on, Doc: doc}}
}

// question is a plea in the engine's terms.
func (u *universe) question(t testing.TB, q plea) (*Set, *Request) {
	p := aws.Principal{Kind: aws.User, ARN: q.who, Account: accountOf(q.who), ID: "AIDA"}
	if strings.Contains(q.who, ":role/") {
		p = aws.Principal{Kind: aws.Session, ARN: strings.NewReplacer(":iam:", ":sts:", ":role/", ":assumed-role/").Replace(q.who) + "/s", Account: p.Account, RoleARN: q.who, ID: "AROA:s"}
	}
	set := &Set{Identity: u.source(t, Identity, q.who)}
	if u.bounded[q.who] {
		if set.Boundary = u.source(t, Boundary, p.Account); set.Boundary == nil {
			set.Boundary = []Source{{Kind: Boundary, Name: "p", On: p.Account}}
		}
	}
	if set.Narrowed = u.sessioned[q.who]; set.Narrowed {
		set.Session = u.source(t, Session, q.who)
	}
	set.SCPs = [][]Source{u.source(t, SCP, "root"), u.source(t, SCP, p.Account)}
	holder, owner, kind := thing(q.on)
	r := &Request{
		Principal: p, Action: q.action, Resource: q.on, Owner: owner,
		RCPs:    [][]Source{u.source(t, RCP, owner)},
		Context: Keys{"aws:principalarn": {q.who}, "aws:principalaccount": {p.Account}, "aws:securetransport": {"true"}},
	}
	if kind != 0 {
		r.Policy = &Source{Kind: kind, On: holder}
		if s := u.source(t, kind, holder); s != nil {
			r.Policy = &s[0]
		} else if kind == Resource {
			r.Policy = nil
		}
	}
	return set, r
}

func (u *universe) effect(t testing.TB, q plea) Effect {
	set, r := u.question(t, q)
	return Decide(set, r)
}

func (u *universe) add(kind Kind, on string, statement map[string]any) {
	switch kind {
	case Resource, Key, Trust, RCP:
		if statement["Principal"] == nil && statement["NotPrincipal"] == nil {
			statement["Principal"] = "*"
		}
	}
	if kind == Trust {
		delete(statement, "Resource")
	}
	u.documents[place(kind, on)] = append(u.documents[place(kind, on)], statement)
}

func allow(actions []string, resources ...string) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resources}
}

// drawUniverse makes a world in which some things are allowed.
func drawUniverse(t *rapid.T) *universe {
	u := &universe{documents: map[string][]map[string]any{}, bounded: map[string]bool{}, sessioned: map[string]bool{}}
	wide := map[string][]string{"s3": {"s3:*", "s3:Get*", "s3:GetObject", "*"}, "kms": {"kms:*", "kms:Decrypt"}, "events": {"events:*"}, "sts": {"sts:*"}, "codecommit": {"codecommit:Git*", "*"}}
	for _, on := range []string{"root", acctA, acctB} {
		u.add(SCP, on, allow([]string{"s3:*", "kms:*", "sts:*"}, "*"))
		u.add(SCP, on, allow([]string{"events:*", "codecommit:*"}, "*"))
	}
	for _, on := range []string{acctA, acctB} {
		u.add(RCP, on, allow([]string{"*"}, "*"))
		u.add(Boundary, on, allow([]string{"s3:*", "kms:Decrypt", "sts:AssumeRole"}, "*"))
		u.add(Boundary, on, allow([]string{"codecommit:GitPull", "events:PutEvents", "kms:Encrypt"}, "*"))
	}
	for _, who := range callersOfAll {
		u.bounded[who] = rapid.IntRange(0, 3).Draw(t, "bounded") == 0
		if u.sessioned[who] = strings.Contains(who, ":role/") && rapid.IntRange(0, 3).Draw(t, "sessioned") == 0; u.sessioned[who] {
			u.add(Session, who, allow([]string{"s3:*", "sts:*"}, "*"))
			u.add(Session, who, allow([]string{"kms:*", "events:*", "codecommit:*"}, "*"))
		}
	}
	for range rapid.IntRange(2, 8).Draw(t, "grants") {
		q := rapid.SampledFrom(pleas).Draw(t, "granted")
		service, _, _ := strings.Cut(q.action, ":")
		holder, owner, kind := thing(q.on)
		action := []string{q.action}
		if rapid.Bool().Draw(t, "wide") {
			action = []string{rapid.SampledFrom(wide[service]).Draw(t, "action"), q.action}
		}
		resource := q.on
		if rapid.Bool().Draw(t, "everything") {
			resource = "*"
		}
		u.add(Identity, q.who, allow(action, resource))
		if kind == 0 || owner == accountOf(q.who) && kind == Resource && rapid.Bool().Draw(t, "identity alone") {
			continue
		}
		s := allow(action, resource)
		if kind == Resource && resource == "*" {
			s["Resource"] = []string{holder, holder + "/*"}
		}
		if kind == Trust {
			s["Action"] = []string{"sts:AssumeRole", "sts:TagSession"}
		}
		names := []string{q.who}
		if rapid.Bool().Draw(t, "account") {
			names = append(names, "arn:aws:iam::"+accountOf(q.who)+":root")
		}
		s["Principal"] = map[string][]string{"AWS": names}
		u.add(kind, holder, s)
	}
	return u
}

// take takes one thing away, or denies one.
func (u *universe) take(t *rapid.T) {
	where := rapid.SampledFrom(slices.Sorted(maps.Keys(u.documents))).Draw(t, "where")
	list := u.documents[where]
	i := rapid.IntRange(0, len(list)-1).Draw(t, "statement")
	s := maps.Clone(list[i])
	u.documents[where] = slices.Clone(list)
	how := rapid.IntRange(0, 4).Draw(t, "how")
	if strings.HasPrefix(where, RCP.String()) {
		how = 4 // AWS's own cannot be detached
	}
	switch {
	case how == 0:
		u.documents[where] = slices.Delete(slices.Clone(list), i, i+1)
	case how == 1 && len(s["Action"].([]string)) > 1:
		s["Action"] = s["Action"].([]string)[1:]
		u.documents[where][i] = s
	case how == 2:
		p, ok := s["Principal"].(map[string][]string)
		if ok && len(p["AWS"]) > 1 {
			s["Principal"] = map[string][]string{"AWS": p["AWS"][1:]}
			u.documents[where][i] = s
		}
	default:
		u.documents[where] = append(u.documents[where], u.drawDeny(t, where))
	}
}

func (u *universe) drawDeny(t *rapid.T, where string) map[string]any {
	kind, on, _ := strings.Cut(where, " ")
	s := map[string]any{"Effect": "Deny", "Sid": "No"}
	list := func(name string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID).Draw(t, name)
	}
	switch {
	case kind == "trust":
		s["Action"] = list("actions", "sts:AssumeRole", "sts:TagSession", "sts:*")
	case kind != "rcp" && rapid.IntRange(0, 3).Draw(t, "not action") == 0:
		s["NotAction"] = list("actions", "s3:List*", "kms:Encrypt", "iam:*")
	default:
		s["Action"] = list("actions", "*", "s3:*", "s3:Get*", "s3:?etObject", "s3:PutObject", "kms:*", "events:PutEvents", "sts:*", "codecommit:*")
	}
	resources := []string{"*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/x", "arn:aws:s3:::*", bucketB, keyK, "arn:aws:s3:::b/y/*", busD}
	switch {
	case kind == "trust":
	case kind == "key":
		s["Resource"] = "*"
	case rapid.IntRange(0, 4).Draw(t, "not resource") == 0:
		s["NotResource"] = list("resources", "arn:aws:s3:::other/*", busD, "arn:aws:s3:::b/q")
	default:
		s["Resource"] = list("resources", resources...)
	}
	switch kind {
	case "rcp":
		s["Principal"] = "*"
	case "resource", "key", "trust":
		s["Principal"] = rapid.SampledFrom([]any{"*", map[string][]string{"AWS": {alice, roleS}}, map[string][]string{"AWS": {acctB}}, map[string][]string{"AWS": {roleR}}}).Draw(t, "principal")
	}
	switch rapid.IntRange(0, 5).Draw(t, "condition") {
	case 0:
		s["Condition"] = map[string]any{"Bool": map[string]any{"aws:SecureTransport": "true"}}
	case 1:
		s["Condition"] = map[string]any{"ArnNotEquals": map[string]any{"aws:PrincipalArn": "arn:aws:iam::333333333333:role/boss"}}
	case 2:
		s["Condition"] = map[string]any{"StringNotEquals": map[string]any{"aws:RequestedRegion": "eu-central-1"}}
	}
	_ = on
	return s
}

// apply puts repairs in place, as whoever reads them would.
func (u *universe) apply(t testing.TB, fixes []Fix) {
	changes := map[string][]Change{}
	for _, f := range fixes {
		on := f.On
		if f.Kind == SCP && f.Level == 0 {
			on = "root"
		}
		where := place(f.Kind, on)
		if f.Remove != nil {
			changes[where] = append(changes[where], Change{Statement: f.Remove.Statement, Instead: f.Instead})
		} else {
			changes[where] = append(changes[where], Change{Add: f.Statement})
		}
	}
	for where, list := range changes {
		word, on, _ := strings.Cut(where, " ")
		var kind Kind
		for k := Identity; k <= RCP; k++ {
			if k.String() == word {
				kind = k
			}
		}
		var doc *Document
		if s := u.source(t, kind, on); s != nil {
			doc = s[0].Doc
		}
		text := Rewrite(doc, list...)
		if text == "" {
			delete(u.documents, where)
			continue
		}
		if _, err := Parse(text, kind); err != nil {
			t.Fatalf("AWS would not take %s: %v", text, err)
		}
		var parsed struct{ Statement []map[string]any }
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			t.Fatal(err)
		}
		u.documents[where] = parsed.Statement
	}
}

// TestRepairsAreSmallest takes one thing away from random worlds of two
// accounts. What is then refused is allowed again with the repair in place, and
// nothing else that was refused is; nor is anything refused that was not.
func TestRepairsAreSmallest(t *testing.T) {
	turned := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		u := drawUniverse(rt)
		before := map[plea]Effect{}
		for _, q := range pleas {
			before[q] = u.effect(t, q)
		}
		u.take(rt)
		var lost []plea
		for _, q := range pleas {
			if before[q] == Allow && u.effect(t, q) != Allow {
				lost = append(lost, q)
			}
		}
		if len(lost) == 0 {
			return
		}
		q := rapid.SampledFrom(lost).Draw(rt, "repaired")
		set, r := u.question(t, q)
		d := Evaluate(set, r)
		if denied := slices.ContainsFunc(Consult(set, r), func(c Consulted) bool { return c.Effect == ExplicitDeny }); denied != (d.Effect == ExplicitDeny) {
			rt.Fatalf("consulted, a policy denies: %v; evaluated, it is %v", denied, d.Effect)
		}
		fixes := Fixes(set, r, d)
		if len(fixes) == 0 {
			rt.Fatalf("no repair for %v in\n%s", q, u)
		}
		after := map[plea]Effect{}
		for _, o := range pleas {
			after[o] = u.effect(t, o)
		}
		broken := fmt.Sprint(u)
		u.apply(t, fixes)
		shown, _ := json.MarshalIndent(fixes, "", " ")
		if u.effect(t, q) != Allow {
			rt.Fatalf("%v is not allowed with\n%s\nin\n%s", q, shown, broken)
		}
		beyond := slices.ContainsFunc(fixes, func(f Fix) bool { return f.Beyond != "" })
		for _, o := range pleas {
			switch now := u.effect(t, o); {
			case o == q:
			case now == Allow && after[o] != Allow && !beyond:
				rt.Fatalf("the repair of %v allows %v, too:\n%s\nin\n%s", q, o, shown, broken)
			case now != Allow && after[o] == Allow:
				rt.Fatalf("the repair of %v refuses %v:\n%s\nin\n%s", q, o, shown, broken)
			}
		}
		for _, f := range fixes {
			switch {
			case f.Remove == nil:
				turned["added to "+f.Kind.String()]++
			case f.Beyond != "":
				turned["narrowed, not to the last"]++
			case f.Instead != nil:
				turned["narrowed in "+f.Kind.String()]++
			default:
				turned["removed from "+f.Kind.String()]++
			}
		}
	})
	t.Log(turned)
}

func (u *universe) String() string {
	text, _ := json.MarshalIndent(u.documents, "", " ")
	return fmt.Sprintf("%s\nbounded %v, sessioned %v", text, u.bounded, u.sessioned)
}
