package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// problem is a reason of CloudFormation's own: no service was asked.
type problem struct{ text string }

func (p problem) Error() string { return p.text }

func problemf(format string, args ...any) error { return problem{fmt.Sprintf(format, args...)} }

// reason words why a step failed, as the events of the resource's type do on
// AWS. What is our own trouble is logged and shown as an internal failure.
func (s *Service) reason(ctx context.Context, row *resource, err error, token string) string {
	if p, ok := errors.AsType[problem](err); ok {
		return p.text
	}
	e, ok := errors.AsType[*aws.Error](err)
	if !ok {
		s.log.ErrorContext(ctx, "stack resource", "stack", row.Stack, "resource", row.Logical, "type", row.Type, "err", err)
		return "Internal Failure"
	}
	if token == "" { // of the template or the stack, not of a service
		return e.Message
	}
	k := s.types[row.Type]
	if isExisting(e.Code) && row.Pending != nil && row.Pending.Name != "" {
		return row.Pending.Name + " already exists"
	}
	if k.legacy {
		return fmt.Sprintf("%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
			e.Message, k.service, status(e), e.Code, e.RequestID)
	}
	return fmt.Sprintf(`Resource handler returned message: "%s (Service: %s, Status Code: %d, Request ID: %s)" (RequestToken: %s, HandlerErrorCode: %s)`,
		e.Message, k.service, status(e), e.RequestID, token, handlerCode(e.Code))
}

func status(e *aws.Error) int {
	if e.Status != 0 {
		return e.Status
	}
	return 400
}

// handlerCode is CloudFormation's class for a service's error code.
func handlerCode(code string) string {
	switch {
	case strings.HasPrefix(code, "AccessDenied"), strings.HasPrefix(code, "Unauthorized"):
		return "AccessDenied"
	case isExisting(code):
		return "AlreadyExists"
	case isMissing(code):
		return "NotFound"
	case strings.Contains(code, "Throttl"):
		return "Throttling"
	case strings.Contains(code, "LimitExceeded"):
		return "ServiceLimitExceeded"
	case strings.Contains(code, "ConcurrentModification"), strings.Contains(code, "DeleteConflict"):
		return "ResourceConflict"
	case strings.HasPrefix(code, "Validation"), strings.HasPrefix(code, "Malformed"), strings.HasPrefix(code, "Invalid"),
		strings.HasPrefix(code, "Illegal"):
		return "InvalidRequest"
	case strings.HasPrefix(code, "Internal"):
		return "ServiceInternalError"
	}
	return "GeneralServiceException"
}

// isMissing reports whether an error code says that a thing does not exist.
func isMissing(code string) bool {
	return strings.Contains(code, "NotFound") || strings.HasPrefix(code, "NoSuch") || strings.Contains(code, "DoesNotExist")
}

// isExisting reports whether an error code says that a thing exists already.
func isExisting(code string) bool {
	return !strings.HasPrefix(code, "Token") && (strings.Contains(code, "AlreadyExists") || strings.Contains(code, "NameExists") ||
		strings.Contains(code, "NameInUse") || code == "BucketAlreadyOwnedByYou")
}

// missing reports whether a call failed because a thing does not exist.
func missing(err error) bool {
	e, ok := errors.AsType[*aws.Error](err)
	return ok && isMissing(e.Code)
}

// existing reports whether a call failed because a thing exists already.
func existing(err error) bool {
	e, ok := errors.AsType[*aws.Error](err)
	return ok && isExisting(e.Code)
}

// unlessMissing forgives an error about a thing that is gone: deleting it is
// done.
func unlessMissing(err error) error {
	if missing(err) {
		return nil
	}
	return err
}

// errorCode is the code of an answer, and "" for other errors.
func errorCode(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return ""
}
