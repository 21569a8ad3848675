"""Kafka, tel-control, and schemathesis for an operator and for a client: use `run`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent.parent / "examples" / "stack")]
import leaks  # noqa: E402
from system import CONTROL, Control, Failed, Kafka  # noqa: E402

# What is made up makes topics by the hundred.
SETTINGS = {"topic": {"partitions": 1}}


def fuzz(schemathesis, url, folder, token, token_id, arguments):
    """Whether all answers are as the document has them."""
    # In a folder of its own: it keeps what it has found beside it.
    folder.mkdir()
    command = [schemathesis, "--config-file", HERE / "schemathesis.toml", "run", f"{url}/api/v1/openapi.json"]
    # What is deleted is leaving, revoked or retired, and can be seen as that.
    command += ["--checks", "all", "--exclude-checks", "use_after_free"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TEL_TOKEN": token,
        "TEL_TOKEN_ID": token_id,
    }
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL).returncode == 0


def panics(control):
    """What the log has of them."""
    return [line for line in control.program.log.read_text(errors="replace").splitlines() if "panicked" in line]


def main():
    work, schemathesis, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if not CONTROL.exists():
        sys.exit(f"fuzz: no {CONTROL}; cargo build makes it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = work / "run"
    # A broker that was left over writes there.
    Kafka(folder / "kafka").end()
    shutil.rmtree(folder, ignore_errors=True)
    kafka = Kafka(folder / "kafka")
    control = None
    try:
        kafka.start()
        control = Control(folder / "control", kafka, SETTINGS).make().start()
        client = control.run("token", "add", "own", "--client", "own").strip()
        ids = {token.get("client"): token["id"] for token in json.loads(control.run("token", "list", "--json"))["tokens"]}
        complaints = []
        for who, token, of in [("operator", control.token, None), ("client", client, "own")]:
            print(f"== as {who}", flush=True)
            if not fuzz(schemathesis, control.url, folder / who, token, ids[of], arguments):
                complaints.append(f"the answers to the {who} are not as the document has them")
        complaints += panics(control)
        try:
            leaks.check(control, [client], set())
        except Failed as leak:
            complaints.append(str(leak))
        if control.end() != 0:
            complaints.append(f"tel-control ended badly:\n{control.program.said()}")
    except Failed as error:
        sys.exit(f"fuzz: {error}")
    finally:
        if control:
            control.end()
        kafka.end()
    if complaints:
        sys.exit("\n".join(f"fuzz: {complaint}" for complaint in complaints))


if __name__ == "__main__":
    main()
