# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_binding
short_description: Converge API-only agents and what logs in as them
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - The first half of the role P(haloops.halo.halo_integration#role), and made for it. A binding is one API-only agent
    and one application, or the Halo Integrator, that logs in as it.
  - Looks at all bindings of a tenant before it changes the first one, converges what needs no new client secret,
    tries the
    stored secrets, and returns what is still to be done. New secrets are the business of the role's other tasks, which
    store each before they send it to Halo.
  - In a task with O(store) it takes the lock of the tenant, so that no two runs work on one tenant. When nothing is
    left to be done the lock is given back; otherwise M(haloops.halo.halo_credential) gives it back.
  - A task with O(store) connects by the host's variables C(halo_url), C(halo_client_id) and so on, or else by the
    environment, as all of the role does; the same options of the task do not count.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
options:
  bindings:
    description: What shall log in as whom.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the application, and the key in the store.
        type: str
        required: true
      kind:
        description: Whether an application or the Halo Integrator logs in.
        type: str
        choices: [application, integrator]
        default: application
      agent:
        description: The agent, by the options of M(haloops.halo.halo_api_agent).
        type: dict
        required: true
        suboptions:
          name:
            description: Name of the agent.
            type: str
            required: true
          email:
            description: Email address.
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
            description: Roles by name or id.
            type: list
            elements: str
          teams:
            description: Teams by name or id.
            type: list
            elements: str
          default_team:
            description: Default team by name or id.
            type: str
          append:
            description: Add the given roles and teams to those that the agent has.
            type: bool
            default: false
          allow_conversion:
            description: Allow to turn a human agent into an API-only one.
            type: bool
            default: false
          properties:
            description: Further fields of Halo's agent model.
            type: dict
      application:
        description: The application, by the options of M(haloops.halo.halo_application).
        type: dict
        suboptions:
          enabled:
            description: Whether it is active.
            type: bool
            default: true
          authentication_method:
            description: How programs log in.
            type: str
            choices: [client_credentials, authorization_code, implicit, password, api_key]
          scopes:
            description: The scopes granted.
            type: list
            elements: str
          redirect_uris:
            description: Where a login may return to.
            type: list
            elements: str
          logout_redirect_uris:
            description: Where a logout may return to.
            type: list
            elements: str
          cors_origins:
            description: Origins allowed to call from a browser.
            type: list
            elements: str
          properties:
            description: Further fields of Halo's application model.
            type: dict
      previous_agent:
        description: What becomes of the agent that it logged in as before, once the new login is proven.
        type: str
        choices: [keep, disable, delete]
        default: keep
      max_age_days:
        description: Make a new secret when the stored one is older than this many days.
        type: int
      on_rotated:
        description: File with tasks of the user's own for a new secret; only whether there is one matters here.
        type: path
      allow_self:
        description: Allow to change the login of what this very run logs in with. Such a binding comes last.
        type: bool
        default: false
      allow_system:
        description: Allow to change an application that one of Halo's own programs depends on.
        type: bool
        default: false
      allow_hosted:
        description: Allow a new secret although Halo hosts the Integrator.
        type: bool
        default: false
  stored:
    description:
      - The stored entries of the bindings, where O(store) is none of the built-in ones.
      - Where they are not given with such a store, the task is skipped.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the binding.
        type: str
        required: true
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
            description: Whether the tasks of O(bindings[].on_rotated) have yet to run.
            type: bool
          retire:
            description: Id of the previous agent, which has yet to be disabled or deleted.
            type: str
      origin:
        description: Whether the application was created for the binding or was there before (adopted).
        type: str
  store:
    description:
      - V(vault_file) and V(file) are read here, on the controller. Any other text means that O(stored) is given.
    type: str
  store_dir:
    description: Folder of a built-in store.
    type: path
  rotate:
    description: Whether new secrets are asked for.
    type: bool
    default: false
  verify:
    description: Whether to prove that each current secret logs in as the right agent.
    type: bool
    default: true
seealso:
  - module: haloops.halo.halo_credential
  - module: haloops.halo.halo_api_agent
  - module: haloops.halo.halo_application
  - module: haloops.halo.halo_integrator
"""

EXAMPLES = r"""
- name: What would have to be done
  haloops.halo.halo_binding:
    store: file
    store_dir: "{{ inventory_dir }}/halo_credentials"
    bindings:
      - name: Ticket integration
        agent: {name: api-tickets, roles: [API Integration]}
        application: {scopes: [read:tickets, edit:tickets]}
  check_mode: true
  register: outlook
"""

RETURN = r"""
bindings:
  description: Of each binding, by its name, the ids of agent and application and what became of the secret.
  returned: success
  type: dict
  sample:
    Ticket integration:
      kind: application
      agent_id: 31
      agent_name: api-tickets
      application_id: 6f1d2f0e-8a77-4f0c-9d53-0c7a52b4f1aa
      client_id: 0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11
      hosted: false
      changed: false
      rotated: false
      reason: none
      verified: true
      previous_agent_id: null
      previous_agent: null
      handover: null
instance:
  description: Address of the instance.
  returned: success
  type: str
rehearsal:
  description: Whether this was check mode, and nothing was changed.
  returned: success
  type: bool
login:
  description:
    - Where the run's own application is a binding and the given secret no longer logs in, C(name) of that binding and
      C(label) of the stored secret that was used instead. Null otherwise.
  returned: success
  type: dict
todo:
  description: What the role's other tasks have to do, in this order; empty when all is as it shall be.
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.haloops.halo.plugins.module_utils.binding import bindings
from ansible_collections.haloops.halo.plugins.module_utils.module import run_module


def main() -> None:
    run_module(bindings())


if __name__ == "__main__":
    main()
