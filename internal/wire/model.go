package wire

import "reflect"

// Protocol is the way a service's calls look on HTTP.
type Protocol int

// The protocols of AWS that sekisho speaks.
const (
	// JSON is awsJson 1.1: POST /, X-Amz-Target, JSON both ways.
	JSON Protocol = iota + 1
	// Query is awsQuery: a form with an Action, answered in XML.
	Query
	// RESTXML is S3's: methods, paths, headers, and XML or raw bodies.
	RESTXML
)

// Model describes a service as AWS models it. The packages internal/api/…
// hold one each, generated; New makes it work.
type Model struct {
	// Name is the service's name throughout sekisho, such as "codecommit".
	Name     string
	Protocol Protocol
	// Version is the API version, such as 2010-05-08.
	Version string
	// Endpoint is the first label of the service's host names.
	Endpoint string
	// Signing is the service's name in SigV4 scopes.
	Signing string
	// Target is the prefix of X-Amz-Target, without the dot.
	Target string
	// Invalid is the code that refuses an input against the model's
	// constraints, where it is not the protocol's usual one.
	Invalid string
	// Namespace is the XML namespace of answers.
	Namespace string
	// Operations are all operations, by name in ascending order.
	Operations []Operation
	// Errors are the modelled errors, by code in ascending order.
	Errors []ErrorShape
	// Rules are the constraints, by the names that the `rule` option of
	// struct tags holds.
	Rules map[string]Rule
}

// Operation is one operation as modelled.
type Operation struct {
	Name string
	// Method and URI are those of the http trait; the URI's labels are in
	// braces.
	Method, URI string
	// Status is the HTTP status of a success.
	Status int
	// In and Out are the struct types of input and output.
	In, Out reflect.Type
	// Void is set when the model names no output: the answer has no body, or
	// no result element.
	Void bool
	// Deprecated operations are never routed to (RESTXML).
	Deprecated bool
	// InRoot and Root name the XML elements that are the body of a request or
	// an answer whose members are no payload (RESTXML).
	InRoot, Root string
	// Unwrapped is set where Root itself holds the text of the only member.
	Unwrapped bool
	// Errors are the codes of the errors the operation names.
	Errors []string
}

// ErrorShape is a modelled error.
type ErrorShape struct {
	// Code is what clients know the error by.
	Code string
	// Status is the HTTP status; 0 means the protocol's usual one.
	Status int
	// Members are the members of the shape but for the message, by their
	// names on the wire.
	Members []string
}

// Rule constrains a value. Its zero value allows everything.
type Rule struct {
	// Min and Max bound the length of strings, blobs, lists and maps, and the
	// value of numbers; nil means unbounded.
	Min, Max *float64
	// Pattern is a regular expression as AWS writes it in its refusals, which
	// is Java's; "" means none.
	Pattern string
	// RE2 is Pattern in Go's syntax, where it differs; "-" means that Go
	// cannot express it, and it is not checked.
	RE2 string
	// Enum are the allowed values; empty means any.
	Enum []string
	// Elem and Key name the rules of list elements and map values, and of map
	// keys; "" means none.
	Elem, Key string
}
