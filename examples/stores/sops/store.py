# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries in files that sops encrypts: ``store.py FOLDER read|write|list TENANT [BINDING]``."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

folder, verb, tenant, binding = [*sys.argv[1:], ""][:4]
root = Path(folder).expanduser().resolve()
file = root / tenant / f"{binding}.sops"


def sops(*arguments, given=None):
    # with a file name that is not YAML's or JSON's, sops takes the whole content for one secret text
    environment = {**os.environ, "SOPS_DISABLE_VERSION_CHECK": "1"}
    command = ["sops", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, cwd=root, env=environment, check=False)
    if done.returncode:
        sys.exit(f"sops {arguments[0]}: {done.stderr.decode()}")
    return done.stdout


def version():
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


if not (root / ".sops.yaml").exists():
    sys.exit(f"{root} has no .sops.yaml that says whom to encrypt for")
os.umask(0o077)
with open(root / ".halo.lock", "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if verb == "read":
        answer = {"entry": json.loads(sops("decrypt", file)) if file.exists() else None, "version": version()}
    elif verb == "list":
        answer = {"bindings": [path.name.removesuffix(".sops") for path in file.parent.glob("[!.]*.sops")]}
    else:
        given = json.load(sys.stdin)
        if given["version"] != version():
            sys.exit(3)
        sealed = sops("encrypt", "--filename-override", file, given=json.dumps(given["entry"]).encode())
        file.parent.mkdir(exist_ok=True)
        draft = file.with_name(f".{file.name}.draft")
        with open(draft, "wb") as opened:
            opened.write(sealed)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(draft, file)
        for changed in (file.parent, root):
            handle = os.open(changed, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        answer = {"version": version()}
print(json.dumps(answer))
