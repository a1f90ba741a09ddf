package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// admin speaks to a running server as its operator: whoever can read the
// token in the data directory.
type admin struct {
	dir      string
	endpoint string
	token    string
	pool     *x509.CertPool
	http     *http.Client
}

// connect finds the server that runs on a data directory.
func connect(flag string) (*admin, error) {
	dir, err := dataDir(flag)
	if err != nil {
		return nil, err
	}
	endpoint, err := os.ReadFile(filepath.Join(dir, "endpoint"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no server runs on %s: start one with sekisho serve, or name its directory with --data", dir)
	}
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.pem"))
	}
	return &admin{
		dir: dir, endpoint: strings.TrimSpace(string(endpoint)), token: strings.TrimSpace(string(token)), pool: pool,
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}, nil
}

func (a *admin) credentialsFile() string { return filepath.Join(a.dir, "credentials") }
func (a *admin) caFile() string          { return filepath.Join(a.dir, "ca.pem") }

func (a *admin) get(ctx context.Context, path string, out any) error {
	return a.do(ctx, http.MethodGet, path, nil, out)
}

func (a *admin) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return a.do(ctx, http.MethodPost, path, bytes.NewReader(body), out)
}

func (a *admin) do(ctx context.Context, method, path string, body io.Reader, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, a.endpoint+"/_sekisho/admin/"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.http.Do(r)
	if err != nil {
		return fmt.Errorf("the server of %s does not answer: %w", a.dir, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return json.Unmarshal(text, out)
}
