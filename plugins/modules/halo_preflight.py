# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_preflight
short_description: See that a tenant can be worked on before anything is changed
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Looks at what a run over a tenant depends on, and says all that is wrong at once. The playbook
    C(haloops.halo.preflight) does it for many.
  - Of Halo, whether the address answers, whether authorisation server and tenant are those that the instance names,
    whether the run's own credentials log in, as whom and with which scope, whether that agent is an administrator, its
    roles and teams, whether it can read agents, applications, roles and teams, and how far the clocks are apart.
  - Of the store, whether it can be read, and whether it is one that a job would leave behind; with O(store_marker) also
    whether it keeps what a run writes.
  - It writes nothing but that marker, and nothing in Halo.
  - It always runs on the controller, where the store is, whatever the host's connection, and needs C(requests) there.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.fleet
  - haloops.halo.store
  - haloops.halo.attributes
options:
  store_marker:
    description:
      - V(write) writes a marker to the tenant's place in the store where there is none, and says since when the store
        has kept it where there is one. V(require) fails where there is none. With V(ignore) one that is there is
        mentioned.
      - A run with V(write), and one with V(require) in another job, prove that what one job writes the next one reads.
      - The marker is an entry without any secret. It is no binding and no orphan, and M(haloops.halo.halo_store_move)
        leaves it where it is.
    type: str
    choices: [ignore, write, require]
    default: ignore
  max_skew:
    description: By how many seconds the clocks of the instance and of the controller may differ.
    type: int
    default: 60
notes:
  - The connection options are taken from the task, the host's variables of the same names, or the environment.
  - With C(async) the task is refused, since the store is the controller's.
seealso:
  - module: haloops.halo.halo_login_info
  - module: haloops.halo.halo_binding
"""

EXAMPLES = r"""
- name: Is everything there
  haloops.halo.halo_preflight:

- name: The same, and leave a marker in the store
  haloops.halo.halo_preflight:
    store_marker: write

- name: In another job, is the marker still there
  haloops.halo.halo_preflight:
    store_marker: require
"""

RETURN = r"""
checks:
  description:
    - What was looked at. C(name) is C(address), C(clock), C(login), C(scope), C(agent), C(roles), C(access), C(store)
      or C(marker), or C(connection) where an option is wrong; C(state) is V(ok), V(warning) or V(failed). What could
      not be looked at, because something before it failed, is not in the list.
  returned: always
  type: list
  elements: dict
  sample:
    - {name: scope, state: ok, text: all}
    - {name: agent, state: failed, text: "api-automation, no administrator; give it a role that is"}
instance:
  description: Address of the instance; empty where it is not known.
  returned: always
  type: str
check_mode:
  description: Whether this was check mode, in which no marker is written.
  returned: always
  type: bool
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_on_controller
from ansible_collections.haloops.halo.plugins.module_utils.preflight import PREFLIGHT


def main() -> None:
    run_on_controller(PREFLIGHT)


if __name__ == "__main__":
    main()
