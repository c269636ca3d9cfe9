# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""controller_setup with the real modules of awx.awx, against a stand-in for Controller's API.

`make controller` brings awx.awx and runs this: each of these runs starts some fifty modules.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import awx

ROOT = Path(__file__).resolve().parent.parent.parent
AWX = ROOT / ".build" / "awx"
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
SECRET, OTHER_SECRET, VAULT_PASSWORD = "5ecret/of+Acme-%7B", "an0ther", "open sesame"
VARIABLES = {
    "halo_controller_scm_url": "https://git.example.com/halo.git",
    "halo_controller_image": "registry.example.com/halo:1",
    "halo_controller_credentials": [
        {
            "name": "Acme",
            "credential_type": "Halo instance",
            "inputs": {"url": "https://acme.example.com", "client_id": "an ID", "client_secret": SECRET},
        },
        {"name": "Secrets", "credential_type": "Vault", "inputs": {"vault_password": VAULT_PASSWORD}},
    ],
}


@dataclasses.dataclass
class Run:
    status: int
    stdout: str
    stderr: str

    @property
    def changed(self) -> int:
        found = re.search(r"changed=(\d+)", self.stdout)
        assert found, self.stdout + self.stderr
        return int(found[1])


@pytest.fixture(scope="module")
def api() -> Iterator[awx.Awx]:
    with awx.running([path.name for path in (ROOT / "examples" / "controller_project").glob("*.yml")]) as found:
        yield found


def setup(api: awx.Awx, folder: Path, *, collections: Path = AWX, **variables: Any) -> Run:
    (folder / "setup.json").write_text(json.dumps({**VARIABLES, **variables}))
    done = subprocess.run(
        [str(PLAYBOOK), "haloops.halo.controller_setup", "-i", "localhost,", "-e", f"@{folder}/setup.json", "-v"],
        env={
            "PATH": f"{PLAYBOOK.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}{os.pathsep}{collections}",
            "ANSIBLE_NOCOLOR": "1",
            # those of awx.awx itself
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            "CONTROLLER_HOST": api.url,
            "CONTROLLER_OAUTH_TOKEN": awx.TOKEN,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    for secret in (SECRET, OTHER_SECRET, VAULT_PASSWORD, awx.TOKEN):
        assert secret not in done.stdout + done.stderr
    # it says so where secrets are sent again
    assert not re.sub(r"\[WARNING\]: The field inputs of credential \d+ has encrypted data.*\n", "", done.stderr)
    return Run(done.returncode, done.stdout, done.stderr)


def test_it_loads_everything_once_puts_it_right_and_takes_all_of_it_away_again(api: awx.Awx, tmp_path: Path) -> None:
    first = setup(api, tmp_path)
    assert first.status == 0, first.stdout + first.stderr
    loaded = api.objects()
    counts = {endpoint: len(rows) - len(api.at_first.get(endpoint, [])) for endpoint, rows in loaded.items()}
    assert {endpoint: count for endpoint, count in counts.items() if count} == {
        "labels": 1,
        "credential_types": 4,
        "credentials": 2,
        "execution_environments": 1,
        "projects": 1,
        "inventories": 1,
        "inventory_sources": 1,
        "job_templates": 7,
        "workflow_job_templates": 1,
        "workflow_job_template_nodes": 3,
        "workflow_approval_templates": 1,
        "schedules": 2,
    }
    template = api.named("job_templates", "Halo rotate")
    assert (template["credentials"], template["labels"]) == (["Acme", "Secrets"], ["halo"])
    assert [question["variable"] for question in template["survey_spec"]["spec"]] == ["halo_serial", "halo_max_failed"]
    injectors = api.named("credential_types", "Halo instance")["injectors"]["env"]
    assert injectors["HALO_VALIDATE_CERTS"] == "{{ 'false' if skip_tls_verify == 'True' else 'true' }}"
    assert api.named("workflow_job_template_nodes", "audit")["failure_nodes"] == ["approve"]
    assert api.named("workflow_job_template_nodes", "approve")["success_nodes"] == ["rotate"]
    assert api.named("workflow_job_template_nodes", "rotate")["success_nodes"] == []
    assert api.named("workflow_approval_templates", "Halo rotate after drift")["timeout"] == 86400

    again = setup(api, tmp_path)
    assert (again.status, again.changed) == (0, 0), again.stdout
    assert api.objects() == loaded

    # what someone changed is put right; a secret is sent again only where that is asked for
    credentials = json.loads(json.dumps(VARIABLES["halo_controller_credentials"]))
    api.rows("job_templates")["Halo rotate"].update(ask_variables_on_launch=True, allow_simultaneous=True)
    api.rows("workflow_approval_templates")["Halo rotate after drift"]["timeout"] = 0
    credentials[0]["inputs"]["client_secret"] = OTHER_SECRET
    kept = setup(api, tmp_path, halo_controller_credentials=credentials)
    assert kept.changed == 2, kept.stdout
    assert api.objects() == loaded
    setup(api, tmp_path, halo_controller_credentials=credentials, halo_controller_update_secrets=True)
    assert api.named("credentials", "Acme")["inputs"]["client_secret"] == OTHER_SECRET

    gone = setup(api, tmp_path, halo_controller_state="absent")
    assert gone.status == 0, gone.stdout + gone.stderr
    assert api.objects() == api.at_first
    still = setup(api, tmp_path, halo_controller_state="absent")
    assert (still.status, still.changed) == (0, 0), still.stdout


def test_it_says_what_is_missing(api: awx.Awx, tmp_path: Path) -> None:
    before = api.objects()
    bare = setup(api, tmp_path, collections=tmp_path / "none")
    assert bare.status == 2
    assert "ansible-galaxy collection install awx.awx" in bare.stdout
    unknown = setup(api, tmp_path, halo_controller_scm_url="")
    assert unknown.status == 2
    assert "Set halo_controller_scm_url" in unknown.stdout
    assert api.objects() == before


def test_the_excerpt_of_its_options_is_what_awx_awx_has() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "awx.py"), "specs"], capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "tests" / "unit" / "data" / "awx_options.json").read_text()
