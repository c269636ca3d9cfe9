# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory in ``examples``: what Ansible makes of it, in both of its forms."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.haloops.halo.plugins.module_utils.binding import BINDINGS
from ansible_collections.haloops.halo.plugins.module_utils.options import complaints
from ansible_collections.haloops.halo.plugins.module_utils.spec import fold
from ansible_collections.haloops.halo.plugins.plugin_utils.action import plain

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "inventory"
TENANTS = ["acme", "globex", "initech"]
CONNECTION = ("halo_url", "halo_tenant", "halo_client_id", "halo_ca_path")
EXTRA = "halo_integration_bindings_extra"
BINDINGS_OF_ALL = "halo_integration_bindings"

both = pytest.mark.parametrize("form", ["tenants.yml", "tenants.py"])


def variables(source: Path) -> dict[str, dict[str, Any]]:
    """What a task has of each tenant of an inventory: connection and bindings, as templates give them."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(source)])
    manager = VariableManager(loader=loader, inventory=inventory)
    found = {}
    for host in inventory.get_hosts("halo_tenants"):
        known = manager.get_vars(host=host)
        templar = Templar(loader=loader, variables=known)
        names = [name for name in (*CONNECTION, BINDINGS_OF_ALL, EXTRA) if name in known]
        found[host.name] = {name: plain(templar.template(known[name])) for name in names}
    return found


def with_rows(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    """The script with a CSV file of these rows beside it."""
    shutil.copy(EXAMPLE / "tenants.py", folder)
    with (folder / "tenants.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "url", "tenant", "client_id"), *rows])
    return folder / "tenants.py"


@both
def test_each_tenant_has_its_connection_and_its_ca(form: str) -> None:
    tenants = variables(EXAMPLE / form)
    assert list(tenants) == TENANTS
    for name in ("acme", "globex"):
        assert tenants[name]["halo_tenant"] == name
        assert "halo_ca_path" not in tenants[name]
    assert "halo_tenant" not in tenants["initech"]
    assert tenants["initech"]["halo_url"] == "https://halo.example.org/psa"
    assert tenants["initech"]["halo_ca_path"] == str(EXAMPLE / "initech_ca.pem")


@both
def test_the_bindings_are_those_of_the_group_and_those_of_the_tenant(form: str) -> None:
    tenants = variables(EXAMPLE / form)
    names = {}
    for tenant, found in tenants.items():
        bindings = [*found[BINDINGS_OF_ALL], *found.get(EXTRA, [])]
        given = {"bindings": bindings}
        assert complaints(BINDINGS.options, given) == []
        assert ArgumentSpecValidator(BINDINGS.options).validate(given).error_messages == []
        names[tenant] = [binding["name"] for binding in bindings]
        assert len({fold(name) for name in names[tenant]}) == len(bindings)
    everywhere = [binding["name"] for binding in tenants["acme"][BINDINGS_OF_ALL]]
    assert names == {"acme": everywhere, "globex": [*everywhere, "Customer sync"], "initech": everywhere}


def test_both_forms_are_one_inventory() -> None:
    assert variables(EXAMPLE / "tenants.yml") == variables(EXAMPLE / "tenants.py")


def test_the_script_in_the_documentation_is_that_of_the_example() -> None:
    code = (EXAMPLE / "tenants.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    page = EXAMPLE.parent.parent / "docs" / "docsite" / "rst" / "fleet.rst"
    assert "import csv" in code
    assert textwrap.indent(code, "    ") in page.read_text(encoding="utf-8")


def test_no_client_secret_is_in_the_example() -> None:
    texts = [path.read_text(encoding="utf-8") for path in EXAMPLE.rglob("*.*ml") if path.name != "vault.yml"]
    assert texts
    assert not [text for text in texts if "halo_client_secret" in text]


def test_text_in_the_csv_file_is_no_template(tmp_path: Path) -> None:
    made = tmp_path / "made"
    text = f"{{{{ lookup('pipe', 'touch {made}') }}}}"
    found = variables(with_rows(tmp_path, ("acme", f"https://{text}", text, "{% if true %}x{% endif %}{# #}")))
    assert found == {
        "acme": {"halo_url": f"https://{text}", "halo_tenant": text, "halo_client_id": "{% if true %}x{% endif %}{# #}"}
    }
    assert not made.exists()


@pytest.mark.parametrize(
    "names", [["{{ 1 }}"], ["../acme"], ["acme:22"], ["a,b"], ["acmé"], [""], ["acme\n"], ["acme", "acme"]]
)
def test_what_is_no_name_for_a_host_is_refused(names: list[str], tmp_path: Path) -> None:
    script = with_rows(tmp_path, *((name, "https://acme.example.com", "acme", "1") for name in names))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"tenants.csv: {names[-1]!r} is there twice, or is no name for a host" in done.stderr
