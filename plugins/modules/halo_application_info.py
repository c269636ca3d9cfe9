# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_application_info
short_description: List API applications
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Returns the API applications of an instance, all of them or the ones that the options leave in; never a secret.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes.info
options:
  name:
    description: Only applications of exactly this name, in any letter case. Mutually exclusive with O(application_id).
    type: str
  application_id:
    description: Only the application with this id. Mutually exclusive with O(name).
    type: str
  include_system:
    description: Whether the applications that Halo's own programs depend on are listed.
    type: bool
    default: false
notes:
  - Takes one request for each application that is listed, since a list of Halo's holds no scopes.
seealso:
  - module: haloops.halo.halo_application
"""

EXAMPLES = r"""
- name: All applications but Halo's own
  haloops.halo.halo_application_info:
  register: integrations

- name: Who logs in as whom
  ansible.builtin.debug:
    msg: "{{ item.name }} logs in as {{ item.login_agent.name }}"
  loop: "{{ integrations.applications }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
applications:
  description: The applications in the form that M(haloops.halo.halo_application) returns, sorted by name.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 6f1d2f0e-8a77-4f0c-9d53-0c7a52b4f1aa
      name: Ticket integration
      client_id: 0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11
      enabled: true
      authentication_method: client_credentials
      login_type: agent
      login_agent: {id: 31, name: api-tickets}
      scopes: [edit:tickets, read:tickets]
      redirect_uris: []
      logout_redirect_uris: []
      cors_origins: []
      system: false
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.application import APPLICATION
from ansible_collections.haloops.halo.plugins.module_utils.run import look_up


def main() -> None:
    run_module(look_up(APPLICATION))


if __name__ == "__main__":
    main()
