#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What is in an alias map leads to the same addresses as in Postfix.

Texts are drawn, from good addresses to a soup of punctuation. Each is put in
a virtual alias map of a real Postfix, or in an ":include:" file of aliases,
mail is sent to its key, and where it was delivered to must be what we take
from the text. QD_SEED=n repeats a run."""

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


LINES = GOOD + ["# comment", " # none", "", "a@x.test,", "b%c", "d!e", '"f',
                "g (h", "\tindented", "many " * 450, '"i@j"@x.test', "<>",
                "k@[192.0.2.1]", "l\0m", "@x.test", "\\n", "o\r"]


def draw_list(rng):
    """A file, as people write them; no commands and no files."""
    lines = rng.choices(LINES, k=rng.randrange(0, 8))
    return "\n".join(lines) + rng.choice(["", "\n"])


class Mx(parts.Postfix):
    """Takes mail for in.test, and discards it."""

    def __init__(self, place, **settings):
        super().__init__(
            place, "mx", myorigin=ORIGIN, default_transport="discard",
            in_flow_delay="0", **settings)

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

    def wait_for(self, numbers):
        for number in numbers:
            wait_for(f"{number} is gone",
                     lambda number=number:
                     f"{number}: removed" in self.text())

    def delivered(self, ids):
        """recipient: set of addresses"""
        self.wait_for(filter(None, ids.values()))
        self.wait_for(re.findall(r"\(forwarded as (\w+)\)", self.text()))
        found = {recipient: set() for recipient in ids}
        for match in re.finditer(r" to=<(.*)>, orig_to=<(k\d+@in\.test)>, ",
                                 self.text()):
            found[match[2]].add(unquoted(match[1]))
        return found


def ours(*args, **kwargs):
    """For each text: (addresses, how many others)"""
    done = subprocess.run([TARGETS, *args], stdout=subprocess.PIPE,
                          timeout=60, check=True, text=True, **kwargs)
    results = [(set(), [])]
    for line in done.stdout.splitlines():
        addresses, others = results[-1]
        kind, _, rest = line.partition(" ")
        if kind == "address":
            local, domain = rest.split("\t")
            addresses.add(f"{local}@{domain or ORIGIN}")
        elif kind == "domain":
            addresses.add(f"k{len(results) - 1}@{rest}")
        elif kind == "":
            results.append((set(), []))
        else:
            assert kind == "other", line
            others.append(line)
    return [(addresses, len(others)) for addresses, others in results[:-1]]


class Targets(unittest.TestCase):
    """Against where mail goes."""

    def compare(self, texts, mine, ids, theirs):
        plain = 0
        self.assertEqual(len(mine), len(texts))
        for number, (addresses, others) in enumerate(mine):
            key = f"k{number}@in.test"
            why = f"QD_SEED={SEED} {texts[number]}: {theirs[key]}, we say " \
                f"{addresses} and {others} others"
            if ids[key] is None:
                self.assertFalse(addresses or others, why)
            self.assertLessEqual(addresses, theirs[key], why)
            # what we make nothing of may be anything, but no more than that
            self.assertLessEqual(len(theirs[key] - addresses), others, why)
            plain += not others
        print(f"{len(texts)} texts, {plain} of plain addresses, "
              f"QD_SEED={SEED}")

    def test_virtual(self):
        texts = draw(random.Random(SEED))
        keys = [f"k{i}@in.test" for i in range(len(texts))]
        with parts.Place() as place:
            path = place.dir / "virtual"
            path.write_text("".join(f"{k} {t}\n"
                                    for k, t in zip(keys, texts)))
            os.utime(path, (1e9, 1e9))
            mx = place.start(Mx(place, virtual_alias_domains="in.test",
                                virtual_alias_maps=f"texthash:{path}"))
            ids = mx.send(keys)
            theirs = mx.delivered(ids)
            self.assertIn(None, ids.values(), "a text without any address")
        mine = ours(input="".join(t + "\n" for t in texts))
        self.compare(texts, mine, ids, theirs)

    def test_include(self):
        rng = random.Random(SEED)
        texts = [draw_list(rng) for _ in range(100)]
        keys = [f"k{i}@in.test" for i in range(len(texts))]
        with parts.Place() as place:
            files = [place.dir / f"k{i}.list" for i in range(len(texts))]
            for path, text in zip(files, texts):
                path.write_bytes(text.encode())
            # a text map has the form of virtual(5), for local(8) too
            aliases = place.dir / "aliases"
            aliases.write_text("".join(f"k{i} :include:{path}\n"
                                       for i, path in enumerate(files)))
            os.utime(aliases, (1e9, 1e9))
            mx = place.start(Mx(place, mydestination="in.test",
                                alias_maps=f"texthash:{aliases}"))
            ids = mx.send(keys)
            theirs = mx.delivered(ids)
            mine = ours(f"aliases:{aliases}", *files)
        self.compare(texts, mine, ids, theirs)


if __name__ == "__main__":
    parts.require("postfix")
    parts.main()
