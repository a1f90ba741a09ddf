package iam

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// reportLasts is how long a credential report can be fetched.
const reportLasts = 4 * time.Hour

var reportHeader = []string{
	"user", "arn", "user_creation_time",
	"password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active",
	"access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service",
	"access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date", "access_key_2_last_used_region", "access_key_2_last_used_service",
	"cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
}

// notApplicable is what a report says of what there is not.
const notApplicable = "N/A"

// reportRow is one user in a credential report, or the account's root.
type reportRow struct {
	name, arn string
	created   time.Time
	password  [4]string // enabled, last used, last changed, next rotation
	mfa       bool
	keys      []keyRow
	certs     []signingCertificate
}

// generateCredentialReport writes the report anew each time: AWS does so every
// four hours at most.
func (s *Service) generateCredentialReport(ctx context.Context, c *call.Call, _ *api.GenerateCredentialReportInput) (*api.GenerateCredentialReportOutput, error) {
	var rows []reportRow
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		rows, err = reportRows(ctx, tx, c.Account())
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := s.report(ctx, rows)
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO iam_credential_report (account, content, generated) VALUES ($1, $2, $3)
			ON CONFLICT (account) DO UPDATE SET content = excluded.content, generated = excluded.generated`,
			c.Account(), text, c.Time.Truncate(time.Second))
		return err
	})
	return &api.GenerateCredentialReportOutput{State: "COMPLETE"}, err
}

// reportRows are the root of an account and its users, by name.
func reportRows(ctx context.Context, tx *state.Tx, account string) ([]reportRow, error) {
	a, err := state.Get[accountRow](ctx, tx, findAccount, account)
	if err != nil {
		return nil, err
	}
	rules, err := passwordPolicyOf(ctx, tx, account)
	if err != nil {
		return nil, err
	}
	root := reportRow{
		name: "<root_account>", arn: aws.RootPrincipal(account).ARN, created: a.Created,
		password: [4]string{"not_supported", "no_information", "not_supported", "not_supported"},
	}
	if err := root.credentials(ctx, tx, account); err != nil {
		return nil, err
	}
	users, err := state.List[entity](ctx, tx, `SELECT `+entityColumns+` FROM iam_entity WHERE account = $1 AND kind = 'user' ORDER BY folded`, account)
	if err != nil {
		return nil, err
	}
	rows := []reportRow{root}
	for _, u := range users {
		r := reportRow{name: u.Name, arn: u.arn(), created: u.Created}
		if r.password, err = reportPassword(ctx, tx, u.ID, rules); err != nil {
			return nil, err
		}
		if err := r.credentials(ctx, tx, u.ID); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// reportPassword says of a user's password whether there is one, when it was
// last used, when it was changed, and when it has to be.
func reportPassword(ctx context.Context, tx *state.Tx, userID string, rules *passwordPolicy) ([4]string, error) {
	l, err := state.Get[login](ctx, tx, findLogin, userID)
	if errors.Is(err, state.ErrNotFound) {
		return [4]string{"false", notApplicable, notApplicable, notApplicable}, nil
	}
	next := notApplicable
	if rules != nil && rules.MaxAge > 0 {
		next = reportTime(l.Changed.AddDate(0, 0, int(rules.MaxAge)))
	}
	return [4]string{"true", "no_information", reportTime(l.Changed), next}, err
}

// credentials reads what a user, or the root, holds.
func (r *reportRow) credentials(ctx context.Context, tx *state.Tx, id string) (err error) {
	if r.keys, err = state.List[keyRow](ctx, tx, `SELECT id, account, user_id, secret, status, created FROM iam_access_key WHERE user_id = $1 ORDER BY created, id`, id); err != nil {
		return err
	}
	if r.certs, err = state.List[signingCertificate](ctx, tx, listSigningCertificates, id); err != nil {
		return err
	}
	r.mfa, err = has(ctx, tx, `SELECT 1 FROM iam_mfa WHERE user_id = $1 LIMIT 1`, id)
	return err
}

func reportTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+00:00") }

// report is the text of a credential report.
func (s *Service) report(ctx context.Context, rows []reportRow) (string, error) {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.Write(reportHeader)
	for _, r := range rows {
		fields := []string{r.name, r.arn, reportTime(r.created)}
		fields = append(append(fields, r.password[:]...), strconv.FormatBool(r.mfa))
		for i := range 2 {
			key, err := s.reportKey(ctx, r.keys, i)
			if err != nil {
				return "", err
			}
			fields = append(fields, key...)
		}
		for i := range 2 {
			fields = append(fields, reportCertificate(r.certs, i)...)
		}
		w.Write(fields)
	}
	w.Flush()
	return text.String(), w.Error()
}

// reportKey says of an access key whether it is active, when it was made, and
// when, where and for what it was last used.
func (s *Service) reportKey(ctx context.Context, keys []keyRow, i int) ([]string, error) {
	if i >= len(keys) {
		return []string{"false", notApplicable, notApplicable, notApplicable, notApplicable}, nil
	}
	k := keys[i]
	fields := []string{strconv.FormatBool(k.Status == active), reportTime(k.Created), notApplicable, notApplicable, notApplicable}
	use, ok, err := s.uses.KeyUse(ctx, k.ID)
	if ok {
		fields[2], fields[3], fields[4] = reportTime(use.Time), use.Region, use.Service
	}
	return fields, err
}

func reportCertificate(certs []signingCertificate, i int) []string {
	if i >= len(certs) {
		return []string{"false", notApplicable}
	}
	return []string{strconv.FormatBool(certs[i].Status == active), reportTime(certs[i].Uploaded)}
}

func (s *Service) getCredentialReport(ctx context.Context, c *call.Call, _ *api.GetCredentialReportInput) (*api.GetCredentialReportOutput, error) {
	type stored struct {
		Content   string    `db:"content"`
		Generated time.Time `db:"generated"`
	}
	var r stored
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		r, err = state.Get[stored](ctx, tx, `SELECT content, generated FROM iam_credential_report WHERE account = $1`, c.Account())
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil, aws.Errorf("ReportNotPresent", "No report present. To generate a credential report, use GenerateCredentialReport.").WithStatus(410)
	}
	if err != nil {
		return nil, err
	}
	if c.Time.Sub(r.Generated) > reportLasts {
		return nil, aws.Errorf("ReportExpired", "The most recent credential report has expired. To generate a new credential report, use GenerateCredentialReport.").WithStatus(410)
	}
	return &api.GetCredentialReportOutput{Content: []byte(r.Content), ReportFormat: "text/csv", GeneratedTime: &r.Generated}, nil
}
