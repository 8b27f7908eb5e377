#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What is in a virtual alias map leads to the same addresses as in Postfix.

Texts are drawn, from good addresses to a soup of punctuation. Each is put in
a map of a real Postfix, mail is sent to its key, and where it was delivered
to must be what we take from the text. QD_SEED=n repeats a run."""

import os
import pathlib
import random
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

SEED = int(os.environ.get("QD_SEED") or time.time_ns() % 1000000)
TARGETS = parts.TOP / "tests/support/aliastargets"
TEXTS = 400
ORIGIN = "origin.test"

FIXED = [
    "a@x.test", "a@x.test,b@x.test", "a@x.test b@x.test", "joe", "joe, jim",
    "joe jim", "@x.test", "@x.test, b", "@x.test b", "@x.test, b@y.test",
    "@x.test (all)", "@x.test (all@once)", "a@x.test, @y.test",
    '"john smith"@x.test', '"a@b"@x.test', '"a@b"', "a b . c@x.test",
    "<@r.test:a@x.test>", "<@r.test,@s.test:a@x.test>", "<>", "<>, a",
    "team: a@x.test, b@x.test;", "c, team: a, b;, d", "team:a;b",
    "John Doe <a@x.test>, b", "<a@x.test> b", "b <a@x.test>", "<a@x.test",
    "a@x.test>", "a(c (d))@x.test", "(a) b (c)", "a@x.test.", "a@x.test..",
    "\\joe", "joe\\", "a\\ b@x.test", "a%b", "a!b", "a%b@x.test", "a@b@c",
    "a@[192.0.2.1]", "|cat", '"|cat -u"', "/dev/null", ":include:/x",
    '""', '""@x.test', '"a".b@x.test', '"a""b"@x.test', "a@x..test", "a@",
    "@", ",", "a,,b", ";", ":", "a;b", "a:b", "<a b@x.test>", "<a> <b> c",
    "a. @x.test", "a@x .test", '"open', "(open", "[open", "a@x.test (open"]
PIECES = ["a", "b.c", "joe", "@", "x.test", "y.test", ".", ",", ", ", " ",
          ";", ":", "<", ">", "(", ")", '"', "\\", "|", "%", "!", "[", "]",
          "team:", '"q r"', "<d@x.test>", "e@y.test", "(c)", "/f", "f+g"]
GOOD = ["a@x.test", "joe", '"q r"@y.test', "Joe User <b@x.test>",
        "c@y.test (c)", "<d@x.test>", "group: e, f;"]


def draw(rng):
    """Texts that a map can have as a value."""
    texts = list(FIXED)
    while len(texts) < TEXTS:
        if rng.random() < 0.3:
            glue = rng.choice([", ", " ", ",", " , "])
            text = glue.join(rng.choices(GOOD, k=rng.randrange(1, 5)))
        else:
            text = "".join(rng.choices(PIECES, k=rng.randrange(1, 12)))
        if text.strip():
            texts.append(text.strip())
    return texts


def unquoted(path):
    """An address as logged, without its quoting; in lower case."""
    if path.startswith('"'):
        quoted, end = re.match(r'"((?:\\.|[^"\\])*)"(.*)', path).groups()
        path = re.sub(r"\\(.)", r"\1", quoted) + end
    return path


class Mx(parts.Postfix):
    """Takes mail for in.test, and discards it."""

    def __init__(self, place):
        super().__init__(
            place, "mx", myorigin=ORIGIN, default_transport="discard",
            virtual_alias_domains="in.test", local_transport="discard",
            virtual_alias_maps=f"texthash:{place.dir}/virtual",
            smtpd_client_message_rate_limit="0", in_flow_delay="0")

    def send(self, recipients):
        """recipient: queue id, or None if it was refused, or is lost."""
        ids = {}
        with self.smtp() as smtp:
            for recipient in recipients:
                smtp.docmd("MAIL FROM:<>")
                smtp.docmd(f"RCPT TO:<{recipient}>")
                code, text = smtp.data("Subject: x\r\n\r\nx\r\n")
                ids[recipient] = text.decode().split()[-1] \
                    if code == 250 else None
        return ids

    def delivered(self, ids):
        """recipient: set of addresses"""
        for number in filter(None, ids.values()):
            wait_for(f"{number} is gone",
                     lambda number=number:
                     f"{number}: removed" in self.text())
        found = {recipient: set() for recipient in ids}
        for match in re.finditer(r" to=<(.*)>, orig_to=<(k\d+@in\.test)>, ",
                                 self.text()):
            found[match[2]].add(unquoted(match[1]))
        return found


def ours(texts):
    """For each text: (addresses, how many others)"""
    done = subprocess.run([TARGETS], input="".join(t + "\n" for t in texts),
                          stdout=subprocess.PIPE, timeout=60, check=True,
                          text=True)
    results = []
    for number, block in enumerate(re.split(r"(?<=\n)\n|^\n", done.stdout,
                                            flags=re.M)[:-1]):
        addresses = set()
        lines = block.splitlines()
        assert not any(line.startswith("error") for line in lines), lines
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "address":
                local, domain = rest.split("\t")
                addresses.add(f"{local}@{domain or ORIGIN}")
            elif kind == "domain":
                addresses.add(f"k{number}@{rest}")
        results.append((addresses, lines.count("other")))
    return results


class Targets(unittest.TestCase):
    """Against cleanup(8) and what it asks."""

    def test_same_addresses(self):
        texts = draw(random.Random(SEED))
        keys = [f"k{i}@in.test" for i in range(len(texts))]
        mine = ours(texts)
        self.assertEqual(len(mine), len(texts))
        with parts.Place() as place:
            path = place.dir / "virtual"
            path.write_text("".join(f"{k} {t}\n"
                                    for k, t in zip(keys, texts)))
            os.utime(path, (1e9, 1e9))
            mx = place.start(Mx(place))
            ids = mx.send(keys)
            theirs = mx.delivered(ids)
        plain = 0
        for key, text, (addresses, others) in zip(keys, texts, mine):
            why = f"QD_SEED={SEED} {text}: {theirs[key]}, we say " \
                f"{addresses} and {others} others"
            self.assertEqual(ids[key] is None, not addresses and not others,
                             why)
            self.assertLessEqual(addresses, theirs[key], why)
            # what we make nothing of may be anything, but no more than that
            self.assertLessEqual(len(theirs[key] - addresses), others, why)
            plain += not others
        print(f"{len(texts)} texts, {plain} of plain addresses, "
              f"QD_SEED={SEED}")


if __name__ == "__main__":
    parts.require("postfix")
    parts.main()
