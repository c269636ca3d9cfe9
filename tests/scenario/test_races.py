# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers, each with a host name and a process namespace of its own, at one tenant in one store.

``--races N`` says how often with each store: half of the times at a tenant that nobody has provisioned yet, half at a
rotation. ``--store`` picks one.
"""

from __future__ import annotations

import random
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from helpers.controller import Controller
from role_runner import NAME, Fleet, Tenant, leaks

UNSHARE = ["unshare", "--uts", "--pid", "--fork", "--mount-proc"]
STORES = ("aws_secrets_manager", "hashi_vault", "file")
BATCH = 100


def on_a_host(name: str) -> list[str]:
    return [*UNSHARE, "sh", "-c", f'hostname {name}; exec "$@"', "sh"]


@pytest.fixture(scope="module")
def controllers() -> Iterator[tuple[Controller, Controller]]:
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespaces of its own: {tried.stderr.strip()}")
    with Controller(on_a_host("one")) as one, Controller(on_a_host("two")) as two:
        yield one, two


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "races" in metafunc.fixturenames:
        races = metafunc.config.getoption("races")
        chosen = metafunc.config.getoption("store") or STORES
        metafunc.parametrize("title", [pytest.param(title, id=f"on-{title}") for title in STORES if title in chosen])
        batches = [min(BATCH, races - done) for done in range(0, races, BATCH)]
        metafunc.parametrize(("number", "races"), list(enumerate(batches)))


def race(tenant: Tenant, controllers: tuple[Controller, Controller], offset: float) -> str:
    """Both run at once, or the second a little later; how it ended."""
    since = len(tenant.sandbox.requests(tenant.name))
    start = time.time() + 0.02
    for controller, at in zip(controllers, (start, start + offset), strict=True):
        controller.start(
            {"bindings": tenant.bindings}, tenant.variables, tenant.inventory, environment=tenant.environment, at=at
        )
    results = [controller.finish() or {} for controller in controllers]
    tenant.look_again()
    busy = [result for result in results if result.get("failed")]
    done = [result for result in results if not result.get("failed")]
    for result in busy:
        # in the instant after the lock was taken it does not say yet who has it
        who = r"( is at work on this tenant( \(process \d+ on (one|two), since .* UTC\))?| took this tenant just now)"
        assert re.search(rf"another run{who}\. Nothing was changed", result["msg"]), result
        assert "bindings" not in result
    assert len(done) in (1, 2), results
    assert [result["bindings"][NAME]["rotated"] for result in done].count(True) == 1, results
    # of all that was written, nothing was written twice
    writes = [one["path"] for one in tenant.sandbox.requests(tenant.name)[since:] if one["method"] != "GET"]
    posts = [path for path in writes if path.startswith("/api/")]
    agent = tenant.bindings[0]["agent"]["name"]
    assert sorted(posts) == ["/api/Agent", "/api/Application"], posts
    assert (len(tenant.agents(agent)), len(tenant.applications(NAME))) == (1, 1)
    assert tenant.proven()
    assert tenant.entry()["pending"] is None
    tenant.learn()
    assert not leaks([tenant], {"the results": repr(results).encode()})
    return "one stopped" if busy else "one after the other"


def test_one_works_and_the_other_stops_before_it_changes_anything(
    title: str,
    number: int,
    races: int,
    servers: Any,
    controllers: tuple[Controller, Controller],
    record_property: Callable[[str, object], None],
) -> None:
    chance = random.Random(number)
    endings: list[str] = []
    tenants = -(-races // 2)
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=tenants) as sandbox:
        fleet = Fleet(sandbox, Path(folder))
        for _unused in range(tenants):
            tenant = fleet.tenant()
            where = servers.where(title, tenant.inventory / "halo_credentials_kept")
            tenant.move(where.store, where.options, where.environment)
            for attempt, agent in enumerate(("api-ansible", "api-successor"), 1):
                tenant.bind(agent)
                endings.append(race(tenant, controllers, chance.choice((0.0, 0.0, chance.uniform(0, 0.1)))))
                assert tenant.entry()["attempt"] == attempt
    record_property("races", {ending: endings.count(ending) for ending in endings})
    # else nothing raced
    assert "one stopped" in endings
