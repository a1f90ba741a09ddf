package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// breakage is one thing that is taken from the working system, and what comes
// of it.
type breakage struct {
	name string
	// take breaks it.
	take func(l *lab)
	// at is the action that fails; none when nothing does, bus when the event
	// is lost before any action begins.
	at string
	// code and message are the failed action's error, message as a pattern;
	// for lost events message is the delivery's error.
	code, message string
	// repair is what explain names, a part of it: where to add a statement,
	// which one to remove, or what else to do.
	repair string
	// mend does by hand what no statement does; nil applies what explain says.
	mend func(l *lab)
	// why says why nothing fails.
	why string
	// both runs it on PostgreSQL too.
	both bool
}

const (
	nothing = ""
	commit  = "Commit"  // the source action, in the action role
	deploys = "Deliver" // the deploy action, in the service role
	bus     = "bus"
)

// Patterns of what AWS says.
const (
	requestID = `[A-Za-z0-9-]{16,}`
	session   = `arn:aws:sts::` + repositoryAccount + `:assumed-role/shop-source/[0-9]{13}`
	// noKey is what KMS says of another account's key that it does not show.
	noKey = ` on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access`
)

// commitDenied is CodePipeline's text when CodeCommit refuses.
func commitDenied(action, reason string) string {
	return "The service role or action role doesn’t have the permissions required to access the AWS CodeCommit repository named shop. " +
		"Update the IAM role permissions, and then try again. Error: User: " + session + " is not authorized to perform: " + action +
		" on resource: arn:aws:codecommit:" + region + ":" + repositoryAccount + ":shop " + reason
}

// bucketRefused is CodePipeline's text when S3 does not put.
func bucketRefused(bucket, answer string) string {
	return "The service role or action role doesn’t have the permissions required to access the Amazon S3 bucket named " + bucket + ". " +
		"Update the IAM role permissions, and then try again. Error: Amazon S3:AccessDenied:" + answer + s3Tail(403, "AccessDenied")
}

func s3Tail(status int, code string) string {
	return fmt.Sprintf(` \(Service: Amazon S3; Status Code: %d; Error Code: %s; Request ID: %s; S3 Extended Request ID: .+; Proxy: null\)`, status, code, requestID)
}

// unreadable is CodePipeline's text when an artifact cannot be read, whyever.
func (l *lab) unreadable() string {
	return "Unable to access the artifact with Amazon S3 object key 'shop/Commit/[A-Za-z0-9]{7}' located in the Amazon S3 artifact bucket '" + l.artifacts +
		"'. The provided role does not have sufficient permissions."
}

func noIdentity(action string) string {
	return "because no identity-based policy allows the " + action + " action"
}

// breakages is the whole table. Where nothing fails it says why.
func breakages(l *lab) []breakage {
	list := []breakage{}
	// Any one action of the action role.
	for _, name := range []string{"GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus"} {
		action := "codecommit:" + name
		list = append(list, breakage{
			name: "action role lacks " + action, take: func(l *lab) { l.take(l.action, action) }, at: commit, code: "PermissionError",
			message: commitDenied(action, noIdentity(action)), repair: "a policy on role shop-source (repository)", both: name == "GetBranch",
		})
	}
	for _, action := range []string{"s3:PutObject", "s3:PutObjectAcl"} {
		list = append(list, breakage{
			name: "action role lacks " + action, take: func(l *lab) { l.take(l.action, action) }, at: commit, code: "PermissionError",
			message: bucketRefused(l.artifacts, "Access Denied"), repair: "a policy on role shop-source (repository)",
		})
	}
	list = append(list, breakage{
		name: "action role lacks kms:GenerateDataKey*", take: func(l *lab) { l.take(l.action, "kms:GenerateDataKey*") }, at: commit, code: "PermissionError",
		message: bucketRefused(l.artifacts, "User: "+session+" is not authorized to perform: kms:GenerateDataKey on resource: "+l.key+" "+noIdentity("kms:GenerateDataKey")),
		repair:  "a policy on role shop-source (repository)",
	})
	for action, why := range map[string]string{
		"codecommit:CancelUploadArchive": "only an upload that is given up is cancelled",
		"kms:DescribeKey":                "S3 asks KMS for data keys, not about the key",
		"kms:Encrypt":                    "S3 seals with data keys",
		"kms:ReEncrypt*":                 "S3 seals with data keys",
		"kms:Decrypt":                    "S3 opens keys for the parts of a multipart upload; the archive is put in one",
	} {
		list = append(list, breakage{name: "action role lacks " + action, take: func(l *lab) { l.take(l.action, action) }, why: why})
	}

	// Any one action of the service role.
	list = append(list, breakage{
		name: "service role lacks sts:AssumeRole", take: func(l *lab) { l.take(l.service, "sts:AssumeRole") }, at: commit, code: "PermissionError",
		message: l.service + " is not authorized to perform AssumeRole on role " + l.action, repair: "a policy on role shop-pipeline (pipeline)",
	}, breakage{
		name: "service role lacks s3:GetObject", take: func(l *lab) { l.take(l.service, "s3:GetObject") }, at: deploys, code: "PermissionError",
		message: l.unreadable(), repair: "a policy on role shop-pipeline (pipeline)",
	}, breakage{
		name: "service role lacks s3:PutObject", take: func(l *lab) { l.take(l.service, "s3:PutObject") }, at: deploys, code: "PermissionError",
		message: bucketRefused(l.target, "User: arn:aws:sts::"+pipelineAccount+`:assumed-role/shop-pipeline/[0-9]{13} is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::`+
			l.target+`/release/.+" `+noIdentity("s3:PutObject")),
		repair: "a policy on role shop-pipeline (pipeline)",
	})
	for action, why := range map[string]string{
		"s3:GetObjectVersion":    "artifacts are read by key",
		"s3:GetBucketVersioning": "buckets are not looked at: AWS's own least policy of the action role does not let it",
		"s3:GetBucketAcl":        "buckets are not looked at",
		"s3:GetBucketLocation":   "buckets are not looked at",
		"s3:PutObjectAcl":        "the deploy action names no CannedACL",
		"s3:PutObjectVersionAcl": "the deploy action names no CannedACL",
		"kms:Decrypt":            "the key's policy names the role itself, in the key's own account",
		"kms:DescribeKey":        "S3 asks KMS for data keys, not about the key",
	} {
		list = append(list, breakage{name: "service role lacks " + action, take: func(l *lab) { l.take(l.service, action) }, why: why})
	}

	// Trust.
	const nobody = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"codebuild.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	list = append(list, breakage{
		name: "action role does not trust the pipeline's account", take: func(l *lab) { l.setTrust(l.action, nobody) }, at: commit, code: "PermissionError",
		message: l.service + " is not authorized to perform AssumeRole on role " + l.action, repair: "the trust policy of role shop-source (repository)", both: true,
	}, breakage{
		name: "service role does not trust CodePipeline", take: func(l *lab) { l.setTrust(l.service, nobody) }, at: commit, code: "PermissionError",
		message: "CodePipeline is not authorized to perform AssumeRole on role " + l.service, repair: "the trust policy of role shop-pipeline (pipeline)",
	})

	// Policies of resources.
	root := "arn:aws:iam::" + repositoryAccount + ":root"
	list = append(list, breakage{
		name: "bucket policy lacks the repository account",
		take: func(l *lab) {
			l.setBucketPolicy(l.artifacts, without(l.bucketPolicy(l.artifacts), "RepositoryAccountReadsAndWritesArtifacts"))
		},
		at: commit, code: "PermissionError", message: bucketRefused(l.artifacts, "Access Denied"), repair: "the bucket policy of bucket " + l.artifacts, both: true,
	}, breakage{
		name: "key policy lacks the repository account", take: func(l *lab) { l.unname(root) }, at: commit, code: "PermissionError",
		message: bucketRefused(l.artifacts, "User: "+session+" is not authorized to perform: kms:GenerateDataKey"+noKey), repair: "the key policy of key", both: true,
	}, breakage{
		name: "key policy lacks the service role", take: func(l *lab) { l.unname(l.service) },
		why: "the policy leaves the key to IAM in its own account, and the role's own policy allows kms:Decrypt",
	}, breakage{
		name: "key policy and service role lack kms:Decrypt", take: func(l *lab) { l.unname(l.service); l.take(l.service, "kms:Decrypt") },
		at: deploys, code: "PermissionError", message: l.unreadable(), repair: "a policy on role shop-pipeline (pipeline)",
	}, breakage{
		name: "key policy lacks the service role, and IAM has no say",
		take: func(l *lab) { l.unname(l.service); l.keepAdministration() },
		at:   deploys, code: "PermissionError", message: l.unreadable(), repair: "the key policy of key",
	}, breakage{
		name: "key policy gives IAM no say", take: func(l *lab) { l.keepAdministration() }, why: "it names who uses the key",
	})

	// Denies.
	list = append(list, breakage{
		name: "a policy of the action role denies",
		take: func(l *lab) {
			l.setInline(l.action, "lock", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"},{"Sid":"No","Effect":"Deny","Action":"codecommit:Get*","Resource":"*"}]}`)
		},
		at: commit, code: "PermissionError", message: commitDenied("codecommit:GetBranch", "with an explicit deny in an identity-based policy"),
		repair: `statement "No" of policy lock on role shop-source (repository)`,
	}, breakage{
		name: "the artifact bucket's policy denies",
		take: func(l *lab) {
			l.setBucketPolicy(l.artifacts, with(l.bucketPolicy(l.artifacts), `{"Sid":"No","Effect":"Deny","Principal":{"AWS":"`+l.action+`"},"Action":"s3:Put*","Resource":"arn:aws:s3:::`+l.artifacts+`/*"}`))
		},
		at: commit, code: "PermissionError", message: bucketRefused(l.artifacts, "Access Denied"), repair: `statement "No" of the bucket policy of bucket ` + l.artifacts,
	}, breakage{
		name: "the target bucket's policy denies",
		take: func(l *lab) {
			l.setBucketPolicy(l.target, with(l.bucketPolicy(l.target), `{"Sid":"No","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::`+l.target+`/*"}`))
		},
		at: deploys, code: "PermissionError",
		message: bucketRefused(l.target, `User: .+ is not authorized to perform: s3:PutObject on resource: ".+" with an explicit deny in a resource-based policy`),
		repair:  `statement "No" of the bucket policy of bucket ` + l.target,
	})

	// Who was made anew under the old name.
	list = append(list, breakage{
		name: "the action role is another one", take: func(l *lab) { l.anew(l.action) },
		why: "the policies of bucket and key name its account",
	}, breakage{
		name: "the action role is another one than the bucket policy names",
		take: func(l *lab) {
			l.setBucketPolicy(l.artifacts, strings.ReplaceAll(l.bucketPolicy(l.artifacts), root, l.action))
			if text := l.bucketPolicy(l.artifacts); !strings.Contains(text, l.action) {
				l.t.Fatalf("the bucket policy reads %s", text)
			}
			l.anew(l.action)
		},
		at: commit, code: "PermissionError", message: bucketRefused(l.artifacts, "Access Denied"), both: true,
		repair: "a user or role deleted since; who was made again under its name is another one: put the policy again, with the ARN in the id's place",
		mend: func(l *lab) {
			text := l.bucketPolicy(l.artifacts)
			gone := regexp.MustCompile("AROA[A-Z2-7]{17}").FindString(text)
			if gone == "" || strings.Contains(text, l.action) {
				l.t.Fatalf("the bucket policy reads %s", text)
			}
			_, err := l.home().s3.PutBucketPolicy(context.Background(), &s3.PutBucketPolicyInput{Bucket: &l.artifacts, Policy: &text})
			if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "MalformedPolicy" || e.ErrorMessage() != "Invalid principal in policy" {
				l.t.Errorf("the policy with the id is answered %v", err)
			}
			l.setBucketPolicy(l.artifacts, strings.ReplaceAll(text, gone, l.action))
		},
	})

	// The key itself.
	list = append(list, breakage{
		name: "the pipeline names no encryption key",
		take: func(l *lab) { p := l.pipeline(); p.ArtifactStore.EncryptionKey = nil; l.setPipeline(p) },
		// The default key is the writing account's aws/s3: writing works, and
		// nobody in the pipeline's account can read.
		at: deploys, code: "PermissionError", message: l.unreadable(), repair: "encryptionKey of the artifact store", both: true,
		mend: func(l *lab) {
			p := l.pipeline()
			p.ArtifactStore.EncryptionKey = &cptypes.EncryptionKey{Id: &l.key, Type: cptypes.EncryptionKeyTypeKms}
			l.setPipeline(p)
		},
	}, breakage{
		name: "the key is disabled",
		take: func(l *lab) {
			_, err := l.home().kms.DisableKey(context.Background(), &kms.DisableKeyInput{KeyId: &l.key})
			l.must(err)
		},
		at: commit, code: "ConfigurationError", message: ".+ Error: Amazon S3:KMS.DisabledException:" + l.key + " is disabled." + s3Tail(400, "KMS.DisabledException"),
		repair: "enable the key", mend: (*lab).enableKey,
	}, breakage{
		name: "the key is scheduled for deletion",
		take: func(l *lab) {
			_, err := l.home().kms.ScheduleKeyDeletion(context.Background(), &kms.ScheduleKeyDeletionInput{KeyId: &l.key, PendingWindowInDays: aws.Int32(7)})
			l.must(err)
		},
		at: commit, code: "ConfigurationError", message: ".+ Error: Amazon S3:KMS.KMSInvalidStateException:" + l.key + " is pending deletion." + s3Tail(400, "KMS.KMSInvalidStateException"),
		repair: "cancel the key's deletion", mend: (*lab).enableKey,
	})

	// What is not there.
	var policy string
	list = append(list, breakage{
		name: "the branch is missing", take: func(l *lab) { l.branch("nosuch") }, at: commit, code: "ConfigurationError",
		message: "The action failed because no branch named nosuch was found in the selected AWS CodeCommit repository shop. " +
			"Make sure you are using the correct branch name, and then try again. Error: null",
		repair: "push the branch", mend: func(l *lab) { l.branch("main") },
	}, breakage{
		name: "the target bucket is gone", take: func(l *lab) { policy = l.bucketPolicy(l.target); l.dropTarget() }, at: deploys, code: "ConfigurationError",
		message: ".+ Error: Amazon S3:NoSuchBucket:The specified bucket does not exist" + s3Tail(404, "NoSuchBucket"), repair: "create the bucket",
		mend: func(l *lab) { l.makeTarget(policy) },
	})

	// The way of the event.
	starting := *roleName(l.starting)
	forwarding := *roleName(l.forwarding)
	assume := func(role string) string {
		return "AccessDenied: User: events.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: " + role
	}
	busARN := "arn:aws:events:" + region + ":" + pipelineAccount + ":event-bus/default"
	list = append(list, breakage{
		name: "the bus has no policy", take: func(l *lab) { l.setBusPolicy("") }, at: bus, both: true,
		message: "AccessDeniedException: User: arn:aws:sts::" + repositoryAccount + ":assumed-role/" + forwarding + "/[0-9a-f]{32} is not authorized to perform: events:PutEvents on resource: " +
			busARN + " because no resource-based policy allows the events:PutEvents action",
		repair: "the bus policy of bus default (pipeline)",
	}, breakage{
		name: "forwarding role lacks events:PutEvents", take: func(l *lab) { l.take(l.forwarding, "events:PutEvents") }, at: bus,
		message: "AccessDeniedException: User: .+ is not authorized to perform: events:PutEvents on resource: " + busARN + " " + noIdentity("events:PutEvents"),
		repair:  "a policy on role " + forwarding + " (repository)",
	}, breakage{
		name: "forwarding role does not trust EventBridge", take: func(l *lab) { l.setTrust(l.forwarding, nobody) }, at: bus,
		message: assume(l.forwarding), repair: "the trust policy of role " + forwarding + " (repository)",
	}, breakage{
		name: "starting role lacks codepipeline:StartPipelineExecution", take: func(l *lab) { l.take(l.starting, "codepipeline:StartPipelineExecution") }, at: bus,
		message: "AccessDeniedException: User: .+ is not authorized to perform: codepipeline:StartPipelineExecution on resource: arn:aws:codepipeline:" + region + ":" + pipelineAccount + ":shop " +
			noIdentity("codepipeline:StartPipelineExecution"),
		repair: "a policy on role " + starting + " (pipeline)",
	}, breakage{
		name: "starting role does not trust EventBridge", take: func(l *lab) { l.setTrust(l.starting, nobody) }, at: bus,
		message: assume(l.starting), repair: "the trust policy of role " + starting + " (pipeline)",
	})
	return list
}

// keepAdministration leaves the key's account its administration alone: IAM
// has no more say in who uses the key.
func (l *lab) keepAdministration() {
	l.t.Helper()
	l.setKeyPolicy(edited(l.keyPolicy(), func(list []map[string]any) []map[string]any {
		for _, s := range list {
			if s["Sid"] == "AccountAdministersTheKey" {
				s["Action"] = []string{"kms:PutKeyPolicy", "kms:GetKeyPolicy", "kms:DescribeKey"}
			}
		}
		return list
	}))
}

// branch makes the pipeline deliver another branch.
func (l *lab) branch(name string) {
	l.t.Helper()
	p := l.pipeline()
	p.Stages[0].Actions[0].Configuration["BranchName"] = name
	l.setPipeline(p)
}

// TestFailing takes one permission at a time from the working system. Each
// time the delivery fails where AWS fails it and in AWS's words, explain
// names the repair, and with it applied the next push is delivered.
func TestFailing(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		l := newLab(t, args...)
		for _, b := range breakages(l) {
			if len(args) > 0 && !b.both {
				continue
			}
			l.in(t, b.name, func(l *lab) { l.try(b) })
		}
	})
}

// try breaks the system, looks at what comes of it, and mends it.
func (l *lab) try(b breakage) {
	l.t.Helper()
	b.take(l)
	id, e := l.attempt("broken: "+b.name, b.at == bus)
	switch b.at {
	case nothing:
		if e.Status != cptypes.PipelineExecutionStatusSucceeded {
			l.t.Fatalf("it fails, although %s:\n%s", b.why, l.told(*e.PipelineExecutionId))
		}
		return
	case bus:
		l.lost(b, id)
	default:
		l.failed(b, *e.PipelineExecutionId)
		id = *e.PipelineExecutionId
	}
	l.repair(b, id)
}

// told is the story as a person reads it.
func (l *lab) told(id string) string {
	l.t.Helper()
	return sh(l.t, "", os.Environ(), binary, "explain", id, "--data", l.dir)
}

// attempt pushes a commit and waits for what becomes of it: an execution, or
// a delivery of its event that failed.
func (l *lab) attempt(message string, lost bool) (string, cptypes.PipelineExecutionSummary) {
	l.t.Helper()
	known := l.known("pipeline")
	id := l.push(message)
	if !lost {
		return id, l.finished("pipeline", known)
	}
	eventually(l.t, "a delivery that fails", 10*time.Second, func() bool {
		for _, d := range l.story(id).Deliveries {
			if d.State == "FAILED" {
				return true
			}
		}
		return false
	})
	if n := len(l.executions("pipeline")) - len(known); n != 0 {
		l.t.Errorf("%d executions began by an event that was lost", n)
	}
	return id, cptypes.PipelineExecutionSummary{}
}

// failed checks that an execution failed where and as it has to.
func (l *lab) failed(b breakage, execution string) {
	l.t.Helper()
	actions := l.actions("pipeline", execution)
	want := map[string]cptypes.ActionExecutionStatus{b.at: cptypes.ActionExecutionStatusFailed}
	if b.at == deploys {
		want[commit] = cptypes.ActionExecutionStatusSucceeded
	}
	for _, name := range []string{commit, deploys} {
		if got := actions[name].Status; got != want[name] {
			l.t.Fatalf("action %s is %q, want %q:\n%s", name, got, want[name], l.told(execution))
		}
	}
	form := regexp.MustCompile("^" + b.message + "$")
	var details *cptypes.ErrorDetails
	if out := actions[b.at].Output; out != nil && out.ExecutionResult != nil {
		details = out.ExecutionResult.ErrorDetails
	}
	if details == nil || aws.ToString(details.Code) != b.code || !form.MatchString(aws.ToString(details.Message)) {
		l.t.Errorf("ListActionExecutions says %s\nwant %s: %s", shown(details), b.code, b.message)
	}
	state, err := l.home().codepipeline.GetPipelineState(context.Background(), &codepipeline.GetPipelineStateInput{Name: aws.String("shop")})
	l.must(err)
	for _, stage := range state.StageStates {
		for _, a := range stage.ActionStates {
			if *a.ActionName == b.at && shown(a.LatestExecution.ErrorDetails) != shown(details) {
				l.t.Errorf("GetPipelineState says %s, want what ListActionExecutions says", shown(a.LatestExecution.ErrorDetails))
			}
		}
	}
}

func shown(d *cptypes.ErrorDetails) string {
	if d == nil {
		return "nothing"
	}
	return aws.ToString(d.Code) + ": " + aws.ToString(d.Message)
}

// lost checks how the event of a commit was lost.
func (l *lab) lost(b breakage, commit string) {
	l.t.Helper()
	form := regexp.MustCompile("^" + b.message + "$")
	for _, d := range l.story(commit).Deliveries {
		if d.State == "FAILED" && form.MatchString(d.Error) {
			return
		}
	}
	l.t.Errorf("no delivery failed with %s\n%s", b.message, l.told(commit))
}

// repair does what explain says until a push is delivered. What a first
// refusal hid may take another round.
func (l *lab) repair(b breakage, id string) {
	l.t.Helper()
	if !strings.Contains(l.told(id), b.repair) {
		l.t.Errorf("explain does not say %q:\n%s", b.repair, l.told(id))
	}
	for round := range 3 {
		if b.mend != nil {
			b.mend(l)
		} else {
			if len(l.story(id).Repair) == 0 {
				l.t.Fatalf("explain names no repair:\n%s", l.told(id))
			}
			sh(l.t, "", os.Environ(), binary, "explain", id, "--apply", "--yes", "--data", l.dir, "--region", region)
		}
		commit, e := l.attempt(fmt.Sprintf("mended %d: %s", round, b.name), false)
		if e.Status == cptypes.PipelineExecutionStatusSucceeded {
			if got := aws.ToString(e.SourceRevisions[0].RevisionId); got != commit {
				l.t.Errorf("delivered is %s, pushed was %s", got, commit)
			}
			if round > 0 {
				l.t.Logf("it took %d rounds", round+1)
			}
			return
		}
		id = *e.PipelineExecutionId
	}
	l.t.Errorf("not mended in three rounds:\n%s", l.told(id))
}

// TestRolesOfAPipeline takes away the hops that CodePipeline looks at before
// it takes a pipeline, and then each by its words.
func TestRolesOfAPipeline(t *testing.T) {
	l := newLab(t)
	const nobody = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"codebuild.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	first := "CodePipeline is not authorized to perform AssumeRole on role " + l.service
	second := l.service + " is not authorized to perform AssumeRole on role " + l.action
	for _, tt := range []struct {
		name string
		take func(l *lab)
		want string
	}{
		{"service role does not trust CodePipeline", func(l *lab) { l.setTrust(l.service, nobody) }, first},
		{"action role does not trust the pipeline's account", func(l *lab) { l.setTrust(l.action, nobody) }, second},
		{"service role lacks sts:AssumeRole", func(l *lab) { l.take(l.service, "sts:AssumeRole") }, second},
		{"neither hop", func(l *lab) { l.setTrust(l.service, nobody); l.setTrust(l.action, nobody) }, first},
	} {
		l.in(t, tt.name, func(l *lab) {
			p := l.pipeline()
			tt.take(l)
			ctx := context.Background()
			_, err := l.home().codepipeline.UpdatePipeline(ctx, &codepipeline.UpdatePipelineInput{Pipeline: p})
			l.refuses(err, tt.want)
			p.Name = aws.String("another")
			_, err = l.home().codepipeline.CreatePipeline(ctx, &codepipeline.CreatePipelineInput{Pipeline: p})
			l.refuses(err, tt.want)
			_, err = l.home().codepipeline.GetPipeline(ctx, &codepipeline.GetPipelineInput{Name: p.Name})
			wants(l.t, err, "PipelineNotFoundException")
		})
	}
}

// refuses fails unless err says that a pipeline's structure is invalid, and
// why.
func (l *lab) refuses(err error, want string) {
	l.t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != "InvalidStructureException" || e.ErrorMessage() != want {
		l.t.Errorf("got %v, want InvalidStructureException: %s", err, want)
	}
}
