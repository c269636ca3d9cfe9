# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_application
short_description: Manage API applications and their client secrets
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Creates, changes and removes API applications of HaloPSA, HaloITSM and HaloCRM.
  - When the agent that an application logs in as changes, its client secret must be made anew or the application fails.
    This module sends both in one request.
  - A result that holds a client secret is hidden from all output; a registered variable still has it.
  - Applications are matched by their exact name, in any letter case; two of one name are an error that gives their ids.
    Only the options that are set are compared and sent.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
  - haloops.halo.rotation
options:
  name:
    description:
      - Name of the application, at most 255 characters. With O(application_id) it is the name that it shall have.
      - Either this or O(application_id) is needed.
    type: str
  application_id:
    description: Id of an application that exists, to choose between two of one name or to rename one.
    type: str
  cached_id:
    description:
      - The id that the application O(name) had when it was last seen, for where Halo's list does not show it yet after
        it was made. An id that is gone, or belongs to another name by now, is ignored.
    type: str
  state:
    description: Whether the application shall exist.
    type: str
    choices: [present, absent]
    default: present
  enabled:
    description: Whether the application is active.
    type: bool
    default: true
  authentication_method:
    description:
      - How programs log in. V(client_credentials) is Halo's "Client ID and Secret (Services)".
      - A new application gets V(client_credentials). No secret is made for V(implicit) and V(api_key) unless
        O(regenerate_secret) is V(always).
    type: str
    choices: [client_credentials, authorization_code, implicit, password, api_key]
  login_type:
    description:
      - Whether the application logs in as an agent or as a user. V(agent) for a new one and with O(login_agent).
    type: str
    choices: [agent, user]
  scopes:
    description:
      - The scopes granted, as in V(read:tickets), one in each item; the list is exact.
      - A login with an application that has none opens nothing, so creating one without draws a warning.
      - Halo says not to use V(all), V(all:teams) and V(admin) in production, so granting one draws a warning.
    type: list
    elements: str
  redirect_uris:
    description: Where a login may return to; the list is exact.
    type: list
    elements: str
  logout_redirect_uris:
    description: Where a logout may return to; the list is exact.
    type: list
    elements: str
  cors_origins:
    description: Origins allowed to call from a browser; the list is exact.
    type: list
    elements: str
  allow_system:
    description: Allow to change an application that one of Halo's own programs depends on.
    type: bool
    default: false
  properties:
    description:
      - Further fields of Halo's application model that this module does not know, by Halo's names. They are compared
        and sent as they are, and must not hold secrets.
    type: dict
notes:
  - With C(async) a task that may set a secret is refused, since its result would be written to disk.
  - Halo publishes no raw values for the authentication method and the login type. The ones that clients use are
    accepted and sent; the playbook C(haloops.halo.provision) against a trial instance shows whether they hold.
seealso:
  - module: haloops.halo.halo_application_info
  - module: haloops.halo.halo_api_agent
  - module: haloops.halo.halo_login_info
  - plugin: haloops.halo.new_client_secret
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: An application that logs in as an API-only agent
  haloops.halo.halo_application:
    halo_url: https://acme.halopsa.com
    halo_tenant: acme
    halo_client_id: "{{ automation_client_id }}"
    halo_client_secret: "{{ automation_client_secret }}"
    name: Ticket integration
    login_agent: api-tickets
    scopes: [read:tickets, edit:tickets]
  register: ticket_integration

- name: Keep its secret when there is a new one
  ansible.builtin.copy:
    content: "{{ ticket_integration.client_secret }}"
    dest: "{{ playbook_dir }}/ticket_integration.secret"
    mode: "0600"
  no_log: true
  when: ticket_integration.client_secret is defined

- name: A new secret now
  haloops.halo.halo_application:
    name: Ticket integration
    regenerate_secret: always
    new_client_secret: "{{ stored_client_secret }}"
"""

RETURN = r"""
application:
  description: The application as it is now, or, in check mode, would be. Null when it is absent.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; null for one that check mode would create.
      type: str
    name:
      description: Its name.
      type: str
    client_id:
      description: Its client ID; null for one that check mode would create.
      type: str
    enabled:
      description: Whether it is active.
      type: bool
    authentication_method:
      description: How programs log in; Halo's own word where it is none of the choices.
      type: str
    login_type:
      description: V(agent) or V(user).
      type: str
    login_agent:
      description: The agent that it logs in as, by C(id) and C(name).
      type: dict
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
    system:
      description: Whether one of Halo's own programs depends on it.
      type: bool
  sample:
    id: 6f1d2f0e-8a77-4f0c-9d53-0c7a52b4f1aa
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
      description: V(created), V(agent_changed), V(login_type_changed), V(requested) or V(none).
      type: str
    previous_agent_id:
      description: Id of the agent that it logged in as before a change of agent.
      type: int
  sample: {required: true, performed: true, reason: agent_changed, previous_agent_id: 12}
client_secret:
  description: The new client secret. Halo shows it never again.
  returned: when the module or the server made it
  type: str
error:
  description: What Halo answered to the request that failed.
  returned: failure, when a request failed
  type: dict
  sample: {method: POST, path: /Application, status: 400, answer: "Invalid scope", hint: null}
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.application import APPLICATION
from ansible_collections.haloops.halo.plugins.module_utils.run import manage


def main() -> None:
    run_module(manage(APPLICATION))


if __name__ == "__main__":
    main()
