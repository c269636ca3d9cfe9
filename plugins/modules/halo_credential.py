# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_credential
short_description: Take one step in the life of a stored client secret
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - The store side of the role P(haloops.halo.halo_integration#role), and made for it. It always works on the
    controller.
  - An entry of the store has a V(pending), a V(current) and a V(previous) secret. A new secret is stored as pending
    before it is
    sent to Halo and becomes current once it is proven, so that the secret in force can be read at any instant.
  - Results that hold secrets are hidden from all output; a registered variable still has them.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
options:
  name:
    description: Name of the binding, the key in the store.
    type: str
    required: true
  step:
    description:
      - V(read) returns the entry.
      - V(claim) takes the lock of the tenant, so that no other run works on it, and returns the entry.
      - V(begin) makes a new secret and stores it as pending.
      - V(amend) notes what Halo answered, in the pending one.
      - V(finish) makes the pending one current and the current one previous.
      - V(settle) notes that what was owed has been done.
      - V(withdraw) leaves no current secret; the last one is previous.
      - V(release) gives the lock of the tenant back.
    type: str
    choices: [read, claim, begin, amend, finish, settle, withdraw, release]
    required: true
  store:
    description:
      - V(vault_file) keeps files encrypted with Ansible Vault, V(file) plain ones; both with mode 0600.
      - With any other text nothing is read or written. The step is done to O(entry), and keeping the result is the
        user's.
    type: str
    required: true
  store_dir:
    description: Folder of a built-in store.
    type: path
  entry:
    description: The entry as it is, where the store is none of the built-in ones.
    type: dict
    suboptions:
      pending:
        description: The secret that was made and may not have reached Halo.
        type: dict
        suboptions:
          client_id:
            description: Client ID.
            type: str
          client_secret:
            description: Client secret.
            type: str
          application_id:
            description: Id of the application.
            type: str
          agent_id:
            description: Id of the agent that it logs in as.
            type: str
          agent_name:
            description: Name of that agent.
            type: str
          made_at:
            description: When it was made, UTC in ISO 8601.
            type: str
          reason:
            description: Why it was made.
            type: str
      current:
        description: The secret in force.
        type: dict
        suboptions:
          client_id:
            description: Client ID.
            type: str
          client_secret:
            description: Client secret.
            type: str
          application_id:
            description: Id of the application.
            type: str
          agent_id:
            description: Id of the agent that it logs in as.
            type: str
          agent_name:
            description: Name of that agent.
            type: str
          made_at:
            description: When it was made, UTC in ISO 8601.
            type: str
          reason:
            description: Why it was made.
            type: str
      previous:
        description: The one before.
        type: dict
        suboptions:
          client_id:
            description: Client ID.
            type: str
          client_secret:
            description: Client secret.
            type: str
          application_id:
            description: Id of the application.
            type: str
          agent_id:
            description: Id of the agent that it logs in as.
            type: str
          agent_name:
            description: Name of that agent.
            type: str
          made_at:
            description: When it was made, UTC in ISO 8601.
            type: str
          reason:
            description: Why it was made.
            type: str
      owed:
        description: What still has to follow a rotation.
        type: dict
        suboptions:
          deliver:
            description: Whether the tasks of C(on_rotated) have yet to run.
            type: bool
          retire:
            description: Id of the previous agent, which has yet to be disabled or deleted.
            type: str
      origin:
        description: Whether the application was created for the binding or was there before (adopted).
        type: str
  reason:
    description: For V(begin), why a new secret is made.
    type: str
  application_id:
    description: Id of the application.
    type: str
  agent_id:
    description: Id of the agent that it logs in as.
    type: str
  agent_name:
    description: Name of that agent.
    type: str
  client_id:
    description: Client ID.
    type: str
  client_secret:
    description: For V(amend), the secret that the server made of its own.
    type: str
  deliver:
    description: For V(finish), whether the user's tasks for a new secret have to follow.
    type: bool
    default: false
  retire:
    description: For V(finish), the id of the previous agent that has to be disabled or deleted.
    type: str
  done:
    description: For V(settle), what has been done.
    type: list
    elements: str
    choices: [deliver, retire]
    default: []
seealso:
  - module: haloops.halo.halo_binding
"""

EXAMPLES = r"""
- name: The stored secret of a binding
  haloops.halo.halo_credential:
    halo_url: https://acme.halopsa.com
    name: Ticket integration
    step: read
    store: vault_file
    store_dir: "{{ inventory_dir }}/halo_credentials"
  register: stored

- name: Whose it is
  ansible.builtin.debug:
    msg: "{{ stored.entry.current.client_id }} logs in as {{ stored.entry.current.agent_name }}"
"""

RETURN = r"""
entry:
  description: The entry after the step, with C(pending), C(current), C(previous) and C(owed). It holds secrets.
  returned: success, except for V(release)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.haloops.halo.plugins.module_utils.credential import CREDENTIAL


def main() -> None:
    module = AnsibleModule(argument_spec=CREDENTIAL.with_connection(), supports_check_mode=True)
    module.fail_json(msg="The store is the controller's: this module runs there, through its action plugin.")


if __name__ == "__main__":
    main()
