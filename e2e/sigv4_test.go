package e2e

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sekisho/sekisho/internal/sigv4"
)

// TestSignerOfTheSDK signs with the official SDK what clients send, and odd
// things besides, and verifies it with ours.
func TestSignerOfTheSDK(t *testing.T) {
	credentials := aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret/with+signs", SessionToken: "token//+=="}
	now := time.Now().UTC().Truncate(time.Second)
	verify := func(t *testing.T, r *http.Request, digest string) {
		t.Helper()
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Fatal(err)
		}
		q, err := sigv4.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if q.Token != credentials.SessionToken || q.AccessKeyID != credentials.AccessKeyID {
			t.Errorf("credentials %q %q", q.AccessKeyID, q.Token)
		}
		if err := q.Verify([]byte(credentials.SecretAccessKey), digest, now.Add(time.Minute)); err != nil {
			t.Errorf("%v\n%s", err, err.(*sigv4.Error).For(sigv4.S3).Fields["CanonicalRequest"])
		}
	}
	for _, target := range []string{
		"/", "/bucket/key", "/bucket/a%20b", "/bucket/a%2Bb", "/bucket/a%2Fb", "/bucket/%E6%97%A5%E6%9C%AC",
		"/bucket/%28a%29%21%2A%27%24%26%3D%3B%2C%40%3A", "/bucket/~x-_.", "/bucket/%25", "/bucket/a//b", "/bucket/./../x", "/bucket/trailing/",
		"/?list-type=2&prefix=a%2Fb%20c", "/?delete", "/?versions&key-marker=", "/?k=2&k=1&k=10&k", "/?a-=1&a=2&A=3",
		"/?x=a+b", "/?x=a%2Bb", "/?x=%E6%97%A5", "/?x=a=b", "/?x-id=PutObject&partNumber=1&uploadId=ab.c_d~",
	} {
		for _, service := range []string{"s3", "kms"} {
			if service == "kms" && (strings.Contains(target, "/.") || strings.Contains(target, "//")) {
				continue // this signer cleans no paths; AWS and its other SDKs do
			}
			for _, digest := range []string{sigv4.EmptyPayload, sigv4.UnsignedPayload, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} {
				if service == "kms" && digest != sigv4.EmptyPayload {
					continue
				}
				t.Run(service+" "+target+" "+digest[:4], func(t *testing.T) {
					signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
					r := request(t, target)
					r.Header.Set("X-Amz-Content-Sha256", digest)
					if service == "kms" {
						r.Header.Del("X-Amz-Content-Sha256")
					}
					if err := signer.SignHTTP(t.Context(), credentials, r, digest, service, "eu-central-1", now); err != nil {
						t.Fatal(err)
					}
					verify(t, r, digest)
				})
				t.Run("presigned "+service+" "+target+" "+digest[:4], func(t *testing.T) {
					signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
					r := request(t, target)
					if service == "s3" {
						query := r.URL.Query()
						query.Set("X-Amz-Expires", "300")
						r.URL.RawQuery = query.Encode()
						r.Header.Set("X-Amz-Content-Sha256", digest)
					}
					signed, header, err := signer.PresignHTTP(t.Context(), credentials, r, digest, service, "eu-central-1", now)
					if err != nil {
						t.Fatal(err)
					}
					u, err := url.Parse(signed)
					if err != nil {
						t.Fatal(err)
					}
					verify(t, &http.Request{Method: r.Method, URL: u, Host: header.Get("Host"), Header: header}, digest)
				})
			}
		}
	}
}

func request(t *testing.T, target string) *http.Request {
	r, err := http.NewRequest("PUT", "http://127.0.0.1:4566"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	r.Header.Set("X-Amz-Meta-Text", "  one   two  ")
	r.Header.Add("X-Amz-Meta-List", "b")
	r.Header.Add("X-Amz-Meta-List", "a")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	return r
}
