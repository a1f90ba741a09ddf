package organizations

import (
	"strings"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
)

var (
	errNotInUse       = aws.Errorf("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	errNotManagement  = aws.Errorf("AccessDeniedException", "You don't have permissions to access this resource.")
	errAlreadyIn      = aws.Errorf("AlreadyInOrganizationException", "The provided account is already a member of an organization.")
	errNotEmpty       = aws.Errorf("OrganizationNotEmptyException", "To delete an organization you must first remove all member accounts (except the master).")
	errManagementStay = aws.Errorf("MasterCannotLeaveOrganizationException", "You cannot remove the management account from the organization.")

	errDependency = aws.Errorf("AccessDeniedForDependencyException",
		"The request failed because your credentials do not have permission to create the service-linked role required by AWS Organizations.").
		With("Reason", "ACCESS_DENIED_DURING_CREATE_SERVICE_LINKED_ROLE")

	errNoRoot        = aws.Errorf("RootNotFoundException", "You specified a root that doesn't exist.")
	errNoUnit        = aws.Errorf("OrganizationalUnitNotFoundException", "You specified an organizational unit that doesn't exist.")
	errNoParent      = aws.Errorf("ParentNotFoundException", "You specified parent that doesn't exist.")
	errNoSource      = aws.Errorf("SourceParentNotFoundException", "You specified a source parent that doesn't exist.")
	errNoDestination = aws.Errorf("DestinationParentNotFoundException", "You specified a destination parent that doesn't exist.")
	errNoChild       = aws.Errorf("ChildNotFoundException", "You specified a child that doesn't exist.")
	errNoAccount     = aws.Errorf("AccountNotFoundException", "You specified an account that doesn't exist.")
	errNoTarget      = aws.Errorf("TargetNotFoundException", "You specified a target that doesn't exist.")
	errNoPolicy      = aws.Errorf("PolicyNotFoundException", "You specified a policy that doesn't exist.")
	errNoRequest     = aws.Errorf("CreateAccountStatusNotFoundException", "You specified a create account status that doesn't exist.")
	errNoHandshake   = aws.Errorf("HandshakeNotFoundException", "You specified a handshake that doesn't exist.")

	errDuplicateUnit    = aws.Errorf("DuplicateOrganizationalUnitException", "An OU with the same name already exists.")
	errUnitNotEmpty     = aws.Errorf("OrganizationalUnitNotEmptyException", "The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, and try the operation again.")
	errDuplicateAccount = aws.Errorf("DuplicateAccountException", "That account is already present in the specified destination.")

	errDuplicatePolicy = aws.Errorf("DuplicatePolicyException", "A policy with the same name already exists.")
	errPolicyInUse     = aws.Errorf("PolicyInUseException", "The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts before performing this operation.")
	errAttached        = aws.Errorf("DuplicatePolicyAttachmentException", "The selected policy is already attached to the specified target.")
	errNotAttached     = aws.Errorf("PolicyNotAttachedException", "The policy isn't attached to the specified target in the specified root.")
	errMalformed       = aws.Errorf("MalformedPolicyDocumentException", "The provided policy document does not meet the requirements of the specified policy type.")
	errTypeEnabled     = aws.Errorf("PolicyTypeAlreadyEnabledException", "The specified policy type is already enabled.")
	errTypeNotEnabled  = aws.Errorf("PolicyTypeNotEnabledException", "This operation can be performed only for enabled policy types.")
	errTypeUnavailable = aws.Errorf("PolicyTypeNotAvailableForOrganizationException", "This operation can be called only by organizations with ALL features enabled.")
)

// constraint is a limit that would be passed, with AWS's word for it.
func constraint(reason, format string, args ...any) *aws.Error {
	return aws.Errorf("ConstraintViolationException", format, args...).With("Reason", reason)
}

// invalid is a value that cannot be, with AWS's word for why.
func invalid(reason, format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidInputException", format, args...).With("Reason", reason)
}

// checkTexts refuses texts with NUL in them, and those that are not UTF-8, which
// the model's patterns take and PostgreSQL cannot keep.
func checkTexts(texts ...string) error {
	for _, text := range texts {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return invalid("INVALID_PATTERN", "You provided a value that does not match the required pattern.")
		}
	}
	return nil
}

// handshakeConstraint is a reason why accounts cannot come together.
func handshakeConstraint(reason, format string, args ...any) *aws.Error {
	return aws.Errorf("HandshakeConstraintViolationException", format, args...).With("Reason", reason)
}

// notBuilt refuses a policy type that AWS has and sekisho does not, by its
// name.
func notBuilt(policyType string) *aws.Error {
	return aws.Errorf("NotImplemented", "organizations policies of type %s are not implemented by sekisho: SERVICE_CONTROL_POLICY and RESOURCE_CONTROL_POLICY are.", policyType).WithStatus(501)
}
