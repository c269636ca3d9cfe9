# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-test, with PyPI alone, and believes it only when it tested something.

The sanity tests are of the archive that make build made, unpacked as users get it, with each ansible-core; and, with
the newest one, of what the archive leaves out. The integration tests are of a copy of the checkout.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree
from build import built, unpack
from pairs import BUILD, PAIRS, ROOT, NotHere, arguments, environment, first_python

# The versions of the script that ansible-test wants to download, of all the versions of ansible-core.
GET_PIP = ("23_1_2", "24_2", "25_2")
# Names a real instance and its credentials. Git ignores it, so the copy lacks it.
INSTANCE = Path("tests/integration/integration_config.yml")
# Sanity tests without which a run is not worth much.
ESSENTIAL = {"ansible-doc", "compile", "import", "pep8", "pylint", "shellcheck", "validate-modules", "yamllint"}
# Sanity tests that want more than PyPI: this one installs an archive from elsewhere.
NOT_POSSIBLE = {"2.22": {"pylint"}}
# What the archive leaves out: tools and tests have to be as clean.
LEFT_OUT = [".ci/", "examples/controller_project/", "tests/", "tools/"]
WARNINGS = ("WARNING:", "[WARNING]", "[DEPRECATION WARNING]")
SHOWN = ("ERROR", "FATAL", *WARNINGS, "Running ", "testhost ")
# It would rather have en_US.UTF-8, which a bare Debian lacks. No test here depends on it. And the engine has to say
# which bindings a target leaves out.
HARMLESS = re.compile(
    r'WARNING: (Using locale "|Reviewing previous)|\[WARNING\]: the store has secrets of bindings that are not declared'
)


class Failed(Exception):
    """ansible-test failed, or proved nothing."""


def prepare_home(core: str) -> Path:
    """A home for ansible-test, which keeps its environments there: below .build, with the stand-in for get-pip."""
    home = BUILD / "home" / core
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in GET_PIP:
        shutil.copyfile(ROOT / "tools/get_pip.py", cache / f"get_pip_{version}.py")
    return home


def run(command: list[str], folder: Path, env: dict[str, str], log: Path) -> list[str]:
    """Run a command and give its lines; they go to the log too, and those that matter are shown while they come.

    Raises Failed, and shows all the lines, if the command fails.
    """
    lines = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            lines.append(line.rstrip())
            if line.startswith(SHOWN):
                print(f"{log.stem}: {line}", end="", flush=True)
    if process.returncode:
        text = "\n".join(lines)
        raise Failed(f"{text}\nansible-test failed (status {process.returncode}); the lines above are also in {log}")
    return lines


def doubts(essential: set[str], lines: list[str]) -> list[str]:
    """Why a run that ended well proves nothing: ansible-test only warns when targets or programs are missing."""
    found = [line for line in lines if line.startswith(WARNINGS) and not HARMLESS.match(line)]
    found += [line for line in lines if "targets skipped" in line]
    ran = {match[1] for match in map(re.compile(r'Running (?:sanity test )?"?([\w-]+)').match, lines) if match}
    if not ran:
        found.append("nothing ran")
    found += [f"the test {name} did not run" for name in sorted(essential - ran)]
    return list(dict.fromkeys(found))


def newest_core() -> str:
    """The newest version of ansible-core for which a Python is here, and on which all sanity tests are possible."""
    for core in reversed([core for core in PAIRS if core not in NOT_POSSIBLE]):
        with contextlib.suppress(NotHere):
            first_python(core)
            return core
    raise NotHere("No Python that any ansible-core needs is here.")


def test(command: str, folder: Path, core: str, python: str, targets: list[str], essential: set[str]) -> None:
    """Run ansible-test of one ansible-core in a folder. Raises Failed."""
    home, bin_folder = prepare_home(core), environment(core, python) / "bin"
    path = os.pathsep.join([str(bin_folder), str(BUILD / "bin"), os.environ["PATH"]])
    env = {**os.environ, "HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"}
    started = [str(bin_folder / "ansible-test"), command, "--venv", "--python", python, "--color", "no"]
    if command == "integration":
        started.append("--requirements")
    else:
        started += [f"--skip-test={test}" for test in NOT_POSSIBLE.get(core, ())]
    if found := doubts(essential, run([*started, *targets], folder, env, BUILD / f"{folder.parents[2].name}.log")):
        raise Failed("Not accepted:\n" + "\n".join(found))


def sanity(core: str, python: str, archive: Path, others: list[str]) -> None:
    """The sanity tests of what ships and, with the newest ansible-core, of what does not. Raises Failed."""
    essential = set() if others else ESSENTIAL - NOT_POSSIBLE.get(core, set())
    test("sanity", unpack(archive, f"sanity-{core}"), core, python, others, essential)
    if core == newest_core() and not others:
        test("sanity", tree.copy("sanity-rest"), core, python, LEFT_OUT, {"compile", "pep8", "pylint", "shellcheck"})


def integration(core: str, python: str, others: list[str]) -> None:
    """The integration tests. Raises Failed."""
    folder = tree.copy(f"integration-{core}")
    if (ROOT / INSTANCE).exists():
        print(f"== against the instance that {INSTANCE} names", flush=True)
        shutil.copy2(ROOT / INSTANCE, folder / INSTANCE)
        atexit.register((folder / INSTANCE).unlink, missing_ok=True)
    test("integration", folder, core, python, others, set())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="What follows -- is given to ansible-test.")
    parser.add_argument("command", choices=("sanity", "integration"))
    when_not_given = f"may be repeated; when not given, all for sanity and {newest_core()} for integration"
    parser.add_argument("--core", action="append", choices=tuple(PAIRS), help=when_not_given)
    own, others = arguments()
    args = parser.parse_args(own)

    cores = args.core or (list(PAIRS) if args.command == "sanity" else [newest_core()])
    if list(ROOT.glob("tests/sanity/ignore*.txt")):
        sys.exit("tests/sanity/ignore*.txt: this collection ignores nothing. Repair the code instead.")
    pairs = [(core, first_python(core)) for core in cores]
    for core, python in pairs:
        environment(core, python)
    failed = False
    run_one = functools.partial(sanity, archive=built()) if args.command == "sanity" else integration
    # the newest takes longest
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {core: pool.submit(run_one, core, python, others=others) for core, python in reversed(pairs)}
        for core, future in running.items():
            try:
                future.result()
                print(f"== ansible-test {args.command}, ansible-core {core}: passed", flush=True)
            except (Failed, subprocess.CalledProcessError) as error:
                failed = True
                print(f"== ansible-test {args.command}, ansible-core {core}: FAILED\n{error}", flush=True)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except NotHere as nothing:
        sys.exit(str(nothing))
