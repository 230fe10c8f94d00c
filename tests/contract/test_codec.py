"""Messages between processes of different versions."""

from __future__ import annotations

import pytest

from weir_contract.codec import ContractError, dumps, loads
from weir_contract.rows import Field, RowContract
from weir_contract.sources import SourceConfig


def test_a_message_is_the_same_after_its_way() -> None:
    contract = RowContract((Field("a", "b.c", "integer"),), keys=("a",))
    config = SourceConfig("p", "n", "s", "raw", "state", contract)
    assert loads(SourceConfig, dumps(config)) == config


def test_what_an_earlier_version_wrote_is_read_without_what_is_gone() -> None:
    written = '{"fields":[{"name":"a","path":"a"}],"keys":["a"],"recordFormat":"csv"}'
    found = loads(RowContract, written)
    assert found == RowContract((Field("a", "a"),), keys=("a",))
    assert "recordFormat" not in dumps(found)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('{"recordFormats":"csv"}', "RowContract: unknown key 'recordFormats'; known are fields"),
        ('{"RETIRED":[]}', "unknown key 'RETIRED'"),
        ('{"fields":[{"name":"a","path":"a","recordFormat":"csv"}]}', r"fields\[0\]: unknown key"),
    ],
)
def test_what_no_version_wrote_is_refused_with_its_place(written: str, why: str) -> None:
    with pytest.raises(ContractError, match=why):
        loads(RowContract, written)
