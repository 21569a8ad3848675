"""Secrets that tel-control made or was given: none of them is in its log or in its database."""

import base64
import re

from system import Failed

# A shorter line would be found by chance.
SHORTEST = 32
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)\n-----END", re.S)


def keys(folders):
    """The private keys in files below these folders, as texts between PEM's own lines."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {key for file in files for key in KEY.findall(file.read_bytes())}


def forms(key):
    """A key's lines, and its bytes."""
    return [*(line for line in key.split(b"\n") if len(line) >= SHORTEST), base64.b64decode(key)]


def check(system, tokens, folders):
    """Looks for these tokens, the passphrase of the authority's key and that key, and the keys that are in the folders."""
    control = system.control.folder
    made = keys([*folders, *(edge.folder for edge in system.edges)])
    texts = [token.encode() for token in [system.control.token, *tokens]]
    texts.append((control / "ca-passphrase").read_bytes().strip())
    secrets = [*texts, *(form for key in [*made, *keys([control / "ca"])] for form in forms(key))]
    if len(made) <= len(system.edges) or not all(len(secret) >= SHORTEST for secret in secrets):
        raise Failed(f"{len(made)} keys are there to be looked for, or a secret is too short")
    # With what SQLite keeps beside it.
    places = [system.control.program.log, *control.glob("tel-control.db*")]
    for place in places:
        content = place.read_bytes()
        for secret in secrets:
            if secret in content:
                raise Failed(f"{place} holds a secret that begins with {secret[:6]!r}")
    if not all((control / name).stat().st_size for name in ["tel-control.db", "tel-control.log"]):
        raise Failed("the database or the log is empty")
    print(f"secrets: {len(texts)} tokens and passphrases and {len(made)} keys are in none of {len(places)} files", flush=True)
