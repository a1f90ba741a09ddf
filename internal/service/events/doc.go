// Package events is EventBridge: buses, rules and the delivery of events to
// other buses and to pipelines.
//
// An event takes this way: a service emits it in the transaction of its own
// change, or a caller puts it (put.go). The outbox hands it over (route.go),
// the rules of its bus are matched, and each target of each matching rule
// becomes a job, all in one transaction. The job (deliver.go) assumes the
// target's role and makes the call that AWS would make, through the
// checkpoint like everybody. What fails is tried again within the target's
// retry policy; what cannot succeed becomes a dead letter (letters.go).
package events
