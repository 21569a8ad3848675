"""Secrets that tel-control made or was given: none of them is in its log or in its database."""

import base64
import re

from system import Failed

# A shorter line would be found by chance.
SHORTEST = 32
ANY_KEY = b"PRIVATE KEY"
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)\n-----END", re.S)


def keys(folders):
    """The private keys in files below these folders, as texts between PEM's own lines."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {key for file in files for key in KEY.findall(file.read_bytes())}


def forms(key):
    """A key's lines, and its bytes."""
    return [*(line for line in key.split(b"\n") if len(line) >= SHORTEST), base64.b64decode(key)]


def check(control, tokens, made):
    """Looks for tel-control's token and these, for the authority's key and its passphrase, for the keys that were made, and for any other."""
    texts = [token.encode() for token in [control.token, *tokens]]
    texts.append((control.folder / "ca-passphrase").read_bytes().strip())
    secrets = [*texts, *(form for key in [*made, *keys([control.folder / "ca"])] for form in forms(key))]
    if not all(len(secret) >= SHORTEST for secret in secrets):
        raise Failed("a secret is too short to be looked for")
    # With what SQLite keeps beside it.
    places = [control.program.log, *control.folder.glob("tel-control.db*")]
    for place in places:
        content = place.read_bytes()
        for secret in [*secrets, ANY_KEY]:
            if secret in content:
                raise Failed(f"{place} holds a secret that begins with {secret[:6]!r}")
    if not all((control.folder / name).stat().st_size for name in ["tel-control.db", "tel-control.log"]):
        raise Failed("the database or the log is empty")
    print(f"secrets: {len(texts)} tokens and passphrases and {len(made)} keys are in none of {len(places)} files", flush=True)
