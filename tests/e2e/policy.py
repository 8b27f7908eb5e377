#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each setting that says whom to defer, and how, through a real Postfix."""

import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402

FULL = "451 4.2.2 mailbox full, please try again later"
MONTH = 30 * 86400
HERE = {"smtpd_authorized_xclient_hosts": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_auth_destination reject",
        "virtual_mailbox_domains": "example.org b.example",
        "virtual_transport": "discard:"}
# what a client does wrong is not counted, where that is not what is tested
PATIENT = {"smtpd_soft_error_limit": "10000",
           "smtpd_hard_error_limit": "10000"}
EACH = [f"user{n}" for n in range(100)]


def bucket(address):
    """As quotadefer.conf(5) has it: FNV-1a, 64 bits."""
    value = 0xcbf29ce484222325
    for byte in address.encode():
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return value % 100


class Session:
    """An SMTP session; a reply is all of its lines."""

    def __init__(self, mx, **kwargs):
        self.smtp = mx.smtp(**kwargs)
        self.smtp.ehlo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.smtp.close()

    def say(self, command):
        code, text = self.smtp.docmd(command)
        return "\n".join(f"{code} {line}" for line in
                         text.decode().split("\n"))

    def codes(self, *commands):
        return " ".join(self.say(c)[:3] for c in commands)

    def message(self, subject):
        """What follows the 354 to DATA; the code of the reply."""
        self.smtp.send(f"Subject: {subject}\r\n\r\nHello.\r\n.\r\n")
        return self.smtp.getreply()[0]

    def xclient(self, **attributes):
        text = " ".join(f"{k}={v}" for k, v in attributes.items())
        assert self.say(f"XCLIENT {text}").startswith("220")
        self.smtp.ehlo()

    def rcpt(self, recipient="full@example.org", sender="a@ext.test"):
        self.say("RSET")
        self.say(f"MAIL FROM:<{sender}>")
        return self.say(f"RCPT TO:<{recipient}>")


class Case(unittest.TestCase):
    """A Postfix that throws away what it accepts."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.place = cls.enterClassContext(parts.Place())
        cls.tree = parts.Tree(cls.place, "tree")
        for user in EACH:
            cls.tree.set(user, 102401)
        other = cls.tree.dir / "domain/b/b.example/quota/f/user.full"
        other.parent.mkdir(parents=True)
        other.write_text(cls.tree.path("full").read_text())
        cls.milter = parts.Milter(cls.place, domains=["example.org",
                                                      "b.example"],
                                  **cls.settings)
        cls.publish()
        cls.place.start(cls.milter)
        cls.mx = parts.Postfix(cls.place, "mx", inet_protocols="all",
                               smtpd_milters=cls.milter.postfix(),
                               **HERE, **PATIENT)
        cls.mx.services.append(
            f"[::1]:{cls.mx.port} inet n - n - - smtpd")
        cls.place.start(cls.mx)

    @classmethod
    def publish(cls):
        cls.milter.write_conf()
        cls.milter.scan(cls.tree.conf)

    def setUp(self):
        wait_for("full@ is deferred", lambda: self.rcpt() == FULL)

    def use(self, **settings):
        """Settings for this test only."""
        self.addCleanup(self.reload, dict.fromkeys(settings))
        self.reload(settings)

    def reload(self, settings):
        self.milter.write_conf(**settings)
        self.milter.ctl("reload")

    def rcpt(self, *args, **kwargs):
        with Session(self.mx) as s:
            return s.rcpt(*args, **kwargs)

    def logged(self, pattern):
        return re.findall(pattern, self.milter.text())


class Whom(Case):
    """Who is deferred, and who is not."""

    def test_mode_by_domain(self):
        self.use(mode_domains=["Example.ORG=monitor"])
        before = len(self.logged("NOQUEUE: would-defer: "))
        with Session(self.mx) as s:
            for recipient in ("full@example.org", "FULL+x@EXAMPLE.org"):
                self.assertEqual(s.rcpt(recipient)[:3], "250")
            self.assertEqual(s.rcpt("full@b.example"), FULL)
        wait_for("it is logged", lambda: len(self.logged(
            r"NOQUEUE: would-defer: to=<[fF]")) == before + 2)
        self.reload({"mode": "monitor",
                     "mode_domains": ["b.example=enforce"]})
        self.addCleanup(self.reload, {"mode": None})
        with Session(self.mx) as s:
            self.assertEqual(s.rcpt()[:3], "250")
            self.assertEqual(s.rcpt("full@B.Example"), FULL)

    def deferred(self):
        """Which of them are, at this moment."""
        with Session(self.mx) as s:
            s.say("MAIL FROM:<a@ext.test>")
            replies = {user: s.say(f"RCPT TO:<{user}@example.org>")
                       for user in EACH}
        for user, reply in replies.items():
            self.assertIn(reply[:3], ("250", "451"), user)
        return {user for user, reply in replies.items() if reply == FULL}

    def test_share(self):
        before = set()
        for share in (0, 10, 30, 100):
            self.use(enforce_share=f"{share}%", defer_limit=0)
            now = self.deferred()
            self.assertEqual(now, {user for user in EACH if bucket(
                f"{user}@example.org") < share})
            self.assertLessEqual(before, now)
            before = now
        self.assertEqual(len(before), len(EACH))

    def test_share_is_the_same_for_every_way_to_write_it(self):
        in_share = next(u for u in EACH if bucket(f"{u}@example.org") < 30)
        out = next(u for u in EACH if bucket(f"{u}@example.org") >= 30)
        self.use(enforce_share="30%")
        for _ in range(2):
            with Session(self.mx) as s:
                for local in (in_share, in_share.upper(), in_share + "+x"):
                    self.assertEqual(s.rcpt(f"{local}@Example.org"), FULL)
                for local in (out, out.upper(), out + "+x"):
                    self.assertEqual(s.rcpt(f"{local}@Example.org")[:3],
                                     "250")
            self.milter.stop()
            self.milter.start()
        wait_for("it is logged", lambda: self.logged(
            rf"NOQUEUE: would-defer: to=<{out}@Example\.org> "
            rf"mailbox=user\.{out} root=user\.{out} storage=102401/102400 "))

    def callout(self, sender):
        with Session(self.mx) as s:
            return s.codes(f"MAIL FROM:<{sender}>",
                           "RCPT TO:<full@example.org>", "QUIT")

    def bounce(self, sender):
        """What the MTA says to a message that has only a full recipient."""
        with Session(self.mx) as s:
            s.codes(f"MAIL FROM:<{sender}>", "RCPT TO:<full@example.org>")
            return s.say("DATA")

    def test_null_sender(self):
        probe = "verify@checker.test"
        self.use(probe_senders=["verify@*"])
        for sender in ("", probe):
            self.assertEqual(self.callout(sender), "250 250 221")
            self.assertEqual(self.bounce(sender), FULL)
        # no longer one of them
        self.assertEqual(self.callout("double-bounce@x.test"), "250 451 221")
        self.use(null_sender="rcpt")
        for sender in ("", probe):
            self.assertEqual(self.callout(sender), "250 451 221")
        self.use(null_sender="pass")
        for sender in ("", probe):
            self.assertEqual(self.callout(sender), "250 250 221")
            self.assertEqual(self.bounce(sender)[:3], "354")

    def test_another_postfix_verifies_our_user(self):
        """reject_unverified_sender, where our full user's mail arrives."""
        other = self.place.start(parts.Postfix(
            self.place, "other", **PATIENT, address_verify_map="",
            address_verify_poll_delay="1s", relay_domains="ext.test",
            relayhost=f"[127.0.0.1]:{self.mx.port}",
            smtpd_sender_restrictions="reject_unverified_sender"))
        with Session(other) as s:
            self.assertEqual(s.rcpt("b@ext.test", "full@example.org")[:3],
                             "250")
        self.assertIn("status=deliverable", other.text())
        self.use(null_sender="rcpt")
        with Session(other) as s:
            self.assertIn("450 4.1.7", s.rcpt("b@ext.test",
                                              "full+2@example.org"))
        self.assertIn("status=undeliverable", other.text())

    def test_exempt_recipients(self):
        for address in ("postmaster", "Postmaster+spam", "abuse", "ABUSE+x"):
            self.tree.set(address.split("+")[0].lower(), 102401)
        self.publish()
        self.use(exempt_recipients=["user1@example.org", "USER2*@*"])
        with Session(self.mx) as s:
            for local in ("postmaster", "Postmaster+spam", "abuse",
                          "ABUSE+x", '"abuse"', "user1", "User1+x", "user2",
                          "user22", "user2+x"):
                self.assertEqual(s.rcpt(f"{local}@example.org")[:3], "250",
                                 local)
            for local in ("user11", "user3", "full"):
                self.assertEqual(s.rcpt(f"{local}@example.org"), FULL)

    def test_exempt_senders(self):
        self.use(exempt_senders=["*@list.test", "ann@ext.test"])
        with Session(self.mx) as s:
            for sender in ("x+y=z@LIST.test", "Ann@ext.test",
                           '"ann"@ext.test'):
                self.assertEqual(s.rcpt(sender=sender)[:3], "250", sender)
            for sender in ("bob@ext.test", "x@list.test.example",
                           '"x@list.test"@ext.test'):
                self.assertEqual(s.rcpt(sender=sender), FULL, sender)

    def from_address(self, address):
        with Session(self.mx, source_address=(address, 0)) as s:
            return s.rcpt()

    def from_loopback6(self):
        with Session(self.mx) as s:
            s.smtp.close()
            s.smtp.connect("::1", self.mx.port)
            s.smtp.ehlo()
            return s.rcpt()

    def test_exempt_clients(self):
        self.use(exempt_clients=["127.0.0.8/30", "192.0.2.0/24",
                                 "2001:db8::/32"])
        for last, code in ((7, "451"), (8, "250"), (11, "250"), (12, "451")):
            self.assertEqual(self.from_address(f"127.0.0.{last}")[:3], code)
        self.assertEqual(self.from_loopback6(), FULL)
        for client, code in (
                ("192.0.2.7", "250"), ("192.0.3.7", "451"),
                ("IPV6:2001:db8::7", "250"), ("IPV6:2001:db9::7", "451"),
                ("[UNAVAILABLE]", "451")):
            with self.subTest(client=client), Session(self.mx) as s:
                s.xclient(ADDR=client)
                self.assertEqual(s.rcpt()[:3], code)
        wait_for("it is logged", lambda: self.logged(
            r"client=\S+\[2001:db9::7\] from="))
        self.use(exempt_clients=["::1"])
        self.assertEqual(self.from_loopback6()[:3], "250")
        self.assertEqual(self.from_address("127.0.0.8"), FULL)

    def test_authenticated(self):
        def reply():
            with Session(self.mx) as s:
                s.xclient(ADDR="192.0.2.7", LOGIN="joe")
                return s.rcpt()
        self.assertEqual(reply()[:3], "250")
        self.use(authenticated="defer")
        self.assertEqual(reply(), FULL)


class Reply(Case):
    """What the client is told."""

    def test_code_and_text(self):
        self.use(reply_code="450", reply_enhanced_code="4.2.1",
                 reply_text="{resource}: 100% full")
        self.assertEqual(self.rcpt(), "450 4.2.1 storage: 100% full")
        self.use(reply_code="452")
        self.assertEqual(self.rcpt()[:4], "452 ")

    def test_lines(self):
        self.use(reply_text=r"full\nhttps://help.example.org/full"
                 r"?m={recipient}\nbye")
        want = ("451 4.2.2 full\n"
                "451 4.2.2 https://help.example.org/full?m="
                "Full%2B%26a%3Db%40example.org\n"
                "451 4.2.2 bye")
        self.assertEqual(self.rcpt("Full+&a=b@example.org"), want)
        # on the wire, and the session goes on
        replies = self.mx.talk("MAIL FROM:<a@ext.test>\r\n"
                               "RCPT TO:<full@example.org>\r\n"
                               "RCPT TO:<good@example.org>\r\n"
                               "QUIT\r\n")
        self.assertEqual(replies[1:4], [
            "451-4.2.2 full",
            "451-4.2.2 https://help.example.org/full?m=full%40example.org",
            "451 4.2.2 bye"])
        self.assertEqual([r[:4] for r in replies[4:]], ["250 ", "221 "])
        with Session(self.mx) as s:
            s.codes("MAIL FROM:<>", "RCPT TO:<full@example.org>")
            self.assertEqual(s.say("DATA"), want.replace(
                "Full%2B%26a%3Db", "full"))

    def test_as_long_as_can_be(self):
        text = "%" * 469 + "{recipient}"
        self.use(reply_text=text)
        self.assertEqual(self.rcpt(), f"451 4.2.2 {text[:469]}"
                         "full%40example.org")
        lines = [r"{recipient}{recipient}"] * 8
        self.use(reply_text=r"\n".join(lines))
        local = "full+" + "=" * 59
        once = local.replace("+", "%2B").replace("=", "%3D")
        self.assertEqual(self.rcpt(f"{local}@example.org"), "\n".join([
            "451 4.2.2 " + 2 * f"{once}%40example.org"] * 8))
        self.assertEqual(self.milter.stat("reply_errors_total"), 0)

    def test_bad_templates(self):
        for text, why in (("{mailbox} full", "there is no {mailbox}"),
                          (r"a\n\nb", "1 to 8 lines"),
                          ("x" * 481, "at most 480")):
            done = parts.run(parts.MILTER, "-c", self.milter.conf, "-n", "-o",
                             f"reply_text={text}", check=False)
            self.assertEqual(done.returncode, 78)
            self.assertIn(why, done.stderr)


class Reject(Case):
    """reject_after: one who has been full for a month."""

    @classmethod
    def publish(cls):
        """Through Redis, in which a record can be made older."""
        if "redis" not in cls.milter.settings:
            cls.redis = cls.place.start(parts.Redis(cls.place))
            cls.milter.settings["redis"] = cls.redis.url
        super().publish()
        key = "{quotadefer}:root:test"
        for user, age in (("full", 60), ("user1", MONTH + 60),
                          ("user2", MONTH - 3600), ("user3", -86400)):
            record = cls.redis.cli("HGET", key, f"user.{user}")
            since = int(re.search(r" since=(\d+)", record)[1]) - age
            cls.redis.cli("HSET", key, f"user.{user}", re.sub(
                r" since=\d+", f" since={since}", record))
        record = cls.redis.cli("HGET", key, "user.user4")
        cls.redis.cli("HSET", key, "user.user4",
                      re.sub(r" since=\d+", " since=0", record))

    def test_never(self):
        self.assertEqual(self.rcpt("user1@example.org"), FULL)

    def test_at_rcpt(self):
        self.use(reject_after="30d", reject_text="{resource} full")
        with Session(self.mx) as s:
            self.assertEqual(s.rcpt("User1@example.org"),
                             "552 5.2.2 storage full")
            for user in ("full", "user2", "user3", "user4", "user5"):
                self.assertEqual(s.rcpt(f"{user}@example.org"), FULL, user)
        wait_for("it is logged", lambda: self.logged(
            r"NOQUEUE: reject: to=<User1@example\.org> mailbox=user\.user1 "
            r"root=user\.user1 storage=102401/102400 since=\S+Z source=test "
            r"client=\S+\[127\.0\.0\.1\] from=<a@ext\.test> "
            r"helo=<client\.test>\n"))
        self.assertIn("552 5.2.2 storage full; from=<a@ext.test> "
                      "to=<User1@example.org>", self.mx.text())

    def test_at_data(self):
        self.use(reject_after="30d", reject_text=r"full\nfor long")
        for users, want in ((("user1",), "552 5.2.2 full\n"
                             "552 5.2.2 for long"),
                            (("user1", "user2"), FULL),
                            (("user2", "user1"), FULL),
                            (("user1", "good"), "354 ")):
            with self.subTest(users=users), Session(self.mx) as s:
                s.say("MAIL FROM:<>")
                for user in users:
                    self.assertEqual(s.say(f"RCPT TO:<{user}@example.org>")
                                     [:3], "250")
                reply = s.say("DATA")
                self.assertEqual(reply[:len(want)], want)

    def test_monitor(self):
        self.use(reject_after="30d", mode="monitor")
        self.assertEqual(self.rcpt("user1@example.org")[:3], "250")
        wait_for("it is logged", lambda: self.logged(
            r"NOQUEUE: would-reject: to=<user1@example\.org> "))

    def test_sender_is_told(self):
        self.use(reject_after="30d")
        sender = self.place.start(parts.Postfix(
            self.place, "sender", relayhost=f"[127.0.0.1]:{self.mx.port}"))
        with sender.smtp() as smtp:
            smtp.sendmail("good@example.org", "user1@example.org",
                          "Subject: bounces\r\n\r\nHello.\r\n")
        wait_for("it is bounced", lambda: re.search(
            r"to=<user1@example\.org>.*dsn=5\.2\.2, status=bounced",
            sender.text()))


class ErrorLimit(unittest.TestCase):
    """defer_limit against smtpd_hard_error_limit, both by default, with a
    real Cyrus behind."""

    @classmethod
    def setUpClass(cls):
        cls.place = cls.enterClassContext(parts.Place())
        cls.cyrus = cls.place.start(parts.Cyrus(cls.place))
        cls.full = [f"full{n}" for n in range(60)]
        cls.good = [f"good{n}" for n in range(5)]
        with cls.cyrus.admin() as imap:
            for user in cls.full + cls.good:
                imap.create(f"user/{user}@example.org")
                imap.setquota(f'"user/{user}@example.org"', "(STORAGE 1)"
                              if user in cls.full else "(STORAGE 1000)")
        for user in cls.full:
            cls.cyrus.fill(f"{user}@example.org", 1500)
        cls.milter = parts.Milter(cls.place)
        cls.milter.write_conf()
        cls.milter.scan(cls.cyrus.conf)
        cls.place.start(cls.milter)
        cls.mx = cls.place.start(parts.Postfix(
            cls.place, "mx", smtpd_milters=cls.milter.postfix(),
            header_checks="regexp:" + str(cls.place.dir / "checks"),
            virtual_mailbox_domains="example.org",
            virtual_transport=f"lmtp:unix:{cls.cyrus.lmtp}"))
        (cls.place.dir / "checks").write_text("/^Subject: bad/ REJECT\n")

    def recipients(self):
        """Twelve full ones, then a good one, and again."""
        for n, good in enumerate(self.good):
            yield from self.full[12 * n:12 * n + 12]
            yield good

    def send(self, session, subject):
        """One message to all of them; how many were deferred, and the code of
        the reply to the message."""
        self.assertEqual(session.say("MAIL FROM:<a@ext.test>")[:3], "250")
        replies = {u: session.say(f"RCPT TO:<{u}@example.org>")
                   for u in self.recipients()}
        for user in self.good:
            self.assertEqual(replies[user][:3], "250", replies[user])
        self.assertEqual(session.say("DATA")[:3], "354")
        deferred = [u for u in replies if replies[u] == FULL]
        self.assertEqual([u for u in replies if u not in deferred and
                          replies[u][:3] != "250"], [])
        return len(deferred), session.message(subject)

    def arrives(self, subject):
        for user in self.good:
            wait_for(f"{user} has it", lambda u=user: subject in
                     self.cyrus.subjects(f"user/{u}@example.org"))

    def test_one_message(self):
        self.assertEqual(parts.run("postconf", "-d", "-h", "-c", self.mx.etc,
                                   "smtpd_soft_error_limit").stdout, "10\n")
        with Session(self.mx) as s:
            self.assertEqual(self.send(s, "one"), (8, 250))
        self.arrives("one")
        # at the first attempt: nobody tried again
        self.assertNotIn("too many errors", self.mx.text())

    def test_two_messages_in_a_session(self):
        with Session(self.mx) as s:
            for subject in ("first of two", "second of two"):
                self.assertEqual(self.send(s, subject), (8, 250))
        self.arrives("first of two")
        self.arrives("second of two")

    def test_message_that_was_not_accepted(self):
        """Postfix has not forgotten the errors then, and we neither."""
        with Session(self.mx) as s:
            self.assertEqual(self.send(s, "bad"), (8, 550))
            self.assertEqual(self.send(s, "good after bad"), (0, 250))
            self.assertEqual(self.send(s, "good after good"), (8, 250))
        self.arrives("good after bad")
        self.arrives("good after good")
        self.assertNotIn("too many errors", self.mx.text())


if __name__ == "__main__":
    parts.require("redis-server", "postfix", "saslpasswd2",
                  parts.CYRUS_BIN / "master")
    parts.main()
