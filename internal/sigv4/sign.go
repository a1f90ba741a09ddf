package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signer are the credentials and the scope of a signature.
type Signer struct {
	AccessKeyID string
	Secret      []byte
	Token       string
	Region      string
	Service     string
}

// Sign signs r in its Authorization header. digest is the Digest of its body,
// or UnsignedPayload.
func (s Signer) Sign(r *http.Request, digest string, now time.Time) {
	date := now.UTC().Format(isoBasic)
	r.Header.Set("X-Amz-Date", date)
	if s.Token != "" {
		r.Header.Set("X-Amz-Security-Token", s.Token)
	}
	if s.Service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", digest)
	}
	q := s.request(r, date, false)
	r.Header.Set("Authorization", algorithm+" Credential="+s.AccessKeyID+"/"+s.scope(q.day)+
		", SignedHeaders="+q.signedHeaders+", Signature="+s.signature(q, digest))
}

// Presign returns the URL of r signed in its query, good for expires. The
// headers of r become part of the signature; whoever uses the URL sends them.
func (s Signer) Presign(r *http.Request, expires time.Duration, now time.Time) *url.URL {
	date := now.UTC().Format(isoBasic)
	q := s.request(r, date, true)
	query := r.URL.Query()
	query.Set("X-Amz-Algorithm", algorithm)
	query.Set("X-Amz-Credential", s.AccessKeyID+"/"+s.scope(q.day))
	query.Set("X-Amz-Date", date)
	query.Set("X-Amz-Expires", strconv.Itoa(int(expires/time.Second)))
	query.Set("X-Amz-SignedHeaders", q.signedHeaders)
	if s.Token != "" {
		query.Set("X-Amz-Security-Token", s.Token)
	}
	u := *r.URL
	u.RawQuery = query.Encode()
	signed := *r
	signed.URL = &u
	q.r = &signed
	digest := EmptyPayload
	if s.Service == "s3" {
		digest = UnsignedPayload
	}
	u.RawQuery += "&X-Amz-Signature=" + s.signature(q, digest)
	return &u
}

func (s Signer) request(r *http.Request, date string, presigned bool) *Request {
	if r.Host == "" {
		// The host a client sends is the URL's, and the one it signs as well.
		c := *r
		c.Host = r.URL.Host
		r = &c
	}
	return &Request{r: r, AccessKeyID: s.AccessKeyID, Region: s.Region, Service: s.Service,
		Presigned: presigned, date: date, day: date[:8], signedHeaders: headersToSign(r)}
}

// headersToSign lists what a signature covers: the host, the type of the
// content, and whatever AWS gives a meaning.
func headersToSign(r *http.Request) string {
	names := []string{"host"}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") || lower == "content-type" || lower == "content-md5" {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}

func (s Signer) scope(day string) string {
	return string(appendScope(nil, day, s.Region, s.Service))
}

func (s Signer) signature(q *Request, digest string) string {
	sum := sha256.Sum256(q.appendCanonical(nil, digest))
	toSign := appendToSign(nil, algorithm, q.date, q.day, q.Region, q.Service)
	toSign = hex.AppendEncode(toSign, sum[:])
	key := signingKey(s.Secret, q.day, q.Region, q.Service)
	signature := mac(key[:], toSign)
	return hex.EncodeToString(signature[:])
}
