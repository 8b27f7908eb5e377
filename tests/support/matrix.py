# SPDX-License-Identifier: BSD-2-Clause
"""What the agreement test draws: settings of Cyrus, mailboxes with quota
roots in states around every boundary, and the addresses to ask for."""

import dataclasses
import itertools

# Every value occurs in each run. None: the setting is left out.
SETTINGS = {
    "virtdomains": ("off", "userid", "on"),
    "defaultdomain": ("example.org", "Example.ORG", None),
    "unixhierarchysep": ("yes", "no"),
    "lmtp_downcase_rcpt": ("yes", "no"),
    "postuser": (None, "bb"),
    "fulldirhash": ("no", "yes"),
    "quota_db": ("quotalegacy", "twoskip", "skiplist", "flat"),
    "lmtp_strict_quota": ("0", "1"),
    "domain_roots": ("ignore", "enforce"),  # ours
}
COMBINATIONS = 7

# of MAIL SIZE=; the last is our largest_message
SIZES = (500, 70000, 64 << 20)

KIB = {"S": 1024, "M": 1, "AS": 1024, "NF": 1}
RESOURCES = tuple(KIB)

PLAIN = "plain.example"     # no domain root
EARLY = "early.example"     # a full domain root, older than its mailboxes
LATE = "late.example"       # a full domain root, younger than its mailboxes
ROOMY = "roomy.example"     # a domain root with room
VIRTUAL = (PLAIN, EARLY, LATE, ROOMY)

# folders by their names in IMAP UTF-7, and as they are written in an address
SPECIAL = {"R&-D": "R&D", "Entw&APw-rfe": "Entwürfe"}


def combinations(rng):
    """Deal the values of each setting out, none left over."""
    columns = {}
    for name, values in SETTINGS.items():
        column = list(itertools.islice(itertools.cycle(values), COMBINATIONS))
        rng.shuffle(column)
        columns[name] = column
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    # that one means nothing without virtual domains: give both a chance
    for wanted in SETTINGS["domain_roots"]:
        if not any(row["domain_roots"] == wanted and
                   row["virtdomains"] != "off" for row in rows):
            rng.choice([row for row in rows if row["virtdomains"] != "off"]
                       )["domain_roots"] = wanted
    for name, values in SETTINGS.items():
        assert {row[name] for row in rows} == set(values), name
    return rows


@dataclasses.dataclass(frozen=True)
class State:
    """A quota root as it is written; text None: there is no root."""
    label: str
    text: str | None
    is_malformed: bool = False


def pairs(**usage):
    """A record of today; AS=(1, 2) is used and limit, AS=1 has no limit."""
    words = []
    for key in RESOURCES:
        value = usage.get(key, 0)
        if isinstance(value, tuple):
            value = f"{value[0]} {value[1]}"
        words.append(f"{key} ({value})")
    return f"%({' '.join(words)} MODSEQ 9)"


def at(label, **usage):
    return State(label, pairs(**usage))


OVER = at("over", S=(102401, 100))
UNDER = at("under", S=(102400, 100))
NO_LIMIT = at("no limit", S=10 ** 13, M=10 ** 10)
NO_ROOT = State("no root", None)
MALFORMED = (
    State("garbage", "garbage", True),
    State("cut short", "%(S (999999999", True),
    State("cut short, over", "%(S (102401 100", True),
    State("empty", "", True),
    State("letters in a number", "102401x 100", True),
    State("an odd word", "102401 100 X 2 1", True),
    State("half a pair", "102401", True),
)
OLD_FORMS = (
    ("two lines", "{S}\n{L}"),
    ("one line", "{S} {L}"),
    ("left over", "{S} {L} 777"),
    ("two lines, M", "{S}\n{L} M 1 2"),
    ("lower case", "1 1 m 1 2 s {S} {L}"),
    ("all", "{S} {L} 5 M 1 2 AS 1 -1 NF 1 9"),
)


def boundary_states(rng):
    limits = {"S": (1, 100, 12345678, 1 << 30), "M": (1, 10, 1 << 33),
              "AS": (1, 77, 1 << 31), "NF": (1, 2, 100000)}
    for key, unit in KIB.items():
        for off in (-1, 0, 1):
            limit = rng.choice(limits[key])
            yield at(f"{key} limit{off:+d}",
                     **{key: (limit * unit + off, limit)})
        yield at(f"{key} 0/0", **{key: (0, 0)})
        yield at(f"{key} 1/0", **{key: (1, 0)})
    for off in (-1, 0, 1):
        yield at(f"S 5T{off:+d}", S=((5 << 40) + off, 5 << 30))
        yield at(f"S 2^52{off:+d}", S=((1 << 52) + off, 1 << 42))
    for size in SIZES:
        for off in (0, 1):
            yield at(f"S limit-{size}{off:+d}",
                     S=((200 << 20) - size + off, 200 << 10))
    yield at("S and M over", S=(102401, 100), M=(11, 10))
    yield at("S full, M over", S=(102400, 100), M=(11, 10))
    yield at("M over, S without", S=10 ** 14, M=(11, 10))
    yield at("NF over, S and M full", S=(1024, 1), M=(1, 1), NF=(3, 2))
    yield at("AS over, NF over", AS=(1025, 1), NF=(3, 2))


def form_states():
    yield NO_ROOT
    yield NO_LIMIT
    yield State("no limits, short", "%(MODSEQ 4)")
    yield State("keys in odd order, over", "%(NF (1) M (1 5) S (102401 100))")
    yield State("quota -f runs, over",
                "%(S (102401 100) M (3) SCAN (MBOX user.x S (0) M (0)))")
    yield State("quota -f runs", "%(S (1 100) SCAN (MBOX user.x S (999999)))")
    yield State("an unknown key", "%(S (102401 100) ZZ (1 (2 3)) M (1))")
    for name, form in OLD_FORMS:
        for used in (102400, 102401):
            yield State(f"old, {name}, {used}",
                        form.replace("{S}", str(used)).replace("{L}", "100"))
    yield State("old, limit -1", "102401 -1")
    yield State("old, M over", "102400 100 M 11 10")
    yield from MALFORMED


@dataclasses.dataclass(frozen=True)
class Box:
    """A mailbox: its domain ("" is the default domain), and its path."""
    domain: str
    path: tuple[str, ...]
    state: State
    is_public: bool = True      # anyone may post, if it is shared

    @property
    def is_user(self):
        return self.path[0] == "user"

    def internal(self):
        name = ".".join(part.replace(".", "^") for part in self.path)
        return f"{self.domain}!{name}" if self.domain else name

    def external(self, row):
        """As the administrator writes it over IMAP."""
        if row["unixhierarchysep"] == "yes":
            name = "/".join(self.path)
        else:
            name = ".".join(p.replace(".", "^") for p in self.path)
        return f"{name}@{self.domain}" if self.domain else name


@dataclasses.dataclass(frozen=True)
class Address:
    """smtp is what a client says; lmtp what Postfix would hand to lmtpd."""
    smtp: str
    lmtp: str
    box: Box | None             # None: there is no such mailbox
    folder: Box | None          # what smmapd takes it for
    kind: str = "plain"
    domain: str = ""            # "" if it is the default domain, as spelled

    @property
    def is_ascii(self):
        return self.smtp.isascii()

    def __str__(self):
        state = self.box.state.label if self.box else "nobody"
        name = self.box.internal() if self.box else "-"
        return f"<{self.smtp}> ({self.kind}; {name}: {state})"


class World:
    """The mailboxes and addresses of one combination."""

    def __init__(self, row, rng):
        self.row = row
        self.rng = rng
        self.boxes = {}
        self.addresses = []
        self.has_domains = row["virtdomains"] != "off"
        self.default = row["defaultdomain"] or "internal"
        self.sep = "/" if row["unixhierarchysep"] == "yes" else "."
        self.number = 0
        self._users()
        self._sub_roots()
        self._shared()
        if self.has_domains:
            self._domains()
        self._nobody()
        self.refused = self._refused()

    def add(self, box):
        assert box.internal() not in self.boxes, box
        self.boxes[box.internal()] = box
        return box

    def fits(self, state):
        """A database has no room for a newline or for nothing."""
        return self.row["quota_db"] == "quotalegacy" or \
            state.text is None or (state.text and "\n" not in state.text)

    def as_stored(self, state):
        """Of an old record in a flat file Cyrus makes what it happens to
        have read before: one day 452, one day 250, one day 451 4.2.0."""
        if self.row["quota_db"] == "flat" and state.label.startswith("old,"):
            return dataclasses.replace(state, is_malformed=True)
        return state

    def malformed(self):
        return self.rng.choice([s for s in MALFORMED if self.fits(s)])

    def local_part(self):
        self.number += 1
        n = self.number
        upper = "U{}pper" if self.row["lmtp_downcase_rcpt"] == "no" else "u{}"
        # Cyrus makes no mailbox with a caret where that is a dot
        caret = "a.b{}" if self.sep == "/" else "a^b{}"
        form = ("joe{}", "first.last{}", caret, "{}", "9x.{}.y", upper,
                "o'neil{}", "x=y-{}_z", "~t{}", "z{}" + 50 * "long",
                "{}.A.Z" if upper[0] == "U" else "{}.a.z")[n % 11]
        return form.format(n)

    def _users(self):
        states = [self.as_stored(s) for s in
                  (*boundary_states(self.rng), *form_states())
                  if self.fits(s)]
        self.rng.shuffle(states)
        for state in states:
            domain = self.rng.choice(["", "", PLAIN]) if self.has_domains \
                else ""
            inbox = self.add(Box(domain, ("user", self.local_part()), state))
            folder = self.rng.choice((None, "sub", "Sub.X", *SPECIAL))
            if folder == "Sub.X" and self.sep == ".":
                folder = "SubX"
            sub = self.add(Box(domain, (*inbox.path, folder), NO_ROOT)) \
                if folder else None
            self.ask_user(inbox, sub)

    def _sub_roots(self):
        for above in (OVER, UNDER):
            for below in (OVER, UNDER, NO_LIMIT, self.malformed()):
                inbox = self.add(Box("", ("user", self.local_part()), above))
                sub = self.add(Box("", (*inbox.path, "big"), below))
                deep = self.add(Box("", (*sub.path, "deep"), NO_ROOT))
                self.ask_user(inbox, sub)
                self.ask(inbox, f"{inbox.path[1]}+big{self.sep}deep",
                         kind="detail", folder=deep)
                self.ask(inbox, f"{inbox.path[1]}+BIG", kind="missing detail")

    def _shared(self):
        for state in (OVER, UNDER, at("M full", M=(10, 10)),
                      at("NF over", NF=(3, 2)), self.malformed(), NO_ROOT):
            domain = self.rng.choice(["", PLAIN]) if self.has_domains else ""
            self.number += 1
            top = self.add(Box(domain, (f"shared{self.number}",), state))
            self.ask_shared(top)
            for name, below in (("None", NO_ROOT), ("over", OVER),
                                ("under", UNDER), ("free", NO_LIMIT),
                                ("Entw&APw-rfe", NO_ROOT),
                                ("R&-D", NO_ROOT),
                                ("broken", self.malformed())):
                if self.rng.random() < 0.5:
                    continue
                self.ask_shared(self.add(Box(domain, (*top.path, name),
                                             below)))

    def _domains(self):
        for domain in (EARLY, LATE, ROOMY):
            for state in (NO_ROOT, OVER, UNDER, NO_LIMIT, self.malformed()):
                inbox = self.add(Box(domain, ("user", self.local_part()),
                                     state))
                self.ask_user(inbox, None)
            self.number += 1
            for state, name in ((NO_ROOT, "s{}"), (UNDER, "t{}")):
                self.ask_shared(self.add(Box(
                    domain, (name.format(self.number),), state)))

    def _nobody(self):
        """Nobody has these names."""
        for local in ("nobody", "no.body", "no^body", "nobody+x", "a/b",
                      "+nosuch", "+", "user", "0", f"+user{self.sep}nobody"):
            self.ask(None, local, kind="nobody")

    def _refused(self):
        """Addresses that Cyrus refuses for good, below a root that is over:
        they tell nobody that the table has roots, not mailboxes or rights."""
        full = self.add(Box("", ("fullshared",), OVER))
        self.add(Box("", ("fullshared", "closed"), OVER, is_public=False))
        user = self.add(Box("", ("user", "fulluser"), OVER))
        locals_ = [self.shared_local(*full.path, "nosuch"),
                   self.shared_local(*full.path, "Entw&APw-rfe"),
                   self.shared_local(*full.path, "closed"),
                   f"{user.path[1]}+Entwürfe"]
        found = [f"{local}@{self.default}" for local in locals_]
        if self.has_domains:
            found.append(f"nobody@{EARLY}")
        return found

    def domains_of(self, domain):
        """Spellings of a domain; with virtdomains off any domain will do."""
        if domain:
            return [domain, self.odd_case(domain)]
        every = [self.default, self.odd_case(self.default)]
        return every if self.has_domains else every + [PLAIN]

    def odd_case(self, text):
        changed = "".join(c.swapcase() if self.rng.random() < 0.5 else c
                          for c in text)
        return changed if changed != text else text.swapcase()

    def is_known_in_any_case(self, domain):
        """Else JOE is nobody, and that in a full domain: see _refused."""
        return self.row["lmtp_downcase_rcpt"] == "yes" or \
            domain not in (EARLY, LATE)

    def nearest(self, box):
        """The state of the nearest root below the domain's; NO_ROOT."""
        found = self.boxes.get(self.nearest_root(box))
        return found.state if found else NO_ROOT

    def nearest_root(self, box):
        """The name of that root; the domain's if there is none."""
        name = box.internal()
        while True:
            found = self.boxes.get(name)
            if found and found.state.text is not None:
                return name
            domain, bang, rest = name.rpartition("!")
            if "." not in rest:
                return domain + bang
            name = domain + bang + rest.rpartition(".")[0]

    def ask(self, box, local, kind="plain", **how):
        spelling = self.rng.choice(self.domains_of(box.domain if box else ""))
        self.ask_at(box, local, spelling, kind, **how)

    def ask_at(self, box, local, spelling, kind, quoted=False, folder=None):
        domain = "" if spelling == self.default else spelling
        plain = f"{local}@{spelling}"
        smtp = f'"{local}"@{spelling}' if quoted else plain
        if kind == "route":
            smtp = plain = f"@relay.example,@b.example:{plain}"
        self.addresses.append(Address(smtp, plain, box, folder or box, kind,
                                      domain))

    def ask_user(self, inbox, sub):
        local = inbox.path[1]
        every = self.domains_of(inbox.domain)
        self.ask_at(inbox, local, every[0], "plain")
        self.ask_at(inbox, local, self.rng.choice(every[1:]), "plain")
        odd = [
            (f"{local}+", "empty detail"),
            (f"{local}+nofolder", "missing detail"),
            (f"{local}+&AOk-t&AOk-", "missing detail"),
            (f"{local}+Some.Where/else", "missing detail"),
            (local.replace(".", "^"), "caret"),
            (local.replace("^", "."), "dot"),
            (local, "route"),
        ]
        if self.is_known_in_any_case(inbox.domain):
            odd += [(self.odd_case(local), "case"),
                    (f"{self.odd_case(local)}+No/Where", "missing detail")]
        for form, kind in self.rng.sample(odd, 3):
            self.ask(inbox, form, kind)
        self.ask(inbox, local, "quoted", quoted=True)
        if not sub:
            return
        folder = sub.path[-1]
        if folder in SPECIAL:
            # Cyrus takes it for UTF-8, in which "&" is nothing special
            self.ask(inbox, f"{local}+{folder}", "missing detail")
        self.ask(inbox, f"{local}+{SPECIAL.get(folder, folder)}", "detail",
                 folder=sub)

    def shared_local(self, *path):
        return f"{self.row['postuser'] or ''}+{self.sep.join(path)}"

    def ask_shared(self, box):
        post = self.row["postuser"] or ""
        path = [SPECIAL.get(part, part) for part in box.path]
        local = self.shared_local(*path)
        self.ask_at(box, local, self.domains_of(box.domain)[0], "shared")
        self.ask(box, local, "shared")
        if self.is_known_in_any_case(box.domain):
            self.ask(box, f"{self.odd_case(post)}+{self.sep.join(path)}",
                     "shared, case")
        self.ask(box, f"{local}{self.sep}", "shared")
        wrong = "." if self.sep == "/" else "/"
        if len(box.path) > 1:
            self.ask(None, f"{post}+{wrong.join(path)}", "nobody")


def domain_root(domain, row):
    """How the administrator names it in SETQUOTA."""
    if row["unixhierarchysep"] == "yes":
        return f"@{domain}"
    return f"{domain}!"
