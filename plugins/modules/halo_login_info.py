# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_login_info
short_description: Check whether credentials log in, and as whom
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Asks for a new access token and, with it, for the agent that it belongs to.
  - Credentials that Halo refuses are a result, and a failure only with O(require). An instance that does not answer is
    always a failure.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes.info
options:
  require:
    description: Fail where Halo refuses the credentials.
    type: bool
    default: false
seealso:
  - module: haloops.halo.halo_application
"""

EXAMPLES = r"""
- name: Does the stored secret still log in
  haloops.halo.halo_login_info:
    halo_url: https://acme.halopsa.com
    halo_tenant: acme
    halo_client_id: "{{ stored_client_id }}"
    halo_client_secret: "{{ stored_client_secret }}"
    halo_scope: read:tickets edit:tickets
  register: login

- name: It must, as the right agent
  ansible.builtin.assert:
    that: login.valid and login.agent.name == 'api-tickets'
    fail_msg: "{{ login.error }}"

- name: Stop here unless the run's own credentials log in
  haloops.halo.halo_login_info:
    require: true
"""

RETURN = r"""
valid:
  description: Whether Halo lets these credentials in.
  returned: success
  type: bool
  sample: true
agent:
  description: The agent that they log in as, by C(id), C(name) and C(api_only); null where Halo does not tell.
  returned: success
  type: dict
  sample: {id: 31, name: api-tickets, api_only: true}
scope:
  description: The scopes that the token has, as far as Halo tells.
  returned: success
  type: str
  sample: read:tickets edit:tickets
expires_in:
  description: Seconds that a token lasts.
  returned: success
  type: int
  sample: 3600
error:
  description: Why the credentials are not valid.
  returned: success
  type: str
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.run import login_info


def main() -> None:
    run_module(login_info())


if __name__ == "__main__":
    main()
