#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The filter's table follows what the scanners published in a real Redis."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import Tree, wait_for  # noqa: E402

ROOTS = "{quotadefer}:root:"
LOG = "{quotadefer}:log"


class OddRedis:
    """A server that answers commands as it is told to, and nothing else."""

    def __init__(self):
        self.replies = {}
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.socket.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,),
                             daemon=True).start()

    def _serve(self, client):
        with client, client.makefile("rb") as reader:
            while head := reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    length = int(reader.readline()[1:])
                    words.append(reader.read(length + 2)[:-2].decode())
                self.asked.append(words[0])
                reply = self.replies.get(words[0], "+OK")
                try:
                    client.sendall(reply.encode() + b"\r\n")
                except OSError:
                    return

    def close(self):
        self.socket.close()


def resp(value):
    """A value as a Redis reply: lists, strings, numbers, None."""
    if value is None:
        return "$-1"
    if isinstance(value, int):
        return f":{value}"
    if isinstance(value, list):
        return "\r\n".join([f"*{len(value)}"] + [resp(v) for v in value])
    return f"${len(value)}\r\n{value}"


class Feed(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.redis = self.place.start(parts.Redis(self.place))
        self.tree = Tree(self.place, "tree")
        self.milter = parts.Milter(self.place, redis=self.redis.url,
                                   max_age="1h", redis_timeout="2s")

    def scan(self, *args, tree=None, source="test", check=True):
        return self.milter.scan((tree or self.tree).conf, "-o",
                                f"source={source}", *args, check=check)

    def start(self):
        self.scan()
        self.place.start(self.milter)
        self.wait_deferred("full")

    def verdict(self, user):
        done = self.milter.ctl("query", f"{user}@example.org", check=False)
        return {0: "pass", 1: "defer", 75: "unknown"}[done.returncode]

    def wait_deferred(self, user, verdict="defer"):
        wait_for(f"{user} is {verdict}", lambda:
                 self.verdict(user) == verdict)

    def table(self):
        """root and source -> usage, of the local table"""
        return {(r["root"], r["source"]): r["usage"]["storage"]["used"]
                for r in json.loads(self.milter.ctl("-j", "list").stdout)}

    def published(self, *sources):
        """The same, of Redis."""
        found = {}
        for source in sources or ("test",):
            lines = self.redis.cli("HGETALL", ROOTS + source).splitlines()
            for root, text in zip(lines[::2], lines[1::2]):
                used = text.split("S=")[1].split("/")[0]
                found[root, source] = int(used)
        return found

    def wait_equal(self, *sources):
        wait_for("the table is what is published", lambda:
                 self.table() == self.published(*sources))

    def test_follows_changes(self):
        self.start()
        self.wait_equal()
        loads = self.milter.stat("feed_loads_total")
        self.tree.set("good", 102402)
        self.tree.set("fuller", 5)
        out = self.scan().stdout
        self.assertIn("added=1 changed=0 removed=1", out)
        self.wait_deferred("good")
        self.wait_deferred("fuller", "pass")
        self.wait_equal()
        # by the stream, not by comparing all of it again
        self.assertEqual(self.milter.stat("feed_loads_total"), loads)

    def test_starts_without_redis(self):
        self.scan()
        self.redis.stop()
        self.place.start(self.milter)
        self.assertEqual(self.verdict("full"), "unknown")
        wait_for("it says so", lambda: "table stays as it is" in
                 self.milter.text())
        time_out = wait_for("it tries again", lambda:
                            self.milter.stat("feed_errors_total") > 5)
        self.assertTrue(time_out)
        self.assertEqual(self.milter.text().count("refused"), 1)
        self.redis.start()
        self.scan()
        self.wait_deferred("full")
        wait_for("it says so", lambda: ": following" in self.milter.text())

    def test_a_restart_starts_warm(self):
        self.start()
        self.milter.stop()
        self.redis.stop()
        self.milter.start()
        self.assertEqual(self.verdict("full"), "defer")

    def test_redis_dies_and_comes_back_empty(self):
        self.start()
        before = self.table()
        self.redis.stop(signal.SIGKILL)
        wait_for("the feed is down", lambda:
                 self.milter.stat("feed_up") == 0)
        self.assertEqual(self.table(), before)
        self.redis.start()
        wait_for("the feed is up", lambda: self.milter.stat("feed_up") == 1)
        # nothing was published there, which is not "nobody is full"
        self.assertEqual(self.table(), before)
        self.tree.set("good", 102402)
        self.tree.set("fuller", 0)
        self.scan()
        self.wait_deferred("good")
        self.wait_equal()

    def test_records_grow_too_old(self):
        self.milter.settings["max_age"] = "3s"
        self.start()
        self.redis.stop()
        self.wait_deferred("full", "unknown")
        wait_for("it says so", lambda: "source test: not heard of" in
                 self.milter.text())
        self.redis.start()
        self.scan()
        self.wait_deferred("full")
        wait_for("it says so", lambda: "source test: heard of again" in
                 self.milter.text())

    def test_flushall(self):
        self.start()
        before = self.table()
        loads = self.milter.stat("feed_loads_total")
        self.redis.cli("FLUSHALL")
        wait_for("it notices", lambda:
                 self.milter.stat("feed_loads_total") > loads)
        self.assertEqual(self.table(), before)
        self.tree.set("full", 0)
        self.scan()
        self.wait_deferred("full", "pass")
        self.wait_equal()

    def test_gap_in_the_stream(self):
        self.start()
        os.kill(self.milter.process.pid, signal.SIGSTOP)
        self.tree.set("good", 102402)
        self.tree.set("full", 0)
        self.scan()
        self.redis.cli("XTRIM", LOG, "MAXLEN", "0")
        self.tree.set("fuller", 102499)
        self.scan()
        os.kill(self.milter.process.pid, signal.SIGCONT)
        self.wait_deferred("good")
        self.wait_deferred("full", "pass")
        self.wait_equal()

    def test_stream_deleted(self):
        self.start()
        self.redis.cli("DEL", LOG)
        self.tree.set("good", 102402)
        self.scan()
        self.wait_deferred("good")
        self.wait_equal()

    def test_evicted_records(self):
        """A hash that lost its entries is no news of empty mailboxes."""
        self.start()
        before = self.table()
        self.redis.cli("DEL", ROOTS + "test")
        self.redis.cli("XTRIM", LOG, "MAXLEN", "0")
        wait_for("it says so", lambda: "is Redis evicting keys?" in
                 self.milter.text())
        self.assertEqual(self.table(), before)
        self.scan()
        self.assertEqual(len(self.published()), 2)
        self.wait_equal()

    def test_failover(self):
        replica = self.place.start(parts.Redis(self.place, "replica"))
        replica.follow(self.redis)
        self.milter.settings["redis"] = replica.url
        self.scan("-o", f"redis={self.redis.url}")
        self.place.start(self.milter)
        self.wait_deferred("full")
        self.redis.stop(signal.SIGKILL)
        replica.cli("REPLICAOF", "NO", "ONE")
        self.tree.set("good", 102402)
        self.tree.set("full", 0)
        self.scan()
        self.wait_deferred("good")
        self.wait_deferred("full", "pass")
        # and now to a server that has something else
        other = self.place.start(parts.Redis(self.place, "other"))
        self.milter.settings["redis"] = other.url
        self.milter.write_conf()
        self.tree.set("full", 102401)
        self.scan()
        self.milter.ctl("reload")
        self.wait_deferred("full")
        self.redis = other
        self.wait_equal()

    def test_frozen_redis(self):
        """Nobody waits for Redis but the feed."""
        self.start()
        os.kill(self.redis.process.pid, signal.SIGSTOP)
        wait_for("the feed gives up", lambda:
                 self.milter.stat("feed_up") == 0)
        self.assertEqual(self.verdict("full"), "defer")
        os.kill(self.redis.process.pid, signal.SIGCONT)
        self.tree.set("good", 102402)
        self.scan()
        self.wait_deferred("good")

    def test_stop_while_redis_is_frozen(self):
        self.milter.settings["redis_timeout"] = "10m"
        self.start()
        os.kill(self.redis.process.pid, signal.SIGSTOP)
        self.milter.write_conf(redis_timeout="9m")
        self.milter.ctl("reload")
        self.milter.write_conf(redis_timeout="8m")
        self.milter.ctl("reload")
        self.assertEqual(self.verdict("full"), "defer")
        self.assertEqual(self.milter.stop(), 0)

    def test_paused_redis(self):
        """It hears nothing for longer than it waits, and goes on after."""
        self.redis.stop()
        self.redis.start("--enable-debug-command", "yes")
        self.milter.settings["redis_timeout"] = "200ms"
        self.start()
        for command in (("CLIENT", "PAUSE", "3000", "ALL"),
                        ("DEBUG", "SLEEP", "3")):
            failures = self.milter.stat("feed_errors_total")
            sleeper = threading.Thread(target=self.redis.cli, args=command)
            sleeper.start()
            wait_for("the feed gives up", lambda last=failures:
                     self.milter.stat("feed_errors_total") > last)
            self.assertEqual(self.verdict("full"), "defer")
            sleeper.join()
            wait_for("the feed is up", lambda:
                     self.milter.stat("feed_up") == 1)
        self.tree.set("good", 102402)
        self.scan("-o", "redis_timeout=60s")
        self.wait_deferred("good")

    def test_password_changes(self):
        """The new one is read from its file: no reload is needed."""
        secret = self.place.dir / "secret"
        secret.write_text("")
        shutil.chown(secret, "cyrus", "postfix")
        secret.chmod(0o640)
        self.milter.settings["redis_password_file"] = str(secret)
        self.start()
        self.redis.cli("CONFIG", "SET", "requirepass", "s3cret")
        os.environ["REDISCLI_AUTH"] = "s3cret"
        self.addCleanup(os.environ.pop, "REDISCLI_AUTH")
        self.redis.cli("CLIENT", "KILL", "TYPE", "normal")
        wait_for("it says so", lambda: "NOAUTH" in self.milter.text())
        self.assertEqual(self.milter.text().count("NOAUTH"), 1)
        self.assertEqual(self.verdict("full"), "defer")
        secret.write_text("s3cret\n")
        self.tree.set("good", 102402)
        self.scan()
        self.wait_deferred("good")
        self.assertNotIn("s3cret", self.milter.text())

    def test_short_stream(self):
        """More changes at once than the stream keeps."""
        self.start()
        for used in range(102401, 102411):
            for n in range(3000):
                self.tree.set(f"m{n}", used)
            self.scan("-o", "stream_length=100", "--force")
            self.wait_equal()
        self.assertEqual(self.verdict("m2999"), "defer")

    def test_disk_full(self):
        """What is there stays; when there is room again, so does the rest."""
        self.milter.dir.joinpath("table").mkdir()
        parts.run("mount", "-t", "tmpfs", "-o", "size=160k,mode=2770",
                  "tmpfs", self.milter.dir / "table")
        self.place.callback(parts.run, "umount", "-l",
                            self.milter.dir / "table")
        shutil.chown(self.milter.dir / "table", "postfix", "postfix")
        self.start()
        for n in range(3000):
            self.tree.set(f"m{n}", 102401)
        self.scan("--force")
        wait_for("it says so", lambda: "table stays as it is" in
                 self.milter.text())
        self.assertEqual(self.verdict("full"), "defer")
        self.assertEqual(self.milter.text().count("stays as it is"), 1)
        self.assertRegex(self.milter.text(), "No space left|Input/output")
        parts.run("mount", "-o", "remount,size=8m", self.milter.dir / "table")
        self.wait_deferred("m2999")
        self.wait_equal()

    def test_junk(self):
        """What is not a record defers nobody, and stops nothing."""
        self.start()
        for root, junk in (("user.junk", "junk"), ("user.next", "2 S=9/0 "
                           "since=1 read=1"), ("user.cut", "1 S=9/0"),
                           ("x" * 600, "1 S=9/0 since=1 read=1")):
            self.redis.cli("HSET", ROOTS + "test", root, junk)
            self.redis.cli("XADD", LOG, "*", "source", "test", "root", root,
                           "record", junk)
        self.redis.cli("XADD", LOG, "*", "some", "thing")
        self.redis.cli("XADD", LOG, "*", "source", "../x", "root", "a",
                       "record", "b")
        loads = self.milter.stat("feed_loads_total")
        self.redis.cli("XADD", LOG, "*", "source", "test", "root",
                       "user.full", "record", "junk")
        # the stream makes no sense: what the hash says counts
        wait_for("it compares", lambda:
                 self.milter.stat("feed_loads_total") > loads)
        self.assertEqual(self.verdict("full"), "defer")
        for user in ("junk", "next", "cut"):
            self.assertEqual(self.verdict(user), "pass")
        # the next scan throws out what is not its own
        self.scan()
        self.wait_deferred("full")
        self.assertEqual(set(self.published()),
                         {("user.full", "test"), ("user.fuller", "test")})
        self.wait_equal()

    def test_wrong_types(self):
        self.start()
        before = self.table()
        for key in (LOG, "{quotadefer}:sources", ROOTS + "test"):
            with self.subTest(key=key):
                self.redis.cli("SET", key, "foreign")
                # so that the feed must compare everything
                self.redis.cli("XTRIM", LOG, "MAXLEN", "0")
                wait_for("the feed is down", lambda:
                         self.milter.stat("feed_up") == 0)
                self.assertEqual(self.table(), before)
                refused = self.scan(check=False)
                self.assertEqual(refused.returncode, 69)
                self.assertIn("WRONGTYPE", refused.stderr)
                self.redis.cli("DEL", key)
                self.scan()
                wait_for("the feed is up", lambda:
                         self.milter.stat("feed_up") == 1)
                self.wait_equal()
        # a source that says nothing of itself is not to be judged by
        self.redis.cli("SET", "{quotadefer}:source:test", "foreign")
        self.redis.cli("XTRIM", LOG, "MAXLEN", "0")
        wait_for("it says so", lambda: "cannot be used" in
                 self.milter.text())
        self.assertEqual(self.table(), before)
        self.assertEqual(self.scan(check=False).returncode, 69)

    def test_table_is_lost(self):
        """It is filled again at once, though nobody publishes anything."""
        self.start()
        path = self.milter.dir / "table/data.mdb"
        for lose in (path.unlink, lambda: os.truncate(path, 0),
                     lambda: os.truncate(path, 8192)):
            loads = self.milter.stat("feed_loads_total")
            lose()
            self.milter.stat("rcpt_total")  # it looks at the table
            wait_for("it compares", lambda last=loads:
                     self.milter.stat("feed_loads_total") > last)
            self.wait_deferred("full")
            self.wait_equal()

    def test_command_not_allowed(self):
        """It works up to the last step: said once, and tried less often."""
        self.scan()
        self.redis.cli("ACL", "SETUSER", "feed", "on", ">pw", "~*", "+@all",
                       "-xread")
        self.milter.settings["redis"] = \
            f"redis://feed:pw@127.0.0.1:{self.redis.port}"
        self.place.start(self.milter)
        wait_for("it says so", lambda: "NOPERM" in self.milter.text())
        wait_for("it tries again", lambda:
                 self.milter.stat("feed_errors_total") > 8)
        self.assertEqual(self.milter.text().count("NOPERM"), 1)
        self.assertNotIn(": following", self.milter.text())
        self.assertEqual(self.milter.stat("feed_up"), 0)
        self.redis.cli("ACL", "SETUSER", "feed", "+xread")
        wait_for("it follows", lambda: ": following" in self.milter.text())
        self.wait_equal()

    def test_replies_that_make_no_sense(self):
        odd = OddRedis()
        self.addCleanup(odd.close)
        self.scan()
        self.place.start(self.milter)
        self.wait_deferred("full")
        before = self.table()
        self.milter.write_conf(redis=odd.url)
        self.milter.ctl("reload")
        entry = ["1-1", ["source", "test", "root", "user.full"]]
        fields = ["schema", "1", "records", "0", "scanned",
                  str(int(time.time()))]
        for replies in (
                {"XREVRANGE": [[1, 2]]},
                {"XREVRANGE": [["1-1", [1, 2]]], "SMEMBERS": [1, None, "a"]},
                {"SMEMBERS": ["a"], "EXEC": [[1, 2, 3], "x"]},
                {"SMEMBERS": ["a"], "EXEC": [["schema", None], 0]},
                {"SMEMBERS": ["a"], "EXEC": [fields, 0], "HSCAN": [1, 2]},
                {"SMEMBERS": ["a"], "EXEC": [fields, 0],
                 "HSCAN": ["0", [1, 2, "user.full", 3, None, None]]},
                {"XREVRANGE": [entry], "XRANGE": [1, 2, 3]},
                {"XREVRANGE": [["9-9", []]], "XRANGE": [entry]},
                {"XRANGE": [entry], "XREAD": [["log", 1]]},
                {"XRANGE": [entry], "XREAD": [1]},
                {"XRANGE": [entry],
                 "XREAD": [["log", [1, ["1-2"], ["1-3", [1, 2, 3]]]]]}):
            with self.subTest(replies=replies):
                odd.replies = {command: resp(value)
                               for command, value in replies.items()}
                del odd.asked[:]
                wait_for("it was asked", lambda: odd.asked.count("INFO") > 1
                         or odd.asked.count("XREAD") > 3)
                self.assertEqual(self.table(), before)
        self.milter.write_conf(redis=self.redis.url)
        self.milter.ctl("reload")
        self.tree.set("good", 102402)
        self.scan()
        self.wait_deferred("good")

    def test_name_with_a_nul(self):
        """Not the name of the mailbox that it begins with."""
        self.start()
        words = ["XADD", LOG, "*", "source", "test", "root",
                 "user.good\0junk", "record", "1 S=9/0 since=1 read=1"]
        with socket.create_connection(("127.0.0.1", self.redis.port)) as s:
            s.sendall(f"{resp(words)}\r\n".encode())
            self.assertTrue(s.recv(100).startswith(b"$"))
        self.tree.set("more", 102402)
        self.scan()
        self.wait_deferred("more")
        self.assertEqual(self.verdict("good"), "pass")

    def test_nothing_waits_for_a_connect(self):
        """A server that does not even refuse: reload and stop go on."""
        with socket.socket() as full, contextlib.ExitStack() as waiting:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            while True:  # until the backlog is full
                client = waiting.enter_context(socket.socket())
                client.settimeout(0.5)
                try:
                    client.connect(("127.0.0.1", port))
                except TimeoutError:
                    break
            self.milter.settings["redis"] = f"redis://127.0.0.1:{port}"
            self.milter.settings["redis_timeout"] = "10m"
            self.milter.settings["domains"] = ["example.org"]
            self.scan("-o", f"redis={self.redis.url}")
            self.place.start(self.milter)
            self.milter.write_conf(redis=self.redis.url)
            self.milter.ctl("reload")
            self.wait_deferred("full")
            self.milter.write_conf(redis=f"redis://127.0.0.1:{port}")
            self.milter.ctl("reload")
            self.assertEqual(self.verdict("full"), "defer")
            self.assertEqual(self.milter.stop(), 0)

    def test_many_sources(self):
        """Hundreds publish; those that are withdrawn are forgotten."""
        self.start()
        now = int(time.time())
        commands = []
        for n in range(300):
            scanned = now if n % 2 else 1
            commands += [
                f"SADD {{quotadefer}}:sources s{n}",
                f"HSET {{quotadefer}}:source:s{n} schema 1 scanned {scanned} "
                "virtdomains userid defaultdomain example.org records 1",
                f'HSET {ROOTS}s{n} user.of{n} "1 S=102401/100 since=1 '
                f'read={scanned}"',
                f'HSET {ROOTS}s{n} user.common "1 S=102401/100 since=1 '
                f'read={scanned}"']
        self.redis.pipe(commands)
        self.redis.cli("XTRIM", LOG, "MAXLEN", "0")
        self.wait_deferred("of299")
        self.wait_deferred("common")
        self.assertEqual(self.verdict("of298"), "unknown")
        self.assertEqual(self.milter.ctl("status").stdout.count("\nsource "),
                         301)
        self.redis.pipe([f"SREM {{quotadefer}}:sources s{n}"
                         for n in range(0, 300, 2)])
        for _ in range(3):
            loads = self.milter.stat("feed_loads_total")
            self.redis.cli("XADD", LOG, "*", "source", "test", "root",
                           "user.full", "record", "junk")
            wait_for("it compares", lambda last=loads:
                     self.milter.stat("feed_loads_total") > last)
        wait_for("half of them are gone", lambda:
                 self.milter.ctl("status").stdout.count("\nsource ") == 151)

    def test_newer_schema(self):
        self.start()
        self.redis.cli("HSET", "{quotadefer}:source:future", "schema", "2",
                       "scanned", int(time.time()), "records", "1")
        self.redis.cli("SADD", "{quotadefer}:sources", "future")
        self.redis.cli("HSET", ROOTS + "future", "user.good",
                       "1 S=9/0 since=1 read=1")
        self.redis.cli("XADD", LOG, "*", "source", "future", "root", "",
                       "record", "")
        self.redis.cli("XADD", LOG, "*", "source", "future", "root",
                       "user.good", "record", "1 S=9/0 since=1 read=1")
        wait_for("it says so", lambda: "source future: what it says" in
                 self.milter.text())
        self.assertEqual(self.verdict("good"), "pass")
        self.assertEqual(self.verdict("full"), "defer")

    def test_two_sources(self):
        other = Tree(self.place, "other")
        other.set("full", 0)
        other.set("good", 102402)
        self.scan()
        self.scan(tree=other, source="second")
        self.place.start(self.milter)
        self.wait_deferred("good")
        self.wait_equal("test", "second")
        # fuller@ is on both while it is being moved
        self.tree.path("fuller").unlink()
        self.scan()
        self.wait_deferred("fuller")
        other.path("fuller").unlink()
        self.scan(tree=other, source="second")
        self.wait_deferred("fuller", "pass")
        self.wait_equal("test", "second")

    def test_other_naming_is_refused(self):
        self.start()
        other = Tree(self.place, "other", unixhierarchysep="no")
        refused = self.scan(tree=other, source="second", check=False)
        self.assertEqual(refused.returncode, 78)
        for word in ("second", "test", "unixhierarchysep"):
            self.assertIn(word, refused.stderr)
        self.assertEqual(self.published("second"), {})
        # another prefix is another table
        self.scan("-o", "prefix=apart", tree=other, source="second")
        self.assertEqual(self.redis.cli("HLEN", "{apart}:root:second"), "2")

    def test_lease(self):
        self.redis.cli("SET", "{quotadefer}:lease:test",
                       "process 7 on elsewhere (x)", "PX", "60000")
        refused = self.scan(check=False)
        self.assertEqual(refused.returncode, 75)
        self.assertIn("process 7 on elsewhere", refused.stderr)
        self.assertEqual(self.published(), {})
        self.scan(source="second")
        self.redis.cli("DEL", "{quotadefer}:lease:test")
        self.scan()
        # it was given back, and others are never touched
        self.assertEqual(self.redis.cli("EXISTS",
                                        "{quotadefer}:lease:test"), "0")

    def test_password(self):
        self.redis.stop()
        os.environ["REDISCLI_AUTH"] = "s3cret"
        self.addCleanup(os.environ.pop, "REDISCLI_AUTH")
        self.redis.start("--requirepass", "s3cret")
        for url, words in ((self.redis.url, "NOAUTH"),
                           (f"redis://:wrong@127.0.0.1:{self.redis.port}",
                            "WRONGPASS")):
            refused = self.scan("-o", f"redis={url}", check=False)
            self.assertEqual(refused.returncode, 77, refused.stderr)
            self.assertIn(words, refused.stderr)
            self.assertNotIn("wrong@", refused.stderr)
        secret = self.place.dir / "secret"
        secret.write_text("s3cret\n")
        secret.chmod(0o644)
        settings = ("-o", f"redis_password_file={secret}")
        refused = self.scan(*settings, check=False)
        self.assertEqual(refused.returncode, 78)
        self.assertIn("everybody may read it", refused.stderr)
        secret.chmod(0o600)
        refused = self.scan(*settings, check=False)
        self.assertEqual(refused.returncode, 77)
        self.assertIn("let a group read it", refused.stderr)
        shutil.chown(secret, "cyrus")
        self.scan(*settings)
        self.scan("-o", f"redis=redis://:s3cret@127.0.0.1:{self.redis.port}")

    def test_replica_is_for_reading(self):
        replica = self.place.start(parts.Redis(self.place, "replica"))
        replica.follow(self.redis)
        refused = self.scan("-o", f"redis={replica.url}", check=False)
        self.assertEqual(refused.returncode, 69)
        self.assertIn("publishes to the primary", refused.stderr)

    def test_many_records(self):
        for n in range(12000):
            self.tree.set(f"m{n}", 102401)
        self.start()
        self.assertEqual(len(self.published()), 12002)
        self.wait_equal()
        for n in range(0, 12000, 2):
            self.tree.set(f"m{n}", 0)
        for n in range(1, 12000, 4):
            self.tree.set(f"m{n}", 102402)
        self.assertIn("added=0 changed=3000 removed=6000",
                      self.scan("--force").stdout)
        self.wait_equal()


if __name__ == "__main__":
    parts.require("redis-server", "redis-cli")
    parts.main()
