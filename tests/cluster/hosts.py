"""Two hosts in one machine that Ray's launcher takes for two: each has its own network, processes, mounts and home.

A host is a set of kernel namespaces whose first process is an ssh server; to end that is to pull the plug. Only what a
test needs is shared: the disk outside /tmp, so that storage is, and the Python environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from sweeper import ROOT

BIN = Path(sys.prefix, "bin")
SITE = next(Path(sys.prefix, "lib").glob("python3*/site-packages"))
TOOLS = {
    "sshd": "openssh-server",
    "rsync": "rsync",
    "ip": "iproute2",
    "unshare": "util-linux",
    "tmux": "tmux",
}
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
BRIDGE, NETWORK = "sweeperbr0", "10.77.0"
SHARED_UNDER_TMP = [path for path in (sys.prefix, sys.base_prefix) if path.startswith("/tmp/")]
# in the host's own namespaces: name, home, memory that processes share, /tmp, then the ssh server
BOOT = """
set -eu; name=$1; folder=$2; shift 2
hostname "$name"
mount --make-rprivate /
mount -t tmpfs -o size=2g,mode=1777 tmpfs /dev/shm
for file in passwd hosts; do mount --bind "$folder/$file" "/etc/$file"; done
for path in "$@"; do there=$folder/tmp/${path#/tmp/}; mkdir -p "$there"; mount --rbind "$path" "$there"; done
mount --rbind "$folder/tmp" /tmp
mkdir -p /run/sshd; cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    "$(command -v sshd)" -D -e -f "$folder/sshd_config"
"""


def lacking(more: Mapping[str, str] = MappingProxyType({})) -> str:
    """Say why there can be no hosts here with more {tool: Debian's package}, empty if there can."""
    if os.geteuid() != 0:
        return "two hosts in one machine need root"
    missing = [package for tool, package in {**TOOLS, **more}.items() if not shutil.which(tool, path=SEARCH)]
    if missing:
        return f"two hosts in one machine need {', '.join(missing)}"
    spaces = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    wires = "ip link add name probe type veth && ip link add name bridge type bridge"
    spaces_named = "ip netns add sweeper-probe && ip netns del sweeper-probe"
    probe = f"{wires} && {spaces_named} && hostname probe && mount -t tmpfs tmpfs /dev/shm"
    done = subprocess.run(
        [*spaces, "sh", "-c", probe], capture_output=True, text=True, env={**os.environ, "PATH": SEARCH}
    )
    return f"this machine allows no namespaces ({done.stderr.strip()})" if done.returncode else ""


def call(*command: object) -> str:
    """Run a command of this machine and return what it prints."""
    words = list(map(str, command))
    return subprocess.run(
        words, check=True, capture_output=True, text=True, env={**os.environ, "PATH": SEARCH}
    ).stdout


class Host:
    """One host: `up`, `off` as when the plug is pulled, and commands over ssh."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.ip, self.space = name, f"{NETWORK}.{number}", f"sweeper-{name}"
        self.wire, self.folder, self.key = f"sw-{name}", folder / name, folder / "key"
        self.home = self.folder / "home"
        self.process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Write what the host's namespaces will see as theirs."""
        for part in ("home/.ssh", "tmp"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "tmp").chmod(0o1777)
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        shutil.copy(self.key.with_suffix(".pub"), self.home / ".ssh" / "authorized_keys")
        lines = Path("/etc/passwd").read_text().splitlines()
        own = f"root:x:0:0:root:{self.home}:/bin/bash"
        rest = [line for line in lines if not line.startswith("root:")]
        (self.folder / "passwd").write_text("\n".join([own, *rest]) + "\n")
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{NETWORK}.1 head\n{NETWORK}.2 worker\n")
        (self.folder / "sshd_config").write_text(
            f"ListenAddress {self.ip}\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"AuthorizedKeysFile {self.home}/.ssh/authorized_keys\nMaxSessions 50\nMaxStartups 50\n"
        )

    def up(self) -> None:
        """Plug the host in."""
        call("ip", "netns", "add", self.space)
        call("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        call("ip", "link", "set", self.wire, "master", BRIDGE, "up")
        call("ip", "-n", self.space, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            call("ip", "-n", self.space, "link", "set", device, "up")
        spaces = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        boot = ["bash", "-c", BOOT, "boot", self.name, str(self.folder), *SHARED_UNDER_TMP]
        with (self.folder / "sshd.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, *spaces, *boot],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": SEARCH},
            )
        for _ in range(100):
            if self.run("true", check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"host {self.name}: {(self.folder / 'sshd.log').read_text()}")

    def off(self) -> None:
        """Pull the plug: nothing that it would still say gets out."""
        if self.process is None:
            return
        call("ip", "link", "del", self.wire)
        self.process.kill()
        self.process.wait()
        self.process = None
        call("ip", "netns", "del", self.space)

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the host."""
        known = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        words = ["ssh", "-i", str(self.key), *known, f"root@{self.ip}", command]
        return subprocess.run(words, check=check, capture_output=True, text=True)


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Give a head and a worker, and leave nothing of them."""
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    hosts = Host("head", 1, folder), Host("worker", 2, folder)
    call("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        call("ip", "addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        call("ip", "link", "set", BRIDGE, "up")
        for host in hosts:
            host.make()
            host.up()
        yield hosts
    finally:
        for host in hosts:
            host.off()
        call("ip", "link", "del", BRIDGE)


def copied(home: Path) -> None:
    """Copy the project, as it is checked out."""
    left_out = shutil.ignore_patterns(".git", ".venv", "sweeps", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, home, ignore=left_out)


def installed(home: Path) -> None:
    """Make the environment of a copy of the project: all that is pinned, as it is installed on this machine."""
    env = home / ".venv"
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    (own,) = env.glob("lib/python3*/site-packages")
    (own / "shared.pth").write_text(f"import sys; sys.path.insert(0, {str(SITE)!r})\n")
    for script in ("ray", "mlflow"):
        _, rest = (BIN / script).read_text().split("\n", 1)
        (env / "bin" / script).write_text(f"#!{env}/bin/python\n{rest}")
        (env / "bin" / script).chmod(0o755)
