package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func createBucket(name string) *s3.CreateBucketInput {
	return &s3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{
		LocationConstraint: types.BucketLocationConstraint(region)}}
}

func bucket(t *testing.T, a *account, name string) {
	t.Helper()
	if _, err := a.s3.CreateBucket(t.Context(), createBucket(name)); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, a *account, bucket, key, body string) *s3.PutObjectOutput {
	t.Helper()
	out, err := a.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func bucketPolicy(t *testing.T, a *account, bucket, statements string) {
	t.Helper()
	if _, err := a.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: new(document(statements))}); err != nil {
		t.Fatal(err)
	}
}

// random is n bytes that are nowhere else.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// at are the same clients with another endpoint.
func (a *account) at(endpoint string) *account {
	c := a.config.Copy()
	c.BaseEndpoint = &endpoint
	c.ConfigSources = nil // they remember the first endpoint
	return clients(c)
}

// virtualHosted are S3 clients that send BUCKET.localhost as the host.
func (s *server) virtualHosted(a *account) *s3.Client {
	s.t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		s.t.Fatal(err)
	}
	c := a.at("https://localhost:" + port).config
	transport := a.config.HTTPClient.(*http.Client).Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasSuffix(address, ".localhost:"+port) {
			s.t.Errorf("a request to %s, not to a bucket's host", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	c.HTTPClient = &http.Client{Transport: transport}
	return s3.NewFromConfig(c)
}

// TestS3Objects does with objects what the SDK can, addressed by path and by
// host.
func TestS3Objects(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("pipeline")
	for name, client := range map[string]*s3.Client{"path": a.s3, "host": s.virtualHosted(a)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects(t, client, "objects-by-"+name)
		})
	}
}

func objects(t *testing.T, c *s3.Client, bucket string) {
	ctx := t.Context()
	if _, err := c.CreateBucket(ctx, createBucket(bucket)); err != nil {
		t.Fatal(err)
	}
	get := func(in *s3.GetObjectInput) string {
		t.Helper()
		in.Bucket = &bucket
		out, err := c.GetObject(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Body.Close()
		b, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write := func(key, body string) string {
		t.Helper()
		out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.VersionId)
	}
	odd := "a b/ü+&%2F=~!*'();:@$,?#/日本"
	write(odd, "0123456789")
	equal(t, "odd key", get(&s3.GetObjectInput{Key: &odd}), "0123456789")
	for r, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-2": "89", "bytes=0-99": "0123456789"} {
		equal(t, r, get(&s3.GetObjectInput{Key: &odd, Range: &r}), want)
	}
	_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &odd, Range: new("bytes=10-")})
	wants(t, err, "InvalidRange")
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &odd, Body: strings.NewReader("x"), IfNoneMatch: new("*")})
	wants(t, err, "PreconditionFailed")

	// Each checksum: the SDK sends it in the trailer, and checks what it gets.
	for _, algorithm := range types.ChecksumAlgorithm("").Values() {
		switch algorithm {
		case types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256, types.ChecksumAlgorithmCrc64nvme:
		default:
			continue // not made by this SDK
		}
		body := random(200_000)
		key := "sum/" + string(algorithm)
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm}); err != nil {
			t.Fatal(algorithm, err)
		}
		out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(out.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %v", algorithm, err)
		}
		out.Body.Close()
	}
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: new("bad"), Body: strings.NewReader("x"), ContentMD5: new("1B2M2Y8AsgTpgAmY7PhCfg==")})
	wants(t, err, "BadDigest")

	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: new("copy"), CopySource: new(bucket + "/sum/SHA256"),
		MetadataDirective: types.MetadataDirectiveReplace, ContentType: new("text/plain"), Metadata: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: new("copy")})
	if err != nil {
		t.Fatal(err)
	}
	if *head.ContentType != "text/plain" || head.Metadata["k"] != "v" || *head.ContentLength != 200_000 {
		t.Errorf("copy: %s %v %d", *head.ContentType, head.Metadata, *head.ContentLength)
	}

	// Versions.
	if _, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	one, two := write("v", "one"), write("v", "two")
	if one == "" || one == two {
		t.Fatalf("versions %q, %q", one, two)
	}
	marker, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: new("v")})
	if err != nil || !aws.ToBool(marker.DeleteMarker) {
		t.Fatalf("%+v %v", marker, err)
	}
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: new("v")})
	wants(t, err, "NoSuchKey")
	equal(t, "old version", get(&s3.GetObjectInput{Key: new("v"), VersionId: &one}), "one")
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: new("v"), VersionId: marker.VersionId}); err != nil {
		t.Fatal(err)
	}
	equal(t, "without the marker", get(&s3.GetObjectInput{Key: new("v")}), "two")

	// Pages, and delete many, until nothing is left.
	for i := range 7 {
		write(fmt.Sprintf("page/%d/x", i), "")
	}
	var prefixes, keys int
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: new("page/"), Delimiter: new("/"), MaxKeys: new(int32(3))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		prefixes += len(page.CommonPrefixes)
	}
	equal(t, "prefixes", prefixes, 7)
	all := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: &bucket, MaxKeys: new(int32(4))})
	var ids []types.ObjectIdentifier
	for all.HasMorePages() {
		page, err := all.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions {
			ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		keys += len(page.Versions)
	}
	equal(t, "versions", keys, 1+5+1+2+7)
	deleted, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: ids}})
	if err != nil || len(deleted.Deleted) != keys || len(deleted.Errors) != 0 {
		t.Fatalf("%+v %v", deleted, err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
}

// TestS3Multipart uploads parts side by side, as a transfer manager does, and
// reads them back the same way.
func TestS3Multipart(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("pipeline")
	ctx := t.Context()
	bucket(t, a, "parts")
	in := &s3.CreateMultipartUploadInput{Bucket: new("parts"), Key: new("k"), ServerSideEncryption: types.ServerSideEncryptionAwsKms}
	up, err := a.s3.CreateMultipartUpload(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	const size = 5 << 20
	body := random(4*size + 1000)
	parts := make([]types.CompletedPart, 5)
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() {
			piece := body[i*size : min(len(body), (i+1)*size)]
			out, err := a.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: new(int32(i + 1)), Body: bytes.NewReader(piece)})
			if err != nil {
				t.Error(err)
				return
			}
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: new(int32(i + 1)), ChecksumCRC32: out.ChecksumCRC32}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	_, err = a.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: new(int32(10_001)), Body: strings.NewReader("x")})
	wants(t, err, "InvalidArgument")
	complete := func(parts []types.CompletedPart) error {
		_, err := a.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		return err
	}
	wants(t, complete([]types.CompletedPart{parts[1], parts[0]}), "InvalidPartOrder")
	wants(t, complete([]types.CompletedPart{{ETag: new("x"), PartNumber: new(int32(9))}}), "InvalidPart")
	wants(t, complete([]types.CompletedPart{parts[0], parts[4], {ETag: parts[4].ETag, PartNumber: new(int32(6))}}), "InvalidPart")
	if err := complete(parts); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(body))
	for i := range parts {
		wait.Go(func() {
			out, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: in.Bucket, Key: in.Key, Range: new(fmt.Sprintf("bytes=%d-%d", i*size, (i+1)*size-1))})
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Body.Close()
			if _, err := io.ReadFull(out.Body, got[i*size:min(len(body), (i+1)*size)]); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if !bytes.Equal(got, body) {
		t.Error("other bytes came back")
	}
	_, err = a.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: new("absent")})
	wants(t, err, "NoSuchUpload")
}

// TestS3AtRest: no object lies on disk in clear, whatever its encryption.
func TestS3AtRest(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("pipeline")
	bucket(t, a, "at-rest")
	key, err := a.kms.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	const marker = "nobody may read this on disk"
	body := strings.Repeat(marker, 10_000)
	put(t, a, "at-rest", "sse-s3", body)
	put(t, a, "at-rest", "small", marker)
	out, err := a.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("at-rest"), Key: new("sse-kms"), Body: strings.NewReader(body),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: key.KeyMetadata.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "key", *out.SSEKMSKeyId, *key.KeyMetadata.Arn)
	equal(t, "body", read(t, a, "at-rest", "sse-kms"), body)
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(b, []byte(marker)) {
			t.Errorf("%s holds an object in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.kms.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	_, err = a.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("at-rest"), Key: new("sse-kms")})
	wants(t, err, "KMS.DisabledException")
	equal(t, "another object", read(t, a, "at-rest", "small"), marker)
}

// TestS3Presigned uses presigned URLs as a browser would.
func TestS3Presigned(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("pipeline")
	bucket(t, a, "presigned")
	signer := s3.NewPresignClient(a.s3)
	client := a.config.HTTPClient.(*http.Client)
	send := func(method, url, body string, header http.Header) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range header {
			if name != "Host" && name != "Content-Length" {
				r.Header[name] = values
			}
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	p, err := signer.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: new("presigned"), Key: new("a b"), ContentType: new("text/x")})
	if err != nil {
		t.Fatal(err)
	}
	if status, out := send("PUT", p.URL, "hello", p.SignedHeader); status != 200 {
		t.Fatal(status, out)
	}
	if status, out := send("PUT", p.URL, "hello", nil); status != 403 || !strings.Contains(out, "SignatureDoesNotMatch") && !strings.Contains(out, "AccessDenied") {
		t.Errorf("without the signed header: %d %s", status, out)
	}
	g, err := signer.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: new("presigned"), Key: new("a b"), ResponseContentType: new("text/y")})
	if err != nil {
		t.Fatal(err)
	}
	if status, out := send("GET", g.URL, "", nil); status != 200 || out != "hello" {
		t.Errorf("%d %s", status, out)
	}
	if status, out := send("DELETE", g.URL, "", nil); status != 403 || !strings.Contains(out, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("another method: %d %s", status, out)
	}
	if status, out := send("GET", strings.Replace(g.URL, "a%20b", "other", 1), "", nil); status != 403 || !strings.Contains(out, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("another key: %d %s", status, out)
	}
	if status, out := send("GET", strings.Replace(g.URL, "X-Amz-Expires=900", "X-Amz-Expires=9000000", 1), "", nil); status != 400 || !strings.Contains(out, "<Code>AuthorizationQueryParametersError</Code>") {
		t.Errorf("too long a life: %d %s", status, out)
	}
}

// TestS3Policies: who may, over which transport, and from which account.
func TestS3Policies(t *testing.T) {
	t.Parallel()
	s := start(t)
	a, other := s.account("pipeline"), s.account("repository")
	ctx := t.Context()
	bucket(t, a, "guarded")
	put(t, a, "guarded", "k", "body")
	put(t, a, "guarded", "public/k", "for all")
	get := func(who *account, key string) error {
		out, err := who.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("guarded"), Key: &key})
		if err == nil {
			out.Body.Close()
		}
		return err
	}

	t.Run("missing permission", func(t *testing.T) {
		wantsRefusal(t, get(user(t, a, "nobody", ""), "k"), "AccessDenied",
			`User: arn:aws:iam::`+pipelineAccount+`:user/nobody is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::guarded/k" because no identity-based policy allows the s3:GetObject action`)
		lister := user(t, a, "lister", `{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`)
		wants(t, get(lister, "absent"), "AccessDenied")
		allow(t, a, "lister", `{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}`)
		wants(t, get(lister, "absent"), "NoSuchKey")
	})
	t.Run("another account", func(t *testing.T) {
		wants(t, get(other, "k"), "AccessDenied")
		bucketPolicy(t, a, "guarded", `{"Effect":"Allow","Principal":{"AWS":"`+repositoryAccount+`"},"Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::guarded/*"}`)
		if err := get(other, "k"); err != nil {
			t.Error(err)
		}
		// A user there needs both accounts to agree.
		wants(t, get(user(t, other, "half", ""), "k"), "AccessDenied")
		if err := get(user(t, other, "whole", `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`), "k"); err != nil {
			t.Error(err)
		}
	})
	t.Run("another account's key", func(t *testing.T) {
		key, err := a.kms.CreateKey(ctx, &kms.CreateKeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		arn := *key.KeyMetadata.Arn
		write := func() error {
			_, err := other.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("guarded"), Key: new("sealed"), Body: strings.NewReader("x"),
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &arn})
			return err
		}
		wantsRefusal(t, write(), "AccessDenied", "kms:GenerateDataKey")
		if _, err := a.kms.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &arn, Policy: new(document(
			`{"Effect":"Allow","Principal":{"AWS":"` + pipelineAccount + `"},"Action":"kms:*","Resource":"*"},
			 {"Effect":"Allow","Principal":{"AWS":"` + repositoryAccount + `"},"Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":"*",
			  "Condition":{"StringEquals":{"kms:ViaService":"s3.` + region + `.amazonaws.com"}}}`))}); err != nil {
			t.Fatal(err)
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
		_, err = other.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: "AES_256"})
		wants(t, err, "AccessDeniedException") // only by way of S3
		equal(t, "the owner reads it", read(t, a, "guarded", "sealed"), "x")
	})
	t.Run("anonymous", func(t *testing.T) {
		client := a.config.HTTPClient.(*http.Client)
		status := func(key string) int {
			resp, err := client.Get(s.url + "/guarded/" + key)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		equal(t, "before", status("public/k"), 403)
		if _, err := a.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: new("guarded")}); err != nil {
			t.Fatal(err)
		}
		bucketPolicy(t, a, "guarded", `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::guarded/public/*"}`)
		equal(t, "public", status("public/k"), 200)
		equal(t, "the rest", status("k"), 403)
	})
	t.Run("plain HTTP", func(t *testing.T) {
		plain := a.at(strings.Replace(s.url, "https:", "http:", 1))
		if err := get(plain, "k"); err != nil {
			t.Error(err)
		}
		bucketPolicy(t, a, "guarded", `{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::guarded","arn:aws:s3:::guarded/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
		wantsRefusal(t, get(plain, "k"), "AccessDenied", "with an explicit deny in a resource-based policy")
		if err := get(a, "k"); err != nil {
			t.Error(err)
		}
	})
	t.Run("another region", func(t *testing.T) {
		_, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("guarded"), Key: new("k")}, func(o *s3.Options) { o.Region = "us-west-2" })
		wants(t, err, "AuthorizationHeaderMalformed")
		head, err := a.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: new("guarded")})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "region", aws.ToString(head.BucketRegion), region)
	})
}
