#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""quotadefer-ctl compare, beside a real Cyrus that agrees or does not."""

import contextlib
import json
import pathlib
import shutil
import socket
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

ASKED = ("smmapd", "imap", "lmtp")


class Cyrus(parts.Cyrus):
    """With an smmapd, and an lmtpd of the strict rule."""

    def __init__(self, place, name="cyrus", **settings):
        super().__init__(place, name, **settings)
        self.smmap = self.dir / "socket/smmap"
        self.strict_lmtp = self.dir / "socket/lmtp-strict"
        self.strict_conf = self.dir / "imapd-strict.conf"
        self.local_imap = self.dir / "socket/imap"
        self.locked_imap = self.dir / "socket/imap-locked"
        self.locked_conf = self.dir / "imapd-locked.conf"
        self.services = [
            f'local cmd="{parts.CYRUS_BIN}/imapd -C {self.locked_conf} -p 2"'
            f' listen="{self.local_imap}" prefork=0',
            f'locked cmd="{parts.CYRUS_BIN}/imapd -C {self.locked_conf}"'
            f' listen="{self.locked_imap}" prefork=0',
            f'smmap cmd="{parts.CYRUS_BIN}/smmapd -C {self.conf}"'
            f' listen="{self.smmap}" prefork=0',
            f'strict cmd="{parts.CYRUS_BIN}/lmtpd -C {self.strict_conf}"'
            f' listen="{self.strict_lmtp}" prefork=0']

    def start(self):
        super().start()
        self.strict_conf.write_text(self.conf.read_text() +
                                    "lmtp_strict_quota: 1\n")
        self.locked_conf.write_text(self.conf.read_text().replace(
            "allowplaintext: yes", "allowplaintext: no"))
        for path in (self.smmap, self.strict_lmtp, self.local_imap,
                     self.locked_imap):
            self.wait_until("the others listen",
                            lambda path=path: path.exists())

    def delete(self, mailbox):
        with self.admin() as imap:
            imap.setacl(mailbox, "cyradmin", "lrswipkxtecda")
            assert imap.delete(mailbox)[0] == "OK"

    def root(self, name):
        """Where the quota file of user.NAME is."""
        return self.dir / f"conf/quota/{name[0]}/user.{name}"

    def write_root(self, name, used, limit=100, messages="0"):
        """The figures that a real Cyrus cannot be brought to in a test."""
        path = self.root(name)
        for directory in (path.parent.parent, path.parent):
            if not directory.exists():
                directory.mkdir(mode=0o700)
                shutil.chown(directory, "cyrus", "mail")
        new = path.with_name(path.name + ".NEW")
        new.write_text(f"%(S ({used} {limit}) M ({messages}) AS (0) NF (1) "
                       "MODSEQ 3)\n")
        shutil.chown(new, "cyrus", "mail")
        new.rename(path)


class Compared(unittest.TestCase):
    """Cyrus runs once, each test scans for itself, into its own table."""

    settings = {}
    user = "user/"

    @classmethod
    def setUpClass(cls):
        place = cls.place = cls.enterClassContext(parts.Place())
        cls.cyrus = place.start(Cyrus(place, **cls.settings))
        cls.password = place.dir / "password"
        cls.password.write_text("secret\n")
        cls.password.chmod(0o600)

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.milter = parts.Milter(self.place, name)
        self.made = []
        self.addCleanup(self.remove_made)

    def create(self, name, **limits):
        self.cyrus.create(self.user + name, **limits)
        self.made.append(name)

    def remove_made(self):
        for name in self.made:
            self.cyrus.delete(self.user + name)

    def scan(self, *args):
        self.milter.scan(self.cyrus.conf, "--force", *args)

    def whom(self, asked, strict=False):
        """The options for each of the ways to ask."""
        lmtp = self.cyrus.strict_lmtp if strict else self.cyrus.lmtp
        return {
            "smmapd": ["--smmapd", self.cyrus.smmap],
            "imap": ["--imap", f"127.0.0.1:{self.cyrus.imap_port}", "--user",
                     "cyradmin", "--password-file", self.password],
            "lmtp": ["--lmtp", lmtp, "--yes"],
        }[asked]

    def ctl(self, *args, conf=None):
        return self.milter.ctl("-o", f"imapd_conf={conf or self.cyrus.conf}",
                               *args, check=False)

    def compare(self, *args, **kwargs):
        """The exit status and the JSON."""
        done = self.ctl("-j", "compare", *args, **kwargs)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.returncode, json.loads(done.stdout)

    def check(self, asked, want, *more, status=0, **kwargs):
        """want: {name: outcome} of all that does not simply agree."""
        strict = kwargs.pop("strict", False)
        got, found = self.compare(*self.whom(asked, strict), *more, **kwargs)
        outcomes = {d["root"].removeprefix("user."): d["outcome"]
                    for d in found["differences"]}
        self.assertEqual(outcomes, want, (asked, found))
        self.assertEqual(got, status, (asked, found))
        for outcome in ("stale", "missed", "false", "unsure"):
            self.assertEqual(found[outcome],
                             list(want.values()).count(outcome))
        return found


class RealCyrus(Compared):
    def test_agreement(self):
        for name, limits in (
                ("full", {"STORAGE": 10}),
                ("good", {"STORAGE": 1000}),
                ("first.last", {"STORAGE": 10}),
                ("virt@virt.example", {"STORAGE": 10}),
                ("many", {"MESSAGE": 1}),
                ("free", {})):
            self.create(name, **limits)
            for _ in range(3):
                self.cyrus.deliver(name, 6000)
        self.scan()
        for asked in ASKED:
            found = self.check(asked, {})
            # all but the one that has no quota root
            self.assertEqual(found["agree"], 5)
            self.assertEqual(found["skipped"], 0)
        self.assertEqual((found["source"], found["rule"]), ("test", "lmtpd"))
        self.assertEqual(found["asked"], f"lmtpd {self.cyrus.lmtp}")

    def test_text(self):
        self.create("full", STORAGE=100)
        self.cyrus.write_root("full", 200000)
        self.scan()
        self.cyrus.write_root("full", 0)
        done = self.ctl("compare", *self.whom("smmapd"))
        self.assertEqual(done.returncode, 0)
        self.assertRegex(
            done.stdout,
            r'\Asource=test rule=lmtpd age="\d+ s" asked="smmapd \S+" '
            r'mailboxes=1\n'
            r'stale: to=<full@example\.org> root=user\.full table=defer '
            r'cyrus=accept said="OK .*"\n'
            r'agree=0 stale=1 missed=0 false=0 unsure=0 skipped=0\n\Z')

    def test_stale(self):
        """The table is behind: a new scan puts all of it right."""
        for name in ("emptied", "filled", "deleted", "kept"):
            self.create(name, STORAGE=100)
            self.cyrus.write_root(name, 0 if name == "filled" else 200000)
        self.scan()
        self.cyrus.write_root("emptied", 0)
        self.cyrus.write_root("filled", 200000)
        self.cyrus.delete("user/deleted")
        self.made.remove("deleted")
        for asked in ASKED:
            self.check(asked, {"emptied": "stale", "filled": "stale",
                               "deleted": "stale"})
        self.scan()
        for asked in ASKED:
            self.check(asked, {})

    def test_older_than_max_age(self):
        self.create("full", STORAGE=100)
        self.cyrus.write_root("full", 200000)
        self.scan()
        wait_for("the table is too old", lambda: self.ctl(
            "-o", "max_age=1s", "query", "full@example.org").returncode == 75)
        got, found = self.compare("-o", "max_age=1s", *self.whom("imap"))
        self.assertEqual((got, found["stale"], found["agree"]), (0, 1, 0))

    def test_false_by_a_root_that_the_mailbox_does_not_have(self):
        """A quota file from a backup: lmtpd goes by the mailbox."""
        self.create("hand")
        self.cyrus.write_root("hand", 200000)
        self.scan()
        self.check("imap", {"hand": "false"}, status=1)
        self.check("lmtp", {"hand": "false"}, status=1)
        # smmapd searches, as the table does
        self.check("smmapd", {})
        done = self.ctl("compare", *self.whom("imap"))
        self.assertEqual(done.returncode, 1)
        self.assertIn('false: to=<hand@example.org> root=user.hand '
                      'table=defer cyrus=accept said="no quota root"\n',
                      done.stdout)
        parts.run("setpriv", "--reuid=cyrus", "--regid=mail", "--clear-groups",
                  parts.CYRUS_BIN / "quota", "-C", self.cyrus.conf, "-f",
                  "user/hand")
        self.scan()
        for asked in ASKED:
            self.check(asked, {})

    def test_a_wrong_rule(self):
        """Set by hand to what Cyrus does not do."""
        self.create("many", MESSAGE=1)
        self.cyrus.deliver("many")
        strict = ("-o", "rule=lmtpd-strict")
        self.scan(*strict)
        for asked in ("imap", "lmtp"):
            self.check(asked, {"many": "false"}, *strict, status=1)
        lenient = ("-o", "rule=lmtpd")
        self.scan(*lenient)
        for asked in ("imap", "lmtp"):
            self.check(asked, {"many": "missed"}, *lenient, strict=True,
                       conf=self.cyrus.strict_conf)

    def test_rule_strict(self):
        self.create("many", MESSAGE=1)
        self.create("near", STORAGE=100)
        self.cyrus.deliver("many")
        self.cyrus.write_root("near", 102000)
        self.milter.scan(self.cyrus.strict_conf, "--force")
        for asked in ("imap", "lmtp"):
            found = self.check(asked, {}, strict=True,
                               conf=self.cyrus.strict_conf)
            self.assertEqual(found["agree"], 2)

    def test_rule_smmapd(self):
        for name in ("many", "folder"):
            self.create(name)
        self.cyrus.set_quota("user/many", MESSAGE=1)
        self.cyrus.deliver("many")
        self.cyrus.create("user/folder/Sub.low", STORAGE=0)
        self.cyrus.create("user/folder/other", STORAGE=100)
        with self.cyrus.admin() as imap:
            imap.setacl("user/folder/Sub.low", "anyone", "p")
        rule = ("-o", "rule=smmapd")
        self.cyrus.set_quota("user/folder/Sub.low", MESSAGE=0)
        self.scan(*rule)
        found = self.check("smmapd", {}, *rule)
        self.assertEqual(found["rule"], "smmapd")
        self.assertEqual(found["agree"], 2)
        self.check("imap", {}, *rule)

    def test_what_smmapd_does_not_test(self):
        self.create("many", MESSAGE=1)
        self.cyrus.deliver("many")
        self.create("folders")
        self.cyrus.create("user/folders/sub")
        self.cyrus.set_quota("user/folders", X_NUM_FOLDERS=1)
        self.create("good", STORAGE=10)
        self.scan()
        self.check("imap", {})
        self.check("lmtp", {})
        # at its limit; and over one that smmapd does not look at
        self.check("smmapd", {"many": "unsure", "folders": "unsure"})

    def test_what_imapd_rounds_off(self):
        self.create("under", STORAGE=100)
        self.create("over", STORAGE=100)
        self.create("well", STORAGE=100)
        self.cyrus.write_root("under", 102400)
        self.cyrus.write_root("over", 102401)
        self.cyrus.write_root("well", 102400 + 1024)
        self.scan()
        self.check("imap", {"under": "unsure", "over": "unsure"})
        self.check("smmapd", {})
        self.check("lmtp", {})

    def test_not_reached_by_mail(self):
        """A folder's root, a domain's and a shared one's."""
        self.create("folder")
        self.cyrus.create("user/folder/sub", STORAGE=0)
        self.create("postmaster", STORAGE=10)
        self.cyrus.create("shared")
        self.cyrus.set_quota("shared", X_NUM_FOLDERS=0)
        self.scan()
        found = self.check("imap", {})
        # postuser is not set, and +shared is nonetheless an address
        self.assertEqual((found["agree"], found["skipped"]), (1, 1))
        self.cyrus.delete("shared")

    def test_sample(self):
        for n in range(5):
            self.create(f"good{n}", STORAGE=100)
        self.create("full", STORAGE=100)
        self.cyrus.write_root("full", 200000)
        self.scan()
        drawn = set()
        for sample in (0, 2, 5, 100):
            found = self.check("smmapd", {}, "--sample", str(sample))
            self.assertEqual(found["agree"], min(sample, 5) + 1)
        self.cyrus.write_root("full", 0)
        for n in range(5):
            self.cyrus.write_root(f"good{n}", 200000)

        def draw():
            _, found = self.compare(*self.whom("smmapd"), "--sample", "1")
            self.assertEqual(found["stale"], 2)
            drawn.update(d["root"] for d in found["differences"])
            return len(drawn) == 6
        wait_for("all have been drawn", draw)

    def test_writes_nothing(self):
        self.create("full", STORAGE=100)
        self.cyrus.write_root("full", 200000)
        self.scan()

        def files():
            return {p: (p.stat().st_mtime_ns, p.stat().st_ino)
                    for top in ("conf/quota", "spool")
                    for p in (self.cyrus.dir / top).rglob("*")}
        before = files()
        for asked in ASKED:
            self.check(asked, {})
        self.assertEqual(files(), before)

    def test_not_an_administrator(self):
        self.create("full", STORAGE=100)
        self.cyrus.add_login("full")
        self.cyrus.write_root("full", 0)
        self.scan()
        done = self.ctl("compare", *self.whom("imap"), "--user", "nobody")
        self.assertEqual(done.returncode, 77, done.stderr)
        self.cyrus.add_login("other")
        done = self.ctl("compare", *self.whom("imap"), "--user", "other")
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("no verdict on any mailbox", done.stderr)
        self.assertIn("cyrus=no-mailbox", done.stdout)

    def test_refused_password(self):
        self.create("good", STORAGE=100)
        self.scan()
        bad = self.place.dir / "bad"
        bad.write_text('a "wrong\\ pässword"\n')
        bad.chmod(0o600)
        done = self.ctl("compare", *self.whom("imap"), "--password-file", bad)
        self.assertEqual(done.returncode, 77)
        self.assertRegex(done.stderr, r"imapd 127\.0\.0\.1:\d+: LOGIN was "
                         r"refused: NO ")
        self.assertNotIn("wrong", done.stderr)

    def test_no_plain_text(self):
        """What the manual advises where allowplaintext is off."""
        self.create("good", STORAGE=100)
        self.scan()
        admin = ["--user", "cyradmin", "--password-file", self.password]
        done = self.ctl("compare", "--imap", self.cyrus.locked_imap, *admin)
        self.assertEqual(done.returncode, 77)
        self.assertIn("LOGIN was refused: NO ", done.stderr)
        _, found = self.compare("--imap", self.cyrus.local_imap, *admin)
        self.assertEqual(found["agree"], 1)

    def test_password_file(self):
        self.create("good", STORAGE=100)
        self.scan()
        for name, text, mode, why in (
                ("open", "secret\n", 0o644, "everybody may read it"),
                ("empty", "\n", 0o600, "the first line is empty"),
                ("missing", None, 0, "No such file")):
            path = self.place.dir / name
            if text:
                path.write_text(text)
                path.chmod(mode)
            done = self.ctl("compare", *self.whom("imap"), "--password-file",
                            path)
            self.assertEqual(done.returncode, 78, name)
            self.assertIn(why, done.stderr)

    def test_autocreate_is_warned_of(self):
        self.scan()
        done = self.ctl("compare", "--lmtp", self.cyrus.lmtp)
        self.assertEqual(done.returncode, 64)
        self.assertIn("autocreate_post", done.stderr)
        self.assertIn("--lmtp needs --yes", done.stderr)
        done = self.ctl("compare", "--lmtp", self.cyrus.lmtp, "--yes")
        self.assertEqual(done.returncode, 0)
        self.assertIn("autocreate_post", done.stderr)

    def test_usage(self):
        smmap = ["--smmapd", self.cyrus.smmap]
        for args in ([], smmap + ["--lmtp", self.cyrus.lmtp],
                     ["--imap", "127.0.0.1:1"], smmap + ["--yes"],
                     smmap + ["--user", "x"], smmap + ["--sample", "-1"],
                     smmap + ["--sample", "x"], smmap + ["argument"],
                     ["--smmapd", "relative"], ["--smmapd", "name.test:1"],
                     ["--smmapd", "/" + "x" * 200],
                     ["--imap", "192.0.2.1"]):
            self.scan()
            done = self.ctl("compare", *args)
            self.assertEqual(done.returncode, 64, args)
            self.assertEqual(done.stdout, "")

    def test_settings(self):
        self.scan()
        done = self.ctl("compare", *self.whom("smmapd"),
                        conf=self.place.dir / "missing.conf")
        self.assertEqual(done.returncode, 78)
        conf = self.place.dir / "conversations.conf"
        conf.write_text(self.cyrus.conf.read_text() +
                        "quota_use_conversations: 1\n")
        done = self.ctl("compare", *self.whom("smmapd"), conf=conf)
        self.assertEqual(done.returncode, 78)
        self.assertIn("quota_use_conversations", done.stderr)

    def test_nothing_to_compare_with(self):
        done = self.ctl("compare", *self.whom("smmapd"))
        self.assertEqual(done.returncode, 75, "no table")
        self.scan()
        done = self.ctl("-o", "source=another", "compare",
                        *self.whom("smmapd"))
        self.assertEqual(done.returncode, 75)
        self.assertIn("source another has published nothing", done.stderr)
        dead = self.place.dir / "dead.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(dead))
        for args in (["--smmapd", dead],
                     ["--smmapd", f"127.0.0.1:{parts.free_port()}"],
                     ["--imap", f"[::1]:{parts.free_port()}",
                      "--password-file", self.password],
                     ["--lmtp", dead, "--yes"]):
            done = self.ctl("compare", *args)
            self.assertEqual(done.returncode, 75, args)
            self.assertRegex(done.stderr, r"refused|Cannot assign|Permission")


class Hostile(Compared):
    """Whatever is at the other end."""

    @contextlib.contextmanager
    def server(self, *answers, hang=False):
        """Send answers, each after something was received, and hang up."""
        done = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve():
                connection, _ = listener.accept()
                with connection:
                    for n, answer in enumerate(answers):
                        if n and not connection.recv(4096):
                            return
                        with contextlib.suppress(OSError):
                            connection.sendall(answer)
                    if hang:
                        done.wait(parts.PATIENCE)
            thread = threading.Thread(target=serve)
            thread.start()
            yield f"127.0.0.1:{listener.getsockname()[1]}"
            done.set()
            thread.join()

    def setUp(self):
        super().setUp()
        self.create("good", STORAGE=100)
        self.scan()

    def refuse(self, options, answers, why, **kwargs):
        with self.server(*answers, **kwargs) as where:
            done = self.ctl("compare", options[0], where, *options[1:])
        self.assertEqual(done.returncode, 75, (answers, done.stderr))
        self.assertIn(why, done.stderr)

    def test_smmapd(self):
        for answer, why in (
                (b"", "hung up"), (b"5:OK", "hung up"),
                (b"x", "not an answer"), (b"1:OK,", "not an answer"),
                (b"99999:", "not an answer"),
                (b"999999:", "not an answer"),
                (b"13:TEMP nonsense,", "no verdict"),
                (b"0:,", "no verdict"), (b"9:PERM \r\n\0\xff,", "no verdict")):
            self.refuse(["--smmapd"], [b"", answer], why)

    def test_imapd(self):
        options = ["--imap", "--password-file", self.password]
        hello, login = b"* OK hello\r\n", b"q1 OK in\r\n"
        for answers, why in (
                ([b"* BYE busy\r\n"], "BYE busy"),
                ([b"* PREAUTH hello\r\n"], "PREAUTH"),
                ([hello, b"* BYE no\r\n"], "BYE no"),
                ([hello, login, b"* QUOTA {99999999999}\r\n"],
                 "not an answer"),
                ([hello, login, b"* QUOTA x (STORAGE\r\nq2 OK done\r\n"],
                 "no verdict"),
                ([hello, login, b"* QUOTA x (STORAGE 9 99999999999999999999)"
                  b"\r\nq2 OK done\r\n"], "no verdict"),
                ([hello, login, b"q2 BAD what\r\n"], "no verdict"),
                ([hello, login, b"* " + b"x" * 70000], "too long"),
                ([hello, login, b"* x\r\n" * 2000], "no end")):
            self.refuse(options, answers, why)

    def test_lmtpd(self):
        options = ["--lmtp", "--yes"]
        hello, lhlo = b"220 hi\r\n", b"250-x\r\n250 y\r\n"
        for answers, why in (
                ([b"421 busy\r\n"], "421 busy"), ([b"hello\r\n"], "not an"),
                ([hello, b"530 5.7.0 log in\r\n"], "530 5.7.0 log in"),
                ([hello, lhlo, b"250 a\r\n451 4.3.0 b\r\n250 c\r\n"],
                 "no verdict"),
                ([hello, lhlo, b"250 a\r\n"], "hung up"),
                ([hello, lhlo, b"250-a\r\n" * 20000], "too long")):
            self.refuse(options, answers, why)

    def test_silence(self):
        self.refuse(["--smmapd"], [], "no answer in time", hang=True)


class Twoskip(Compared):
    """The whole store is read to know what one root is now."""

    settings = {"quota_db": "twoskip"}

    def test_all(self):
        for name in ("full", "good"):
            self.create(name, STORAGE=10)
        for _ in range(3):
            self.cyrus.deliver("full", 6000)
        self.scan()
        for asked in ASKED:
            self.assertEqual(self.check(asked, {})["agree"], 2)
        self.cyrus.add_login("full")
        self.cyrus.empty_inbox("full")
        self.cyrus.fill("good", 6000)
        for asked in ASKED:
            self.check(asked, {"full": "stale", "good": "stale"})


class NamesWithoutDomains(Compared):
    """Names as they were before Cyrus 3."""

    settings = {"virtdomains": "off", "defaultdomain": None,
                "unixhierarchysep": "no", "altnamespace": "no"}
    user = "user."

    def test_all(self):
        self.create("joe", STORAGE=100)
        self.create("first^last", STORAGE=100)
        self.cyrus.write_root("joe", 200000)
        self.cyrus.write_root("first^last", 200000)
        self.scan()
        for asked in ASKED:
            self.assertEqual(self.check(asked, {})["agree"], 2)
        for name in ("joe", "first^last"):
            self.cyrus.write_root(name, 0)
        for asked in ASKED:
            found = self.check(asked, {"joe": "stale", "first^last": "stale"})
            self.assertEqual(
                [d["address"] for d in found["differences"]],
                ["first.last@internal", "joe@internal"])


if __name__ == "__main__":
    parts.require("saslpasswd2", "setpriv", parts.CYRUS_BIN / "smmapd",
                  parts.CYRUS_BIN / "master")
    parts.main()
