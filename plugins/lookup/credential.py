# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: credential
short_description: Read the stored credentials of a binding
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Returns, for each binding, what a program needs to log in to Halo as that binding's agent. The credentials are those
    that M(haloops.halo.halo_binding) and the role P(haloops.halo.halo_integration#role) stored.
  - Tenant and store are taken from the options, else from the host's variables, else, for the tenant, from the
    environment. What is empty counts as not set.
  - What it returns is secret. Give C(no_log=true) to tasks that use it.
options:
  _terms:
    description: Names of bindings.
    type: list
    elements: str
    required: true
  label:
    description:
      - Which credentials. V(current) are those in force, V(previous) those before them, and V(pending) those of a
        rotation that is not finished.
    type: str
    choices: [current, previous, pending]
    default: current
  max_age_days:
    description: The C(max_age_days) of the binding. It serves RV(_raw[].due_at).
    type: int
  jitter:
    description: The jitter of the fleet, in per cent of O(max_age_days), as in M(haloops.halo.halo_binding).
    type: float
    default: 10
  store:
    description:
      - Where the credentials are stored.
      - V(vault_file) are files encrypted with Ansible Vault, V(file) are plain files.
      - If it is not set, the host's variable C(halo_integration_store) decides, and without that V(vault_file).
    type: str
  store_dir:
    description:
      - Folder of the stores that keep files. A relative path is relative to the folder of the inventory.
      - If it is not set, the host's variable C(halo_integration_store_dir) decides, and without that the folder
        C(halo_credentials) beside the inventory.
    type: str
  store_options:
    description:
      - Further options of the store.
      - V(vault_file) and V(file) have C(ephemeral), which allows a folder that is gone when the job ends.
      - If it is not set, the host's variable C(halo_integration_store_options) decides.
    type: dict
  store_key:
    description:
      - What stands for the tenant in the store, instead of its address and name.
      - If it is not set, the host's variable C(halo_integration_store_key) decides.
    type: str
  halo_url:
    description:
      - Address of the Halo instance.
      - If it is not set, the host's variable C(halo_url) decides, and without that the environment variable
        E(HALO_URL).
    type: str
  halo_tenant:
    description:
      - Name of the tenant, where Halo hosts the instance.
      - If it is not set, the host's variable C(halo_tenant) decides, and without that the environment variable
        E(HALO_TENANT).
    type: str
seealso:
  - module: haloops.halo.halo_binding
  - plugin: haloops.halo.new_client_secret
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Give a program its new secret
  ansible.builtin.template:
    src: ticket-sync.conf.j2 # with {{ halo.client_id }} and {{ halo.client_secret }}
    dest: /etc/ticket-sync.conf
    mode: "0600"
  vars:
    halo: "{{ lookup('haloops.halo.credential', 'Ticket integration') }}"
  no_log: true

- name: Use Halo as the integration does
  haloops.halo.halo_login_info:
    halo_url: "{{ halo.url }}"
    halo_tenant: "{{ halo.tenant }}"
    halo_client_id: "{{ halo.client_id }}"
    halo_client_secret: "{{ halo.client_secret }}"
    halo_scope: "{{ halo.scope }}"
  vars:
    halo: "{{ lookup('haloops.halo.credential', 'Ticket integration') }}"
  no_log: true

- name: Show when a secret is due to be replaced
  ansible.builtin.debug:
    msg: "{{ lookup('haloops.halo.credential', 'Ticket integration', max_age_days=90).due_at }}"

- name: List the agents of two bindings
  ansible.builtin.debug:
    msg: "{{ query('haloops.halo.credential', 'Ticket integration', 'Reporting') | map(attribute='agent_name') }}"
"""

RETURN = r"""
_raw:
  description: One for each binding, in the order of the terms.
  type: list
  elements: dict
  contains:
    client_id:
      description: Client ID of the application.
      type: str
    client_secret:
      description: Its client secret.
      type: str
    url:
      description: Address of the Halo instance.
      type: str
    tenant:
      description: Name of the tenant; none on premises.
      type: str
    agent_name:
      description: Name of the agent that it logs in as.
      type: str
    scope:
      description: What it may ask for, separated by blanks.
      type: str
    made_at:
      description: When the secret was made, in ISO 8601, UTC.
      type: str
    due_at:
      description: When it is due to be replaced, in the same form; none without O(max_age_days).
      type: str
"""

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils.errors import HaloError
from ..module_utils.lifecycle import LABELS, Entry, due_at
from ..module_utils.options import complaints
from ..module_utils.schedule import Age, age_key
from ..plugin_utils.stores import VARIABLES, Place, from_variables, open_store, sentence

# Ansible checks their types, and takes any name for an option.
OPTIONS = {name: {"type": "raw"} for name in ("label", "max_age_days", "jitter", *VARIABLES)}


class LookupModule(LookupBase):
    def run(
        self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, t.Any]]:
        for complaint in complaints(OPTIONS, kwargs):
            raise AnsibleError(f"The lookup haloops.halo.credential: {sentence(complaint)}")
        self.set_options(direct=kwargs)
        given = {name: self.get_option(name) for name in VARIABLES}
        try:
            name, place = from_variables(variables or {}, self._loader, templar=self._templar, given=given)
            store = open_store(name, place)
            return [self._credential(name, place, str(term), store.read(str(term))[0]) for term in terms]
        except HaloError as error:
            raise AnsibleError(str(error)) from None

    def _credential(self, store: str, place: Place, binding: str, stored: Entry) -> dict[str, t.Any]:
        word = self.get_option("label")
        label = stored[word]
        if not label:
            others = [name for name in LABELS if stored[name]]
            folder = f" ({place.folder})" if place.folder and store.endswith("file") else ""
            there = f", only {' and '.join(others)} ones" if others else ""
            raise HaloError(
                f"the store {store}{folder} holds no {word} credentials of it{there}.",
                instance=place.owner,
                subject=f"binding '{binding}'",
                hint=f"It is called '{stored['renamed_to']}' by now."
                if stored["renamed_to"]
                else f"Use label={others[0]}, or run the role halo_integration to finish what was begun."
                if others
                else "Run the role halo_integration for it first. If it was run, compare its name, halo_url, "
                "halo_tenant and the variables halo_integration_store* with those of that run.",
            )
        key = age_key(place.instance, place.tenant, binding)
        due = due_at(label, Age(self.get_option("max_age_days"), self.get_option("jitter"), key=key))
        return {
            **{key: label[key] for key in ("client_id", "client_secret", "agent_name", "scope", "made_at")},
            "url": place.instance,
            "tenant": place.tenant,
            "due_at": due and due.isoformat(),
        }
