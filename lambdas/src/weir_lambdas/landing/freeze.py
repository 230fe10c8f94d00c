"""A source's contract, frozen once: it grows, and nothing that it has goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from weir_contract.codec import dumps, loads
from weir_contract.rows import RowContract
from weir_contract.state import BODY, CONTRACT, source_pk
from weir_lambdas.common.errors import LeaseHeld
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update
from weir_lambdas.landing.evolve import evolved
from weir_lambdas.landing.infer import Inference

TRIES = 8
"""A landing, those of its lanes and a crawler's end may write at once."""

Become = Callable[[RowContract | None], RowContract | None]
"""From the contract that stands there to the one that should; None: there is none yet."""


def freeze(table: Table, source: str, stated: RowContract, seen: RowContract) -> bool:
    """Freeze the first contract; later ones add columns that are stated since then.

    A frozen type stays, whatever comes. Where no columns are stated, later keys are not added.

    Parameters
    ----------
    source
        ``namespace/name``.
    stated
        The contract as it was written.
    seen
        The same with the types that were seen now.

    Returns
    -------
    bool
        Whether the frozen contract is another one since.
    """
    return _change(table, source, lambda frozen: stated_since(stated, seen, frozen))


def settle(
    table: Table, source: str, stated: RowContract, inference: Inference, landing: int
) -> bool:
    """Take what a landing has shown into the contract: types at first, what evolves from then on.

    Parameters
    ----------
    landing
        The landing's number.

    Returns
    -------
    bool
        Whether the frozen contract is another one since.
    """
    seen = stated.frozen(inference.types, inference.paths)

    def become(frozen: RowContract | None) -> RowContract | None:
        if stated.crawled and frozen is None:
            return None
        found = frozen if stated.crawled else stated_since(stated, seen, frozen)
        if found is None or not stated.evolves:
            return found
        return evolved(stated, found, inference, landing)

    return _change(table, source, become)


def stated_since(stated: RowContract, seen: RowContract, frozen: RowContract | None) -> RowContract:
    """The first contract, or the frozen one with the columns that are stated since."""
    if frozen is None:
        return seen
    known = {field.name.lower() for field in frozen.fields}
    new = tuple(field for field in seen.fields if field.name.lower() not in known)
    if not stated.fields or not new:
        return frozen
    return replace(frozen, fields=(*frozen.fields, *new))


def _change(table: Table, source: str, become: Become) -> bool:
    key = source_pk(source), CONTRACT
    for _ in range(TRIES):
        item = table.get(*key)
        frozen = loads(RowContract, item[BODY]) if item else None
        found = become(frozen)
        if found is None or found == frozen:
            return False
        body = dumps(found)
        if item is None:
            done = table.put_new(*key, {BODY: body})
        else:
            values = {"grown": body, "old": item[BODY]}
            done = None is not table.update(
                *key, Update(f"SET #{BODY} = :grown", values, f"#{BODY} = :old")
            )
        if done:
            before = frozen.fields if frozen else ()
            log(
                "INFO",
                "contract grown" if frozen else "contract frozen",
                source=source,
                columns=[field.name for field in found.fields if field not in before],
            )
            return True
    raise LeaseHeld("others change the contract again and again", source)
