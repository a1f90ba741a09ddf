// Package policylint finds what is wrong with policies before AWS does, and
// what AWS takes and nobody means: in policy documents, and in CloudFormation
// templates, in every policy that they hold.
//
// A template's policies have functions in them. What Ref, Fn::GetAtt, Fn::Sub
// and Fn::Join make is put together as far as it is known; a part that is not,
// such as a parameter, is a hole that equals itself and nothing else. Of Fn::If
// both branches are looked at. Nothing is said about what hangs on a hole.
//
// It is pure: it gets the text of a file and returns findings.
package policylint
