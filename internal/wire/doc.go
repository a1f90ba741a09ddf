// Package wire moves AWS's protocols to Go structs and back, on the server's
// side and the client's: awsJson 1.1, awsQuery and REST-XML. It knows shapes
// from struct tags and a service's Model, and no operation by name.
package wire
