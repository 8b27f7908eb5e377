#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A full mailbox is deferred at RCPT, and gets its mail when there is room:
real Cyrus, a Postfix that receives, another Postfix that sends."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                       "support"))
import parts  # noqa: E402
from parts import wait_for  # noqa: E402


class Host:
    """Cyrus, the filter and the Postfix that receives for example.org."""

    def __init__(self, place, **milter_settings):
        self.cyrus = place.start(parts.Cyrus(place))
        self.milter = place.start(parts.Milter(place, **milter_settings))
        self.mx = place.start(parts.Postfix(
            place, "mx", smtpd_milters=self.milter.postfix(),
            virtual_mailbox_domains="example.org",
            virtual_transport=f"lmtp:unix:{self.cyrus.lmtp}"))
        for user in ("full", "good"):
            self.cyrus.create(f"user/{user}@example.org", STORAGE=100)
        self.cyrus.fill("full@example.org")

    def scan(self, *args, **kwargs):
        return self.milter.scan(self.cyrus.conf, *args, **kwargs)


class OneHost(unittest.TestCase):
    def test_full_mailbox(self):
        with parts.Place() as place:
            host = Host(place)
            host.scan()
            print(host.mx.talk("EHLO c.test\r\nMAIL FROM:<a@ext.test>\r\nRCPT TO:<full@example.org>\r\nRCPT TO:<good@example.org>\r\nRSET\r\nQUIT\r\n"))
            print(host.milter.text())
            print(host.mx.text())


if __name__ == "__main__":
    parts.require("redis-server", "postfix", parts.CYRUS_BIN / "master")
    parts.main()
