#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""sentinel:// with a real primary, replicas and sentinels that fail over while
scanners publish and mail is asked about. QD_FAILOVERS says how often, 20 if it
is not set. If QD_BACK_WITHIN is set, every client must be back within so many
seconds after the election, which is otherwise only printed."""

import json
import os
import pathlib
import re
import shutil
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
import sentinel_part  # noqa: E402
from feed import OddRedis, resp  # noqa: E402
from parts import Tree, wait_for  # noqa: E402
from watch import Asker, Watcher  # noqa: E402

FAILOVERS = int(os.environ.get("QD_FAILOVERS", "20"))
BACK_WITHIN = float(os.environ.get("QD_BACK_WITHIN", "inf"))
ROOTS = "{quotadefer}:root:"


def secret(place, name, text):
    """A password file for the scanner and the filter."""
    path = place.dir / name
    path.write_text(text + "\n")
    shutil.chown(path, "cyrus", "postfix")
    path.chmod(0o640)
    return path


class Load:
    """Threads that do something again and again until they are stopped."""

    def __init__(self):
        self.over = threading.Event()
        self.threads = []
        self.failed = []

    def start(self, work, pause):
        def run():
            try:
                while not self.over.wait(pause):
                    work()
            except Exception as error:  # pylint: disable=broad-except
                self.failed.append(error)
        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(parts.PATIENCE)


class Failover(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.group = sentinel_part.Group(self.place)
        self.group.start()
        self.milter = parts.Milter(
            self.place, redis=self.group.url("quotadefer-milter"),
            redis_password_file=secret(self.place, "one", "SECRET1"),
            redis_timeout="2s", max_age="1h", defer_limit="0")
        # what is few here is not to be doubted
        self.scanning = [
            "-o", f"redis={self.group.url('quotadefer-scan')}", "-o",
            f"redis_password_file={secret(self.place, 'two', 'SECRET2')}",
            "-o", "guard_full=100%", "-o", "guard_roots=100%"]
        self.watched = Tree(self.place, "watched")
        self.scanned = Tree(self.place, "scanned")
        for tree, letter in ((self.watched, "w"), (self.scanned, "s")):
            for user in ("full", "fuller", "good"):
                tree.path(user).unlink()
            for n in range(20):
                tree.set(f"{letter}calm{n}", 50000)
                tree.set(f"{letter}busy{n}", 0)
                tree.set(f"{letter}full{n}", 102401)
        self.load = Load()
        self.place.callback(self.load.stop)
        self.changes = 0
        self.asked = {"calm": 0, "full": 0}
        self.wrong = []
        self.statuses = {}
        self.times = {"watch": [], "cron": []}

    def cron(self, tree, source, *args):
        done = self.milter.scan(tree.conf, *self.scanning, "-o",
                                f"source={source}", "-q", *args, check=False)
        assert done.returncode in (0, 69, 75), (done.returncode, done.stderr)
        assert "NOPERM" not in done.stderr, done.stderr
        if not args:
            count = self.statuses.get(done.returncode, 0)
            self.statuses[done.returncode] = count + 1
        return done

    def change(self):
        """Two mailboxes get full, or get room again."""
        self.changes += 1
        used = 102401 + self.changes if self.changes // 20 % 2 else 0
        self.watched.set(f"wbusy{self.changes % 20}", used)
        self.scanned.set(f"sbusy{self.changes % 20}", used)

    def scan_like_cron(self):
        self.cron(self.scanned, "scanned")
        if self.changes % 3 == 0:
            self.cron(self.watched, "watched")

    def defers(self, asker, user):
        return asker.defers(f"{user}@example.org")

    def ask(self):
        """Those that were never full pass, always; the others do not."""
        for letter in "ws":
            for n in range(20):
                for kind, want in (("calm", False), ("full", True)):
                    user = f"{letter}{kind}{n}"
                    self.asked[kind] += 1
                    if self.defers(self.asker, user) != want:
                        self.wrong.append((user, want))

    def start_all(self):
        for tree, source in ((self.watched, "watched"),
                             (self.scanned, "scanned")):
            self.assertEqual(self.cron(tree, source).returncode, 0)
        self.place.start(self.milter)
        self.watcher = Watcher(self.place, self.milter, self.watched.conf)
        self.place.start(self.watcher, *self.scanning, "-o",
                         "source=watched")
        self.askers = [Asker(self.milter.path) for _ in range(2)]
        for asker in self.askers:
            self.place.callback(asker.close)
        self.asker, self.prober = self.askers
        wait_for("the feed has all", lambda: all(
            self.defers(self.asker, f"{letter}full{n}")
            for letter in "ws" for n in range(20)))
        self.load.start(self.change, 0.01)
        self.load.start(self.scan_like_cron, 0.2)
        self.load.start(self.ask, 0.01)

    def wait_back(self, number, primary):
        """Until something new has gone all the way, from each scanner."""
        began = time.monotonic()
        left = {"watch": (self.watched, f"wmark{number}"),
                "cron": (self.scanned, f"smark{number}")}
        for tree, user in left.values():
            tree.set(user, 102401)

        def back():
            for client, (tree, user) in list(left.items()):
                if self.defers(self.prober, user) and primary.cli(
                        "HEXISTS", ROOTS + tree.dir.name,
                        f"user.{user}") == "1":
                    self.times[client].append(time.monotonic() - began)
                    del left[client]
            return not left
        wait_for("every client is back", back)

    def fail_over(self, number):
        """By kill -9, by SIGSTOP for longer than clients wait, and by one for
        so short that their connections live on."""
        let_go = None
        if number % 2 == 0:
            new = self.group.kill_primary()
        else:
            new, let_go = self.group.freeze_primary()
        if let_go and number % 4 == 1:
            let_go()
            let_go = None
        self.wait_back(number, new)
        if let_go:
            let_go()
        self.group.wait_healthy(1)

    def published(self, node, *sources):
        found = {}
        for source in sources:
            lines = node.cli("HGETALL", ROOTS + source).splitlines()
            for root, text in zip(lines[::2], lines[1::2]):
                found[root, source] = int(re.search(r"S=(\d+)/", text)[1])
        return found

    def table(self):
        return {(r["root"], r["source"]): r["usage"]["storage"]["used"]
                for r in json.loads(self.milter.ctl("-j", "list").stdout)}

    def settle(self):
        """All that changed is in every table; no scan of the tree that is
        watched helps."""
        self.assertEqual(self.load.failed, [])
        wait_for("the watch has published all", lambda: self.cron(
            self.watched, "watched", "--dry-run").stdout == "")
        wait_for("a scan gets its turn", lambda: self.cron(
            self.scanned, "scanned").returncode == 0)
        sources = "watched", "scanned"
        primary = self.group.primary()
        wait_for("the table is what is published", lambda: self.table() ==
                 self.published(primary, *sources))
        for node in self.group.nodes:
            wait_for("the replicas have it", lambda n=node: self.published(
                n, *sources) == self.published(primary, *sources))

    def descriptors(self):
        return [len(os.listdir(f"/proc/{server.process.pid}/fd"))
                for server in (self.milter, self.watcher)]

    def no_leaks(self, before):
        """One connection of the feed and one of the watch, to the primary."""
        primary = self.group.primary()

        def users():
            return {node.name: sorted(re.search(r"user=(\S+)", line)[1]
                                      for line in node.clients())
                    for node in self.group.nodes if node.clients()}
        want = {primary.name: ["quotadefer-milter", "quotadefer-scan"]}
        wait_for(f"only {want}", lambda: users() == want)
        wait_for("no more descriptors", lambda: all(
            a <= b for a, b in zip(self.descriptors(), before)))

    def test_failovers(self):
        self.start_all()
        before = self.descriptors()
        for number in range(FAILOVERS):
            self.fail_over(number)
        self.load.stop()
        self.group.wait_healthy()
        self.settle()
        self.no_leaks(before)
        for node in self.group.nodes:
            self.assertEqual(node.cli("ACL", "LOG"), "")
        for text in (self.milter.text(), self.watcher.text()):
            self.assertNotIn("NOPERM", text)
            self.assertNotIn("SECRET", text)
        print(f"\n{FAILOVERS} failovers, {self.changes} changes, scans "
              f"by exit status {self.statuses}, asked {self.asked}, wrong "
              f"{len(self.wrong)}, slowest back: " +
              ", ".join(f"{client} {max(times):.1f} s"
                        for client, times in self.times.items()),
              file=sys.stderr)
        self.assertEqual(self.wrong, [])
        self.assertLessEqual(max(sum(self.times.values(), [])), BACK_WITHIN)


class Asking(unittest.TestCase):
    """Sentinels that are down, silent, or do not know; and one that does."""

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.redis = self.place.start(parts.Redis(self.place))
        self.tree = Tree(self.place, "tree")
        self.milter = parts.Milter(self.place, redis_timeout="2s")
        self.good = self.odd(resp(["127.0.0.1", str(self.redis.port)]))

    def odd(self, reply):
        """A sentinel with an answer of its own; where it is."""
        server = OddRedis()
        self.place.callback(server.close)
        server.replies["SENTINEL"] = reply
        return server

    def where(self, server):
        if isinstance(server, OddRedis):
            return f"127.0.0.1:{server.socket.getsockname()[1]}"
        return f"127.0.0.1:{server}"

    def scan(self, *sentinels, user="", name="mine"):
        url = ",".join(self.where(s) for s in sentinels)
        self.milter.write_conf(redis=f"sentinel://{user}{url}/{name}")
        return self.milter.scan(self.tree.conf, check=False)

    def silent(self):
        """Connects, and never says a word."""
        server = self.place.enter_context(
            socket.create_server(("127.0.0.1", 0)))
        return server.getsockname()[1]

    def test_one_knows(self):
        done = self.scan(parts.free_port(), self.odd("*-1"), self.silent(),
                         self.odd("-ERR odd"), self.good)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("user.full", self.redis.cli("HKEYS", ROOTS + "test"))

    def test_none_knows(self):
        dead, silent, odd = parts.free_port(), self.silent(), self.odd("*-1")
        lost = self.odd("-IDONTKNOW yet")
        done = self.scan(dead, silent, odd, lost)
        self.assertEqual(done.returncode, 69)
        for server, why in ((dead, "Connection refused"),
                            (silent, "no reply in time"),
                            (odd, "it does not know mine"),
                            (lost, "IDONTKNOW yet")):
            self.assertIn(f"{self.where(server)}: {why}", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_answers_that_make_no_sense(self):
        for answer in ("+OK", ":7", "*0", resp(["h"]), resp(["", "1"]),
                       resp(["h", "x"]), resp(["h", "0"]),
                       resp(["h", "65536"]), resp(["h", "1 "]),
                       resp(["a b", "1"]), resp(["h" * 300, "1"]),
                       resp([["h"], ["1"]]), resp(["h", "1", "2"]),
                       resp(["h", None]), "*2\r\n$-1\r\n$-1", "junk"):
            with self.subTest(answer=answer):
                done = self.scan(self.odd(answer))
                self.assertEqual(done.returncode, 69, done.stderr)
                self.assertIn("no sentinel names the primary of mine",
                              done.stderr)
                done = self.scan(self.odd(answer), self.good)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_replica_is_not_believed(self):
        replica = self.place.start(parts.Redis(self.place, "replica"))
        replica.follow(self.redis)
        stale = self.odd(resp(["127.0.0.1", str(replica.port)]))
        done = self.scan(stale)
        self.assertEqual(done.returncode, 69)
        self.assertIn("not the primary, it calls itself slave", done.stderr)
        # asked again, and not only the one that answers first
        self.assertGreater(len(stale.asked), 3)
        self.assertEqual(self.scan(stale, self.good).returncode, 0)

    def test_dead_primary(self):
        dead = self.odd(resp(["127.0.0.1", str(parts.free_port())]))
        self.assertEqual(self.scan(dead, self.good).returncode, 0)
        done = self.scan(dead)
        self.assertEqual(done.returncode, 69)
        self.assertIn("Connection refused", done.stderr)

    def test_another_is_named_now(self):
        """One that was stopped takes itself for the primary still."""
        other = self.place.start(parts.Redis(self.place, "other"))
        self.scan(self.good)
        self.place.start(self.milter)
        watcher = self.place.start(Watcher(self.place, self.milter,
                                           self.tree.conf))
        self.good.replies["SENTINEL"] = resp(["127.0.0.1", str(other.port)])
        wait_for("the scanner has followed", lambda: "user.full" in
                 other.cli("HKEYS", ROOTS + "test"))
        self.tree.set("good", 102401)
        wait_for("the filter too", lambda: self.milter.ctl(
            "query", "good@example.org", check=False).returncode == 1)
        self.assertTrue(watcher.is_running())

    def test_another_is_named_when_it_is_done(self):
        """What was written may have been thrown away, and a lease that was
        given back is still there on the other: all again."""
        other = self.place.start(parts.Redis(self.place, "other"))
        first = [resp(["127.0.0.1", str(self.redis.port)])]
        then = resp(["127.0.0.1", str(other.port)])

        class Replies:
            def get(self, word, default):
                if word != "SENTINEL":
                    return default
                return first.pop() if first else then
        self.good.replies = Replies()
        done = self.scan(self.good)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not the primary any more", done.stderr)
        for server in (self.redis, other):
            self.assertIn("user.full", server.cli("HKEYS", ROOTS + "test"))
            self.assertEqual(server.cli("EXISTS", "{quotadefer}:lease:test"),
                             "0")

    def test_password(self):
        """Sentinels are told it if they ask, and only then."""
        user = "quotadefer-scan:SECRET2@"
        for line in sentinel_part.access_lists():
            self.redis.cli("ACL", "SETUSER", *line.split()[1:])
        self.redis.cli("ACL", "SETUSER", "default", "off")
        done = self.scan(self.good, user=user)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("AUTH", self.good.asked)
        os.environ["REDISCLI_AUTH"] = "other"
        self.addCleanup(os.environ.pop, "REDISCLI_AUTH")
        guarded = self.place.start(sentinel_part.Sentinel(
            self.place, "guarded", self.redis, "requirepass other"))
        done = self.scan(guarded.port, user=user)
        self.assertEqual(done.returncode, 77)
        self.assertIn("WRONGPASS", done.stderr)
        self.assertNotIn("SECRET", done.stderr)
        for words in sentinel_part.sentinel_lists():
            self.assertEqual(guarded.cli(*words), "OK")
        done = self.scan(guarded.port, user=user, name="mymaster")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.milter.write_conf(redis=f"sentinel://quotadefer-milter:SECRET1@"
                               f"{self.where(guarded.port)}/mymaster")
        self.place.start(self.milter)
        wait_for("the filter follows", lambda: self.milter.ctl(
            "query", "full@example.org", check=False).returncode == 1)

    def test_password_is_not_printed(self):
        self.milter.write_conf(
            redis="sentinel://u:s3cret@[::1],s2:7/mine/3")
        text = self.milter.ctl("-n", "-v").stdout
        self.assertIn('"sentinel://...@[::1]:26379,s2:7/mine/3"', text)
        self.assertNotIn("s3cret", text)

    def test_tls(self):
        self.milter.write_conf(redis="rediss://u:s3cret@h")
        done = self.milter.ctl("-n", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn("TLS", done.stderr)


if __name__ == "__main__":
    parts.require(parts.MILTER, parts.SCAN, "redis-server", "redis-cli")
    parts.main()
