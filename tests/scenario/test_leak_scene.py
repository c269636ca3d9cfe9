# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All playbooks over tenants with faults: no secret in any place where a run can show or leave something.

What is found although it should not be is in no list here; what is documented is, each with its reason, and must still
be found. A secret that plays show on purpose must be found in every place, or a place was not looked at. Of the
callbacks of other collections, profile_tasks prints names and times alone; the one for JSON has a stand-in.
`--leaks whole` has every fault, every way of execution, and the runs of WHOLE.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import hvac
import pytest
from halo_sandbox.testing import Sandbox
from helpers.canaries import forms, leaks
from helpers.store_servers import openbao
from leak_scene import CASES, CORE, FAULTS, GOOD, NOT_HERE, ORDER, PLANTED, PLAYBOOKS, STORE_TOKEN, TOKEN, Scene

# runner makes a terminal for each job, beside the threads of these tests
pytestmark = pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")
long = pytest.mark.skipif("config.getoption('--leaks') != 'whole'", reason="make leaks runs it")
DEBUG = {"ANSIBLE_DEBUG": "1"}
YAML = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
JSON = {"ANSIBLE_STDOUT_CALLBACK": "results_as_json"}


@dataclasses.dataclass(frozen=True)
class Known:
    """What is found, and documented.

    :param place: a regular expression for where
    :param secrets: another, for what the secret is
    :param reason: why it is so, as SECURITY.md says
    :param when: a setting that it takes
    """

    place: str
    secrets: str
    reason: str
    when: str = ""


KNOWN = (
    Known("environ", "own secret of acme", "the user puts it into the environment, in which the run is started"),
    Known("job/env/envvars|job/artifacts/17/command", "own secret of acme", "runner writes it down", "JOB"),
    Known("environ|job/env/envvars|job/artifacts/17/command", "store token", "so is the token of the store", "STORE"),
    Known("hostvars", "own secret of (?!acme).*|adopted|new", "the inventory gives them to the hosts", "HOSTVARS"),
    Known("hostvars", "made .*", "a new secret of the run's own login becomes the host's variable", "HOSTVARS"),
    Known(
        "stdout|log|job/artifacts/17/(stdout|job_events/.*)",
        "own secret of modules|new|made .*",
        "ANSIBLE_DEBUG prints the arguments of modules that run in a process of their own, on_rotated's included",
        "DEBUG",
    ),
    Known(
        "(name )?remote/.*AnsiballZ_halo_application.py",
        "own secret of modules|new",
        "without pipelining a module's arguments lie in a file while it runs, which a kill leaves behind",
        "KILLED MODULE",
    ),
)
PLACES = {
    "standard output": "stdout|job/artifacts/17/stdout",
    "standard error": "stderr|job/artifacts/17/stdout",
    "log": "log",
    "fact cache": "facts/.*",
    "variables": "hostvars",
    "retry file": "retry/.*",
    "retry file of the report": r"reports/provision\.retry",
    "temporary folder": "tmp/.*",
    "local temporary folder": "local/.*",
    "remote temporary folder": "remote/.*",
    "arguments of processes": "cmdline",
    "environment of processes": "environ",
    "page": r"reports/provision\.html",
    "JSON": r"reports/provision\.json",
    "JUnit": r"reports/provision\.xml",
    "textfile": r"reports/provision\.prom",
    "merged report": r"reports/report_merge\.html",
    "audit trail": "trail",
    "callback that dumps all": "dump",
    "callback junit": "junit/.*",
}
# runner has a fact cache of its own, and no retry files
OF_JOBS = {
    **{name: path for name, path in PLACES.items() if name != "retry file"},
    "fact cache": "job/artifacts/17/fact_cache/.*",
    "events of runner": "job/artifacts/17/job_events/.*",
}


def examine(scene: Scene, expected: Mapping[str, str], *conditions: str) -> None:
    """See that each place was looked at, and that nothing is found but what is known.

    :param expected: the places where what was planted must be found
    :param conditions: for what is known only under one
    """
    assert not (scene.home / "evaluated").exists(), "what Halo said was taken for a template"
    searched = scene.searched()
    planted = {line.rpartition(") in ")[2] for line in leaks(searched, [PLANTED])}
    blind = [place for place, path in expected.items() if not any(re.fullmatch(path, where) for where in planted)]
    assert not blind, f"nothing is found in {blind}, only in {sorted(planted)}"
    unknown, met = [], set()
    secrets = scene.secrets()
    assert "made 0" in secrets or "KILLED MODULE" in conditions or not expected
    for what, secret in secrets.items():
        core = CORE.search(secret)
        for line in leaks(searched, [secret, *([core[0]] if core else [])]):
            where = line.rpartition(") in ")[2]
            reasons = [
                known
                for known in KNOWN
                if re.fullmatch(known.place, where) and re.fullmatch(known.secrets, what)
                if not known.when or known.when in conditions
            ]
            met.update(reasons)
            if not reasons:
                unknown.append(f"{what}: {line}")
    assert not unknown, "\n".join(unknown)
    gone = [known for known in KNOWN if known not in met and (not known.when or known.when in conditions)]
    assert not gone, f"documented, and not found any more: {gone}"


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(tenants=len(GOOD) + len(FAULTS)) as sandbox:
        yield sandbox


def test_every_playbook_is_in_the_suite() -> None:
    files = {path.stem for path in PLAYBOOKS.glob("*.yml")}
    assert files == set(CASES) | set(NOT_HERE), "a playbook has no case in leak_scene.py, or a case no playbook"
    assert set(ORDER) == set(CASES) | {"rollback"}


def test_every_form_of_a_secret_is_found() -> None:
    for form, view in forms(TOKEN).items():
        for text in (view, view.upper(), view.lower()):
            assert leaks([("x", f"before{text}after")], [TOKEN]), form
    assert not leaks([("x", TOKEN[:-1])], [TOKEN])


SOME = {
    "good": ("acme", "initech", "modules"),
    "faults": ("403", "500 with all that was sent, in other letters", "invalid JSON with all that was sent"),
    "ways": ("elsewhere",),
}


def test_nothing_leaks_from_any_playbook(sandbox: Sandbox, folder: Path) -> None:
    scene = Scene(sandbox, folder, YAML, **SOME)
    # a rollback is a rotation to a secret that is known
    scene.run(scene.whole(tuple(name for name in ORDER if name != "rollback")))
    examine(scene, PLACES, "HOSTVARS")
    page = (scene.home / "reports" / "provision.json").read_text()
    assert page.count("lookup('pipe'") >= 2, "neither drift nor an error holds what Halo said"
    assert page.count("********") >= 2, "no error holds what Halo repeated"


@pytest.mark.parametrize("action", ["provision", pytest.param("rotate", marks=long)])
def test_nothing_leaks_from_a_run_that_is_killed_and_the_next(sandbox: Sandbox, folder: Path, action: str) -> None:
    scene = Scene(sandbox, folder, {**DEBUG, **JSON}, good=("acme", "initech", "modules"), faults=(), ways=())
    tenant = scene.tenants["initech"]
    plays = [scene.planted(), *scene.plays((action,))]
    if action == "rotate":
        scene.run(scene.plays(("provision",)), "--limit", tenant)
    # the secret is stored and sent, and the answer is on its way
    sandbox.fault("delay_after", tenant=tenant, method="POST", path="^/api/application", seconds=60)
    since = len(sandbox.writes(tenant))
    with scene.started(plays, "--limit", f"{tenant},localhost"):
        scene.wait(lambda: any(one["path"] == "/api/Application" for one in sandbox.writes(tenant)[since:]))
        scene.kill()
    sandbox.control("DELETE", "faults")
    shown = {name: PLACES[name] for name in ("standard output", "log", "callback that dumps all")}
    examine(scene, shown | {"temporary folder": PLACES["temporary folder"]})
    assert list(scene.home.glob("local/*/halo-token-*")), "the tokens of the run lie where it was killed"
    assert scene.run(plays, "--limit", f"{tenant},localhost") == 0
    examine(scene, shown)


@dataclasses.dataclass(frozen=True)
class How:
    """A whole run.

    :param settings: environment variables
    :param conditions: what is known under them
    """

    settings: Mapping[str, str]
    conditions: tuple[str, ...] = ()
    store: str = ""


WHOLE = {
    "runner, debug": How(DEBUG, ("JOB", "DEBUG")),
    "yaml, debug": How({**DEBUG, **YAML}, ("DEBUG",)),
    "json, files for modules": How({**JSON, "ANSIBLE_PIPELINING": "0", "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1"}),
    "minimal": How({"ANSIBLE_STDOUT_CALLBACK": "minimal"}),
    "oneline": How({"ANSIBLE_STDOUT_CALLBACK": "oneline"}),
    "hashi_vault": How({"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}, ("STORE",), "hashi_vault"),
    "runner, hashi_vault": How({}, ("JOB", "STORE"), "hashi_vault"),
}


@long
@pytest.mark.parametrize("how", WHOLE.values(), ids=WHOLE)
def test_nothing_leaks_at_all(sandbox: Sandbox, folder: Path, how: How) -> None:
    with in_bao(folder) if how.store else contextlib.nullcontext({}) as environment:
        variables = {"halo_integration_store": how.store} if how.store else {}
        scene = Scene(sandbox, folder, {**how.settings, **environment}, variables=variables)
        if "JOB" in how.conditions:
            assert scene.job(scene.whole()) == "failed"
        else:
            scene.run(scene.whole())
    examine(scene, OF_JOBS if "JOB" in how.conditions else PLACES, "HOSTVARS", *how.conditions)


@long
def test_a_module_that_is_killed_leaves_its_arguments_without_pipelining_alone(sandbox: Sandbox, folder: Path) -> None:
    for number, (pipelining, conditions) in enumerate((("1", ()), ("0", ("KILLED MODULE",)))):
        sandbox.reset()
        some = {"good": ("acme", "initech", "modules"), "faults": (), "ways": ("elsewhere",)}
        scene = Scene(sandbox, folder / str(number), {"ANSIBLE_PIPELINING": pipelining}, **some)
        tenant = scene.tenants["modules"]
        sandbox.fault("delay_after", tenant=tenant, method="POST", path="^/api/application", seconds=60)
        with scene.started([scene.modules()]):
            scene.wait(lambda: bool(sandbox.writes(tenant)))  # noqa: B023
            scene.kill()
        examine(scene, {}, *conditions)


@contextlib.contextmanager
def in_bao(folder: Path) -> Iterator[dict[str, str]]:
    """OpenBao with a token of odd characters, and the environment of what uses it."""
    (folder / "bao").mkdir()
    with openbao(folder / "bao") as server:
        hvac.Client(url=server.url, token="root").auth.token.create(id=STORE_TOKEN, policies=["root"])
        yield {"VAULT_ADDR": server.url, "VAULT_TOKEN": STORE_TOKEN}
