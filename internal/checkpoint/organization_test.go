package checkpoint

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// realm is an organization by its accounts.
type realm map[string]*call.Member

func (r realm) Current(context.Context) (call.Organizations, error) { return r, nil }

func (r realm) Member(_ context.Context, account string) (*call.Member, error) {
	return r[account], nil
}

// chaos knows nothing.
type chaos struct{ call.Organizations }

var errChaos = errors.New("the database is away")

func (c chaos) Current(context.Context) (call.Organizations, error) {
	if c.Organizations == nil {
		return nil, errChaos
	}
	return c.Organizations, nil
}

// forgetful knows that there is an organization, and not who is in it.
type forgetful struct{}

func (forgetful) Member(context.Context, string) (*call.Member, error) { return nil, errChaos }

func parsed(t testing.TB, kind policy.Kind, statement string) *policy.Document {
	t.Helper()
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+statement+`]}`, kind)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestUnknownOrganizations has nobody allowed whose organization cannot be
// read.
func TestUnknownOrganizations(t *testing.T) {
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	for name, o := range map[string]Organizations{"all": chaos{}, "a member": chaos{forgetful{}}} {
		b := newBench(t, all, needing("Put", call.Need{Action: "s3:Put", Resource: "*"}))
		b.Bind(o)
		if _, err := b.do(t.Context(), "Put"); code(err) != "InternalError" {
			t.Errorf("%s unknown: %v", name, err)
		}
	}
}

// TestBound has a shared set left as it is, and a refusal say where it comes
// from and what mends it.
func TestBound(t *testing.T) {
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	unit := policy.Source{Kind: policy.SCP, Name: "no-put", On: "ou-1", Doc: parsed(t, policy.SCP, `{"Sid":"No","Effect":"Deny","Action":"s3:Put","Resource":"*"}`)}
	full := policy.Source{Kind: policy.SCP, Name: "full", On: "r-1", Doc: parsed(t, policy.SCP, all)}
	b := newBench(t, all, needing("Put", call.Need{Action: "s3:Put", Resource: "*"}))
	b.Bind(realm{acct: {Organization: "o-1", SCPs: [][]policy.Source{{full}, {full, unit}}}})
	_, err := b.do(t.Context(), "Put")
	if code(err) != "AccessDenied" || !strings.HasSuffix(err.Error(), "with an explicit deny in a service control policy") {
		t.Errorf("%v", err)
	}
	if b.people.set.SCPs != nil {
		t.Error("the set of the caller, which is shared, was changed")
	}
	judgement := b.notes.entries[len(b.notes.entries)-1].Judgements[0]
	if d := judgement.Decision; len(d.Because) != 1 || d.Because[0].On != "ou-1" || d.Because[0].Sid != "No" {
		t.Errorf("because %+v", d.Because)
	}
	if f := judgement.Fixes; len(f) != 1 || f[0].Kind != policy.SCP || f[0].Name != "no-put" || f[0].Remove == nil {
		t.Errorf("fixes %+v", f)
	}
}

// TestHolder has the organization of the account that holds a resource bind it,
// whoever owns it; and an access control list allow no more than policies do.
func TestHolder(t *testing.T) {
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	rcp := policy.Source{Kind: policy.RCP, Name: "no-put", On: "r-1", Doc: parsed(t, policy.RCP, `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`)}
	full := policy.Source{Kind: policy.RCP, Name: "full", On: "r-1", Doc: parsed(t, policy.RCP, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`)}
	const holder = "999999999999"
	n := call.Need{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Owner: acct, Holder: holder, ACL: policy.CallersGroup}
	for name, tt := range map[string]struct {
		in      realm
		refused bool
	}{
		"held":  {realm{holder: {Organization: "o-1", RCPs: [][]policy.Source{{full, rcp}}}}, true},
		"owned": {realm{acct: {Organization: "o-1", RCPs: [][]policy.Source{{full, rcp}}}}, false},
	} {
		b := newBench(t, all, needing("Get", n))
		b.Bind(tt.in)
		if _, err := b.do(t.Context(), "Get"); (err != nil) != tt.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
