// Package policyeval answers questions about policies without a server: lines
// of JSON in, each with a request and every policy that speaks for it, and for
// each a line with the decision. It has no state and no clock.
package policyeval
