# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_api_agent
short_description: Manage the agents that programs log in as
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Creates, changes and removes agents of HaloPSA, HaloITSM and HaloCRM, API-only ones unless told otherwise.
  - An API-only agent takes no licence, cannot log in to the web application and cannot be given tickets.
  - Agents are matched by their exact name, in any letter case, disabled and API-only ones included; two of one name are
    an error that gives their ids. Only the options that are set are compared and sent.
  - An answer of Halo's that is no list, or an empty one, is an error and never taken for "there is none".
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
options:
  name:
    description:
      - Name of the agent, at most 255 characters. With O(agent_id) it is the name that the agent shall have.
      - Either this or O(agent_id) is needed.
    type: str
  agent_id:
    description: Id of an agent that exists, to choose between two of one name or to rename one.
    type: int
  cached_id:
    description:
      - The id that the agent O(name) had when it was last seen, for where Halo's list does not show it yet after it was
        made. An id that is gone, or belongs to another name by now, is ignored.
    type: int
  state:
    description: Whether the agent shall exist. Disabling it (O(enabled)) is the gentler way out.
    type: str
    choices: [present, absent]
    default: present
  email:
    description: Email address. An empty string removes it.
    type: str
  enabled:
    description: Whether the account is active.
    type: bool
    default: true
  api_only:
    description: Whether the agent is API-only.
    type: bool
    default: true
  roles:
    description: Roles by name or id. The list is exact unless O(append) is set; an empty list removes all.
    type: list
    elements: str
  teams:
    description:
      - Teams by name or id. The list is exact unless O(append) is set; an empty list removes all.
      - An item can also be a dictionary of C(name) (a name or an id) and what the agent may do in that team, each true
        or false. C(can_be_assigned) lets it be given the team's tickets, C(sees_unassigned) lets it see those of
        nobody, C(sees_others) those of other agents; C(leader) makes it the team's leader.
      - A new membership gets the first three, as in Halo's web application. Of one that is there, only what is given is
        compared and changed.
    type: list
    elements: raw
  default_team:
    description: The agent's default team by name or id. An empty string removes it.
    type: str
  append:
    description: Add the given roles and teams to those that the agent has.
    type: bool
    default: false
  allow_conversion:
    description: Allow to turn a human agent into an API-only one, which takes the web login from a person.
    type: bool
    default: false
  force:
    description:
      - Allow to remove or disable an agent that applications or the Halo Integrator still log in as, and to remove a
        human one.
    type: bool
    default: false
  properties:
    description:
      - Further fields of Halo's model C(Uname) that this module does not know, by Halo's names. They are compared and
        sent as they are, and must not hold secrets.
    type: dict
notes:
  - That Halo replaces roles and teams by those that are sent is an assumption. If it does not, the module warns.
seealso:
  - module: haloops.halo.halo_api_agent_info
  - module: haloops.halo.halo_application
"""

EXAMPLES = r"""
- name: An agent for the ticket integration
  haloops.halo.halo_api_agent:
    halo_url: https://acme.halopsa.com
    halo_tenant: acme
    halo_client_id: "{{ automation_client_id }}"
    halo_client_secret: "{{ automation_client_secret }}"
    name: api-tickets
    email: api-tickets@example.com
    roles: [API Integration]
    teams: [1st Line Support]
    default_team: 1st Line Support

- name: It sees the tickets of its team, and cannot be given any
  haloops.halo.halo_api_agent:
    name: api-tickets
    teams:
      - 1st Line Support
      - name: 2nd Line Support
        can_be_assigned: false

- name: One more role, the others stay
  haloops.halo.halo_api_agent:
    name: api-tickets
    roles: [Read Only]
    append: true

- name: Switch it off, the applications that log in as it included
  haloops.halo.halo_api_agent:
    name: api-tickets
    enabled: false
    force: true
"""

RETURN = r"""
agent:
  description: The agent as it is now, or, in check mode, would be. Null when it is absent.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; null for one that check mode would create.
      type: int
    name:
      description: Its name.
      type: str
    email:
      description: Its email address.
      type: str
    api_only:
      description: Whether it is API-only.
      type: bool
    enabled:
      description: Whether the account is active.
      type: bool
    roles:
      description: Names of its roles.
      type: list
      elements: str
    teams:
      description: Names of its teams.
      type: list
      elements: str
    default_team:
      description: Name of its default team.
      type: str
  sample:
    id: 31
    name: api-tickets
    email: api-tickets@example.com
    api_only: true
    enabled: true
    roles: [API Integration]
    teams: [1st Line Support]
    default_team: 1st Line Support
error:
  description: What Halo answered to the request that failed.
  returned: failure, when a request failed
  type: dict
  sample: {method: POST, path: /Agent, status: 400, answer: "name: A name is required", hint: null}
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import AGENT
from ansible_collections.haloops.halo.plugins.module_utils.run import manage


def main() -> None:
    run_module(manage(AGENT))


if __name__ == "__main__":
    main()
