# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as documents in a vault of 1Password: ``store.py VAULT read|write|list TENANT [BINDING]``. Not tested."""

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

vault, verb, tenant, binding = [*sys.argv[1:], ""][:4]
start = f"halo/{tenant}/"


def op(*arguments, given=""):
    command = ["op", "document", *arguments, "--vault", vault]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"op document {arguments[0]}: {done.stderr}")
    return done.stdout


def version(content):
    return hashlib.sha256(content.encode()).hexdigest() if content else None


# 1Password has no check-and-set: this lock is what keeps two runs apart, on one controller
with open(Path("~/.halo-1password.lock").expanduser(), "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    ids = {row["title"]: row["id"] for row in json.loads(op("list", "--format", "json") or "[]")}
    if verb == "list":
        answer = {"bindings": [title.removeprefix(start) for title in ids if title.startswith(start)]}
    else:
        found = ids.get(start + binding)
        content = op("get", found) if found else ""
        if verb == "read":
            answer = {"entry": json.loads(content) if content else None, "version": version(content)}
        else:
            given = json.load(sys.stdin)
            if given["version"] != version(content):
                sys.exit(3)
            new = json.dumps(given["entry"])
            if found:
                op("edit", found, "-", given=new)
            else:
                op("create", "-", "--title", start + binding, "--file-name", "entry.json", given=new)
            answer = {"version": version(new)}
print(json.dumps(answer))
