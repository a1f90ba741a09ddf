// Package servicetest runs services behind a real checkpoint, on SQLite and,
// when SEKISHO_TEST_POSTGRES names a server, on PostgreSQL. Policies and keys
// are kept in memory, so that a service is tested without IAM; everything else
// is the real thing.
//
// Scripts are testdata/*.txtar files. The archive's comment is the script, its
// files are texts that calls may use. A line is one of
//
//	# remark
//	policy WHO JSON            give WHO an identity policy, beside those it has
//	forget WHO                 take all identity policies from WHO
//	remove WHO                 delete WHO, as far as policies name users and roles
//	restore WHO                make WHO anew, under the name, with another unique id
//	id NAME WHO                keep WHO's unique id
//	as WHO SERVICE OPERATION JSON
//	! as WHO SERVICE OPERATION JSON      the call has to fail
//	error CODE 'text' …        what the failed call answered
//	out JSON                   what the last call answered, at least
//	not JSON                   what the last answer must not contain
//	let NAME .Path.To[0].Member          keep a value of the last answer
//	body NAME                  the next call's Body is that file of the archive
//	audit NAME SERVICE OPERATION CODE|ok the newest record of a call by NAME
//	advance DURATION           move the clock
//
// WHO is user@ACCOUNT, root@ACCOUNT, ROLE/SESSION@ACCOUNT, the name of a
// service (events.amazonaws.com) or anonymous; "in REGION" may follow it
// (us-east-1 otherwise), and "via SERVICE" for a call that a service forwards.
// JSON may span lines until its brackets close. $NAME stands for a kept value
// and $FILE(name) for a file as the inside of a JSON string. Names of members
// are the ones of the Go shapes, in any case. In expected JSON, objects have
// to be contained, arrays to be equal element by element, and "<any>" matches
// every value.
package servicetest
