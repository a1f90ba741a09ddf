// Package leastprivilege writes the smallest policy that covers what a user or
// role did in the record of calls.
//
// What counts is what the checkpoint asked on the way, not the names of the
// operations: each permission with its resource, those of dependent calls too,
// such as kms:GenerateDataKey for what S3 encrypts, or iam:PassRole for a role
// that is handed over. A permission that the policy of a resource gave alone,
// as a key's policy does to a role that it names, needs no word in the caller's
// policy, and gets none.
//
// Resources are named exactly, with these exceptions:
//
//   - an object that a pipeline's runs read or write has another key in each
//     run: the pipeline's own pattern takes its place;
//   - more than Options.Exact objects or folders below one folder of a bucket
//     become folder/*, from the leaves up;
//   - a stack's or change set's ARN ends in an id that is new each time: it
//     becomes *.
//
// A * by itself stands only where the operation has no resource.
//
// Two conditions are kept: kms:ViaService, where each use of a key came through
// a service, and iam:PassedToService. codecommit:References is not: a push is
// judged once before any reference is known, and an Allow that asks for the key
// would refuse it (AWS publishes the key for Deny alone).
package leastprivilege
