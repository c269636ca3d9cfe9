# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tenants
short_description: The hosts of a run over Halo tenants
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Returns the hosts that patterns name, within C(--limit), for the C(hosts) of a play. Where that is no host, it
    fails, so that a group with a misspelt name is not taken for a fleet in order.
  - The playbooks of this collection use it, and M(haloops.halo.halo_fleet) in them.
options:
  _terms:
    description: Patterns, as in the C(hosts) of a play.
    type: list
    elements: str
    required: true
  ending:
    description:
      - Return those hosts alone that the play at the end of a run needs, one that did not fail and those that did.
    type: bool
    default: false
  confirm:
    description:
      - Fail unless this is how many hosts there are, or C(--limit) leaves one. Check mode needs no confirmation.
    type: str
seealso:
  - module: haloops.halo.halo_fleet
"""

EXAMPLES = r"""
- name: Agents, applications and secrets of all tenants in Europe
  hosts: "{{ query('haloops.halo.tenants', 'halo_tenants:&europe') }}"
  connection: local
  gather_facts: false
  roles:
    - haloops.halo.halo_integration
"""

RETURN = r"""
_raw:
  description: Names of hosts, in the order of the inventory.
  type: list
  elements: str
"""

import typing as t

from ansible import context
from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

from ..module_utils.module import python_too_old
from ..plugin_utils.fleet import BEGUN, DRIFTED, Record

NAMED = 5


class LookupModule(LookupBase):
    def run(self, terms: list[t.Any], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        if refused := python_too_old():
            raise AnsibleLookupError(refused)
        self.set_options(var_options=variables, direct=kwargs)
        patterns = [str(one) for term in terms for one in (term if isinstance(term, list) else [term])]
        limit = variables.get("ansible_limit")
        found = self._hosts(patterns, variables["groups"], limit)
        if any(context.CLIARGS.get(name) for name in ("syntax", "listhosts", "listtasks", "listtags")):
            # nothing is run, and whoever checks the syntax may have no inventory
            return found or patterns
        if not found:
            raise AnsibleLookupError(_nobody(patterns, limit))
        if self.get_option("ending"):
            record = Record()
            failed = {**record.failures(), **record.hosts(DRIFTED)}
            fine = [host for host in found if host not in failed]
            begun = record.hosts(BEGUN)
            # the one that reports comes first: a result that fails is printed whole
            reports = [host for host in fine if host in begun] or fine
            return [*reports[:1], *(host for host in found if host in failed)]
        confirmed = self.get_option("confirm")
        if confirmed is not None and not (limit and len(found) == 1) and not variables.get("ansible_check_mode"):
            _confirm(found, str(confirmed).strip())
        return found

    def _hosts(self, patterns: list[str], groups: dict[str, list[str]], limit: str | None) -> list[str]:
        manager = InventoryManager(self._loader, parse=False)  # type: ignore[arg-type,unused-ignore]
        for group, hosts in groups.items():
            manager.add_group(group)
            for host in hosts:
                manager.add_host(host, group=group)
        if limit:
            manager.subset(limit)
        try:
            return [str(host.name) for host in manager.get_hosts(pattern=patterns)]
        except AnsibleError as error:
            # where the setting HOST_PATTERN_MISMATCH is error
            if "Could not match" in str(error):
                return []
            raise


def _nobody(patterns: list[str], limit: str | None) -> str:
    names = ", ".join(patterns)
    if limit:
        return f"There is no tenant to work on: no host of {names} (halo_hosts) is within --limit {limit}."
    return (
        f"There is no tenant to work on: the inventory has no host in {names}. Put the tenants into this group, or "
        "name theirs in halo_hosts."
    )


def _confirm(found: list[str], confirmed: str) -> None:
    """:raises AnsibleLookupError: the number of tenants is not the one that the user names"""
    if confirmed == str(len(found)):
        return
    names = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
    tenants = f"{len(found)} tenant{'s' if len(found) > 1 else ''}"
    wrong = f"halo_decommission_confirm is {confirmed}, and this" if confirmed else "This"
    raise AnsibleLookupError(
        f"{wrong} would take the bindings of {tenants} out of service: {names}. Nothing was changed. Set "
        f"halo_decommission_confirm to {len(found)} if you mean all of them, or give one host to --limit."
    )
