// Package policy is the IAM policy language: it parses and validates
// documents with AWS's own refusals, and evaluates them as AWS does, for
// every kind of policy. It is pure: whoever calls it has fetched the
// documents and the context.
//
// The rules are those of the IAM User Guide. Where it is silent, or says that
// behaviour is not guaranteed, this package decides as follows, unconfirmed:
//
//   - A key with several values and no set operator: one value has to match, or
//     none for a negated operator.
//   - A value that an operator cannot read, such as a text for a number, is like
//     no value of the policy; a negated operator holds for it.
//   - "*" in a resource's policy overcomes the silence of a permissions boundary
//     and of session policies, as the name of a user or session does.
//   - Naming a role is not enough against the silence of them, in trust and key
//     policies neither.
//   - Wildcards in the value of a variable mean themselves, also in its default.
//   - A policy variable in an action, a number, a truth value or a network fails
//     IAM's legacy parsing, as a date that is none does (the latter is known).
//   - Names of operators are taken in any case.
//   - The refusals of documents that stand on resources, but for bucket policies,
//     are worded as S3 words them; KMS has one of its own for principals.
package policy
