#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A directory that is down or frozen, with the cache in front of it: what was
ever asked for is answered from memory, the rest is unknown in time, and all is
well again afterwards."""

import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
import slapd_part  # noqa: E402
from parts import wait_for  # noqa: E402
from slapd_part import SUFFIX  # noqa: E402

EXPAND = parts.TOP / "tests/support/aliasexpand"
COUNT = 40


class Expand:
    """An aliasexpand that stays, and what it was told to do."""

    def __init__(self, place, **settings):
        conf = place.dir / f"{len(list(place.dir.iterdir()))}.conf"
        conf.write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        self.process = subprocess.Popen(
            [str(EXPAND), str(conf)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        place.callback(self.stop)
        self.longest = 0

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, address):
        began = time.monotonic()
        self.process.stdin.write(f"<{address}>\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n").split("\t")
        self.longest = max(self.longest, time.monotonic() - began)
        return answer


class CacheTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = parts.Place()
        cls.place.__enter__()
        cls.addClassCleanup(cls.place.close)
        cls.slapd = slapd_part.Slapd(cls.place)
        cls.slapd.add(SUFFIX, objectClass=["dcObject", "organization"],
                      dc="example", o="example")
        for i in range(2 * COUNT):
            cls.slapd.add(f"uid=u{i},{SUFFIX}", uid=f"u{i}", cn="x", sn="x",
                          objectClass=["inetOrgPerson", "mailThing"],
                          mailacceptinggeneralid=f"u{i}@example.org",
                          maildrop=f"box{i}@store.example.org")
        cls.place.start(cls.slapd)
        cls.table = cls.place.dir / "table.cf"
        cls.table.write_text(f"server_host = {cls.slapd.url}\n"
                             f"search_base = {SUFFIX}\nversion = 3\n")

    def expand(self, **settings):
        return Expand(self.place, alias_maps=f'{{ "ldap:{self.table}" }}',
                      alias_timeout="1s", alias_search_timeout="300ms",
                      **settings)

    def check_known(self, expand):
        for i in range(COUNT):
            self.assertEqual(expand.ask(f"u{i}@example.org"),
                             ["FOUND", f"box{i}@store.example.org"])
        self.assertEqual(expand.ask("nobody@example.org"),
                         ["FOUND", "nobody@example.org"])

    def through(self, expand, away, back):
        """Know some, lose the directory, and have it back."""
        self.check_known(expand)
        healthy, expand.longest = expand.longest, 0
        away()
        try:
            for _ in range(3):
                self.check_known(expand)
            known, expand.longest = expand.longest, 0
            for i in range(COUNT, COUNT + 5):
                self.assertEqual(expand.ask(f"u{i}@example.org")[0], "ERROR")
            unknown = expand.longest
        finally:
            back()
        wait_for("what is new is known", lambda:
                 expand.ask(f"u{COUNT + 9}@example.org") ==
                 ["FOUND", f"box{COUNT + 9}@store.example.org"])
        print(f"{self.id()}: longest answer: healthy {healthy:.3f} s, away: "
              f"known {known:.3f} s, unknown {unknown:.3f} s",
              file=sys.stderr)

    def freeze(self):
        self.slapd.send(signal.SIGSTOP)

    def thaw(self):
        self.slapd.send(signal.SIGCONT)

    def test_fresh_frozen(self):
        self.through(self.expand(), self.freeze, self.thaw)

    def test_stale_frozen(self):
        self.through(self.expand(alias_cache_ttl="0s",
                                 alias_negative_ttl="0s"),
                     self.freeze, self.thaw)

    def test_stale_down(self):
        self.through(self.expand(alias_cache_ttl="0s",
                                 alias_negative_ttl="0s"),
                     self.slapd.stop, self.slapd.start)


if __name__ == "__main__":
    slapd_part.require()
    parts.main()
