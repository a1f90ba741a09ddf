package iam_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"image/png"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/state"
)

// authenticator is a program on a user's telephone.
type authenticator struct{ seed []byte }

// code is what it shows at a time: written anew, to hold ours against.
func (a authenticator) code(at time.Time) string {
	mac := hmac.New(sha1.New, a.seed)
	binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & (1<<31 - 1)
	return fmt.Sprintf("%06d", n%1000000)
}

func (w world) device(name string) (string, authenticator) {
	w.Helper()
	d := must(w.root.CreateVirtualMFADevice(ctx(), &api.CreateVirtualMFADeviceInput{VirtualMFADeviceName: name}))(w).VirtualMFADevice
	seed, err := base32.StdEncoding.DecodeString(string(d.Base32StringSeed))
	if err != nil || len(d.Base32StringSeed) != 64 {
		w.Fatalf("seed %q: %v", d.Base32StringSeed, err)
	}
	if _, err := png.Decode(bytes.NewReader(d.QRCodePNG)); err != nil {
		w.Fatal(err)
	}
	return d.SerialNumber, authenticator{seed}
}

func (w world) enable(user, serial string, a authenticator, at time.Time) error {
	_, err := w.root.EnableMFADevice(ctx(), &api.EnableMFADeviceInput{
		UserName: user, SerialNumber: serial, AuthenticationCode1: a.code(at), AuthenticationCode2: a.code(at.Add(30 * time.Second)),
	})
	return err
}

// TestAuthenticator holds the test's authenticator against vectors of RFC 6238.
func TestAuthenticator(t *testing.T) {
	a := authenticator{[]byte("12345678901234567890")}
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 20000000000: "353130"} {
		if got := a.code(time.Unix(at, 0)); got != want {
			t.Errorf("code at %d = %s, want %s", at, got, want)
		}
	}
}

func TestMFA(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		alice := w.user("alice", "")
		bob := w.user("bob", "")
		serial, phone := w.device("phone")
		now := w.env.Now()

		if err := w.enable("alice", serial, phone, now.Add(time.Hour)); code(err) != "InvalidAuthenticationCode" {
			t.Errorf("codes of another hour: %v", err)
		}
		if err := w.enable("alice", serial, phone, now.Add(-30*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := w.enable("bob", serial, phone, now.Add(-30*time.Second)); code(err) != "EntityAlreadyExists" {
			t.Errorf("a device of two users: %v", err)
		}
		list := must(w.root.ListMFADevices(ctx(), &api.ListMFADevicesInput{UserName: "alice"}))(w)
		if len(list.MFADevices) != 1 || list.MFADevices[0].UserName != "alice" || list.MFADevices[0].SerialNumber != serial || list.MFADevices[0].EnableDate.IsZero() {
			t.Errorf("ListMFADevices = %+v", list.MFADevices)
		}
		assigned := must(w.root.ListVirtualMFADevices(ctx(), &api.ListVirtualMFADevicesInput{AssignmentStatus: "Assigned"}))(w)
		if len(assigned.VirtualMFADevices) != 1 || assigned.VirtualMFADevices[0].User.UserName != "alice" {
			t.Errorf("ListVirtualMFADevices = %+v", assigned.VirtualMFADevices)
		}
		if d := must(w.root.GetMFADevice(ctx(), &api.GetMFADeviceInput{UserName: "alice", SerialNumber: serial}))(w); d.SerialNumber != serial || d.UserName != "alice" {
			t.Errorf("GetMFADevice = %+v", d)
		}
		if _, err := w.root.DeleteVirtualMFADevice(ctx(), &api.DeleteVirtualMFADeviceInput{SerialNumber: serial}); code(err) != "DeleteConflict" {
			t.Errorf("a device in use is deleted: %v", err)
		}

		// A code is taken once, and none that is older.
		verify := func(p aws.Principal, at time.Time, text string) string {
			w.Helper()
			return code(w.iam.VerifyMFA(ctx(), p, serial, text, at))
		}
		for _, tt := range []struct {
			name string
			p    aws.Principal
			at   time.Duration
			of   time.Duration
			want string
		}{
			{"the second code of enabling is spent", alice, 0, 0, "AccessDenied"},
			{"the next code", alice, 30 * time.Second, 30 * time.Second, ""},
			{"again", alice, 30 * time.Second, 30 * time.Second, "AccessDenied"},
			{"an older one", alice, 30 * time.Second, 0, "AccessDenied"},
			{"somebody else's device", bob, time.Minute, time.Minute, "AccessDenied"},
			{"a step early", alice, 2 * time.Minute, 150 * time.Second, ""},
			{"two steps late", alice, 6 * time.Minute, 5 * time.Minute, "AccessDenied"},
			{"a step late", alice, 6 * time.Minute, 330 * time.Second, ""},
		} {
			if got := verify(tt.p, now.Add(tt.at), phone.code(now.Add(tt.of))); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		if got := code(w.iam.VerifyMFA(ctx(), alice, serial+"x", phone.code(now), now)); got != "AccessDenied" {
			t.Errorf("a device that is not there: %q", got)
		}

		// A clock that is an hour ahead is followed after a resync.
		ahead := now.Add(time.Hour)
		must(w.root.ResyncMFADevice(ctx(), &api.ResyncMFADeviceInput{
			UserName: "alice", SerialNumber: serial, AuthenticationCode1: phone.code(ahead), AuthenticationCode2: phone.code(ahead.Add(30 * time.Second)),
		}))(w)
		if got := verify(alice, now.Add(2*time.Minute), phone.code(ahead.Add(2*time.Minute))); got != "" {
			t.Errorf("after a resync: %q", got)
		}
		if got := verify(alice, now.Add(3*time.Minute), phone.code(now.Add(3*time.Minute))); got != "AccessDenied" {
			t.Errorf("a code of the hour before: %q", got)
		}
		if _, err := w.root.ResyncMFADevice(ctx(), &api.ResyncMFADeviceInput{UserName: "alice", SerialNumber: serial, AuthenticationCode1: "000000", AuthenticationCode2: "000000"}); code(err) != "InvalidAuthenticationCode" {
			t.Errorf("resync with wrong codes: %v", err)
		}

		if _, err := w.root.ResyncMFADevice(ctx(), &api.ResyncMFADeviceInput{
			UserName: "alice", SerialNumber: serial, AuthenticationCode1: phone.code(ahead), AuthenticationCode2: phone.code(ahead.Add(30 * time.Second)),
		}); code(err) != "InvalidAuthenticationCode" {
			t.Errorf("resync with spent codes: %v", err)
		}

		// Guessing becomes slow, and a right code ends that. One miss was above.
		at := now.Add(10 * time.Minute)
		for i := range 9 {
			if got := verify(alice, at, "x"); got != "AccessDenied" {
				t.Errorf("guess %d: %q", i, got)
			}
		}
		if got := verify(alice, at, phone.code(ahead.Add(10*time.Minute))); got != "Throttling" {
			t.Errorf("a guess too many: %q", got)
		}
		at = at.Add(30 * time.Second)
		if got := verify(alice, at, phone.code(ahead.Add(10*time.Minute+30*time.Second))); got != "" {
			t.Errorf("the next step: %q", got)
		}
		for range 2 {
			if got := verify(alice, at, "x"); got != "AccessDenied" {
				t.Errorf("a guess after the right code: %q", got)
			}
		}

		if _, err := w.root.DeactivateMFADevice(ctx(), &api.DeactivateMFADeviceInput{UserName: "bob", SerialNumber: serial}); code(err) != "NoSuchEntity" {
			t.Errorf("somebody else's device is deactivated: %v", err)
		}
		must(w.root.DeactivateMFADevice(ctx(), &api.DeactivateMFADeviceInput{UserName: "alice", SerialNumber: serial}))(w)
		if got := verify(alice, now.Add(4*time.Minute), phone.code(ahead.Add(4*time.Minute))); got != "AccessDenied" {
			t.Errorf("a deactivated device: %q", got)
		}
		must(w.root.DeleteVirtualMFADevice(ctx(), &api.DeleteVirtualMFADeviceInput{SerialNumber: serial}))(w)
	})
}

// TestSecretsAtRest holds that seeds and private keys lie sealed, and that
// certificates come back as AWS shows them: without white space around them.
func TestSecretsAtRest(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		serial, phone := w.device("phone")
		cert, key := iam.Files(t, "certificates.txtar", "cert"), iam.Files(t, "certificates.txtar", "key")
		must(w.root.UploadServerCertificate(ctx(), &api.UploadServerCertificateInput{ServerCertificateName: "c", CertificateBody: "\n" + cert, PrivateKey: key}))(w)
		shown := must(w.root.GetServerCertificate(ctx(), &api.GetServerCertificateInput{ServerCertificateName: "c"}))(w)
		if got := shown.ServerCertificate.CertificateBody; got != strings.TrimSpace(cert) {
			t.Errorf("body = %q", got)
		}
		err := w.env.DB.View(ctx(), func(tx *state.Tx) error {
			stored, err := state.Get[[]byte](ctx(), tx, `SELECT seed FROM iam_mfa WHERE serial = $1`, serial)
			if err == nil && bytes.Contains(stored, phone.seed) {
				t.Error("the seed can be read in the database")
			}
			if err != nil {
				return err
			}
			stored, err = state.Get[[]byte](ctx(), tx, `SELECT secret FROM iam_server_certificate WHERE name = 'c'`)
			if err == nil && bytes.Contains(stored, []byte("PRIVATE KEY")) {
				t.Error("the private key can be read in the database")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestCredentialReport(t *testing.T) {
	each(t, iam.Options{Uses: oneUse{}}, func(w world) {
		w.user("zoe", "")
		must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "anna"}))(w)
		must(w.root.UpdateAccountPasswordPolicy(ctx(), &api.UpdateAccountPasswordPolicyInput{MaxPasswordAge: new(int64(90))}))(w)
		must(w.root.CreateLoginProfile(ctx(), &api.CreateLoginProfileInput{UserName: "anna", Password: "Secret-1"}))(w)
		serial, phone := w.device("phone")
		if err := w.enable("anna", serial, phone, w.env.Now()); err != nil {
			t.Fatal(err)
		}
		must(w.root.GenerateCredentialReport(ctx(), &api.GenerateCredentialReportInput{}))(w)
		text := string(must(w.root.GetCredentialReport(ctx(), &api.GetCredentialReportInput{}))(w).Content)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "user,arn,user_creation_time,password_enabled,") || !strings.HasSuffix(lines[0], ",cert_2_active,cert_2_last_rotated") {
			t.Fatalf("report:\n%s", text)
		}
		today := w.env.Now().UTC().Format("2006-01-02T")
		rotation := w.env.Now().UTC().AddDate(0, 0, 90).Format("2006-01-02T")
		for i, want := range []struct {
			who    string
			fields map[int]string // what the field begins with
		}{
			{"<root_account>", map[int]string{1: "arn:aws:iam::111111111111:root", 3: "not_supported", 7: "false", 8: "true"}},
			{"anna", map[int]string{2: today, 3: "true", 4: "no_information", 5: today, 6: rotation, 7: "true", 8: "false", 9: "N/A", 21: "N/A"}},
			{"zoe", map[int]string{3: "false", 4: "N/A", 7: "false", 8: "true", 9: today, 10: "2026-01-02T03:04:05+00:00", 11: "eu-west-1", 12: "s3", 13: "false", 14: "N/A"}},
		} {
			fields := strings.Split(lines[i+1], ",")
			if len(fields) != 22 || fields[0] != want.who {
				t.Fatalf("line %d: %s", i+1, lines[i+1])
			}
			for n, begin := range want.fields {
				if !strings.HasPrefix(fields[n], begin) {
					t.Errorf("%s: field %d = %q, want %q", want.who, n, fields[n], begin)
				}
			}
		}
	})
}
