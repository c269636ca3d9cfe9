# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_agent:
    description: Name of the agent to log in as. Mutually exclusive with O(login_agent_id).
    type: str
  login_agent_id:
    description: Id of the agent to log in as. Mutually exclusive with O(login_agent).
    type: int
  regenerate_secret:
    description:
      - When to make a new client secret.
      - V(on_agent_change) makes one when the login agent or the login type changes and on creation, as Halo demands.
      - V(always) makes one on every run. V(never) makes none, even where the login fails without it.
    type: str
    choices: [on_agent_change, always, never]
    default: on_agent_change
  new_client_secret:
    description:
      - The secret to set where O(regenerate_secret) calls for a new one. Without it one is made and returned.
      - Store a secret before it is set, so that none can get lost. RV(client_secret) is then not returned, unless the
        server made one of its own.
    type: str
  defer_rotation:
    description:
      - Converge all that needs no new secret. If one is needed and O(new_client_secret) is not given, leave the login
        agent and the secret alone and report RV(rotation.required).
    type: bool
    default: false
  allow_self:
    description:
      - Allow to delete what this very run logs in with, to give it a new secret, or to change what its login hangs on
        (login agent and type, scopes, authentication method, whether it is active).
      - It is known by its client ID. With an access token alone, it is whatever logs in as the token's agent.
    type: bool
    default: false
"""
