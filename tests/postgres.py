"""A private PostgreSQL cluster for the tests: on a unix socket in a temporary folder, gone when they end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_names = itertools.count(1)


class NoPostgres(Exception):
    """Why there is none."""


@contextmanager
def cluster() -> Iterator[str]:
    """Starts one and yields the URL of its socket, for `?dbname`-less use: postgresql://tester@/NAME?host=…

    The server refuses to run as root, so it runs as another user where the tests do.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    found = shutil.which("initdb")
    if not programs and not found:
        raise NoPostgres("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    programs_folder = programs[-1] if programs else Path(str(found)).parent
    user = None
    if os.geteuid() == 0:
        user = next((u.pw_name for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody")), None)
        if user is None:
            raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres or nobody")
    home = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if user is not None:
            shutil.chown(home, user)

        def run(program: str, *arguments: str) -> None:
            done = subprocess.run(
                [str(programs_folder / program), *arguments],
                user=user,
                cwd=home,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
            if done.returncode:
                raise NoPostgres(f"{program} failed: {done.stdout.decode()[-500:]}")

        data = home / "data"
        run("initdb", "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = ''\nunix_socket_directories = '{home}'\nfsync = off\nmax_connections = 60\n"
            )
        run("pg_ctl", "-D", str(data), "-w", "-l", str(home / "log"), "start")
        try:
            yield f"postgresql://tester@/postgres?host={home}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running cluster's first database; skips where there is none, unless in CI."""
    try:
        with cluster() as url:
            yield url
    except NoPostgres as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def new_database(postgres: str) -> str:
    name = f"test{next(_names)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")
