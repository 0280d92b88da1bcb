"""Addresses of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from gli_tasks.rehearsal.ecs.addresses import Addresses, AddressesExhausted


@pytest.fixture
def addresses() -> Iterator[Addresses]:
    with closing(Addresses()) as found:
        yield found


def test_an_address_comes_round_only_after_all_others(addresses: Addresses) -> None:
    first = addresses.take()
    addresses.free(first)
    others = [addresses.take() for _ in range(253)]
    assert first not in others
    assert len(set(others)) == len(others)
    assert not any(address.startswith("127.0.0.") for address in others)
    assert addresses.available
    assert addresses.take() == first
    assert not addresses.available
    with pytest.raises(AddressesExhausted):
        addresses.take()


def test_two_twins_on_one_machine_never_share_an_address(addresses: Addresses) -> None:
    with closing(Addresses()) as other:
        mine, theirs = addresses.take(), other.take()
        assert mine.rpartition(".")[0] != theirs.rpartition(".")[0]
    with closing(Addresses()) as later:
        assert later.take().rpartition(".")[0] == theirs.rpartition(".")[0]
