"""A real Valkey: the bundled binary, one server a session, emptied for each test. Import the two fixtures to use it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey


@pytest.fixture(scope="session")
def running_valkey() -> Iterator[EmbeddedValkey]:
    with tempfile.TemporaryDirectory(prefix="pushsvc-") as folder, EmbeddedValkey(Path(folder)) as server:
        yield server


@pytest.fixture
def valkey(running_valkey: EmbeddedValkey) -> Iterator[Valkey]:
    """A connection to an empty server; `running_valkey.url` is its URL."""
    connection = Valkey(running_valkey.url)
    connection.call("FLUSHALL")
    connection.call("CONFIG RESETSTAT")
    yield connection
    connection.call("CONFIG SET", "maxmemory", 0)
    connection.close()
