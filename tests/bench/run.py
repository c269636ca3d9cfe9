# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark: what the role costs, beside the same with other means, and how that grows.

Prints a table with the targets beside the figures, and writes all of it as JSON with ``--json``. The exit status says
whether everything ran and did what it should, not whether it was fast.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import measure
from fleet import HERE, Fleet, Sample, WrongResult
from halo_sandbox.testing import Sandbox

PROVISION = "haloops.halo.provision"
NEXT_AGENT = "api-next"
# these take minutes, and most of what is said of them are requests and wall time
ONCE = ("latency",)
PARTS = ("first", "converged", "mitogen", "rotation", "stores", "forks", "latency", "growth")
STORES = ("vault_file", "file", "hashi_vault", "aws_secrets_manager", "pass", "sops")
NOT_IN_PROCESS = {"HALO_IN_PROCESS": "false"}
ROLE, URI = "the role", "the same with uri"
DEBUG = ("1 debug task", "9 debug tasks")


@dataclasses.dataclass(frozen=True)
class Row:
    """What was run, as the median of its samples. CPU and wall in seconds, peak in KiB, requests for each tenant."""

    part: str
    name: str
    tenants: int
    forks: int
    cpu: float
    wall: float
    peak: int
    requests: dict[str, float]
    log: list[str]
    samples: list[dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """What comes of the rows, and what it should be; ``target`` begins with ``<=`` or ``>=``, or is empty."""

    part: str
    name: str
    value: float
    unit: str
    target: str = ""

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        relation, limit = self.target.split()
        met = self.value <= float(limit) if relation == "<=" else self.value >= float(limit)
        return "met" if met else "MISSED"


class Bench:
    def __init__(self, fleet: Fleet, options: argparse.Namespace) -> None:
        self.fleet = fleet
        self.options = options
        self.tenants: int = options.tenants
        self.rows: list[Row] = []
        self.figures: list[Figure] = []
        self._provisioned = 0
        self._round = 0

    # What can be run

    def role(self, **how: t.Any) -> Sample:
        return self.fleet.play(PROVISION, **{"tenants": self.tenants, "changes": False, **how})

    def uri(self, **how: t.Any) -> Sample:
        return self.fleet.play(str(HERE / "uri.yml"), **{"tenants": self.tenants, "changes": False, **how})

    def before(self, **how: t.Any) -> Sample:
        """The role of the checkout that this one is compared with, over tenants of its own."""
        return self.fleet.play(PROVISION, **{"tenants": self.tenants, "changes": False, "before": True, **how})

    def debug(self, count: int, **how: t.Any) -> Sample:
        """A play of so many bare debug tasks."""
        path = self.fleet.folder / f"debug-{count}.yml"
        task = "    - ansible.builtin.debug:\n        msg: nothing\n"
        path.write_text(f"- hosts: halo_tenants\n  connection: local\n  gather_facts: false\n  tasks:\n{task * count}")
        return self.fleet.play(str(path), **{"tenants": self.tenants, "changes": False, **how})

    def login(self, **how: t.Any) -> Sample:
        """A play of one task of the collection, a token and a read."""
        return self.fleet.play(str(HERE / "login.yml"), **{"tenants": self.tenants, "changes": False, **how})

    # The parts

    def provision(self, tenants: int) -> None:
        """Bring the first so many tenants to the state in which there is nothing left to do."""
        if self._provisioned < tenants:
            note(f"provisioning {tenants} tenants")
            self.role(tenants=tenants, changes=None)
            if self.fleet.has_before:
                self.before(changes=None)
            self._provisioned = tenants

    def first(self) -> None:
        def run(play: t.Callable[..., Sample]) -> t.Callable[[], Sample]:
            def from_nothing() -> Sample:
                self.fleet.forget()
                return play(changes=True)

            return from_nothing

        ways = {"first provisioning": run(self.role), **self.debugs()}
        if self.fleet.has_before:
            # in front, for each begins with forgetting all tenants
            ways = {"before: first provisioning": run(self.before), **ways}
        rows = self.compare("first", ways)
        self._provisioned = 0 if self.fleet.has_before else self.tenants
        self.in_debug_tasks("first", rows, "first provisioning", "<= 5")
        self.figure("first", "requests per tenant", rows["first provisioning"].requests["total"], "", "<= 9")

    def converged(self) -> None:
        ways: dict[str, t.Callable[[], Sample]] = {
            ROLE: self.role,
            URI: self.uri,
            **self.debugs(),
            "1 halo_login_info task": self.login,
            "1 halo_login_info task, not in-process": lambda: self.login(env=NOT_IN_PROCESS),
        }
        if self.fleet.has_before:
            ways[f"before: {ROLE}"] = self.before
        rows = self.compare("converged", ways)
        role, uri = rows[ROLE], rows[URI]
        self.figure("converged", "CPU of uri / of the role", uri.cpu / role.cpu, "times", ">= 48")
        self.figure("converged", "wall time of uri / of the role", uri.wall / role.wall, "times")
        here, out = rows["1 halo_login_info task"], rows["1 halo_login_info task, not in-process"]
        self.figure("converged", "CPU of one task not in-process / in-process", out.cpu / here.cpu, "times")
        self.figure("converged", "CPU per tenant", 1000 * role.cpu / role.tenants, "ms")
        self.in_debug_tasks("converged", rows, ROLE, "<= 2.0")
        self.figure("converged", "requests per tenant", role.requests["total"], "", "<= 5")

    def mitogen(self) -> None:
        """The same with mitogen's linear strategy."""
        folder = self.fleet.folder / "mitogen"
        pip = [sys.executable, "-m", "pip", "install", "--target", str(folder), "mitogen"]
        if subprocess.run(pip, check=False, capture_output=True).returncode:
            note("mitogen cannot be installed: left out")
            return
        env = {
            "PYTHONPATH": str(folder),
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "ANSIBLE_STRATEGY_PLUGINS": str(folder / "ansible_mitogen/plugins/strategy"),
        }
        role, uri, _own = self.measure(
            "mitogen",
            {
                ROLE: self.role,
                f"{URI}, mitogen": lambda: self.uri(env=env),
                f"{ROLE}, mitogen": lambda: self.role(env=env),
            },
        )
        self.figure("mitogen", "CPU of uri with mitogen / of the role", uri.cpu / role.cpu, "times")
        self.figure("mitogen", "wall time of uri with mitogen / of the role", uri.wall / role.wall, "times")

    def rotation(self) -> None:
        asked_for = ["-e", "halo_integration_rotate=true"]
        kinds: dict[str, tuple[dict[str, t.Any], str]] = {
            "rotation, to a new agent": ({"agent": NEXT_AGENT}, "<= 9"),
            "rotation, to an agent that is there": ({}, "<= 7"),
            "rotation, asked for": ({"args": asked_for}, "<= 6"),
        }
        ways: dict[str, t.Callable[[], Sample]] = dict(self.debugs())
        for name, (how, _target) in kinds.items():
            ways[name] = lambda how=how: self.role(changes=True, **self.renewed(how))
            if self.fleet.has_before:
                ways[f"before: {name}"] = lambda how=how: self.before(changes=True, **self.renewed(how))
        rows = self.compare("rotation", ways)
        for name, (_how, target) in kinds.items():
            self.in_debug_tasks("rotation", rows, name, "<= 5")
            self.figure("rotation", f"{name}: requests per tenant", rows[name].requests["total"], "", target)

    def renewed(self, how: dict[str, t.Any]) -> dict[str, t.Any]:
        """The same with an agent that no earlier round has made."""
        if "agent" not in how:
            return how
        self._round += 1
        return {**how, "agent": f"{how['agent']}-{self._round}"}

    def debugs(self) -> dict[str, t.Callable[[], Sample]]:
        return {DEBUG[0]: lambda: self.debug(1), DEBUG[1]: lambda: self.debug(9)}

    def in_debug_tasks(self, part: str, rows: t.Mapping[str, Row], name: str, target: str) -> None:
        """What a tenant costs, its share of the start of Ansible included, in bare debug tasks of the same run."""
        task = (rows[DEBUG[1]].cpu - rows[DEBUG[0]].cpu) / 8
        self.figure(part, "CPU of one debug task on one host", 1000 * task / self.tenants, "ms")
        self.figure(part, f"{name}: CPU per tenant, in debug tasks", rows[name].cpu / task, "tasks", target)
        old = rows.get(f"before: {name}")
        if old:
            self.figure(part, f"before: {name}: CPU per tenant, in debug tasks", old.cpu / task, "tasks")
            self.figure(part, f"before: {name}: requests per tenant", old.requests["total"], "")

    def stores(self) -> None:
        """A small converged fleet with each store; what a server does for it is not counted."""
        sys.path.insert(0, str(HERE.parent))
        from helpers.store_kits import Servers

        count = min(self.options.stores_tenants, self.tenants)
        with Servers() as servers:
            ways: dict[str, t.Callable[[], Sample]] = {
                DEBUG[0]: lambda: self.debug(1, tenants=count),
                DEBUG[1]: lambda: self.debug(9, tenants=count),
            }
            for title in STORES:
                where = servers.where(title, self.fleet.folder / "stores" / title)
                variables = dict(where.variables)
                if title != STORES[0]:
                    variables["halo_integration_store_dir"] = f"halo_credentials_{title}"
                    note(f"copying {count} tenants to {title}")
                    self.fleet.fill(count, where.store, variables, where.environment)
                how = {"args": ["-e", json.dumps(variables)], "env": where.environment}
                ways[f"{ROLE}, {title}"] = lambda how=how: self.role(tenants=count, **how)
            rows = self.compare("stores", ways)
        task = (rows[DEBUG[1]].cpu - rows[DEBUG[0]].cpu) / 8
        least = rows[f"{ROLE}, file"].cpu
        for title in STORES:
            cpu = rows[f"{ROLE}, {title}"].cpu
            self.figure("stores", f"{title}: CPU per tenant, in debug tasks", cpu / task, "tasks")
            self.figure("stores", f"{title}: the same beyond file", (cpu - least) / task, "tasks")

    def forks(self) -> None:
        few, many = self.options.forks
        fewer, more = self.measure(
            "forks", {f"{ROLE}, {forks} forks": lambda forks=forks: self.role(forks=forks) for forks in (few, many)}
        )
        self.figure("forks", f"CPU with {many} forks / {few}", more.cpu / fewer.cpu, "times")
        self.figure("forks", f"wall time with {many} forks / {few}", more.wall / fewer.wall, "times")

    def latency(self) -> None:
        few, many = self.options.forks
        self.fleet.sandbox.settings(latency_ms=self.options.latency_ms)
        try:
            fewer, more, uri = self.measure(
                "latency",
                {
                    f"{ROLE}, {few} forks": lambda: self.role(forks=few),
                    f"{ROLE}, {many} forks": lambda: self.role(forks=many),
                    f"{URI}, {many} forks": lambda: self.uri(forks=many),
                },
            )
        finally:
            self.fleet.sandbox.settings(latency_ms=0)
        self.figure("latency", f"wall time with {many} forks / {few}", more.wall / fewer.wall, "times")
        self.figure("latency", f"wall time of uri / of the role, {many} forks", uri.wall / more.wall, "times")

    def growth(self) -> None:
        sizes = self.options.growth
        self.provision(sizes[-1])
        ways: dict[str, t.Callable[[], Sample]] = {"1 debug task, 1 host": lambda: self.debug(1, tenants=1)}
        for size in sizes:
            ways[f"{ROLE}, {size} tenants"] = lambda size=size: self.role(tenants=size)
            ways[f"1 debug task, {size} hosts"] = lambda size=size: self.debug(1, tenants=size)
        bare, *rows = self.measure("growth", ways)
        roles, debugs = rows[::2], rows[1::2]
        each = [1000 * (row.cpu - bare.cpu) / row.tenants for row in roles]
        for size, cost in zip(sizes, each, strict=True):
            self.figure("growth", f"CPU per tenant at {size}, the start of Ansible not counted", cost, "ms")
        self.figure("growth", f"CPU per tenant at {sizes[-1]} / at {sizes[0]}", each[-1] / each[0], "times", "<= 1.1")
        added = sizes[-1] - sizes[0]
        of_role = (roles[-1].peak - roles[0].peak) / added
        of_debug = (debugs[-1].peak - debugs[0].peak) / added
        self.figure("growth", "peak memory per further tenant", of_role, "KiB")
        # 150 KB are 146 KiB
        self.figure("growth", "the same beyond a debug host", of_role - of_debug, "KiB", "<= 146")

    # Measuring and reporting

    def compare(self, part: str, ways: t.Mapping[str, t.Callable[[], Sample]]) -> dict[str, Row]:
        return {row.name: row for row in self.measure(part, ways)}

    def measure(self, part: str, ways: t.Mapping[str, t.Callable[[], Sample]]) -> list[Row]:
        """Run each way several times, in turn, so that a change in the machine's load meets all of them."""
        samples: dict[str, list[Sample]] = {name: [] for name in ways}
        for number in range(1 if part in ONCE else self.options.runs):
            for name, way in ways.items():
                sample = way()
                samples[name].append(sample)
                note(f"{part}, run {number + 1}: {name}: CPU {sample.cost.cpu:.1f} s, wall {sample.cost.wall:.1f} s")
        rows = [
            Row(
                part, name, found[-1].tenants, found[-1].forks,
                statistics.median(one.cost.cpu for one in found),
                statistics.median(one.cost.wall for one in found),
                int(statistics.median(one.cost.peak for one in found)),
                found[-1].requests,
                found[-1].log,
                [{"cpu": one.cost.cpu, "wall": one.cost.wall, "peak": one.cost.peak} for one in found],
            )
            for name, found in samples.items()
        ]  # fmt: skip
        self.rows += rows
        return rows

    def figure(self, part: str, name: str, value: float, unit: str, target: str = "") -> None:
        self.figures.append(Figure(part, name, value, unit, target))

    def table(self) -> str:
        """All rows and figures for a person."""
        heads = ("runs", "tenants", "forks", "CPU s", "wall s", "ms/tenant", "requests", "peak MiB")
        lines = [f"{'':10} {'medians':42} " + " ".join(f"{head:>9}" for head in heads)]
        for row in self.rows:
            counts = (len(row.samples), row.tenants, row.forks)
            costs = (row.cpu, row.wall, 1000 * row.cpu / row.tenants, row.requests["total"], row.peak / 1024)
            numbers = [f"{count:9}" for count in counts] + [f"{cost:9.1f}" for cost in costs]
            lines.append(f"{row.part:10} {row.name:42} " + " ".join(numbers))
        lines += ["", f"{'':10} {'figure':64} {'value':>9} {'unit':5} {'target':7}"]
        for one in self.figures:
            verdict = "" if self.options.short else one.verdict
            lines.append(f"{one.part:10} {one.name:64} {one.value:9.2f} {one.unit:5} {one.target:7} {verdict}".rstrip())
        for row in self.rows:
            if row.part in ("first", "rotation") or (row.part, row.name) == ("converged", ROLE):
                lines += ["", f"requests of one tenant, {row.part}: {row.name}", *("  " + line for line in row.log)]
        return "\n".join(lines)

    def data(self) -> dict[str, t.Any]:
        """The same for a program."""
        return {
            "settings": {name: value for name, value in vars(self.options).items() if name not in ("json", "before")},
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "figures": [{**dataclasses.asdict(figure), "verdict": figure.verdict} for figure in self.figures],
        }


def machine() -> dict[str, t.Any]:
    """What the figures were measured on."""
    versions = {name: importlib.metadata.version(name) for name in ("ansible-core", "requests", "urllib3")}
    return {
        "system": platform.system(), "cores": os.cpu_count(), "python": platform.python_version(), **versions,
        "load_before": os.getloadavg()[0],
    }  # fmt: skip


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def numbers(text: str) -> list[int]:
    return sorted(map(int, text.split(",")))


def parse(arguments: t.Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--tenants", type=int, default=200, help="size of the fleet")
    add("--runs", type=int, default=3, help=f"how often each is run; {', '.join(ONCE)}: once")
    add("--parts", default=",".join(PARTS), help="what to measure")
    add("--stores-tenants", type=int, default=25, help="size of the fleet of the part stores")
    add("--growth", type=numbers, default="50,200,500,1000", metavar="N,N", help="fleets of the part growth")
    add("--forks", type=numbers, default="10,50", metavar="N,N", help="forks of the parts forks and latency")
    add("--latency-ms", type=int, default=100, help="of each request in the part latency")
    add("--before", type=Path, metavar="DIR", help="an older checkout to compare with in the same run")
    add("--json", type=Path, metavar="FILE", help="write everything there too")
    add("--short", action="store_true", help="a small fleet, once, without mitogen: does everything run?")
    options = parser.parse_args(arguments)
    if options.short:
        options.tenants, options.runs, options.growth, options.forks, options.latency_ms = 2, 1, [2, 3], [2, 3], 20
        options.parts = options.parts.replace("mitogen,", "")
    options.parts = options.parts.split(",")
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = parse()
    about = machine()
    measure.adopt_orphans()
    # the checkout that is compared with has tenants of its own
    fleet = options.tenants * (2 if options.before else 1)
    largest = max([fleet, *(options.growth if "growth" in options.parts else [])])
    with tempfile.TemporaryDirectory(prefix="halo-bench-") as folder, Sandbox(largest) as sandbox:
        bench = Bench(Fleet(sandbox, Path(folder), options.before), options)
        try:
            for part in PARTS:
                if part in options.parts:
                    if part != "first":
                        bench.provision(options.tenants)
                    getattr(bench, part)()
        except WrongResult as error:
            note(str(error))
            return 1
    print(", ".join(f"{name} {value}" for name, value in about.items()), bench.table(), sep="\n\n")
    if options.short:
        print("\nA fleet of this size says nothing about speed: no verdicts.")
    if options.json:
        text = json.dumps({"machine": about, **bench.data()}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
