package gateway

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
)

// postSignature signs a policy as the S3 User Guide says.
func postSignature(policy, day string) string {
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, "us-east-1", "s3", "aws4_request", policy} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// post are the fields of a form, in order; the file comes last.
type post struct {
	fields [][2]string
	file   string
	name   string
}

// signedPost is a form with a policy of conditions, signed by alice.
func signedPost(file, conditions string, fields ...[2]string) post {
	now := time.Now().UTC()
	day := now.Format("20060102")
	credential := keyID + "/" + day + "/us-east-1/s3/aws4_request"
	policy := base64.StdEncoding.EncodeToString(fmt.Appendf(nil,
		`{"expiration":%q,"conditions":[{"x-amz-algorithm":"AWS4-HMAC-SHA256"},{"x-amz-credential":%q},{"x-amz-date":%q},%s]}`,
		now.Add(time.Minute).Format(time.RFC3339), credential, now.Format("20060102T150405Z"), conditions))
	return post{append(fields,
		[2]string{"X-Amz-Algorithm", "AWS4-HMAC-SHA256"}, [2]string{"X-Amz-Credential", credential},
		[2]string{"X-Amz-Date", now.Format("20060102T150405Z")}, [2]string{"Policy", policy},
		[2]string{"X-Amz-Signature", postSignature(policy, day)}), file, "dir/photo.jpg"}
}

func (p post) request(t testing.TB, bucket string) *http.Request {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range p.fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if p.name != "" {
		part, err := w.CreateFormFile("file", p.name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, p.file)
	}
	w.WriteField("submit", "after the file nothing counts")
	w.Close()
	r := httptest.NewRequest("POST", "/"+bucket, &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return r
}

func (s *site) post(t testing.TB, p post) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, p.request(t, "mine"))
	return w.Result()
}

func TestPostForm(t *testing.T) {
	s := newSite(t)
	resp := s.post(t, signedPost("12345",
		`{"bucket":"mine"},["starts-with","$key","up/"],["eq","$Content-Type","image/jpeg"],{"x-amz-meta-a":"b"},{"acl":"private"},["starts-with","$tagging",""],["content-length-range",5,"5"]`,
		[2]string{"key", "up/${filename}"}, [2]string{"Content-Type", "image/jpeg"}, [2]string{"x-amz-meta-a", "b"}, [2]string{"acl", "private"},
		[2]string{"tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>a&amp;b</Value></Tag></TagSet></Tagging>"}, [2]string{"x-ignore-me", "x"}))
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(fmt.Sprint(resp.Header), "ETag:[5]") || !strings.HasSuffix(resp.Header.Get("Location"), "/mine/up/photo.jpg") {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("got %s, %v, %s", resp.Status, resp.Header, body)
	}
	c, v := s.last(t)
	in := v.(*s3.PutObjectInput)
	if in.Bucket != "mine" || in.Key != "up/photo.jpg" || in.ContentType != "image/jpeg" || in.ACL != "private" || in.Metadata["a"] != "b" || in.Tagging != "k=a%26b" {
		t.Errorf("got %+v", in)
	}
	if c.Principal.ARN != alice.ARN || c.Region != "us-east-1" || c.Operation != "PutObject" || c.Keys["s3:authtype"][0] != "POST" {
		t.Errorf("got %+v", c)
	}
}

func TestPostAnswers(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		field, value string
		status       int
		body, to     string
	}{
		{"success_action_status", "200", 200, "", ""},
		{"success_action_status", "201", 201, "<PostResponse><Location>http://example.com/mine/a%20b</Location><Bucket>mine</Bucket><Key>a b</Key><ETag>1</ETag></PostResponse>", ""},
		{"success_action_status", "500", 204, "", ""},
		{"success_action_redirect", "https://example.org/done?x=y", 303, "", "https://example.org/done?bucket=mine&etag=1&key=a+b&x=y"},
		{"success_action_redirect", "javascript:alert(1)", 204, "", "http://example.com/mine/a%20b"},
	} {
		// Nobody signed: what he may do is for policies and lists to say.
		resp := s.post(t, post{[][2]string{{"key", "a b"}, {tt.field, tt.value}}, "x", "f"})
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) || tt.to != "" && resp.Header.Get("Location") != tt.to {
			t.Errorf("%s=%s: got %s, %v, %s", tt.field, tt.value, resp.Status, resp.Header, body)
		}
		if c, _ := s.last(t); c.Principal.Kind != aws.Anonymous {
			t.Errorf("got %+v", c.Principal)
		}
	}
}

func TestPostRefusals(t *testing.T) {
	s := newSite(t)
	key := [2]string{"key", "k"}
	anyKey := `["starts-with","$key",""]`
	forged := signedPost("x", anyKey, key)
	forged.fields[len(forged.fields)-1][1] = strings.Repeat("0", 64)
	swapped := signedPost("x", anyKey, key)
	swapped.fields[len(swapped.fields)-2][1] = base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2999-01-01T00:00:00Z","conditions":[]}`))
	unknown := signedPost("x", anyKey, key)
	unknown.fields[2][1] = strings.Replace(unknown.fields[2][1], keyID, "AKIANOBODY", 1)
	policy := func(text string) post {
		return post{[][2]string{key, {"policy", base64.StdEncoding.EncodeToString([]byte(text))}}, "x", "f"}
	}
	for _, tt := range []struct {
		name, code string
		status     int
		form       post
	}{
		{"no key", "InvalidArgument", 400, post{nil, "x", "f"}},
		{"no file", "InvalidArgument", 400, post{[][2]string{key}, "", ""}},
		{"key twice", "InvalidArgument", 400, post{[][2]string{key, key}, "x", "f"}},
		{"line break", "InvalidArgument", 400, post{[][2]string{key, {"x-amz-meta-a", "a\r\nSet-Cookie: b"}}, "x", "f"}},
		{"too many fields", "MaxPostPreDataLengthExceededError", 400, post{[][2]string{key, {"x-amz-meta-a", strings.Repeat("a", maxPostFields)}}, "x", "f"}},
		{"far too many fields", "MaxPostPreDataLengthExceededError", 400, post{[][2]string{key, {"x-ignore-a", strings.Repeat("a", 2*maxPostLead)}}, "x", "f"}},
		{"tags", "MalformedXML", 400, post{[][2]string{key, {"tagging", "a=b"}}, "x", "f"}},
		{"old signature", "InvalidRequest", 400, post{[][2]string{key, {"AWSAccessKeyId", "a"}, {"signature", "b"}}, "x", "f"}},
		{"forged", "SignatureDoesNotMatch", 403, forged},
		{"another policy", "SignatureDoesNotMatch", 403, swapped},
		{"unknown key", "InvalidAccessKeyId", 403, unknown},
		{"condition", "AccessDenied", 403, signedPost("x", `{"key":"other"}`, key)},
		{"starts with", "AccessDenied", 403, signedPost("x", `["starts-with","$key","x"]`, key)},
		{"absent field", "AccessDenied", 403, signedPost("x", anyKey+`,{"acl":"private"}`, key)},
		{"bucket", "AccessDenied", 403, signedPost("x", anyKey+`,{"bucket":"other"}`, key)},
		{"extra field", "AccessDenied", 403, signedPost("x", anyKey, key, [2]string{"acl", "private"})},
		{"key not named", "AccessDenied", 403, signedPost("x", `{"bucket":"mine"}`, key)},
		{"too large", "EntityTooLarge", 400, signedPost("123456", anyKey+`,["content-length-range",0,5]`, key)},
		{"too small", "EntityTooSmall", 400, signedPost("1", anyKey+`,["content-length-range",2,5]`, key)},
		{"expired", "AccessDenied", 403, policy(`{"expiration":"2020-01-01T00:00:00Z","conditions":[]}`)},
		{"no expiration", "InvalidPolicyDocument", 400, policy(`{"conditions":[]}`)},
		{"no conditions", "InvalidPolicyDocument", 400, policy(`{"expiration":"2999-01-01T00:00:00Z"}`)},
		{"no JSON", "InvalidPolicyDocument", 400, policy(`{`)},
		{"operator", "InvalidPolicyDocument", 400, policy(`{"expiration":"2999-01-01T00:00:00Z","conditions":[["like","$key","x"]]}`)},
		{"range", "InvalidPolicyDocument", 400, policy(`{"expiration":"2999-01-01T00:00:00Z","conditions":[["content-length-range",-1,"x"]]}`)},
		{"field", "InvalidPolicyDocument", 400, policy(`{"expiration":"2999-01-01T00:00:00Z","conditions":[["eq","key","x"]]}`)},
		{"two in one", "InvalidPolicyDocument", 400, policy(`{"expiration":"2999-01-01T00:00:00Z","conditions":[{"a":"b","c":"d"}]}`)},
	} {
		resp := s.post(t, tt.form)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.status || !strings.Contains(string(body), "<Code>"+tt.code+"</Code>") {
			t.Errorf("%s: got %s, %s", tt.name, resp.Status, body)
		}
	}
	r := post{[][2]string{key}, "x", "f"}.request(t, "mine/key")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a form for a key: got %d", w.Code)
	}
	r = post{[][2]string{key}, "x", "f"}.request(t, "mine")
	r.ContentLength = -1
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusLengthRequired {
		t.Errorf("without a length: got %d", w.Code)
	}
}

// TestPostBrokenOff takes no file whose end did not arrive.
func TestPostBrokenOff(t *testing.T) {
	s := newSite(t)
	r := post{[][2]string{{"key", "k"}}, strings.Repeat("x", 1000), "f"}.request(t, "mine")
	whole, _ := io.ReadAll(r.Body)
	for _, cut := range []int{len(whole) - 300, len(whole) - 900} {
		half := httptest.NewRequest("POST", "/mine", bytes.NewReader(whole[:cut]))
		half.Header = r.Header
		w := httptest.NewRecorder()
		s.ServeHTTP(w, half)
		if w.Code != 400 {
			t.Errorf("cut at %d of %d: got %d, %s", cut, len(whole), w.Code, w.Body)
		}
	}
}

func FuzzPostForm(f *testing.F) {
	r := signedPost("12345", `["starts-with","$key",""]`, [2]string{"key", "k"}).request(f, "mine")
	whole, _ := io.ReadAll(r.Body)
	f.Add(r.Header.Get("Content-Type"), whole)
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"))
	f.Add("multipart/form-data; boundary=x", []byte("--x--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		form, err := readPostForm(contentType, bytes.NewReader(body))
		if err != nil {
			if _, ok := errors.AsType[*aws.Error](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		total := 0
		for name, value := range form.fields {
			total += len(name) + len(value)
		}
		if total > maxPostFields {
			t.Fatalf("%d bytes of fields", total)
		}
		form.key()
		form.header()
		if _, err := io.Copy(io.Discard, &postFile{r: form.file, most: 100}); err != nil {
			if _, ok := errors.AsType[*aws.Error](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
		}
	})
}

func FuzzPostPolicy(f *testing.F) {
	for _, text := range []string{
		`{"expiration":"2999-01-01T00:00:00Z","conditions":[{"bucket":"b"},["eq","$key","k"],["content-length-range",1,2]]}`,
		`{"expiration":"2999-01-01T00:00:00Z","conditions":[null,[],[1,2,3],{}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePostPolicy(base64.StdEncoding.EncodeToString(text))
		if err != nil {
			if _, ok := errors.AsType[*aws.Error](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		p.check(map[string]string{"key": "k"}, time.Now())
	})
}
