# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A move from one store to another inside the controller's worker."""

from __future__ import annotations

import os
import typing as t

from ..module_utils.errors import HaloError
from ..module_utils.lifecycle import Label
from ..module_utils.rotation import Proof
from ..module_utils.run import Context, Operation, execute, try_login
from ..module_utils.store_move import STORE_MOVE, Side, move
from .action import Result, say
from .binding_action import BindingAction
from .compat import run_folder
from .stores import VARIABLES, Place, from_variables, open_store, store_class
from .stores._files import FileStore, safe
from .tokens import TokenCache
from .trail import open_trail


class StoreMoveAction(BindingAction):
    operation = Operation(STORE_MOVE, lambda context: {})

    def _converge(self, params: Result, task_vars: Result) -> Result:
        check_mode = bool(self._task.check_mode)
        sides = [self._side(params[side] or {}, params, task_vars) for side in ("source", "target")]
        stores = [open_store(*side) for side in sides]
        _refuse_same(sides, stores)
        trail = open_trail(params["log_path"], sides[0][1], task_vars)
        source, target = (Side(described(*side), store) for side, store in zip(sides, stores, strict=True))

        def run(context: Context) -> Result:
            def prove(label: Label) -> Proof:
                login = context.client.login.connection
                other = context.client.with_login(
                    label["client_id"] or "", label["client_secret"], label["scope"] or login.scope
                )
                answer, refusal = try_login(other, whom=False)
                return Proof(answer["valid"], reason=refusal.message.rstrip(".") if refusal else answer["error"] or "")

            instance = context.client.instance
            result = move(source, target, prove, instance=instance, check_mode=check_mode, trail=trail)
            context.client.warnings += result.pop("warnings", [])
            return result

        tokens = TokenCache(run_folder())
        return execute(Operation(STORE_MOVE, run), params, check_mode=check_mode, tokens=tokens, say=say)

    def _side(self, given: Result, params: Result, task_vars: Result) -> tuple[str, Place]:
        """One of the stores: what is given, and the host's own for what is not. Empty means none."""
        given = {option: value for option, value in given.items() if value is not None}
        connection = {option: params[option] for option in VARIABLES if option in params}

        def found(hidden: t.Collection[str], options: Result) -> tuple[str, Place]:
            variables = {name: value for name, value in task_vars.items() if name not in hidden}
            return from_variables(variables, self._loader, templar=self._templar, given={**connection, **options})

        hidden = {VARIABLES[option] for option in given}
        if given.get("store") and given["store"] != found((), {})[0]:
            # options are those of one store
            hidden.add(VARIABLES["store_options"])
        return found(hidden, given)


def described(name: str, place: Place) -> str:
    """A store in words.

    :raises HaloError: there is none of that name
    """
    parts = [name, place.folder if issubclass(store_class(name), FileStore) else None, place.key]
    return " ".join(part for part in parts if part)


def _refuse_same(sides: list[tuple[str, Place]], stores: list[t.Any]) -> None:
    """Refuse two names of one place: it would be held by two.

    :raises HaloError: they are
    """
    (one, place), (other, other_place) = sides
    if all(isinstance(store, FileStore) for store in stores):
        folders = [os.path.realpath(os.path.dirname(store.path(""))) for store in stores]
        if folders[0] == folders[1] and one != other:
            raise HaloError(
                f"source and target are the same folder, {folders[0]}.",
                instance=place.instance,
                hint="Nothing was changed. Give the target another store_dir. In the same folder, "
                f"{'ansible-vault encrypt' if other == 'vault_file' else 'ansible-vault decrypt'} does it, with "
                "each of its *.yml files.",
            )
        same = folders[0] == folders[1]
    else:
        same = (one, safe(place.owner), place.options) == (other, safe(other_place.owner), other_place.options)
    if same:
        raise HaloError(
            f"source and target are the same: {one}, {place.owner}.",
            instance=place.instance,
            hint="Nothing was changed. Set halo_store_from or halo_store_to: what one of them leaves out is as the "
            "variables halo_integration_store* of the host say.",
        )
