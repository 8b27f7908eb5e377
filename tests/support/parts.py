# SPDX-License-Identifier: BSD-2-Clause
"""Real servers for the tests, each private: its own files in a temporary
directory, loopback ports only, started and stopped by us and by PID."""

import contextlib
import imaplib
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(os.environ.get("QD_TOP_BUILDDIR", ".")).resolve()
MILTER = TOP / "milter/quotadefer-milter"
SCAN = TOP / "tools/quotadefer-scan"
CTL = TOP / "tools/quotadefer-ctl"
CYRUS_BIN = pathlib.Path("/usr/lib/cyrus/bin")
PATIENCE = 60


class Missing(Exception):
    """A program that a test needs is not installed."""


def need(*programs):
    """Refuse to go on without these, and without root."""
    if os.geteuid() != 0:
        raise Missing("root")
    for program in programs:
        if not shutil.which(str(program)):
            raise Missing(program)


def wait_for(what, condition, patience=None):
    """Wait until condition() is true; its value. Fails after patience."""
    patience = patience or PATIENCE
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience} s still not: {what}")
        time.sleep(0.02)


_ports = set()


def free_port():
    """A loopback port that nobody uses, and that is not given out twice."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in _ports:
            _ports.add(port)
            return port


def is_listening(address):
    """Does somebody accept connections there? address: port or path."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    if family == socket.AF_INET:
        address = ("127.0.0.1", address)
    with socket.socket(family) as s:
        s.settimeout(1)
        try:
            s.connect(address if family == socket.AF_INET else str(address))
        except OSError:
            return False
        return True


def run(*args, check=True, **kwargs):
    """Run a program to its end; its CompletedProcess, output as text."""
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run([str(a) for a in args], text=True, timeout=300,
                          check=False, **kwargs)
    if check and done.returncode:
        raise AssertionError(f"{args}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


class Server:
    """A process in the foreground, with its output in a file."""

    def __init__(self, name, log):
        self.name = name
        self.log = pathlib.Path(log)
        self.process = None

    def spawn(self, *args, **kwargs):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, **kwargs)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() \
            else ""

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait_until(self, what, condition):
        def check():
            if not self.is_running():
                raise AssertionError(f"{self.name} ended with "
                                     f"{self.process.returncode}: "
                                     f"{self.text()[-2000:]}")
            return condition()
        return wait_for(what, check)

    def send(self, number):
        self.process.send_signal(number)
        # a process of several threads may go on for a moment
        if number == signal.SIGSTOP:
            wait_for(f"{self.name} stands still", self.is_stopped)

    def is_stopped(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return all((task / "stat").read_text().rpartition(")")[2].split()[0]
                   == "T" for task in tasks.iterdir())

    def stop(self, number=signal.SIGTERM):
        """End it; the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end") from None


class Place(contextlib.ExitStack):
    """A temporary directory and the servers in it, all gone at the end."""

    def __enter__(self):
        super().__enter__()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="quotadefer-test-"))
        self.dir.chmod(0o755)
        keep = os.environ.get("QD_KEEP")
        if not keep:
            self.callback(shutil.rmtree, self.dir, ignore_errors=True)
        return self

    def start(self, server, *args, **kwargs):
        self.callback(server.stop)
        server.start(*args, **kwargs)
        return server


class Redis(Server):
    """A redis-server on a port of its own."""

    def __init__(self, place, name="redis", port=None):
        super().__init__(name, place.dir / f"{name}.log")
        self.dir = place.dir / name
        self.dir.mkdir()
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options):
        self.spawn("redis-server", "--port", self.port, "--bind", "127.0.0.1",
                   "--dir", self.dir, "--save", "", "--appendonly", "no",
                   "--daemonize", "no", *options)
        self.wait_until("redis answers", lambda: self.cli("PING") == "PONG")

    def cli(self, *command):
        return run("redis-cli", "-p", self.port, *command,
                   check=False).stdout.strip()

    def pipe(self, commands):
        """Many commands in one go."""
        run("redis-cli", "-p", self.port,
            input="".join(f"{command}\n" for command in commands))

    def follow(self, primary):
        self.cli("REPLICAOF", "127.0.0.1", primary.port)
        self.wait_until("the replica is in step", lambda:
                        "master_link_status:up" in
                        self.cli("INFO", "replication"))


class Cyrus(Server):
    """Cyrus IMAP: imapd and lmtpd below a configdirectory of our own."""

    def __init__(self, place, name="cyrus", **settings):
        super().__init__(name, place.dir / f"{name}.log")
        self.dir = place.dir / name
        self.imap_port = free_port()
        self.lmtp = self.dir / "socket/lmtp"
        self.conf = self.dir / "imapd.conf"
        self.services = []  # more lines for cyrus.conf
        self.settings = {
            "configdirectory": self.dir / "conf",
            "partition-default": self.dir / "spool",
            "defaultpartition": "default",
            "proc_path": self.dir / "proc",
            "mboxname_lockpath": self.dir / "lock",
            "sievedir": self.dir / "sieve",
            "notifysocket": self.dir / "socket/notify",
            "idlesocket": self.dir / "socket/idle",
            "lmtpsocket": self.lmtp,
            "servername": "cyrus.test",
            "admins": "cyradmin",
            "sasl_pwcheck_method": "auxprop",
            "sasl_auxprop_plugin": "sasldb",
            "sasl_sasldb_path": self.dir / "sasldb",
            "sasl_mech_list": "PLAIN",
            "allowplaintext": "yes",
            "virtdomains": "userid",
            "defaultdomain": "example.org",
            "unixhierarchysep": "yes",
            "altnamespace": "yes",
            "expunge_mode": "immediate",
            "delete_mode": "immediate",
            **settings,
        }

    def _write_conf(self):
        user = pwd.getpwnam("cyrus")
        for sub in ("", "conf", "spool", "proc", "lock", "sieve", "socket"):
            path = self.dir / sub
            path.mkdir(exist_ok=True)
            os.chown(path, user.pw_uid, user.pw_gid)
        self.conf.write_text("".join(f"{key}: {value}\n" for key, value in
                                     self.settings.items()
                                     if value is not None))
        (self.dir / "cyrus.conf").write_text(
            "START {\n"
            f'  recover cmd="{CYRUS_BIN}/ctl_cyrusdb -C {self.conf} -r"\n'
            "}\n"
            "SERVICES {\n"
            f'  imap cmd="{CYRUS_BIN}/imapd -C {self.conf}"'
            f' listen="127.0.0.1:{self.imap_port}" prefork=0\n'
            f'  lmtpunix cmd="{CYRUS_BIN}/lmtpd -C {self.conf}"'
            f' listen="{self.lmtp}" prefork=0\n' +
            "".join(f"  {line}\n" for line in self.services) + "}\n")

    def add_login(self, user):
        """Let user log in over IMAP, with the password "secret"."""
        sasldb = self.settings["sasl_sasldb_path"]
        run("saslpasswd2", "-p", "-c", "-f", sasldb, "-u", "cyrus.test",
            user, input="secret\n")
        shutil.chown(sasldb, "cyrus")

    def start(self):
        self._write_conf()
        self.add_login("cyradmin")
        self.spawn(CYRUS_BIN / "master", "-C", self.conf, "-M",
                   self.dir / "cyrus.conf", "-p", self.dir / "master.pid")
        self.wait_until("imapd listens", lambda: is_listening(self.imap_port))
        self.wait_until("lmtpd listens", lambda: is_listening(self.lmtp))

    @contextlib.contextmanager
    def login(self, user):
        with imaplib.IMAP4("127.0.0.1", self.imap_port) as imap:
            imap.login(user, "secret")
            yield imap

    def admin(self):
        return self.login("cyradmin")

    def create(self, mailbox, **quota):
        """Make a mailbox, with limits such as STORAGE=100."""
        with self.admin() as imap:
            assert imap.create(mailbox)[0] == "OK", mailbox
        if quota:
            self.set_quota(mailbox, **quota)

    def set_quota(self, root, **quota):
        limits = " ".join(f"{k.replace('_', '-')} {v}" for k, v in
                          quota.items())
        with self.admin() as imap:
            assert imap.setquota(f'"{root}"', f"({limits})")[0] == "OK"

    def empty_inbox(self, user):
        """Delete all messages, as the user would, over IMAP."""
        with self.login(user) as imap:
            assert imap.select("INBOX")[0] == "OK"
            imap.store("1:*", "+FLAGS", r"\Deleted")
            imap.expunge()

    def subjects(self, mailbox):
        """The subjects of all messages in a mailbox."""
        with self.admin() as imap:
            imap.setacl(mailbox, "cyradmin", "lrswipkxtecda")
            assert imap.select(f'"{mailbox}"', readonly=True)[0] == "OK"
            found = imap.search(None, "ALL")[1][0].split()
            texts = [imap.fetch(n, "(BODY[HEADER.FIELDS (SUBJECT)])")[1][0][1]
                     for n in found]
        return [t.decode().split(":", 1)[1].strip() for t in texts]

    def deliver(self, recipient, size=1000, subject="filler"):
        """Deliver one message over LMTP; the reply code."""
        body = f"Subject: {subject}\r\nMessage-ID: <{time.time_ns()}@t>\r\n" \
            "\r\n" + "x" * 70 + "\r\n"
        body += ("y" * 76 + "\r\n") * max(0, (size - len(body)) // 78)
        lmtp = smtplib.LMTP(str(self.lmtp))
        try:
            lmtp.sendmail("filler@client.test", [recipient], body)
        except smtplib.SMTPRecipientsRefused as refused:
            return next(iter(refused.recipients.values()))[0]
        except smtplib.SMTPDataError as refused:
            return refused.smtp_code
        finally:
            lmtp.close()
        return 250

    def fill(self, recipient, size=60000):
        """Deliver until lmtpd refuses: the mailbox is over."""
        for _ in range(100):
            if self.deliver(recipient, size) != 250:
                return
        raise AssertionError(f"{recipient} does not become full")


class Postfix:
    """A Postfix instance of its own, without DNS or chroot."""

    def __init__(self, place, name, **settings):
        self.dir = place.dir / name
        self.name = name
        self.port = free_port()
        self.etc = self.dir / "etc"
        self.log = self.dir / "maillog"
        self.services = []
        self.settings = {
            "compatibility_level": "3.6",
            "myhostname": f"{name}.test",
            "mydomain": "test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8 [::1]/128",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "queue_directory": self.dir / "queue",
            "data_directory": self.dir / "data",
            "maillog_file": self.log,
            "maillog_file_prefixes": self.dir,
            "smtpd_peername_lookup": "no",
            "smtp_host_lookup": "native",
            "smtp_dns_support_level": "disabled",
            "notify_classes": "",
            "biff": "no",
            "alias_maps": "",
            "local_recipient_maps": "",
            "smtpd_relay_restrictions": "permit_mynetworks reject",
            **settings,
        }

    def _write(self):
        for sub in ("etc", "queue", "data"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        shutil.chown(self.dir / "data", "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if os.path.exists(f"/etc/postfix/{name}"):
                shutil.copy(f"/etc/postfix/{name}", self.etc)
            more = f"/etc/postfix/{name}.d"
            if os.path.isdir(more):
                shutil.copytree(more, self.etc / f"{name}.d",
                                dirs_exist_ok=True)
        (self.etc / "main.cf").write_text(
            "".join(f"{k} = {v}\n" for k, v in self.settings.items()))
        lines = [
            f"127.0.0.1:{self.port} inet n - n - - smtpd",
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify",
            "proxymap unix - - n - - proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "showq unix n - n - - showq",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "local unix - n n - - local",
            "virtual unix - n n - - virtual",
            "lmtp unix - - n - - lmtp",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "postlog unix-dgram n - n - 1 postlogd",
            *self.services,
        ]
        (self.etc / "master.cf").write_text("\n".join(lines) + "\n")

    def start(self):
        self._write()
        run("postfix", "-c", self.etc, "start")
        wait_for(f"{self.name} listens", lambda: is_listening(self.port))

    def stop(self):
        run("postfix", "-c", self.etc, "stop", check=False)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() \
            else ""

    def queue(self):
        return run("postqueue", "-c", self.etc, "-p").stdout

    def flush(self):
        run("postqueue", "-c", self.etc, "-f")

    def smtp(self, **kwargs):
        return smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=60,
                            **kwargs)

    def talk(self, text):
        """Say EHLO, then send text in one segment; the replies to text,
        which is to end with QUIT."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as s:
            reader = s.makefile("rb")
            assert reader.readline().startswith(b"220")
            s.sendall(b"EHLO client.test\r\n")
            while reader.readline()[3:4] == b"-":
                pass
            s.sendall(text.encode())
            return reader.read().decode().split("\r\n")[:-1]


    def converse(self, *groups):
        """Say EHLO, then each group in one segment when all replies to the
        one before have come; the replies. Nothing follows a command but what
        its group has (RFC 2920)."""
        replies = []
        with socket.create_connection(("127.0.0.1", self.port), 60) as s:
            reader = s.makefile("rb")
            assert reader.readline().startswith(b"220")
            for group in (("EHLO client.test",), *groups):
                s.sendall("".join(f"{c}\r\n" for c in group).encode())
                for _ in range(1 if group[-1] == "." else len(group)):
                    line = reader.readline()
                    while line[3:4] == b"-":
                        line = reader.readline()
                    replies.append(line.decode().rstrip())
        return replies[1:]


class Tree:
    """A quota tree as Cyrus keeps it, and its imapd.conf."""

    def __init__(self, place, name, **settings):
        self.dir = place.dir / name
        self.conf = self.dir / "imapd.conf"
        settings = {"configdirectory": self.dir, "virtdomains": "userid",
                    "defaultdomain": "example.org", **settings}
        self.dir.mkdir()
        self.conf.write_text("".join(f"{k}: {v}\n" for k, v in
                                     settings.items()))
        for user in ("full", "fuller", "good"):
            self.set(user, 102401 if user.startswith("full") else 0)

    def path(self, user):
        return self.dir / "quota" / user[0] / f"user.{user}"

    def set(self, user, used, limit=100):
        self.write(user, f"%(S ({used} {limit}) M (0) AS (0) NF (1) "
                   "MODSEQ 2)\n")

    def write(self, user, text):
        """As Cyrus does it: a new file, renamed."""
        path = self.path(user)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".NEW")
        new.write_text(text)
        new.rename(path)


class Milter(Server):
    """quotadefer-milter in the foreground."""

    def __init__(self, place, name="milter", socket_spec=None, **settings):
        super().__init__(name, place.dir / f"{name}.log")
        self.dir = place.dir / name
        self.dir.mkdir()
        self.conf = self.dir / "quotadefer.conf"
        self.control = self.dir / "control.sock"
        self.path = self.dir / "milter.sock"
        self.spec = socket_spec or f"unix:{self.path}"
        self.settings = {
            "table": self.dir / "table",
            "socket": self.spec,
            "control_socket": self.control,
            "socket_group": "postfix",
            "domains": ["example.org"],
            "source": "test",
            **settings,
        }
        self.options = ["-u", "postfix"]
        # the scanner runs as cyrus, the filter as another user
        self.dir.chmod(0o755)
        self.write_conf()

    def write_conf(self, **changes):
        self.settings.update(changes)

        def quote(value):
            if isinstance(value, list):
                return "{ " + ", ".join(f'"{v}"' for v in value) + " }"
            return f'"{value}"'
        self.conf.write_text("".join(
            f"{key} = {quote(value)}\n" for key, value in
            self.settings.items() if value is not None))

    def start(self, *options, **kwargs):
        self.write_conf()
        self.spawn(MILTER, "-f", "-c", self.conf, *self.options, *options,
                   **kwargs)
        self.wait_until("the filter answers", lambda:
                        self.ctl("status", check=False).returncode == 0)

    def postfix(self):
        """The value for smtpd_milters."""
        spec = self.spec
        match = re.fullmatch(r"inet:(\d+)@(.*)", spec)
        if match:
            spec = f"inet:{match[2]}:{match[1]}"
        return f"{{ {spec}, connect_timeout=2s, command_timeout=5s, " \
            "default_action=accept }"

    def ctl(self, *args, check=True):
        return run(CTL, "-c", self.conf, *args, check=check)

    def scan(self, cyrus_conf, *args, check=True):
        """Run the scanner as root would from cron; it becomes cyrus."""
        return run(SCAN, "-c", self.conf, "-o", f"imapd_conf={cyrus_conf}",
                   *args, check=check)

    def stat(self, name):
        out = self.ctl("stats").stdout
        match = re.search(rf"^{re.escape(name)} (\S+)$", out, re.M)
        return float(match[1]) if match else None


def main(module="__main__"):
    """Run the tests of a file; 77 if a part is missing here."""
    import unittest
    if "QD_TOP_BUILDDIR" not in os.environ:
        sys.exit("set QD_TOP_BUILDDIR to where quotadefer was built")
    program = unittest.main(module, exit=False, verbosity=2)
    sys.exit(0 if program.result.wasSuccessful() else 1)


def require(*programs):
    """As need(), and exit: with 77, or with 1 where skipping is a failure."""
    try:
        need(*programs)
    except Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        sys.exit(1 if os.environ.get("QD_REQUIRE_SERVERS") else 77)
