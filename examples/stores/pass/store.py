# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries in pass, the standard Unix password manager: ``store.py read|write|list TENANT [BINDING]``."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

verb, tenant, binding = [*sys.argv[1:], ""][:3]
root = Path(os.environ.get("PASSWORD_STORE_DIR") or "~/.password-store").expanduser()
name, draft = f"halo/{tenant}/{binding}", f"halo/{tenant}/.{binding}.draft"
file = root / f"{name}.gpg"


def run(*arguments, given=None):
    done = subprocess.run(["pass", *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pass {arguments[0]}: {done.stderr}")
    return done.stdout


def version():
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


def sync(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


if not (root / ".gpg-id").exists():
    sys.exit(f"{root} is no password store; make one with: pass init")
with open(root / ".halo.lock", "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if verb == "read":
        answer = {"entry": json.loads(run("show", name)) if file.exists() else None, "version": version()}
    elif verb == "list":
        answer = {"bindings": [path.name.removesuffix(".gpg") for path in file.parent.glob("[!.]*.gpg")]}
    else:
        given = json.load(sys.stdin)
        if given["version"] != version():
            sys.exit(3)
        # pass writes in place: with a draft, a crash leaves the old entry or the new one
        run("insert", "--multiline", "--force", draft, given=json.dumps(given["entry"]))
        sync(root / f"{draft}.gpg")
        run("mv", "--force", draft, name)
        sync(file.parent)
        answer = {"version": version()}
print(json.dumps(answer))
