# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_store_move
short_description: Copy a tenant's stored secrets from one store to another
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Copies all entries of one tenant from one store, or from one key in a store, to another. The playbook
    C(haloops.halo.store_move) does it for many.
  - An entry is copied once one of its secrets has logged in to Halo, the current one or, where a rotation was not
    finished, the pending one. It is read back after it was written. What is of an application that was taken out of
    service is copied as it is.
  - The entries in the source stay as they are, and nothing is changed in Halo. Set the variables
    C(halo_integration_store*) to the target afterwards, and remove the old entries when you no longer need them.
  - What the target holds already is left alone. If it holds another secret of a binding, that binding fails; the others
    are copied.
  - Both stores are held meanwhile, so that no other run works on the tenant.
  - It always runs on the controller, where the stores are, whatever the host's connection, and needs C(requests) there.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.fleet
  - haloops.halo.attributes
options:
  source:
    description:
      - Where the entries are. What is left out is as the host's variables say; a text that is empty means none, as in
        O(source.store_key="").
      - At least one of O(source) and O(target) is needed.
    type: dict
    suboptions:
      store: &store
        description:
          - Name of the store.
          - The variable C(halo_integration_store) of the host unless set, or else V(vault_file).
        type: str
      store_dir: &dir
        description:
          - Folder of a file store; a relative one is relative to the inventory.
          - The variable C(halo_integration_store_dir) of the host unless set, or else C(halo_credentials).
        type: path
      store_options: &options
        description:
          - Options of the store.
          - The variable C(halo_integration_store_options) of the host unless set, where the store is that of the host.
        type: dict
      store_key: &key
        description:
          - What stands for the tenant in the store, instead of its address and name. Entries of an address that was
            changed are found by the old one and the tenant's name, with a blank between them.
          - The variable C(halo_integration_store_key) of the host unless set.
        type: str
  target:
    description: Where they shall be, in the same way.
    type: dict
    suboptions:
      store: *store
      store_dir: *dir
      store_options: *options
      store_key: *key
  log_path:
    description:
      - File for the audit trail, one line of JSON for each entry that is copied; see M(haloops.halo.halo_binding).
      - Where it cannot be opened, nothing is copied.
    type: path
notes:
  - The connection options are taken from the task, the host's variables of the same names, or the environment.
  - With C(async) the task is refused, since the stored secrets are the controller's.
seealso:
  - module: haloops.halo.halo_binding
  - plugin: haloops.halo.credential
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: From plain files to encrypted ones
  haloops.halo.halo_store_move:
    source: {store: file, store_dir: halo_credentials}
    target: {store: vault_file, store_dir: halo_credentials_encrypted}

- name: From the store of the host's variables to HashiCorp Vault
  haloops.halo.halo_store_move:
    target: {store: hashi_vault, store_options: {url: "https://vault.example.com:8200"}}

- name: From the key of an address that was changed
  haloops.halo.halo_store_move:
    source: {store_key: "https://old.example.com acme"}
"""

RETURN = r"""
bindings:
  description: What became of each binding that the source has, by its name. No secret is in it.
  returned: when the source could be read
  type: dict
  contains:
    changed:
      description: Whether it was copied, or, in check mode, would be.
      type: bool
    client_id:
      description: Client ID of its application.
      type: str
    agent_name:
      description: Name of the agent that it logs in as.
      type: str
    made_at:
      description: When its secret was made, UTC.
      type: str
    verified:
      description: Whether its secret has logged in; null where it failed, or has none in force.
      type: bool
    drift:
      description: What was not as desired, in sentences.
      type: list
      elements: str
    error:
      description: Why it was not copied; null where it was, or was there.
      type: str
  sample:
    Ticket integration:
      changed: true
      client_id: 0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11
      agent_name: api-tickets
      made_at: "2026-03-02T09:14:07.120431+00:00"
      verified: true
      drift: ["store: file /inventory/halo_credentials instead of hashi_vault"]
      error: null
instance:
  description: Address of the instance.
  returned: when the source could be read
  type: str
check_mode:
  description: Whether this was check mode, and nothing was changed.
  returned: when the source could be read
  type: bool
error:
  description: What Halo answered to the request that failed.
  returned: failure
  type: dict
  sample: {method: POST, path: /token, status: 503, answer: "Service unavailable", hint: null}
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_on_controller
from ansible_collections.haloops.halo.plugins.module_utils.store_move import STORE_MOVE


def main() -> None:
    run_on_controller(STORE_MOVE)


if __name__ == "__main__":
    main()
