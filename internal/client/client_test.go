package client

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/sigv4"
)

var keys = Credentials{AccessKeyID: "ASIAKEY", Secret: seal.NewSecret([]byte("secret")), Token: "token"}

// server answers with h once a request's signature is proven.
func server(t *testing.T, h func(w http.ResponseWriter, r *http.Request, body string)) *Client {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		signed, err := sigv4.Parse(r)
		if err != nil {
			t.Error(err)
			return
		}
		if err := signed.Verify([]byte("secret"), sigv4.Digest(body), time.Now()); err != nil {
			t.Error(err)
		}
		if signed.Region != "eu-central-1" || signed.Token != "token" || signed.AccessKeyID != "ASIAKEY" {
			t.Errorf("%+v", signed)
		}
		h(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return New(s.URL+"/", "eu-central-1", keys, pool)
}

func TestCallsAreSigned(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if r.Header.Get("X-Amz-Target") != "TrentService.DescribeKey" || body != `{"KeyId":"k"}` {
			t.Errorf("%v %s", r.Header, body)
		}
		io.WriteString(w, `{"KeyMetadata":{"KeyId":"k"}}`)
	})
	out, err := kms.Client{Invoker: c}.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: "k"})
	if err != nil || out.KeyMetadata.KeyId != "k" {
		t.Errorf("%+v, %v", out, err)
	}
	if c.Region() != "eu-central-1" {
		t.Error(c.Region())
	}
}

func TestErrorsAreAnswers(t *testing.T) {
	c := server(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(400)
		io.WriteString(w, `{"__type":"NotFoundException","message":"no key"}`)
	})
	_, err := kms.Client{Invoker: c}.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: "k"})
	if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code != "NotFoundException" || e.Message != "no key" {
		t.Errorf("%v", err)
	}
}

// Keys keep their slashes and odd characters; bodies go out and come in as
// streams.
func TestStreams(t *testing.T) {
	const key = "a folder/ä+b&c=d?e%f"
	c := server(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path != "/bucket/"+key {
			t.Errorf("path %q", r.URL.Path)
		}
		switch r.Method {
		case http.MethodPut:
			w.Header().Set("Etag", body)
		case http.MethodGet:
			if r.URL.Query().Get("versionId") != "v 1" {
				w.WriteHeader(404)
				io.WriteString(w, `<Error><Code>NoSuchKey</Code></Error>`)
				return
			}
			io.WriteString(w, "content")
		}
	})
	api := s3.Client{Invoker: c}
	put, err := api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: "bucket", Key: key, Body: strings.NewReader("sent")})
	if err != nil || put.ETag != "sent" {
		t.Errorf("%+v, %v", put, err)
	}
	got, err := api.GetObject(t.Context(), &s3.GetObjectInput{Bucket: "bucket", Key: key, VersionId: "v 1"})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if text, err := io.ReadAll(got.Body); err != nil || string(text) != "content" {
		t.Errorf("%q, %v", text, err)
	}
	_, err = api.GetObject(t.Context(), &s3.GetObjectInput{Bucket: "bucket", Key: key})
	if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code != "NoSuchKey" {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotBeCalled(t *testing.T) {
	c := New("https://127.0.0.1:1", "us-east-1", keys, nil)
	for want, name := range map[string][2]string{
		"no service sqs":                {"sqs", "SendMessage"},
		"kms has no operation Nonsense": {"kms", "Nonsense"},
		"have a *kms.ListKeysInput":     {"kms", "DescribeKey"},
		"kms ListKeys: Post":            {"kms", "ListKeys"}, // nobody listens
	} {
		if _, err := c.Invoke(t.Context(), name[0], name[1], &kms.ListKeysInput{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", name, err, want)
		}
	}
}
