# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a task's options, in words that name the place; and the options without what is secret in them.

Ansible's own validation names neither the element of a list nor the key that was meant. It still runs afterwards, and
has the last word; what it accepts, in whatever spelling, is accepted here.
"""

from __future__ import annotations

import difflib
import typing as t
from collections.abc import Mapping

Option = Mapping[str, t.Any]

# the word that Ansible itself has for it
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
# how a value of the type is called, for the types whose conversion can be judged from the value alone
_NOUNS = {"dict": "a dictionary", "int": "a whole number", "bool": "true or false", "str": "a text", "path": "a path"}
# of more choices than this only the one that was probably meant is named
MANY = 10
# all that Ansible takes for a boolean
_TRUE = frozenset({"y", "yes", "on", "1", "true", "t"})
_FALSE = frozenset({"n", "no", "off", "0", "false", "f"})


def complaints(spec: Option, value: Mapping[t.Any, t.Any]) -> list[str]:
    """What Ansible would refuse in ``value``, or would misunderstand, one sentence each without its full stop.

    :param spec: an argument specification, ``{option: {type, elements, options, choices, required, aliases, no_log}}``
    :param value: the options as the user wrote them, in plain types
    :returns: such as ``bindings[2] 'Sync': agnet is not an option; did you mean agent?``; no value of an option with
        ``no_log`` is in it, nor a value below such an option
    """
    return list(_in_dict(spec, value, ("", ""), hidden=False))


def concealed(spec: Option, value: Mapping[t.Any, t.Any]) -> dict[t.Any, t.Any]:
    """The options with a word in place of every value that is secret, or may be.

    That is so for an option with ``no_log``, for one that there is not (a misspelt one), for a dictionary of which
    the specification does not say what is in it, and for what is no dictionary where one belongs.

    :param spec: as for :func:`complaints`
    :param value: the options as the user wrote them
    """
    known = {alias: option for name, option in spec.items() for alias in (name, *option.get("aliases", ()))}
    return {key: _concealed(known.get(key, {"no_log": True}), item) for key, item in value.items()}


def _concealed(option: Option, value: t.Any) -> t.Any:
    if value is None:
        return None
    if option.get("no_log"):
        return HIDDEN
    if "dict" not in (option.get("type"), option.get("elements")):
        return value
    if isinstance(value, Mapping) and option.get("options"):
        return concealed(option["options"], value)
    if isinstance(value, list):
        return [_concealed({**option, "type": "dict"}, item) for item in value]
    return HIDDEN


# Where something stands: the element of a list, and from there on the keys.
_Place = tuple[str, str]


def _in_dict(spec: Option, value: Mapping[t.Any, t.Any], place: _Place, hidden: bool) -> t.Iterator[str]:
    meant = set()
    known = {alias: name for name, option in spec.items() for alias in (name, *option.get("aliases", ()))}
    for key in value:
        if key not in known:
            likely = _likely(spec, str(key), list(known))
            meant.add(known.get(likely, likely))
            remedy = f"did you mean {likely}?" if likely else f"the options are {', '.join(sorted(spec))}"
            yield f"{_at(place, key)} is not an option; {remedy}"
    given = {known[key]: item for key, item in value.items() if key in known and item is not None}
    for name, option in spec.items():
        if name in given:
            where = (place[0], _at(("", place[1]), name))
            yield from _in_option(option, given[name], where, hidden or bool(option.get("no_log")))
        elif option.get("required") and any(place) and name not in meant:
            # on the top level Ansible says it well, and knows of the environment
            yield f"{_at(place, name)} is missing"


def _in_option(option: Option, value: t.Any, place: _Place, hidden: bool) -> t.Iterator[str]:
    """Complaints about the value of one option."""
    if option.get("type") == "list":
        if isinstance(value, Mapping):
            yield f"{_at(place)} must be a list, not {_described(value, hidden)}"
            return
        if not isinstance(value, list):
            # a single one is taken for a list, and a text is split
            value = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
            elements = [(place, item) for item in value]
        else:
            elements = [
                ((_element(place, number, item, option, hidden), ""), item) for number, item in enumerate(value)
            ]
        kind = option.get("elements", "raw")
    else:
        elements, kind = [(place, value)], option.get("type", "str")
    for where, item in elements:
        if not _convertible(item, kind):
            yield f"{_at(where)} must be {_expected(option, kind, item, hidden)}, not {_described(item, hidden)}"
        elif kind == "dict" and isinstance(item, Mapping) and option.get("options"):
            yield from _in_dict(option["options"], item, where, hidden)
        elif option.get("choices") and not _is_choice(item, option["choices"]):
            words = [str(choice) for choice in option["choices"]]
            likely = "" if hidden else _close(str(item), words)
            if likely and len(words) > MANY:
                yield f"{_at(where)} cannot be {_described(item, hidden)}; did you mean {likely}?"
                continue
            allowed = f"{', '.join(words[:-1])} or {words[-1]}" if words[1:] else words[0]
            hint = f"; did you mean {likely}?" if likely else ""
            yield f"{_at(where)} must be {allowed}, not {_described(item, hidden)}{hint}"


def _at(place: _Place, key: t.Any = "") -> str:
    """A place in words: ``bindings[1] 'Sync': application.scopes``."""
    path = ".".join(_short(part) for part in (place[1], key) if part != "")
    return ": ".join(part for part in (place[0], path) if part)


def _element(place: _Place, number: int, item: t.Any, option: Option, hidden: bool) -> str:
    """An element of a list by its number, and by its name where it has one."""
    where = f"{_at(place)}[{number}]"
    known = (option.get("options") or {}).get("name") or {"no_log": True}
    name = item.get("name") if isinstance(item, Mapping) else None
    if hidden or known.get("no_log") or not isinstance(name, str) or not name.strip():
        return where
    return f"{where} '{_short(name)}'"


def _likely(spec: Option, key: str, known: list[str]) -> str:
    """The option that was probably meant by an unknown key: one spelt alike, or one that belongs a level deeper."""
    if found := _close(key, known):
        return found
    return next((f"{name}.{key}" for name, option in spec.items() if key in (option.get("options") or {})), "")


def _close(word: str, known: list[str]) -> str:
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.strip().casefold().replace("-", "_").replace(" ", "_"), folded, n=1)
    return folded[found[0]] if found else ""


def _convertible(value: t.Any, kind: t.Any) -> bool:
    """Whether Ansible can convert the value to the type; where that is hard to tell, it is left to Ansible."""
    if value is None:
        return True
    if kind == "dict":
        # a text may be JSON or key=value
        return isinstance(value, Mapping) or (isinstance(value, str) and (value.strip()[:1] == "{" or "=" in value))
    if kind in ("str", "path"):
        # Ansible would take the notation of Python for the text
        return not isinstance(value, (Mapping, list))
    if kind == "bool":
        return isinstance(value, (bool, int, float)) or str(value).strip().lower() in _TRUE | _FALSE
    if kind == "int":
        try:
            return float(value).is_integer()
        except (TypeError, ValueError, OverflowError):
            return False
    return True


def _is_choice(value: t.Any, choices: t.Collection[t.Any]) -> bool:
    """Whether the value is one of the choices; YAML's booleans stand for the one choice that is spelt like them."""
    words = [str(choice) for choice in choices]
    if str(value) in words:
        return True
    for spelt, alike in (("True", _TRUE), ("False", _FALSE)):
        if str(value) == spelt:
            return len(alike & set(words)) == 1
    return False


def _expected(option: Option, kind: str, item: t.Any, hidden: bool) -> str:
    """What the value should have been; as a dictionary, with the user's own text in it where that may be meant."""
    names = list(option.get("options") or {})
    if kind != "dict" or not names:
        return _NOUNS[kind]
    if "name" in names and isinstance(item, str) and not hidden:
        return f"a dictionary, such as {{name: {_short(item)}}}"
    return f"a dictionary, such as {{{'name' if 'name' in names else names[0]}: ...}}"


def _described(value: t.Any, hidden: bool) -> str:
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, list):
        return "a list"
    kind = "the text " if isinstance(value, str) else ""
    if hidden:
        return "a text" if kind else "that"
    return f"{kind}'{_short(value)}'" if kind else _short(value)


def _short(value: t.Any) -> str:
    """A value on one line, and not too much of it."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
