#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The filter behind a real sendmail that delivers to a real Cyrus, over a unix
and over an inet socket. sendmail starts a conversation with the filter by
other rules than Postfix, names things in another way, and sends no abort
after a message."""

import pathlib
import re
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
import sendmail_part  # noqa: E402
from parts import wait_for  # noqa: E402

FULL = "451 4.2.2 mailbox full, please try again later"
FROM = "MAIL FROM:<a@ext.test>"
BOUNCE = "MAIL FROM:<>"
TO_FULL = "RCPT TO:<full@example.org>"
TO_GOOD = "RCPT TO:<good@example.org>"
DEFER_LIMIT = 8


def message(subject):
    return f"Subject: {subject}\r\n\r\nHello.\r\n.\r\n"


class Session:
    """An SMTP session that can send several commands in one segment."""

    def __init__(self, mx):
        self.smtp = mx.smtp()
        self.smtp.ehlo()
        assert self.smtp.has_extn("pipelining")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.smtp.close()

    def reply(self):
        code, text = self.smtp.getreply()
        return f"{code} {text.decode()}"

    def say(self, *commands):
        self.smtp.send("".join(f"{c}\r\n" for c in commands))
        return [self.reply() for _ in commands]

    def codes(self, *commands):
        return " ".join(reply[:3] for reply in self.say(*commands))

    def message(self, subject):
        self.smtp.send(message(subject))
        return self.reply()


class Story:
    """What is to be true over either kind of socket."""

    @staticmethod
    def milter_socket():
        """The filter's socket; None is its own unix socket."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        place = cls.place = cls.enterClassContext(sendmail_part.Place())
        cls.cyrus = place.start(parts.Cyrus(place))
        # sendmail's own file is not there yet
        aliases = place.dir / "aliases"
        aliases.write_text(sendmail_part.ALIASES)
        cls.milter = place.start(parts.Milter(
            place, socket_spec=cls.milter_socket(),
            domains=["example.org", "virt.example"],
            alias_maps=[f"aliases:{aliases}"],
            defer_limit=DEFER_LIMIT))
        cls.mx = place.start(sendmail_part.Sendmail(place, "mx", cls.cyrus,
                                                    cls.milter))
        for user in ("full@example.org", "good@example.org",
                     "full@virt.example", "good@virt.example"):
            cls.cyrus.create(f"user/{user}", STORAGE=100)
        cls.cyrus.fill("full@example.org")
        cls.cyrus.fill("full@virt.example")
        cls.milter.scan(cls.cyrus.conf)

    def setUp(self):
        wait_for("full@ is deferred", self.is_deferred)

    def is_deferred(self, recipient="full@example.org", text=FULL):
        with Session(self.mx) as s:
            return s.say(FROM, f"RCPT TO:<{recipient}>")[1] == text

    def arrives(self, subject, user="good@example.org"):
        self.assertIn(subject, self.cyrus.subjects(f"user/{user}"))

    def set_reply_text(self, text):
        """Change it with SIGHUP, and wait until it has happened."""
        def reloads():
            return self.milter.text().count(": settings reloaded\n")
        before = reloads()
        self.milter.write_conf(reply_text=text)
        self.milter.send(signal.SIGHUP)
        wait_for("the settings are reloaded", lambda: reloads() == before + 1)

    def test_the_other_recipient_gets_it(self):
        with Session(self.mx) as s:
            replies = s.say(FROM, TO_FULL, TO_GOOD, "DATA")
            self.assertEqual(replies[1], FULL)
            self.assertEqual([r[:3] for r in replies],
                             ["250", "451", "250", "354"])
            accepted = s.message("for both")
        self.assertEqual(accepted[:3], "250")
        self.arrives("for both")
        self.assertNotIn("for both",
                         self.cyrus.subjects("user/full@example.org"))
        # sendmail has a queue id from MAIL on, so it is in our line
        queue_id = re.search(r"(\w+) Message accepted", accepted)[1]
        wait_for("it is in the log", lambda:
                 f"{queue_id}: defer: to=<full@example.org>" in
                 self.milter.text())

    def test_one_segment(self):
        replies = self.mx.talk("".join(f"{c}\r\n" for c in (
            FROM, TO_FULL, TO_GOOD, "RSET", FROM, TO_GOOD, TO_FULL, "RSET",
            "QUIT")))
        self.assertEqual([r[:3] for r in replies], [
            "250", "451", "250", "250", "250", "250", "451", "250", "221"])
        self.assertEqual((replies[1], replies[6]), (FULL, FULL))

    def test_only_recipient(self):
        with Session(self.mx) as s:
            self.assertEqual(s.codes(FROM, TO_FULL, "DATA"), "250 451 503")

    def test_names(self):
        accepted = ("good@example.org", "good+x@example.org",
                    "nobody@example.org", '"full x"@example.org',
                    "good@virt.example", "full@elsewhere.example")
        deferred = ("full@example.org", "FULL@Example.ORG",
                    "full+detail@example.org", '"full"@example.org',
                    "@relay.test:full@example.org", "full@virt.example",
                    "Full+x@VIRT.example")
        for code, addresses in (("250", accepted), ("451", deferred)):
            for address in addresses:
                with self.subTest(address=address), Session(self.mx) as s:
                    self.assertEqual(
                        s.say(FROM, f"RCPT TO:<{address}>")[1][:3], code)

    def test_aliases(self):
        """The virtusertable, which sendmail applies before it asks, and the
        aliases, which it does not."""
        accepted = ("fine@example.org", "away@example.org",
                    "team@example.org", "everybody@example.org",
                    "good@virtusers.example")
        deferred = ("info@example.org", "INFO@Example.ORG",
                    "info+x@example.org", "virtual@example.org",
                    "anybody@virtusers.example", "helpdesk@example.org")
        for code, addresses in (("250", accepted), ("451", deferred)):
            for address in addresses:
                with self.subTest(address=address), Session(self.mx) as s:
                    self.assertEqual(
                        s.say(FROM, f"RCPT TO:<{address}>")[1][:3], code)

    def test_virtual_domain_and_detail_are_delivered(self):
        with Session(self.mx) as s:
            self.assertEqual(s.codes(
                FROM, "RCPT TO:<good+x@virt.example>", TO_FULL,
                "RCPT TO:<GOOD+y@example.org>", "DATA"),
                "250 250 451 250 354")
            self.assertEqual(s.message("with detail")[:3], "250")
        self.arrives("with detail", "good@example.org")
        self.arrives("with detail", "good@virt.example")

    def test_callout_and_bounce(self):
        for sender in ("", "double-bounce@mx.ext.test",
                       "double-bounce@example.org"):
            with self.subTest(sender=sender), Session(self.mx) as s:
                mail = f"MAIL FROM:<{sender}>"
                self.assertEqual(s.codes(mail, TO_FULL, "QUIT"),
                                 "250 250 221")
            with self.subTest(sender=sender), Session(self.mx) as s:
                replies = s.say(mail, TO_FULL, "DATA")
                self.assertEqual(replies[2], FULL)
                self.assertEqual(replies[1][:3], "250")
                self.assertEqual(s.codes("RSET", "QUIT"), "250 221")

    def test_log_line(self):
        for sender in ("a@ext.test", "good@example.org"):
            with Session(self.mx) as s:
                s.say(f"MAIL FROM:<{sender}>", TO_FULL, "QUIT")
            line = (
                r"\n\S+: [0-9A-Za-z]{14,}: defer: "
                r"to=<full@example\.org> mailbox=user\.full root=user\.full "
                r"storage=1\d{5}/102400 since=\S+Z source=test "
                r"client=localhost\[127\.0\.0\.1\] "
                rf"from=<{re.escape(sender)}> helo=<client\.test>\n")
            wait_for("it is logged so", lambda want=line:
                     re.search(want, self.milter.text()))

    def test_one_message_does_not_know_of_another(self):
        """sendmail sends no abort after the end of a message."""
        with Session(self.mx) as s:
            self.assertEqual(s.codes(FROM, TO_GOOD, "DATA"), "250 250 354")
            self.assertEqual(s.message("first")[:3], "250")
            # who passed is forgotten
            self.assertEqual(s.say(BOUNCE, TO_FULL, "DATA")[2], FULL)
            # DATA was not accepted: the transaction is still there
            self.assertEqual(s.codes("RSET"), "250")
            # so is the null sender
            self.assertEqual(s.say(FROM, TO_FULL)[1], FULL)
            self.assertEqual(s.codes("RSET"), "250")
            self.assertEqual(s.codes(BOUNCE, TO_FULL, TO_GOOD, "DATA"),
                             "250 250 250 354")
            self.assertEqual(s.message("a bounce for both")[:3], "250")
            self.assertEqual(s.say(BOUNCE, TO_FULL, "DATA")[2], FULL)
            # a new EHLO ends a transaction as RSET does
            s.smtp.ehlo()
            self.assertEqual(s.codes(FROM, TO_GOOD, "DATA"), "250 250 354")
            self.assertEqual(s.message("last")[:3], "250")
        for subject in ("first", "a bounce for both", "last"):
            self.arrives(subject)

    def test_defer_limit(self):
        with Session(self.mx) as s:
            for _ in range(DEFER_LIMIT):
                self.assertEqual(s.codes(FROM, TO_FULL, "RSET"),
                                 "250 451 250")
            self.assertEqual(s.codes(FROM, TO_FULL, "RSET"), "250 250 250")
            self.assertEqual(s.codes(FROM, TO_GOOD, "DATA"), "250 250 354")
            self.assertEqual(s.message("counts anew")[:3], "250")
            self.assertEqual(s.codes(FROM, TO_FULL, "RSET"), "250 451 250")
        self.arrives("counts anew")

    def test_reply_text_is_literal(self):
        """sendmail uses the text of a filter as a format."""
        text = "100% full, 50%% of %s and %d, %m { x } $j"
        self.set_reply_text(text)
        self.addCleanup(self.set_reply_text, None)
        postfix = self.place.start(parts.Postfix(
            self.place, "postfix", smtpd_milters=self.milter.postfix(),
            virtual_mailbox_domains="example.org",
            virtual_transport=f"lmtp:unix:{self.cyrus.lmtp}"))
        for mx in (self.mx, postfix):
            with self.subTest(mx=mx.name), Session(mx) as s:
                want = f"451 4.2.2 {text}"
                self.assertEqual(s.say(FROM, TO_FULL)[1], want)
                self.assertEqual(s.codes("RSET"), "250")
                self.assertEqual(s.say(BOUNCE, TO_FULL, "DATA")[2], want)

    def test_reply_of_lines(self):
        self.set_reply_text(r"100% full\nhttps://h.example/?m={recipient}")
        self.addCleanup(self.set_reply_text, None)
        url = "4.2.2 https://h.example/?m=full"
        replies = self.mx.talk(
            f"{FROM}\r\nRCPT TO:<full+x@example.org>\r\n{TO_GOOD}\r\n"
            "RSET\r\nQUIT\r\n")
        self.assertEqual(replies[1:3], ["451-4.2.2 100% full",
                                        f"451 {url}%2Bx%40example.org"])
        self.assertEqual([r[:4] for r in replies[3:]],
                         ["250 ", "250 ", "221 "])
        with Session(self.mx) as s:
            self.assertEqual(s.say(BOUNCE, TO_FULL, "DATA")[2],
                             f"451 4.2.2 100% full\n{url}%40example.org")

    def test_reload_in_a_session(self):
        with Session(self.mx) as s:
            self.assertEqual(s.say(FROM, TO_FULL)[1], FULL)
            self.set_reply_text("try tomorrow")
            self.addCleanup(self.set_reply_text, None)
            self.assertEqual(s.say(TO_FULL)[0], "451 4.2.2 try tomorrow")
            self.assertEqual(s.codes(TO_GOOD, "DATA"), "250 354")
            self.assertEqual(s.message("reloaded")[:3], "250")
        self.arrives("reloaded")

    def test_killed_filter(self):
        with Session(self.mx) as s:
            self.assertEqual(s.codes(FROM, TO_FULL), "250 451")
            self.milter.stop(signal.SIGKILL)
            try:
                self.assertEqual(s.codes(TO_FULL, "RSET", FROM, TO_GOOD,
                                         "DATA"), "250 250 250 250 354")
                self.assertEqual(s.message("in the session")[:3], "250")
                with Session(self.mx) as other:
                    self.assertEqual(other.codes(FROM, TO_GOOD, "DATA"),
                                     "250 250 354")
                    self.assertEqual(other.message("after it")[:3], "250")
            finally:
                self.milter.start()
        self.arrives("in the session")
        self.arrives("after it")
        self.assertTrue(self.is_deferred())

    def test_program_behind_sendmail_bs(self):
        """It speaks SMTP to sendmail(1), and does not queue."""
        with self.mx.open_bs() as program:
            def say(command):
                program.stdin.write(f"{command}\r\n")
                program.stdin.flush()
                return program.stdout.readline()[:3]
            self.assertEqual(program.stdout.readline()[:3], "220")
            self.assertEqual([say(c) for c in (
                "HELO localhost", "MAIL FROM:<good@example.org>", TO_FULL,
                "RSET", "QUIT")], ["250", "250", "250", "250", "221"])

    def test_submitted_message_waits_in_the_client_queue(self):
        self.cyrus.create("user/later@example.org", STORAGE=100)
        self.cyrus.add_login("later")
        self.cyrus.fill("later@example.org")
        self.milter.scan(self.cyrus.conf)
        wait_for("later@ is deferred",
                 lambda: self.is_deferred("later@example.org"))
        self.mx.submit("-f", "a@example.org", "later@example.org",
                       "good@example.org",
                       input="Subject: submitted\n\nHello.\n")
        self.arrives("submitted")
        queue = self.mx.submit("-bp")
        self.assertIn("later@example.org", queue)
        self.assertIn(FULL[4:], queue)
        self.assertNotIn("good@example.org", queue)

        self.cyrus.empty_inbox("later")
        self.milter.scan(self.cyrus.conf)
        wait_for("later@ is accepted",
                 lambda: not self.is_deferred("later@example.org"))
        self.mx.submit("-q")
        wait_for("the client queue is empty",
                 lambda: "is empty" in self.mx.submit("-bp"))
        self.arrives("submitted", "later@example.org")


class Unix(Story, unittest.TestCase):
    """S=local:/path"""

    @staticmethod
    def milter_socket():
        return None


class Inet(Story, unittest.TestCase):
    """S=inet:PORT@127.0.0.1"""

    @staticmethod
    def milter_socket():
        return f"inet:{parts.free_port()}@127.0.0.1"


if __name__ == "__main__":
    sendmail_part.require("postfix", "saslpasswd2", parts.CYRUS_BIN /
                          "master")
    parts.main()
