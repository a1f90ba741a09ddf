// Package client is a signed HTTP client for sekisho's API, as any SDK is one:
// the command line and the demonstration speak to the server through it.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/api"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/sigv4"
	"github.com/sekisho/sekisho/internal/wire"
)

// Credentials are an access key.
type Credentials struct {
	AccessKeyID string
	Secret      seal.Secret
	Token       string
}

// Client calls a server in one region as one caller. It implements
// call.Invoker.
type Client struct {
	endpoint string
	region   string
	keys     Credentials
	http     *http.Client
}

// New returns a client for an endpoint such as https://127.0.0.1:4566. pool
// holds the certificate authorities it trusts; nil means the system's.
func New(endpoint, region string, keys Credentials, pool *x509.CertPool) *Client {
	return &Client{
		endpoint: strings.TrimSuffix(endpoint, "/"),
		region:   region,
		keys:     keys,
		http: &http.Client{
			Timeout: 2 * time.Minute,
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: 8,
			},
		},
	}
}

// Region is the region the client calls.
func (c *Client) Region() string { return c.region }

// Invoke runs an operation. The error is an *aws.Error when the server
// answered with one.
func (c *Client) Invoke(ctx context.Context, service, operation string, in any) (any, error) {
	s, ok := api.Services()[service]
	if !ok {
		return nil, fmt.Errorf("no service %s", service)
	}
	op, ok := s.Operation(operation)
	if !ok {
		return nil, fmt.Errorf("%s has no operation %s", service, operation)
	}
	q, err := op.EncodeRequest(in)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, s, q)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", service, operation, err)
	}
	answer := &wire.Response{Status: resp.StatusCode, Header: resp.Header}
	if op.StreamsOut() && resp.StatusCode < 300 {
		answer.Stream = resp.Body
		return op.DecodeResponse(answer)
	}
	defer resp.Body.Close()
	if answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20)); err != nil {
		return nil, fmt.Errorf("%s %s: %w", service, operation, err)
	}
	return op.DecodeResponse(answer)
}

// send signs a request and sends it. A streamed body is read whole, since
// what the command line sends is small.
func (c *Client) send(ctx context.Context, s *wire.Service, q *wire.Request) (*http.Response, error) {
	body := q.Body
	if q.Stream != nil {
		var err error
		if body, err = io.ReadAll(q.Stream); err != nil {
			return nil, err
		}
	}
	url := c.endpoint + q.Path()
	if query := q.Query.Encode(); query != "" {
		url += "?" + query
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range q.Header {
		r.Header[name] = values
	}
	r.Header.Set("User-Agent", "sekisho")
	signer := sigv4.Signer{
		AccessKeyID: c.keys.AccessKeyID, Secret: c.keys.Secret.Reveal(), Token: c.keys.Token,
		Region: c.region, Service: s.Signing,
	}
	signer.Sign(r, sigv4.Digest(body), time.Now())
	return c.http.Do(r)
}
