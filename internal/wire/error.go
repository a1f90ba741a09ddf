package wire

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// EncodeError writes an error as the service's protocol has it.
func (s *Service) EncodeError(e *aws.Error, m Meta) *Response {
	resp := &Response{Status: s.Status(e), Header: http.Header{}}
	for name, value := range e.Header {
		resp.Header.Set(name, value)
	}
	switch s.Protocol {
	case JSON:
		s.jsonError(resp, e, m)
	case Query:
		s.queryError(resp, e, m)
	default:
		s.restError(resp, e, m)
	}
	if m.Head || resp.Status == http.StatusNotModified {
		resp.Body = nil
		resp.Header.Del("Content-Type")
	}
	return resp
}

func (s *Service) jsonError(resp *Response, e *aws.Error, m Meta) {
	b := append([]byte(nil), `{"__type":`...)
	b = appendJSONString(b, e.Code)
	if e.Message != "" {
		b = append(b, `,"message":`...)
		b = appendJSONString(b, e.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		b = append(b, ',')
		b = appendJSONString(b, name)
		b = append(b, ':')
		b = appendJSONString(b, e.Fields[name])
	}
	resp.Body = append(b, '}')
	resp.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp.Header.Set("X-Amzn-Requestid", m.RequestID)
	resp.Header.Set("X-Amzn-Errortype", e.Code)
}

func (s *Service) queryError(resp *Response, e *aws.Error, m Meta) {
	w := xmlWriter{strict: true}
	w.open("ErrorResponse", s.Namespace)
	w.open("Error", "")
	fault := "Sender"
	if resp.Status >= 500 {
		fault = "Receiver"
	}
	w.element("Type", fault)
	w.element("Code", e.Code)
	w.element("Message", e.Message)
	w.fields(e.Fields)
	w.end("Error")
	w.element("RequestId", m.RequestID)
	w.end("ErrorResponse")
	resp.Body = w.b
	resp.Header.Set("Content-Type", "text/xml")
	resp.Header.Set("X-Amzn-Requestid", m.RequestID)
}

func (s *Service) restError(resp *Response, e *aws.Error, m Meta) {
	w := xmlWriter{}
	w.b = append(w.b, xmlProlog...)
	w.open("Error", "")
	w.element("Code", e.Code)
	w.element("Message", e.Message)
	w.fields(e.Fields)
	if _, ok := e.Fields["Resource"]; !ok && m.Resource != "" {
		w.element("Resource", m.Resource)
	}
	w.element("RequestId", m.RequestID)
	w.element("HostId", m.HostID)
	w.end("Error")
	resp.Body = w.b
	resp.Header.Set("Content-Type", "application/xml")
	m.s3(resp.Header)
}

func (w *xmlWriter) fields(fields map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		w.element(name, fields[name])
	}
}

// Status is the HTTP status of an error: its own, the model's, or the usual
// one for its code.
func (s *Service) Status(e *aws.Error) int {
	if e.Status != 0 {
		return e.Status
	}
	if shape := s.errors[e.Code]; shape != nil && shape.Status != 0 {
		return shape.Status
	}
	if status, ok := commonStatus[e.Code]; ok {
		return status
	}
	if s.Protocol == JSON {
		return http.StatusBadRequest
	}
	if strings.HasPrefix(e.Code, "AccessDenied") {
		return http.StatusForbidden
	}
	if status, ok := authStatus[e.Code]; ok {
		return status
	}
	if status, ok := s3Status[e.Code]; ok && s.Protocol == RESTXML {
		return status
	}
	return http.StatusBadRequest
}

// commonStatus are statuses that hold for every service and are in no model.
var commonStatus = map[string]int{
	"InternalFailure":     http.StatusInternalServerError,
	"InternalError":       http.StatusInternalServerError,
	"InternalServerError": http.StatusInternalServerError,
	"ServiceUnavailable":  http.StatusServiceUnavailable,
	"NotImplemented":      http.StatusNotImplemented,
}

// authStatus are the refusals of credentials outside the JSON services, which
// answer 400.
var authStatus = map[string]int{
	"ExpiredToken":               http.StatusForbidden,
	"InvalidAccessKeyId":         http.StatusForbidden,
	"InvalidClientTokenId":       http.StatusForbidden,
	"MissingAuthenticationToken": http.StatusForbidden,
	"OptInRequired":              http.StatusForbidden,
	"SignatureDoesNotMatch":      http.StatusForbidden,
}

// s3Status are S3's documented statuses that its model leaves out.
var s3Status = map[string]int{
	"AccountProblem":                                 http.StatusForbidden,
	"AllAccessDisabled":                              http.StatusForbidden,
	"BucketAlreadyExists":                            http.StatusConflict,
	"BucketAlreadyOwnedByYou":                        http.StatusConflict,
	"BucketNotEmpty":                                 http.StatusConflict,
	"ConditionalRequestConflict":                     http.StatusConflict,
	"ExpiredToken":                                   http.StatusBadRequest,
	"InvalidBucketState":                             http.StatusConflict,
	"InvalidObjectState":                             http.StatusForbidden,
	"InvalidRange":                                   http.StatusRequestedRangeNotSatisfiable,
	"MethodNotAllowed":                               http.StatusMethodNotAllowed,
	"MissingContentLength":                           http.StatusLengthRequired,
	"NoSuchBucket":                                   http.StatusNotFound,
	"NoSuchBucketPolicy":                             http.StatusNotFound,
	"NoSuchCORSConfiguration":                        http.StatusNotFound,
	"NoSuchConfiguration":                            http.StatusNotFound,
	"NoSuchKey":                                      http.StatusNotFound,
	"NoSuchLifecycleConfiguration":                   http.StatusNotFound,
	"NoSuchObjectLockConfiguration":                  http.StatusNotFound,
	"NoSuchPublicAccessBlockConfiguration":           http.StatusNotFound,
	"NoSuchTagSet":                                   http.StatusNotFound,
	"NoSuchUpload":                                   http.StatusNotFound,
	"NoSuchVersion":                                  http.StatusNotFound,
	"NoSuchWebsiteConfiguration":                     http.StatusNotFound,
	"NotFound":                                       http.StatusNotFound,
	"NotModified":                                    http.StatusNotModified,
	"NotSignedUp":                                    http.StatusForbidden,
	"ObjectLockConfigurationNotFoundError":           http.StatusNotFound,
	"OperationAborted":                               http.StatusConflict,
	"OwnershipControlsNotFoundError":                 http.StatusNotFound,
	"PermanentRedirect":                              http.StatusMovedPermanently,
	"PreconditionFailed":                             http.StatusPreconditionFailed,
	"ReplicationConfigurationNotFoundError":          http.StatusNotFound,
	"RequestTimeTooSkewed":                           http.StatusForbidden,
	"RestoreAlreadyInProgress":                       http.StatusConflict,
	"ServerSideEncryptionConfigurationNotFoundError": http.StatusNotFound,
	"SlowDown":                                       http.StatusServiceUnavailable,
	"TemporaryRedirect":                              http.StatusTemporaryRedirect,
}
