#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""From the address on the envelope to the mailbox: real Postfix, real slapd,
the site's own table files."""

import json
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
import slapd_part  # noqa: E402
from parts import wait_for  # noqa: E402

VIRTUAL = """\
# virtual(5)
info@example.org        full@example.org
team@example.org        full@example.org, good@example.org
both@example.org        full@example.org,
                        fuller@example.org
away@example.org        someone@elsewhere.test
mixed@example.org       full@example.org, someone@elsewhere.test
one@example.org         two@example.org
two@example.org         three@example.org
three@example.org       full@example.org
hare@example.org        tortoise@example.org
tortoise@example.org    hare@example.org
full@example.org        full@example.org
good+box@example.org    full@example.org
bare                    fuller
@vdom.test              full@example.org
"quo ted"@example.org   full@example.org
"""
ALIASES = """\
helpdesk: full
sink: "|/bin/cat >/dev/null"
file: /dev/null
list: :include:{include}
mostly: full, sink
"""
DIRECTORY = {
    "dir-full": "full@example.org",
    "dir-good": "good@example.org",
    "dir-both": ["full@example.org", "fuller@example.org"],
    "dir-team": ["full@example.org", "good@example.org"],
    "dir-chain": "helpdesk@example.org",
}
TABLE = """\
server_host = {url}
search_base = {base}
version = 3
query_filter = (mailacceptinggeneralid=%s)
result_attribute = maildrop
timeout = 5
"""
DEFERRED = ("info", "both", "one", "bare", "helpdesk", "list", "good+box",
            "full+any", "info+x", "Info", "dir-full", "dir-both", "dir-chain",
            "DIR-FULL", '"info"', '"quo ted"', "full")
PASSED = ("team", "away", "mixed", "hare", "sink", "file", "mostly",
          "dir-good", "dir-team", "nobody", "good", "postmaster", "abuse")


class Chain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = cls.place = cls.enterClassContext(parts.Place())
        cls.tree = parts.Tree(place, "cyrus")
        cls.slapd = cls.make_directory(place)
        cls.write_maps(place)
        # the directory, and how long it is remembered, are each test's own
        cls.milter = parts.Milter(
            place, alias_maps=[f"texthash:{cls.virtual}",
                               f"aliases:{cls.aliases}", f"ldap:{cls.table}"])
        cls.milter.options.append("-v")
        place.start(cls.milter)
        cls.milter.scan(cls.tree.conf)
        cls.mx = place.start(parts.Postfix(
            place, "mx", smtpd_milters=cls.milter.postfix(),
            virtual_mailbox_domains="example.org",
            virtual_alias_domains="vdom.test",
            # not the directory: it is to stay away without an error of Postfix
            virtual_alias_maps=f"texthash:{cls.virtual}",
            virtual_transport="discard:"))

    @classmethod
    def make_directory(cls, place):
        slapd = slapd_part.Slapd(place)
        slapd.add(slapd_part.SUFFIX, objectClass=["dcObject", "organization"],
                  dc="example", o="example")
        for name, targets in DIRECTORY.items():
            slapd.add(f"cn={name},{slapd_part.SUFFIX}",
                      objectClass=["organizationalRole", "mailThing"],
                      cn=name, maildrop=targets,
                      mailacceptinggeneralid=f"{name}@example.org")
        return place.start(slapd)

    @classmethod
    def write_maps(cls, place):
        include = place.dir / "include"
        include.write_text("full, fuller\n")
        cls.virtual = place.dir / "virtual"
        cls.virtual.write_text(VIRTUAL)
        cls.aliases = place.dir / "aliases"
        cls.aliases.write_text(ALIASES.format(include=include))
        cls.table = place.dir / "ldap-aliases.cf"
        cls.table.write_text(TABLE.format(url=cls.slapd.url,
                                          base=slapd_part.SUFFIX))

    def setUp(self):
        self.reload()

    def reload(self, **settings):
        """With these settings instead, and nothing remembered of LDAP."""
        self.milter.write_conf(**{
            "alias_rule": None, "alias_cache_ttl": None, "alias_stale": None,
            "alias_negative_ttl": None, **settings})
        # another table file is another map
        self.table.write_text(self.table.read_text() + "# again\n")
        self.milter.ctl("reload")

    def verdict(self, local, domain="example.org"):
        """250 or 451, from the real Postfix."""
        reply = self.mx.talk(f"MAIL FROM:<a@ext.test>\r\nRCPT TO:<{local}@"
                             f"{domain}>\r\nQUIT\r\n")[1]
        if reply.startswith("451"):
            self.assertEqual(reply, "451 4.2.2 mailbox full, please try "
                             "again later")
        return reply[:3]

    def verdicts(self, locals_):
        return {local: self.verdict(local) for local in locals_}

    def query(self, address, status, *options):
        done = self.milter.ctl("-j", "query", address, *options, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_all(self):
        self.assertEqual(self.verdicts(DEFERRED), dict.fromkeys(DEFERRED,
                                                                "451"))
        self.assertEqual(self.verdicts(PASSED), dict.fromkeys(PASSED, "250"))
        self.assertEqual(self.verdict("anybody", "vdom.test"), "451")
        # as query sees it
        for local in DEFERRED:
            self.query(f"{local}@example.org", 1)
        for local in PASSED:
            self.query(f"{local}@example.org", 0)

    def test_any(self):
        self.reload(alias_rule="any")
        any_ = ("team", "mixed", "mostly", "dir-team")
        self.assertEqual(self.verdicts(any_), dict.fromkeys(any_, "451"))
        passed = [name for name in PASSED if name not in any_]
        self.assertEqual(self.verdicts(passed), dict.fromkeys(passed, "250"))

    def test_changed_file(self):
        self.assertEqual(self.verdict("new"), "250")
        self.virtual.write_text(VIRTUAL + "new@example.org full@example.org\n")
        wait_for("the new line counts", lambda: self.verdict("new") == "451")
        self.virtual.write_text("info@example.org\n")
        wait_for("the filter says so", lambda: self.verdict("new") == "451" and
                 f"{self.virtual}:1: " in self.milter.text())
        self.virtual.unlink()
        self.assertEqual(self.verdict("new"), "451")
        done = self.milter.ctl("reload", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn(f"alias_maps: {self.virtual}: ", done.stderr)
        self.virtual.write_text(VIRTUAL)
        wait_for("the line is gone", lambda: self.verdict("new") == "250")

    def test_bad_reload(self):
        good = self.table.read_text()
        self.table.write_text(good + "no_such_parameter = 1\n")
        done = self.milter.ctl("reload", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn("no_such_parameter", done.stderr)
        self.assertEqual(self.verdict("dir-full"), "451")
        check = parts.run(parts.MILTER, "-n", "-c", self.milter.conf,
                          "-u", "postfix", check=False)
        self.assertEqual(check.returncode, 78)
        self.assertIn("no_such_parameter", check.stderr)
        self.table.write_text(good)

    def test_reload_of_what_a_table_names(self):
        """Its own file is as it was."""
        domains = self.place.dir / "table-domains"
        domains.write_text("example.org\n")
        good = self.table.read_text()
        self.addCleanup(self.table.write_text, good)
        self.table.write_text(f"{good}domain = {domains}\n")
        self.milter.ctl("reload")
        self.assertEqual(self.verdict("dir-full"), "451")
        domains.write_text("elsewhere.test\n")
        self.milter.ctl("reload")
        self.assertEqual(self.verdict("dir-full"), "250")
        domains.write_text("")
        self.assertEqual(self.milter.ctl("reload", check=False).returncode, 78)

    def test_unreadable(self):
        """-n is run by root, the filter is not root."""
        def check():
            done = parts.run(parts.MILTER, "-n", "-c", self.milter.conf, "-u",
                             "postfix")
            return done.stderr
        self.assertNotIn("cannot read", check())
        self.table.chmod(0o600)
        self.addCleanup(self.table.chmod, 0o644)
        self.assertIn(f"ldap:{self.table}: user postfix cannot read it",
                      check())

    def stop_slapd(self, number):
        self.slapd.send(number)
        self.addCleanup(self.start_slapd)

    def start_slapd(self):
        if self.slapd.is_running():
            self.slapd.send(signal.SIGCONT)
        else:
            self.slapd.start()

    def test_dead_directory(self):
        """What is known stays known; the rest passes; and it comes back."""
        self.reload(alias_cache_ttl="1s", alias_negative_ttl="1s")
        self.assertEqual(self.verdict("dir-full"), "451")
        self.stop_slapd(signal.SIGKILL)
        wait_for("it is gone", lambda: not self.slapd.is_running())
        wait_for("what was known is old", lambda: "stale" in self.cached(
            "dir-full@example.org"))
        self.assertEqual(self.verdict("dir-full"), "451")
        self.assertEqual(self.verdict("dir-both"), "250")
        self.assertEqual(self.verdict("info"), "451")
        self.assertGreater(self.stat("alias_cache_total", "stale"), 0)
        self.query("dir-both@example.org", 75)
        wait_for("the filter says so", lambda: "recipients pass" in
                 self.milter.text())
        self.start_slapd()
        wait_for("dir-both@ is deferred again", lambda:
                 self.verdict("dir-both") == "451")

    def test_frozen_directory(self):
        """An answer waits for the deadline, and soon not even for that."""
        self.assertEqual(self.verdict("dir-full"), "451")
        self.stop_slapd(signal.SIGSTOP)
        opened = self.stat("alias_breaker_opened_total") or 0
        for n in range(4):
            self.assertEqual(self.verdict(f"dir-both+{n}"), "250")
        wait_for("the breaker is open", lambda: self.stat(
            "alias_breaker_opened_total") > opened)
        self.assertEqual(self.stat("alias_breaker_open"), 1)
        errors = self.stat("alias_lookups_total", "error")
        refused = self.stat("alias_lookups_total", "refused")
        self.assertEqual(self.verdict("dir-full"), "451")
        self.assertEqual(self.verdict("dir-team"), "250")
        self.assertGreater(self.stat("alias_lookups_total", "refused") +
                           self.stat("alias_lookups_total", "error"),
                           refused + errors)
        self.slapd.send(signal.SIGCONT)
        wait_for("dir-both@ is deferred again", lambda:
                 self.verdict("dir-both") == "451")
        self.assertEqual(self.stat("alias_breaker_open"), 0)

    def stat(self, name, result=None):
        more = f',result="{result}"' if result else ""
        return self.milter.stat(f'{name}{{map="ldap:{self.table}"{more}}}')

    def cached(self, key):
        """What the filter remembers, as query shows it."""
        done = self.milter.ctl("-j", "query", key, check=False)
        return next(m["cache"] for m in json.loads(done.stdout)["maps"]
                    if m["key"] == key and "cache" in m)

    def test_query(self):
        answer = self.query("dir-team@example.org", 0, "--sender", "a@b.test",
                            "--client", "192.0.2.1", "--size", "10M")
        self.assertEqual([t["target"] for t in answer["targets"]],
                         ["full@example.org", "good@example.org"])
        self.assertEqual([t["judged"] for t in answer["targets"]],
                         ["the mailbox is full", "the mailbox is not full"])
        self.assertEqual(answer["alias_rule"], "all: 1 of 2 full")
        self.assertEqual(answer["sender"], "a@b.test")
        asked = [m for m in answer["maps"] if m["map"].startswith("ldap:") and
                 m["key"] == "dir-team@example.org"]
        self.assertEqual(asked[0]["answer"],
                         "full@example.org,good@example.org")
        self.assertIn("(mailacceptinggeneralid=dir-team@example.org)",
                      asked[0]["how"])
        self.assertEqual(asked[0]["cache"], "absent")
        self.verdict("dir-team")
        answer = self.query("dir-team@example.org", 0)
        asked = [m for m in answer["maps"] if m["key"] ==
                 "dir-team@example.org" and "cache" in m]
        self.assertIn("fresh", asked[0]["cache"])
        text = self.milter.ctl("query", "dir-both@example.org",
                               check=False).stdout
        self.assertRegex(text, r"verdict +defer: the mailbox is full")
        self.assertRegex(text, r"reply +451 4\.2\.2 ")


class WithoutLdap(unittest.TestCase):
    """All the rest works; and LDAP is an error that says what to do."""

    def setUp(self):
        place = self.enterContext(parts.Place())
        tree = parts.Tree(place, "cyrus")
        virtual = place.dir / "virtual"
        virtual.write_text(VIRTUAL)
        self.milter = place.start(parts.Milter(
            place, alias_maps=[f"texthash:{virtual}"]))
        self.milter.scan(tree.conf)

    def test_text(self):
        for local, status in (("info", 1), ("team", 0)):
            done = self.milter.ctl("query", f"{local}@example.org",
                                   check=False)
            self.assertEqual(done.returncode, status, done.stdout)

    def test_ldap(self):
        for program in (parts.MILTER, parts.CTL):
            done = parts.run(program, "-c", self.milter.conf, "-o",
                             "alias_maps=ldap:/etc/postfix/x.cf",
                             *(("-n", "-u", "postfix") if program ==
                               parts.MILTER else ("query", "a@example.org")),
                             check=False)
            self.assertEqual(done.returncode, 78)
            self.assertIn("ldap:/etc/postfix/x.cf: " + slapd_part.WITHOUT,
                          done.stderr)
            self.assertIn("--with-ldap", done.stderr)


if __name__ == "__main__":
    if slapd_part.is_built_in():
        del WithoutLdap
        slapd_part.require("postfix")
    else:
        del Chain
    parts.main()
