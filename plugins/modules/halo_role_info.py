# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_role_info
short_description: List the roles of agents and what they allow
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description: Returns the agent roles of an instance, all of them or one.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes.info
options:
  name:
    description: Only roles of exactly this name, in any letter case. Mutually exclusive with O(role_id).
    type: str
  role_id:
    description: Only the role with this id. Mutually exclusive with O(name).
    type: str
notes:
  - Takes one request for each role that is listed, unless Halo's list holds what they allow.
seealso:
  - module: haloops.halo.halo_role
"""

EXAMPLES = r"""
- name: All roles
  haloops.halo.halo_role_info:
  register: found

- name: Those that make an administrator
  ansible.builtin.debug:
    msg: "{{ found.roles | selectattr('permissions.administrator', 'defined') | map(attribute='name') }}"
"""

RETURN = r"""
roles:
  description: The roles in the form that M(haloops.halo.halo_role) returns, sorted by name.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 3d2a9f64-5e0b-4c1d-8a77-1f6f2b9c0e11
      name: API tickets
      permissions: {tickets: modify, add_tickets: true, customers: names}
      claims: [{type: Px, value: "1"}]
      built_in: false
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import ROLE
from ansible_collections.haloops.halo.plugins.module_utils.run import look_up


def main() -> None:
    run_module(look_up(ROLE))


if __name__ == "__main__":
    main()
