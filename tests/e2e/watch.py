#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""quotadefer-scan --watch: what changes is published as it happens, whatever
goes wrong meanwhile. Real Cyrus, Redis and filter; for what no Cyrus does on
request, a quota tree that is written to as Cyrus writes."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import Tree, wait_for  # noqa: E402

# LeakSanitizer cannot work in a process that is traced
TRACED = {"ASAN_OPTIONS":
          os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
QUEUE = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Asker:
    """RCPT after RCPT to the filter itself, as an MTA asks it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(parts.PATIENCE)
        self.socket.connect(str(path))
        self.send(b"O", struct.pack("!III", 6, 0x1ff, 0x1fffff))
        steps = struct.unpack("!III", self.receive()[1][:12])[2]
        for command, data, no, no_reply in (
                (b"C", b"mx.ext.test\0U", 0x1, 0x1000),
                (b"H", b"mx.ext.test\0", 0x2, 0x2000),
                (b"M", b"<a@ext.test>\0", 0x4, 0x4000)):
            if not steps & no:
                self.send(command, data)
                if not steps & no_reply:
                    self.receive()

    def send(self, command, data):
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the filter closed the connection"
            data += more
        return data

    def receive(self):
        data = self.read(struct.unpack("!I", self.read(4))[0])
        return data[:1], data[1:]

    def defers(self, address):
        self.send(b"R", f"<{address}>\0".encode())
        kind, text = self.receive()
        assert kind == b"c" or text.startswith(b"451 4.2.2 "), (kind, text)
        return kind == b"y"

    def close(self):
        self.socket.close()


class Watcher(parts.Server):
    """quotadefer-scan --watch, as systemd starts a service."""

    def __init__(self, place, milter, conf, name="watch"):
        super().__init__(name, place.dir / f"{name}.log")
        self.milter = milter
        self.conf = conf
        self.notify_path = place.dir / f"{name}.notify"
        self.notify_path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.notify_path))
        self.notify.setblocking(False)
        self.notify_path.chmod(0o666)
        self.states = []
        place.callback(self.notify.close)

    def command(self, *options):
        # what is few here is not to be doubted
        return [parts.SCAN, "--watch", "-c", self.milter.conf, "-o",
                f"imapd_conf={self.conf}", "-o", "guard_full=100%", *options]

    def environment(self, **more):
        return {**os.environ, "NOTIFY_SOCKET": str(self.notify_path), **more}

    def launch(self, *options, prefix=(), **environment):
        self.spawn(*prefix, *self.command(*options),
                   env=self.environment(**environment))

    def start(self, *options, **kwargs):
        self.launch(*options, **kwargs)
        self.wait_until("it is ready", self.is_ready)

    def notified(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.states += self.notify.recv(4096).decode().splitlines()
        return self.states

    def is_ready(self):
        return "READY=1" in self.notified()

    def has_said(self, *words):
        self.wait_until(f"it says {words}", lambda:
                        all(w in self.text() for w in words))

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1])

    def stop_for_now(self):
        self.send(signal.SIGSTOP)
        wait_for("it is stopped", lambda: re.search(
            r"^State:\s+T", pathlib.Path(
                f"/proc/{self.process.pid}/status").read_text(), re.M))

    def go_on(self):
        self.send(signal.SIGCONT)


def transactions(table):
    """The number of commits to an LMDB environment, from its meta pages."""
    with open(table / "data.mdb", "rb") as file:
        pages = file.read(8192)
    return max(struct.unpack_from("=Q", pages, at + 144)[0]
               for at in (0, 4096))


def in_memory(place):
    """A place for many small files: a disk takes its time to rename them."""
    if not os.access("/dev/shm", os.W_OK):
        return place
    path = tempfile.mkdtemp(prefix="quotadefer-test-", dir="/dev/shm")
    place.callback(shutil.rmtree, path, ignore_errors=True)
    os.chmod(path, 0o755)
    return types.SimpleNamespace(dir=pathlib.Path(path))


class Parts(unittest.TestCase):
    """A filter, and a watcher when the test starts it."""

    through_redis = False
    settings = {}

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.redis = self.through_redis and \
            self.place.start(parts.Redis(self.place))
        self.milter = parts.Milter(
            self.place, domains=["example.org", "virt.example",
                                 "new.example"], defer_limit="0",
            redis=self.redis.url if self.redis else None, **self.settings)
        self.table = pathlib.Path(self.milter.settings["table"])
        self.start_milter()

    def start_milter(self):
        self.place.start(self.milter)
        self.asker = Asker(self.milter.path)
        self.place.callback(self.asker.close)

    def watch(self, conf, *options, **kwargs):
        watcher = Watcher(self.place, self.milter, conf)
        return self.place.start(watcher, *options, **kwargs)

    def defers(self, address):
        return self.asker.defers(address if "@" in address else
                                 f"{address}@example.org")

    def becomes_full(self, address):
        wait_for(f"{address} is deferred", lambda: self.defers(address))

    def becomes_free(self, address):
        wait_for(f"{address} passes", lambda: not self.defers(address))

    def published(self):
        """What the filter's table has of every root."""
        return {r["root"]: r["usage"] for r in
                json.loads(self.milter.ctl("-j", "list").stdout)}

    def over(self):
        return {r["root"] for r in
                json.loads(self.milter.ctl("-j", "list").stdout)
                if r["since"]}

    def equals_a_fresh_scan(self, conf):
        """What a scan would still change."""
        return wait_for("the table equals a fresh scan", lambda:
                        self.fresh(conf) == "")

    def fresh(self, conf):
        done = self.milter.scan(conf, "--dry-run", "-q", "--force")
        return done.stdout


class WithTree(Parts):
    """On a tree of our own."""

    def setUp(self):
        super().setUp()
        self.files = in_memory(self.place)
        self.tree = self.new_tree("tree")

    def new_tree(self, name):
        """With enough roots that a few more or less do not matter."""
        tree = Tree(self.files, name)
        for n in range(20):
            tree.set(f"quiet{n}", 0)
        return tree

    def start(self, *options, **kwargs):
        self.watcher = self.watch(self.tree.conf, *options, **kwargs)
        self.becomes_full("full")

    def toggle(self, user="good"):
        """It is alive: what changes now is seen."""
        self.tree.set(user, 102401)
        self.becomes_full(user)
        self.tree.set(user, 0)
        self.becomes_free(user)

    def scans(self):
        """Complete ones, so far."""
        return self.watcher.text().count(" roots=")


class Cyrus(Parts):
    """What a real Cyrus does is seen at RCPT."""

    def start(self, **settings):
        self.cyrus = self.place.start(parts.Cyrus(self.place, **settings))
        self.cyrus.create("user/old@example.org", STORAGE=100)
        for n in range(12):
            self.cyrus.create(f"user/quiet{n}@example.org", STORAGE=100)
        self.watcher = self.watch(self.cyrus.conf)

    def story(self):
        self.cyrus.add_login("old")
        self.cyrus.fill("old@example.org")
        self.becomes_full("old")
        self.cyrus.empty_inbox("old")
        self.becomes_free("old")
        self.cyrus.fill("old@example.org")
        self.becomes_full("old")
        self.cyrus.set_quota("user/old@example.org", STORAGE=100000)
        self.becomes_free("old")
        self.cyrus.set_quota("user/old@example.org", STORAGE=10)
        self.becomes_full("old")
        with self.cyrus.admin() as imap:
            imap.setacl("user/old@example.org", "cyradmin", "lrswipkxtecda")
            self.assertEqual(imap.delete("user/old@example.org")[0], "OK")
        self.becomes_free("old")

    def newcomers(self):
        """Directories that are not there yet."""
        for address in ("zoe@example.org", "joe@virt.example",
                        "zed@virt.example", "ann@new.example"):
            self.cyrus.create(f"user/{address}", STORAGE=10)
            self.cyrus.fill(address, 6000)
            self.becomes_full(address)
        self.assertEqual(self.watcher.text().count(" roots="), 1)

    def test_legacy(self):
        self.start()
        self.story()
        self.newcomers()
        self.equals_a_fresh_scan(self.cyrus.conf)

    def test_fulldirhash(self):
        self.start(fulldirhash="yes")
        self.newcomers()

    def test_twoskip(self):
        """One file: it is read again, but not all the time."""
        self.start(quota_db="twoskip")
        self.story()
        self.cyrus.create("user/ann@new.example", STORAGE=10)
        self.cyrus.fill("ann@new.example", 6000)
        self.becomes_full("ann@new.example")
        self.equals_a_fresh_scan(self.cyrus.conf)

    def test_nothing_is_locked_or_written(self):
        """Below configdirectory, beside deliveries."""
        self.start()
        self.watcher.stop()
        for user in ("a", "b", "c"):
            self.cyrus.create(f"user/{user}@example.org", STORAGE=1000)
        busy = threading.Event()
        counts = []

        def deliver(user):
            count = 0
            while not busy.is_set():
                count += self.cyrus.deliver(f"{user}@example.org") == 250
            counts.append(count)
        threads = [threading.Thread(target=deliver, args=(u,)) for u in "abc"]
        for thread in threads:
            thread.start()
        trace = self.place.dir / "trace"
        strace = ("strace", "-D", "-A", "-f", "-y", "-o", trace, "-e",
                  "trace=file,desc,fcntl,flock,ftruncate,fchmod,fchown")
        for _ in range(3):
            parts.run(*strace, parts.SCAN, "-q", "-c", self.milter.conf,
                      "-o", f"imapd_conf={self.cyrus.conf}",
                      env={**os.environ, **TRACED})
        watcher = Watcher(self.place, self.milter, self.cyrus.conf, "traced")
        watcher.launch(prefix=strace, **TRACED)
        watcher.wait_until("it is ready", watcher.is_ready)
        self.cyrus.set_quota("user/b@example.org", STORAGE=1)
        self.becomes_full("b")
        self.cyrus.set_quota("user/b@example.org", STORAGE=1000)
        self.becomes_free("b")
        busy.set()
        for thread in threads:
            thread.join()
        watcher.stop()
        self.assertEqual(len(counts), 3)
        self.assertGreater(min(counts), 0)
        self.check_trace(trace.read_text())

    def check_trace(self, text):
        conf = str(self.cyrus.dir)
        ours = [line for line in text.splitlines() if conf in line]
        self.assertGreater(sum("/quota/b" in line for line in ours), 3)
        for line in ours:
            call = re.match(r"\d+\s+(\w+)\(", line)
            if not call:
                continue
            self.assertNotRegex(line, r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)")
            self.assertNotIn("F_SETLK", line)
            self.assertNotIn("F_OFD_SETLK", line)
            self.assertIn(call[1], {
                "openat", "open", "read", "close", "fstat", "newfstatat",
                "fstatfs", "statfs", "getdents64", "inotify_add_watch",
                "lseek", "pread64", "stat", "statx", "access", "fcntl",
                "lstat", "execve", "readlink"}, line)


class CyrusRedis(Cyrus):
    """The same through Redis."""

    through_redis = True
    test_fulldirhash = test_twoskip = None
    test_nothing_is_locked_or_written = None


class Seen(WithTree):
    """Which changes are seen."""

    def test_a_user(self):
        self.start()
        self.toggle()
        self.tree.path("full").unlink()
        self.becomes_free("full")
        self.tree.write("fuller", "")
        self.becomes_free("fuller")
        self.assertEqual(self.scans(), 1)

    def domain_file(self, name, used, domain="virt.example"):
        path = self.tree.dir / "domain" / domain[0] / domain / "quota" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".NEW")
        new.write_text(f"%(S ({used} 100) M (0) AS (0) NF (1) MODSEQ 2)\n")
        new.rename(path)
        return path

    def test_new_directories(self):
        self.start()
        self.tree.set("zoe", 102401)
        self.becomes_full("zoe")
        self.domain_file("j/user.joe", 102401)
        self.becomes_full("joe@virt.example")
        self.domain_file("k/user.kim", 102401)
        self.becomes_full("kim@virt.example")
        self.domain_file("j/user.joe", 0)
        self.becomes_free("joe@virt.example")
        self.domain_file("root", 102401)
        wait_for("the domain's own root is there", lambda:
                 "virt.example!" in self.published())
        self.domain_file("root", 0)
        wait_for("it is gone", lambda:
                 "virt.example!" not in self.published())
        self.assertEqual(self.scans(), 1)

    def test_there_before_the_watch(self):
        """Directories and files are made faster than they are watched."""
        self.start()
        for n in range(5):
            self.watcher.stop_for_now()
            domain = f"v{n}.example"
            self.domain_file("j/user.joe", 102401, domain)
            self.tree.set("bcdefg"[n] + "an", 102401)
            self.watcher.go_on()
        wanted = {f"v{n}.example!user.joe" for n in range(5)} | \
            {f"user.{c}an" for c in "bcdef"}
        wait_for("all are there", lambda: wanted <= set(self.published()))
        self.assertEqual(self.scans(), 1)

    def test_links_of_the_administrator(self):
        """The base and its quota may be links; nothing below them."""
        real = self.files.dir / "disk"
        real.mkdir()
        (self.tree.dir / "quota").rename(real / "quota")
        (self.tree.dir / "quota").symlink_to(real / "quota")
        base = self.files.dir / "base"
        self.tree.dir.rename(real / "tree")
        self.tree.dir.symlink_to(real / "tree")
        self.tree.conf.write_text(self.tree.conf.read_text().replace(
            str(self.tree.dir), str(base)))
        base.symlink_to(self.tree.dir)
        self.start()
        self.toggle()
        self.tree.set("zoe", 102401)
        self.becomes_full("zoe")

    def test_restored(self):
        """The quota directory is exchanged for another."""
        self.start()
        other = self.new_tree("other")
        other.set("good", 102401)
        other.path("full").unlink()
        quota = self.tree.dir / "quota"
        quota.rename(self.tree.dir / "quota.old")
        (other.dir / "quota").rename(quota)
        self.becomes_full("good")
        self.becomes_free("full")
        self.toggle("fuller2")
        self.equals_a_fresh_scan(self.tree.conf)

    def test_away_and_back(self):
        """The base is gone for a while, as when its disk is not mounted."""
        self.start("-o", "scan_interval=1s")
        away = self.files.dir / "away"
        self.tree.dir.rename(away)
        self.watcher.has_said("; trying again")
        self.assertTrue(self.defers("full"))
        away.rename(self.tree.dir)
        self.watcher.has_said("publishing again")
        self.toggle()
        self.assertEqual(self.watcher.text().count("trying again"), 1)

    def test_mounted(self):
        """Unmounted and mounted again."""
        disk = self.tree.dir / "quota"
        kept = self.files.dir / "kept"
        disk.rename(kept)
        disk.mkdir()

        def mount():
            if parts.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs",
                         disk, check=False).returncode:
                self.skipTest("mount is not allowed here")
            self.place.callback(parts.run, "umount", disk, check=False)
            shutil.copytree(kept, disk, dirs_exist_ok=True)
        mount()
        self.start("-o", "scan_interval=1s")
        parts.run("umount", disk)
        self.watcher.has_said("; trying again")
        self.assertTrue(self.defers("full"))
        mount()
        self.toggle()

    def test_behind_its_back(self):
        """What no event tells of is repaired by the next scan, and counted;
        what was seen while it ran is not."""
        self.start("-o", "scan_interval=1s")
        self.tree.path("good").write_text(
            "%(S (102401 100) M (0) AS (0) NF (1) MODSEQ 2)\n")
        self.becomes_full("good")
        self.watcher.has_said("the scan repaired 1 record")
        self.assertIn("; 1 since the start", self.watcher.text())
        self.assertEqual(self.watcher.text().count("repaired"), 1)

    def test_no_repair_where_it_was_seen(self):
        self.start("-o", "scan_interval=1s")
        before = self.scans()

        def write():
            for n in range(10):
                for user in ("good", "a", "b", "c", "d", "e"):
                    self.tree.set(user, 102401 + n % 3)
            return self.scans() > before + 2
        wait_for("many scans beside many changes", write)
        self.assertNotIn("repaired", self.watcher.text())


def write_storm(base, names, rounds, seed):
    """Run in a process of its own: the last round's values stay."""
    for round_ in range(rounds):
        for i, name in enumerate(names):
            path = f"{base}/{name[0]}/user.{name}"
            used = 102401 + round_ if (i + round_ + seed) % 3 == 0 else round_
            with open(path + ".NEW", "w", encoding="ascii") as new:
                new.write(f"%(S ({used} 100) M (0) AS (0) NF (1) MODSEQ "
                          f"{round_})\n")
            os.rename(path + ".NEW", path)


class Storm(WithTree):
    """Many changes."""

    WRITERS, NAMES, ROUNDS = 4, 1000, 25

    def setUp(self):
        super().setUp()
        self.names = [[f"{'abcdefghij'[n % 10]}{w}n{n}" for n in
                       range(self.NAMES)] for w in range(self.WRITERS)]
        for names in self.names:
            for name in names:
                self.tree.set(name, 0)

    def writers(self):
        """The storm has begun; wait with join()."""
        for w, names in enumerate(self.names):
            pid = os.fork()
            if pid == 0:
                try:
                    write_storm(self.tree.dir / "quota", names, self.ROUNDS,
                                w)
                finally:
                    os._exit(0)
            self.pids = [*getattr(self, "pids", []), pid]

    def join(self):
        for pid in self.pids:
            os.waitpid(pid, 0)
        self.pids = []

    def commits(self):
        return transactions(self.table)

    def storm(self):
        before = self.commits()
        self.writers()
        self.join()
        self.equals_a_fresh_scan(self.tree.conf)
        return self.commits() - before

    def test_nothing_is_lost_or_stale(self):
        self.start("-q")
        count = self.storm()
        changes = self.WRITERS * self.NAMES * self.ROUNDS
        self.assertEqual(changes, 100_000)
        self.assertLess(count, changes / 20)
        after_one = self.watcher.status("VmRSS")
        self.storm()
        self.assertLess(self.watcher.status("VmRSS"), after_one * 1.5 + 4000)
        self.assertNotIn("being scanned", self.watcher.text())
        self.toggle()

    def test_beside_scans_by_cron(self):
        self.start("-q")
        self.writers()
        results = []
        while True:
            done = self.milter.scan(self.tree.conf, "-q", "-o",
                                    "guard_full=100%", check=False)
            results.append(done.returncode)
            self.assertEqual(done.returncode, 0, done.stderr)
            with contextlib.suppress(ChildProcessError):
                ended, _ = os.waitpid(-1, os.WNOHANG)
                if ended in self.pids:
                    self.pids.remove(ended)
            if not self.pids:
                break
        self.assertGreater(len(results), 3)
        self.equals_a_fresh_scan(self.tree.conf)
        self.assertEqual(self.watcher.text(), "")

    def test_more_than_the_kernel_keeps(self):
        self.start()
        self.watcher.stop_for_now()
        self.assertLess(QUEUE, 100_000)
        for w, names in enumerate(self.names):
            write_storm(self.tree.dir / "quota", names,
                        QUEUE // self.NAMES // self.WRITERS + 5, w)
        self.watcher.go_on()
        self.equals_a_fresh_scan(self.tree.conf)
        self.assertEqual(self.scans(), 2)
        self.toggle()
        self.assertNotIn("repaired", self.watcher.text())


class StormRedis(Storm):
    """The same through Redis."""

    through_redis = True

    def commits(self):
        stats = self.redis.cli("INFO", "commandstats")
        return int((re.search(r"cmdstat_exec:calls=(\d+)", stats) or
                    [0, 0])[1])

    test_more_than_the_kernel_keeps = None


class Fallback(WithTree):
    """Where changes cannot be watched, scans do."""

    def in_namespace(self, limit, number):
        """The command that limits, below the scanner's; a user namespace has
        limits of its own."""
        watcher = Watcher(self.place, self.milter, self.tree.conf)
        with open(watcher.log, "ab") as log:
            watcher.process = subprocess.Popen(
                ["unshare", "-U", "sh", "-c", 'read go; exec "$@"', "sh",
                 *[str(a) for a in watcher.command(
                     "-o", "scan_interval=1s")]],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=watcher.environment())
        self.place.callback(watcher.stop)
        self.map_identity(watcher.process.pid)
        self.watcher = watcher
        self.limit(limit, number)
        watcher.process.stdin.write(b"go\n")
        watcher.process.stdin.close()
        watcher.wait_until("it is ready", watcher.is_ready)

    def limit(self, limit, number):
        parts.run("nsenter", "-t", self.watcher.process.pid, "-U", "sh", "-c",
                  f"echo {number} >/proc/sys/user/{limit}")

    def map_identity(self, pid):
        own = os.readlink("/proc/self/ns/user")
        wait_for("it is in a namespace of its own", lambda:
                 os.readlink(f"/proc/{pid}/ns/user") != own)
        for name in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{pid}/{name}").write_text("0 0 65536\n")

    def fall_back_and_return(self, limit, number, words):
        self.in_namespace(limit, number)
        self.becomes_full("full")
        self.watcher.has_said(words, "is read every")
        self.toggle()
        self.assertEqual(self.watcher.text().count("is read every"), 1)
        self.limit(limit, 1000)
        self.watcher.has_said("watching for changes again")
        self.toggle()

    def test_no_watches_left(self):
        self.fall_back_and_return("max_inotify_watches", 2,
                                  "fs.inotify.max_user_watches")

    def test_no_instances_left(self):
        self.fall_back_and_return("max_inotify_instances", 0,
                                  "fs.inotify.max_user_instances")

    def test_none_left_for_a_new_directory(self):
        """Watching ends when a new directory cannot be watched."""
        self.in_namespace("max_inotify_watches", 4)
        self.toggle()
        self.tree.set("alf", 0)
        self.tree.set("zoe", 102401)
        self.watcher.has_said("fs.inotify.max_user_watches", "is read every")
        self.becomes_full("zoe")
        self.toggle("alf")
        self.assertEqual(self.watcher.text().count("max_user_watches"), 1)

    def test_network_file_system(self):
        """What statfs says is made to be NFS's magic number."""
        self.start("-o", "scan_interval=1s", prefix=(
            "strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=statfs", "-e",
            "inject=statfs:poke_exit=@arg2=6969000000000000"), **TRACED)
        self.watcher.has_said("network file system", "is read every")
        self.toggle()
        self.assertEqual(self.watcher.text().count("network"), 1)


class Life(WithTree):
    """As a service."""

    def test_ends_at_once(self):
        self.start()
        self.watcher.send(signal.SIGTERM)
        self.assertEqual(self.watcher.process.wait(5), 0)
        self.assertIn("STOPPING=1", self.watcher.notified())

    def test_a_signal_at_any_moment(self):
        """Also just before it goes to sleep."""
        for call in ("sendto", "poll,ppoll"):
            watcher = Watcher(self.place, self.milter, self.tree.conf, call)
            watcher.launch(prefix=(
                "strace", "-D", "-f", "-o", "/dev/null", "-e",
                f"trace={call}", "-e",
                f"inject={call}:signal=SIGTERM:when=1"), **TRACED)
            self.place.callback(watcher.stop)
            wait_for(f"it ends, signalled in {call}", lambda:
                     watcher.process.poll() is not None)
            self.assertEqual(watcher.process.returncode, 0, watcher.text())

    def test_watchdog(self):
        watcher = self.watch(self.tree.conf, WATCHDOG_USEC="400000")
        wait_for("it says that it is alive", lambda:
                 watcher.notified().count("WATCHDOG=1") > 5)

    def test_killed(self):
        """Nobody has to wait for the dead."""
        self.start()
        for n in range(5):
            self.tree.set(f"m{n}", 102401)
            self.watcher.send(signal.SIGKILL)
            self.watcher.process.wait()
            self.milter.scan(self.tree.conf, "-q")
            self.becomes_full(f"m{n}")
            self.start()

    def test_a_scan_not_to_be_believed(self):
        """A bad restore sets all limits to 0."""
        users = [f"u{n}" for n in range(60)]
        for user in users:
            self.tree.set(user, 10)
        self.start("-o", "guard_full=25%")
        for user in users:
            self.tree.set(user, 10, 0)
        self.watcher.has_said("guard_full")
        self.assertLess(sum(self.defers(u) for u in users), 30)
        for user in users:
            self.tree.set(user, 10)
        self.watcher.has_said("publishing again")
        self.assertEqual(self.watcher.text().count("guard_full"), 1)
        self.assertFalse(any(self.defers(u) for u in users))
        self.toggle()
        self.equals_a_fresh_scan(self.tree.conf)


class Age(WithTree):
    """The records are fresh as long as it lives."""

    settings = {"max_age": "2s"}

    def test_fresh_beyond_max_age(self):
        self.start()
        begun = time.monotonic()
        wait_for("longer than max_age", lambda: self.assertTrue(
            self.defers("full")) or time.monotonic() > begun + 4)
        self.assertEqual(self.scans(), 1)
        self.watcher.stop()
        self.becomes_free("full")


class LocalTable(WithTree):
    """What happens to the table meanwhile."""

    def test_deleted(self):
        self.start()
        for file in self.table.glob("*.mdb"):
            file.unlink()
        self.toggle()
        self.becomes_full("full")

    def test_truncated(self):
        self.start()
        for size in (0, 4096, 12288):
            os.truncate(self.table / "data.mdb", size)
            # the filter may set aside what was just published
            wait_for("it goes on", lambda: self.tree.set("good", 102401) or
                     (self.defers("good") and self.defers("full")))
            self.tree.set("good", 0)
            self.becomes_free("good")

    def test_damaged(self):
        """Set aside by the filter, when it starts."""
        self.start()
        self.milter.stop(signal.SIGKILL)
        with open(self.table / "data.mdb", "r+b") as file:
            file.write(b"\xff" * 8192)
        self.start_milter()
        self.toggle()
        self.becomes_full("full")

    def test_directory_gone(self):
        self.start()
        self.table.rename(self.place.dir / "gone")
        self.tree.set("good", 102401)
        self.watcher.has_said("; trying again")
        (self.place.dir / "gone").rename(self.table)
        self.becomes_full("good")
        self.watcher.has_said("publishing again")


class RedisTrouble(WithTree):
    """What happens to Redis meanwhile."""

    through_redis = True

    def test_killed_and_restarted(self):
        self.start()
        for round_ in range(2):
            self.redis.stop(signal.SIGKILL)
            self.tree.set("good", 102401)
            wait_for("it has noticed", lambda:
                     self.watcher.text().count("; trying again") > round_)
            self.assertTrue(self.defers("full"))
            self.redis.start()
            self.becomes_full("good")
            self.tree.set("good", 0)
            self.becomes_free("good")
            self.assertTrue(self.defers("full"))
        self.assertEqual(self.watcher.text().count("; trying again"), 2)

    def test_restarted_with_older_data(self):
        """What was published after it was saved last is published again,
        though nothing else happens that would have to be."""
        self.start()
        self.redis.cli("SAVE")
        self.tree.set("good", 102401)
        self.becomes_full("good")
        self.redis.stop(signal.SIGKILL)
        self.redis.start()
        wait_for("it is there again", lambda: self.redis.cli(
            "HEXISTS", "{quotadefer}:root:test", "user.good") == "1")
        self.becomes_full("good")

    def test_emptied(self):
        self.start()
        self.redis.cli("FLUSHALL")
        self.toggle()
        self.assertTrue(self.defers("full"))
        wait_for("all is there again", lambda:
                 self.redis.cli("HLEN", "{quotadefer}:root:test") == "2")

    def test_lost_records(self):
        """Some of what was published is gone, but not the source."""
        self.start()
        self.redis.cli("DEL", "{quotadefer}:root:test")
        self.toggle()
        wait_for("all is there again", lambda:
                 self.redis.cli("HLEN", "{quotadefer}:root:test") == "2")
        self.becomes_full("full")

    def test_read_only_for_a_while(self):
        other = self.place.start(parts.Redis(self.place, "other"),
                                 "--repl-diskless-sync-delay", "0")
        self.start()
        self.redis.follow(other)
        self.tree.set("good", 102401)
        self.watcher.has_said("READONLY")
        self.redis.cli("REPLICAOF", "NO", "ONE")
        self.becomes_full("good")
        self.becomes_full("full")
        self.assertEqual(self.watcher.text().count("READONLY"), 1)

    def test_idle_connections_are_closed(self):
        """A server may do that: no word about it, and nothing lost."""
        self.start()
        for _ in range(3):
            self.redis.cli("CLIENT", "KILL", "TYPE", "normal")
            self.toggle()
        self.assertNotIn("trying again", self.watcher.text())

    def next_holder(self):
        """What the watcher's next lease says of it."""
        with subprocess.Popen(["redis-cli", "-p", str(self.redis.port),
                               "MONITOR"], stdout=subprocess.PIPE,
                              text=True) as monitor:
            self.assertEqual(monitor.stdout.readline(), "OK\n")
            self.toggle()
            found = None
            while not found:
                found = re.search(r'"SET" "[^"]*:lease:[^"]*" "([^"]*)"',
                                  monitor.stdout.readline())
            monitor.kill()
        return found[1]

    def test_a_lease_of_its_own(self):
        """Left behind by a connection that broke: it waits for nobody."""
        self.start()
        lease = "{quotadefer}:lease:test"
        holder = self.next_holder()
        self.redis.cli("SET", lease, holder, "PX", "3600000")
        self.toggle()
        wait_for("it is given back", lambda:
                 self.redis.cli("EXISTS", lease) == "0")
        another = re.sub(r"\.(\d+)\)$", r"1.\1)", holder)
        self.redis.cli("SET", lease, another, "PX", "1000")
        self.toggle()
        self.assertNotIn("trying again", self.watcher.text())

    def test_a_lease_of_one_that_ended(self):
        """On this machine, as far as can be told."""
        self.start()
        lease = "{quotadefer}:lease:test"
        holder = self.next_holder()
        scan = self.milter.scan

        def scan_with(text):
            self.redis.cli("SET", lease, text, "PX", "3600000")
            return scan(self.tree.conf, "-o", "guard_full=100%",
                        check=False).returncode
        for text, status in ((holder, 75),  # it is alive
                             (holder.replace("(", "(0", 1), 75), ("x", 75)):
            self.assertEqual(scan_with(text), status)
        self.watcher.stop(signal.SIGKILL)
        for text, status in ((holder, 0), (holder.replace("(", "(0", 1), 75),
                             (holder.replace("process ", "process -"), 75),
                             ("(", 75)):
            self.assertEqual(scan_with(text), status, text)

    def kill_at_write(self, number):
        """SIGKILL the watcher when it has sent so many requests more."""
        pid = self.watcher.process.pid
        strace = subprocess.Popen(
            ["strace", "-o", "/dev/null", "-p", str(pid), "-e",
             "trace=write,sendto", "-e",
             f"inject=write,sendto:signal=SIGKILL:when={number}"],
            stderr=subprocess.DEVNULL)
        self.place.callback(strace.wait)
        wait_for("strace is attached", lambda: re.search(
            r"^TracerPid:\t[1-9]", pathlib.Path(
                f"/proc/{pid}/status").read_text(), re.M))
        self.tree.set("good", 102401 + number)
        self.watcher.process.wait(parts.PATIENCE)

    def test_killed_while_it_publishes(self):
        """At any moment: what it held ends soon, and nothing is half done."""
        lease = "{quotadefer}:lease:test"
        left = []
        for number in range(1, 5):
            self.start(**TRACED)
            self.kill_at_write(number)
            left.append(int(self.redis.cli("PTTL", lease)))
            self.redis.cli("DEL", lease)
        self.assertLessEqual(max(left), 10000)
        self.assertGreater(max(left), 0)
        self.start()
        self.becomes_full("good")
        self.equals_a_fresh_scan(self.tree.conf)


class Shields(WithTree):
    """Roots below other roots."""

    settings = {"domain_roots": "enforce"}

    def write(self, name, used, limit=100):
        path = self.tree.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".NEW")
        new.write_text(f"%(S ({used} {limit}) M (0) AS (0) NF (1) MODSEQ 2)"
                       "\n")
        new.rename(path)

    def test_domain_roots(self):
        """Never a moment in which one with an own root is deferred."""
        quota = "domain/v/virt.example/quota"
        users = [f"u{n}" for n in range(3000)]
        for user in users:
            self.write(f"{quota}/u/user.{user}", 0)
        self.start()
        for _ in range(5):
            self.write(f"{quota}/root", 102401)
            self.watch_over(users, lambda:
                            self.defers("none@virt.example"))
            self.write(f"{quota}/root", 0)
            self.watch_over(users, lambda:
                            not self.defers("none@virt.example"))
        # a new one is shielded as well, and one whose root goes is not
        self.write(f"{quota}/root", 102401)
        self.becomes_full("none@virt.example")
        self.write(f"{quota}/n/user.new", 0)
        self.becomes_free("new@virt.example")
        (self.tree.dir / quota / "n/user.new").unlink()
        self.becomes_full("new@virt.example")

    def watch_over(self, users, until):
        n = 0
        deadline = time.monotonic() + 30
        while not until():
            for _ in range(50):
                n += 1
                user = users[n % len(users)]
                self.assertFalse(self.defers(f"{user}@virt.example"), user)
            self.assertLess(time.monotonic(), deadline)
        for user in users:
            self.assertFalse(self.defers(f"{user}@virt.example"), user)

    def test_shared_folders(self):
        self.write("quota/s/shared", 0)
        self.write("quota/l/shared.list", 0)
        self.start()
        self.write("quota/s/shared", 102401)
        wait_for("both are there", lambda:
                 {"shared", "shared.list"} <= set(self.published()))
        self.write("quota/s/shared", 0)
        wait_for("shared is not over", lambda:
                 not {"shared", "shared.list"} & self.over())

    def test_folders_of_a_user(self):
        """Under the rule of smmapd the folder that is addressed counts."""
        self.write("quota/j/user.joe", 0)
        self.write("quota/j/user.joe.big", 0)
        self.write("quota/j/user.joe.small", 0)
        self.start("-o", "rule=smmapd")
        self.write("quota/j/user.joe.big", 102401)
        self.becomes_full("joe+big")
        self.assertFalse(self.defers("joe"))
        self.write("quota/j/user.joe", 102401)
        self.becomes_full("joe")
        self.assertFalse(self.defers("joe+small"))
        self.assertTrue(self.defers("joe+big"))
        self.write("quota/j/user.joe.big", 0)
        self.becomes_free("joe+big")
        self.write("quota/j/user.joe", 0)
        self.becomes_free("joe")

    def test_strict_headroom(self):
        self.tree.set("good", 0, 1000000)
        self.start("-o", "rule=lmtpd-strict", "-o", "largest_message=1M")
        self.assertNotIn("user.good", self.published())
        self.tree.set("good", 1023000000, 1000000)
        wait_for("how near it is", lambda: self.published().get(
            "user.good", {}).get("storage", {}).get("used") == 1023000000)
        self.tree.set("good", 1023500000, 1000000)
        wait_for("how near it is", lambda: self.published().get(
            "user.good", {}).get("storage", {}).get("used") == 1023500000)
        self.assertFalse(self.defers("good"))
        self.tree.set("good", 0, 1000000)
        wait_for("it is not near", lambda:
                 "user.good" not in self.published())


if __name__ == "__main__":
    parts.require("strace", "unshare", "nsenter", "saslpasswd2",
                  "redis-server", "redis-cli", parts.CYRUS_BIN / "master")
    parts.main()
