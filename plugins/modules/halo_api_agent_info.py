# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_api_agent_info
short_description: List agents
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description: Returns the agents of an instance, all of them or the ones that the options leave in.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes.info
options:
  name:
    description: Only agents of exactly this name, in any letter case. Mutually exclusive with O(agent_id).
    type: str
  agent_id:
    description: Only the agent with this id. Mutually exclusive with O(name).
    type: int
  api_only:
    description: Only API-only agents, or only others; all when it is not set.
    type: bool
  include_disabled:
    description: Whether disabled agents are listed.
    type: bool
    default: true
seealso:
  - module: haloops.halo.halo_api_agent
"""

EXAMPLES = r"""
- name: All agents that programs log in as
  haloops.halo.halo_api_agent_info:
    api_only: true
  register: programs

- name: Their names
  ansible.builtin.debug:
    msg: "{{ programs.agents | map(attribute='name') }}"
"""

RETURN = r"""
agents:
  description: The agents in the form that M(haloops.halo.halo_api_agent) returns, sorted by name.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 31
      name: api-tickets
      email: api-tickets@example.com
      api_only: true
      enabled: true
      roles: [API Integration]
      teams: [1st Line Support]
      default_team: 1st Line Support
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import AGENT
from ansible_collections.haloops.halo.plugins.module_utils.run import look_up


def main() -> None:
    run_module(look_up(AGENT))


if __name__ == "__main__":
    main()
