// Package cfn reads CloudFormation templates: it parses YAML and JSON, checks
// what can be checked without a stack, binds parameters, resolves intrinsic
// functions, orders resources and calculates what an update would change. It
// is pure: whoever calls it supplies accounts, exports and the attributes of
// resources that exist.
//
// The way of a template:
//
//	t, err := cfn.Parse(body)                  // sections, references, cycles
//	err = t.Check(types)                       // resource types and attributes
//	values, err := t.Bind(given)               // parameters
//	in, err := t.Instance(cfn.Env{Parameters: values, …})
//	props, err := in.Properties("Bucket", existing)
//
// Errors that an API caller caused are *aws.Error with AWS's wording.
package cfn
