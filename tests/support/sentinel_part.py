# SPDX-License-Identifier: BSD-2-Clause
"""A primary, its replicas, and the sentinels that watch them: redis-servers of
our own, which rewrite their configuration files as they like."""

import os
import pathlib
import re
import signal

import parts
from parts import wait_for

MASTER = "mymaster"
SCHEMA = pathlib.Path(os.environ.get("QD_TOP_SRCDIR", ".")) / \
    "milter/quotadefer-schema.7"


def access_lists():
    """The users that quotadefer-schema(7) wants; passwords SECRET1, 2."""
    return [line for line in SCHEMA.read_text().splitlines()
            if line.startswith("user quotadefer-")]


def sentinel_lists():
    """The commands that give sentinels those users."""
    return [line.split() for line in SCHEMA.read_text().splitlines()
            if line.startswith("ACL SETUSER quotadefer-")]


class Configured(parts.Redis):
    """A redis-server with a configuration file that it can rewrite."""

    options = ()

    def __init__(self, place, name):
        super().__init__(place, name)
        self.conf = self.dir / "redis.conf"
        self.lines = [f"port {self.port}", "bind 127.0.0.1",
                      f"dir {self.dir}"]

    def start(self, *lines):
        self.conf.write_text("\n".join([*self.lines, *lines]) + "\n")
        self.spawn("redis-server", self.conf, *self.options)
        self.wait_until("it answers", lambda: self.cli("PING") == "PONG")


class Node(Configured):
    """A primary or a replica."""

    def __init__(self, place, name):
        super().__init__(place, name)
        self.lines += ['save ""', "repl-diskless-sync-delay 0",
                       "repl-ping-replica-period 1", *access_lists()]

    def info(self, key):
        found = re.search(rf"^{key}:(\S+)",
                          self.cli("INFO", "replication"), re.M)
        return found and found[1]

    def clients(self):
        """Connections that are not those of Redis itself, nor ours."""
        return [line for line in self.cli("CLIENT", "LIST").splitlines()
                if " user=quotadefer-" in line]


class Sentinel(Configured):
    options = ("--sentinel",)

    def __init__(self, place, name, primary, *lines):
        super().__init__(place, name)
        self.lines += [
            *lines,
            f"sentinel monitor {MASTER} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 1000",
            f"sentinel parallel-syncs {MASTER} 2"]

    def names(self):
        """The port of the primary, as it knows it."""
        return int((self.cli("SENTINEL", "get-master-addr-by-name",
                             MASTER).split() or [0, 0])[1])

    def replicas(self):
        """How many could take over; 0 if something else is not well."""
        text = self.cli("SENTINEL", "MASTER", MASTER)
        fields = dict(zip(text.splitlines()[::2], text.splitlines()[1::2]))
        if fields.get("flags") != "master" or \
                fields.get("num-other-sentinels") != "2":
            return 0
        lines = self.cli("SENTINEL", "REPLICAS", MASTER).splitlines()
        return [value for key, value in zip(lines, lines[1:])
                if key == "flags"].count("slave")


class Group:
    """All six."""

    def __init__(self, place):
        self.place = place
        self.nodes = [Node(place, f"node{n}") for n in range(3)]
        self.sentinels = [Sentinel(place, f"sentinel{n}", self.nodes[0])
                          for n in range(3)]

    def start(self):
        self.place.start(self.nodes[0])
        for node in self.nodes[1:]:
            self.place.start(node,
                             f"replicaof 127.0.0.1 {self.nodes[0].port}")
        for sentinel in self.sentinels:
            self.place.start(sentinel)
        self.wait_healthy()

    def stop(self):
        """They are stopped one by one, by the place."""

    def url(self, user=None):
        hosts = ",".join(f"127.0.0.1:{s.port}" for s in self.sentinels)
        return f"sentinel://{user + '@' if user else ''}{hosts}/{MASTER}"

    def primary(self):
        """The node that all sentinels name, or None."""
        ports = {sentinel.names() for sentinel in self.sentinels}
        found = [n for n in self.nodes if ports == {n.port}]
        return found[0] if found else None

    def wait_elected(self, old):
        """Until all name another, which knows it itself; that one."""
        def elected():
            node = self.primary()
            return node and node is not old and \
                node.info("role") == "master" and node
        return wait_for("another primary is elected", elected)

    def in_step(self, primary):
        """How many replicas have all that it has."""
        return sum(node.info("master_port") == str(primary.port) and
                   node.info("master_link_status") == "up" and
                   node.info("master_sync_in_progress") == "0"
                   for node in self.nodes if node is not primary)

    def wait_healthy(self, replicas=2):
        """Until so many could take over, and all sentinels know. One that
        takes itself for the primary is told otherwise after 8 seconds, and
        what a sentinel knows may be 10 seconds old."""
        def healthy():
            node = self.primary()
            return node and node.info("role") == "master" and \
                self.in_step(node) >= replicas and \
                all(s.replicas() >= replicas for s in self.sentinels)
        wait_for("all is well with Redis", healthy, 4 * parts.PATIENCE)

    def kill_primary(self):
        """It comes back as a replica of the next one, which is returned."""
        old = self.primary()
        old.stop(signal.SIGKILL)
        new = self.wait_elected(old)
        old.start(f"replicaof 127.0.0.1 {new.port}")
        return new

    def freeze_primary(self):
        """It goes on, and takes itself for the primary, until a sentinel tells
        it. The next one, and a function that lets the old one go on."""
        old = self.primary()
        old.send(signal.SIGSTOP)
        return self.wait_elected(old), lambda: old.send(signal.SIGCONT)
