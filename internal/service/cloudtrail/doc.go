// Package cloudtrail is the record of calls: who did what to what, and which
// statements let them or stood in the way. CloudTrail's LookupEvents is
// served from it, and sekisho's own explanations.
//
// Every call of the system is recorded before it is answered, those between
// services too. As on AWS, LookupEvents shows management events only: reading
// and writing S3 objects and putting events on buses are data events, which
// are kept for explanations alone. A call on another account's resource is
// shown in both accounts.
package cloudtrail
