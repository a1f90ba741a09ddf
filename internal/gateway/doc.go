// Package gateway is the HTTP edge: one port for TLS and plain connections,
// which finds the service and operation of a request, proves who sent it,
// decodes it, passes it through the checkpoint and encodes the answer. Git
// takes the same walk.
package gateway
