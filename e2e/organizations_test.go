package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const managementAccount = "333333333333"

// manager drives Organizations, as the root of the management account, with
// the AWS CLI.
type manager struct {
	*awsCLI
	root string
}

// organize makes an organization of the accounts of a server that has been
// started with account management, and enables both types of policy.
func (s *server) organize(t *testing.T, members ...string) *manager {
	t.Helper()
	m := &manager{awsCLI: s.awsCLI(t, "management")}
	m.org("create-organization")
	m.root = m.org("list-roots", "--query", "Roots[0].Id")
	for _, kind := range []string{"SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY"} {
		m.org("enable-policy-type", "--root-id", m.root, "--policy-type", kind)
	}
	for profile, id := range map[string]string{"repository": repositoryAccount, "pipeline": pipelineAccount} {
		if len(members) > 0 && members[0] != profile {
			continue
		}
		invitation := m.org("invite-account-to-organization", "--target", "Id="+id+",Type=ACCOUNT", "--query", "Handshake.Id")
		s.awsCLI(t, profile).run("organizations", "accept-handshake", "--handshake-id", invitation)
	}
	return m
}

func (m *manager) org(args ...string) string {
	m.t.Helper()
	return m.run(append(append([]string{"organizations"}, args...), "--output", "text")...)
}

// policy makes a policy of one or more statements and attaches it.
func (m *manager) policy(kind, name, target string, statements ...string) string {
	m.t.Helper()
	m.write(name+".json", document(strings.Join(statements, ",")))
	id := m.org("create-policy", "--type", kind, "--name", name, "--description", "", "--content", "file://"+name+".json", "--query", "Policy.PolicySummary.Id")
	m.org("attach-policy", "--policy-id", id, "--target-id", target)
	return id
}

// apply removes the statement that a repair names from its policy.
func (m *manager) apply(f fix) {
	m.t.Helper()
	if f.Remove == nil || f.Policy == "" {
		m.t.Fatalf("nobody knows how to apply %+v", f)
	}
	id := f.Policy[strings.LastIndexByte(f.Policy, '/')+1:]
	m.write("mended.json", edited(m.org("describe-policy", "--policy-id", id, "--query", "Policy.Content"), func(list []map[string]any) []map[string]any {
		return append(list[:f.Remove.Statement], list[f.Remove.Statement+1:]...)
	}))
	m.org("update-policy", "--policy-id", id, "--content", "file://mended.json")
}

// TestOrganizationsCLI makes accounts, moves and binds them with the AWS CLI.
func TestOrganizationsCLI(t *testing.T) {
	t.Parallel()
	s := start(t, "--account", "management="+managementAccount)
	c := s.awsCLI(t, "management")
	c.fails("(AWSOrganizationsNotInUseException)", "organizations", "describe-organization")
	m := s.organize(t)
	c.fails("(AlreadyInOrganizationException)", "organizations", "create-organization")

	// A new account has the role through which it is reached.
	request := m.org("create-account", "--account-name", "Production Account", "--email", "production@example.com", "--query", "CreateAccountStatus.Id")
	var id string
	eventually(t, "a new account", 20e9, func() bool {
		id = m.org("describe-create-account-status", "--create-account-request-id", request, "--query", "CreateAccountStatus.[State,AccountId]")
		id = strings.TrimPrefix(id, "SUCCEEDED\t")
		return len(id) == 12
	})
	equal(t, "accounts", m.org("list-accounts", "--query", "length(Accounts)"), "4")
	role := "arn:aws:iam::" + id + ":role/OrganizationAccountAccessRole"
	c.run("iam", "create-user", "--user-name", "boss")
	c.write("boss.json", document(`{"Effect":"Allow","Action":"*","Resource":"*"}`))
	c.run("iam", "put-user-policy", "--user-name", "boss", "--policy-name", "all", "--policy-document", "file://boss.json")
	keys := strings.Fields(c.run("iam", "create-access-key", "--user-name", "boss", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"))
	boss := s.awsCLI(t, "management")
	boss.env = append(boss.env, "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1])
	keys = strings.Fields(boss.run("sts", "assume-role", "--role-arn", role, "--role-session-name", "boss", "--query", "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]", "--output", "text"))
	inside := s.awsCLI(t, "management")
	inside.env = append(inside.env, "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1], "AWS_SESSION_TOKEN="+keys[2])
	inside.run("s3api", "create-bucket", "--bucket", "production-"+id, "--create-bucket-configuration", "LocationConstraint="+region)

	// Every account is a profile: its own root's key is in the file.
	credentials, err := os.ReadFile(filepath.Join(s.dir, "credentials"))
	if err != nil || !strings.Contains(string(credentials), "[Production-Account]") {
		t.Errorf("the credentials file has no profile for the new account: %v", err)
	}

	// A service control policy binds the account, its root user and this role.
	unit := m.org("create-organizational-unit", "--parent-id", m.root, "--name", "Production", "--query", "OrganizationalUnit.Id")
	m.org("move-account", "--account-id", id, "--source-parent-id", m.root, "--destination-parent-id", unit)
	equal(t, "parent", m.org("list-parents", "--child-id", id, "--query", "Parents[0].Id"), unit)
	policy := m.policy("SERVICE_CONTROL_POLICY", "no-buckets", unit, `{"Sid":"NoBuckets","Effect":"Deny","Action":"s3:CreateBucket","Resource":"*"}`)
	for _, who := range []*awsCLI{inside, s.awsCLI(t, "Production-Account")} {
		who.fails("with an explicit deny in a service control policy", "s3api", "create-bucket", "--bucket", "more-"+id, "--create-bucket-configuration", "LocationConstraint="+region)
		who.fails("(AccessDeniedException)", "organizations", "list-accounts")
	}
	m.org("detach-policy", "--policy-id", policy, "--target-id", unit)
	inside.run("s3api", "create-bucket", "--bucket", "more-"+id, "--create-bucket-configuration", "LocationConstraint="+region)

	// An allow list in place of FullAWSAccess.
	c.fails("(ConstraintViolationException)", "organizations", "detach-policy", "--policy-id", "p-FullAWSAccess", "--target-id", unit)
	m.policy("SERVICE_CONTROL_POLICY", "only-iam", unit, `{"Effect":"Allow","Action":"iam:*","Resource":"*"}`)
	m.org("detach-policy", "--policy-id", "p-FullAWSAccess", "--target-id", unit)
	inside.fails("because no service control policy allows the s3:CreateBucket action", "s3api", "create-bucket", "--bucket", "third-"+id, "--create-bucket-configuration", "LocationConstraint="+region)
	inside.run("iam", "list-users")

	c.fails("(OrganizationalUnitNotEmptyException)", "organizations", "delete-organizational-unit", "--organizational-unit-id", unit)
	m.org("close-account", "--account-id", id)
	equal(t, "status", m.org("describe-account", "--account-id", id, "--query", "Account.Status"), "SUSPENDED")
	inside.fails("AccessDenied", "iam", "list-users")

	// It outlives the process.
	s.stop()
	s.again()
	inside.fails("AccessDenied", "iam", "list-users")
	equal(t, "pages", m.run("organizations", "list-policies", "--filter", "SERVICE_CONTROL_POLICY", "--page-size", "1", "--query", "length(Policies)", "--output", "json"), "3")
}

// TestOrganizationsTerraform applies, plans again, which must find nothing to
// do, and destroys.
func TestOrganizationsTerraform(t *testing.T) {
	t.Parallel()
	s := start(t, "--account", "management="+managementAccount)
	terraform(t, s, "management", "testdata/organization")
	s.awsCLI(t, "management").fails("(AWSOrganizationsNotInUseException)", "organizations", "describe-organization")
}

// TestDeliveryInAnOrganization lets policies of an organization break the
// delivery between two of its accounts, and mends them as explain says.
func TestDeliveryInAnOrganization(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		l := newLab(t, append(args, "--account", "management="+managementAccount)...)
		if _, err := exec.LookPath("aws"); err != nil {
			t.Skip("the AWS CLI is not installed")
		}
		m := l.organize(t)
		organization := m.org("describe-organization", "--query", "Organization.Id")
		unit := m.org("create-organizational-unit", "--parent-id", m.root, "--name", "Sources", "--query", "OrganizationalUnit.Id")
		m.org("move-account", "--account-id", repositoryAccount, "--source-parent-id", m.root, "--destination-parent-id", unit)
		delivered := func(message string) {
			t.Helper()
			if _, e := l.attempt(message, false); e.Status != cptypes.PipelineExecutionStatusSucceeded {
				t.Fatalf("%s: %s", message, l.told(*e.PipelineExecutionId))
			}
		}
		delivered("in the organization")

		// A service control policy of the repository's account stops the source
		// action at its upload.
		m.policy("SERVICE_CONTROL_POLICY", "no-uploads", unit,
			`{"Sid":"NoUploads","Effect":"Deny","Action":"s3:PutObject","Resource":"*"}`,
			`{"Effect":"Deny","Action":"organizations:LeaveOrganization","Resource":"*"}`)
		_, e := l.attempt("forbidden by the organization", false)
		l.failed(breakage{at: commit, code: "PermissionError", message: bucketRefused(l.artifacts, ".*")}, *e.PipelineExecutionId)
		told := l.told(*e.PipelineExecutionId)
		for _, want := range []string{"NoUploads", "no-uploads", "unit Sources"} {
			if !strings.Contains(told, want) {
				t.Errorf("explain does not say %q:\n%s", want, told)
			}
		}
		repair := l.story(*e.PipelineExecutionId).Repair
		if len(repair) != 1 || repair[0].Kind != "scp" {
			t.Fatalf("the repair is %+v", repair)
		}
		m.apply(repair[0])
		delivered("allowed again")

		// A resource control policy keeps everybody but the organization out of
		// the pipeline's account: the delivery is inside.
		perimeter := m.policy("RESOURCE_CONTROL_POLICY", "ours-only", pipelineAccount,
			`{"Sid":"OursOnly","Effect":"Deny","Principal":"*","Action":["s3:*","kms:*","sts:*"],"Resource":"*",
			"Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"`+organization+`"},"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}}`,
			`{"Sid":"Encrypted","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
		delivered("inside the perimeter")

		// The bus takes events from the organization, whoever they come from.
		l.setBusPolicy(document(`{"Sid":"organization","Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"arn:aws:events:` +
			region + `:` + pipelineAccount + `:event-bus/default","Condition":{"StringEquals":{"aws:PrincipalOrgID":"` + organization + `"}}}`))
		delivered("by the bus's policy for the organization")

		// The repository's account leaves: neither the bus nor the perimeter
		// lets it in.
		m.org("remove-account-from-organization", "--account-id", repositoryAccount)
		id, _ := l.attempt("from outside", true)
		l.lost(breakage{message: "AccessDeniedException: .+ is not authorized to perform: events:PutEvents on resource: .+ because no resource-based policy allows the events:PutEvents action"}, id)
		l.setBusPolicy(document(`{"Sid":"anybody","Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"arn:aws:events:` + region + `:` + pipelineAccount + `:event-bus/default"}`))
		_, e = l.attempt("from outside, past the bus", false)
		l.failed(breakage{at: commit, code: "PermissionError", message: bucketRefused(l.artifacts, ".*")}, *e.PipelineExecutionId)
		if told := l.told(*e.PipelineExecutionId); !strings.Contains(told, "resource control policy ours-only") {
			t.Errorf("explain does not name the perimeter:\n%s", told)
		}
		m.org("detach-policy", "--policy-id", perimeter, "--target-id", pipelineAccount)
		delivered("without the perimeter")
	})
}

// TestBucketOfAnOrganization lets a bucket's policy name an organization.
func TestBucketOfAnOrganization(t *testing.T) {
	t.Parallel()
	s := start(t, "--account", "management="+managementAccount)
	m := s.organize(t, "repository")
	organization := m.org("describe-organization", "--query", "Organization.Id")
	owner, reader := s.account("pipeline"), s.account("repository")
	ctx := context.Background()
	name := "shared-" + pipelineAccount
	bucket(t, owner, name)
	put(t, owner, name, "k", "text")
	read := func() error {
		_, err := reader.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &name, Key: aws.String("k")})
		return err
	}
	wants(t, read(), "AccessDenied")
	// By a pattern alone the policy would count as public, and be blocked.
	policy := document(fmt.Sprintf(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/*","Condition":{"StringEquals":{"aws:PrincipalOrgID":%q},"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":%q}}}`,
		name, organization, organization+"/"+m.root+"/*"))
	if _, err := owner.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &name, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	m.org("remove-account-from-organization", "--account-id", repositoryAccount)
	wants(t, read(), "AccessDenied")
}
