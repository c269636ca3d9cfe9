# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be changed in a Python file so that a test ought to fail.

Not changed are imports, annotations and docstrings, which do nothing; texts with a blank and the literal parts of
messages, since a test that repeats a message proves nothing; and arguments of ``raise`` that are texts.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NOTHING = (ast.Import, ast.ImportFrom, ast.Pass, ast.Global, ast.Nonlocal)


@dataclasses.dataclass
class Mutant:
    """One change of a module's tree, which ``apply`` makes.

    :param lines: those of the statement, by which tests reach it
    :param inside: it is in a function, so that what is imported already can be changed
    :param words: gives the change in words, which takes longer than to make it
    """

    module: str
    line: int
    lines: range
    inside: bool
    words: Callable[[], str]
    apply: Callable[[], None]

    @functools.cached_property
    def change(self) -> str:
        return self.words()


def mutants(module: str, parsed: ast.Module) -> list[Mutant]:
    found: list[Mutant] = []
    _Walk(module, found).children(parsed, range(0), False, False)
    return found


class _Walk:
    def __init__(self, module: str, found: list[Mutant]) -> None:
        self.module, self.found = module, found

    def children(self, node: ast.AST, lines: range, inside: bool, wording: bool) -> None:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            # the body of a function runs when it is called; its defaults when it is defined
            within = inside or (isinstance(node, ast.FunctionDef) and field == "body")
            slots: list[tuple[Any, Any, Any]] = (
                [(value, number, item) for number, item in enumerate(value)]
                if isinstance(value, list)
                else [(node, field, value)]
            )
            for holder, key, child in slots:
                if isinstance(node, ast.Dict) and field == "keys" and _is_text_option(child, node.values[key]):
                    continue
                if isinstance(child, ast.AST):
                    self.visit(holder, key, child, lines, within, wording)

    def visit(self, holder: Any, key: Any, node: ast.AST, lines: range, inside: bool, wording: bool) -> None:
        if isinstance(node, NOTHING) or _is_docstring(node) or _is_type_checking(node):
            return
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno if body and body[0].lineno > node.lineno else (node.end_lineno or node.lineno) + 1
            lines = range(node.lineno, last)
        wording = wording or isinstance(node, (ast.Raise, ast.JoinedStr))
        for new, words in _variants(node, wording):
            self._add(holder, key, node, new, words, lines, inside)
        if isinstance(node, ast.Call):
            for number, keyword in enumerate(node.keywords):
                if keyword.arg and keyword.arg not in ("hint", "subject"):
                    rest = [*node.keywords[:number], *node.keywords[number + 1 :]]
                    new = ast.Call(node.func, node.args, rest)
                    words = functools.partial(_dropped, keyword.arg, node)
                    self._add(holder, key, node, new, words, lines, inside)
        if isinstance(node, ast.comprehension):
            for number, test in enumerate(node.ifs):
                if not isinstance(test, ast.Compare | ast.UnaryOp):
                    new = ast.UnaryOp(ast.Not(), test)
                    self._add(node.ifs, number, test, new, functools.partial(_changed, test, new, "if "), lines, inside)
        if isinstance(node, ast.FunctionDef):
            for number, decorator in enumerate(node.decorator_list):
                self._drop(node, number, decorator)
        self.children(node, lines, inside, wording)

    def _add(
        self, holder: Any, key: Any, old: Any, new: ast.AST, words: Callable[[], str], lines: range, inside: bool
    ) -> None:
        def apply() -> None:
            ast.fix_missing_locations(ast.copy_location(new, old))
            if isinstance(holder, list):
                holder[key] = new
            else:
                setattr(holder, key, new)

        line = getattr(old, "lineno", lines.start)
        self.found.append(Mutant(self.module, line, lines, inside, words, apply))

    def _drop(self, node: ast.FunctionDef, number: int, decorator: ast.expr) -> None:
        def apply() -> None:
            del node.decorator_list[number]

        line = decorator.lineno
        words = functools.partial(_removed, decorator, "@")
        self.found.append(Mutant(self.module, line, range(line, line + 1), False, words, apply))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_text_option(key: ast.expr | None, value: ast.expr) -> bool:
    """``"type": "str"``, which an option is anyway."""
    words = [one.value for one in (key, value) if isinstance(one, ast.Constant)]
    return words == ["type", "str"]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _changed(old: ast.AST, new: ast.AST, before: str = "") -> str:
    return f"{before}{_text(old)} -> {_text(new)}"


def _removed(node: ast.AST, before: str = "") -> str:
    return f"{before}{_text(node)} removed"


def _dropped(name: str, node: ast.AST) -> str:
    return f"{name}= dropped of {_text(node)}"


def _variants(node: Any, wording: bool) -> Iterator[tuple[ast.AST, Callable[[], str]]]:
    """What a node can be replaced with, and the change in words."""
    for new in _replacements(node, wording):
        yield new, functools.partial(_changed, node, new)
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        test = ast.UnaryOp(ast.Not(), node.test)
        new = type(node)(**{**dict(ast.iter_fields(node)), "test": test})
        yield new, functools.partial(_changed, node.test, test, "if ")
    if isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.Delete, ast.AugAssign)) or _has_effect(node):
        yield ast.Pass(), functools.partial(_removed, node)


def _has_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return not all(isinstance(target, ast.Name | ast.Tuple) for target in node.targets)
    return isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)


def _replacements(node: Any, wording: bool) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            for other in COMPARED[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:number], other(), *node.ops[number + 1 :]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in CALCULATED:
        yield ast.BinOp(node.left, CALCULATED[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
        elif isinstance(node.value, str) and not wording and node.value.strip() and " " not in node.value:
            # a digit, since what else could be added is ignored in names of encodings
            yield ast.Constant(node.value + "0")
    elif isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


# What no test can notice, by module and change, and why.
EQUIVALENT = {
    ("binding.py", "'on_agent_change' -> 'on_agent_change0'"): "whatever is neither always nor never means the same",
    ("schedule.py", "99 -> 100"): "an hour and a minute that no day has, either way",
    (
        "http.py",
        "raise requests.exceptions.ChunkedEncodingError('the response is not whole') removed",
    ): "urllib3 1 alone gets there",
}
