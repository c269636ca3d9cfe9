# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program for the store ``command`` that keeps entries in plain files below a folder, its first argument."""

from __future__ import annotations

import fcntl
import json
import os
import sys


def main(folder: str, verb: str, tenant: str, key: str = "") -> None:
    os.makedirs(f"{folder}/{tenant}", exist_ok=True)
    path = f"{folder}/{tenant}/{key}"
    with open(f"{folder}/.kept.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "list":
            print(json.dumps({"bindings": os.listdir(f"{folder}/{tenant}")}))
            return
        now = {"entry": None, "version": None}
        if os.path.exists(path):
            with open(path) as file:
                now = json.load(file)
        if verb == "write":
            given = json.load(sys.stdin)
            if given["version"] != now["version"]:
                sys.exit(3)
            now = {"entry": given["entry"], "version": str(int(given["version"] or 0) + 1)}
            with open(f"{folder}/.draft", "w") as file:
                json.dump(now, file)
            os.replace(f"{folder}/.draft", path)
            del now["entry"]
        print(json.dumps(now))


if __name__ == "__main__":
    main(*sys.argv[1:])
