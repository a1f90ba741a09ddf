package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// keyOf is a customer's key made of one byte, and its MD5.
func keyOf(b byte) customerKey {
	raw := bytes.Repeat([]byte{b}, 32)
	sum := md5.Sum(raw)
	return customerKey{"AES256", base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString(sum[:])}
}

func (w *world) allowCustomerKeys(c api.Client, bucket string) {
	w.T.Helper()
	must[*api.PutBucketEncryptionOutput](w.T)(c.PutBucketEncryption(w.T.Context(), &api.PutBucketEncryptionInput{
		Bucket: bucket, ServerSideEncryptionConfiguration: &api.ServerSideEncryptionConfiguration{Rules: []api.ServerSideEncryptionRule{{
			BlockedEncryptionTypes: &api.BlockedEncryptionTypes{EncryptionType: []string{"NONE"}},
		}}},
	}))
}

func TestCustomerKeys(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		k, wrong := keyOf('k'), keyOf('w')
		put := &api.PutObjectInput{Bucket: "mine", Key: "k", Body: strings.NewReader("secret words"),
			SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5}
		err := second(a.PutObject(ctx, put))
		wantCode(t, err, "AccessDenied")
		if !strings.Contains(err.Error(), "blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C)") {
			t.Error(err)
		}
		w.allowCustomerKeys(a, "mine")
		put.Body = strings.NewReader("secret words")
		out := must[*api.PutObjectOutput](t)(a.PutObject(ctx, put))
		if out.SSECustomerAlgorithm != "AES256" || out.SSECustomerKeyMD5 != k.md5 || out.ServerSideEncryption != "" {
			t.Errorf("got %+v", out)
		}
		get := &api.GetObjectInput{Bucket: "mine", Key: "k", SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5}
		if text, out := w.get(a, get); text != "secret words" || out.SSECustomerKeyMD5 != k.md5 || out.ServerSideEncryption != "" {
			t.Errorf("got %q, %+v", text, out)
		}
		get.Range = "bytes=7-"
		if text, _ := w.get(a, get); text != "words" {
			t.Errorf("got %q", text)
		}

		w.put(a, "mine", "plain", "x")
		for _, tt := range []struct {
			key  string
			own  customerKey
			code string
		}{
			{"k", customerKey{}, "InvalidRequest"},
			{"k", wrong, "AccessDenied"},
			{"k", customerKey{k.algorithm, k.key, wrong.md5}, "InvalidArgument"},
			{"k", customerKey{k.algorithm, k.key, ""}, "InvalidArgument"},
			{"k", customerKey{k.algorithm, "", k.md5}, "InvalidArgument"},
			{"k", customerKey{"", k.key, k.md5}, "InvalidArgument"},
			{"k", customerKey{"AES128", k.key, k.md5}, "InvalidEncryptionAlgorithmError"},
			{"k", customerKey{k.algorithm, "c2hvcnQ=", k.md5}, "InvalidArgument"},
			{"plain", k, "InvalidRequest"},
		} {
			in := &api.GetObjectInput{Bucket: "mine", Key: tt.key, SSECustomerAlgorithm: tt.own.algorithm, SSECustomerKey: tt.own.key, SSECustomerKeyMD5: tt.own.md5}
			wantCode(t, second(a.GetObject(ctx, in)), tt.code)
			wantCode(t, second(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: tt.key, SSECustomerAlgorithm: tt.own.algorithm, SSECustomerKey: tt.own.key, SSECustomerKeyMD5: tt.own.md5})), tt.code)
			wantCode(t, second(a.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: tt.key, ObjectAttributes: []string{"ETag"},
				SSECustomerAlgorithm: tt.own.algorithm, SSECustomerKey: tt.own.key, SSECustomerKeyMD5: tt.own.md5})), tt.code)
			wantCode(t, second(a.CopyObject(ctx, &api.CopyObjectInput{Bucket: "mine", Key: "copy", CopySource: "mine/" + tt.key,
				CopySourceSSECustomerAlgorithm: tt.own.algorithm, CopySourceSSECustomerKey: tt.own.key, CopySourceSSECustomerKeyMD5: tt.own.md5})), tt.code)
		}
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: "AES256",
			SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5})), "InvalidArgument")

		// From one key to another, and to none.
		must[*api.CopyObjectOutput](t)(a.CopyObject(ctx, &api.CopyObjectInput{Bucket: "mine", Key: "copy", CopySource: "mine/k",
			CopySourceSSECustomerAlgorithm: k.algorithm, CopySourceSSECustomerKey: k.key, CopySourceSSECustomerKeyMD5: k.md5,
			SSECustomerAlgorithm: wrong.algorithm, SSECustomerKey: wrong.key, SSECustomerKeyMD5: wrong.md5}))
		must[*api.HeadObjectOutput](t)(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "copy",
			SSECustomerAlgorithm: wrong.algorithm, SSECustomerKey: wrong.key, SSECustomerKeyMD5: wrong.md5}))
		must[*api.CopyObjectOutput](t)(a.CopyObject(ctx, &api.CopyObjectInput{Bucket: "mine", Key: "open", CopySource: "mine/k",
			CopySourceSSECustomerAlgorithm: k.algorithm, CopySourceSSECustomerKey: k.key, CopySourceSSECustomerKeyMD5: k.md5}))
		if text := w.text(a, "mine", "open"); text != "secret words" {
			t.Errorf("got %q", text)
		}
		w.noKeyAtRest(k)
	})
}

// noKeyAtRest looks for a key where it must not be: in blobs, rows and the
// record of calls.
func (w *world) noKeyAtRest(k customerKey) {
	w.T.Helper()
	raw, _ := base64.StdEncoding.DecodeString(k.key)
	for _, name := range w.blobs.names(w.T) {
		if b := w.blobs.bytes(w.T, name); bytes.Contains(b, raw) || bytes.Contains(b, []byte("secret words")) {
			w.T.Errorf("blob %s holds the key or the text", name)
		}
	}
	for _, e := range w.Records() {
		if text, _ := json.Marshal([]json.RawMessage{e.Request, e.Response}); bytes.Contains(text, []byte(k.key)) {
			w.T.Errorf("the record of %s holds the key: %s", e.Call.Operation, text)
		}
	}
}

func TestCustomerKeysOfUploads(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.allowCustomerKeys(a, "mine")
		k, wrong := keyOf('k'), keyOf('w')
		u := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "k",
			SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5}))
		part := func(own customerKey, n int64, text string) (*api.UploadPartOutput, error) {
			return a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumber: &n, Body: strings.NewReader(text),
				SSECustomerAlgorithm: own.algorithm, SSECustomerKey: own.key, SSECustomerKeyMD5: own.md5})
		}
		wantCode(t, second(part(customerKey{}, 1, "x")), "InvalidRequest")
		wantCode(t, second(part(wrong, 1, "x")), "InvalidRequest")
		first := must[*api.UploadPartOutput](t)(part(k, 1, "0123456789"))
		w.put(a, "mine", "source", "abcdef")
		n := int64(2)
		copied := must[*api.UploadPartCopyOutput](t)(a.UploadPartCopy(ctx, &api.UploadPartCopyInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumber: &n,
			CopySource: "mine/source", SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5}))
		done := &api.CompleteMultipartUploadInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, MultipartUpload: &api.CompletedMultipartUpload{Parts: []api.CompletedPart{
			{PartNumber: new(int64(1)), ETag: first.ETag}, {PartNumber: &n, ETag: copied.CopyPartResult.ETag},
		}}, SSECustomerAlgorithm: wrong.algorithm, SSECustomerKey: wrong.key, SSECustomerKeyMD5: wrong.md5}
		wantCode(t, second(a.CompleteMultipartUpload(ctx, done)), "InvalidRequest")
		done.SSECustomerAlgorithm, done.SSECustomerKey, done.SSECustomerKeyMD5 = "", "", ""
		must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, done))
		get := &api.GetObjectInput{Bucket: "mine", Key: "k", SSECustomerAlgorithm: k.algorithm, SSECustomerKey: k.key, SSECustomerKeyMD5: k.md5}
		if text, _ := w.get(a, get); text != "0123456789abcdef" {
			t.Errorf("got %q", text)
		}
		get.PartNumber = &n
		if text, _ := w.get(a, get); text != "abcdef" {
			t.Errorf("got %q", text)
		}
	})
}

// TestCustomerKeysInTheOpen refuses keys that were sent over plain HTTP.
func TestCustomerKeysInTheOpen(t *testing.T) {
	k := keyOf('k')
	err := k.check(&call.Call{Principal: aws.RootPrincipal("111111111111")})
	wantCode(t, err, "InvalidRequest")
	if err == nil || !strings.Contains(err.Error(), "must be made over a secure connection") {
		t.Error(err)
	}
}

// TestTwoLayers stores bodies under aws:kms:dsse and reads every kind of range
// of them.
func TestTwoLayers(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		for _, size := range []int{0, 1, packagePlain, packagePlain + 1, 3*packagePlain - 5} {
			text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
			out := must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: strings.NewReader(text),
				ServerSideEncryption: sseDSSE, SSEKMSKeyId: "k1"}))
			if out.ServerSideEncryption != sseDSSE || !strings.HasSuffix(out.SSEKMSKeyId, "key/k1") || out.BucketKeyEnabled != nil {
				t.Errorf("got %+v", out)
			}
			if got := w.text(a, "mine", "k"); got != text {
				t.Errorf("%d bytes came back as %d", size, len(got))
			}
			if size < 2 {
				continue
			}
			for _, r := range []struct{ from, to int }{{0, 0}, {size - 1, size - 1}, {size / 2, size - 1}, {size/3 + 1, size / 2}} {
				got, _ := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k", Range: "bytes=" + itoa(r.from) + "-" + itoa(r.to)})
				if got != text[r.from:r.to+1] {
					t.Errorf("range %v of %d bytes is not what it was", r, size)
				}
			}
		}
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: sseDSSE, SSEKMSKeyId: "disabled"})), "KMS.DisabledException")
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: sseDSSE, BucketKeyEnabled: new(true)})), "InvalidArgument")

		// Neither key opens the body alone.
		for _, name := range w.blobs.names(t) {
			if strings.Contains(string(w.blobs.bytes(t, name)), "0123456789abcdef") {
				t.Errorf("blob %s is plain", name)
			}
		}
		w.Grant("carl@111111111111", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
		wantCode(t, second(w.as("carl@111111111111").GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})), "AccessDenied")

		// By default, and in parts.
		must[*api.PutBucketEncryptionOutput](t)(a.PutBucketEncryption(ctx, &api.PutBucketEncryptionInput{
			Bucket: "mine", ServerSideEncryptionConfiguration: &api.ServerSideEncryptionConfiguration{Rules: []api.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &api.ServerSideEncryptionByDefault{SSEAlgorithm: sseDSSE, KMSMasterKeyID: "k2"},
			}}},
		}))
		u := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "p"}))
		var parts []api.CompletedPart
		for n, text := range []string{"0123456789", "rest"} {
			number := int64(n + 1)
			p := must[*api.UploadPartOutput](t)(a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "p", UploadId: u.UploadId, PartNumber: &number, Body: strings.NewReader(text)}))
			parts = append(parts, api.CompletedPart{PartNumber: &number, ETag: p.ETag})
		}
		must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: "mine", Key: "p", UploadId: u.UploadId,
			MultipartUpload: &api.CompletedMultipartUpload{Parts: parts}}))
		if got, out := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "p", Range: "bytes=8-11"}); got != "89re" || out.ServerSideEncryption != sseDSSE {
			t.Errorf("got %q, %+v", got, out)
		}
	})
}
