package s3

import (
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

const sharedKey = "arn:aws:kms:us-east-1:111111111111:key/shared"

func (w *world) putKMS(c api.Client, bucket, key, kmsKey string) (*api.PutObjectOutput, error) {
	return c.PutObject(w.T.Context(), &api.PutObjectInput{
		Bucket: bucket, Key: key, Body: strings.NewReader("hello"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: kmsKey,
	})
}

func TestKMSObject(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		out := must[*api.PutObjectOutput](t)(w.putKMS(a, "mine", "k", "one"))
		if out.SSEKMSKeyId != "arn:aws:kms:us-east-1:111111111111:key/one" || out.ServerSideEncryption != "aws:kms" || out.BucketKeyEnabled != nil {
			t.Errorf("%+v", out)
		}
		if len(out.ETag) != 34 || out.ETag == `"`+md5Hex("hello")+`"` {
			t.Errorf("ETag %s", out.ETag)
		}
		text, got := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k", Range: "bytes=1-2"})
		if text != "el" || got.SSEKMSKeyId != out.SSEKMSKeyId || got.ETag != out.ETag {
			t.Errorf("%q %+v", text, got)
		}
		want := []string{
			"GenerateDataKey arn:aws:kms:us-east-1:111111111111:key/one arn:aws:s3:::mine/k s3.amazonaws.com",
			"Decrypt arn:aws:kms:us-east-1:111111111111:key/one arn:aws:s3:::mine/k s3.amazonaws.com",
		}
		if !slices.Equal(w.kms.calls, want) {
			t.Errorf("KMS was called:\n%s", strings.Join(w.kms.calls, "\n"))
		}
		// The headers are there without the key; the checksum is not.
		w.kms.calls = nil
		must[*api.HeadObjectOutput](t)(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "k"}))
		if len(w.kms.calls) != 0 {
			t.Errorf("HeadObject called %q", w.kms.calls)
		}
		head := must[*api.HeadObjectOutput](t)(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "k", ChecksumMode: "ENABLED"}))
		if len(w.kms.calls) != 1 || head.ChecksumCRC64NVME == "" {
			t.Errorf("HeadObject called %q, %+v", w.kms.calls, head)
		}
		// The MD5 that was sent is compared all the same.
		_, err := a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: strings.NewReader("hello"), ServerSideEncryption: "aws:kms", ContentMD5: sumOf(sumMD5, nil)})
		wantCode(t, err, "BadDigest")
	})
}

// TestKMSKeyRules is which key is taken.
func TestKMSKeyRules(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a, b := w.T, w.T.Context(), w.as(rootA), w.as(rootB)
		w.bucket(a, "mine")
		must[*api.PutBucketPolicyOutput](t)(a.PutBucketPolicy(ctx, &api.PutBucketPolicyInput{Bucket: "mine", Policy: `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"s3:*","Resource":["arn:aws:s3:::mine","arn:aws:s3:::mine/*"]}]}`}))
		put := func(c api.Client, sse, key string) string {
			t.Helper()
			out := must[*api.PutObjectOutput](t)(c.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: sse, SSEKMSKeyId: key}))
			return out.SSEKMSKeyId
		}
		byDefault := func(algorithm, key string, bucketKey bool) {
			t.Helper()
			must[*api.PutBucketEncryptionOutput](t)(a.PutBucketEncryption(ctx, &api.PutBucketEncryptionInput{Bucket: "mine",
				ServerSideEncryptionConfiguration: &api.ServerSideEncryptionConfiguration{Rules: []api.ServerSideEncryptionRule{{
					ApplyServerSideEncryptionByDefault: &api.ServerSideEncryptionByDefault{SSEAlgorithm: algorithm, KMSMasterKeyID: key},
					BucketKeyEnabled:                   &bucketKey,
				}}}}))
		}
		for _, tt := range []struct {
			name, defaultKey string
			c                api.Client
			sse, key, want   string
		}{
			{"nothing anywhere", "", a, "", "", ""},
			{"an id is the caller's own", "", b, "aws:kms", "one", "arn:aws:kms:us-east-1:222222222222:key/one"},
			{"an ARN is whose it says", "", b, "aws:kms", sharedKey, sharedKey},
			{"no id, no default: the caller's aws/s3", "", b, "aws:kms", "", "arn:aws:kms:us-east-1:222222222222:key/s3"},
			{"no header, default", sharedKey, b, "", "", sharedKey},
			{"no id, default", sharedKey, b, "aws:kms", "", sharedKey},
			{"another id than the default", sharedKey, a, "aws:kms", "one", "arn:aws:kms:us-east-1:111111111111:key/one"},
			{"AES256 despite the default", sharedKey, a, "AES256", "", ""},
		} {
			if tt.defaultKey == "" {
				byDefault("AES256", "", false)
			} else {
				byDefault("aws:kms", tt.defaultKey, false)
			}
			if got := put(tt.c, tt.sse, tt.key); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		// The managed key of one account is of no use to another.
		byDefault("AES256", "", false)
		put(b, "aws:kms", "")
		wantCode(t, second(a.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})), "AccessDenied")

		// Bucket keys: the context is the bucket.
		byDefault("aws:kms", "one", true)
		w.kms.calls = nil
		out := must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k"}))
		_, got := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k"})
		if !isTrue(out.BucketKeyEnabled) || !isTrue(got.BucketKeyEnabled) {
			t.Errorf("%+v %+v", out, got)
		}
		for _, c := range w.kms.calls {
			if !strings.Contains(c, " arn:aws:s3:::mine ") {
				t.Errorf("context: %s", c)
			}
		}
		out = must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: "aws:kms", BucketKeyEnabled: new(false)}))
		if out.BucketKeyEnabled != nil || !strings.Contains(w.kms.calls[len(w.kms.calls)-1], " arn:aws:s3:::mine/k ") {
			t.Errorf("%+v %q", out, w.kms.calls)
		}
		// A key of another region is not looked for.
		e := wantCode(t, second(w.putKMS(a, "mine", "k", "arn:aws:kms:eu-west-1:111111111111:key/one")), "KMS.NotFoundException")
		if e.Message != "Invalid arn eu-west-1" || e.Status != 400 {
			t.Errorf("%+v", e)
		}
	})
}

func TestKMSContext(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		header := base64.StdEncoding.EncodeToString([]byte(`{"team":"core","aws:s3:arn":"arn:aws:s3:::forged"}`))
		out := must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: strings.NewReader("hello"),
			ServerSideEncryption: "aws:kms", SSEKMSEncryptionContext: header}))
		shown, _ := base64.StdEncoding.DecodeString(out.SSEKMSEncryptionContext)
		if string(shown) != `{"aws:s3:arn":"arn:aws:s3:::mine/k","team":"core"}` {
			t.Errorf("context %s", shown)
		}
		if text := w.text(a, "mine", "k"); text != "hello" || strings.Contains(w.kms.calls[0], "forged") {
			t.Errorf("%q, %q", text, w.kms.calls)
		}
	})
}

// TestKMSRefusals has the key, or the permission for it, missing.
func TestKMSRefusals(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		for key, code := range map[string]string{
			"disabled": "KMS.DisabledException", "pending": "KMS.KMSInvalidStateException", "missing": "KMS.NotFoundException",
		} {
			e := wantCode(t, second(w.putKMS(a, "mine", "k", key)), code)
			if e.Status != 400 || e.Message == "" {
				t.Errorf("%+v", e)
			}
		}
		must[*api.PutObjectOutput](t)(w.putKMS(a, "mine", "k", sharedKey))
		w.Grant("alice@111111111111", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
		alice := w.as("alice@111111111111")
		for action, call := range map[string]func() error{
			"kms:GenerateDataKey": func() error { return second(w.putKMS(alice, "mine", "k", sharedKey)) },
			"kms:Decrypt":         func() error { return second(alice.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})) },
			"kms:Decrypt ": func() error {
				return second(alice.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "k", ChecksumMode: "ENABLED"}))
			},
			"kms:Decrypt  ": func() error {
				return second(alice.CopyObject(ctx, &api.CopyObjectInput{Bucket: "mine", Key: "c", CopySource: "mine/k"}))
			},
			"kms:Decrypt   ": func() error {
				return second(alice.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: "k", ObjectAttributes: []string{"Checksum"}}))
			},
			"kms:GenerateDataKey ": func() error {
				return second(alice.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "m", ServerSideEncryption: "aws:kms", SSEKMSKeyId: sharedKey}))
			},
		} {
			action = strings.TrimSpace(action)
			e := wantCode(t, call(), "AccessDenied")
			want := "User: arn:aws:iam::111111111111:user/alice is not authorized to perform: " + action + " on resource: " + sharedKey +
				" because no identity-based policy allows the " + action + " action"
			if e.Status != 403 || e.Message != want {
				t.Errorf("%s: %+v", action, e)
			}
		}
		// Across accounts both sides have to allow: the key's policy names account B, B allows its own.
		must[*api.PutBucketPolicyOutput](t)(a.PutBucketPolicy(ctx, &api.PutBucketPolicyInput{Bucket: "mine", Policy: `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"s3:*","Resource":["arn:aws:s3:::mine","arn:aws:s3:::mine/*"]}]}`}))
		w.Grant("role/session@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
		role := w.as("role/session@222222222222")
		wantCode(t, second(w.putKMS(role, "mine", "k", sharedKey)), "AccessDenied")
		w.Grant("role/session@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":"`+sharedKey+`","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::mine/k"}}}]}`)
		must[*api.PutObjectOutput](t)(w.putKMS(role, "mine", "k", sharedKey))
		if text := w.text(role, "mine", "k"); text != "hello" {
			t.Errorf("%q", text)
		}
		wantCode(t, second(w.putKMS(role, "mine", "other", sharedKey)), "AccessDenied")
	})
}

// TestKMSNeedsTLS makes the calls that come from a socket without TLS, or
// from nobody.
func TestKMSNeedsTLS(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		must[*api.PutObjectOutput](t)(w.putKMS(a, "mine", "k", "one"))
		plain := func(p aws.Principal, operation string, in any) error {
			_, err := w.Door.Do(ctx, &call.Call{ID: "1", Service: "s3", Operation: operation, Region: "us-east-1", Principal: p, Time: w.Now()}, in)
			return err
		}
		root := aws.RootPrincipal("111111111111")
		for operation, in := range map[string]any{
			"PutObject":             &api.PutObjectInput{Bucket: "mine", Key: "k", ServerSideEncryption: "aws:kms"},
			"GetObject":             &api.GetObjectInput{Bucket: "mine", Key: "k"},
			"HeadObject":            &api.HeadObjectInput{Bucket: "mine", Key: "k"},
			"CreateMultipartUpload": &api.CreateMultipartUploadInput{Bucket: "mine", Key: "k", ServerSideEncryption: "aws:kms"},
		} {
			e := wantCode(t, plain(root, operation, in), "InvalidArgument")
			if !strings.HasSuffix(e.Message, "must be made over a secure connection.") {
				t.Errorf("%s: %s", operation, e.Message)
			}
		}
		if err := plain(root, "PutObject", &api.PutObjectInput{Bucket: "mine", Key: "plain"}); err != nil {
			t.Error(err)
		}
		must[*api.DeletePublicAccessBlockOutput](t)(a.DeletePublicAccessBlock(ctx, &api.DeletePublicAccessBlockInput{Bucket: "mine"}))
		must[*api.PutBucketPolicyOutput](t)(a.PutBucketPolicy(ctx, &api.PutBucketPolicyInput{Bucket: "mine", Policy: `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::mine/*"}]}`}))
		if err := plain(aws.Principal{}, "GetObject", &api.GetObjectInput{Bucket: "mine", Key: "plain"}); err != nil {
			t.Error(err)
		}
		e := wantCode(t, plain(aws.Principal{}, "GetObject", &api.GetObjectInput{Bucket: "mine", Key: "k"}), "InvalidArgument")
		if !strings.HasSuffix(e.Message, "require AWS Signature Version 4.") {
			t.Error(e.Message)
		}
		wantCode(t, plain(aws.Principal{}, "GetObject", &api.GetObjectInput{Bucket: "mine", Key: "plain", ResponseContentType: "x/y"}), "InvalidRequest")
	})
}

func TestMultipart(t *testing.T) {
	each(t, func(w *world) {
		for _, sse := range []string{"AES256", "aws:kms"} {
			for _, sum := range []struct{ algorithm, kind string }{{"", ""}, {"CRC32", ""}, {"CRC32C", "FULL_OBJECT"}, {"SHA256", ""}} {
				w.multipart(sse, sum.algorithm, sum.kind)
			}
		}
	})
}

// multipart takes an upload through, parts out of order, one replaced, one
// left out.
func (w *world) multipart(sse, algorithm, kind string) {
	t, ctx, a := w.T, w.T.Context(), w.as(rootA)
	w.bucket(a, "mine")
	up := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{
		Bucket: "mine", Key: "m", ServerSideEncryption: sse, ChecksumAlgorithm: algorithm, ChecksumType: kind, ContentType: "text/plain", Tagging: "a=1",
	}))
	texts := map[int64]string{1: strings.Repeat("one ", 40_000), 2: strings.Repeat("two ", 5), 5: "end"}
	var done []api.CompletedPart
	for _, n := range []int64{5, 2, 1, 3, 2} {
		text := texts[n]
		if text == "" {
			text = "left out"
		}
		in := &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, PartNumber: &n, Body: strings.NewReader(text)}
		switch {
		case algorithm == "SHA256":
			in.ChecksumSHA256 = sumOf(sumSHA256, []byte(text))
		case kind == "" && n != 5: // without an algorithm too, as SDKs do by themselves
			in.ChecksumCRC32 = sumOf(sumCRC32, []byte(text))
		case algorithm == "CRC32":
			in.ChecksumCRC32 = sumOf(sumCRC32, []byte(text))
		}
		out := must[*api.UploadPartOutput](t)(a.UploadPart(ctx, in))
		if in.ChecksumCRC32 != out.ChecksumCRC32 || in.ChecksumSHA256 != out.ChecksumSHA256 || (out.ChecksumCRC64NVME == "") != (algorithm != "" || n != 5) {
			t.Errorf("part %d: %+v", n, out)
		}
		if (sse == "AES256") != (out.ETag == `"`+md5Hex(text)+`"`) {
			t.Errorf("part %d has ETag %s", n, out.ETag)
		}
		if _, used := texts[n]; used {
			done = slices.DeleteFunc(done, func(p api.CompletedPart) bool { return *p.PartNumber == n })
			done = append(done, api.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA256: out.ChecksumSHA256})
		}
	}
	slices.SortFunc(done, func(a, b api.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	parts := must[*api.ListPartsOutput](t)(a.ListParts(ctx, &api.ListPartsInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, MaxParts: new(int64(2))}))
	if len(parts.Parts) != 2 || !*parts.IsTruncated || *parts.NextPartNumberMarker != 2 {
		t.Errorf("%+v", parts)
	}
	parts = must[*api.ListPartsOutput](t)(a.ListParts(ctx, &api.ListPartsInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, PartNumberMarker: new(int64(2))}))
	if len(parts.Parts) != 2 || *parts.IsTruncated || *parts.Parts[0].PartNumber != 3 {
		t.Errorf("%+v", parts)
	}
	in := &api.CompleteMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, MultipartUpload: &api.CompletedMultipartUpload{Parts: done}}
	out := must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, in))
	if !strings.HasSuffix(out.ETag, `-3"`) || out.Location == "" {
		t.Errorf("%+v", out)
	}
	again := must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, in))
	if again.ETag != out.ETag {
		t.Errorf("completed again: %s, %s", again.ETag, out.ETag)
	}
	whole := texts[1] + texts[2] + texts[5]
	text, got := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "m", ChecksumMode: "ENABLED"})
	if text != whole || got.ContentType != "text/plain" || *got.TagCount != 1 || got.PartsCount != nil {
		t.Errorf("%d bytes, want %d: %+v", len(text), len(whole), got)
	}
	switch {
	case algorithm == "" && got.ChecksumCRC64NVME != sumOf(sumCRC64NVME, []byte(whole)),
		kind == "FULL_OBJECT" && got.ChecksumCRC32C != sumOf(sumCRC32C, []byte(whole)),
		algorithm == "SHA256" && (got.ChecksumType != "COMPOSITE" || !strings.HasSuffix(got.ChecksumSHA256, "-3")):
		t.Errorf("%s %s: %+v", algorithm, kind, got)
	}
	for _, r := range []struct{ from, to int }{{0, 0}, {159_999, 160_001}, {159_990, 160_021}, {len(whole) - 1, len(whole) - 1}, {70_000, 140_000}} {
		header := "bytes=" + itoa(r.from) + "-" + itoa(r.to)
		if text, _ := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "m", Range: header}); text != whole[r.from:r.to+1] {
			t.Errorf("%s: %d bytes", header, len(text))
		}
	}
	text, got = w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "m", PartNumber: new(int64(2)), ChecksumMode: "ENABLED"})
	if text != texts[2] || *got.PartsCount != 3 || got.ContentRange != "bytes 160000-160019/160023" {
		t.Errorf("part 2: %q %+v", text, got)
	}
	attributes := must[*api.GetObjectAttributesOutput](t)(a.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: "m", ObjectAttributes: []string{"ObjectParts", "Checksum"}}))
	if *attributes.ObjectParts.TotalPartsCount != 3 || (len(attributes.ObjectParts.Parts) == 3) != (got.ChecksumType == "COMPOSITE") {
		t.Errorf("%+v", attributes.ObjectParts)
	}
	must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "m"}))
	w.Advance(2 * partsGrace)
	if err := w.s.collect(ctx, nil); err != nil {
		t.Error(err)
	}
	if left := w.blobs.names(t); len(left) != 0 {
		t.Errorf("blobs left: %v", left)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestMultipartRefusals(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		begin := func(in api.CreateMultipartUploadInput) (string, error) {
			in.Bucket, in.Key = "mine", "m"
			out, err := a.CreateMultipartUpload(ctx, &in)
			if err != nil {
				return "", err
			}
			return out.UploadId, nil
		}
		for _, in := range []api.CreateMultipartUploadInput{
			{ChecksumType: "COMPOSITE"}, {ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT"},
			{ChecksumAlgorithm: "CRC64NVME", ChecksumType: "COMPOSITE"}, {ChecksumAlgorithm: "CRC32", ChecksumType: "SOME"}, {ChecksumAlgorithm: "ROT13"},
		} {
			wantCode(t, second(begin(in)), "InvalidRequest")
		}
		id := must[string](t)(begin(api.CreateMultipartUploadInput{}))
		part := func(id string, n int64, text string) (*api.UploadPartOutput, error) {
			return a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: id, PartNumber: &n, Body: strings.NewReader(text)})
		}
		wantCode(t, second(part(id, 0, "x")), "InvalidArgument")
		wantCode(t, second(part(id, 10001, "x")), "InvalidArgument")
		wantCode(t, second(part("none", 1, "x")), "NoSuchUpload")
		wantCode(t, second(part("none", 0, "x")), "InvalidArgument") // what is wrong in itself comes first
		wantCode(t, second(a.UploadPartCopy(ctx, &api.UploadPartCopyInput{Bucket: "mine", Key: "m", UploadId: "none", PartNumber: new(int64(10001)), CopySource: "mine/k"})), "InvalidArgument")
		_, err := a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: id, PartNumber: new(int64(1)), ChecksumSHA1: sumOf(sumSHA1, []byte("x"))})
		wantCode(t, err, "BadDigest")
		_, err = a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: id})
		wantCode(t, err, "InvalidArgument")
		one := must[*api.UploadPartOutput](t)(part(id, 1, "short"))
		two := must[*api.UploadPartOutput](t)(part(id, 2, "also short"))
		three := must[*api.UploadPartOutput](t)(a.UploadPart(ctx, &api.UploadPartInput{
			Bucket: "mine", Key: "m", UploadId: id, PartNumber: new(int64(3)), Body: strings.NewReader("x"), ChecksumCRC32: sumOf(sumCRC32, []byte("x")),
		}))
		p := func(n int64, etag string) api.CompletedPart { return api.CompletedPart{PartNumber: &n, ETag: etag} }
		complete := func(in api.CompleteMultipartUploadInput, parts ...api.CompletedPart) error {
			in.Bucket, in.Key, in.UploadId = "mine", "m", id
			in.MultipartUpload = &api.CompletedMultipartUpload{Parts: parts}
			_, err := a.CompleteMultipartUpload(ctx, &in)
			return err
		}
		wantCode(t, complete(api.CompleteMultipartUploadInput{}), "MalformedXML")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, api.CompletedPart{}), "MalformedXML")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(2, two.ETag), p(1, one.ETag)), "InvalidPartOrder")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(1, one.ETag), p(1, one.ETag)), "InvalidPartOrder")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(1, two.ETag)), "InvalidPart")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(3, one.ETag)), "InvalidPart")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, api.CompletedPart{PartNumber: new(int64(3)), ETag: three.ETag, ChecksumCRC32: sumOf(sumCRC32, nil)}), "InvalidPart")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, api.CompletedPart{PartNumber: new(int64(3)), ETag: three.ETag, ChecksumSHA1: sumOf(sumSHA1, []byte("x"))}), "InvalidPart")
		wantCode(t, complete(api.CompleteMultipartUploadInput{ChecksumXXHASH3: "AAAA"}, p(1, one.ETag)), "NotImplemented")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, api.CompletedPart{PartNumber: new(int64(1)), ETag: one.ETag, ChecksumXXHASH64: "AAAA"}), "NotImplemented")
		e := wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(1, one.ETag), p(2, two.ETag)), "EntityTooSmall")
		if e.Fields["PartNumber"] != "1" || e.Fields["ProposedSize"] != "5" {
			t.Errorf("%+v", e)
		}
		wantCode(t, complete(api.CompleteMultipartUploadInput{MpuObjectSize: new(int64(9))}, p(1, one.ETag)), "InvalidRequest")
		wantCode(t, complete(api.CompleteMultipartUploadInput{ChecksumCRC64NVME: sumOf(sumCRC64NVME, nil)}, p(1, one.ETag)), "BadDigest")
		wantCode(t, complete(api.CompleteMultipartUploadInput{ChecksumType: "COMPOSITE"}, p(1, one.ETag)), "InvalidRequest")
		w.put(a, "mine", "m", "first")
		wantCode(t, complete(api.CompleteMultipartUploadInput{IfNoneMatch: "*"}, p(1, one.ETag)), "PreconditionFailed")
		if text := w.text(a, "mine", "m"); text != "first" {
			t.Errorf("%q", text)
		}
		// A part that is missing from a failed completion is still there.
		if err := complete(api.CompleteMultipartUploadInput{MpuObjectSize: new(int64(5))}, p(1, strings.Trim(one.ETag, `"`))); err != nil {
			t.Error(err)
		}
		wantCode(t, second(part(id, 2, "x")), "NoSuchUpload")

		id = must[string](t)(begin(api.CreateMultipartUploadInput{ChecksumAlgorithm: "SHA256"}))
		if e := wantCode(t, second(part(id, 1, "x")), "InvalidRequest"); e.Message != "Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: null" {
			t.Error(e.Message)
		}
		_, err = a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: id, PartNumber: new(int64(1)), ChecksumSHA1: sumOf(sumSHA1, nil)})
		if e := wantCode(t, err, "InvalidRequest"); e.Message != "Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: sha1" {
			t.Error(e.Message)
		}
		one = must[*api.UploadPartOutput](t)(a.UploadPart(ctx, &api.UploadPartInput{
			Bucket: "mine", Key: "m", UploadId: id, PartNumber: new(int64(1)), Body: strings.NewReader("x"), ChecksumSHA256: sumOf(sumSHA256, []byte("x")),
		}))
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, p(1, one.ETag)), "InvalidRequest")
		wantCode(t, complete(api.CompleteMultipartUploadInput{}, api.CompletedPart{PartNumber: new(int64(1)), ETag: one.ETag, ChecksumSHA256: sumOf(sumSHA256, nil)}), "InvalidPart")
		must[*api.AbortMultipartUploadOutput](t)(a.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: id}))
		wantCode(t, second(a.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: id})), "NoSuchUpload")
		wantCode(t, second(a.ListParts(ctx, &api.ListPartsInput{Bucket: "mine", Key: "m", UploadId: "\x00\xff"})), "NoSuchUpload")
	})
}

// TestUploadPartsUnderKMS shows which permission each step takes.
func TestUploadPartsUnderKMS(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		grant := func(who string, actions ...string) api.Client {
			w.Grant(who, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","`+strings.Join(actions, `","`)+`"],"Resource":"*"}]}`)
			return w.as(who)
		}
		both := grant("both@111111111111", "kms:GenerateDataKey", "kms:Decrypt")
		writer := grant("writer@111111111111", "kms:GenerateDataKey")
		up := must[*api.CreateMultipartUploadOutput](t)(writer.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "m", ServerSideEncryption: "aws:kms"}))
		in := func() *api.UploadPartInput {
			return &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, PartNumber: new(int64(1)), Body: strings.NewReader("x")}
		}
		e := wantCode(t, second(writer.UploadPart(ctx, in())), "AccessDenied")
		if !strings.Contains(e.Message, "kms:Decrypt") {
			t.Error(e.Message)
		}
		part := must[*api.UploadPartOutput](t)(both.UploadPart(ctx, in()))
		// Who may not decrypt completes the upload, and it has no checksum.
		out := must[*api.CompleteMultipartUploadOutput](t)(writer.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: up.UploadId,
			MultipartUpload: &api.CompletedMultipartUpload{Parts: []api.CompletedPart{{PartNumber: new(int64(1)), ETag: part.ETag}}}}))
		if out.ChecksumCRC64NVME != "" || out.ChecksumType != "" {
			t.Errorf("%+v", out)
		}
		if text := w.text(both, "mine", "m"); text != "x" {
			t.Errorf("%q", text)
		}
	})
}

func TestUploadPartCopy(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "source", strings.Repeat("0123456789", 10))
		up := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "m", ChecksumAlgorithm: "CRC32"}))
		cp := func(n int64, header string) (*api.UploadPartCopyOutput, error) {
			return a.UploadPartCopy(ctx, &api.UploadPartCopyInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, PartNumber: &n, CopySource: "mine/source", CopySourceRange: header})
		}
		var parts []api.CompletedPart
		for n, header := range []string{"bytes=0-14", "", "bytes=99-99"} {
			out := must[*api.UploadPartCopyOutput](t)(cp(int64(n+1), header))
			parts = append(parts, api.CompletedPart{PartNumber: new(int64(n + 1)), ETag: out.CopyPartResult.ETag, ChecksumCRC32: out.CopyPartResult.ChecksumCRC32})
		}
		must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, MultipartUpload: &api.CompletedMultipartUpload{Parts: parts}}))
		if text := w.text(a, "mine", "m"); text != "012345678901234"+strings.Repeat("0123456789", 10)+"9" {
			t.Errorf("%q", text)
		}
		up = must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "m"}))
		for _, header := range []string{"bytes=0-100", "bytes=5-2", "bytes=-5", "5-6", "bytes=0-"} {
			wantCode(t, second(cp(1, header)), "InvalidArgument")
		}
	})
}

func TestListMultipartUploads(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		var ids []string
		for _, key := range []string{"a", "a", "b/1", "b/2", "c"} {
			out := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: key}))
			ids = append(ids, out.UploadId)
			w.Advance(2e6)
		}
		all := func(prefix, delimiter string, size int64) (found []string) {
			in := &api.ListMultipartUploadsInput{Bucket: "mine", MaxUploads: &size, Prefix: prefix, Delimiter: delimiter}
			for {
				out := must[*api.ListMultipartUploadsOutput](t)(a.ListMultipartUploads(ctx, in))
				for _, u := range out.Uploads {
					found = append(found, u.UploadId)
				}
				for _, p := range out.CommonPrefixes {
					found = append(found, p.Prefix)
				}
				if !*out.IsTruncated {
					return found
				}
				in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
			}
		}
		for size := int64(1); size < 4; size++ {
			if got := all("", "", size); !slices.Equal(got, ids) {
				t.Errorf("pages of %d: %v, want %v", size, got, ids)
			}
			got := all("", "/", size)
			slices.Sort(got)
			want := []string{ids[0], ids[1], ids[4], "b/"}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("folded, pages of %d: %v", size, got)
			}
			if got := all("b/", "/", size); !slices.Equal(got, ids[2:4]) {
				t.Errorf("prefix, pages of %d: %v", size, got)
			}
		}
		// A bucket with nothing but uploads can be deleted, and they go with it.
		must[*api.DeleteBucketOutput](t)(a.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: "mine"}))
		w.bucket(a, "mine")
		if got := all("", "", 10); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// TestReaderOutlivesReplacement reads an object while it is replaced.
func TestReaderOutlivesReplacement(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, context.Background(), w.as(rootA)
		w.bucket(a, "mine")
		long := strings.Repeat("x", 300_000)
		w.put(a, "mine", "k", long)
		out := must[*api.GetObjectOutput](t)(a.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"}))
		defer out.Body.Close()
		w.put(a, "mine", "k", "other")
		w.s.collect(ctx, nil)
		if b := must[[]byte](t)(io.ReadAll(out.Body)); string(b) != long {
			t.Errorf("%d bytes", len(b))
		}
	})
}
