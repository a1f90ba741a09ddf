package cloudformation

import (
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

const rootPolicy = `{Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:aws:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}]}`

// TestKeys makes keys of every kind, and a replica in another Region.
func TestKeys(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx := w.Context()
		c, keys := api.Client{Invoker: w.root()}, kmsapi.Client{Invoker: w.root()}
		template := func(spec, days string) string {
			return `
Resources:
  Many: {Type: AWS::KMS::Key, Properties: {MultiRegion: true, EnableKeyRotation: true, RotationPeriodInDays: ` + days + `}}
  Signer: {Type: AWS::KMS::Key, Properties: {KeySpec: ` + spec + `, KeyUsage: SIGN_VERIFY}}
  Brought: {Type: AWS::KMS::Key, Properties: {Origin: EXTERNAL}}
Outputs:
  Many: {Value: !GetAtt Many.Arn}
  Signer: {Value: !Ref Signer}
  Brought: {Value: !Ref Brought}`
		}
		must[*api.CreateStackOutput](w)(c.CreateStack(ctx, &api.CreateStackInput{StackName: "keys", TemplateBody: template("ECC_NIST_P256", "100")}))
		out := outputs(w.want("keys", "CREATE_COMPLETE"))
		describe := func(id string) *kmsapi.KeyMetadata {
			w.Helper()
			return must[*kmsapi.DescribeKeyOutput](w)(keys.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: id})).KeyMetadata
		}
		if m := describe(out["Signer"]); m.KeySpec != "ECC_NIST_P256" || m.KeyUsage != "SIGN_VERIFY" {
			w.Errorf("the signer is %s for %s", m.KeySpec, m.KeyUsage)
		}
		if m := describe(out["Brought"]); m.Origin != "EXTERNAL" || m.KeyState != "PendingImport" {
			w.Errorf("the key without material is %s from %s", m.KeyState, m.Origin)
		}
		if m := describe(out["Many"]); !*m.MultiRegion {
			w.Error("the key is of one Region")
		}

		// A period changes; another key spec is refused and loses no key.
		must[*api.UpdateStackOutput](w)(c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "keys", TemplateBody: template("ECC_NIST_P256", "200")}))
		w.want("keys", "UPDATE_COMPLETE")
		status := must[*kmsapi.GetKeyRotationStatusOutput](w)(keys.GetKeyRotationStatus(ctx, &kmsapi.GetKeyRotationStatusInput{KeyId: out["Many"]}))
		if !*status.KeyRotationEnabled || *status.RotationPeriodInDays != 200 {
			w.Errorf("rotation: %+v", status)
		}
		must[*api.UpdateStackOutput](w)(c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "keys", TemplateBody: template("ECC_NIST_P384", "200")}))
		w.want("keys", "UPDATE_ROLLBACK_COMPLETE")
		if m := describe(out["Signer"]); m.KeySpec != "ECC_NIST_P256" || m.KeyState != "Enabled" {
			w.Errorf("after the refusal the signer is %s, %s", m.KeySpec, m.KeyState)
		}
		if !w.told("keys", "You cannot change the KeySpec of an existing KMS key") {
			w.Error("no event tells why")
		}

		// A replica, changed and removed.
		abroad := w.door.As(call.Session{Principal: aws.RootPrincipal(account), Region: "eu-west-1"})
		there, theirs := api.Client{Invoker: abroad}, kmsapi.Client{Invoker: abroad}
		replica := func(properties string) string {
			return `
Resources:
  Replica: {Type: AWS::KMS::ReplicaKey, Properties: {PrimaryKeyArn: "` + out["Many"] + `", PendingWindowInDays: 7, KeyPolicy: ` + rootPolicy + `, ` + properties + `}}
Outputs: {Arn: {Value: !GetAtt Replica.Arn}, Id: {Value: !GetAtt Replica.KeyId}}`
		}
		must[*api.CreateStackOutput](w)(there.CreateStack(ctx, &api.CreateStackInput{StackName: "replica", TemplateBody: replica("Description: one, Tags: [{Key: a, Value: b}]")}))
		wait(w, there, "replica", "CREATE_COMPLETE")
		id := out["Many"][strings.LastIndex(out["Many"], "/")+1:]
		m := must[*kmsapi.DescribeKeyOutput](w)(theirs.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: id})).KeyMetadata
		if m.MultiRegionConfiguration.MultiRegionKeyType != "REPLICA" || m.Description != "one" || m.KeyState != "Enabled" {
			w.Errorf("the replica: %+v", m)
		}
		must[*api.UpdateStackOutput](w)(there.UpdateStack(ctx, &api.UpdateStackInput{StackName: "replica", TemplateBody: replica("Description: two, Enabled: false")}))
		wait(w, there, "replica", "UPDATE_COMPLETE")
		if m := must[*kmsapi.DescribeKeyOutput](w)(theirs.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: id})).KeyMetadata; m.Description != "two" || m.KeyState != "Disabled" {
			w.Errorf("the changed replica: %+v", m)
		}
		if tags := must[*kmsapi.ListResourceTagsOutput](w)(theirs.ListResourceTags(ctx, &kmsapi.ListResourceTagsInput{KeyId: id})).Tags; len(tags) > 0 && tags[0].TagKey == "a" {
			w.Errorf("tags: %v", tags)
		}
		must[*api.DeleteStackOutput](w)(there.DeleteStack(ctx, &api.DeleteStackInput{StackName: "replica"}))
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			m := must[*kmsapi.DescribeKeyOutput](w)(theirs.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: id})).KeyMetadata
			if m.KeyState == "PendingDeletion" {
				break
			}
			if time.Now().After(deadline) {
				w.Fatalf("the replica is %s", m.KeyState)
			}
		}
		// The primary key waits for it.
		must[*api.DeleteStackOutput](w)(c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "keys"}))
		for deadline := time.Now().Add(20 * time.Second); describe(out["Many"]).KeyState != "PendingReplicaDeletion"; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				w.Fatalf("the primary key is %s", describe(out["Many"]).KeyState)
			}
		}
	})
}

// told reports whether an event of a stack has a reason with these words.
func (w *realWorld) told(name, words string) bool {
	out := must[*api.DescribeStackEventsOutput](w)(api.Client{Invoker: w.root()}.DescribeStackEvents(w.Context(), &api.DescribeStackEventsInput{StackName: name}))
	for _, e := range out.StackEvents {
		if strings.Contains(e.ResourceStatusReason, words) {
			return true
		}
	}
	return false
}

// wait is want for a stack of another Region.
func wait(w *realWorld, c api.Client, name, status string) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out := must[*api.DescribeStacksOutput](w)(c.DescribeStacks(w.Context(), &api.DescribeStacksInput{StackName: name}))
		got := out.Stacks[0].StackStatus
		if got == status {
			return
		}
		if time.Now().After(deadline) || strings.HasSuffix(got, "_FAILED") || strings.HasSuffix(got, "ROLLBACK_COMPLETE") {
			w.Fatalf("%s is %s, want %s: %s", name, got, status, out.Stacks[0].StackStatusReason)
		}
	}
}
