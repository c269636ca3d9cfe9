# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_self_test
short_description: Ask an instance whether Halo is as this collection assumes
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Halo's API is not documented in full, so this collection is built on assumptions. This module asks an instance about
    each of them, and says of each whether it is as assumed, otherwise, or why it was not asked. The guide
    R(What is assumed about Halo,ansible_collections.haloops.halo.docsite.assumptions) lists the questions.
  - Take a trial instance. It makes API-only agents and applications with names that begin with C(haloops-self-test-),
    changes and deletes them, and touches nothing that it did not make. Roles and teams are only read, and given to
    agents of its own that are disabled.
  - What it made is removed at the end, after a failure too. What a run left that was killed is removed by the next one,
    or with O(cleanup). Two runs at the same time on one instance would remove each other's objects.
  - It does not provoke the rate limit, and does not try to delete what Halo needs. It takes some 230 requests.
  - In check mode only what can be asked by reading is asked.
  - An answer that is otherwise than assumed is no failure.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
options:
  confirm:
    description:
      - The address or the tenant name of the instance. Nothing is done unless it is the one that the connection options
        name.
    type: str
    required: true
  cleanup:
    description: Ask nothing, and only remove what an earlier run left.
    type: bool
    default: false
  questions:
    description: Ask these alone.
    type: list
    elements: str
    choices:
      - authinfo
      - instance_info
      - scope_unknown
      - grant_unknown
      - list_agents
      - list_applications
      - list_roles
      - list_teams
      - list_workdays
      - list_top_levels
      - departments
      - page
      - agent_rows
      - application_rows
      - grant_type
      - api_agents_hidden
      - disabled_agents_hidden
      - id_unknown
      - control
      - agent_minimum
      - agent_answer
      - agent_name_twice
      - agent_email_twice
      - role_by_id
      - roles_replace
      - teams_replace
      - membership_switches
      - becomes_api_only
      - agent_deleted
      - agent_in_use
      - application_answer
      - application_name_twice
      - login_fields
      - client_id_kept
      - secret_sent
      - secret_read
      - secret_kept
      - agent_change
      - agent_change_with_secret
      - old_secret
      - scopes_replace
      - token_new_secret
      - token_inactive
      - login_inactive
      - login_disabled_agent
      - scope_not_granted
      - standard_scope
      - application_deleted
      - field_unknown
      - wrong_type
      - refusal
      - object_readable
      - list_shows
      - secret_stored
      - grant_types_stored
  reports:
    description:
      - Also read how secrets and grant types are stored, by a report with a SELECT that Halo runs and does not store.
        It takes a login agent that may use reports.
    type: bool
    default: false
  path:
    description: A file on the controller to write the table to, in Markdown.
    type: path
attributes:
  diff_mode:
    description: There is never a difference to show.
    support: none
  idempotent:
    description: Each run makes and removes objects of its own.
    support: none
seealso:
  - module: haloops.halo.halo_login_info
"""

EXAMPLES = r"""
- name: Is this trial instance as assumed
  haloops.halo.halo_self_test:
    halo_url: https://acme-trial.halopsa.com
    halo_tenant: acme-trial
    halo_client_id: "{{ client_id }}"
    halo_client_secret: "{{ client_secret }}"
    confirm: acme-trial.halopsa.com
    path: assumptions.md
  register: asked

- name: The question that matters most
  haloops.halo.halo_self_test:
    confirm: acme-trial.halopsa.com
    questions: [agent_change]

- name: Remove what a run left that was killed
  haloops.halo.halo_self_test:
    confirm: acme-trial.halopsa.com
    cleanup: true
"""

RETURN = r"""
rows:
  description:
    - One for each question. C(answer) is C(as assumed), or begins with C(otherwise) or C(not asked); C(observed) is the
      status and the shape of what came, and no value of an object that was there before.
  returned: success
  type: list
  elements: dict
  sample:
    - question: agent_change
      text: Does the secret survive a change of the login agent that does not send a new one?
      assumed: "no"
      answer: as assumed
      observed: "it is dead: 401, error invalid_client"
summary:
  description: How many of each answer, as C(as_assumed), C(otherwise) and C(not_asked).
  returned: success
  type: dict
  sample: {as_assumed: 40, otherwise: 1, not_asked: 2}
table:
  description: The same as a table in Markdown, which is also printed.
  returned: success
  type: str
  sample: "| question | assumed | answer | observed |"
instance:
  description: The address of the instance.
  returned: success
  type: str
  sample: https://acme-trial.halopsa.com
halo_version:
  description: The version of Halo, where it says so.
  returned: success
  type: str
  sample: 2.218.4
removed:
  description: The names of what an earlier run had left and this one removed.
  returned: success
  type: list
  elements: str
  sample: [haloops-self-test-6f1d2f0e9ab1-login]
left:
  description: The names of what could not be removed, each with the reason. In check mode, of what an earlier run left.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.self_test import self_test


def main() -> None:
    run_module(self_test())


if __name__ == "__main__":
    main()
