# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit trail in a file: what a line says, what it never says, and who else may write."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import errno
import json
import multiprocessing
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ansible import constants as C
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.trail import Notes, NullTrail, Step
from ansible_collections.haloops.halo.plugins.plugin_utils import trail
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place
from ansible_collections.haloops.halo.plugins.plugin_utils.trail import FileTrail, open_trail

PLACE = Place("https://halo.example.com", "acme")
STEP = Step("Sync", "create", "requested", "client", "api-sync", "ok")


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def opened(path: Any, variables: dict[str, Any] | None = None, place: Place = PLACE) -> Any:
    return open_trail(str(path), place, variables or {})


# A line


def test_a_line(tmp_path: Path) -> None:
    path = tmp_path / "trail"
    kept = opened(path)
    kept.check()
    assert path.read_text() == ""
    kept.note(STEP)
    kept.note(dataclasses.replace(STEP, action="set", agent=None))
    first, second = lines(path)
    time = datetime.datetime.fromisoformat(first["time"])
    assert time.utcoffset() == datetime.timedelta(0)
    assert abs(datetime.datetime.now(datetime.UTC) - time) < datetime.timedelta(minutes=1)
    assert list(first) == [
        *("time", "run", "who", "job", "instance", "tenant"),
        *("binding", "action", "cause", "client_id", "agent", "outcome"),
    ]
    assert first == {
        "time": first["time"],
        "run": first["run"],
        "who": pwd.getpwuid(os.getuid()).pw_name,
        "job": None,
        "instance": "https://halo.example.com",
        "tenant": "acme",
        "binding": "Sync",
        "action": "create",
        "cause": "requested",
        "client_id": "client",
        "agent": "api-sync",
        "outcome": "ok",
    }
    assert (second["action"], second["agent"], second["run"]) == ("set", None, first["run"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a\nb", 'a"b\\', "\u2028", "Büro", "\ud800", "\x00\x1b[31m", "x" * 100_000])
def test_no_name_breaks_a_line(tmp_path: Path, name: str) -> None:
    kept = opened(tmp_path / "trail")
    kept.note(dataclasses.replace(STEP, binding=name))
    kept.note(STEP)
    assert [one["binding"] for one in lines(tmp_path / "trail")] == [name, "Sync"]
    assert (tmp_path / "trail").read_bytes().isascii()


def test_a_run_has_one_id_and_the_next_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ["/home/ada/.ansible/tmp/ansible-local-1a", "/home/ada/.ansible/tmp/ansible-local-1a", "/tmp/other"]
    for folder in folders:
        monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", folder)
        opened(tmp_path / "trail").note(STEP)
    first, second, third = (one["run"] for one in lines(tmp_path / "trail"))
    assert first == second != third
    assert len(first) == 12


@pytest.mark.parametrize(
    ("variables", "environment", "who", "job"),
    [
        ({"awx_user_name": "jane", "awx_job_id": 812}, {}, "jane", "812"),
        ({"tower_user_name": "jane", "tower_job_id": "812"}, {}, "jane", "812"),
        ({"awx_job_id": 812}, {}, None, "812"),
        ({}, {"AWX_USER_NAME": "jane", "TOWER_JOB_ID": "7"}, "jane", "7"),
        ({"awx_job_id": 812, "awx_user_name": ""}, {"AWX_JOB_ID": "7"}, None, "812"),
    ],
)
def test_who(
    variables: dict[str, Any],
    environment: dict[str, str],
    who: str | None,
    job: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    opened(tmp_path / "trail", variables).note(STEP)
    (line,) = lines(tmp_path / "trail")
    assert (line["who"], line["job"]) == (who or pwd.getpwuid(os.getuid()).pw_name, job)


def test_a_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr(trail.pwd, "getpwuid", nobody)
    opened(tmp_path / "trail").note(STEP)
    assert lines(tmp_path / "trail")[0]["who"] == str(os.getuid())


# Where


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path_nothing_is_kept(path: Any) -> None:
    kept = open_trail(path, PLACE, {})
    assert isinstance(kept, NullTrail)
    kept.check()
    kept.note(STEP)


def test_a_relative_path_is_relative_to_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    opened("trail", {"inventory_dir": str(tmp_path)}).note(STEP)
    assert lines(tmp_path / "trail")
    opened(tmp_path / "other", {"inventory_dir": "/elsewhere"}).note(STEP)
    assert lines(tmp_path / "other")
    for nowhere in ({}, {"inventory_dir": None}, {"inventory_dir": "None"}):
        with pytest.raises(HaloError, match=r"log_path is relative \(trail\).*absolute path"):
            opened("trail", nowhere)


# What is refused


def link(path: Path) -> None:
    path.with_name("elsewhere").write_text("")
    path.symlink_to(path.with_name("elsewhere"))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a link": (link, "it is a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to(path.with_name("nothing")), "it is a symbolic link"),
    "a pipe": (os.mkfifo, "it is not a file"),
    "a folder": (Path.mkdir, "Is a directory"),
    "no folder": (lambda path: path.parent.rmdir(), "its folder does not exist"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_file_is_not_written(tmp_path: Path, make: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "folder" / "trail"
    path.parent.mkdir()
    make(path)
    before = sorted(tmp_path.rglob("*"))
    kept = opened(path)
    with pytest.raises(HaloError, match=said) as raised:
        kept.check()
    assert "Nothing was changed" in str(raised.value)
    assert str(path) in str(raised.value)
    with pytest.raises(HaloError, match=said) as raised:
        kept.note(STEP)
    assert "Nothing was changed" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not path.is_symlink() or not path.exists() or path.read_text() == ""


def test_a_pipe_that_is_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "trail"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(HaloError, match="it is not a file"):
            opened(path).check()
    finally:
        os.close(reader)


def test_what_is_there_stays_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "trail"
    path.write_text("before\n")
    path.chmod(0o640)
    opened(path).note(STEP)
    assert path.read_text().startswith("before\n{")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("whole", [False, True])
def test_a_full_disk(tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def write(handle: int, data: bytes) -> int:
        if len(data) > 1 and whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data[:10])

    monkeypatch.setattr(trail.os, "write", write)
    kept = opened(tmp_path / "trail")
    with pytest.raises(HaloError, match="No space left on device"):
        kept.note(STEP)
    monkeypatch.undo()
    kept.note(STEP)
    # what is left of a line stands alone
    assert json.loads((tmp_path / "trail").read_text().splitlines()[-1])["binding"] == "Sync"


def test_a_line_is_on_the_disk_and_nothing_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(trail.os, "fsync", fsync)
    before = os.listdir("/proc/self/fd")
    kept = opened(tmp_path / "trail")
    kept.check()
    kept.note(STEP)
    kept.note(STEP)
    assert synced == [str(tmp_path), str(tmp_path / "trail"), str(tmp_path / "trail")]
    assert os.listdir("/proc/self/fd") == before


# Many writers


def _write(path: str, who: int, number: int) -> None:
    kept = FileTrail(path, {"who": str(who)})
    for turn in range(number):
        # longer than what a buffer or a pipe would take in one piece
        kept.note(dataclasses.replace(STEP, binding=f"{turn}", outcome=f"{who}" * 9000))


def test_many_forks_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "trail"
    context = multiprocessing.get_context("fork")
    forks = [context.Process(target=_write, args=(str(path), who, 40)) for who in range(6)]
    for fork in forks:
        fork.start()
    for fork in forks:
        fork.join(60)
        assert fork.exitcode == 0
    found = lines(path)
    assert len(found) == 240
    for who in range(6):
        mine = [one for one in found if one["who"] == str(who)]
        assert [one["binding"] for one in mine] == [str(turn) for turn in range(40)]
        assert {one["outcome"] for one in mine} == {f"{who}" * 9000}


# No secret

SECRET = "s3cret/+Välue=?&9f8e7d6c"
FORMS: dict[str, str] = {
    "raw": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 of a login": base64.b64encode(f"client:{SECRET}".encode()).decode(),
    "URL-encoded": quote(SECRET, safe=""),
    "form-encoded": quote_plus(SECRET),
    "JSON": json.dumps(SECRET),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_a_secret_is_in_it(tmp_path: Path, form: str) -> None:
    path = tmp_path / "trail"
    notes = Notes(opened(path), "Sync", [], lambda: [SECRET, None])
    with pytest.raises(HaloError), notes.step("set", "requested", lambda: ("client", 31)):
        raise HaloError("it was refused.", answer=f"no such secret: {form} \x1b[31m\n", hint="Look again.")
    text = path.read_text()
    (line,) = lines(path)
    assert line["outcome"].startswith("it was refused. Halo said: no such secret: ")
    assert "********" in line["outcome"]
    assert line["outcome"].endswith(" Look again.")
    assert (line["client_id"], line["agent"]) == ("client", "31")
    for one in FORMS.values():
        assert one not in text
        assert json.dumps(one)[1:-1] not in text
    assert notes.warnings == []
