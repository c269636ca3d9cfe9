# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever stands in an option: a message that names it, nothing sent where that can be known, never a traceback."""

from __future__ import annotations

import importlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import in_process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ACTIONS = "ansible_collections.haloops.halo.plugins.action"
SECRET = "s3cret/of the+task"
# what each module needs at least
LEAST: dict[str, dict[str, Any]] = {
    "halo_api_agent": {"name": "api-a"},
    "halo_api_agent_info": {},
    "halo_application": {"name": "App"},
    "halo_application_info": {},
    "halo_binding": {"bindings": [{"name": "App", "agent": {"name": "api-a"}}]},
    "halo_integrator": {"login_agent": "api-a"},
    "halo_login_info": {},
    "halo_preflight": {},
    "halo_store_move": {"target": {"store": "file"}},
}
Path_ = tuple[str, ...]
Option = dict[str, Any]


def spec(module: str) -> dict[str, Option]:
    found: dict[str, Option] = importlib.import_module(
        f"{ACTIONS}.{module}"
    ).ActionModule.operation.spec.with_connection()
    return found


def options(spec: dict[str, Option], above: Path_ = ()) -> Iterator[tuple[Path_, Option]]:
    """All options, nested ones included, each with its path."""
    for name, option in spec.items():
        yield (*above, name), option
        yield from options(option.get("options") or {}, (*above, name))


EVERY = [(module, path, option) for module in LEAST for path, option in options(spec(module))]

words = st.text(max_size=20)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
# values that no option of the type can have; a text is none that may be read as one
no_text = st.one_of(st.lists(words, min_size=1, max_size=2), st.dictionaries(words, words, min_size=1, max_size=2))
no_number = st.sampled_from(["soon", "1.5 s", "0x", "--1", "nan", "1e999", "٣٣x", [1, 2], {"a": 1}])
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "str": no_text,
    "path": no_text,
    "int": st.one_of(no_number, st.sampled_from([1.5, float("nan"), float("inf")])),
    "float": st.sampled_from(["soon", "1.5 s", [1, 2], {"a": 1}]),
    "bool": st.sampled_from(["maybe", "2x", "", [], {}, ["yes"], {"a": True}]).filter(lambda value: value != ""),
    "dict": st.sampled_from([5, 1.5, True, "text", ["a"], [{}]]),
    "list": st.dictionaries(words, words, min_size=1, max_size=2),
}


def wrong(option: Option) -> st.SearchStrategy[Any]:
    """Values that this option cannot have."""
    kind = option.get("type", "str")
    found = [WRONG[kind]]
    if kind == "list" and option.get("elements") in WRONG:
        found.append(WRONG[option["elements"]].filter(lambda value: not isinstance(value, str)).map(lambda one: [one]))
    if option.get("choices"):
        found.append(st.sampled_from(["zzz", "keep ", "Present", 7]))
    return st.one_of(found)


def placed(module: str, path: Path_, value: Any) -> dict[str, Any]:
    """The least options of a module with a value at a path."""
    whole: dict[str, Any] = json.loads(json.dumps(LEAST[module]))
    here = whole
    known = spec(module)
    for name in path[:-1]:
        option = known[name]
        known = option["options"]
        # what the dictionaries on the way need
        least = {key: "x" for key, one in known.items() if one.get("required") and one.get("type") != "dict"}
        least |= {key: {"name": "x"} for key, one in known.items() if one.get("required") and one.get("type") == "dict"}
        found = here.setdefault(name, [least] if option.get("type") == "list" else least)
        here = found[0] if isinstance(found, list) else found
    here[path[-1]] = value
    return whole


@pytest.fixture(scope="module")
def halo() -> Iterator[socket.socket]:
    """Where Halo would be; whoever connects is not answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="halo-") as name:
        yield Path(name)


def ran(module: str, args: dict[str, Any], url: str, folder: Path) -> dict[str, Any]:
    login = {"halo_url": url, "halo_client_id": "an-id", "halo_client_secret": SECRET, "halo_retry_seconds": 0}
    known = {"halo_integration_store": "file", "halo_timeout": 1}
    result = in_process.task(module, {**login, **args}, known, folder)
    said = json.dumps({name: value for name, value in result.items() if name != "invocation"}, default=str)
    assert "Unexpected" not in said, (args, said)
    assert "Traceback" not in said, (args, said)
    return result


def connected(halo: socket.socket) -> bool:
    try:
        halo.accept()[0].close()
    except BlockingIOError:
        return False
    return True


LONG = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@LONG
@given(data=st.data())
def test_a_value_that_cannot_be_is_named_and_nothing_is_sent(
    data: st.DataObject, halo: socket.socket, folder: Path
) -> None:
    module, path, option = data.draw(st.sampled_from([one for one in EVERY if one[2].get("type") != "raw"]))
    value = data.draw(wrong(option))
    result = ran(module, placed(module, path, value), f"http://127.0.0.1:{halo.getsockname()[1]}", folder)
    assert result.get("failed"), (module, path, value, result)
    assert path[-1] in result["msg"], (module, path, value, result["msg"])
    for name in path[:-1]:
        assert name in result["msg"], (module, path, value, result["msg"])
    assert not connected(halo), (module, path, value)


@LONG
@given(data=st.data())
def test_a_key_that_is_no_option_is_named_and_nothing_is_sent(
    data: st.DataObject, halo: socket.socket, folder: Path
) -> None:
    module, path, _option = data.draw(st.sampled_from([one for one in EVERY if one[2].get("options")]))
    key = data.draw(st.from_regex(r"zz[a-z_]{1,8}", fullmatch=True))
    result = ran(module, placed(module, (*path, key), 1), f"http://127.0.0.1:{halo.getsockname()[1]}", folder)
    assert result.get("failed")
    for name in (*path, key):
        assert name in result["msg"], (module, path, result["msg"])
    assert not connected(halo)


@LONG
@given(data=st.data())
def test_whatever_stands_in_an_option_there_is_no_traceback(data: st.DataObject, folder: Path) -> None:
    module, path, _option = data.draw(st.sampled_from(EVERY))
    # nobody listens there
    result = ran(module, placed(module, path, data.draw(anything)), "http://127.0.0.1:9", folder)
    # one of many notes that it failed, and its host fails in the end
    assert result.get("failed") is True or result["failure"]
    assert result["msg"].strip()
