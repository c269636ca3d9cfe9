# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the connection to Halo comes from: the task's option, the host's variable of the same name, the environment."""

from __future__ import annotations

import typing as t

from ..module_utils.spec import CONNECTION

Values = t.Mapping[str, t.Any]


def connection_arguments(options: Values, variables: Values, template: t.Callable[[t.Any], t.Any]) -> dict[str, t.Any]:
    """The connection options that are set, in a task or on its host; the environment is left to the validation.

    An empty value counts as not set, wherever it stands. A host's access token is not taken where the task names the
    application to log in as: the token would win.

    :param options: of the task, templated
    :param variables: of the host; what is needed is templated, and nothing else, for each template costs
    :raises AnsibleError: a variable cannot be templated
    """

    def is_set(value: t.Any) -> bool:
        # before core 2.19 what is omitted is a text, which the variable of that name holds
        return value is not None and value != "" and value != variables.get("omit", "")

    found = {name: options[name] for name in CONNECTION if is_set(options.get(name))}
    aside = {"halo_access_token"} if found.keys() & {"halo_client_id", "halo_client_secret"} else set()
    names = [name for name in CONNECTION if name in variables and name not in found and name not in aside]
    # as a dictionary: a value that is omitted drops out of it, where it would be an error by itself
    others = template({name: variables[name] for name in names}) if names else {}
    return {**found, **{name: value for name, value in others.items() if is_set(value)}}
