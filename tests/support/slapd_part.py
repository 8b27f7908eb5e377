# SPDX-License-Identifier: BSD-2-Clause
"""A private slapd with a directory of mail users in it."""

import base64
import os
import shutil
import socket
import sys

import parts
from parts import free_port, run

WITHOUT = "quotadefer was built without LDAP"
SUFFIX = "dc=example,dc=org"
ROOT_DN = f"cn=admin,{SUFFIX}"
ROOT_PW = "root-secret"
SCHEMA_DIR = "/etc/ldap/schema"
MODULES = "/usr/lib/ldap"
SCHEMA = """\
attributetype ( 1.3.6.1.4.1.55555.1.1 NAME 'maildrop'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.2 NAME 'mailacceptinggeneralid'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.3 NAME 'mailMemberDN'
  EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.55555.1.4 NAME 'mailMemberURL'
  EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.5 NAME 'mailTerminal'
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.6 NAME 'mailLeaf'
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.7 NAME 'mailBlob'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.55555.2.1 NAME 'mailThing' SUP top AUXILIARY
  MAY ( maildrop $ mailacceptinggeneralid $ mailMemberDN $ mailMemberURL $
        mailTerminal $ mailLeaf $ mailBlob $ mail ) )
"""


def is_built_in():
    """Does quotadefer know LDAP?"""
    return WITHOUT not in run(parts.TOP / "tests/support/aliasquery", "ldap:",
                              check=False, input="").stderr


def require(*programs):
    """As parts.require, with what the directory itself needs."""
    if not is_built_in():
        print(WITHOUT, file=sys.stderr)
        sys.exit(77)
    parts.require("slapd", "slapadd", "ldapsearch", *programs)


def to_ldif(dn, **attributes):
    """An entry; values are texts, bytes, or lists of them."""
    def line(name, value):
        raw = value if isinstance(value, bytes) else str(value).encode()
        return f"{name}:: {base64.b64encode(raw).decode()}\n"
    out = line("dn", dn)
    for name, values in attributes.items():
        values = values if isinstance(values, (list, tuple)) else [values]
        out += "".join(line(name.replace("_", ";", 1), v) for v in values)
    return out + "\n"


class Authority:
    """A CA of our own, and a certificate for 127.0.0.1 and localhost."""

    def __init__(self, place, name="ca"):
        self.dir = place.dir / name
        self.dir.mkdir()
        self.ca = self.dir / "ca.pem"
        self.cert = self.dir / "cert.pem"
        self.key = self.dir / "key.pem"
        subject = self.dir / "subject.cnf"
        subject.write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
            "basicConstraints=CA:FALSE\n")
        key = ("-newkey", "rsa:2048", "-nodes")
        run("openssl", "req", "-x509", *key, "-keyout", self.dir / "ca.key",
            "-out", self.ca, "-days", "30", "-subj", f"/CN={name} of a test")
        run("openssl", "req", *key, "-keyout", self.key, "-out",
            self.dir / "request.pem", "-subj", "/CN=localhost")
        run("openssl", "x509", "-req", "-in", self.dir / "request.pem",
            "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-CAcreateserial",
            "-days", "30", "-extfile", subject, "-out", self.cert)


class Slapd(parts.Server):
    """slapd with back_mdb on a loopback port, a TLS port and a socket."""

    def __init__(self, place, authority=None, name="slapd", options=""):
        super().__init__(name, place.dir / f"{name}.log")
        self.dir = place.dir / name
        self.dir.mkdir()
        self.port = free_port()
        self.tls_port = free_port()
        self.socket = self.dir / "ldapi"
        self.conf = self.dir / "slapd.conf"
        self.authority = authority
        self.options = options
        self.ldif = ""
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.ldaps_url = f"ldaps://127.0.0.1:{self.tls_port}"
        self.ldapi_url = "ldapi://" + str(self.socket).replace("/", "%2F")

    def _database(self, suffix):
        where = self.dir / suffix.replace(",", "_")
        where.mkdir(exist_ok=True)
        return (f'database mdb\nsuffix "{suffix}"\nmaxsize 268435456\n'
                f'rootdn "cn=admin,{suffix}"\nrootpw {ROOT_PW}\n'
                f'directory {where}\nindex objectClass eq\n'
                "index mailacceptinggeneralid,maildrop eq\n")

    def write_conf(self):
        schema = self.dir / "mail.schema"
        schema.write_text(SCHEMA)
        lines = [f"include {SCHEMA_DIR}/{name}.schema" for name in
                 ("core", "cosine", "inetorgperson", "misc")]
        lines += [f"include {schema}", f"pidfile {self.dir}/slapd.pid",
                  f"modulepath {MODULES}", "moduleload back_mdb",
                  "allow bind_v2", "sizelimit unlimited", self.options]
        if self.authority:
            lines += [f"TLSCACertificateFile {self.authority.ca}",
                      f"TLSCertificateFile {self.authority.cert}",
                      f"TLSCertificateKeyFile {self.authority.key}"]
        peer = "gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth"
        lines += [self._database(SUFFIX),
                  "access to attrs=userPassword by anonymous auth by * none",
                  f'access to dn.subtree="ou=private,{SUFFIX}"'
                  f' by dn.exact="uid=reader,{SUFFIX}" read by * none',
                  f'access to dn.subtree="ou=local,{SUFFIX}"'
                  f' by dn.exact="{peer}" read by * none',
                  "access to * by * read",
                  self._database("dc=far,dc=test")]
        self.conf.write_text("\n".join(lines) + "\n")

    def add(self, dn, **attributes):
        """An entry that is there when slapd starts."""
        self.ldif += to_ldif(dn, **attributes)

    def load(self):
        """Fill the databases, while slapd does not run."""
        self.write_conf()
        for suffix in (SUFFIX, "dc=far,dc=test"):
            mine = [entry for entry in self.ldif.split("\n\n") if entry and
                    base64.b64decode(entry.split("\n")[0][5:]).decode()
                    .endswith(suffix)]
            run("slapadd", "-f", self.conf, "-b", suffix, "-q",
                input="\n\n".join(mine) + "\n")

    def start(self):
        if not self.conf.exists():
            self.load()
        urls = [self.url + "/", self.ldapi_url + "/"]
        if self.authority:
            urls.append(self.ldaps_url + "/")
        self.spawn("slapd", "-f", self.conf, "-h", " ".join(urls), "-d", "0")
        self.wait_until("slapd answers", self.answers)

    def answers(self):
        done = run("ldapsearch", "-x", "-LLL", "-o", "nettimeout=1", "-H",
                   self.url, "-b", SUFFIX, "-s", "base", "dn", check=False)
        return done.returncode == 0

    def modify(self, ldif):
        run("ldapmodify", "-x", "-H", self.url, "-D", ROOT_DN, "-w", ROOT_PW,
            input=ldif)


def need():
    """What this part needs to be installed."""
    for program in ("slapd", "slapadd", "ldapsearch", "openssl"):
        if not shutil.which(program):
            raise parts.Missing(program)
    if not os.path.exists(f"{MODULES}/back_mdb.la") and \
            not os.path.exists(f"{MODULES}/back_mdb.so"):
        raise parts.Missing("back_mdb")


class SilentServer:
    """Accepts connections, as the kernel does, and never says a word."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]

    def start(self):
        pass

    def stop(self):
        self.listener.close()
