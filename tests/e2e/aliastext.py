#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Text maps answer as those of Postfix do, whatever is in the file.

Files are drawn, with odd lines among good ones, and for each, keys are asked
for from postmap -q or postalias -q and from us: all answers must be the same
to the byte. QD_SEED=n repeats a run."""

import os
import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

SEED = int(os.environ.get("QD_SEED") or time.time_ns() % 1000000)
QUERY = parts.TOP / "tests/support/aliasquery"
FILES = 60
KEY_MAX = 640

LOCAL = ["joe", "Joe", "JOE.USER", "jim+list", "a", "straße", "STRASSE",
         "ÄÖÜ", "äöü", "İstanbul", "ﬁsh", "Σίσυφος", "σίσυφοσ", "x" * 70,
         "john smith", "*)(uid=*", "a\\b", "50%", "p!q", "#hash", "|pipe",
         "/file", ":include:", "owner-list", "\u212aelvin", "-dash", "x:y",
         "k" * 620, "@", "postmaster", "[x]", "(c)", "q\"q", ""]
DOMAINS = ["example.org", "EXAMPLE.ORG", "x.net", "bücher.example", "a.b.c.d"]
BYTES = [b"\0", b"\xff", b"\xc3", b"\r", b"\v", b"\f", b"\t", b" ", b'"',
         b"\\", b":", b",", b"#", b"\n", b"\n ", b"\x7f", b"(", b")", b"<",
         b">", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\x80", b"["]


class Drawing:
    """Draws files and keys of one kind of map."""

    def __init__(self, rng):
        self.rng = rng
        self.names = []

    def local(self):
        text = self.rng.choice(LOCAL)
        if self.rng.random() < 0.3:
            text = f'"{text}"'
        return text

    def address(self):
        return f"{self.local()}@{self.rng.choice(DOMAINS)}"

    def targets(self):
        kinds = [self.address, self.address, self.local,
                 lambda: "@" + self.rng.choice(DOMAINS),
                 lambda: '"|command with args"', lambda: "|cmd -x",
                 lambda: "/var/mail/a.b", lambda: ":include:/etc/list",
                 lambda: f"John (a \\) comment) Smith <{self.address()}>",
                 lambda: "\\joe", lambda: "group: a, b;",
                 lambda: "u@[192.0.2.1]"]
        glue = self.rng.choice([", ", ",", " ", "\t", ",\n  ", "\n\t", " ,",
                                ",\r\n  ", "\n# between\n  ", "\n\n  "])
        return glue.join(self.rng.choice(kinds)()
                         for _ in range(self.rng.choice([1, 1, 1, 2, 3, 9])))

    def odd_line(self):
        return self.rng.choice([
            "# comment", "   # indented comment", "", "   ", "\t", "alone",
            "alone:", ": nothing", "  continues", '"open quote x',
            'a" b c" d', "a, b: c", "a@b: c", "a%b: c", "key\\", "\\",
            "x " + "long " * 2000, "@", "a : b", "a:b", "a:\\", ",",
            "no value:   ", '"": empty', 'n: ""', "n (c) : v", "(c) n: v",
            "r <x>: v", "n: v,", "n: a , , b", "n: (only)", "n: (open",
            "n: [open", "n: \"open", "n:\\ x", "n n n: v", "[n]: v",
            "n [l] m: w", "n.m: v . w @ x"])

    def line(self, separator):
        name = self.rng.choice([self.address, self.local])()
        if separator == ":":
            name = self.local()
        self.names.append(name)
        return (name + separator + self.rng.choice(["", " ", "\t", "  "]) +
                self.targets())

    def text(self, separator):
        """A file, as bytes; self.names are those in it."""
        self.names = []
        lines = []
        for _ in range(self.rng.randrange(0, 40)):
            odd = self.rng.random() < 0.3
            lines.append(self.odd_line() if odd else self.line(separator))
        end = self.rng.choice(["\n", "\n", "\r\n"])
        text = end.join(lines).encode()
        text += self.rng.choice([b"\n", b"", b"\n\n", b"\r\n", b" "])
        for _ in range(self.rng.choice([0, 0, 1, 3, 10])):
            at = self.rng.randrange(len(text) + 1)
            text = text[:at] + self.rng.choice(BYTES) + text[at:]
        return text

    def mutated(self, key):
        at = self.rng.randrange(len(key) + 1)
        return self.rng.choice([
            key.upper(), key.swapcase(), key + b"x", key[:at],
            key[:at] + self.rng.choice(BYTES) + key[at:],
            key.replace(b'"', b""), key.title(), b'"' + key + b'"'])

    def keys(self, count):
        """Keys that are there, nearly there, and elsewhere."""
        keys = []
        while len(keys) < count:
            source = self.names if self.names and self.rng.random() < 0.8 \
                else [self.address(), self.local()]
            key = self.rng.choice(source).encode()
            if self.rng.random() < 0.3:
                key = key.replace(b'"', b"")
            elif self.rng.random() < 0.6:
                key = self.mutated(key)
            # a NUL ends it; with a tab, postmap's answer is ambiguous
            key = key.split(b"\0")[0].split(b"\n")[0].replace(b"\t", b" ")
            # "@" is how postalias marks that it came to the end
            if len(key) <= KEY_MAX and key != b"@":
                keys.append(key)
        return keys


class Asker:
    """The real Postfix and us, side by side."""

    def __init__(self, place):
        self.conf = place.dir / "postfix"
        self.conf.mkdir()
        self.queue = place.dir / "queue"
        self.queue.mkdir()
        (self.conf / "main.cf").write_text(
            "compatibility_level = 3.6\n"
            f"queue_directory = {self.queue}\ndata_directory = {self.queue}\n"
            "maillog_file_prefixes = /\n")
        (self.conf / "master.cf").write_text("")
        types = parts.run("postconf", "-m").stdout.split()
        self.type = next(t for t in ("hash", "btree", "lmdb") if t in types)

    @staticmethod
    def _feed(keys, *args):
        done = subprocess.run([str(a) for a in args],
                              input=b"".join(k + b"\n" for k in keys),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=False)
        if done.returncode not in (0, 1):
            raise AssertionError(f"{args}: {done.returncode} {done.stderr}")
        return done.stdout.split(b"\n")[:-1]

    def theirs(self, kind, path, keys):
        """[value or None] for each key"""
        tool, spec = "postmap", f"texthash:{path}"
        if kind == "aliases":
            tool, spec = "postalias", f"{self.type}:{path}"
            parts.run(tool, "-c", self.conf, spec, errors="replace")
        lines = self._feed(keys, tool, "-c", self.conf, "-q", "-", spec)
        colon = b":\t" if kind == "aliases" else b"\t"
        answers = []
        for key in keys:
            value = None
            if lines and lines[0].startswith(key + colon):
                value = lines.pop(0)[len(key) + len(colon):]
            answers.append(value)
        assert not lines, lines
        return answers

    def ours(self, kind, path, keys):
        answers = []
        for line in self._feed(keys, QUERY, f"{kind}:{path}"):
            assert line == b"ABSENT" or line.startswith(b"FOUND "), line
            answers.append(None if line == b"ABSENT" else line[6:])
        return answers


class Talk:
    """One map of ours that stays open."""

    def __init__(self, spec, log):
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [str(QUERY), spec], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=out, text=True)
        self.ask("until it is open")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait(parts.PATIENCE)
        self.process.stdout.close()

    def said(self):
        return self.log.read_text()

    def ask(self, key):
        self.process.stdin.write(key + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def wait_for(self, key, answer):
        wait_for(f"{key}: {answer}", lambda: self.ask(key) == answer)


def replace(path, text):
    """As a careful editor does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


class Differential(unittest.TestCase):
    """Against the programs of Postfix."""

    def compare(self, kind, separator):
        rng = random.Random(f"{SEED} {kind}")
        drawing = Drawing(rng)
        found = asked = 0
        with parts.Place() as place:
            asker = Asker(place)
            path = place.dir / "map"
            for number in range(FILES):
                path.write_bytes(drawing.text(separator))
                # postmap waits until a new file has been left alone
                os.utime(path, (1e9 + number, 1e9 + number))
                keys = drawing.keys(80)
                theirs = asker.theirs(kind, path, keys)
                ours = asker.ours(kind, path, keys)
                for key, want, got in zip(keys, theirs, ours, strict=True):
                    if want != got:
                        self.fail(f"QD_SEED={SEED} file {number} key {key}:\n"
                                  f"want {want}\ngot  {got}\n"
                                  f"{path.read_bytes()}")
                    asked += 1
                    found += want is not None
        print(f"{kind}: {asked} keys in {FILES} files, {found} found, "
              f"QD_SEED={SEED}")
        self.assertGreater(found, asked // 10)

    def test_texthash(self):
        self.compare("texthash", " ")

    def test_aliases(self):
        self.compare("aliases", ":")


class Reload(unittest.TestCase):
    """A file that changes while the map is open."""

    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.path = self.place.dir / "map"

    def open(self, text):
        self.path.write_text(text)
        return self.enterContext(Talk(f"texthash:{self.path}",
                                      self.place.dir / "log"))

    def test_a_new_file_counts_at_once(self):
        talk = self.open("a one\n")
        self.assertEqual(talk.ask("a"), "FOUND one")
        replace(self.path, "a two\nb more\n")
        self.assertEqual(talk.ask("A"), "FOUND two")
        self.assertEqual(talk.ask("b"), "FOUND more")
        self.assertIn("read again", talk.said())

    def test_written_in_place(self):
        talk = self.open("a one\nb one\n")
        with self.path.open("w") as out:
            self.assertEqual(talk.ask("a"), "FOUND one", "while it is empty")
            out.write("a two\n")
            out.flush()
            self.assertEqual(talk.ask("b"), "FOUND one", "half of it")
            out.write("b two\n")
        talk.wait_for("a", "FOUND two")
        self.assertEqual(talk.ask("b"), "FOUND two")

    def test_empty_in_the_end(self):
        talk = self.open("a one\n")
        self.path.write_text("")
        talk.wait_for("a", "ABSENT")

    def test_bad_lines_keep_the_old(self):
        talk = self.open("a one\n")
        replace(self.path, "a two\nalone\n")
        for _ in range(3):
            self.assertEqual(talk.ask("a"), "FOUND one")
        self.assertEqual(talk.said().count(f"{self.path}:2: "), 1, talk.said())
        replace(self.path, "a three\n")
        # at once, unless it has the number of the first inode again
        talk.wait_for("a", "FOUND three")
        self.assertIn("in use again", talk.said())

    def test_bad_lines_that_were_there_before(self):
        talk = self.open("alone\na one\n")
        self.assertIn("skipped", talk.said())
        replace(self.path, "alone\na two\n")
        self.assertEqual(talk.ask("a"), "FOUND two")

    def test_gone_and_back(self):
        talk = self.open("a one\n")
        self.path.unlink()
        for _ in range(3):
            self.assertEqual(talk.ask("a"), "FOUND one")
        self.assertEqual(talk.said().count("No such file"), 1, talk.said())
        self.path.write_text("a two\n")
        talk.wait_for("a", "FOUND two")

    def test_no_regular_file(self):
        talk = self.open("a one\n")
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertEqual(talk.ask("a"), "FOUND one")
        self.assertIn("not a regular file", talk.said())
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(talk.ask("a"), "FOUND one")

    def test_a_link_to_another_file(self):
        self.path.symlink_to(self.place.dir / "first")
        talk = self.open("a one\n")
        (self.place.dir / "second").write_text("a two\n")
        other = self.place.dir / "link"
        other.symlink_to(self.place.dir / "second")
        other.rename(self.path)
        self.assertEqual(talk.ask("a"), "FOUND two")


if __name__ == "__main__":
    parts.require("postmap", "postalias", "postconf")
    parts.main()
