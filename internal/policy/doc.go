// Package policy is the IAM policy language: it parses and validates
// documents with AWS's own refusals, and evaluates them as AWS does, for
// every kind of policy. It is pure: whoever calls it has fetched the
// documents and the context.
package policy
