package sigv4

import (
	"strings"
	"time"
)

// Post is the signature in the form of a POST upload to S3: of the policy that
// the form carries, and of nothing else.
type Post struct {
	AccessKeyID, Token string
	Region             string
	// Time is the date that the form gives. It bounds nothing: policies have an
	// expiration of their own.
	Time time.Time

	day, service, signature string
}

// ParsePost reads the form's fields x-amz-algorithm, x-amz-credential,
// x-amz-date, x-amz-signature and x-amz-security-token, which field returns. It
// returns nil for a form that carries none of them. The error is an *Error.
func ParsePost(field func(name string) string) (*Post, error) {
	given, credential, date := field("x-amz-algorithm"), field("x-amz-credential"), field("x-amz-date")
	signature := field("x-amz-signature")
	switch {
	case field("signature") != "" || field("awsaccesskeyid") != "":
		return nil, &Error{incomplete, "", s3Error("InvalidRequest", 400,
			"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")}
	case given == "" && credential == "" && signature == "":
		return nil, nil
	case given != algorithm:
		return nil, postError("x-amz-algorithm", given, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[0] == "" || parts[4] != terminator {
		return nil, postError("x-amz-credential", credential, "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || !strings.HasPrefix(date, parts[1]) {
		return nil, postError("x-amz-date", date, "X-Amz-Date must be formated via ISO8601 Long format")
	}
	if parts[3] != "s3" {
		return nil, postError("x-amz-credential", credential, "Error parsing the X-Amz-Credential parameter; incorrect service \""+parts[3]+"\". This endpoint belongs to \"s3\".")
	}
	return &Post{
		AccessKeyID: parts[0], Token: field("x-amz-security-token"), Region: parts[2], Time: at,
		day: parts[1], service: parts[3], signature: signature,
	}, nil
}

func postError(field, value, message string) *Error {
	return &Error{incomplete, message, s3Error("InvalidArgument", 400, message, "ArgumentName", field, "ArgumentValue", value)}
}

// Verify holds the signature of a policy, as the form has it in base64, against
// the secret of the access key. The error is an *Error.
func (p *Post) Verify(secret []byte, policy string) error {
	key := signingKey(secret, p.day, p.Region, p.service)
	if sameSignature(mac(key[:], []byte(policy)), p.signature) {
		return nil
	}
	const text = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
	return &Error{mismatch, text, s3Error("SignatureDoesNotMatch", 403, text,
		"AWSAccessKeyId", p.AccessKeyID, "StringToSign", policy, "SignatureProvided", p.signature)}
}
