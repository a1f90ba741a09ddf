// Package eventpattern is EventBridge's pattern language: it parses patterns
// with AWS's own refusals and matches events against them. It is pure.
//
// A pattern mirrors the nesting of the events it looks for. Every leaf is an
// array of alternatives, and all leaves must match:
//
//	{"source": ["aws.codecommit"], "detail": {"referenceName": [{"prefix": "release/"}]}}
//
// Names are paths: a dot in a name of the pattern or of the event separates
// levels, as in AWS's engine. Where an event holds an array of objects, the
// leaves below it must match in one and the same element. {"exists": false}
// speaks about the whole event: no element may have the field.
//
// An event is parsed once ([ParseEvent]) and matched against many patterns
// ([Pattern.Matches]), which does not allocate.
package eventpattern
