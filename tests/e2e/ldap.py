#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Alias maps in a real slapd: the same answers as from postmap -q, whatever
the table file says and whatever is asked; and none that keeps mail waiting,
whatever the directory does.

QD_SEED=number draws the same addresses again."""

import concurrent.futures
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
import slapd_part  # noqa: E402
from parts import run, wait_for  # noqa: E402
from slapd_part import SUFFIX  # noqa: E402

# what libldap leaves behind is not for us to mend
os.environ.setdefault("LSAN_OPTIONS", "print_suppressions=0:suppressions=" +
                      str(pathlib.Path(__file__).resolve().parent.parent /
                          "lsan.supp"))
QUERY = parts.TOP / "tests/support/aliasquery"
SEED = int(os.environ.get("QD_SEED") or time.time_ns() % 1000000)
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
PERSON = ["inetOrgPerson", "mailThing"]
DOMAINS = ("example.org", "sub.example.org", "a.b.c.example.net",
           "m\u00fcnchen.example", "example.com", "org")
READER = f"uid=reader,{SUFFIX}"
SECRET = "reader-secret"


def fill(slapd, draw):
    """A small company: people, groups of all kinds, and odd entries."""
    def ou(name, parent=SUFFIX):
        slapd.add(f"ou={name},{parent}", objectClass="organizationalUnit",
                  ou=name)

    def person(uid, parent=PEOPLE, classes=PERSON, **more):
        slapd.add(f"uid={uid},{parent}", objectClass=classes, uid=uid,
                  cn=uid, sn=uid, **more)

    def group(name, **more):
        slapd.add(f"cn={name},{GROUPS}", cn=name,
                  objectClass=["organizationalRole", "mailThing"],
                  mailacceptinggeneralid=f"{name}@example.org", **more)

    def dn(uid):
        return f"uid={uid},{PEOPLE}"

    slapd.add(SUFFIX, objectClass=["dcObject", "organization"], dc="example",
              o="example")
    for name in ("people", "groups", "private", "local", "domains", "links"):
        ou(name)
    slapd.add(READER, objectClass="inetOrgPerson", uid="reader", cn="reader",
              sn="reader", userPassword=SECRET)

    # people
    uids = ["joe", "m\u00fcller", "stra\u00dfe", "a b", "o'hara",
            'qu"ote', "st*r", "back\\slash", "(paren)", "per%cent", "c,omma"]
    uids += [f"user{n}" for n in range(60)]
    escape = {"\\": "\\\\", ",": "\\,", '"': '\\"'}
    for n, uid in enumerate(uids):
        domain = draw.choice(DOMAINS)
        name = "".join(escape.get(c, c) for c in uid)
        drops = [f"{uid}@store{k}.example.org" for k in
                 range(draw.choice((0, 1, 1, 1, 2, 3)))]
        if n % 7 == 0:
            drops.append(f"{uid}-local")
        more = {"maildrop": drops} if drops else {}
        if n % 5 == 0:
            more["mailLeaf"] = f"leaf-{uid}@example.org"
        if n % 11 == 3:
            more["mailTerminal"] = f"end-{uid}@example.org"
        if n % 13 == 5:
            more["cn_lang-de"] = f"de-{uid}"
        slapd.add(f"uid={name},{PEOPLE}", objectClass=PERSON, uid=uid, cn=uid,
                  sn=uid, o=domain, mail=f"{uid}@{domain}",
                  mailacceptinggeneralid=[f"{uid}@{domain}",
                                          f"{uid}.alt@example.org"], **more)
    uids = [u for u in uids if u.startswith("user")]

    # groups: by DN, by URL, in each other, in a circle, too large
    group("team", mailMemberDN=[dn(u) for u in uids[:5]])
    group("both", mailMemberDN=dn(uids[6]), maildrop="both@direct.example",
          mailLeaf="both@leaf.example")
    group("nested", mailMemberDN=[f"cn=team,{GROUPS}", dn(uids[7])])
    group("deep", mailMemberDN=f"cn=nested,{GROUPS}")
    group("circle", mailMemberDN=[f"cn=circle2,{GROUPS}", dn(uids[8])])
    group("circle2", mailMemberDN=f"cn=circle,{GROUPS}")
    group("gone", mailMemberDN=[f"uid=nobody,{PEOPLE}", dn(uids[9])])
    group("empty")
    group("terminal", mailTerminal=["end1@example.org", "end2@example.org"],
          mailMemberDN=dn(uids[1]), maildrop="not-this@example.org")
    group("large", mailMemberDN=[dn(u) for u in uids])
    group("dynamic", mailMemberURL=f"ldap:///{PEOPLE}??one?(uid=user1*)")
    group("dynattr", mailMemberURL=[
        f"ldap:///{PEOPLE}?maildrop?sub?(uid=user2)",
        f"ldap:///{PEOPLE}?description?sub?(uid=user3)",
        f"ldap:///{PEOPLE}?MAIL,cn;lang-de?sub?(uid=user4)"])
    group("badurl", mailMemberURL="ldap:///%zz?x?y?z?a?b?c?d")
    group("badfilter", mailMemberURL=f"ldap:///{PEOPLE}??sub?(uid=")
    group("elsewhere", mailMemberURL=f"ldap://192.0.2.1/{dn(uids[2])}")
    group("nobase", mailMemberURL=f"ldap:///ou=nowhere,{SUFFIX}??sub?(cn=*)")
    group("nul", mailBlob=[b"before\0after@example.org"])
    group("binary", mailBlob=[b"\xff\xfe@example.org", b"fine@example.org"])
    group("many", maildrop=[f"m{n}@many.example" for n in range(3000)])
    group("huge", maildrop=[f"{'h' * 250}{n}@huge.example"
                            for n in range(5000)])

    # several entries that have the same key, of different kinds
    for n, more in enumerate((
            {"maildrop": "s0@example.org"},
            {"mailTerminal": "s1@example.org", "maildrop": "x1@example.org"},
            {"maildrop": "s2@example.org", "mailLeaf": "l2@example.org"},
            {"mailMemberDN": dn(uids[3]), "mailLeaf": "l3@example.org"},
            {"mailLeaf": "l4@example.org"},
            {"maildrop": "s5@example.org"})):
        slapd.add(f"cn=same{n},{GROUPS}", cn=f"same{n}",
                  objectClass=["organizationalRole", "mailThing"],
                  mailacceptinggeneralid=["same@example.org"] +
                  (["pair@example.org"] if n in (2, 3) else []), **more)

    # where only some may look
    person("hidden", f"ou=private,{SUFFIX}",
           mailacceptinggeneralid="hidden@example.org",
           maildrop="found-hidden@example.org")
    person("local", f"ou=local,{SUFFIX}",
           mailacceptinggeneralid="local@example.org",
           maildrop="found-local@example.org")

    # a domain as a whole, which is not asked for where "domain" is set
    person("whole", GROUPS, maildrop="whole@example.org",
           mailacceptinggeneralid=[f"@{d}" for d in DOMAINS])

    # one base a domain
    for domain in DOMAINS[:3]:
        ou(domain, f"ou=domains,{SUFFIX}")
        for uid in ("joe", "user1"):
            person(uid, f"ou={domain},ou=domains,{SUFFIX}",
                   mailacceptinggeneralid=uid,
                   maildrop=f"{uid}@in.{domain}")

    # links within, and to another tree
    slapd.add(f"cn=alias,ou=links,{SUFFIX}", cn="alias",
              objectClass=["alias", "extensibleObject"],
              aliasedObjectName=dn("joe"))
    slapd.add(f"cn=referral,ou=links,{SUFFIX}", cn="referral",
              objectClass=["referral", "extensibleObject"],
              ref=f"{slapd.url}/dc=far,dc=test??sub")
    slapd.add("dc=far,dc=test", objectClass=["dcObject", "organization"],
              dc="far", o="far")
    person("far", "dc=far,dc=test",
           mailacceptinggeneralid="far@example.org",
           maildrop="found-far@example.org")
    return uids


HOSTILE = [
    "", "@", "@example.org", "*", "*@example.org", "*)(uid=*",
    "*)(uid=*@example.org", "joe)(objectClass=*", "joe*@example.org",
    "\\", "\\2a@example.org", "a\\b@example.org", "(paren)@example.org",
    "()", "(|(uid=*))", "joe\0@example.org", "\0joe@example.org",
    "%s@example.org", "%", "%%d", "%u@%d", "per%cent@example.org",
    '"joe"@example.org', '"a b"@example.org', "a b@example.org",
    " joe@example.org", "joe@example.org ", "joe @example.org",
    "joe@", "joe", "joe@@example.org", "joe@x@example.org",
    "joe@example.org.", "joe@.example.org", "joe@example..org",
    "joe@..", "joe@a.b", "joe@a.b.c", "joe@org", "@.", "joe@[192.0.2.1]",
    "JOE@EXAMPLE.ORG", "joe+ext@example.org", "c,omma@example.org",
    "a=b,c=d+e@example.org", "#joe@example.org", ";joe<>@example.org",
    "tab\tin@example.org", "\x7f\x01@example.org", "\x85@example.org",
    "x" * 300 + "@example.org", "x" * 64 + "@" + "y" * 250 + ".org",
    "joe@" + ".".join("abcdefghijk"), "m\u00fcller@m\u00fcnchen.example",
    "M\u00dcLLER@M\u00dcNCHEN.EXAMPLE", "mu\u0308ller@mu\u0308nchen.example",
    "STRASSE@example.org", "stra\u00dfe.alt@example.org",
    "STRA\u1e9eE.ALT@EXAMPLE.ORG", "\u0130stanbul@example.org",
    "\uff4a\uff4f\uff45@example.org", "\U0001f600@example.org",
    b"\xff@example.org", b"joe\xc3@example.org", b"\xc0\xaf@example.org",
    b"\xed\xa0\x80@example.org", b"m\xfcller@example.org",
]
# the highest recursion_limit
DEEPEST = 5000

NAMES = ["joe", "m\u00fcller", "team", "both", "nested", "deep", "circle",
         "gone", "empty", "terminal", "large", "dynamic", "dynattr", "same",
         "pair", "elsewhere", "nobase", "hidden", "local", "far", "nul",
         "badurl", "badfilter", "binary", "many", "alias", "st*r", "o'hara",
         "back\\slash", 'qu"ote', "c,omma", "per%cent", "(paren)", "a b"]


def as_bytes(key):
    return key if isinstance(key, bytes) else key.encode()


def draw_keys(draw, count):
    """Addresses that may be known, spoilt in some way or other."""
    keys = []
    while len(keys) < count:
        user = draw.choice(NAMES + [f"user{draw.randrange(70)}"] * 20)
        key = draw.choice((f"{user}@{draw.choice(DOMAINS)}",
                           f"{user}.alt@example.org"))
        spoil = draw.randrange(10)
        if spoil == 0:
            key = key.upper()
        elif spoil == 1:
            key = key.title()
        elif spoil == 2:
            key = key.split("@")[draw.randrange(2)]
        elif spoil == 3:
            at = draw.randrange(len(key) + 1)
            key = key[:at] + draw.choice("*()\\\"%@, .;#+=\u00c4\u00df") + \
                key[at:]
        keys.append(key.encode())
    return keys


def cool(path):
    """Postfix waits for seconds with a file that was written just now."""
    os.utime(path, (0, 0))


def ask(table, keys, *options):
    """What our map says to each key."""
    done = subprocess.run(
        [str(QUERY), *options, f"ldap:{table}"], check=False, timeout=300,
        input=b"".join(k + b"\n" for k in keys), capture_output=True)
    lines = done.stdout.split(b"\n")[:-1]
    if done.returncode or len(lines) != len(keys):
        raise AssertionError(f"{table}: exit {done.returncode}, {len(lines)} "
                             f"answers to {len(keys)}: {done.stderr.decode()}")
    return [b"ERROR" if line.startswith(b"ERROR ") else line
            for line in lines]


class Postmap:
    """The oracle. It ends at the first error, so that is searched for."""

    def __init__(self, place):
        self.postfix = parts.Postfix(place, "oracle")
        self.postfix._write()

    def ask(self, table, keys, hard=()):
        """Its answers. hard: places of keys that may well be errors."""
        # a C string to it, as to us
        keys = [k.split(b"\0")[0] for k in keys]
        easy = [n for n in range(len(keys)) if n not in hard]
        answers = dict(zip(easy, self._ask([keys[n] for n in easy], table)))
        # each sleeps for a second before it ends
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers.update(zip(hard, pool.map(
                lambda n: self._ask([keys[n]], table)[0], hard)))
        return [answers[n] for n in range(len(keys))]

    def _ask(self, keys, table):
        done = subprocess.run(
            ["postmap", "-c", str(self.postfix.etc), "-q", "-",
             f"ldap:{table}"], input=b"".join(k + b"\n" for k in keys),
            check=False, timeout=300, capture_output=True)
        if b"fatal:" in done.stderr:
            if len(keys) == 1:
                return [b"ERROR"]
            half = len(keys) // 2
            return self._ask(keys[:half], table) + \
                self._ask(keys[half:], table)
        lines = done.stdout.split(b"\n")[:-1]
        answers = []
        for key in keys:
            if lines and lines[0].startswith(key + b"\t"):
                answers.append(b"FOUND " + lines.pop(0)[len(key) + 1:])
            else:
                answers.append(b"ABSENT")
        if lines:
            raise AssertionError(f"{table}: {lines[0]} is to no key")
        return answers


class Directory(unittest.TestCase):
    """A slapd for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.place = cls.enterClassContext(parts.Place())
        print(f"QD_SEED={SEED}", file=sys.stderr)
        cls.draw = random.Random(SEED)
        cls.ca = slapd_part.Authority(cls.place)
        cls.other_ca = slapd_part.Authority(cls.place, "otherca")
        cls.slapd = slapd_part.Slapd(cls.place, cls.ca)
        fill(cls.slapd, random.Random(SEED))
        cls.place.start(cls.slapd)

    def table(self, text, name="table", **settings):
        """A table file; settings replace or add to those that most have."""
        usual = {"server_host": self.slapd.url, "search_base": SUFFIX,
                 "version": 3, **settings}
        path = self.place.dir / f"{name}.cf"
        path.write_text("".join(f"{k} = {v}\n" for k, v in usual.items()
                                if v is not None) + text)
        cool(path)
        return path


class SameAsPostfix(Directory):
    """Both read the same file and are asked the same."""

    compared = 0
    found = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postmap = Postmap(cls.place)

    @classmethod
    def tearDownClass(cls):
        print(f"{SameAsPostfix.compared} answers compared, "
              f"{SameAsPostfix.found} of them found", file=sys.stderr)
        super().tearDownClass()

    def compare(self, table, keys=None, count=100):
        keys = [as_bytes(k) for k in
                (HOSTILE + draw_keys(self.draw, count) if keys is None
                 else keys)]
        got = ask(table, keys)
        want = self.postmap.ask(table, keys, [
            n for n, answer in enumerate(got) if answer == b"ERROR"])
        for key, ours, theirs in zip(keys, got, want):
            self.assertEqual(ours, theirs, f"{key!r} in {table}:\n" +
                             table.read_text())
        SameAsPostfix.compared += len(keys)
        SameAsPostfix.found += sum(w.startswith(b"FOUND ") for w in want)
        return {kind: sum(w.startswith(kind) for w in want)
                for kind in (b"FOUND", b"ABSENT", b"ERROR")}

    def answers(self, table, **wanted):
        """These keys, at example.org, and what Postfix must say to them."""
        keys = [f"{name}@example.org".encode() for name in wanted]
        self.assertEqual([a.decode() for a in self.postmap.ask(table, keys)],
                         list(wanted.values()))
        self.compare(table, keys)

    def test_defaults(self):
        table = self.table("")
        self.answers(table, team="ABSENT",
                     both="FOUND both@direct.example")
        self.assertGreater(self.compare(table)[b"FOUND"], 10)

    def test_version_2_and_no_bind(self):
        for bind in ("no", "none", "NO", "yes"):
            self.answers(self.table("", version=None, bind=bind),
                         both="FOUND both@direct.example")
            # with version 2 what is found beside a referral is an error
            self.answers(self.table("", version=2, bind=bind,
                                    search_base=GROUPS),
                         both="FOUND both@direct.example")
            self.compare(self.table("", version=2, bind=bind),
                         ["both@example.org"])

    def test_hosts(self):
        """The forms of servers; the first that lives is asked."""
        dead, port = parts.free_port(), self.slapd.port
        for hosts, server_port in (
                ("127.0.0.1", port), (f"127.0.0.1:{port}", 1),
                (f"localhost:{dead}, 127.0.0.1:{port}", 389),
                (f"ldap://127.0.0.1:{dead} {self.slapd.url}/", 389),
                (f"127.0.0.1 , ldaps://127.0.0.1:{dead}", port),
                (self.slapd.ldapi_url, 1), ("127.0.0.1", dead)):
            with self.subTest(hosts=hosts):
                self.compare(self.table("", server_host=hosts,
                                        server_port=server_port),
                             ["joe@example.org", "both@example.org", "no@x"])

    def test_parts_of_the_key(self):
        for query in ("(uid=%u)", "(&(uid=%u)(o=%d))", "(cn=%U)",
                      "(|(mail=%s)(uid=%s))", "(&(uid=%U)(o=%D))",
                      "(|(o=%3.%2.%1)(o=%2.%1))", "(mail=%u@%2.%1)",
                      "(&(uid=%u)(!(o=%1)))", "(cn=100%%)", "(mail=*%d)"):
            with self.subTest(query=query):
                self.compare(self.table("", query_filter=query,
                                        result_attribute="mail, maildrop"),
                             count=40)

    def test_parts_of_the_base(self):
        base = f"ou=%d,ou=domains,{SUFFIX}"
        found = self.compare(self.table(
            "", search_base=base, query_filter="(uid=%u)"))
        self.assertEqual(found[b"ERROR"], 0)
        for base in (f"uid=%u,{PEOPLE}", f"ou=%3.%2.%1,{SUFFIX}",
                     f"cn=%s,{GROUPS}", "dc=%2,dc=%1", "%s"):
            with self.subTest(base=base):
                self.compare(self.table(
                    "", search_base=base, query_filter="(mail=*)"), count=30)

    def test_base_that_is_not_there(self):
        table = self.table("", search_base=f"ou=nowhere,{SUFFIX}")
        found = self.compare(table, ["joe@example.org", "", "@", b"\xff"])
        self.assertEqual(found, {b"FOUND": 0, b"ABSENT": 2, b"ERROR": 2})

    def test_result_format(self):
        for parameter, form in (
                ("result_format", "%s"), ("result_filter", "smtp:[%s]"),
                ("result_format", "%u@%d"), ("result_format", "%u"),
                ("result_format", "%d"), ("result_format", "%S->%s"),
                ("result_format", "%U=%u@%D.%d"), ("result_filter", "%1%%"),
                ("result_format", "%s@%3.%2.%1"), ("result_format", "fixed")):
            with self.subTest(form=form):
                self.compare(self.table(f"{parameter} = {form}\n"), count=40)

    def test_domains(self):
        listed = self.place.dir / "domains"
        listed.write_text("# ours\nexample.com, Sub.Example.ORG\n!org\n")
        for domain in ("example.org", "EXAMPLE.org M\u00dcNCHEN.example",
                       "!example.org, example.com, example.org",
                       f"{listed}, example.org", f"!{listed} org"):
            with self.subTest(domain=domain):
                self.compare(self.table(f"domain = {domain}\n"), count=40)

    def test_tables_of_domains(self):
        """As Kolab has it: which domains are ours is in the directory."""
        ours = self.table("query_filter = (ou=%s)\nresult_attribute = ou\n",
                          "Ours", search_base=f"ou=domains,{SUFFIX}")
        broken = self.table("query_filter = (ou=%s)\n", "broken",
                            search_base="o=nowhere")
        for domain, some in (
                (f"ldap:{ours}", True),
                (f"!ldap:{ours}, static:all", True), ("static:all", True),
                ("!static:all", False), (f"{DOMAINS[0]} ldap:{broken}", True),
                (f"ldap:{broken}", False)):
            with self.subTest(domain=domain):
                answers = self.compare(self.table(f"domain = {domain}\n"))
                self.assertEqual(answers[b"FOUND"] > 0, some)
        # the oracle has no proxymap
        keys = [f"{n}@{d}".encode() for n in NAMES for d in DOMAINS]
        self.assertEqual(*(ask(self.table(f"domain = {kind}ldap:{ours}\n"),
                               keys) for kind in ("", "proxy:")))

    def test_scope(self):
        for scope in ("sub", "one", "base", "ONE"):
            for base in (SUFFIX, PEOPLE, f"uid=joe,{PEOPLE}"):
                with self.subTest(scope=scope, base=base):
                    self.compare(self.table(f"scope = {scope}\n",
                                            search_base=base),
                                 ["joe@example.org", "joe.alt@example.org",
                                  "both@example.org", "team@example.org",
                                  "user1.alt@example.org"])

    def groups(self, text, **settings):
        return self.table(
            "special_result_attribute = mailMemberDN, mailMemberURL\n" +
            text, **settings)

    def test_groups(self):
        table = self.groups("result_attribute = maildrop mail\n")
        found = self.compare(table, [f"{n}@example.org" for n in NAMES])
        self.assertGreater(found[b"FOUND"], 12)
        self.assertGreater(found[b"ERROR"], 2)
        self.compare(table)
        self.compare(self.groups("result_attribute = cn, cn;lang-de, mail\n"),
                     [f"{n}@example.org" for n in NAMES])

    def test_leaves(self):
        for text in ("leaf_result_attribute = mail\n",
                     "leaf_result_attribute = mail, mailLeaf\n"
                     "result_attribute = maildrop\n",
                     "leaf_result_attribute = mailLeaf\nresult_attribute =\n"):
            self.compare(self.groups(text), [f"{n}@example.org" for n in
                                             NAMES])

    def test_terminals(self):
        for text in ("terminal_result_attribute = mailTerminal\n",
                     "terminal_result_attribute = mailTerminal, mailBlob\n"
                     "leaf_result_attribute = mailLeaf\n",
                     "terminal_result_attribute = mailTerminal\n"
                     "leaf_result_attribute = mail mailLeaf\n"
                     "result_attribute = maildrop, cn\n"):
            table = self.groups(text)
            self.compare(table, [f"{n}@example.org" for n in NAMES])
            self.compare(table, count=60)
        self.answers(table, terminal="FOUND end1@example.org,end2@example.org")

    def test_limits(self):
        keys = [f"{n}@example.org" for n in NAMES]
        for text in ("size_limit = 1\n", "size_limit = 2\n",
                     "expansion_limit = 1\n", "expansion_limit = 3\n",
                     "expansion_limit = 3\nsize_limit = 0\n",
                     "expansion_limit = 60\nsize_limit = 5\n",
                     "recursion_limit = 1\n", "recursion_limit = 2\n",
                     "recursion_limit = 3\n", "recursion_limit = 4\n"):
            with self.subTest(text=text):
                found = self.compare(self.groups(text), keys)
                self.assertGreater(found[b"ERROR"], 0)

    def test_as_deep_as_can_be(self):
        """A group that is in itself is followed down to the limit."""
        table = self.groups(f"recursion_limit = {DEEPEST}\ntimeout = 60\n")
        got = ask(table, [b"circle@example.org"], "-S", "60000", "-t", "60000")
        self.assertEqual(got, [b"ERROR"])

    def test_values(self):
        table = self.table("result_attribute = mailBlob\n")
        self.answers(table, nul="FOUND before", binary="ERROR",
                     team="ABSENT")
        table = self.table("query_filter = (cn=%u)\n")
        self.compare(table, ["many"])

    def test_aliases_and_referrals(self):
        for value in range(4):
            for base in (f"ou=links,{SUFFIX}",
                         f"cn=alias,ou=links,{SUFFIX}"):
                self.compare(self.table(f"dereference = {value}\n",
                                        search_base=base),
                             ["joe.alt@example.org", "alias@example.org"])
        for value in ("yes", "no"):
            self.compare(self.table(f"chase_referrals = {value}\n"),
                         ["far@example.org", "joe.alt@example.org"])
            self.compare(self.table(
                f"chase_referrals = {value}\n",
                search_base=f"cn=referral,ou=links,{SUFFIX}"),
                ["far@example.org", "joe.alt@example.org"])

    def test_bind(self):
        who = f"bind_dn = {READER}\nbind_pw = "
        base = f"ou=private,{SUFFIX}"
        self.answers(self.table(who + SECRET + "\n", search_base=base),
                     hidden="FOUND found-hidden@example.org", joe="ABSENT")
        self.answers(self.table(f"bind = simple\n{who}{SECRET}\n",
                                search_base=base),
                     hidden="FOUND found-hidden@example.org")
        self.answers(self.table(who + "wrong\n", search_base=base),
                     hidden="ERROR")
        # without: it must not be seen
        self.answers(self.table("", search_base=base), hidden="ERROR")

    def test_external(self):
        text = "bind = sasl\nsasl_mechs = EXTERNAL\n"
        base = f"ou=local,{SUFFIX}"
        for more in ("", "sasl_minssf = 71\n", "sasl_realm = any\n"):
            self.answers(self.table(text + more, search_base=base,
                                    server_host=self.slapd.ldapi_url),
                         local="FOUND found-local@example.org", joe="ABSENT")
        self.answers(self.table(text + "sasl_authz_id = dn:cn=nobody\n",
                                server_host=self.slapd.ldapi_url,
                                search_base=base), local="ERROR")
        self.answers(self.table("", search_base=base,
                                server_host=self.slapd.ldapi_url),
                     local="ERROR")

    def test_tls(self):
        ca = f"tls_ca_cert_file = {self.ca.ca}\ntls_require_cert = yes\n"
        wrong = f"tls_ca_cert_file = {self.other_ca.ca}\n"
        good = "FOUND both@direct.example"
        own = f"tls_cert = {self.ca.cert}\ntls_key = {self.ca.key}\n"
        for tls in ({"start_tls": "yes"},
                    {"server_host": self.slapd.ldaps_url}):
            with self.subTest(tls=tls):
                self.answers(self.table(ca, **tls), both=good)
                self.answers(self.table(ca + own, **tls), both=good)
                self.answers(self.table(wrong, **tls), both=good)
                self.answers(self.table(wrong + "tls_require_cert = yes\n",
                                        **tls), both="ERROR")
                self.answers(self.table(
                    ca + "tls_cipher_suite = NORMAL\n", **tls), both=good)
                # GnuTLS refuses it, OpenSSL does not
                self.compare(self.table(
                    ca + "tls_random_file = /dev/urandom\n", **tls),
                    ["both@example.org"])
                self.answers(self.table(
                    ca + "tls_cipher_suite = NONSENSE\n", **tls),
                    both="ERROR")
        self.answers(self.table(ca, start_tls="yes", version=None),
                     both=good)
        self.compare(self.table(ca, start_tls="yes"), count=30)

    def test_how_the_file_is_written(self):
        path = self.place.dir / "written.cf"
        path.write_bytes(
            b"# a comment\r\n\n"
            b"server_host=" + self.slapd.url.encode() + b"\n"
            b"version= 2\n"
            b"version =3   \t\n"
            b"search_base =\n"
            b"  ou=people,\n"
            b"# in between\n"
            b"\n"
            b"\t" + SUFFIX.encode() + b"\r\n"
            b"query_filter = (mailacceptinggeneralid=\n %s)\n"
            b"bind = NO\n"
            b"timeout = +5\n"
            b"cache = yes\n"
            b"cache_size = 1000\n"
            b"debuglevel = 0")
        cool(path)
        self.assertGreater(self.compare(path)[b"FOUND"], 5)


class Lookups:
    """A map that is open, and asked one key at a time."""

    def __init__(self, table, *options):
        self.table = table
        self.options = options

    def start(self):
        self.process = subprocess.Popen(
            [str(QUERY), "-s", *self.options, f"ldap:{self.table}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def ask(self, key):
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        """What it said, and what it counted."""
        _, err = self.process.communicate(timeout=parts.PATIENCE)
        lines = err.splitlines()
        stats = [line for line in lines if line.startswith("stats ")]
        if self.process.returncode or len(stats) != 1:
            raise AssertionError(f"{self.process.returncode}: {err}")
        return ([line[4:] for line in lines if line.startswith("say ")],
                dict(p.split("=") for p in stats[0].split()[1:]))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Faults(Directory):
    """The directory is slow, silent, dead, or back."""

    def setUp(self):
        self.place2 = self.enterContext(parts.Place())

    def lookups(self, table, *options):
        return self.place2.start(Lookups(table, *options))

    FOUND = "FOUND both@direct.example"
    KEY = "both@example.org"

    def test_restart(self):
        """A connection that the server closed is made anew, unnoticed."""
        lookups = self.lookups(self.table(""))
        self.assertEqual(lookups.ask(self.KEY), self.FOUND)
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.slapd.stop(number)
            self.slapd.start()
            self.assertEqual(lookups.ask(self.KEY), self.FOUND)
        said, stats = lookups.end()
        self.assertEqual(said, [])
        self.assertEqual((stats["found"], stats["errors"]), ("3", "0"))

    def test_frozen(self):
        for bind in ("yes", "no"):
            with self.subTest(bind=bind):
                self.freeze(self.table("", bind=bind))

    def freeze(self, table):
        lookups = self.lookups(table, "-S", "300", "-c", "200", "-t", "1000")
        self.assertEqual(lookups.ask(self.KEY), self.FOUND)
        self.slapd.send(signal.SIGSTOP)
        try:
            for _ in range(3):
                self.assertRegex(lookups.ask(self.KEY),
                                 "ERROR .*(Timed out|in time)")
            # now it is left alone
            self.assertIn("not asked", lookups.ask(self.KEY))
        finally:
            self.slapd.send(signal.SIGCONT)
        wait_for("it is asked again", lambda:
                 lookups.ask(self.KEY) == self.FOUND)
        said, stats = lookups.end()
        self.assertEqual(len(said), 2, said)
        self.assertIn(f"{self.slapd.url}: ", said[0])
        self.assertIn("answers again", said[1])
        self.assertEqual((stats["opened"], stats["open"]), ("1", "0"))
        self.assertEqual(stats["errors"], "3")
        self.assertGreater(int(stats["refused"]), 0)

    def test_dead(self):
        port = parts.free_port()
        text = f"bind_dn = {READER}\nbind_pw = {SECRET}\n"
        lookups = self.lookups(self.table(
            text, server_host=f"ldap://127.0.0.1:{port}"))
        for _ in range(3):
            self.assertIn("Can't contact", lookups.ask(self.KEY))
        self.assertIn("not asked", lookups.ask(self.KEY))
        said, stats = lookups.end()
        self.assertEqual(len(said), 1, said)
        self.assertIn(f":{port}: connect: ", said[0])
        self.assertNotIn(SECRET, "".join(said))
        self.assertEqual(stats["open"], "1")

    def test_silent(self):
        """In a handshake, in StartTLS, in a bind, in a search."""
        silent = self.place2.start(slapd_part.SilentServer())
        address = f"127.0.0.1:{silent.port}"
        for settings in ({"server_host": f"ldaps://{address}"},
                         {"start_tls": "yes"}, {"bind": "yes"},
                         {"bind": "no"}):
            settings = {"server_host": f"ldap://{address}", **settings}
            with self.subTest(settings=settings):
                start = time.monotonic()
                got = ask(self.table("", **settings), [b"joe@example.org"],
                          "-c", "200", "-S", "200", "-t", "500")
                print(f"silent {settings}: {time.monotonic() - start:.2f} s",
                      file=sys.stderr)
                self.assertEqual(got, [b"ERROR"])
                settings["server_host"] += f" {self.slapd.url}"
                if settings["server_host"].startswith("ldap://"):
                    got = ask(self.table("", **settings),
                              [self.KEY.encode()], "-c", "200", "-S", "200")
                    self.assertEqual(got, [self.FOUND.encode()])

    def test_deadline_comes_first(self):
        """The limits of the steps are longer than the caller's time."""
        silent = self.place2.start(slapd_part.SilentServer())
        for settings in ({"bind": "yes"}, {"bind": "no"},
                         {"start_tls": "yes"}):
            table = self.table("", server_host=f"127.0.0.1:{silent.port}",
                               **settings)
            got = ask(table, [b"a@b.c"], "-c", "60000", "-S", "60000", "-t",
                      "200")
            self.assertEqual(got, [b"ERROR"])

    def test_failover_is_said(self):
        port = parts.free_port()
        lookups = self.lookups(self.table("", server_host=(
            f"127.0.0.1:{port} {self.slapd.url}")))
        for _ in range(5):
            self.assertEqual(lookups.ask(self.KEY), self.FOUND)
        said, stats = lookups.end()
        self.assertEqual(len(said), 1, said)
        self.assertIn(f"127.0.0.1:{port}", said[0])
        self.assertEqual(stats["errors"], "0")

    def test_pool(self):
        """Many askers, few connections."""
        silent = self.place2.start(slapd_part.SilentServer())
        table = self.table("", server_host=f"127.0.0.1:{silent.port}")
        lookups = self.lookups(table, "-n", "3", "-j", "20", "-c", "1000")
        lookups.process.stdin.write("a@b.c\n" * 20)
        lookups.process.stdin.flush()
        most = 0
        fds = pathlib.Path(f"/proc/{lookups.process.pid}/fd")

        def is_over():
            nonlocal most
            sockets = sum(os.readlink(fd).startswith("socket:")
                          for fd in fds.iterdir() if fd.is_symlink())
            most = max(most, sockets)
            return most == 3
        wait_for("three connections", is_over)
        answers = [lookups.process.stdout.readline() for _ in range(20)]
        self.assertTrue(all("ERROR" in a for a in answers), answers)
        lookups.end()
        self.assertEqual(most, 3)

    def test_many_at_once(self):
        table = self.table("special_result_attribute = mailMemberDN\n")
        keys = draw_keys(self.draw, 500)
        want = dict(zip(keys, ask(table, keys)))
        done = run(QUERY, "-n", "4", "-j", "16", "-t", "30000", "-S", "30000",
                   f"ldap:{table}", input=b"\n".join(keys).decode() + "\n")
        got = [line.split("\t", 1) for line in done.stdout.splitlines()]
        self.assertEqual(len(got), len(keys))
        for key, answer in got:
            if not answer.startswith("ERROR"):
                self.assertEqual(answer.encode(), want[key.encode()], key)
            else:
                self.assertEqual(b"ERROR", want[key.encode()], answer)

    def test_too_much(self):
        """More than 1 MB, which Postfix would take."""
        table = self.table("")
        lookups = self.lookups(table)
        self.assertIn("values of more than", lookups.ask("huge@example.org"))
        self.assertEqual(lookups.ask(self.KEY), self.FOUND)
        for _ in range(5):
            self.assertIn("values of more", lookups.ask("huge@example.org"))
        said, stats = lookups.end()
        # the server is not to blame
        self.assertEqual((stats["opened"], stats["errors"]), ("0", "6"))
        self.assertEqual(len(said), 1, said)

    def test_explained(self):
        table = self.table("special_result_attribute = mailMemberDN\n")
        got = ask(table, [b"gone@example.org", b"x*\x01@b"], "-e")
        self.assertEqual(got[0].split(b"\t")[1].decode(), (
            f'base "{SUFFIX}" filter "(mailacceptinggeneralid='
            'gone@example.org)": 1 entry; base "uid=nobody,'
            f'{PEOPLE}" filter "(objectClass=*)": 0 entries; base '
            f'"uid=user9,{PEOPLE}" filter "(objectClass=*)": 1 entry'))
        self.assertEqual(got[1].split(b"\t")[1].decode(), (
            f'base "{SUFFIX}" filter "(mailacceptinggeneralid='
            'x\\2A?@b)": 0 entries'))


class BadTables(unittest.TestCase):
    """What cannot be honoured is an error that says where and what."""

    CASES = (
        ("bogus = 1", "line 2: bogus = 1: no parameter"),
        ("bind_pwd = geheim", "line 2: bind_pwd = ...: no parameter"),
        ("scope = all", "line 2: scope = all: expected sub, one or base"),
        ("version = 4", "line 2: version = 4: expected 2 or 3"),
        ("version = 3x", "line 2: version = 3x: expected 2 or 3"),
        ("timeout = 0", "line 2: timeout = 0: expected seconds"),
        ("start_tls = true", "line 2: start_tls = true: expected yes or no"),
        ("bind = maybe", "line 2: bind = maybe: expected yes, no"),
        ("bind = sasl", "line 2: bind = sasl: with sasl only"),
        ("bind = sasl\nsasl_mechs = GSSAPI\nversion = 3",
         "line 3: sasl_mechs = GSSAPI: with sasl only"),
        ("bind = sasl\nsasl_mechs = EXTERNAL\nversion = 2",
         "line 2: bind = sasl: sasl needs version = 3"),
        ("bind = sasl\nsasl_mechs = external\nversion = 3\nsasl_minssf = 56",
         "line 5: sasl_minssf = 56: expected 0, or at most 71"),
        ("dereference = 4", "line 2: dereference = 4: expected a number"),
        ("size_limit = -1", "line 2: size_limit = -1: expected a number"),
        ("recursion_limit = 0", "line 2: recursion_limit = 0: expected"),
        (f"recursion_limit = {DEEPEST + 1}", "expected a number from 1 to"),
        ("server_host =", "line 2: server_host = : expected host"),
        ("server_host = http://x", "line 2: server_host = http://x: "),
        ("server_host = ldap://x:99999", "line 2: server_host = ldap://x:"),
        ("server_port = 0", "line 2: server_port = 0: expected a port"),
        ("query_filter = (uid=%s", "line 2: query_filter = (uid=%s: "
         "expected a filter"),
        ("query_filter = (uid=%x)", 'line 2: query_filter = (uid=%x): after '
         '"%"'),
        ("search_base = o=%", 'line 2: search_base = o=%: after "%"'),
        ("result_format = %9%", "line 2: result_format = %9%: after"),
        ("result_filter =", "line 2: result_filter = : expected a template"),
        ("result_attribute =", "line 2: result_attribute = : expected an"),
        ("domain = hash:/x", "line 2: domain = hash:/x: hash:/x: tables are "
         "not supported"),
        ("domain = ldap:x.cf", "line 2: domain = ldap:x.cf: ldap:x.cf: tables "
         "are not supported"),
        ("domain = ldap:/nonexistent", "/nonexistent: No such file"),
        ("domain = /nonexistent", "line 2: domain = /nonexistent: "
         "/nonexistent: No such file"),
        ("domain = ,", "line 2: domain = ,: no domain"),
        ("start_tls = yes\ntls_ca_cert_file = /nonexistent",
         "line 3: tls_ca_cert_file = /nonexistent: No such file"),
        ("bind", 'line 2: expected "name = value"'),
        ("= 3", 'line 2: expected "name = value"'),
    )

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.path = self.place.dir / "table.cf"

    def refusal(self, path=None):
        done = run(QUERY, f"ldap:{path or self.path}", check=False, input="")
        self.assertIn(done.returncode, (77, 78))
        return done.stderr

    def test_each(self):
        for text, why in self.CASES:
            with self.subTest(text=text):
                self.path.write_text(f"# {text[:10]!r}\n{text}\n")
                got = self.refusal()
                if "ldap:/" not in text:
                    self.assertIn(f"{self.path}", got)
                self.assertIn(why, got)
                self.assertNotIn("geheim", got)

    def test_a_table_that_names_itself(self):
        self.path.write_text(f"domain = ldap:{self.path}\n")
        self.assertIn("too many tables deep", self.refusal())

    def test_files(self):
        self.assertIn("No such file", self.refusal("/nonexistent.cf"))
        self.assertIn("Is a directory", self.refusal(self.place.dir))
        self.path.write_text("   version = 3\n")
        self.assertIn("line 1: white space", self.refusal())
        self.path.write_bytes(b"version = 3\0\n")
        self.assertIn("a NUL", self.refusal())
        self.path.write_bytes(b"# x\n" * 400000)
        self.assertIn("too large", self.refusal())


if __name__ == "__main__":
    slapd_part.require("postmap", "openssl")
    parts.main()
