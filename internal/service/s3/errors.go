package s3

import (
	"strconv"

	"github.com/sekisho/sekisho/internal/aws"
)

func errNoSuchBucket(name string) *aws.Error {
	return aws.Errorf("NoSuchBucket", "The specified bucket does not exist").WithStatus(404).With("BucketName", name)
}

func errNoSuchKey(key string) *aws.Error {
	return aws.Errorf("NoSuchKey", "The specified key does not exist.").WithStatus(404).With("Key", key)
}

func errNoSuchVersion(key, version string) *aws.Error {
	return aws.Errorf("NoSuchVersion", "The specified version does not exist.").WithStatus(404).
		With("Key", key).With("VersionId", version)
}

func errNoSuchUpload(id string) *aws.Error {
	return aws.Errorf("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").
		WithStatus(404).With("UploadId", id)
}

func errAccessDenied() *aws.Error {
	return aws.Errorf("AccessDenied", "Access Denied").WithStatus(403)
}

func errMalformedXML() *aws.Error {
	return aws.Errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema").WithStatus(400)
}

func errInvalidRequest(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidRequest", format, args...).WithStatus(400)
}

// errInvalidArgument names the header or parameter, and what it held.
func errInvalidArgument(name, value, format string, args ...any) *aws.Error {
	e := aws.Errorf("InvalidArgument", format, args...).WithStatus(400).With("ArgumentName", name)
	if value == "" {
		return e
	}
	return e.With("ArgumentValue", value)
}

func errNotImplemented(message string) *aws.Error {
	return aws.Errorf("NotImplemented", "%s", message).WithStatus(501)
}

// errHeaderNotImplemented is AWS's answer to a header whose meaning is not
// implemented.
func errHeaderNotImplemented(header string) *aws.Error {
	return errNotImplemented("A header you provided implies functionality that is not implemented").With("Header", header)
}

func errPreconditionFailed(condition string) *aws.Error {
	return aws.Errorf("PreconditionFailed", "At least one of the pre-conditions you specified did not hold").
		WithStatus(412).With("Condition", condition)
}

func errInvalidRange(asked string, size int64) *aws.Error {
	return aws.Errorf("InvalidRange", "The requested range is not satisfiable").WithStatus(416).
		With("RangeRequested", asked).With("ActualObjectSize", strconv.FormatInt(size, 10))
}

func errACLs() *aws.Error {
	return aws.Errorf("AccessControlListNotSupported", "The bucket does not allow ACLs").WithStatus(400)
}

func withHeader(e *aws.Error, name, value string) *aws.Error {
	c := *e
	c.Header = map[string]string{name: value}
	for k, v := range e.Header {
		c.Header[k] = v
	}
	return &c
}
