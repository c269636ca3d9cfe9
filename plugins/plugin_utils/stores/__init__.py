# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the secrets of tenants are kept. A store is one file here, with a class ``Store``, and is found by its name.

A ``Store`` is made of a :class:`Place`, and is what the port ``Store`` of the rotation describes. It raises HaloError
at once where it can know that it will not work: nothing has been changed in Halo by then. Files whose name begins with
``_`` are no stores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ...module_utils.auth import address
from ...module_utils.errors import HaloError, one_line
from ...module_utils.options import complaints
from ...module_utils.rotation import Store
from ..action import plain
from ..compat import vault

DEFAULT_STORE = "vault_file"
DEFAULT_FOLDER = "halo_credentials"

# Options of tasks and lookups, and the variables of a host that stand in for them.
VARIABLES = {
    "store": "halo_integration_store",
    "store_dir": "halo_integration_store_dir",
    "store_options": "halo_integration_store_options",
    "store_key": "halo_integration_store_key",
    "halo_url": "halo_url",
    "halo_tenant": "halo_tenant",
}
ENVIRONMENT = {"halo_url": "HALO_URL", "halo_tenant": "HALO_TENANT"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one tenant's secrets are kept.

    :param instance: base URL of the Halo instance
    :param tenant: its tenant's name; None on premises
    :param folder: of the file stores, an absolute path; None where there is none
    :param options: of the store, by name
    :param vault: gives the run's Ansible Vault, or None
    :param key: stands for the tenant in the store, instead of its address and name
    """

    instance: str
    tenant: str | None = None
    folder: str | None = None
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)
    vault: t.Callable[[], t.Any] | None = dataclasses.field(default=None, repr=False)
    key: str | None = None

    @property
    def owner(self) -> str:
        """What stands for the tenant in the store."""
        return self.key or " ".join(filter(None, (self.instance, self.tenant)))


def store_names() -> list[str]:
    """The stores that there are."""
    files = (os.path.splitext(file) for file in os.listdir(os.path.dirname(__file__)))
    return sorted(name for name, suffix in files if suffix == ".py" and not name.startswith("_"))


def import_stores() -> None:
    """Import all of them: before Ansible forks, for it compiles what a worker imports anew for each tenant.

    The libraries of a store are imported where it is opened.
    """
    for name in store_names():
        # one that is broken is named where it is used
        with contextlib.suppress(Exception):
            importlib.import_module(f"{__name__}.{name}")


def store_class(name: str) -> t.Any:
    """The class of a store.

    :raises HaloError: there is none of that name
    """
    option = VARIABLES["store"]
    for complaint in complaints({option: {"type": "str", "choices": store_names()}}, {option: name}):
        raise HaloError(sentence(complaint), hint="Nothing was changed.")
    return importlib.import_module(f"{__name__}.{name}").Store


def open_store(name: str, place: Place) -> Store:
    """The store of a tenant.

    :raises HaloError: there is none of that name, or it cannot work
    """
    store: Store = store_class(name)(place)
    return store


def options_of(place: Place, spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of a store, in their types and with their defaults.

    :param spec: their argument specification
    :raises HaloError: names the one that is wrong, and the one that was probably meant
    """
    name = VARIABLES["store_options"]
    whole = {name: {"type": "dict", "options": spec}}
    checked = ArgumentSpecValidator(whole).validate({name: place.options})
    for complaint in [*complaints(whole, {name: place.options}), *checked.error_messages]:
        raise HaloError(sentence(complaint), instance=place.instance, hint="Nothing was changed.")
    options: dict[str, t.Any] = checked.validated_parameters[name]
    return options


def sentence(complaint: str) -> str:
    """A complaint about an option as a whole sentence."""
    return complaint if complaint.endswith(("?", ".")) else f"{complaint}."


def from_variables(
    variables: t.Mapping[str, t.Any], loader: t.Any, *, templar: t.Any, given: t.Mapping[str, t.Any]
) -> tuple[str, Place]:
    """A host's store and its place: from what is given, else the host's variables, else the environment.

    :param variables: of the host, templates and all
    :param given: options of a task or a lookup; what is empty counts as not given
    :raises HaloError: the address is missing or none; a folder is relative to nothing; a variable cannot be templated
    """

    def variable(name: str) -> t.Any:
        try:
            found = templar.template(variables[name]) if name in variables else None
            return None if found is None or found == variables.get("omit", "") else plain(found)
        except AnsibleError as error:
            raise HaloError(f"the variable {name} cannot be templated: {one_line(str(error))}") from None

    def value(option: str) -> t.Any:
        found = plain(given.get(option))
        if not _is_set(found):
            found = variable(VARIABLES[option])
        if not _is_set(found):
            found = os.environ.get(ENVIRONMENT.get(option, ""))
        return found if _is_set(found) else None

    def text(option: str) -> str | None:
        found = value(option)
        return None if found is None else str(found).strip()

    place = Place(
        instance=address("halo_url", text("halo_url")),
        tenant=text("halo_tenant"),
        folder=_folder(text("store_dir"), variable("inventory_dir")),
        options=value("store_options") or {},
        vault=lambda: vault(loader),
        key=text("store_key"),
    )
    return text("store") or DEFAULT_STORE, place


def _is_set(value: t.Any) -> bool:
    return value is not None and value != {} and str(value).strip() != ""


def _folder(folder: str | None, inventory: str | None) -> str | None:
    """The store's folder as an absolute path; None where none is given and there is no inventory to lie beside."""
    folder = os.path.expanduser(folder) if folder else None
    # for "-i host," Ansible says "None", as text
    if inventory and os.path.isabs(inventory):
        return os.path.abspath(os.path.join(inventory, folder or DEFAULT_FOLDER))
    if folder and not os.path.isabs(folder):
        raise HaloError(
            f"halo_integration_store_dir is relative ({folder}), and there is no inventory folder to start from.",
            hint="Nothing was changed. Give an absolute path, or an inventory file with -i.",
        )
    return folder
