"""What a schema cannot say: real certificate requests, and keys of which each is another."""

import os
import re
import subprocess
import uuid

import schemathesis
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

# Who shows wrong tokens too often is refused as well. That each operation wants a token is in the API's own tests.
checks.AUTH_REJECTION_STATUSES |= {429}


def certificate_request(key: list[str]) -> str:
    made = subprocess.run(
        ["openssl", "req", "-new", "-newkey", *key, "-nodes", "-keyout", "/dev/null", "-subj", "/CN=admin"],
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout


REQUESTS = [
    certificate_request(["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    certificate_request(["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    certificate_request(["rsa:2048"]),
]
schemathesis.openapi.format("certificate-request", st.sampled_from(REQUESTS))

# A broker on a developer's machine does not carry more, times some hundred topics; the document allows 10,000.
MOST_PARTITIONS = 4


@schemathesis.hook
def filter_case(context, case):
    """Nobody revokes the token that is asked with: all after it would be refused."""
    path = case.path_parameters or {}
    return not (case.operation.path == "/api/v1/tokens/{id}" and path.get("id") == os.environ["TEL_TOKEN_ID"])


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that was made up before is another one's; a topic has few partitions."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    partitions = case.body.get("partitions") if isinstance(case.body, dict) else None
    if isinstance(partitions, int) and MOST_PARTITIONS < partitions <= 10_000:
        case.body["partitions"] = MOST_PARTITIONS
