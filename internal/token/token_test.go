package token

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
)

func box(t testing.TB, fill byte) *seal.Box {
	b, err := seal.NewBox(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func session() Session {
	return Session{
		Secret: seal.NewSecret([]byte("secret")),
		Principal: aws.Principal{
			Kind: aws.Session, ARN: "arn:aws:sts::111111111111:assumed-role/R/s", Account: "111111111111",
			AccessKeyID: "ASIAX", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Temporary: true,
			Tags: []aws.Tag{{Key: "a", Value: "b"}},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	want := session()
	text, err := Seal(box(t, 1), want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "IQoJb3JpZ2luX2Vj") {
		t.Errorf("token begins %.20s", text)
	}
	got, err := Open(box(t, 1), "ASIAX", text)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Secret.Equal([]byte("secret")) {
		t.Error("the secret got lost")
	}
	if d := cmp.Diff(want.Principal, got.Principal); d != "" {
		t.Error(d)
	}
}

func TestRefuses(t *testing.T) {
	text, err := Seal(box(t, 1), session())
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() error{
		"another key id": func() error { _, err := Open(box(t, 1), "ASIAY", text); return err },
		"another master": func() error { _, err := Open(box(t, 2), "ASIAX", text); return err },
		"altered":        func() error { _, err := Open(box(t, 1), "ASIAX", text[:40]+"AAAA"+text[44:]); return err },
		"empty":          func() error { _, err := Open(box(t, 1), "ASIAX", ""); return err },
		"long":           func() error { _, err := Open(box(t, 1), "ASIAX", strings.Repeat("A", 1<<20)); return err },
	} {
		if err := open(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := session()
	s.Principal.SessionPolicies = []string{aws.RandomText(20000, aws.Alnum)}
	if _, err := Seal(box(t, 1), s); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large session: %v", err)
	}
}

func TestKeyID(t *testing.T) {
	seen := map[string]bool{}
	for _, account := range []string{"000000000001", "111111111111", "999999999999"} {
		for range 100 {
			id := NewKeyID("AKIA", account)
			if got, ok := AccountOf(id); !ok || got != account || len(id) != 20 || seen[id] {
				t.Fatalf("%s of %s tells %s, %v", id, account, got, ok)
			}
			seen[id] = true
		}
	}
	for _, id := range []string{"", "AKIA", "AKIA!!!!!!!!!!!!!!!!", "AKIA7777777777777777"} {
		if got, ok := AccountOf(id); ok {
			t.Errorf("%q tells %s", id, got)
		}
	}
}

func TestMessage(t *testing.T) {
	b := box(t, 1)
	const text = `{"allowed":false}`
	sealed, err := SealMessage(b, "111111111111", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenMessage(b, "111111111111", sealed); err != nil || string(got) != text {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := OpenMessage(b, "222222222222", sealed); err != ErrInvalid {
		t.Errorf("in another account: %v", err)
	}
	if _, err := OpenMessage(box(t, 2), "111111111111", sealed); err != ErrInvalid {
		t.Errorf("with another key: %v", err)
	}
	for _, bad := range []string{"", "x", sealed[1:], sealed + "A", sealed + "=", strings.Repeat("A", MaxLen+1)} {
		if _, err := OpenMessage(b, "111111111111", bad); err != ErrInvalid {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := SealMessage(b, "111111111111", []byte(aws.RandomText(MaxLen, aws.Alnum))); err != ErrTooLarge {
		t.Errorf("a long message: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	b := box(f, 1)
	text, err := Seal(b, session())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("ASIAX", text)
	f.Fuzz(func(t *testing.T, id, text string) {
		AccountOf(id)
		if s, err := Open(b, id, text); err == nil && s.Principal.AccessKeyID != id {
			t.Errorf("a token of %s opened with %s", s.Principal.AccessKeyID, id)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	bx := box(b, 1)
	text, err := Seal(bx, session())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(bx, "ASIAX", text); err != nil {
			b.Fatal(err)
		}
	}
}
