#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""quotadefer and the real lmtpd and smmapd never disagree.

Mailboxes by the hundred in a private Cyrus for each of several combinations
of settings, in states around every boundary. Each address is asked for in a
real lmtpd (or smmapd) and in a real Postfix with our filter. "452 4.2.2 Over
quota" there must be "451 4.2.2" here; any other answer, a refusal too, 250.

The combinations and the states are drawn; QD_SEED=n repeats a run."""

import collections
import os
import pathlib
import random
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import matrix  # noqa: E402
import oracles  # noqa: E402
import parts  # noqa: E402

SEED = int(os.environ.get("QD_SEED") or time.time_ns() % 1000000)
Difference = collections.namedtuple("Difference", "sentence theirs ours when")
LMTPD_OVER = "452 4.2.2 Over quota"
SMMAPD_OVER = "TEMP Over quota"


class Case:
    """One combination: its Cyrus, and our filter beside it."""

    def __init__(self, place, number, row, mx):
        self.row = row
        self.mx = mx
        self.rng = random.Random(SEED * 100 + number)
        self.world = matrix.World(row, self.rng)
        self.enforces = row["domain_roots"] == "enforce"
        self.cyrus = place.start(oracles.Oracle(
            place, f"cyrus{number}",
            **{k: v for k, v in row.items() if k != "domain_roots"}))
        self._make_mailboxes()
        self.milter = place.start(parts.Milter(
            place, f"milter{number}", socket_spec=mx.filter_socket,
            defer_limit=0, largest_message=matrix.SIZES[-1],
            domain_roots=row["domain_roots"],
            domains=[self.world.default, *matrix.VIRTUAL]))

    def _set_domain(self, domain):
        return f'SETQUOTA "{matrix.domain_root(domain, self.row)}" ' \
            "(STORAGE 1000000)"

    def _make_mailboxes(self):
        """Roots first with room for everything, then as they are to be."""
        boxes = self.world.boxes.values()
        commands = []
        roots = {}
        if self.world.has_domains:
            commands += map(self._set_domain, (matrix.EARLY, matrix.ROOMY))
        for box in boxes:
            name = f'"{box.external(self.row)}"'
            commands.append(f"CREATE {name}")
            if not box.is_user:
                rights = "lrsp" if box.is_public else "lrs"
                commands.append(f"SETACL {name} anyone {rights}")
            if box.state.text is not None:
                commands.append(f"SETQUOTA {name} (STORAGE 1000000)")
                roots[box.internal()] = box.state.text
        if self.world.has_domains:
            commands.append(self._set_domain(matrix.LATE))
            for domain in (matrix.EARLY, matrix.LATE):
                roots[f"{domain}!"] = matrix.OVER.text
        self.cyrus.imap(commands)
        self.cyrus.write_roots(roots)

    def rules(self):
        """(setting, lmtp_strict_quota of the lmtpd to ask; None: smmapd)"""
        yield "auto", self.row["lmtp_strict_quota"]
        yield "lmtpd", "0"
        yield "lmtpd-strict", "1"
        yield "smmapd", None

    def scan(self, rule):
        self.milter.scan(self.cyrus.conf, "--force", "-o", f"rule={rule}")

    def addresses(self, is_smmapd):
        """lmtpd takes no UTF-8 (501), see refused(); smmapd does."""
        return [a for a in self.world.addresses if is_smmapd or a.is_ascii]

    def ours(self, addresses, size):
        """{address: do we defer it?}"""
        replies = oracles.ask_rcpt(self.mx.port, "EHLO",
                                   [a.smtp for a in addresses], size)
        for address, reply in replies.items():
            assert reply.startswith(("250 ", "451 4.2.2 mailbox full")), \
                f"Postfix to {address}: {reply}"
        return {a: replies[a.smtp].startswith("451") for a in addresses}

    def theirs(self, strict, addresses, size):
        """{address: reply} of lmtpd; of smmapd if strict is None."""
        names = [a.lmtp for a in addresses]
        if strict:
            replies = oracles.ask_rcpt(self.cyrus.by_strict[strict], "LHLO",
                                       names, size)
        else:
            replies = oracles.ask_smmap(self.cyrus.smmap, names)
        return {a: replies[a.lmtp] for a in addresses}

    def refused(self):
        """lmtpd's replies to those whose mail it never takes."""
        return oracles.ask_rcpt(self.cyrus.lmtp, "LHLO",
                                self.world.refused).items()

    def is_under_domain_root(self, address):
        """The domain's root is the nearest that it has."""
        return bool(address.box and address.box.domain) and \
            self.world.nearest(address.box) is matrix.NO_ROOT

    def is_default_in_odd_case(self, address):
        """For lmtpd, and so for us, it is the default domain."""
        return self.world.has_domains and address.domain != "" and \
            self.row["lmtp_downcase_rcpt"] == "yes" and \
            address.domain.lower() == self.world.default

    def is_gap(self, address):
        """Does smmapd not see which mailbox is meant?"""
        return self.is_default_in_odd_case(address) or \
            address.kind in ("route", "missing detail")

    def not_full(self, theirs):
        """The roots of which smmapd said, of some address that it
        understands, that they are not over."""
        def roots(is_over):
            return {self.world.nearest_root(a.folder)
                    for a, reply in theirs.items()
                    if a.folder and not self.is_gap(a) and
                    reply.startswith(SMMAPD_OVER) == is_over}
        return roots(False) - roots(True)

    def differences(self, is_smmapd, not_full):
        """What CYRUS.md says is different, and nothing else: that sentence,
        what Cyrus's reply begins with, do we defer, and for which address."""
        def is_malformed(a):
            box = a.folder if is_smmapd else a.box
            return box and self.world.nearest(box).is_malformed

        def is_full(a):
            return a.folder and \
                self.world.nearest_root(a.folder) not in not_full

        over = SMMAPD_OVER if is_smmapd else LMTPD_OVER
        both = [Difference(
            "2.2: every malformed record is unknown = not over",
            over, False, is_malformed), Difference(
            "2.4: publish domain roots, enforce by switch", over, False,
            lambda a: not self.enforces and self.is_under_domain_root(a))]
        if not is_smmapd:
            return both + [Difference(
                "2.4: SETQUOTA of a domain did not reach a mailbox that "
                "existed before (lmtpd 250, smmapd TEMP)", "250", True,
                lambda a: self.enforces and self.is_under_domain_root(a) and
                a.box.domain == matrix.LATE)]
        return both + [Difference(
            "2.3: default domain in odd case: smmapd looks for the root under "
            "example.org! and answers OK", "OK", True,
            lambda a: is_full(a) and self.is_default_in_odd_case(a)),
            Difference(
            "2.3: smmapd NOTFOUND: no route stripping", "NOTFOUND", True,
            lambda a: is_full(a) and a.kind == "route"), Difference(
            "2.3: joe+nofolder NOTFOUND", "NOTFOUND", True,
            lambda a: is_full(a) and a.kind == "missing detail"),
            Difference(
            "2.3: postuser: smmapd compares the whole userid", "NOTFOUND",
            True, lambda a: a.kind.startswith("shared") and
            (a.box.domain or self.is_default_in_odd_case(a)))]


class Agreement(unittest.TestCase):
    """Each combination is a test of its own."""

    @classmethod
    def setUpClass(cls):
        cls.place = cls.enterClassContext(parts.Place())
        path = cls.place.dir / "filter.sock"
        cls.mx = cls.place.start(parts.Postfix(
            cls.place, "mx", message_size_limit="0", mailbox_size_limit="0",
            smtpd_error_sleep_time="0", smtpd_soft_error_limit="100000",
            smtpd_hard_error_limit="100000", smtpd_recipient_limit="100000",
            smtpd_relay_restrictions="permit_mynetworks reject",
            smtpd_milters=f"{{ unix:{path}, default_action=tempfail }}"))
        cls.mx.filter_socket = f"unix:{path}"
        cls.boxes = cls.reported = 0

    @classmethod
    def tearDownClass(cls):
        print(f"{cls.boxes} mailboxes; QD_SEED={SEED} repeats this run",
              file=sys.stderr)

    def judge(self, case, rule, theirs, ours):
        """theirs: {address: reply}; ours: {address: bool}."""
        differences = case.differences(rule == "smmapd",
                                       case.not_full(theirs))
        for address, reply in theirs.items():
            over = reply.startswith((LMTPD_OVER, SMMAPD_OVER))
            self.counts["over" if over else "not over"] += 1
            if over == ours[address]:
                continue
            for known in differences:
                if reply.startswith(known.theirs) and \
                        ours[address] == known.ours and known.when(address):
                    self.counts[known.sentence] += 1
                    break
            else:
                self.wrong[f"{address}: Cyrus says "
                           f"{reply.split(' SESSIONID')[0]}, we "
                           f"{'defer' if ours[address] else 'pass'}"] += [rule]

    def agree(self, row, number):
        print(f"\n  {row}", file=sys.stderr)
        self.wrong = collections.defaultdict(list)
        self.counts = collections.Counter()
        with parts.Place() as place:
            case = Case(place, number, row, self.mx)
            self.ask(case)
        self.report(case)

    def ask(self, case):
        for rule, strict in case.rules():
            case.scan(rule)
            addresses = case.addresses(strict is None)
            for size in (None, *matrix.SIZES):
                self.judge(case, rule, case.theirs(strict, addresses, size),
                           case.ours(addresses, size))
        for address, reply in case.refused():
            self.assertRegex(reply, "^5", address)

    def report(self, case):
        type(self).boxes += len(case.world.boxes)
        print(f"  {len(case.world.boxes)} mailboxes, "
              f"{len(case.world.addresses)} addresses; {dict(self.counts)}",
              file=sys.stderr)
        if self.wrong:
            lines = [f"{what} (rules {', '.join(sorted(set(rules)))})"
                     for what, rules in self.wrong.items()]
            self.fail(f"QD_SEED={SEED}; {case.row}: {len(lines)} "
                      "disagreements:\n" + "\n".join(lines[:40]))
        type(self).reported += 1
        if self.reported == matrix.COMBINATIONS:
            self.assertGreater(self.boxes, 500)
        self.assertGreater(self.counts["over"], 100)
        self.assertGreater(self.counts["not over"], 100)


def add_tests():
    """One test for each combination of this seed."""
    rows = matrix.combinations(random.Random(SEED))
    for number, row in enumerate(rows, 1):
        def test(self, number=number, row=row):
            self.agree(row, number)
        setattr(Agreement, f"test_combination_{number}", test)


if __name__ == "__main__":
    parts.require("postfix", "saslpasswd2", parts.CYRUS_BIN / "master",
                  parts.CYRUS_BIN / "smmapd")
    print(f"QD_SEED={SEED}", file=sys.stderr)
    add_tests()
    parts.main()
