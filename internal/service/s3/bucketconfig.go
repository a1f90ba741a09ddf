package s3

import (
	"context"
	"reflect"
	"slices"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// Versioning.

const (
	versioningEnabled   = "Enabled"
	versioningSuspended = "Suspended"
)

func (s *Service) getBucketVersioning(ctx context.Context, c *call.Call, in *api.GetBucketVersioningInput) (*api.GetBucketVersioningOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	return &api.GetBucketVersioningOutput{Status: b.Versioning}, nil
}

func (s *Service) putBucketVersioning(ctx context.Context, c *call.Call, in *api.PutBucketVersioningInput) (*api.PutBucketVersioningOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	cfg := in.VersioningConfiguration
	switch {
	case in.MFA != "":
		return nil, errHeaderNotImplemented("x-amz-mfa")
	case cfg == nil || cfg.Status != "" && cfg.Status != versioningEnabled && cfg.Status != versioningSuspended:
		return nil, errMalformedXML()
	case cfg.MFADelete != "" && cfg.MFADelete != "Enabled" && cfg.MFADelete != "Disabled":
		return nil, errMalformedXML()
	case cfg.Status == "":
		return nil, aws.Errorf("IllegalVersioningConfigurationException", "The Versioning element must be specified").WithStatus(400)
	case cfg.MFADelete == versioningEnabled:
		return nil, errNotImplemented("MFA delete is not implemented")
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if has, err := now.config(); err != nil {
			return err
		} else if has.Lock != nil && cfg.Status != versioningEnabled {
			return errBucketState("An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		}
		_, err := tx.Exec(ctx, `UPDATE s3_bucket SET versioning = $1 WHERE name = $2`, cfg.Status, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketVersioningOutput{}, nil
}

// Default encryption.

const (
	sseS3   = "AES256"
	sseKMS  = "aws:kms"
	sseDSSE = "aws:kms:dsse"
)

// encryption is a bucket's default encryption.
type encryption struct {
	Algorithm string
	KMSKey    string   `json:",omitempty"` // as it was given: id, ARN or alias
	BucketKey bool     `json:",omitempty"`
	Blocked   []string `json:",omitempty"` // BlockedEncryptionTypes
}

func (b *bucket) encryption() (encryption, error) {
	var e encryption
	err := decode(b.Encryption, &e)
	return e, err
}

func (s *Service) getBucketEncryption(ctx context.Context, c *call.Call, in *api.GetBucketEncryptionInput) (*api.GetBucketEncryptionOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	e, err := b.encryption()
	if err != nil {
		return nil, err
	}
	rule := api.ServerSideEncryptionRule{
		ApplyServerSideEncryptionByDefault: &api.ServerSideEncryptionByDefault{SSEAlgorithm: e.Algorithm, KMSMasterKeyID: e.KMSKey},
		BucketKeyEnabled:                   &e.BucketKey,
	}
	if e.Blocked != nil {
		rule.BlockedEncryptionTypes = &api.BlockedEncryptionTypes{EncryptionType: e.Blocked}
	}
	return &api.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &api.ServerSideEncryptionConfiguration{
		Rules: []api.ServerSideEncryptionRule{rule},
	}}, nil
}

func (s *Service) putBucketEncryption(ctx context.Context, c *call.Call, in *api.PutBucketEncryptionInput) (*api.PutBucketEncryptionOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	e, err := readEncryption(in.ServerSideEncryptionConfiguration)
	if err != nil {
		return nil, err
	}
	if err := s.setEncryption(ctx, b, e); err != nil {
		return nil, err
	}
	return &api.PutBucketEncryptionOutput{}, nil
}

func (s *Service) deleteBucketEncryption(ctx context.Context, c *call.Call, in *api.DeleteBucketEncryptionInput) (*api.DeleteBucketEncryptionOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := s.setEncryption(ctx, b, encryption{Algorithm: sseS3}); err != nil {
		return nil, err
	}
	return &api.DeleteBucketEncryptionOutput{}, nil
}

// setEncryption replaces the default encryption. What is blocked stays so where
// the new one does not speak of it (unconfirmed).
func (s *Service) setEncryption(ctx context.Context, b *bucket, e encryption) error {
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		was, err := now.encryption()
		if err != nil {
			return err
		}
		if e.Blocked == nil {
			e.Blocked = was.Blocked
		}
		_, err = tx.Exec(ctx, `UPDATE s3_bucket SET encryption = $1 WHERE name = $2`, encode(e), b.Name)
		return err
	})
}

func readEncryption(cfg *api.ServerSideEncryptionConfiguration) (encryption, error) {
	if cfg == nil || len(cfg.Rules) != 1 {
		return encryption{}, errMalformedXML()
	}
	rule := cfg.Rules[0]
	e := encryption{Algorithm: sseS3, BucketKey: isTrue(rule.BucketKeyEnabled)}
	if rule.BlockedEncryptionTypes != nil {
		e.Blocked = rule.BlockedEncryptionTypes.EncryptionType
		if slices.ContainsFunc(e.Blocked, func(kind string) bool { return kind != "NONE" && kind != "SSE-C" }) {
			return e, errMalformedXML()
		}
	}
	by := rule.ApplyServerSideEncryptionByDefault
	if by == nil {
		return e, nil
	}
	e.Algorithm, e.KMSKey = by.SSEAlgorithm, by.KMSMasterKeyID
	switch {
	case e.Algorithm != sseS3 && !usesKMS(e.Algorithm):
		return e, errMalformedXML()
	case e.Algorithm == sseS3 && e.KMSKey != "":
		return e, errInvalidArgument("ApplyServerSideEncryptionByDefault", "", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
	}
	return e, nil
}

// Public access block.

// publicAccess is a bucket's public access block.
type publicAccess struct{ BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets bool }

// publicAccess returns the configuration in force; nothing is blocked once it
// was deleted.
func (b *bucket) publicAccess() (publicAccess, error) {
	var p publicAccess
	err := decode(b.PublicAccess, &p)
	return p, err
}

func (s *Service) getPublicAccessBlock(ctx context.Context, c *call.Call, in *api.GetPublicAccessBlockInput) (*api.GetPublicAccessBlockOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if b.PublicAccess == "" {
		return nil, aws.Errorf("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found").
			WithStatus(404).With("BucketName", b.Name)
	}
	p, err := b.publicAccess()
	if err != nil {
		return nil, err
	}
	return &api.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &api.PublicAccessBlockConfiguration{
		BlockPublicAcls:       &p.BlockPublicAcls,
		IgnorePublicAcls:      &p.IgnorePublicAcls,
		BlockPublicPolicy:     &p.BlockPublicPolicy,
		RestrictPublicBuckets: &p.RestrictPublicBuckets,
	}}, nil
}

func (s *Service) putPublicAccessBlock(ctx context.Context, c *call.Call, in *api.PutPublicAccessBlockInput) (*api.PutPublicAccessBlockOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	cfg := in.PublicAccessBlockConfiguration
	if cfg == nil {
		return nil, errMalformedXML()
	}
	p := publicAccess{isTrue(cfg.BlockPublicAcls), isTrue(cfg.IgnorePublicAcls), isTrue(cfg.BlockPublicPolicy), isTrue(cfg.RestrictPublicBuckets)}
	if err := s.setPublicAccess(ctx, b, encode(p)); err != nil {
		return nil, err
	}
	return &api.PutPublicAccessBlockOutput{}, nil
}

func (s *Service) deletePublicAccessBlock(ctx context.Context, c *call.Call, in *api.DeletePublicAccessBlockInput) (*api.DeletePublicAccessBlockOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := s.setPublicAccess(ctx, b, ""); err != nil {
		return nil, err
	}
	return &api.DeletePublicAccessBlockOutput{}, nil
}

func (s *Service) setPublicAccess(ctx context.Context, b *bucket, p string) error {
	return s.change(ctx, b, func(tx *state.Tx, _ *bucket) error {
		_, err := tx.Exec(ctx, `UPDATE s3_bucket SET public_access = $1 WHERE name = $2`, p, b.Name)
		return err
	})
}

// Tags.

const maxBucketTags = 50

// bucketTags checks a bucket's tags and returns them as they are stored.
func bucketTags(tags []api.Tag) (string, error) {
	if len(tags) > maxBucketTags {
		return "", aws.Errorf("BadRequest", "Bucket tag count cannot be greater than %d", maxBucketTags).WithStatus(400)
	}
	return storeTags(tags)
}

func (s *Service) getBucketTagging(ctx context.Context, c *call.Call, in *api.GetBucketTaggingInput) (*api.GetBucketTaggingOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Tags == "" {
		return nil, aws.Errorf("NoSuchTagSet", "The TagSet does not exist").WithStatus(404).With("BucketName", b.Name)
	}
	tags, err := loadTags(b.Tags)
	return &api.GetBucketTaggingOutput{TagSet: tags}, err
}

func (s *Service) putBucketTagging(ctx context.Context, c *call.Call, in *api.PutBucketTaggingInput) (*api.PutBucketTaggingOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if in.Tagging == nil {
		return nil, errMalformedXML()
	}
	tags, err := bucketTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	if err := s.setBucketTags(ctx, b, tags); err != nil {
		return nil, err
	}
	return &api.PutBucketTaggingOutput{}, nil
}

func (s *Service) deleteBucketTagging(ctx context.Context, c *call.Call, in *api.DeleteBucketTaggingInput) (*api.DeleteBucketTaggingOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := s.setBucketTags(ctx, b, ""); err != nil {
		return nil, err
	}
	return &api.DeleteBucketTaggingOutput{}, nil
}

func (s *Service) setBucketTags(ctx context.Context, b *bucket, tags string) error {
	return s.change(ctx, b, func(tx *state.Tx, _ *bucket) error {
		_, err := tx.Exec(ctx, `UPDATE s3_bucket SET tags = $1 WHERE name = $2`, tags, b.Name)
		return err
	})
}

// Configurations that no bucket has here: AWS's answers for a bucket without
// them. Putting one is not implemented, and so not listed.

// absent answers that a bucket has no such configuration.
func absent[In, Out any](s *Service, code, message string) func(context.Context, *call.Call, *In) (*Out, error) {
	return onExisting[In](s, func(b *bucket) (*Out, error) {
		return nil, aws.Errorf(code, "%s", message).WithStatus(404).With("BucketName", b.Name)
	})
}

// empty answers with an empty configuration; deleting what is not there
// answers so too.
func empty[In, Out any](s *Service) func(context.Context, *call.Call, *In) (*Out, error) {
	return onExisting[In](s, func(*bucket) (*Out, error) { return new(Out), nil })
}

// onExisting makes a handler of an answer for a bucket that has to exist.
func onExisting[In, Out any](s *Service, answer func(*bucket) (*Out, error)) func(context.Context, *call.Call, *In) (*Out, error) {
	name := fieldOf[In]("Bucket")
	return func(ctx context.Context, _ *call.Call, in *In) (*Out, error) {
		b, err := s.bucket(ctx, reflect.ValueOf(in).Elem().FieldByIndex(name).String())
		if err != nil {
			return nil, err
		}
		return answer(b)
	}
}

func (s *Service) getBucketRequestPayment(ctx context.Context, c *call.Call, in *api.GetBucketRequestPaymentInput) (*api.GetBucketRequestPaymentOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	return &api.GetBucketRequestPaymentOutput{Payer: "BucketOwner"}, nil
}
