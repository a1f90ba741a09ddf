package s3

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"slices"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/seal"
)

// Server-side encryption with customer-provided keys. The body lies under a
// data key of its own as any other does; the data key is sealed under the key
// that the request brings, which is kept nowhere. A request with another key
// cannot unseal it, and so is refused.

// sseCustomer marks envelopes whose data key a customer's key seals.
const sseCustomer = "SSE-C"

// customerKey is what the headers of a request say about a key that it brings.
type customerKey struct{ algorithm, key, md5 string }

// sent reports whether the request brings one, or tries to.
func (k *customerKey) sent() bool { return k.algorithm != "" || k.key != "" || k.md5 != "" }

// shown are the headers that answer a request which brought a key.
func (k *customerKey) shown() (algorithm, keyMD5 string) {
	if !k.sent() {
		return "", ""
	}
	return k.algorithm, k.md5
}

// check refuses headers that are not whole or do not fit together, and
// requests that can be overheard.
func (k *customerKey) check(c *call.Call) error {
	if !k.sent() {
		return nil
	}
	const asking = "Requests specifying Server Side Encryption with Customer provided keys must "
	raw, err := base64.StdEncoding.DecodeString(k.key)
	switch {
	case !c.Secure:
		return errInvalidRequest(asking + "be made over a secure connection.")
	case k.algorithm == "":
		return errInvalidArgument(headerSSEC, "", asking+"provide a valid encryption algorithm.")
	case k.algorithm != sseS3:
		return aws.Errorf("InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256.").WithStatus(400)
	case k.key == "":
		return errInvalidArgument(headerSSECKey, "", asking+"provide an appropriate secret key.")
	case k.md5 == "":
		return errInvalidArgument(headerSSECMD5, "", asking+"provide the client calculated MD5 of the secret key.")
	case err != nil || len(raw) != seal.KeySize:
		return errInvalidArgument(headerSSECKey, "", "The secret key was invalid for the specified algorithm.")
	}
	sum := md5.Sum(raw)
	if subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(sum[:])), []byte(k.md5)) != 1 {
		return errInvalidArgument(headerSSECMD5, k.md5, "The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	return nil
}

// box seals data keys under a key that was checked.
func (k *customerKey) box() (*seal.Box, error) {
	raw, err := base64.StdEncoding.DecodeString(k.key)
	if err != nil {
		return nil, err
	}
	return seal.NewBox(raw)
}

// seal is the data key of a body as its row keeps it.
func (k *customerKey) seal(dataKey []byte, body string) ([]byte, error) {
	box, err := k.box()
	if err != nil {
		return nil, err
	}
	return box.Seal(dataKey, []byte(body)), nil
}

// open unseals the data key of a body. The wrong key is refused in the words
// of any other refusal.
func (k *customerKey) open(sealed []byte, body string) ([]byte, error) {
	box, err := k.box()
	if err != nil {
		return nil, err
	}
	dataKey, err := box.Open(sealed, []byte(body))
	if err != nil {
		return nil, errAccessDenied()
	}
	return dataKey, nil
}

// takes refuses a request whose key headers do not fit how the body is
// encrypted: without them what needs them, and with them what does not.
func (e *envelope) takes(c *call.Call, k *customerKey) error {
	switch {
	case e.SSE == sseCustomer && !k.sent():
		return errInvalidRequest("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	case e.SSE != sseCustomer && k.sent():
		return errInvalidRequest("The encryption parameters are not applicable to this object.")
	}
	return k.check(c)
}

// takesPart is takes for the parts of an upload.
func (e *envelope) takesPart(c *call.Call, k *customerKey, body string) error {
	switch {
	case e.SSE == sseCustomer && !k.sent():
		return errInvalidRequest("The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
	case e.SSE != sseCustomer && k.sent():
		return errInvalidRequest("The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.")
	case !k.sent():
		return nil
	}
	if err := k.check(c); err != nil {
		return err
	}
	if _, err := k.open(e.SealedKey, body); err != nil {
		return errInvalidRequest("The provided encryption parameters did not match the ones used originally.")
	}
	return nil
}

// blocksCustomerKeys reports whether the bucket takes no bodies under
// customers' keys: new ones do not, unless their encryption says otherwise.
func (e *encryption) blocksCustomerKeys() bool { return slices.Contains(e.Blocked, sseCustomer) }

func errCustomerKeysBlocked(c *call.Call, bucket, key string) error {
	if c.Principal.Kind == aws.Anonymous {
		return errAccessDenied()
	}
	return aws.Errorf("AccessDenied", `User: %s is not authorized to perform: s3:PutObject on resource: "%s" because this bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type`,
		c.Principal.ARN, objectARN(bucket, key)).WithStatus(403)
}
