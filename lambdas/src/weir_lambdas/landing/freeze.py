"""A source's contract, frozen once; what it has stays as it is."""

from __future__ import annotations

from dataclasses import replace

from weir_contract.codec import dumps, loads
from weir_contract.rows import RowContract
from weir_contract.state import BODY, CONTRACT, source_pk
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update


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
    key = source_pk(source), CONTRACT
    item = table.get(*key)
    if item is None:
        made = table.put_new(*key, {BODY: dumps(seen)})
        if made:
            log("INFO", "contract frozen", source=source, columns=len(seen.fields))
        return made
    frozen = loads(RowContract, item[BODY])
    known = {field.name for field in frozen.fields}
    new = tuple(field for field in seen.fields if field.name not in known)
    if not stated.fields or not new:
        return False
    grown = dumps(replace(frozen, fields=(*frozen.fields, *new)))
    update = Update(f"SET #{BODY} = :grown", {"grown": grown, "old": item[BODY]}, f"#{BODY} = :old")
    if not table.update(*key, update):
        return False
    log("INFO", "contract grown", source=source, columns=[field.name for field in new])
    return True
