"""Calls every service of sekisho with boto3, and checks what comes back."""
import json

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

account = boto3.client("sts").get_caller_identity()["Account"]
trust = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}]}

iam = boto3.client("iam")
iam.create_user(UserName="ada")
key = iam.create_access_key(UserName="ada")["AccessKey"]
role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
assert iam.get_role(RoleName="worker")["Role"]["AssumeRolePolicyDocument"] == trust
ada = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
try:
    ada.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="s1")
    raise AssertionError("a user without a policy assumed a role")
except ClientError as e:
    assert e.response["Error"]["Code"] == "AccessDenied", e
iam.put_user_policy(UserName="ada", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role["Arn"]}]}))
session = ada.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="s1")["Credentials"]
worker = boto3.Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
assert worker.client("sts").get_caller_identity()["Arn"].endswith(":assumed-role/worker/s1")

kms = boto3.client("kms")
key_id = kms.create_key()["KeyMetadata"]["Arn"]
blob = kms.encrypt(KeyId=key_id, Plaintext=b"plain", EncryptionContext={"a": "b"})["CiphertextBlob"]
assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"plain"

s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
s3.create_bucket(Bucket="boto-bucket", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
s3.put_object(Bucket="boto-bucket", Key="k", Body=b"x" * 100_000, ServerSideEncryption="aws:kms", SSEKMSKeyId=key_id)
assert s3.get_object(Bucket="boto-bucket", Key="k", Range="bytes=0-9")["Body"].read() == b"x" * 10
try:
    worker.client("s3", config=Config(s3={"addressing_style": "path"})).get_object(Bucket="boto-bucket", Key="k")
    raise AssertionError("a role without a policy read an object")
except ClientError as e:
    assert e.response["Error"]["Code"] == "AccessDenied", e

codecommit = boto3.client("codecommit")
codecommit.create_repository(repositoryName="repo")
commit = codecommit.put_file(repositoryName="repo", branchName="main", filePath="a.txt", fileContent=b"a")["commitId"]
assert codecommit.get_branch(repositoryName="repo", branchName="main")["branch"]["commitId"] == commit
assert codecommit.get_file(repositoryName="repo", filePath="a.txt")["fileContent"] == b"a"

events = boto3.client("events")
assert events.put_events(Entries=[{"Source": "me", "DetailType": "d", "Detail": "{}"}])["FailedEntryCount"] == 0
events.put_rule(Name="r", EventPattern='{"source":["me"]}')
assert [r["Name"] for r in events.list_rules()["Rules"]] == ["r"]

pipeline = boto3.client("codepipeline")
assert pipeline.list_pipelines()["pipelines"] == []

stack = boto3.client("cloudformation")
stack.create_stack(StackName="s", TemplateBody=json.dumps({"Resources": {"B": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "mine"}}},
                                                           "Outputs": {"N": {"Value": {"Ref": "B"}}}}))
stack.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
assert stack.describe_stacks(StackName="s")["Stacks"][0]["Outputs"][0]["OutputValue"] == "mine"



def trail(region):
    pages = boto3.client("cloudtrail", region_name=region).get_paginator("lookup_events").paginate()
    return {e["EventName"] for p in pages for e in p["Events"]}


here = trail(None)
assert {"AssumeRole", "CreateKey", "CreateBucket", "PutRule", "CreateStack"} <= here, here
assert {"CreateUser", "CreateRole"} <= trail("us-east-1"), "IAM's events stand in us-east-1"
print("all nine services answered")
