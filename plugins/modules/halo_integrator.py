# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_integrator
short_description: Manage the login of the Halo Integrator
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Sets the agent that the Halo Integrator, the scheduled import service, logs in as, together with the new client
    secret that such a change demands.
  - Where Halo hosts the Integrator, a new secret disconnects it until Halo's support has entered it; that is refused
    unless O(allow_hosted) is set.
  - A result that holds a client secret is hidden from all output; a registered variable still has it.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
  - haloops.halo.rotation
options:
  allow_hosted:
    description: Allow a new secret although Halo hosts the Integrator. Tell Halo's support of it.
    type: bool
    default: false
notes:
  - That the flag C(hashostedintegrator) of Halo's C(Control) means a hosted Integrator, and that a secret posted to
    C(Control) is the one in force from then on, are assumptions.
  - With C(async) a task that may set a secret is refused, since its result would be written to disk.
seealso:
  - module: haloops.halo.halo_api_agent
"""

EXAMPLES = r"""
- name: The Integrator logs in as an API-only agent
  haloops.halo.halo_integrator:
    login_agent: api-integrator
  register: integrator
"""

RETURN = r"""
integrator:
  description: The Integrator's login as it is now, or, in check mode, would be.
  returned: success
  type: dict
  contains:
    client_id:
      description: The client ID that it logs in with.
      type: str
    hosted:
      description: Whether Halo hosts it.
      type: bool
    login_agent:
      description: The agent that it logs in as, by C(id) and C(name).
      type: dict
  sample:
    client_id: 7c9f8a11-54b8-4b0e-bd2f-7a0d7f2f6c3e
    hosted: false
    login_agent: {id: 32, name: api-integrator}
rotation:
  description: Whether a new client secret was needed and made.
  returned: success
  type: dict
  contains:
    required:
      description: Whether the login needs a new secret.
      type: bool
    performed:
      description: Whether one was set, or, in check mode, would be.
      type: bool
    reason:
      description: V(agent_changed), V(requested) or V(none).
      type: str
    previous_agent_id:
      description: Id of the agent that it logged in as before a change of agent.
      type: int
  sample: {required: true, performed: true, reason: agent_changed, previous_agent_id: 3}
client_secret:
  description: The new client secret. Halo shows it never again.
  returned: when the module or the server made it
  type: str
error:
  description: What Halo answered to the request that failed.
  returned: failure, when a request failed
  type: dict
  sample: {method: POST, path: /Control, status: 403, answer: null, hint: null}
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.integrator import INTEGRATOR
from ansible_collections.haloops.halo.plugins.module_utils.run import manage


def main() -> None:
    run_module(manage(INTEGRATOR))


if __name__ == "__main__":
    main()
