"""Fixtures that every room's tests may use."""

from collections.abc import Iterator

import pytest
from valkey_fixture import running_valkey, valkey

from pushsvc.simulator import Simulator

__all__ = ["running_valkey", "simulator", "valkey"]


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator.start() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Iterator[Simulator]:
    """APNs production and sandbox, FCM and OAuth, shared by the session and clean for each test."""
    running_simulator.reset()
    yield running_simulator
    running_simulator.reset()
