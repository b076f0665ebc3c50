"""A study on one machine opens no port to the network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from sweeper import ROOT
from sweeper.running.processes import descendants, processes

pytestmark = pytest.mark.slow
LISTEN = "0A"


def sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    with suppress(OSError):  # it has ended
        for path in list(Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(OSError):  # closed meanwhile
                found.add(os.readlink(path))
    return found


def listening(pid: int) -> set[tuple[IPv4Address | IPv6Address, int]]:
    """The (address, port) on which a process and all below it listen."""
    own = set().union(*map(sockets, [pid, *descendants(pid, processes())]))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in own:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                where = ip_address(b"".join(words))
                found.add((getattr(where, "ipv4_mapped", None) or where, int(port, 16)))
    return found


@pytest.mark.parametrize(
    "own", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}], ids=["", "token"]
)
def test_a_local_study_listens_on_loopback_alone(study_file, tmp_path, own):
    command = [sys.executable, "-m", "sweeper.cli", "run", study_file(), "--storage", tmp_path / "store"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    env = {**environment, "PYTHONPATH": str(ROOT), **own}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        found = set()
        while driver.poll() is None:
            found |= listening(driver.pid)
            time.sleep(0.2)
    assert driver.returncode == 0
    assert found, "Ray listens somewhere"
    assert {(str(address), port) for address, port in found if not address.is_loopback} == set()
