# SPDX-License-Identifier: BSD-2-Clause
"""A private Cyrus with mailboxes in known states, and the programs that
know what becomes of their mail: lmtpd, smmapd, and a Postfix that asks us."""

import os
import pathlib
import pwd
import socket

import parts


class Lines:
    """Lines to and from a server, many at a time."""

    def __init__(self, address):
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address),
                                                   parts.PATIENCE)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(parts.PATIENCE)
            self.socket.connect(str(address))
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def line(self):
        line = self.reader.readline()
        assert line.endswith(b"\n"), f"cut short: {line}"
        return line.decode().rstrip("\r\n")

    def reply(self):
        """An SMTP or LMTP reply; its last line."""
        while True:
            line = self.line()
            if line[3:4] != "-":
                return line

    def send(self, *lines):
        self.socket.sendall("".join(f"{x}\r\n" for x in lines).encode())


def ask_rcpt(address, hello, recipients, size=None):
    """{recipient: reply to RCPT TO}; the transaction is given up."""
    with Lines(address) as server:
        assert server.reply().startswith("220")
        server.send(f"{hello} client.test")
        assert server.reply().startswith("250")
        more = "" if size is None else f" SIZE={size}"
        if hello == "EHLO" and not all(r.isascii() for r in recipients):
            more += " SMTPUTF8"
        server.send(f"MAIL FROM:<sender@ext.test>{more}")
        mail = server.reply()
        assert mail.startswith("250"), mail
        replies = {}
        for first in range(0, len(recipients), 50):
            some = recipients[first:first + 50]
            server.send(*(f"RCPT TO:<{r}>" for r in some))
            for recipient in some:
                replies[recipient] = server.reply()
        server.send("RSET", "QUIT")
        return replies


def ask_smmap(path, keys):
    """Postfix's socketmap protocol: the answer to each key."""
    answers = {}
    with Lines(path) as server:
        for key in keys:
            request = f"cyrus {key}".encode()
            server.socket.sendall(b"%d:%s," % (len(request), request))
            length = b""
            while not length.endswith(b":"):
                byte = server.reader.read(1)
                assert byte, f"smmapd hung up at {key}"
                length += byte
            answer = server.reader.read(int(length[:-1]) + 1)
            answers[key] = answer[:-1].decode()
    return answers


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Oracle(parts.Cyrus):
    """Cyrus with an lmtpd of either lmtp_strict_quota, and an smmapd."""

    def __init__(self, place, name, **settings):
        super().__init__(place, name, **settings)
        self.smmap = self.dir / "socket/smmap"
        self.by_strict = {s: self.dir / f"socket/lmtp{s}" for s in "01"}
        conf = {s: self.dir / f"imapd-strict{s}.conf" for s in "01"}
        self.services = [
            f'smmap cmd="{parts.CYRUS_BIN}/smmapd -C {self.conf}"'
            f' listen="{self.smmap}" prefork=0']
        for strict, path in self.by_strict.items():
            self.services.append(
                f'lmtp{strict} cmd="{parts.CYRUS_BIN}/lmtpd'
                f' -C {conf[strict]}" listen="{path}" prefork=0')
        self.conf_by_strict = conf

    def _write_conf(self):
        super()._write_conf()
        text = "".join(f"{key}: {value}\n" for key, value in
                       self.settings.items() if value is not None and
                       key != "lmtp_strict_quota")
        for strict, path in self.conf_by_strict.items():
            path.write_text(f"{text}lmtp_strict_quota: {strict}\n")

    def imap(self, commands):
        """Give commands as the administrator; all must succeed."""
        with Lines(self.imap_port) as server:
            server.line()
            commands = ["LOGIN cyradmin secret", *commands]
            for first in range(0, len(commands), 50):
                some = commands[first:first + 50]
                server.send(*(f"t {c}" for c in some))
                for command in some:
                    line = server.line()
                    while line.startswith("* "):
                        line = server.line()
                    assert line.startswith("t OK"), f"{command}: {line}"
            server.send("t LOGOUT")

    def quota_files(self):
        """Of quotalegacy: internal root name -> path."""
        found = {}
        base = pathlib.Path(self.settings["configdirectory"])
        for path in base.glob("quota/?/*"):
            found[path.name] = path
        for path in base.glob("domain/?/*/quota/?/*"):
            found[f"{path.parts[-4]}!{path.name}"] = path
        for path in base.glob("domain/?/*/quota/root"):
            found[f"{path.parts[-3]}!"] = path
        return found

    def write_roots(self, texts):
        """Set the records of roots that are there: {internal name: text}."""
        kind = self.settings.get("quota_db") or "quotalegacy"
        if kind == "quotalegacy":
            self._write_files(texts)
        else:
            self._write_database(kind, texts)

    def _write_files(self, texts):
        """As Cyrus does it: a new file, renamed."""
        files = self.quota_files()
        user = pwd.getpwnam("cyrus")
        for root, text in texts.items():
            new = files[root].with_name(files[root].name + ".NEW")
            new.write_text(f"{text}\n" if text else "")
            new.chmod(0o600)
            os.chown(new, user.pw_uid, user.pw_gid)
            new.rename(files[root])

    def _write_database(self, kind, texts):
        # of an old record that fills its slot to the byte Cyrus also reads
        # what is behind, and that may be twoskip's padding, " BLANK"
        texts = {root: text + " " if text[:1] != "%" and
                 len((root + text).encode()) % 8 == 0 else text
                 for root, text in texts.items()}
        path = pathlib.Path(self.settings["configdirectory"]) / "quotas.db"
        self._dbtool(kind, path, "batch", "".join(
            f"SET {quoted(root)} {quoted(text)}\n"
            for root, text in texts.items()))
        shown = dict(line.split("\t", 1) for line in
                     self._dbtool(kind, path, "show").splitlines())
        for root, text in texts.items():
            assert shown[root] == text, (root, shown[root], text)

    def _dbtool(self, kind, path, action, text=None):
        user = pwd.getpwnam("cyrus")
        return parts.run(parts.CYRUS_BIN / "cyr_dbtool", "-C", self.conf,
                         path, kind, action, input=text, user=user.pw_uid,
                         group=user.pw_gid, extra_groups=[]).stdout
