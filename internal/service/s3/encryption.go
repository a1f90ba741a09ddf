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
	headerBucketKey = "x-amz-server-side-encryption-bucket-key-enabled"
	headerSSEC      = "x-amz-server-side-encryption-customer-algorithm"
	headerSSECKey   = "x-amz-server-side-encryption-customer-key"
	headerSSECMD5   = "x-amz-server-side-encryption-customer-key-MD5"
	managedKeyAlias = "alias/aws/s3"
)

// sseRequest is what the headers of a request say about encryption.
type sseRequest struct {
	algorithm, key, context string
	bucketKey               *bool
	customer                customerKey
}

// usesKMS reports whether an algorithm takes keys of KMS.
func usesKMS(algorithm string) bool { return algorithm == sseKMS || algorithm == sseDSSE }

// check refuses headers that contradict each other, or say nothing.
func (r *sseRequest) check(c *call.Call) error {
	switch {
	case r.customer.sent() && r.algorithm != "":
		return errInvalidArgument(headerSSE, r.algorithm, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	case r.algorithm != "" && r.algorithm != sseS3 && !usesKMS(r.algorithm):
		return errInvalidArgument(headerSSE, r.algorithm, "The encryption method specified is not supported")
	case !usesKMS(r.algorithm) && (r.key != "" || r.context != ""):
		return errInvalidArgument(headerSSE, r.algorithm, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
	case r.algorithm == sseDSSE && isTrue(r.bucketKey):
		return errInvalidArgument(headerBucketKey, "true", "S3 Bucket Keys are not supported with the encryption method specified")
	}
	if err := r.customer.check(c); err != nil {
		return err
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
	customer       *customerKey
}

// plan applies the rules of default encryption: a header wins over the
// bucket's default, and takes the key from it when it names none itself.
func (r *sseRequest) plan(b *bucket) (plan, error) {
	byDefault, err := b.encryption()
	if err != nil {
		return plan{}, err
	}
	if r.customer.sent() {
		return plan{algorithm: sseCustomer, customer: &r.customer}, nil
	}
	p := plan{algorithm: r.algorithm, key: r.key, bucketKey: byDefault.BucketKey}
	if r.bucketKey != nil {
		p.bucketKey = *r.bucketKey
	}
	if p.algorithm == "" {
		p.algorithm = byDefault.Algorithm
	}
	if !usesKMS(p.algorithm) {
		return plan{algorithm: p.algorithm}, nil
	}
	p.bucketKey = p.bucketKey && p.algorithm == sseKMS
	if p.key == "" && usesKMS(byDefault.Algorithm) {
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
	switch p.algorithm {
	case sseS3:
		dataKey := randomKey()
		return dataKey, envelope{SSE: sseS3, SealedKey: s.box.Seal(dataKey, []byte(body))}, nil
	case sseCustomer:
		if byDefault, err := b.encryption(); err != nil {
			return nil, envelope{}, err
		} else if byDefault.blocksCustomerKeys() {
			return nil, envelope{}, errCustomerKeysBlocked(c, b.Name, key)
		}
		dataKey := randomKey()
		sealed, err := p.customer.seal(dataKey, body)
		return dataKey, envelope{SSE: sseCustomer, SealedKey: sealed}, err
	}
	if err := mayUseKMS(c); err != nil {
		return nil, envelope{}, err
	}
	if arn, ok := aws.ParseARN(p.key); ok && arn.Service == "kms" && arn.Region != b.Region {
		return nil, envelope{}, aws.Errorf("KMS.NotFoundException", "Invalid arn %s", arn.Region).WithStatus(400)
	}
	e := envelope{SSE: p.algorithm, BucketKey: p.bucketKey}
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
	if e.SSE != sseDSSE {
		return out.Plaintext, e, nil
	}
	own := randomKey()
	e.SealedKey = joinSealed(s.box.Seal(own, []byte(body)), out.CiphertextBlob)
	return append(out.Plaintext, own...), e, nil
}

func randomKey() []byte {
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	return key
}

// dataKey opens the key of a stored body, as the caller, with the key that he
// brings where the body takes one.
func (s *Service) dataKey(ctx context.Context, c *call.Call, b *bucket, key, body string, e *envelope, own *customerKey) ([]byte, error) {
	switch e.SSE {
	case sseS3:
		return s.openKey(e.SealedKey, body)
	case sseCustomer:
		return own.open(e.SealedKey, body)
	case sseDSSE:
		second, fromKMS, err := splitSealed(e.SealedKey)
		if err != nil {
			return nil, fmt.Errorf("data key of %s: %w", body, err)
		}
		outer, err := s.openKey(second, body)
		if err != nil {
			return nil, err
		}
		inner, err := s.decryptKey(ctx, c, b, key, e, fromKMS)
		return append(inner, outer...), err
	}
	return s.decryptKey(ctx, c, b, key, e, e.SealedKey)
}

// openKey opens a key that lies under the master key.
func (s *Service) openKey(sealed []byte, body string) ([]byte, error) {
	dataKey, err := s.box.Open(sealed, []byte(body))
	if err != nil {
		return nil, fmt.Errorf("data key of %s: %w", body, err)
	}
	return dataKey, nil
}

// decryptKey has KMS decrypt a data key.
func (s *Service) decryptKey(ctx context.Context, c *call.Call, b *bucket, key string, e *envelope, sealed []byte) ([]byte, error) {
	if err := mayUseKMS(c); err != nil {
		return nil, err
	}
	encryptionContext, err := e.kmsContext(b.Name, key)
	if err != nil {
		return nil, err
	}
	out, err := s.kms(c, b.Region).Decrypt(ctx, &kmsapi.DecryptInput{
		CiphertextBlob: sealed, EncryptionContext: encryptionContext, KeyId: e.KMSKey,
	})
	if err != nil {
		return nil, kmsRefusal(err)
	}
	return out.Plaintext, nil
}

// shownSSE is the header that says how a body is encrypted; a customer's key
// has headers of its own.
func (e *envelope) shownSSE() string {
	if e.SSE == sseCustomer {
		return ""
	}
	return e.SSE
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
