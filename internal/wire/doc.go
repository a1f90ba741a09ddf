// Package wire moves AWS's protocols to Go structs and back, on the server's
// side and the client's: awsJson 1.1, awsQuery and REST-XML. It knows shapes
// from struct tags and a service's Model, and no operation by name. How a
// type is read and written is worked out once (a plan) and then followed.
//
// A request becomes an operation (Service.Target, Action or Route) and an
// input (Op.DecodeRequest); an output or an error becomes an answer
// (Op.EncodeResponse, Service.EncodeError). The client's side is the mirror:
// Op.EncodeRequest and Op.DecodeResponse.
//
// # Who checks what
//
// DecodeRequest holds inputs to the constraints of the model and refuses in
// AWS's words: ValidationException, for query services ValidationError, for
// Organizations InvalidInputException. Three things are left to the services:
//
//   - What a service models as errors of its own, member by member, as
//     CodeCommit (RepositoryNameRequiredException, InvalidPathException) and
//     CloudTrail do. The generator marks those members: an error
//     XRequiredException speaks of the absence, InvalidXException (or
//     XInvalidException, XSizeLimitExceededException) of the
//     values, of every member whose name or shape begins or ends with X.
//   - Everything outside the body of an S3 request, except that numbers have
//     to be numbers. In the body, whatever breaks the model is MalformedXML.
//   - Patterns that Go's regular expressions cannot express. There are two:
//     IAM's accountAliasType and EventBridge's PathParameter.
//
// Strings are UTF-8 without NUL, whatever the protocol; anything else is
// refused, because no database keeps it.
package wire
