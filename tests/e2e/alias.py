#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Addresses lead where the real Postfix takes them.

Tables are drawn, Postfix delivers mail for drawn addresses to a server that
only takes down the recipients, and the expansion must come to the same ones.
QD_SEED=n repeats a run."""

import collections
import os
import pathlib
import random
import re
import smtplib
import socketserver
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

SEED = int(os.environ.get("QD_SEED") or time.time_ns() % 1000000)
EXPAND = parts.TOP / "tests/support/aliasexpand"
# mydestination, two virtual domains, one elsewhere
DOMAINS = ["here.test", "a.test", "b.test", "far.test"]


class Sink(socketserver.ThreadingTCPServer):
    """An SMTP server that takes all mail, and keeps who it was for."""
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.lock = threading.Lock()
        self.got = collections.defaultdict(set)
        threading.Thread(target=self.serve_forever, args=(0.05,),
                         daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.shutdown()
        self.server_close()


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        sender, recipients = None, []
        self.say("220 sink")
        for line in self.rfile:
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            path = re.match(r"(?:MAIL FROM|RCPT TO):<(.*)>", text)
            verb = text[:4].upper()
            if verb == "EHLO":
                self.say("250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8")
            elif verb == "MAIL":
                sender, recipients = path[1], []
                self.say("250 ok")
            elif verb == "RCPT":
                recipients.append(path[1])
                self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                with self.server.lock:
                    self.server.got[sender].update(recipients)
                self.say("250 ok")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")


class Drawing:
    """Draws addresses, and tables that lead onward, or also back."""

    def __init__(self, rng, delimiters, cycles=False):
        self.rng = rng
        self.delimiters = delimiters
        self.cycles = cycles
        # each leads to later ones only, but for cycles
        self.names = [f"u{i}" for i in range(30)] + [
            "Joe.User", "owner-list", "list-request", '"a b"', '"x,y"',
            '"q\\"r"', '".dot"', "u-v", "u+w", "s_t", "o'hara", "w{b}",
            "jörg", "first.last", "mailer-daemon2"]

    def rank(self, name):
        return self.names.index(name)

    def extension(self, name, share):
        if self.rng.random() >= share or not self.delimiters:
            return name
        extension = self.rng.choice(self.delimiters) + self.rng.choice(
            ["x", "y", "x+y", "x-y", "X", ""])
        if name.endswith('"'):
            return name[:-1] + extension + '"'
        return name + extension

    def case(self, text):
        return text.upper() if self.rng.random() < 0.1 else text

    def address(self, names=None, share=0.3):
        name = self.extension(self.rng.choice(names or self.names), share)
        return self.case(f"{name}@{self.rng.choice(DOMAINS)}")

    def target(self, later):
        dice = self.rng.random()
        if dice < 0.1:
            return self.extension(self.rng.choice(later), 0.2)
        if dice < 0.15:
            return f"Some One <{self.address(later, 0.1)}>"
        return self.address(later, 0.2)

    def value(self, key, name):
        """Of names behind that one, so that it comes to an end; or not."""
        local, _, domain = key.rpartition("@") if "@" in key else \
            (key, "", "")
        dice = self.rng.random()
        later = self.names[self.rank(name) + 1:] or ["end"]
        domains = DOMAINS[DOMAINS.index(domain) + 1:] if domain else []
        if self.cycles and dice < 0.05:
            later, domains = self.names, DOMAINS
        if dice < 0.1 and domains:
            return "@" + self.rng.choice(domains)
        if dice < 0.12 and domains and local:
            return f"@far.test, {self.rng.choice(later)}@b.test"
        if domain and not local and not self.cycles:
            return "end@far.test, stop@far.test"
        targets = [self.target(later)
                   for _ in range(self.rng.choice([1, 1, 2, 3, 5]))]
        if dice > 0.85 and local:
            # itself
            targets.insert(self.rng.randrange(len(targets) + 1), key)
        return self.rng.choice([", ", ",", " "]).join(targets) \
            if not any("<" in t for t in targets) else ", ".join(targets)

    def virtual(self, share=0.3):
        """The text of a virtual(5) table."""
        rows = {}
        for name in self.names:
            for domain in DOMAINS:
                if self.rng.random() < share:
                    key = f"{self.extension(name, 0.3)}@{domain}"
                    rows.setdefault(key.lower(), (key, name))
            if self.rng.random() < share:
                key = self.extension(name, 0.3)
                rows.setdefault(key.lower(), (key, name))
        key = "@" + self.rng.choice(DOMAINS[:3])
        rows[key] = (key, self.names[-1])
        return "".join(f"{key} {self.value(key, name)}\n"
                       for key, name in rows.values())

    def aliases(self, directory, prefix):
        """The text of an aliases(5) file, with files that it includes."""
        lines = []
        for name in self.names:
            if self.rng.random() > 0.4 or name.startswith("owner-"):
                continue
            later = self.names[self.rank(name) + 1:] or ["end"]
            targets = [self.target(later)
                       for _ in range(self.rng.choice([1, 2, 3]))]
            if self.rng.random() < 0.15:
                targets.append(name)
            if self.rng.random() < 0.2:
                path = directory / f"{prefix}{len(lines)}"
                path.write_text("".join(f"{self.target(later)}\n"
                                        for _ in range(3)))
                targets.append(f":include:{path}")
            key = self.extension(name, 0.1)
            lines.append(f"{key}: {', '.join(targets)}\n")
        return "".join(lines)


def expand(path, addresses, **settings):
    """What aliasexpand says for each."""
    def quote(value):
        return f'"{value}"' if isinstance(value, str) else \
            "{ " + ", ".join(f'"{v}"' for v in value) + " }"
    path.write_text("".join(f"{k} = {quote(v)}\n"
                            for k, v in settings.items()))
    done = subprocess.run(
        [str(EXPAND), str(path)],
        input="".join(f"<{a}>\n" for a in addresses).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        check=False)
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    lines = done.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(addresses), done.stderr.decode()
    return [line.split("\t") for line in lines]


def plain(recipients):
    """Case is what duplicates may differ in. What looks like another address
    in front of @mydestination is routed to that, or refused, later on."""
    return {r.lower() for r in recipients
            if not re.fullmatch(r'".*@.*"@here.test', r, re.I)}


class AliasTest(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(parts.Place())
        self.sink = Sink()
        self.addCleanup(self.sink.stop)
        self.rng = random.Random(f"{SEED} {self.id()}")
        print(f"QD_SEED={SEED}", file=sys.stderr)

    def start(self, name, **settings):
        transport = f"smtp:[127.0.0.1]:{self.sink.port}"
        return self.place.start(parts.Postfix(self.place, name, **{
            "mydestination": "here.test",
            "myorigin": "origin.test",
            "virtual_mailbox_domains": "a.test b.test",
            "virtual_transport": transport,
            "local_transport": transport,
            "default_transport": transport,
            "relay_transport": transport,
            "smtpd_reject_unlisted_recipient": "no",
            "smtp_connection_cache_on_demand": "no",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "queue_run_delay": "1s",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_hard_error_limit": "10000",
            "smtpd_soft_error_limit": "10000",
            **settings}))

    def deliver(self, postfix, addresses):
        """One message each; where each went, None where it was refused."""
        refused = set()
        with postfix.smtp() as smtp:
            smtp.ehlo()
            for i, address in enumerate(addresses):
                try:
                    smtp.sendmail(f"n{i}@probe.test", [address],
                                  "Subject: x\r\n\r\nx\r\n",
                                  mail_options=["SMTPUTF8"])
                except smtplib.SMTPException:
                    refused.add(i)
                    smtp.rset()
        wait_for("the queue is empty", lambda:
                 "Mail queue is empty" in postfix.queue())
        return [None if i in refused else
                self.sink.got.pop(f"n{i}@probe.test", set())
                for i in range(len(addresses))]

    def compare(self, postfix, addresses, **settings):
        """How many addresses could be compared."""
        went = self.deliver(postfix, addresses)
        ours = expand(self.place.dir / "quotadefer.conf", addresses,
                      mydestination=["here.test"], myorigin="origin.test",
                      domains=["here.test", "a.test", "b.test"], **settings)
        compared, wrong, endless = 0, [], collections.Counter()
        for address, theirs, (found, *targets) in zip(addresses, went, ours):
            # where Postfix has no end, we only have to have one
            if theirs is None:
                endless[found] += 1
                continue
            compared += 1
            if found != "FOUND" or plain(targets) != plain(theirs):
                wrong.append(f"{address}: Postfix {sorted(theirs)}, we "
                             f"{found} {sorted(targets)}")
        if wrong:
            for table in self.place.dir.glob("*.table"):
                print(table, table.read_text(), file=sys.stderr)
            self.fail(f"{len(wrong)} of {compared}:\n" + "\n".join(wrong))
        print(f"{postfix.name}: {compared} compared, without an end for "
              f"Postfix {dict(endless)}", file=sys.stderr)
        return compared

    def draw(self, drawing, count):
        return [drawing.address() for _ in range(count)]

    def table(self, name, text):
        path = self.place.dir / f"{name}.table"
        path.write_text(text)
        return path

    def test_virtual(self):
        compared = 0
        for name, delimiters in (("plus", "+"), ("two", "+-"), ("none", ""),
                                 ("cycles", "+")):
            drawing = Drawing(self.rng, delimiters, name == "cycles")
            one = self.table(f"{name}-one", drawing.virtual())
            two = self.table(f"{name}-two", drawing.virtual())
            postfix = self.start(
                name, recipient_delimiter=delimiters,
                virtual_alias_maps=f"texthash:{one} texthash:{two}")
            compared += self.compare(
                postfix, self.draw(drawing, 100),
                alias_maps=[f"texthash:{one}", f"texthash:{two}"],
                recipient_delimiter=delimiters)
        self.assertGreaterEqual(compared, 200)

    def test_local(self):
        """aliases(5) by local(8), with virtual(5) before and behind it."""
        compared = 0
        for name, delimiters in (("plus", "+"), ("two", "+-")):
            drawing = Drawing(self.rng, delimiters)
            virtual = self.table(f"{name}-virtual", drawing.virtual(0.1))
            aliases = self.table(f"{name}-aliases",
                                 drawing.aliases(self.place.dir, name))
            parts.run("postalias", f"hash:{aliases}")
            postfix = self.start(
                name, recipient_delimiter=delimiters,
                virtual_alias_maps=f"texthash:{virtual}",
                alias_maps=f"hash:{aliases}", local_transport="local",
                mailbox_transport=f"smtp:[127.0.0.1]:{self.sink.port}")
            compared += self.compare(
                postfix, self.draw(drawing, 100),
                alias_maps=[f"texthash:{virtual}", f"aliases:{aliases}"],
                recipient_delimiter=delimiters)
        self.assertGreaterEqual(compared, 150)


if __name__ == "__main__":
    parts.require("postfix", "postqueue", "postalias")
    parts.main()
