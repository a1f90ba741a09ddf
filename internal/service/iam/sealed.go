package iam

import "github.com/sekisho/sekisho/internal/fsck"

// Sealed lists what of IAM lies sealed under the master key.
func Sealed() []fsck.Column {
	return []fsck.Column{
		{Table: "iam_access_key", Column: "secret", Key: []string{"id"}, Bound: "id", Purpose: "iam/access-key"},
		{Table: "iam_mfa", Column: "seed", Key: []string{"serial"}, Bound: "serial", Purpose: "iam/mfa"},
		{Table: "iam_saml_key", Column: "secret", Key: []string{"id"}, Bound: "id", Purpose: "iam/private-key"},
		{Table: "iam_server_certificate", Column: "secret", Key: []string{"id"}, Bound: "id", Purpose: "iam/private-key"},
	}
}
