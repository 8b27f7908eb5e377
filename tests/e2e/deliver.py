#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A full mailbox is deferred at RCPT, and gets its mail when there is room.

Real Cyrus, a Postfix that receives, another Postfix that sends; on one host,
and through Redis with a replica."""

import email.message
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

FULL = "451 4.2.2 mailbox full, please try again later"


def message(sender, recipient, subject):
    text = email.message.EmailMessage()
    text["From"] = sender
    text["To"] = recipient
    text["Subject"] = subject
    text.set_content("Hello.")
    return text


class Story:
    """What happens, told once for each way of publishing."""

    @classmethod
    def set_up_parts(cls, place):
        """Start what the way of publishing needs; the filter's settings."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        place = cls.place = cls.enterClassContext(parts.Place())
        settings = cls.set_up_parts(place)
        cls.cyrus = place.start(parts.Cyrus(place))
        milter = parts.Milter(place, **settings)
        milter.options.append("-v")
        cls.milter = place.start(milter)
        cls.mx = place.start(parts.Postfix(
            place, "mx", smtpd_milters=cls.milter.postfix(),
            virtual_mailbox_domains="example.org",
            virtual_transport=f"lmtp:unix:{cls.cyrus.lmtp}"))
        for user in ("full", "good"):
            cls.cyrus.create(f"user/{user}@example.org", STORAGE=100)
            cls.cyrus.add_login(user)

    def setUp(self):
        self.cyrus.fill("full@example.org")
        self.scan()
        wait_for("full@ is deferred", lambda: self.replies(
            "MAIL FROM:<a@ext.test>", "RCPT TO:<full@example.org>",
            "QUIT")[1] == FULL)

    def scan(self, *args):
        return self.milter.scan(self.cyrus.conf, *args).stdout

    def replies(self, *commands):
        return self.mx.talk("".join(f"{c}\r\n" for c in commands))

    def test_sender_keeps_the_message_until_there_is_room(self):
        sender = self.place.start(parts.Postfix(
            self.place, "sender", relayhost=f"[127.0.0.1]:{self.mx.port}",
            smtp_connection_cache_on_demand="no"))
        with sender.smtp() as smtp:
            smtp.send_message(message("a@ext.test", "full@example.org",
                                      "kept"))
        wait_for("the sender keeps it", lambda:
                 FULL.split(" ", 1)[1] in sender.queue())
        wait_for("the sender says so", lambda:
                 "status=deferred" in sender.text())
        self.assertIn(f"host 127.0.0.1[127.0.0.1] said: {FULL}",
                      sender.text())
        self.assertNotIn("kept",
                         self.cyrus.subjects("user/full@example.org"))

        self.cyrus.empty_inbox("full")
        self.assertIn("removed=1", self.scan())
        wait_for("full@ is accepted", lambda: self.replies(
            "MAIL FROM:<a@ext.test>", "RCPT TO:<full@example.org>",
            "QUIT")[1].startswith("250"))
        sender.flush()
        wait_for("the message arrives", lambda: "kept" in
                 self.cyrus.subjects("user/full@example.org"))
        wait_for("the sender's queue is empty", lambda:
                 "queue is empty" in sender.queue())
        for postfix in (sender, self.mx):
            self.assertNotIn("bounced", postfix.text())

    def test_the_other_recipient_gets_it(self):
        with self.mx.smtp() as smtp:
            refused = smtp.send_message(
                message("a@ext.test", "both", "for both"), "a@ext.test",
                ["full@example.org", "good@example.org"])
        self.assertEqual(refused, {"full@example.org":
                                   (451, FULL[4:].encode())})
        wait_for("good@ has it", lambda: "for both" in
                 self.cyrus.subjects("user/good@example.org"))
        self.assertNotIn("for both",
                         self.cyrus.subjects("user/full@example.org"))

    def test_pipelined_and_delivered(self):
        replies = self.mx.converse(
            ("MAIL FROM:<a@ext.test>", "RCPT TO:<full@example.org>",
             "RCPT TO:<good@example.org>", "DATA"),
            ("Subject: in one go", "", "Hello.", "."), ("QUIT",))
        self.assertEqual([r[:3] for r in replies],
                         ["250", "451", "250", "354", "250", "221"])
        self.assertEqual(replies[1], FULL)
        wait_for("good@ has it", lambda: "in one go" in
                 self.cyrus.subjects("user/good@example.org"))
        self.assertNotIn("in one go",
                         self.cyrus.subjects("user/full@example.org"))

    def test_pipelined(self):
        replies = self.replies(
            "MAIL FROM:<a@ext.test>", "RCPT TO:<full@example.org>",
            "RCPT TO:<good@example.org>", "RSET",
            "MAIL FROM:<a@ext.test>", "RCPT TO:<good@example.org>",
            "RCPT TO:<full+x@example.org>", "RSET", "QUIT")
        self.assertEqual([r[:3] for r in replies], [
            "250", "451", "250", "250", "250", "250", "451", "250", "221"])
        self.assertEqual(replies[1], FULL)
        self.assertEqual(replies[6], FULL)

    def test_only_recipient(self):
        replies = self.replies("MAIL FROM:<a@ext.test>",
                               "RCPT TO:<full@example.org>", "DATA", "QUIT")
        self.assertEqual([r[:3] for r in replies], ["250", "451", "554",
                                                    "221"])

    def test_callout_and_bounce(self):
        for sender in ("", "double-bounce@mx.ext.test"):
            with self.subTest(sender=sender):
                replies = self.replies(f"MAIL FROM:<{sender}>",
                                       "RCPT TO:<full@example.org>", "QUIT")
                self.assertEqual([r[:3] for r in replies],
                                 ["250", "250", "221"])
                replies = self.replies(f"MAIL FROM:<{sender}>",
                                       "RCPT TO:<full@example.org>", "DATA",
                                       "RSET", "QUIT")
                self.assertEqual(replies[2], FULL)
                self.assertEqual([r[:3] for r in replies],
                                 ["250", "250", "451", "250", "221"])

    def test_names(self):
        accepted = ("good@example.org", "nobody@example.org",
                    "postmaster@example.org", '"full x"@example.org')
        deferred = ("full@example.org", "FULL@EXAMPLE.ORG",
                    "full+detail@example.org", '"full"@example.org',
                    "@relay.test:full@example.org", "full@example.org.")
        for code, addresses in (("250", accepted), ("451", deferred)):
            for address in addresses:
                with self.subTest(address=address):
                    replies = self.replies("MAIL FROM:<a@ext.test>",
                                           f"RCPT TO:<{address}>", "QUIT")
                    self.assertEqual(replies[1][:3], code)

    def test_log_lines(self):
        self.replies("MAIL FROM:<a@ext.test>",
                     "RCPT TO:<good@example.org>",
                     "RCPT TO:<full@example.org>", "QUIT")
        line = (r"[0-9A-F]{6,}: defer: to=<full@example\.org> "
                r"mailbox=user\.full root=user\.full "
                r"storage=1\d{5}/102400 since=\S+Z source=test "
                r"client=\S+\[127\.0\.0\.1\] from=<a@ext\.test> "
                r"helo=<client\.test>\n")
        wait_for("it is logged so", lambda:
                 re.search(line, self.milter.text()))
        self.assertRegex(self.mx.text(), r"milter-reject: RCPT from \S+: "
                         r"451 4\.2\.2 mailbox full")
        # only with -v
        self.assertRegex(self.milter.text(),
                         r"NOQUEUE: pass: to=<good@example\.org> "
                         r"mailbox=user\.good root=- from=<a@ext\.test>: "
                         r"the mailbox is not full\n")

    def test_submitted_here(self):
        """Mail from sendmail(1): a 4xx to that is an error, not a delay."""
        parts.run("postconf", "-c", self.mx.etc, "-e",
                  f"non_smtpd_milters = {self.milter.postfix()}")
        parts.run("postfix", "-c", self.mx.etc, "reload")
        parts.run("sendmail", "-C", self.mx.etc, "-f", "a@example.org",
                  "full@example.org", input="Subject: submitted\n\nHello.\n")
        # Cyrus itself may refuse it then; our filter did not
        wait_for("it left the pickup directory", lambda:
                 "to=<full@example.org>" in self.mx.text())
        self.assertNotIn("milter-reject: RCPT from localhost",
                         self.mx.text())

    def test_query_agrees(self):
        full = self.milter.ctl("query", "full@example.org", check=False)
        good = self.milter.ctl("query", "good@example.org", check=False)
        self.assertEqual((full.returncode, good.returncode), (1, 0))
        self.assertIn(f"reply               {FULL}\n", full.stdout)


class OneHost(Story, unittest.TestCase):
    """The scanner writes the local table; there is no Redis."""

    @classmethod
    def set_up_parts(cls, place):
        return {}


class Fleet(Story, unittest.TestCase):
    """The scanner publishes to a primary, the filter follows a replica."""

    @classmethod
    def set_up_parts(cls, place):
        cls.primary = place.start(parts.Redis(place, "primary"))
        cls.replica = place.start(parts.Redis(place, "replica"))
        cls.replica.follow(cls.primary)
        return {"redis": cls.replica.url}

    def scan(self, *args):
        return super().scan("-o", f"redis={self.primary.url}", *args)


if __name__ == "__main__":
    parts.require("redis-server", "postfix", "saslpasswd2",
                  parts.CYRUS_BIN / "master")
    parts.main()
