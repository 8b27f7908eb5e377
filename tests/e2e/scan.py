#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The scanner on a real Cyrus's own data, and on trees that went wrong."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import Tree, wait_for  # noqa: E402


# LeakSanitizer cannot work in a process that is traced
TRACED = {**os.environ, "ASAN_OPTIONS":
          os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Scanned(unittest.TestCase):
    """A table to scan into; the filter itself is not started."""

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.milter = parts.Milter(self.place)

    def scan(self, conf, *args, check=True):
        return self.milter.scan(conf, *args, check=check)

    def table(self):
        return {r["root"]: r["usage"] for r in
                json.loads(self.milter.ctl("-j", "list").stdout)}

    def over(self):
        return {r["root"] for r in
                json.loads(self.milter.ctl("-j", "list").stdout)
                if r["since"]}


def snapshot(directory):
    """Everything about the files below: a change of any kind shows."""
    return {str(p): (p.lstat().st_ino, p.lstat().st_mtime_ns,
                     p.lstat().st_ctime_ns, p.lstat().st_size)
            for p in directory.rglob("*")}


class RealCyrus(Scanned):
    def start(self, **settings):
        self.cyrus = self.place.start(parts.Cyrus(self.place, **settings))

    def fill_all(self):
        for name, limits in (
                ("user/storage@example.org", {"STORAGE": 10}),
                ("user/message@example.org", {"MESSAGE": 2}),
                ("user/both@example.org", {"STORAGE": 10, "MESSAGE": 1}),
                ("user/first.last@example.org", {"STORAGE": 10}),
                ("user/1234@example.org", {"STORAGE": 10}),
                ("user/fine@example.org", {"STORAGE": 1000}),
                ("user/unlimited@example.org", {}),
                ("user/virt@virt.example", {"STORAGE": 10})):
            self.cyrus.create(name, **limits)
            user = name.removeprefix("user/")
            for _ in range(4):
                self.cyrus.deliver(user, 6000)
        self.cyrus.create("user/folders@example.org")
        for n in range(3):
            self.cyrus.create(f"user/folders/{n}@example.org")
        self.cyrus.set_quota("user/folders@example.org", X_NUM_FOLDERS=2)
        self.cyrus.create("shared")
        self.cyrus.create("shared/list", STORAGE=1000)
        self.cyrus.set_quota("shared", X_NUM_FOLDERS=0)

    expected = {
        "user.storage", "user.message", "user.both", "user.first^last",
        "user.1234", "user.folders",
        "virt.example!user.virt", "shared",
    }

    def test_finds_what_is_over(self):
        self.start()
        self.fill_all()
        before = snapshot(self.cyrus.dir / "conf/quota")
        out = self.scan(self.cyrus.conf).stdout
        self.assertEqual(self.over(), self.expected)
        # a shield: below a full root, and not full
        self.assertEqual(set(self.table()) - self.over(), {"shared.list"})
        self.assertRegex(out, r"source=test roots=\d+ over=8 malformed=0 "
                         r"unreadable=0 added=9 changed=0 removed=0 "
                         r"seconds=\d")
        self.assertEqual(snapshot(self.cyrus.dir / "conf/quota"), before)
        self.compare_with_cyrus()

    def compare_with_cyrus(self):
        """Usage and limit as GETQUOTA has them (in KiB, rounded down)."""
        with self.cyrus.admin() as imap:
            for root, name in (("user.storage", "user/storage"),
                               ("user.both", "user/both"),
                               ("user.folders", "user/folders"),
                               ("virt.example!user.virt",
                                "user/virt@virt.example")):
                reply = imap.getquota(name)[1][0].decode()
                for key, unit, resource in (
                        ("STORAGE", 1024, "storage"),
                        ("MESSAGE", 1, "message"),
                        ("X-NUM-FOLDERS", 1, "mailbox")):
                    match = re.search(rf"\b{key} (\d+) (\d+)", reply)
                    ours = self.table()[root].get(resource)
                    self.assertEqual(match is None, ours is None,
                                     (root, reply))
                    if match:
                        self.assertEqual(
                            (ours["used"] // unit, ours["limit"] // unit),
                            (int(match[1]), int(match[2])))

    def test_fulldirhash(self):
        self.start(fulldirhash="yes")
        self.fill_all()
        self.scan(self.cyrus.conf)
        self.assertEqual(self.over(), self.expected)

    def test_virtdomains_off(self):
        self.start(virtdomains="off", defaultdomain=None)
        self.cyrus.create("user/joe", STORAGE=10)
        self.cyrus.fill("joe@any.example", 6000)
        self.scan(self.cyrus.conf)
        self.assertEqual(self.over(), {"user.joe"})
        done = self.milter.ctl("query", "joe@example.org", check=False)
        self.assertEqual(done.returncode, 1)

    def test_quota_db_path_and_include(self):
        elsewhere = self.place.dir / "elsewhere"
        elsewhere.mkdir()
        shutil.chown(elsewhere, "cyrus")
        more = self.place.dir / "more.conf"
        more.write_text(f"quota_db_path: {elsewhere}/quotas.db\n"
                        "unixhierarchysep: yes\n")
        self.start(**{"@include": more, "unixhierarchysep": None})
        self.cyrus.create("user/joe@example.org", STORAGE=10)
        self.cyrus.fill("joe@example.org", 6000)
        self.assertTrue((elsewhere / "quota/j/user.joe").exists())
        self.scan(self.cyrus.conf)
        self.assertEqual(self.over(), {"user.joe"})

    def test_only_virtual_domains(self):
        """No user of the default domain: then Cyrus has no quota/."""
        self.start()
        self.cyrus.create("user/joe@virt.example")
        self.cyrus.create("user/own@virt.example", STORAGE=1)
        root = self.cyrus.dir / "conf/domain/v/virt.example/quota/root"
        root.write_text("%(S (5121 5) M (0) AS (0) NF (2) MODSEQ 1)\n")
        shutil.chown(root, "cyrus")
        self.cyrus.fill("own@virt.example", 6000)
        self.assertFalse((self.cyrus.dir / "conf/quota").exists())
        self.scan(self.cyrus.conf)
        self.assertEqual(self.over(), {"virt.example!",
                                       "virt.example!user.own"})
        # the domain's root is known, but no user is deferred for it
        for user, status in (("joe", 0), ("own", 1)):
            done = self.milter.ctl("-o", "domains=virt.example", "query",
                                   f"{user}@virt.example", check=False)
            self.assertEqual(done.returncode, status)

    def test_what_hides_a_full_root(self):
        """Cyrus looks no further up than to the first file there is."""
        self.start()
        self.cyrus.create("shared", MESSAGE=0)
        self.cyrus.create("shared/list", STORAGE=1000)
        with self.cyrus.admin() as imap:
            for name in ("shared", "shared/list"):
                imap.setacl(name, "anyone", "lrsp")
        self.assertEqual(self.cyrus.deliver("+shared@example.org"), 250)
        root = self.cyrus.dir / "conf/quota/l/shared.list"
        good = root.read_text()

        def link():
            (root.parent / "elsewhere").write_text(good)
            root.symlink_to("elsewhere")
        for name, make in (
                ("good", lambda: root.write_text(good)),
                ("no newline", lambda: root.write_text(good[:-1])),
                ("empty", root.touch),
                ("link", link),
                ("dangling link", lambda: root.symlink_to("/nonexistent")),
                ("directory", root.mkdir)):
            with self.subTest(name=name):
                if root.is_symlink() or root.exists():
                    root.unlink()
                make()
                for address in ("shared", "shared/list"):
                    address = f"+{address}@example.org"
                    theirs = self.cyrus.deliver(address)
                    self.scan(self.cyrus.conf)
                    ours = self.milter.ctl("query", address, check=False)
                    self.assertEqual(ours.returncode, int(theirs == 452),
                                     (theirs, ours.stdout))

    def test_no_lock_and_no_writing(self):
        self.start()
        self.cyrus.create("user/joe@example.org", STORAGE=10)
        self.cyrus.fill("joe@example.org", 6000)
        self.cyrus.create("user/jim@virt.example", STORAGE=10)
        trace = self.place.dir / "trace"
        parts.run("strace", "-f", "-yy", "-o", trace, "-e",
                  "trace=%file,%desc,flock", parts.SCAN, "-c",
                  self.milter.conf, "-o", f"imapd_conf={self.cyrus.conf}",
                  env=TRACED)
        config = str(self.cyrus.dir / "conf")
        lines = [line for line in trace.read_text().splitlines()
                 if config in line]
        opened = [line for line in lines if " open" in line]
        self.assertTrue(any('"user.joe"' in line for line in opened))
        for line in lines:
            self.assertNotRegex(line, r"F_SETLK|F_OFD|flock\(")
            self.assertNotRegex(line, r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
            self.assertNotRegex(line, r" (unlink|rename|mkdir|chmod|chown|"
                                r"write|truncate|link|symlink|utime)\w*\(")

    def test_becomes_cyrus(self):
        self.start()
        self.cyrus.create("user/joe@example.org", STORAGE=10)
        self.cyrus.fill("joe@example.org", 6000)
        trace = self.place.dir / "trace"
        parts.run("strace", "-f", "-o", trace, "-e",
                  "trace=setresuid,setresgid,openat", parts.SCAN, "-c",
                  self.milter.conf, "-o", f"imapd_conf={self.cyrus.conf}",
                  env=TRACED)
        text = trace.read_text()
        uid = pwd.getpwnam("cyrus").pw_uid
        drop = re.search(rf"setresuid\({uid}, {uid}, {uid}\) += 0", text)
        self.assertLess(drop.start(), text.index('"user.joe"'))

    def test_from_the_crontab_of_cyrus(self):
        self.start()
        self.cyrus.create("user/joe@example.org", STORAGE=10)
        self.cyrus.fill("joe@example.org", 6000)
        command = ["setpriv", "--reuid=cyrus", "--regid=mail",
                   "--clear-groups", parts.SCAN, "-c", self.milter.conf,
                   "-o", f"imapd_conf={self.cyrus.conf}"]
        refused = parts.run(*command, check=False)
        self.assertEqual(refused.returncode, 69)
        self.assertIn("when root starts", refused.stderr)
        self.milter.settings["table"].mkdir()
        self.milter.settings["table"].chmod(0o2770)
        shutil.chown(self.milter.settings["table"], "postfix", "postfix")
        refused = parts.run(*command, check=False)
        self.assertEqual(refused.returncode, 77)
        self.assertIn("Permission denied", refused.stderr)
        command[3] = "--groups=postfix"
        parts.run(*command)
        self.assertEqual(self.over(), {"user.joe"})


class Trees(Scanned):
    def setUp(self):
        super().setUp()
        self.tree = Tree(self.place, "tree")

    def go(self, *args, check=True):
        return self.scan(self.tree.conf, *args, check=check)

    def refused(self, *args, status=75):
        before = self.table()
        done = self.go(*args, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(self.table(), before)
        return done.stderr

    def test_summary_and_quiet(self):
        done = self.go()
        self.assertRegex(done.stdout, r"^quotadefer-scan: source=test roots=3 "
                         r"over=2 malformed=0 unreadable=0 added=2 changed=0 "
                         r"removed=0 seconds=\d+\.\d+\n$")
        self.assertEqual(done.stderr, "")
        self.tree.write("bad", "garbage\n")
        done = self.go("-q")
        self.assertEqual(done.stdout + done.stderr, "")

    def test_a_restore_took_the_group_away(self):
        """The filter, started as root, gives the table to its group again."""
        self.go()
        table = self.milter.dir / "table"
        for path in (table, *table.iterdir()):
            os.chown(path, 0, 0)
            path.chmod(0o2770 if path == table else 0o660)
        done = self.go(check=False)
        self.assertEqual(done.returncode, 77)
        self.assertIn("run it as root, or as a member of", done.stderr)
        self.place.start(self.milter)
        self.assertIn("added=0", self.go().stdout)

    def test_progress_on_a_terminal(self):
        for n in range(5000):
            self.tree.set(f"m{n}", 5)
        primary, replica = pty.openpty()
        # being traced it is slow enough to be watched
        process = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", parts.SCAN, "-c",
             self.milter.conf, "-o", f"imapd_conf={self.tree.conf}", "-o",
             "scan_threads=1"], env=TRACED,
            stdin=subprocess.DEVNULL, stdout=replica, stderr=replica)
        os.close(replica)
        text = ""
        try:
            while part := os.read(primary, 1000).decode():
                text += part
        except OSError:
            pass
        os.close(primary)
        self.assertEqual(process.wait(), 0)
        self.assertRegex(text, r"\r\d+ roots, \d+ over, \d+ roots/s")
        self.assertIn("roots=5003 over=2", text)

    def test_dry_run(self):
        done = self.go("--dry-run")
        self.assertFalse(self.milter.settings["table"].exists())
        self.assertIn("add user.full S=102401/100 since=", done.stdout)
        self.assertIn("added=2 ", done.stdout)
        self.go()
        before = self.table()
        self.tree.set("full", 102500)
        self.tree.set("fuller", 0)
        self.tree.set("good", 999999)
        out = self.go("--dry-run").stdout
        self.assertIn("add user.good ", out)
        self.assertIn("change user.full S=102500/100 ", out)
        self.assertIn("remove user.fuller\n", out)
        self.assertIn("(dry run)", out)
        self.assertEqual(self.table(), before)

    def test_since_is_kept(self):
        self.go()
        first = json.loads(self.milter.ctl("-j", "list").stdout)
        self.tree.set("full", 102500)
        out = self.go().stdout
        self.assertIn("added=0 changed=1 removed=0", out)
        second = json.loads(self.milter.ctl("-j", "list").stdout)
        self.assertEqual([r["since"] for r in first],
                         [r["since"] for r in second])

    def test_complaints(self):
        for n in range(30):
            self.tree.write(f"bad{n}", "garbage\n")
        done = self.go()
        self.assertIn("malformed=30", done.stdout)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 21)
        for line in lines[:20]:
            self.assertRegex(line, r"quota/b/user\.bad\d+: not a number")
        self.assertEqual(lines[20], "quotadefer-scan: and 10 more")

    def test_malformed_is_not_full(self):
        self.go()
        self.tree.write("full", "%(S (999999999\n")
        self.assertIn("malformed=1", self.go().stdout)
        self.assertEqual(self.over(), {"user.fuller"})

    def test_hostile_names(self):
        for name in ("a\nb", "a\x1b[31m", "a%s%n", "a'; reboot", "a\udcff"):
            self.tree.write(name, "garbage\n")
        done = self.go()
        self.assertIn("malformed=5", done.stdout)
        self.assertEqual(len(done.stderr.splitlines()), 5)
        self.assertNotIn("\x1b", done.stderr)

    def test_guard_empty(self):
        self.go()
        shutil.rmtree(self.tree.dir / "quota")
        self.assertIn("quota: No such file", self.refused())
        (self.tree.dir / "quota").mkdir()
        self.assertIn("not one quota root", self.refused())
        self.go("--force")
        self.assertEqual(self.table(), {})

    def test_guard_first_scan_of_nothing(self):
        shutil.rmtree(self.tree.dir / "quota")
        (self.tree.dir / "quota").mkdir()
        done = self.go(check=False)
        self.assertEqual(done.returncode, 75)

    def test_guard_mass_change(self):
        for n in range(40):
            self.tree.set(f"m{n}", 5)
        self.go()
        for n in range(40):
            self.tree.set(f"m{n}", 5, 0)
        self.assertIn("guard_full", self.refused())
        for n in range(30):
            self.tree.path(f"m{n}").unlink()
        self.assertIn("guard_roots", self.refused())
        self.go("-o", "guard_roots=100%", "-o", "guard_full=100%")
        self.assertEqual(len(self.over()), 12)

    def test_wrong_hash_setting(self):
        self.go()
        with open(self.tree.conf, "a", encoding="ascii") as conf:
            conf.write("fulldirhash: yes\n")
        self.assertIn("not one quota root", self.refused())

    def drop_to_nobody(self):
        """As root nothing is unreadable: let the tree be somebody's."""
        for path in [self.tree.dir, *self.tree.dir.rglob("*")]:
            shutil.chown(path, "cyrus", "mail")

    def test_unreadable_directory(self):
        self.go()
        self.drop_to_nobody()
        directory = self.tree.path("full").parent
        shutil.chown(directory, "root")
        directory.chmod(0o700)
        text = self.refused()
        self.assertIn("quota/f: Permission denied", text)
        self.assertIn("directories could not be read", text)
        self.tree.set("good", 102401)
        shutil.chown(self.tree.path("good"), "cyrus")
        self.go("--force")
        self.assertEqual(self.over(), {"user.full", "user.fuller",
                                       "user.good"})

    def test_unreadable_file(self):
        self.go()
        self.drop_to_nobody()
        self.tree.set("fuller", 0)
        shutil.chown(self.tree.path("fuller"), "cyrus")
        self.tree.path("full").chmod(0)
        shutil.chown(self.tree.path("full"), "root")
        for _ in range(2):
            done = self.go()
            self.assertIn("unreadable=1", done.stdout)
            self.assertIn("quota/f/user.full: Permission denied",
                          done.stderr)
            self.assertEqual(self.over(), {"user.full"})
        kept = json.loads(self.milter.ctl("-j", "list").stdout)
        self.assertTrue(kept[0]["kept"])

    def small_disk(self, size):
        """A file system of that size; the test is skipped without mount."""
        disk = self.place.dir / "disk"
        disk.mkdir()
        if parts.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=777",
                     "tmpfs", disk, check=False).returncode:
            self.skipTest("mount is not allowed here")
        self.place.callback(parts.run, "umount", disk)
        self.milter.write_conf(table=disk / "table")
        return disk

    def fill(self, disk):
        with open(disk / "other", "wb", buffering=0) as other, \
                contextlib.suppress(OSError):
            while True:
                other.write(b"x" * 4096)

    def test_disk_becomes_full(self):
        disk = self.small_disk("1m")
        self.go()
        self.fill(disk)
        for n in range(2000):
            self.tree.set(f"m{n}", 102401)
        self.assertRegex(self.refused("--force", status=74),
                         r"write: .*; its disk has \d+ KiB left")
        self.assertEqual(self.over(), {"user.full", "user.fuller"})
        (disk / "other").unlink()
        self.go("--force")

    def test_disk_is_full(self):
        disk = self.small_disk("1m")
        self.fill(disk)
        done = self.go(check=False)
        self.assertEqual(done.returncode, 74)
        self.assertIn("its disk has 0 KiB left", done.stderr)
        (disk / "other").unlink()
        self.go()

    def test_disk_is_read_only(self):
        disk = self.small_disk("1m")
        self.go()
        self.tree.set("good", 102401)
        parts.run("mount", "-o", "remount,ro", disk)
        self.assertIn("Read-only file system", self.refused(status=74))
        self.assertIn("add user.good ", self.go("--dry-run").stdout)

    def test_never_as_root(self):
        """Not even where the tree is root's."""
        for path in (self.tree.dir, self.tree.dir / "quota"):
            self.assertEqual(path.owner(), "root")
        self.go()
        for path in self.milter.settings["table"].iterdir():
            self.assertEqual(path.owner(), "cyrus")

    def test_what_somebody_else_may(self):
        """Any user may try it dry on what he may read."""
        self.drop_to_nobody()
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup",
                   "--clear-groups", parts.SCAN, "-c", self.milter.conf,
                   "-o", f"imapd_conf={self.tree.conf}"]
        done = parts.run(*command, "--dry-run")
        self.assertIn("add user.full ", done.stdout)
        self.assertFalse(self.milter.settings["table"].exists())
        self.go()
        table = self.milter.settings["table"]
        for path, mode, words in (
                (table, 0o2770, f"{table}: Permission denied"),
                (table, 0o2777, "give them a common group"),
                (self.tree.conf, 0o640, "imapd_conf "),
                (self.tree.dir / "quota", 0o750, "as the user of Cyrus")):
            with self.subTest(path=path):
                before = path.stat().st_mode
                path.chmod(mode)
                refused = parts.run(*command, "--dry-run", "-o", "table=" + (
                    str(table) if path == table else "/nonexistent"),
                    check=False)
                self.assertEqual(refused.returncode, 77, refused.stderr)
                self.assertIn(words, refused.stderr)
                path.chmod(before)

    def test_two_at_once(self):
        self.go()
        lock = self.milter.settings["table"] / "scan-test.lock"
        with open(lock, "r+", encoding="ascii") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.truncate()
            held.write("process 4711 on elsewhere\n")
            held.flush()
            self.assertIn("process 4711 on elsewhere", self.refused())
            self.go("--dry-run")
            self.go("-o", "source=other")
        self.go()

    def test_eight_at_once(self):
        for n in range(5000):
            self.tree.set(f"m{n}", 102401 if n % 7 == 0 else 0)
        command = [parts.SCAN, "-q", "-c", self.milter.conf, "-o",
                   f"imapd_conf={self.tree.conf}"]
        table = self.milter.settings["table"]
        for _ in range(10):
            # each time they also race for the directory
            shutil.rmtree(table, ignore_errors=True)
            many = [subprocess.Popen(command, stderr=subprocess.PIPE)
                    for _ in range(8)]
            texts = [p.communicate()[1] for p in many]
            results = [p.returncode for p in many]
            self.assertIn(0, results)
            self.assertLessEqual(set(results), {0, 75}, texts)
            self.assertEqual([p.name for p in table.parent.iterdir()
                              if ".new-" in p.name], [])
        self.go()
        self.assertEqual(len(self.over()), 717)

    def test_killed(self):
        for n in range(5000):
            self.tree.set(f"m{n}", 102401)
        for n in range(10):
            process = subprocess.Popen(
                [parts.SCAN, "-q", "-c", self.milter.conf, "-o",
                 f"imapd_conf={self.tree.conf}"])
            try:
                process.wait(0.002 * n)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.wait()
        self.go()
        self.assertEqual(len(self.over()), 5002)

    def test_interrupted(self):
        """Stopped in the middle of a directory it says so, at once."""
        for n in range(3000):
            self.tree.set(f"m{n}", 0)
        self.go()
        before = self.table()
        trace = self.place.dir / "trace"
        done = parts.run(
            "strace", "-f", "-o", trace, "-e", "trace=openat", "-e",
            "inject=openat:delay_exit=1000:signal=SIGTERM:when=600+",
            parts.SCAN, "-c", self.milter.conf, "-o", f"imapd_conf={self.tree.conf}", "-o",
            "scan_threads=1", check=False, env=TRACED)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("stopped by a signal (Terminated)", done.stderr)
        self.assertEqual(self.table(), before)
        opened = trace.read_text().count('"user.m')
        self.assertLess(opened, 2900)

    def test_settings_and_exit_codes(self):
        self.assertEqual(self.go("-n").stdout, "")
        self.assertIn("quota roots below", self.go("-n", "-v").stdout)
        for args, status, words in (
                (("--frobnicate",), 64, "usage:"),
                (("extra",), 64, "usage:"),
                (("-o", "max_age=soon"), 78, "not a duration"),
                (("-o", "imapd_conf=/nonexistent"), 78, "No such file"),
                (("-o", "redis=redis://127.0.0.1:1/"), 69, "refused"),
                (("-o", "table=/proc/nowhere"), 73, "/proc/nowhere")):
            with self.subTest(args=args):
                done = self.go(*args, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(words, done.stderr)
        for line in ("quota_use_conversations: yes\n", "quota_db: sql\n",
                     "quota_db: nonsense\n"):
            tree = Tree(self.place, line.strip().replace(": ", "-"))
            with open(tree.conf, "a", encoding="ascii") as conf:
                conf.write(line)
            done = self.scan(tree.conf, check=False)
            self.assertEqual(done.returncode, 78)
            self.assertIn(line.split(":", 1)[0], done.stderr)


class Published(unittest.TestCase):
    """What goes into Redis, and what does not."""

    ROOTS = "{quotadefer}:root:test"
    SOURCE = "{quotadefer}:source:test"
    LEASE = "{quotadefer}:lease:test"

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.redis = self.place.start(parts.Redis(self.place))
        self.tree = Tree(self.place, "tree")
        self.milter = parts.Milter(self.place, redis=self.redis.url)

    def go(self, *args, check=True):
        return self.milter.scan(self.tree.conf, *args, check=check)

    def published(self):
        lines = self.redis.cli("HGETALL", self.ROOTS).splitlines()
        return dict(zip(lines[::2], lines[1::2]))

    def grow(self, count, used=102401):
        for n in range(count):
            self.tree.set(f"m{n}", used)

    def refused(self, status, words, *args):
        done = self.go(*args, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(self.redis.cli("EXISTS", self.LEASE), "0")

    def test_a_failure_gives_the_lease_back(self):
        self.go()
        self.grow(3000)
        used = int(self.redis.cli("INFO", "memory")
                   .split("used_memory:")[1].split()[0])
        self.redis.cli("CONFIG", "SET", "maxmemory", used + 200000)
        self.refused(69, "OOM", "--force")
        self.redis.cli("CONFIG", "SET", "maxmemory", 0)
        self.redis.cli("ACL", "SETUSER", "scan", "on", ">pw", "~*", "+@all",
                       "-xadd")
        self.refused(77, "NOPERM", "--force", "-o",
                     f"redis=redis://scan:pw@127.0.0.1:{self.redis.port}")
        self.go("--force")
        self.assertEqual(len(self.published()), 3002)

    def test_wrong_types(self):
        self.go()
        for key in ("source:test", "root:test", "sources", "log"):
            key = "{quotadefer}:" + key
            with self.subTest(key=key):
                self.redis.cli("RENAME", key, "kept")
                self.redis.cli("LPUSH", key, "foreign")
                self.refused(69, "another prefix")
                self.redis.cli("RENAME", "kept", key)

    def test_an_unchanged_scan_writes_no_record(self):
        self.go()
        monitor = subprocess.Popen(["redis-cli", "-p", str(self.redis.port),
                                    "MONITOR"], stdout=subprocess.PIPE,
                                   text=True)
        self.assertEqual(monitor.stdout.readline(), "OK\n")
        self.go()
        self.redis.cli("PING", "done")
        written = []
        for line in monitor.stdout:
            words = re.findall(r'"([^"]*)"', line)
            if words == ["PING", "done"]:
                break
            if words[0] in ("SET", "HSET", "HDEL", "DEL", "SADD", "XADD"):
                written.append(words[1])
        monitor.kill()
        monitor.wait()
        monitor.stdout.close()
        self.assertEqual(written, [self.LEASE, "{quotadefer}:sources",
                                   self.SOURCE, "{quotadefer}:log",
                                   self.LEASE])

    def start_and_stop(self, *slower):
        """A scan that is stopped when it lists the first directory."""
        process = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-e", "trace=getdents64",
             "-e", "inject=getdents64:signal=SIGSTOP:when=1", *slower,
             parts.SCAN, "--force", "-c", self.milter.conf, "-o",
             f"imapd_conf={self.tree.conf}", "-o", "scan_threads=1"],
            stderr=subprocess.PIPE, text=True, env=TRACED)
        pid = int(wait_for("it has the lease", lambda: self.redis.cli(
            "GET", self.LEASE)).split()[1])
        status = pathlib.Path(f"/proc/{pid}/status")
        wait_for("it is stopped", lambda: re.search(
            r"^State:\s+[Tt]", status.read_text(), re.M))
        self.addCleanup(lambda: process.poll() is None and
                        os.kill(pid, signal.SIGKILL))
        return process, pid

    def test_back_after_the_lease_ended(self):
        """Who slept over his lease no longer writes."""
        self.grow(3000)
        process, pid = self.start_and_stop()
        self.redis.cli("PEXPIRE", self.LEASE, 1)
        wait_for("it ended", lambda:
                 self.redis.cli("EXISTS", self.LEASE) == "0")
        self.grow(1500, 0)
        self.go("--force")
        before = self.published(), self.redis.cli("HGETALL", self.SOURCE)
        self.assertEqual(len(before[0]), 1502)
        os.kill(pid, signal.SIGCONT)
        text = process.communicate()[1]
        self.assertEqual(process.returncode, 75, text)
        self.assertIn("the lease of source test ran out", text)
        self.assertEqual((self.published(),
                          self.redis.cli("HGETALL", self.SOURCE)), before)

    def test_killed(self):
        """The lease of the dead keeps the next one out until it ends, if it
        was scanned elsewhere; here it is seen to be dead."""
        self.grow(3000)
        process, pid = self.start_and_stop()
        os.kill(pid, signal.SIGKILL)
        process.communicate()
        elsewhere = self.redis.cli("GET", self.LEASE).replace("(", "(0")
        self.assertEqual(self.redis.cli("SET", self.LEASE, elsewhere,
                                        "KEEPTTL"), "OK")
        refused = self.go(check=False)
        self.assertEqual(refused.returncode, 75)
        self.assertIn(f"being scanned by process {pid} on ", refused.stderr)
        self.assertLessEqual(int(self.redis.cli("PTTL", self.LEASE)), 60000)
        self.redis.cli("PEXPIRE", self.LEASE, 1)
        wait_for("it ended", lambda:
                 self.redis.cli("EXISTS", self.LEASE) == "0")
        self.redis.cli("SET", self.LEASE, elsewhere.replace("(0", "("))
        self.go("--force")
        self.assertEqual(len(self.published()), 3002)

    def test_redis_goes_away_meanwhile(self):
        """What went wrong is said, not that something did."""
        self.grow(3000)
        process, pid = self.start_and_stop(
            "-e", "trace=getdents64,openat", "-e",
            "inject=openat:delay_exit=1000:when=2000+")
        self.redis.stop(signal.SIGKILL)
        # the lease is due to be renewed while the scan goes on
        wait_for("6 s of the scan are over", lambda: time.time() -
                 os.stat(f"/proc/{pid}").st_mtime > 6)
        os.kill(pid, signal.SIGCONT)
        text = process.communicate()[1]
        self.assertEqual(process.returncode, 69, text)
        self.assertRegex(text, r"redis 127\.0\.0\.1:\d+/0: ")


if __name__ == "__main__":
    parts.require("strace", "saslpasswd2", "setpriv", "redis-server",
                  "redis-cli", parts.CYRUS_BIN / "master")
    parts.main()
