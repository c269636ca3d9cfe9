#!/usr/bin/env python3
# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An inventory of the tenants in the CSV file beside this one, a line each, in the group halo_tenants."""

import csv
import json
import pathlib
import re
import sys

tenants = {}
with pathlib.Path(__file__).with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
    try:
        rows = list(csv.DictReader(file, restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        sys.exit(f"{file.name} is no table: {error}")
    for row in rows:
        name = row.get("name", "")
        if name in tenants or not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name, re.IGNORECASE | re.ASCII):
            sys.exit(f"{file.name}: {name!r} is there twice, or is no name for a host")
        fields = {column: row[column] for column in ("url", "tenant", "client_id") if row.get(column)}
        # Ansible would evaluate what looks like a template, unless it is marked as plain text
        tenants[name] = {f"halo_{column}": {"__ansible_unsafe": text} for column, text in fields.items()}
print(json.dumps({"halo_tenants": {"hosts": list(tenants)}, "_meta": {"hostvars": tenants}}))
