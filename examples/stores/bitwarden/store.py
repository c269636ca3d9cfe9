# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries in Bitwarden Secrets Manager. Not tested.

Called as ``store.py ORGANIZATION PROJECT read|write|list TENANT [BINDING]``.
"""

import fcntl
import hashlib
import json
import os
import sys
from pathlib import Path

from bitwarden_sdk import BitwardenClient, ClientSettings

organization, project, verb, tenant, binding = [*sys.argv[1:], ""][:5]
start = f"halo/{tenant}/"


def version(content):
    return hashlib.sha256(content.encode()).hexdigest() if content else None


client = BitwardenClient(
    ClientSettings(api_url=os.environ.get("BWS_API_URL"), identity_url=os.environ.get("BWS_IDENTITY_URL"))
)
# Bitwarden has no check-and-set: this lock is what keeps two runs apart, on one controller
with open(Path("~/.halo-bitwarden.lock").expanduser(), "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    client.auth().login_access_token(os.environ["BWS_ACCESS_TOKEN"])
    ids = {row.key: str(row.id) for row in client.secrets().list(organization).data.data}
    if verb == "list":
        answer = {"bindings": [key.removeprefix(start) for key in ids if key.startswith(start)]}
    else:
        found = ids.get(start + binding)
        content = client.secrets().get(found).data.value if found else ""
        if verb == "read":
            answer = {"entry": json.loads(content) if content else None, "version": version(content)}
        else:
            given = json.load(sys.stdin)
            if given["version"] != version(content):
                sys.exit(3)
            new = json.dumps(given["entry"])
            if found:
                client.secrets().update(organization, found, start + binding, new, None, [project])
            else:
                client.secrets().create(organization, start + binding, new, None, [project])
            answer = {"version": version(new)}
print(json.dumps(answer))
