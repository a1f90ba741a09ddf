# Objects as boto3 and curl handle them. It fails at the first thing that is not as on AWS.
import os
import ssl
import subprocess
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
ca = os.environ["AWS_CA_BUNDLE"]
tls = ssl.create_default_context(cafile=ca)
bucket = "objects"
where = {"LocationConstraint": os.environ["AWS_REGION"]}
if where["LocationConstraint"] == "us-east-1":
    where = None


def create(name, **more):
    if where:
        more["CreateBucketConfiguration"] = where
    s3.create_bucket(Bucket=name, **more)


def same(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        same(e.response["Error"]["Code"], code)
        return e.response["Error"]["Message"]
    raise AssertionError(f"{call} was not refused")


def text(**arguments):
    return s3.get_object(Bucket=bucket, **arguments)["Body"].read()


create(bucket)

# The transfer manager, in parts and in threads.
large = os.urandom(20 << 20)
with open("large", "wb") as f:
    f.write(large)
many = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=6)
s3.upload_file("large", bucket, "large", Config=many)
s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=many)
s3.download_file(bucket, "copied", "back", Config=many)
with open("back", "rb") as f:
    assert f.read() == large

# Checksums of parts and of the whole.
for algorithm, kind in (("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE")):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
    parts = []
    for number, body in ((1, large[: 5 << 20]), (2, b"tail")):
        part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], "Checksum" + algorithm: part["Checksum" + algorithm]})
    complete = dict(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts}, ChecksumType=kind)
    refused("InvalidRequest", s3.complete_multipart_upload, **complete, MpuObjectSize=5)
    same(s3.complete_multipart_upload(**complete, MpuObjectSize=(5 << 20) + 4)["ChecksumType"], kind)
    about = s3.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["Checksum", "ObjectParts"], MaxParts=1)
    same(about["Checksum"]["ChecksumType"], kind)
    same(about["ObjectParts"]["TotalPartsCount"], 2)
    answer = s3.get_object(Bucket=bucket, Key="m", PartNumber=2, ChecksumMode="ENABLED")
    same((answer["Body"].read(), answer["PartsCount"]), (b"tail", 2))
refused("InvalidRequest", s3.create_multipart_upload, Bucket=bucket, Key="m", ChecksumAlgorithm="SHA1", ChecksumType="FULL_OBJECT")


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "--cacert", ca, *arguments], capture_output=True, text=True, check=True).stdout


# A form, as a browser sends it.
with open("f.txt", "w") as f:
    f.write("posted")
fields = {"acl": "bucket-owner-full-control", "x-amz-meta-a": "b", "success_action_status": "201"}
form = s3.generate_presigned_post(bucket, "up/${filename}", Fields=fields,
                                  Conditions=[{k: v} for k, v in fields.items()] + [["content-length-range", 1, 100]])
sent = [a for k, v in form["fields"].items() for a in ("-F", f"{k}={v}")]
assert "<Key>up/f.txt</Key>" in curl(*sent, "-F", "file=@f.txt", form["url"])
same((text(Key="up/f.txt"), s3.head_object(Bucket=bucket, Key="up/f.txt")["Metadata"]), (b"posted", {"a": "b"}))
assert "<Code>EntityTooLarge</Code>" in curl(*sent, "-F", "file=@large", form["url"])
assert "Policy Condition failed" in curl(*[a.replace("x-amz-meta-a=b", "x-amz-meta-a=c") for a in sent], "-F", "file=@f.txt", form["url"])
assert "<Code>SignatureDoesNotMatch</Code>" in curl(*[a + "0" if a.startswith("x-amz-signature=") else a for a in sent], "-F", "file=@f.txt", form["url"])
assert "<Code>AccessDenied</Code>" in curl("-F", "key=k", "-F", "file=@f.txt", form["url"])


def fetch(url, method="GET", body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method), context=tls) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()


# Presigned addresses of every kind.
def presigned(operation, **arguments):
    return s3.generate_presigned_url(operation, {"Bucket": bucket, **arguments}, ExpiresIn=60)


same(fetch(presigned("put_object", Key="p"), "PUT", b"presigned")[0], 200)
status, headers, body = fetch(presigned("get_object", Key="p", ResponseContentType="text/x", ResponseContentDisposition='attachment; filename="a b"'))
same((status, body, headers["Content-Type"], headers["Content-Disposition"]), (200, b"presigned", "text/x", 'attachment; filename="a b"'))
same(fetch(presigned("head_object", Key="p"), "HEAD")[0], 200)
same(fetch(presigned("list_objects_v2", Prefix="up/"))[0], 200)
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
version = s3.put_object(Bucket=bucket, Key="p", Body=b"two")["VersionId"]
s3.put_object(Bucket=bucket, Key="p", Body=b"three")
same(fetch(presigned("get_object", Key="p", VersionId=version))[2], b"two")
same(fetch(presigned("delete_object", Key="p", VersionId=version), "DELETE")[0], 204)
upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
status, headers, body = fetch(presigned("upload_part", Key="parts", UploadId=upload, PartNumber=1), "PUT", b"part")
same(status, 200)
list_of_parts = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{headers['ETag']}</ETag></Part></CompleteMultipartUpload>"
same(fetch(presigned("complete_multipart_upload", Key="parts", UploadId=upload), "POST", list_of_parts.encode())[0], 200)
same(text(Key="parts"), b"part")

# Customers' keys, for which the bucket has to be opened.
own = {"SSECustomerKey": os.urandom(32), "SSECustomerAlgorithm": "AES256"}
assert "SSE-C" in refused("AccessDenied", s3.put_object, Bucket=bucket, Key="own", Body=b"x", **own)
s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [{
    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}]})
s3.upload_file("large", bucket, "own", ExtraArgs=own, Config=many)
s3.download_file(bucket, "own", "back", ExtraArgs=own, Config=many)
with open("back", "rb") as f:
    assert f.read() == large
refused("InvalidRequest", s3.get_object, Bucket=bucket, Key="own")
refused("AccessDenied", s3.get_object, Bucket=bucket, Key="own", SSECustomerKey=os.urandom(32), SSECustomerAlgorithm="AES256")

# Two layers under KMS.
s3.put_object(Bucket=bucket, Key="layers", Body=large, ServerSideEncryption="aws:kms:dsse")
answer = s3.get_object(Bucket=bucket, Key="layers", Range="bytes=1000000-1999999")
same((answer["ServerSideEncryption"], answer["Body"].read() == large[1000000:2000000]), ("aws:kms:dsse", True))

# What is not there says so.
refused("NotImplemented", s3.restore_object, Bucket=bucket, Key="p", RestoreRequest={"Days": 1})
refused("NotImplemented", s3.select_object_content, Bucket=bucket, Key="p", Expression="x", ExpressionType="SQL",
        InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}})
refused("NotImplemented", s3.rename_object, Bucket=bucket, Key="q", RenameSource=f"/{bucket}/p")

# Access control lists.
create("listed", ObjectOwnership="ObjectWriter")
s3.put_object(Bucket="listed", Key="k", Body=b"x")
acl = s3.get_object_acl(Bucket="listed", Key="k")
log = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}, "Permission": "READ"}
s3.put_object_acl(Bucket="listed", Key="k", AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"] + [log]})
same(s3.get_object_acl(Bucket="listed", Key="k")["Grants"], acl["Grants"] + [log])
assert "BlockPublicAcls" in refused("AccessDenied", s3.put_object_acl, Bucket="listed", Key="k", ACL="public-read")
s3.delete_public_access_block(Bucket="listed")
s3.put_object_acl(Bucket="listed", Key="k", ACL="public-read")
same(fetch(os.environ["AWS_ENDPOINT_URL"] + "/listed/k")[2], b"x")
print("all is well")
