# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutation testing: changes one thing at a time in plugins/module_utils, and sees whether the unit tests notice it.

It works on a copy below .build. The tests are collected once; each mutant is a fork of that process, in which the code
of the changed function is replaced and the tests that reach the changed line run, the fastest first. What is evaluated
on import (tables, defaults, decorators) is written into the copy, and collected anew. It fails below 90 % killed.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import dataclasses
import functools
import gc
import hashlib
import importlib
import multiprocessing
import os
import pickle
import random
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hypothesis
import mutations
import pytest
import tree
from mutations import Mutant

PLACE = "plugins/module_utils"
FLOOR = 90
# seconds of tests for one mutant: what is slower than the others has its turn only while they take less; where tests
# that reach it are known, and where all that reach its module may notice it
MOST, MOST_NEAR = 60.0, 15.0
# They do not call module_utils in this process, read its source instead, or run for a minute.
WITHOUT = (
    "controller_content", "example_inventory", "layers", "sandbox", "sandbox_program", "sandbox_schema", "simulation",
    "troubleshooting",
)  # fmt: skip
LOG = tree.BUILD / "mutants" / "log"
KNOWN = tree.BUILD / "mutants" / "known"
ARGUMENTS = ["-n0", "-q", "--tb=native"]
fork = multiprocessing.get_context("fork")


@dataclasses.dataclass
class Reach:
    """Of one file of tests: by module and line, which of them reach it; and how many seconds each takes."""

    lines: dict[str, dict[int, set[str]]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def measure(cls, items: list[pytest.Item]) -> Reach:
        """
        :raises RuntimeError: a test fails without any mutant
        """
        reach = cls()
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # of Python 3.12
        tool = monitoring.COVERAGE_ID
        monitoring.use_tool_id(tool, "mutants")

        def line(code: types.CodeType, number: int) -> Any:
            if f"/{PLACE}/" in code.co_filename:
                reach.lines.setdefault(_name(code.co_filename), {}).setdefault(number, set()).add(item.nodeid)
            return monitoring.DISABLE

        monitoring.register_callback(tool, monitoring.events.LINE, line)
        monitoring.set_events(tool, monitoring.events.LINE)
        for item in items:
            monitoring.restart_events()
            started = time.monotonic()
            if not _passes([item]):
                raise RuntimeError(f"{item.nodeid} fails without any mutant.")
            reach.seconds[item.nodeid] = time.monotonic() - started
        return reach

    def quiet(self) -> set[str]:
        """The tests that reach no line at all."""
        loud = {test for lines in self.lines.values() for tests in lines.values() for test in tests}
        return set(self.seconds) - loud


def _tests(known: Iterable[Reach], mutant: Mutant) -> tuple[dict[str, float], bool]:
    """The tests that may notice a mutant with their seconds, fastest first; and whether they reach it as they run.

    What none of them reaches is evaluated on import, if ever.
    """
    found: dict[str, float] = {}
    for reach in known:
        there = reach.lines.get(mutant.module, {})
        found |= {test: reach.seconds[test] for line in mutant.lines for test in there.get(line, ())}
    reached = mutant.inside and bool(found)
    if not reached:
        for reach in known:
            near = {test for tests in reach.lines.get(mutant.module, {}).values() for test in tests}
            # beside them, those that call nothing, and look at tables
            near |= reach.quiet() if near else set()
            # and those that compare tables with the documentation
            near |= {test for test in reach.seconds if "/test_contract.py" in test}
            found |= {test: reach.seconds[test] for test in near}
    spent, chosen = 0.0, {}
    for test, seconds in sorted(found.items(), key=lambda one: (one[1], one[0])):
        spent += seconds
        if spent < (MOST if reached else MOST_NEAR):
            chosen[test] = seconds
    return chosen, reached


def _name(path: str) -> str:
    return path.rpartition(f"/{PLACE}/")[2]


def _passes(items: list[pytest.Item]) -> bool:
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            return False
    return True


class Server:
    """In place of pytest's loop over the tests: runs those that it is asked for, each time in a fork of its own."""

    def __init__(self, pipe: Connection, trees: dict[str, ast.Module]) -> None:
        self.pipe, self.trees = pipe, trees

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = collections.defaultdict(list)
        for found in gc.get_objects():
            if isinstance(found, types.FunctionType) and f"/{PLACE}/" in found.__code__.co_filename:
                functions[_key(found.__code__)].append(found)

        def trial(module: str, number: int, tests: list[str]) -> bool:
            parsed = self.trees[module]
            mutations.mutants(module, parsed)[number].apply()
            changed = False
            for code in _codes(compile(parsed, f"/{PLACE}/{module}", "exec", dont_inherit=True)):
                for function in functions[_key(code)]:
                    if function.__code__ != code:
                        function.__code__ = code
                        changed = True
            if not changed:
                raise RuntimeError("nothing that is imported holds it")
            return _passes([items[test] for test in tests])

        def measure(file: str) -> Reach:
            return Reach.measure([item for name, item in items.items() if name.startswith(f"{file}::")])

        calls: dict[str, Callable[..., Any]] = {"trial": trial, "measure": measure}
        gc.freeze()
        self.pipe.send("collected")
        with contextlib.suppress(EOFError):
            while True:
                name, arguments, seconds = self.pipe.recv()
                self.pipe.send(_apart(functools.partial(calls[name], *arguments), seconds))
        return True


def _key(code: types.CodeType) -> tuple[str, str, int]:
    return _name(code.co_filename), code.co_qualname, code.co_firstlineno


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield part
            yield from _codes(part)


def _apart(call: Callable[[], Any], seconds: float) -> Any:
    """What ``call`` gives in a fork of this process; None where it takes too long, an exception where it has one.

    What it prints goes into the log.
    """
    here, there = fork.Pipe(duplex=False)

    def child() -> None:
        os.setsid()
        # where this process should be killed, what it tries must not go on for ever
        signal.alarm(int(seconds) + 5)
        with LOG.open("a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            there.send(call())
        except BaseException as error:
            there.send(RuntimeError(f"{type(error).__name__}: {error}"))

    process = fork.Process(target=child)
    process.start()
    there.close()
    try:
        # a process that ended without a word was ended by what it tried
        return here.recv() if here.poll(seconds) else None
    except EOFError:
        return False
    finally:
        # and what it began
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        here.close()


class Select:
    """In a run of its own: these tests, in this order."""

    def __init__(self, tests: list[str]) -> None:
        self.tests = tests

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in self.tests if test in found]


def _anew(trees: dict[str, ast.Module], apply: Callable[[], None], tests: list[str], seconds: float) -> Any:
    """Whether tests pass with these modules in the copy, in a process that has not imported the collection."""
    before = {module: Path(PLACE, module).read_text(encoding="utf-8") for module in trees}

    def run() -> bool:
        apply()
        for module, parsed in trees.items():
            Path(PLACE, module).write_text(ast.unparse(parsed), encoding="utf-8")
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        return pytest.main([*ARGUMENTS, "-x", *files], [Select(tests)]) == pytest.ExitCode.OK

    try:
        return _apart(run, seconds)
    finally:
        for module, text in before.items():
            Path(PLACE, module).write_text(text, encoding="utf-8")


def _prepare() -> None:
    """Make the copy and go into it, with the libraries imported that every process needs."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(tree.copy("mutants"))
    os.environ |= {"ANSIBLE_COLLECTIONS_PATH": str(Path.cwd().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in ("ansible.plugins.loader", "ansible.template", "requests", "jsonschema", "hypothesis.strategies"):
        importlib.import_module(name)
    # to find a failing example is enough, and the same one each time
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True, phases=phases)
    hypothesis.settings.load_profile("mutants")


class Trials:
    """The processes that run tests, and what is known of the tests."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.trees = trees
        self.known: dict[str, Reach] = {}
        self.files = [str(one) for one in sorted(Path("tests/unit").glob("test_*.py")) if one.stem[5:] not in WITHOUT]
        self.pipe, there = fork.Pipe()

        def serve() -> None:
            self.pipe.close()
            with LOG.open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            pytest.main([*ARGUMENTS, *self.files], [Server(there, trees)])

        self.server = fork.Process(target=serve)
        self.server.start()
        there.close()

    def look(self) -> None:
        """See which tests reach what.

        :raises RuntimeError: one fails without any mutant
        """
        # until then, the files must stay as they are
        self.pipe.recv()
        self.known = {file: self._reach(file) for file in self.files}

    def _reach(self, file: str) -> Reach:
        """What was measured of a file of tests; anew where it, or what it may depend on, has changed."""
        depends = [
            path for folder in ("plugins", "tests/helpers", "tests/sandbox") for path in Path(folder).rglob("*.py")
        ]
        content = b"".join(path.read_bytes() for path in [Path(file), *sorted(depends)])
        kept = KNOWN / f"{Path(file).stem}-{hashlib.sha256(content).hexdigest()[:16]}"
        if not kept.exists():
            reach = self._ask("measure", [file], 600)
            if not isinstance(reach, Reach):
                raise RuntimeError(reach)
            KNOWN.mkdir(parents=True, exist_ok=True)
            for old in KNOWN.glob(f"{Path(file).stem}-*"):
                old.unlink()
            kept.write_bytes(pickle.dumps(reach))
        return pickle.loads(kept.read_bytes())

    def _ask(self, *question: Any) -> Any:
        self.pipe.send(question)
        return self.pipe.recv()

    def result(self, number: int, mutant: Mutant) -> str:
        tests, reached = _tests(self.known.values(), mutant)
        limit = 10 + 4 * sum(tests.values())
        passed: Any = RuntimeError()
        if reached:
            passed = self._ask("trial", [mutant.module, number, list(tests)], limit)
        if isinstance(passed, Exception):
            passed = _anew({mutant.module: self.trees[mutant.module]}, mutant.apply, list(tests), limit + 10)
        if isinstance(passed, Exception):
            raise passed
        return "timed out" if passed is None else "survived" if passed else "killed"

    def control(self) -> None:
        """
        :raises RuntimeError: tests fail in the copy without any mutant
        """
        tests: dict[str, float] = {}
        for module in self.trees:
            tests |= _tests(self.known.values(), Mutant(module, 0, range(0), False, str, lambda: None))[0]
        if _anew(self.trees, lambda: None, list(tests), 600) is not True:
            raise RuntimeError("A test fails without any mutant.")

    def close(self) -> None:
        self.pipe.close()
        self.server.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", nargs="*", help="as binding or resources/agent; default: all")
    parser.add_argument("--minutes", type=float, default=30, help="what is examined until then is a sample")
    parser.add_argument("--seed", default="0", help="of the sample")
    args = parser.parse_args()
    if sys.version_info < (3, 12):
        parser.error("this takes Python 3.12 or newer, which tells cheaply which lines a test reaches")
    started = time.monotonic()
    _prepare()
    modules = sorted(str(path.relative_to(PLACE)) for path in Path(PLACE).rglob("*.py"))
    modules = [module for module in modules if not args.module or module.removesuffix(".py") in args.module]
    if unknown := set(args.module) - {module.removesuffix(".py") for module in modules}:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    trees = {module: ast.parse(Path(PLACE, module).read_text(encoding="utf-8")) for module in modules}
    mutants = {module: mutations.mutants(module, parsed) for module, parsed in trees.items()}
    changes = {(module, mutant.change) for module, every in mutants.items() for mutant in every}
    stale = [one for one in mutations.EQUIVALENT if one[0] in mutants and one not in changes]
    queue: list[tuple[float, str, int]] = []
    for module, every in mutants.items():
        numbers = [number for number, one in enumerate(every) if (module, one.change) not in mutations.EQUIVALENT]
        random.Random(f"{args.seed} {module}").shuffle(numbers)
        # whenever it ends, the same share of each module
        queue += [(place / len(numbers), module, number) for place, number in enumerate(numbers)]
    results: dict[str, collections.Counter[str]] = {module: collections.Counter() for module in trees}
    survivors = []
    trials = Trials(trees)
    try:
        trials.look()
        trials.control()
        for _share, module, number in sorted(queue):
            if time.monotonic() - started > args.minutes * 60:
                break
            mutant = mutants[module][number]
            result = trials.result(number, mutant)
            results[module][result] += 1
            if result == "survived":
                survivors.append((module, mutant.line, mutant.change))
                print(f"{module}:{mutant.line}: {mutant.change}", flush=True)
    except RuntimeError as error:
        print(f"{error} See {LOG}.", file=sys.stderr)
        return 2
    finally:
        trials.close()
    return _conclude(results, survivors, len(queue), stale, time.monotonic() - started)


def _conclude(
    results: dict[str, collections.Counter[str]],
    survivors: list[tuple[str, int, str]],
    of: int,
    stale: list[tuple[str, str]],
    seconds: float,
) -> int:
    """Print the table and the survivors. Gives the status to exit with."""
    row = "{:<26}{:>8}{:>8}{:>10}{:>10}{:>7}"
    print(row.format("module", "mutants", "killed", "timed out", "survived", "%"))
    total = sum(results.values(), collections.Counter())
    for module, counts in [*results.items(), ("all", total)]:
        if tried := counts.total():
            numbers = [counts[name] for name in ("killed", "timed out", "survived")]
            print(row.format(module, tried, *numbers, f"{100 - 100 * counts['survived'] / tried:.1f}"))
    for module, line, change in sorted(survivors):
        print(f"{PLACE}/{module}:{line}: {change}")
    for one in stale:
        print("no such mutant any more:", *one)
    print(f"{total.total()} of {of} mutants examined in {seconds / 60:.0f} minutes")
    enough = total and total["survived"] * 100 <= (100 - FLOOR) * total.total()
    return 0 if enough and not stale else 1


if __name__ == "__main__":
    sys.exit(main())
