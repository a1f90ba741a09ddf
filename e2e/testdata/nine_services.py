"""One piece of real work with each service, through boto3."""

import io
import json

import boto3
from botocore.exceptions import ClientError

ACCOUNT = "222222222222"


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return e
    raise AssertionError(f"not refused with {code}")


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


session = boto3.session.Session()
region = session.region_name
sts, iam, kms, s3 = map(session.client, ("sts", "iam", "kms", "s3"))
codecommit, events, pipelines = map(session.client, ("codecommit", "events", "codepipeline"))
stacks, trail = map(session.client, ("cloudformation", "cloudtrail"))

# STS and IAM
assert sts.get_caller_identity()["Account"] == ACCOUNT
trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
role = iam.create_role(RoleName="boto", AssumeRolePolicyDocument=policy(trust))["Role"]
assert role["AssumeRolePolicyDocument"]["Statement"][0] == trust
iam.put_role_policy(RoleName="boto", PolicyName="all", PolicyDocument=policy({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
assert [r["RoleName"] for p in iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1}) for r in p["Roles"]] == ["boto"]
refused("EntityAlreadyExists", iam.create_role, RoleName="boto", AssumeRolePolicyDocument=policy(trust))
iam.get_waiter("role_exists").wait(RoleName="boto")

# KMS
key = kms.create_key(Description="boto")["KeyMetadata"]
kms.create_alias(AliasName="alias/boto", TargetKeyId=key["KeyId"])
secret = kms.encrypt(KeyId="alias/boto", Plaintext=b"\x00secret\xff", EncryptionContext={"a": "b"})["CiphertextBlob"]
assert kms.decrypt(CiphertextBlob=secret, EncryptionContext={"a": "b"})["Plaintext"] == b"\x00secret\xff"
refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=secret)

# S3
bucket = "boto-222222222222"
s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
s3.get_waiter("bucket_exists").wait(Bucket=bucket)
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
s3.put_object(Bucket=bucket, Key="a b/ü.txt", Body=b"text", ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"], Metadata={"who": "me"})
got = s3.get_object(Bucket=bucket, Key="a b/ü.txt")
assert got["Body"].read() == b"text" and got["SSEKMSKeyId"] == key["Arn"] and got["Metadata"] == {"who": "me"}
large = bytes(range(256)) * (9 << 12)  # 9 MiB: the transfer manager takes several parts
s3.upload_fileobj(io.BytesIO(large), bucket, "large")
back = io.BytesIO()
s3.download_fileobj(bucket, "large", back)
assert back.getvalue() == large
assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-2"')
refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="absent")

# CodeCommit
codecommit.create_repository(repositoryName="boto")
first = codecommit.put_file(repositoryName="boto", branchName="main", filePath="a/b.txt", fileContent=b"one\n", commitMessage="one")
assert codecommit.get_branch(repositoryName="boto", branchName="main")["branch"]["commitId"] == first["commitId"]
assert codecommit.get_file(repositoryName="boto", filePath="a/b.txt")["fileContent"] == b"one\n"
refused("BranchDoesNotExistException", codecommit.get_branch, repositoryName="boto", branchName="absent")

# EventBridge
pattern = json.dumps({"source": ["boto"]})
events.put_rule(Name="boto", EventPattern=pattern)
assert [r["Name"] for r in events.list_rules()["Rules"]] == ["boto"]
sent = events.put_events(Entries=[{"Source": "boto", "DetailType": "t", "Detail": "{}"}, {"Source": "boto", "DetailType": "t", "Detail": "no"}])
assert sent["FailedEntryCount"] == 1 and sent["Entries"][1]["ErrorCode"] == "MalformedDetail", sent

# CodePipeline
source = {
    "name": "Source",
    "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeCommit", "version": "1"},
    "configuration": {"RepositoryName": "boto", "BranchName": "main", "PollForSourceChanges": "false"},
    "outputArtifacts": [{"name": "Source"}],
}
approve = {"name": "Approve", "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}}
declared = {
    "name": "boto",
    "roleArn": role["Arn"],
    "artifactStore": {"type": "S3", "location": bucket},
    "stages": [{"name": "Source", "actions": [source]}, {"name": "Approve", "actions": [approve]}],
}
pipelines.create_pipeline(pipeline=declared)
assert pipelines.get_pipeline(name="boto")["pipeline"]["version"] == 1
refused("PipelineNotFoundException", pipelines.get_pipeline, name="absent")

# CloudFormation
template = json.dumps({
    "Resources": {"Alias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/stack", "TargetKeyId": key["KeyId"]}}},
    "Outputs": {"Alias": {"Value": {"Ref": "Alias"}}},
})
stacks.create_stack(StackName="boto", TemplateBody=template)
stacks.get_waiter("stack_create_complete").wait(StackName="boto", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
assert stacks.describe_stacks(StackName="boto")["Stacks"][0]["Outputs"][0]["OutputValue"] == "alias/stack"
stacks.delete_stack(StackName="boto")
stacks.get_waiter("stack_delete_complete").wait(StackName="boto", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
refused("ValidationError", stacks.describe_stacks, StackName="boto")

# CloudTrail
found = trail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateKey"}])["Events"]
assert len(found) == 1 and json.loads(found[0]["CloudTrailEvent"])["eventSource"] == "kms.amazonaws.com"
print("nine services")
