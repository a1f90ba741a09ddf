package cloudformation

import "github.com/sekisho/sekisho/internal/fsck"

// Sealed lists what of CloudFormation lies sealed under the master key.
func Sealed() []fsck.Column {
	return []fsck.Column{
		{Table: "cloudformation_stack", Column: "body", Key: []string{"id"}, Bound: "id", Purpose: "cloudformation"},
		{Table: "cloudformation_change_set", Column: "body", Key: []string{"id"}, Bound: "id", Purpose: "cloudformation"},
		{Table: "cloudformation_resource", Column: "body", Key: []string{"stack", "logical"}, Bound: "stack || '/' || logical", Purpose: "cloudformation"},
	}
}
