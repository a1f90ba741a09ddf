package cloudformation

import (
	"testing"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	iamapi "github.com/sekisho/sekisho/internal/api/iam"
)

// TestRoleLosesItsDescription holds that what a template no longer says of a role
// goes back to its default.
func TestRoleLosesItsDescription(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx := w.Context()
		c, people := api.Client{Invoker: w.root()}, iamapi.Client{Invoker: w.root()}
		template := func(properties string) string {
			return `
Resources:
  R:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: "sts:AssumeRole"}]}` + properties + `
Outputs: {Name: {Value: !Ref R}}`
		}
		iam := []string{"CAPABILITY_IAM"}
		must[*api.CreateStackOutput](w)(c.CreateStack(ctx, &api.CreateStackInput{
			StackName: "role", TemplateBody: template("\n      Description: one\n      MaxSessionDuration: 7200"), Capabilities: iam,
		}))
		name := outputs(w.want("role", "CREATE_COMPLETE"))["Name"]
		must[*api.UpdateStackOutput](w)(c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "role", TemplateBody: template(""), Capabilities: iam}))
		w.want("role", "UPDATE_COMPLETE")
		if r := must[*iamapi.GetRoleOutput](w)(people.GetRole(ctx, &iamapi.GetRoleInput{RoleName: name})).Role; r.Description != "" || *r.MaxSessionDuration != 3600 {
			w.Errorf("the role has %q, %d", r.Description, *r.MaxSessionDuration)
		}
	})
}
