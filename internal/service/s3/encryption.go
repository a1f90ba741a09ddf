package s3

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/seal"
)

const (
	headerSSE       = "x-amz-server-side-encryption"
	headerKMSKey    = "x-amz-server-side-encryption-aws-kms-key-id"
	headerContext   = "x-amz-server-side-encryption-context"
	headerSSEC      = "x-amz-server-side-encryption-customer-algorithm"
	headerCopySSEC  = "x-amz-copy-source-server-side-encryption-customer-algorithm"
	managedKeyAlias = "alias/aws/s3"
)

// sseRequest is what the headers of a request say about encryption.
type sseRequest struct {
	algorithm, key, context string
	bucketKey               *bool
	customer                string // the algorithm of SSE-C
}

// check refuses headers that contradict each other, or are not implemented.
func (r *sseRequest) check() error {
	switch {
	case r.customer != "":
		return errHeaderNotImplemented(headerSSEC)
	case r.algorithm == sseDSSE:
		return errHeaderNotImplemented(headerSSE)
	case r.algorithm != "" && r.algorithm != sseS3 && r.algorithm != sseKMS:
		return errInvalidArgument(headerSSE, r.algorithm, "The encryption method specified is not supported")
	case r.algorithm != sseKMS && (r.key != "" || r.context != ""):
		return errInvalidArgument(headerSSE, r.algorithm, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
	}
	_, err := r.callerContext()
	return err
}

// callerContext is the encryption context that the caller adds.
func (r *sseRequest) callerContext() (map[string]string, error) {
	if r.context == "" {
		return nil, nil
	}
	var m map[string]string
	text, err := base64.StdEncoding.DecodeString(r.context)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return nil, errInvalidArgument(headerContext, r.context, "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map")
	}
	return m, nil
}

// plan says how a new body is encrypted, the bucket's default considered.
type plan struct {
	algorithm, key string
	context        map[string]string // the caller's
	bucketKey      bool
}

// plan applies the rules of default encryption: a header wins over the
// bucket's default, and takes the key from it when it names none itself.
func (r *sseRequest) plan(b *bucket) (plan, error) {
	byDefault, err := b.encryption()
	if err != nil {
		return plan{}, err
	}
	p := plan{algorithm: r.algorithm, key: r.key, bucketKey: byDefault.BucketKey}
	if r.bucketKey != nil {
		p.bucketKey = *r.bucketKey
	}
	if p.algorithm == "" {
		p.algorithm = byDefault.Algorithm
	}
	if p.algorithm != sseKMS {
		return plan{algorithm: p.algorithm}, nil
	}
	if p.key == "" && byDefault.Algorithm == sseKMS {
		p.key = byDefault.KMSKey
	}
	if p.key == "" {
		p.key = managedKeyAlias
	}
	p.context, err = r.callerContext()
	return p, err
}

// newDataKey makes the key of a new body and the envelope that is stored with
// it. body is the body's id.
func (s *Service) newDataKey(ctx context.Context, c *call.Call, b *bucket, key, body string, p plan) ([]byte, envelope, error) {
	if p.algorithm == sseS3 {
		dataKey := make([]byte, seal.KeySize)
		rand.Read(dataKey)
		return dataKey, envelope{SSE: sseS3, SealedKey: s.box.Seal(dataKey, []byte(body))}, nil
	}
	if err := mayUseKMS(c); err != nil {
		return nil, envelope{}, err
	}
	if arn, ok := aws.ParseARN(p.key); ok && arn.Service == "kms" && arn.Region != b.Region {
		return nil, envelope{}, aws.Errorf("KMS.NotFoundException", "Invalid arn %s", arn.Region).WithStatus(400)
	}
	e := envelope{SSE: sseKMS, BucketKey: p.bucketKey}
	if len(p.context) > 0 {
		e.Context = encode(p.context)
	}
	encryptionContext, err := e.kmsContext(b.Name, key)
	if err != nil {
		return nil, envelope{}, err
	}
	out, err := s.kms(c, b.Region).GenerateDataKey(ctx, &kmsapi.GenerateDataKeyInput{
		KeyId: p.key, KeySpec: "AES_256", EncryptionContext: encryptionContext,
	})
	if err != nil {
		return nil, envelope{}, kmsRefusal(err)
	}
	if len(out.Plaintext) != seal.KeySize {
		return nil, envelope{}, fmt.Errorf("KMS key %s made a data key of %d bytes", out.KeyId, len(out.Plaintext))
	}
	e.KMSKey, e.SealedKey = out.KeyId, out.CiphertextBlob
	return out.Plaintext, e, nil
}

// dataKey opens the key of a stored body, as the caller.
func (s *Service) dataKey(ctx context.Context, c *call.Call, b *bucket, key, body string, e *envelope) ([]byte, error) {
	if e.SSE == sseS3 {
		dataKey, err := s.box.Open(e.SealedKey, []byte(body))
		if err != nil {
			return nil, fmt.Errorf("data key of %s: %w", body, err)
		}
		return dataKey, nil
	}
	if err := mayUseKMS(c); err != nil {
		return nil, err
	}
	encryptionContext, err := e.kmsContext(b.Name, key)
	if err != nil {
		return nil, err
	}
	out, err := s.kms(c, b.Region).Decrypt(ctx, &kmsapi.DecryptInput{
		CiphertextBlob: e.SealedKey, EncryptionContext: encryptionContext, KeyId: e.KMSKey,
	})
	if err != nil {
		return nil, kmsRefusal(err)
	}
	return out.Plaintext, nil
}

// kmsContext is the encryption context of a body: the caller's, and the ARN
// of the object, or of the bucket where its key is used.
func (e *envelope) kmsContext(bucket, key string) (map[string]string, error) {
	m := map[string]string{}
	if err := decode(e.Context, &m); err != nil {
		return nil, err
	}
	m["aws:s3:arn"] = objectARN(bucket, key)
	if e.BucketKey {
		m["aws:s3:arn"] = bucketARN(bucket)
	}
	return m, nil
}

// shownContext is the header that answers with the caller's context.
func (e *envelope) shownContext(bucket, key string) string {
	if e.Context == "" {
		return ""
	}
	m, err := e.kmsContext(bucket, key)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(encode(m)))
}

// mayUseKMS refuses callers who are not known, or who can be overheard.
func mayUseKMS(c *call.Call) error {
	if c.Principal.Kind == aws.Anonymous {
		return errInvalidArgument("Authorization", "null", "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.")
	}
	if !c.Secure {
		return errInvalidArgument(headerSSE, sseKMS, "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
	}
	return nil
}

// kmsRefusal is S3's answer to a refusal by KMS.
func kmsRefusal(err error) error {
	e, ok := errors.AsType[*aws.Error](err)
	if !ok {
		return fmt.Errorf("KMS: %w", err)
	}
	switch e.Code {
	case "AccessDeniedException":
		return aws.Errorf("AccessDenied", "%s", e.Message).WithStatus(403)
	case "KMSInternalException":
		return fmt.Errorf("KMS: %w", err)
	}
	return aws.Errorf("KMS."+e.Code, "%s", e.Message).WithStatus(400)
}

// conditionKey is the form in which a policy sees the header's key id: an ARN,
// of the caller's account where the header names none.
func (r *sseRequest) conditionKey(c *call.Call, region string) string {
	switch {
	case r.key == "" || strings.HasPrefix(r.key, "arn:"):
		return r.key
	case strings.HasPrefix(r.key, "alias/"):
		return aws.NewARN("kms", region, c.Account(), r.key)
	}
	return aws.NewARN("kms", region, c.Account(), "key/"+r.key)
}

// customer is the algorithm of a request that brings its own key.
func customer(algorithm, key, keyMD5 string) string {
	if algorithm == "" && key+keyMD5 != "" {
		return sseS3
	}
	return algorithm
}
