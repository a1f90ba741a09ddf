package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// The form of the time in a git password; a Z follows it there, but not in
// what is signed.
const gitTime = "20060102T150405"

// GitCredentials takes apart the user name that the AWS CLI's credential
// helper and git-remote-codecommit send: an access key id, and after a percent
// sign the session token if there is one.
func GitCredentials(user string) (accessKeyID, token string) {
	accessKeyID, token, _ = strings.Cut(user, "%")
	return accessKeyID, token
}

// SignGit returns the password for one repository: a time and a signature over
// host and path. host is without its port, as the AWS CLI signs it; path is
// the repository's, such as /v1/repos/site.
func SignGit(secret []byte, region, host, path string, now time.Time) string {
	date := now.UTC().Format(gitTime)
	sum := gitSignature(secret, region, host, path, date)
	return date + "Z" + hex.EncodeToString(sum[:])
}

// VerifyGit reports whether password is one that SignGit, the AWS CLI's
// credential helper or git-remote-codecommit makes, not more than Skew from
// now. The region stands nowhere in it: a server whose host names none has to
// try those that it knows.
func VerifyGit(secret []byte, region, host, path, password string, now time.Time) bool {
	date, signature, ok := strings.Cut(password, "Z")
	if !ok {
		return false
	}
	t, err := time.Parse(gitTime, date)
	if err != nil || len(date) != len(gitTime) || now.Sub(t).Abs() > Skew {
		return false
	}
	return sameSignature(gitSignature(secret, region, host, path, date), signature)
}

// gitSignature signs a canonical request without query and payload, whose
// method is GIT.
func gitSignature(secret []byte, region, host, path, date string) [32]byte {
	sum := sha256.Sum256([]byte("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n"))
	day := date[:8]
	toSign := appendToSign(nil, algorithm, date, day, region, "codecommit")
	toSign = hex.AppendEncode(toSign, sum[:])
	key := signingKey(secret, day, region, "codecommit")
	return mac(key[:], toSign)
}
