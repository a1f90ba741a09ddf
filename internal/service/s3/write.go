package s3

import (
	"fmt"
	"strconv"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// write is what PutObject, CopyObject and CreateMultipartUpload say alike
// about the object they are to make.
type write struct {
	acl      aclRequest
	sse      sseRequest
	class    string
	tagging  string
	detail   detail
	lock     lock // of the object lock headers
	ifMatch  string
	ifAbsent string // If-None-Match
}

func writeOfPut(in *api.PutObjectInput) *write {
	return &write{
		acl:     aclRequest{canned: in.ACL, grants: grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, "", in.GrantWriteACP)},
		sse:     sseRequest{in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext, in.BucketKeyEnabled, customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}},
		class:   in.StorageClass,
		tagging: in.Tagging,
		detail: detail{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType,
			in.Expires, in.WebsiteRedirectLocation, in.Metadata},
		lock:    askedLock(in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus),
		ifMatch: in.IfMatch, ifAbsent: in.IfNoneMatch,
	}
}

func writeOfCopy(in *api.CopyObjectInput) *write {
	return &write{
		acl:     aclRequest{canned: in.ACL, grants: grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, "", in.GrantWriteACP)},
		sse:     sseRequest{in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext, in.BucketKeyEnabled, customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}},
		class:   in.StorageClass,
		tagging: in.Tagging,
		detail: detail{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType,
			in.Expires, in.WebsiteRedirectLocation, in.Metadata},
		lock:    askedLock(in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus),
		ifMatch: in.IfMatch, ifAbsent: in.IfNoneMatch,
	}
}

func writeOfUpload(in *api.CreateMultipartUploadInput) *write {
	return &write{
		acl:     aclRequest{canned: in.ACL, grants: grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, "", in.GrantWriteACP)},
		sse:     sseRequest{in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext, in.BucketKeyEnabled, customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}},
		class:   in.StorageClass,
		tagging: in.Tagging,
		detail: detail{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType,
			in.Expires, in.WebsiteRedirectLocation, in.Metadata},
		lock: askedLock(in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus),
	}
}

// grantHeaders are the x-amz-grant-* headers that were sent.
func grantHeaders(fullControl, read, readACP, write, writeACP string) map[string]string {
	m := map[string]string{}
	for name, value := range map[string]string{
		"x-amz-grant-full-control": fullControl, "x-amz-grant-read": read,
		"x-amz-grant-read-acp": readACP, "x-amz-grant-write": write, "x-amz-grant-write-acp": writeACP,
	} {
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// needs returns the permissions that writing an object takes. more are
// condition keys of the operation at hand.
func (w *write) needs(c *call.Call, t *target, key string, more policy.Keys) ([]call.Need, error) {
	tags, err := headerTags(w.tagging)
	if err != nil {
		return nil, err
	}
	keys := func() policy.Keys {
		k := policy.Keys{}
		for name, values := range more {
			k[name] = values
		}
		w.addKeys(c, t, k)
		return k
	}
	put := keys()
	if err := addRequestTagKeys(put, tags); err != nil {
		return nil, err
	}
	needs := []call.Need{t.in("s3:PutObject", key, put)}
	if !w.acl.empty() {
		n := t.in("s3:PutObjectAcl", key, keys())
		n.ACL = needs[0].ACL // who may write the object by a list writes its list, too
		needs = append(needs, n)
	}
	if w.tagging != "" {
		tagging := keys()
		if err := addRequestTagKeys(tagging, tags); err != nil {
			return nil, err
		}
		needs = append(needs, t.in("s3:PutObjectTagging", key, tagging))
	}
	if w.lock.retains() {
		needs = append(needs, t.in("s3:PutObjectRetention", key, keys()))
	}
	if w.lock.Hold != "" {
		needs = append(needs, t.in("s3:PutObjectLegalHold", key, keys()))
	}
	if w.ifMatch != "" {
		needs = append(needs, t.in("s3:GetObject", key, keys()))
	}
	return needs, nil
}

// addKeys sets the condition keys of the request's headers. A header that was
// not sent sets none, whatever the bucket's default encryption is.
func (w *write) addKeys(c *call.Call, t *target, keys policy.Keys) {
	region := c.Region
	if t.bucket != nil {
		region = t.bucket.Region
	}
	addACLKeys(keys, &w.acl)
	w.lock.addKeys(keys, c.Time)
	for name, value := range map[string]string{
		"s3:x-amz-storage-class":                             w.class,
		"s3:x-amz-website-redirect-location":                 w.detail.WebsiteRedirect,
		"s3:" + headerSSE:                                    w.sse.algorithm,
		"s3:" + headerKMSKey:                                 w.sse.conditionKey(c, region),
		"s3:x-amz-server-side-encryption-customer-algorithm": w.sse.customer.algorithm,
		"s3:if-match":                                        w.ifMatch,
		"s3:if-none-match":                                   w.ifAbsent,
	} {
		if value != "" {
			keys[name] = []string{value}
		}
	}
}

// creates is the condition key that tells requests that make an object from
// those that only prepare one, and take no If-Match or If-None-Match.
func creates(object bool) policy.Keys {
	return policy.Keys{"s3:objectcreationoperation": {strconv.FormatBool(object)}}
}

// classes are the storage classes in which objects can be read at once. The
// archives, from which AWS restores first, are not implemented.
var classes = map[string]bool{
	"STANDARD": true, "REDUCED_REDUNDANCY": true, "STANDARD_IA": true, "ONEZONE_IA": true,
	"INTELLIGENT_TIERING": true, "GLACIER_IR": true, "GLACIER": false, "DEEP_ARCHIVE": false,
}

const standardClass = "STANDARD"

// maxMetadata is how many bytes names and values of the metadata may take.
const maxMetadata = 2 << 10

// check refuses what an object cannot be.
func (w *write) check(c *call.Call) error {
	if err := w.sse.check(c); err != nil {
		return err
	}
	if readable, known := classes[w.class]; w.class != "" && !readable {
		if known {
			return errNotImplemented("The storage class " + w.class + " is not implemented")
		}
		return aws.Errorf("InvalidStorageClass", "The storage class you specified is not valid").WithStatus(400).
			With("StorageClassRequested", w.class)
	}
	if w.ifAbsent != "" && w.ifAbsent != "*" {
		return errHeaderNotImplemented("If-None-Match")
	}
	if redirect := w.detail.WebsiteRedirect; redirect != "" && !strings.HasPrefix(redirect, "/") &&
		!strings.HasPrefix(redirect, "http://") && !strings.HasPrefix(redirect, "https://") {
		return aws.Errorf("InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.").WithStatus(400)
	}
	return w.detail.check()
}

// check refuses metadata that is too large, and headers that no database
// takes.
func (d *detail) check() error {
	size := 0
	for name, value := range d.Metadata {
		size += len(name) + len(value)
		if !storable(name) || !storable(value) {
			return errInvalidArgument("x-amz-meta-"+name, "", "Metadata must be valid UTF-8")
		}
	}
	if size > maxMetadata {
		return aws.Errorf("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size").WithStatus(400).
			With("Size", fmt.Sprint(size)).With("MaxSizeAllowed", fmt.Sprint(maxMetadata))
	}
	for name, value := range map[string]string{
		"Cache-Control": d.CacheControl, "Content-Disposition": d.ContentDisposition, "Content-Encoding": d.ContentEncoding,
		"Content-Language": d.ContentLanguage, "Content-Type": d.ContentType, "Expires": d.Expires,
		"x-amz-website-redirect-location": d.WebsiteRedirect,
	} {
		if !storable(value) {
			return errInvalidArgument(name, "", "The header holds what is not UTF-8")
		}
	}
	return nil
}

// stored is the detail as a row keeps it. aws-chunked is how the body
// travelled, not what it is.
func (d detail) stored() string {
	var kept []string
	for part := range strings.SplitSeq(d.ContentEncoding, ",") {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
			kept = append(kept, part)
		}
	}
	d.ContentEncoding = strings.Join(kept, ",")
	if len(d.Metadata) > 0 {
		lower := make(map[string]string, len(d.Metadata))
		for name, value := range d.Metadata {
			lower[strings.ToLower(name)] = value
		}
		d.Metadata = lower
	}
	return encode(d)
}

// class returns the storage class that a row keeps.
func storageClass(asked string) string {
	if asked == "" {
		return standardClass
	}
	return asked
}
