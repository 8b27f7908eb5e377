# SPDX-License-Identifier: BSD-2-Clause
"""A sendmail of our own, unpacked by fetch-sendmail in QD_SENDMAIL_ROOT.

It has a host name, hosts file and name service switch of its own (without a
dotted name it sleeps for a minute, without DNS it must not ask)."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import parts

ROOT = pathlib.Path(os.environ.get("QD_SENDMAIL_ROOT") or
                    "/QD_SENDMAIL_ROOT-is-not-set")
BINARY = ROOT / "usr/libexec/sendmail/sendmail"
MAKEMAP = ROOT / "usr/libexec/sendmail/makemap"
CF = ROOT / "usr/share/sendmail/cf"

# in namespaces of its own: DIR NAME COMMAND...
PRIVATE = r"""
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
hostname "$2"
shift 2
exec "$@"
"""

COMMON = r"""divert(-1)
define(`_CF_DIR_', `{cf}/')
include(`{cf}/m4/cf.m4')
divert(0)dnl
OSTYPE(`linux')
define(`ALIAS_FILE', `{dir}/aliases')
define(`HELP_FILE', `{dir}/helpfile')
define(`STATUS_FILE', `{dir}/statistics')
define(`confCW_FILE', `{dir}/local-host-names')
define(`confSERVICE_SWITCH_FILE', `{dir}/service.switch')
define(`confDONT_PROBE_INTERFACES', `True')
define(`confTO_IDENT', `0')
"""

# Two ways to Cyrus. Local mail loses its domain, and Cyrus has it as its
# defaultdomain; mail of another domain keeps it.
DAEMON = COMMON + r"""define(`QUEUE_DIR', `{dir}/queue')
define(`confPID_FILE', `{dir}/sendmail.pid')
define(`confDELIVERY_MODE', `interactive')
define(`confLOCAL_MAILER', `cyrusv2')
define(`CYRUSV2_MAILER_ARGS', `FILE {lmtp}')
FEATURE(`no_default_msa')
FEATURE(`use_cw_file')
FEATURE(`nocanonify')
FEATURE(`accept_unresolvable_domains')
FEATURE(`mailertable', `hash {dir}/mailertable')
FEATURE(`virtusertable', `hash {dir}/virtusertable')
VIRTUSER_DOMAIN(`virtusers.example')
RELAY_DOMAIN(`virt.example')
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port={port}')
INPUT_MAIL_FILTER(`quotadefer', `S={milter}, T=C:2s;S:5s;R:8s;E:1m')
MAILER(`smtp')
MAILER(`cyrusv2')
MAILER_DEFINITIONS
Mvcyrus, P=[IPC], F=lsDFMnqXzA@/:|m, S=EnvFromSMTP/HdrFromSMTP,
	R=EnvToSMTP, E=\r\n, T=DNS/RFC822/SMTP, A=FILE {lmtp}
"""

VIRTUSERS = """\
info@example.org full
fine@example.org good
team@example.org everybody
away@example.org somebody@elsewhere.example
virtual@example.org full@virt.example
@virtusers.example full
good@virtusers.example good
"""
ALIASES = """\
postmaster: good
helpdesk: full
everybody: full, good
"""

# the configuration of sendmail(1): mail goes to the daemon, or waits. Debian
# has a user smmsp for it
SUBMIT = COMMON + r"""define(`MSP_QUEUE_DIR', `{dir}/clientqueue')
define(`confPID_FILE', `{dir}/submit.pid')
define(`confRUN_AS_USER', `mail:mail')
FEATURE(`nocanonify')
define(`RELAY_MAILER_ARGS', `TCP $h {port}')
FEATURE(`msp', `[127.0.0.1]')
"""


def require(*programs):
    """As parts.require, for these and an unpacked sendmail."""
    parts.require("unshare", "m4", BINARY, MAKEMAP, *programs)
    if parts.run("unshare", "--mount", "--uts", "true",
                 check=False).returncode:
        parts.require("permission-for-unshare")


class Place(parts.Place):
    """Not in /tmp: sendmail trusts no file below a directory in which others
    can write, our filter's socket least of all."""

    def __enter__(self):
        before = tempfile.tempdir
        tempfile.tempdir = "/run"
        try:
            return super().__enter__()
        finally:
            tempfile.tempdir = before


def milter_address(milter):
    """The socket of a filter, as INPUT_MAIL_FILTER has it."""
    return re.sub(r"^unix:", "local:", milter.spec)


class Sendmail(parts.Server):
    """A sendmail daemon that delivers to a Cyrus."""

    def __init__(self, place, name, cyrus, milter):
        super().__init__(name, place.dir / f"{name}.log")
        self.dir = place.dir / name
        self.port = parts.free_port()
        self.cf = self.dir / "sendmail.cf"
        self.submit_cf = self.dir / "submit.cf"
        self.fields = {"dir": self.dir, "cf": CF, "port": self.port,
                       "lmtp": cyrus.lmtp, "milter": milter_address(milter)}

    def _files(self):
        return {
            "hosts": f"127.0.0.1 localhost\n127.0.0.2 {self.name}.test\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "service.switch": "hosts files\npasswd files\naliases files\n",
            "local-host-names": "example.org\nvirtusers.example\n",
            "aliases": ALIASES,
            "virtusertable.text": VIRTUSERS,
            "mailertable.text": "virt.example vcyrus:virt.example\n",
            "sendmail.mc": DAEMON.format(**self.fields),
            "submit.mc": SUBMIT.format(**self.fields),
        }

    def _write(self):
        for sub in ("", "queue", "clientqueue"):
            (self.dir / sub).mkdir(mode=0o700 if sub else 0o755)
        shutil.chown(self.dir / "clientqueue", "mail", "mail")
        for name, text in self._files().items():
            (self.dir / name).write_text(text)
        for cf in (self.cf, self.submit_cf):
            cf.write_text(parts.run("m4", cf.with_suffix(".mc")).stdout)
        for name in ("mailertable", "virtusertable"):
            with open(self.dir / f"{name}.text", encoding="ascii") as text:
                parts.run(MAKEMAP, "-C", self.cf, "hash", self.dir / name,
                          stdin=text)

    def _private(self, *args):
        return ("unshare", "--mount", "--uts", "sh", "-ec", PRIVATE, "sh",
                self.dir, f"{self.name}.test", BINARY, *args)

    def start(self):
        self._write()
        parts.run(*self._private("-C", self.cf, "-bi"))
        self.spawn(*self._private("-C", self.cf, "-bD"))
        self.wait_until("sendmail listens", lambda:
                        parts.is_listening(self.port))

    def open_bs(self):
        """sendmail -bs, on two pipes."""
        args = self._private("-C", self.cf, "-bs")
        return subprocess.Popen([str(a) for a in args], text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def submit(self, *args, **kwargs):
        """Run sendmail(1), as a user's program does; its output."""
        return parts.run(*self._private("-C", self.submit_cf, "-Ac", *args),
                         **kwargs).stdout

    smtp = parts.Postfix.smtp
    talk = parts.Postfix.talk
