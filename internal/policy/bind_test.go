package policy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
)

// people are ids by ARN, in account 111111111111; everybody in other accounts
// is there, without an id.
type people map[string]string

func (p people) ResolvePrincipal(_ context.Context, arn string) (string, bool, error) {
	if a, _ := aws.ParseARN(arn); a.Account != "111111111111" || a.Resource == "root" {
		return a.Account, true, nil
	}
	id, ok := p[arn]
	return id, ok, nil
}

func (p people) PrincipalARN(_ context.Context, id string) (string, bool, error) {
	for arn, other := range p {
		if other == id {
			return arn, true, nil
		}
	}
	return "", false, nil
}

const (
	annARN     = "arn:aws:iam::111111111111:user/team/ann"
	annID      = "AIDAAAAAAAAAAAAAAAAAA"
	jobARN     = "arn:aws:iam::111111111111:role/job"
	jobID      = "AROABBBBBBBBBBBBBBBBB"
	goneID     = "AROACCCCCCCCCCCCCCCCC"
	jobSession = "arn:aws:sts::111111111111:assumed-role/job/s"
)

var staff = people{annARN: annID, jobARN: jobID, jobSession: jobID + ":s"}

// Of a text only users and roles that are principals change, and change back.
func TestBind(t *testing.T) {
	text := "{ \"Version\":\"2012-10-17\" , \"Statement\": [\n" +
		`{"Sid":"` + annARN + `","Effect":"Allow","Principal":{"AWS":"` + annARN + `"},"Action":"s3:GetObject","Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + annARN + `"}}},` +
		`{"Effect":"Deny","NotPrincipal":{"AWS":[ "arn:aws:iam::111111111111:role\u002fjob","` + jobARN + `", "111111111111","arn:aws:iam::111111111111:root","` + jobSession + `","arn:aws:iam::222222222222:user/x"],"Service":["events.amazonaws.com"],"Federated":"` + jobARN + `","CanonicalUser":"` + strings.Repeat("0a", 32) + `"},"Action":"*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:iam::111111111111:role/job"},{"Effect":"Allow","Principal":{"AWS":["*","` + jobID + `"]},"Action":"*","Resource":"*"}]}` + "\n"
	d, err := Parse(text, Resource)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Bind(t.Context(), d, staff)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		`{"AWS":"`+annARN+`"}`, `{"AWS":"`+annID+`"}`,
		`"arn:aws:iam::111111111111:role\u002fjob","`+jobARN+`"`, `"`+jobID+`","`+jobID+`"`,
	).Replace(text)
	if kept != want {
		t.Errorf("kept %s\nwant %s", kept, want)
	}
	shown, err := Show(t.Context(), kept, staff)
	want = strings.NewReplacer(`role\u002fjob`, "role/job", `["*","`+jobID+`"]`, `["*","`+jobARN+`"]`).Replace(text)
	if err != nil || shown != want {
		t.Errorf("shown %s, %v\nwant %s", shown, err, want)
	}
	without := maps.Clone(staff)
	delete(without, annARN)
	shown, err = Show(t.Context(), kept, without)
	if want := strings.Replace(want, `{"AWS":"`+annARN+`"}`, `{"AWS":"`+annID+`"}`, 1); err != nil || shown != want {
		t.Errorf("without Ann, shown %s, %v\nwant %s", shown, err, want)
	}
}

func TestBindRefusesStrangers(t *testing.T) {
	for kind, message := range map[Kind]string{
		Resource: "Invalid principal in policy", Trust: `Invalid principal in policy: "AWS":"NAME"`,
		Key: "Policy contains a statement with one or more invalid principals.",
	} {
		for _, name := range []string{"arn:aws:iam::111111111111:user/nobody", goneID, "arn:aws:sts::111111111111:assumed-role/none/s"} {
			text := "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\n\"" + annARN + `", "` + name + `"]},"Action":"sts:AssumeRole"`
			if kind != Trust {
				text += `,"Resource":"*"`
			}
			d, err := Parse(text+"}]}", kind)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Bind(t.Context(), d, staff)
			e, ok := errors.AsType[*Error](err)
			if want := strings.Replace(message, "NAME", name, 1); !ok || e.Message != want || e.Principal != name || e.Line != 2 {
				t.Errorf("%s in %v: %#v, want %s", name, kind, err, want)
			}
		}
	}
}

// A name that was bound means its bearer of then, and nobody after.
func TestBound(t *testing.T) {
	bound := func(principal, effect string) *Source {
		d, err := Parse(`{"Statement":{"Effect":"`+effect+`",`+principal+`,"Action":"s3:GetObject","Resource":"*"}}`, Resource)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := Bind(t.Context(), d, staff)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = Parse(kept, Resource); err != nil {
			t.Fatal(err)
		}
		return &Source{Kind: Resource, Doc: d}
	}
	user := func(id string) aws.Principal {
		return aws.Principal{Kind: aws.User, ARN: annARN, Account: "111111111111", ID: id}
	}
	worn := func(id string) aws.Principal {
		return aws.Principal{Kind: aws.Session, ARN: jobSession, RoleARN: jobARN, Account: "111111111111", ID: id + ":s"}
	}
	everybody := `"NotPrincipal":{"AWS":["` + annARN + `","` + jobARN + `","` + jobSession + `","111111111111"]}`
	for _, test := range []struct {
		name   string
		policy *Source
		caller aws.Principal
		want   Effect
	}{
		{"the user", bound(`"Principal":{"AWS":"`+annARN+`"}`, "Allow"), user(annID), Allow},
		{"another user of the name", bound(`"Principal":{"AWS":"`+annARN+`"}`, "Allow"), user("AIDADDDDDDDDDDDDDDDDD"), ImplicitDeny},
		{"the role", bound(`"Principal":{"AWS":"`+jobARN+`"}`, "Allow"), worn(jobID), Allow},
		{"another role of the name", bound(`"Principal":{"AWS":"`+jobARN+`"}`, "Allow"), worn(goneID), ImplicitDeny},
		{"an id that begins like it", bound(`"Principal":{"AWS":"`+jobARN+`"}`, "Allow"), worn(jobID + "B"), ImplicitDeny},
		{"the session by its ARN, whoever the role is", bound(`"Principal":{"AWS":"`+jobSession+`"}`, "Allow"), worn(goneID), Allow},
		{"the denied user", bound(`"Principal":{"AWS":"`+annARN+`"}`, "Deny"), user(annID), ExplicitDeny},
		{"not the denied user", bound(`"Principal":{"AWS":"`+annARN+`"}`, "Deny"), user("AIDADDDDDDDDDDDDDDDDD"), Allow},
		{"the spared user", bound(everybody, "Deny"), user(annID), Allow},
		{"not the spared user", bound(everybody, "Deny"), user("AIDADDDDDDDDDDDDDDDDD"), ExplicitDeny},
		{"the spared role", bound(everybody, "Deny"), worn(jobID), Allow},
		{"not the spared role", bound(everybody, "Deny"), worn(goneID), ExplicitDeny},
	} {
		set := &Set{}
		if test.policy.Doc.statements[0].effect != Allow {
			set.Identity = []Source{{Kind: Identity, Doc: doc(t, Identity, allowAll)}}
		}
		r := &Request{Principal: test.caller, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Owner: "111111111111", Policy: test.policy}
		if d := Evaluate(set, r); d.Effect != test.want {
			t.Errorf("%s: %v, want %v", test.name, d.Effect, test.want)
		}
		ids := Strangers(r)
		if stranger := test.want == ImplicitDeny; stranger != (len(ids) == 1) {
			t.Errorf("%s: strangers %v", test.name, ids)
		}
	}
}

// FuzzBind holds that binding and showing change nothing when everybody is
// where they were, and never what a document decides.
func FuzzBind(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["` + annARN + `","` + jobARN + `"]},"Action":"*","Resource":"*"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"` + jobID + `","Service":"x.amazonaws.com"},"Action":"*","Resource":"*"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text, Resource)
		if err != nil {
			return
		}
		kept, err := Bind(t.Context(), d, staff)
		if err != nil {
			return
		}
		again, err := Parse(kept, Resource)
		if err != nil {
			t.Fatalf("%q was kept as %q: %v", text, kept, err)
		}
		for _, p := range []aws.Principal{
			{Kind: aws.User, ARN: annARN, Account: "111111111111", ID: annID},
			{Kind: aws.Session, ARN: jobSession, RoleARN: jobARN, Account: "111111111111", ID: jobID + ":s"},
		} {
			r := Request{Principal: p, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Policy: &Source{Kind: Resource, Doc: d}}
			before := Decide(nil, &r)
			r.Policy = &Source{Kind: Resource, Doc: again}
			if after := Decide(nil, &r); after != before {
				t.Errorf("%q decides %v, kept %v", text, before, after)
			}
		}
		shown, err := Show(t.Context(), kept, staff)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = Parse(shown, Resource); err != nil {
			t.Fatalf("%q is shown as %q: %v", text, shown, err)
		}
		if twice, err := Bind(t.Context(), d, staff); err != nil || twice != kept {
			t.Errorf("%q is kept as %q, then %q (%v)", text, kept, twice, err)
		}
	})
}

// BenchmarkNames is a decision by a bucket policy that names twenty roles.
func BenchmarkNames(b *testing.B) {
	var arns, ids []string
	for i := range 20 {
		name := string(rune('a' + i))
		arns = append(arns, `"arn:aws:iam::111111111111:role/`+name+`"`)
		ids = append(ids, `"AROA`+strings.ToUpper(strings.Repeat(name, 17))+`"`)
	}
	for kind, list := range map[string][]string{"arns": append(arns, `"`+jobARN+`"`), "ids": append(ids, `"`+jobID+`"`)} {
		d, err := Parse(`{"Statement":{"Effect":"Allow","Principal":{"AWS":[`+strings.Join(slices.Clip(list), ",")+`]},"Action":"s3:GetObject","Resource":"*"}}`, Resource)
		if err != nil {
			b.Fatal(err)
		}
		r := &Request{
			Principal: aws.Principal{Kind: aws.Session, ARN: jobSession, RoleARN: jobARN, Account: "111111111111", ID: jobID + ":s"},
			Action:    "s3:GetObject", Resource: "arn:aws:s3:::b/k", Owner: "111111111111", Policy: &Source{Kind: Resource, Doc: d},
		}
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Decide(nil, r) != Allow {
					b.Fatal("refused")
				}
			}
		})
	}
}
