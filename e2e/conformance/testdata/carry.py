"""Makes the calls that stdin lists, one JSON object a line, with botocore, and
prints what botocore read of each answer: Output, or Code and Message."""

import datetime
import json
import sys

import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, service = sys.argv[1:]
client = botocore.session.get_session().create_client(
    service, region_name="eu-central-1", endpoint_url=endpoint,
    aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="secret",
    config=Config(retries={"max_attempts": 0}))


def plain(value):
    """Values that json does not know: a time becomes seconds since 1970."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    raise TypeError(type(value))


for line in sys.stdin:
    call = json.loads(line)
    try:
        out = getattr(client, xform_name(call["Operation"]))(**call["Input"])
        out.pop("ResponseMetadata")
        seen = {"Output": out}
    except ClientError as e:
        seen = {"Code": e.response["Error"]["Code"], "Message": e.response["Error"]["Message"], "Type": type(e).__name__}
    print(json.dumps(seen, default=plain), flush=True)
