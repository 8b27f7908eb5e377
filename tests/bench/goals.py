# SPDX-License-Identifier: BSD-2-Clause
"""The goals that make bench measures: each a function that yields rows."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import time

import parts
from parts import TOP, run, wait_for

QUICK = bool(os.environ.get("QUICK"))
RUNS = 5 if QUICK else 9
SECONDS = 1 if QUICK else 2
ROOTS = 100_000 if QUICK else 1_000_000
MILLION = 1_000_000
TOOLS = TOP / "tests/bench"
DROP_CACHES = pathlib.Path("/proc/sys/vm/drop_caches")


@dataclasses.dataclass
class Row:
    """One line: figures of ours, and of the floor in the same order."""
    goal: str
    what: str
    unit: str
    ours: list
    floor: list = None
    limit: float = None
    at_least: bool = False


@contextlib.contextmanager
def on_cpu(*cpus):
    """What is started within runs there: on a core of its own a round trip
    does not depend on where the scheduler wakes the other side."""
    before = os.sched_getaffinity(0)
    if len(before) >= 2:
        order = sorted(before)
        os.sched_setaffinity(0, {order[c] for c in cpus})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class NullMilter(parts.Server):
    """The floor. asking: with the events and macros that ours asks for."""

    def __init__(self, place, name, asking=False):
        super().__init__(name, place.dir / f"{name}.log")
        self.path = place.dir / f"{name}.sock"
        self.options = ["-m"] if asking else []

    def start(self, prefix=()):
        self.spawn(*prefix, TOOLS / "nullmilter", *self.options,
                   f"unix:{self.path}")
        self.wait_until("it listens", lambda: parts.is_listening(self.path))
        self.path.chmod(0o666)


class Ours(parts.Milter):
    """quotadefer-milter on a table of so many full mailboxes."""

    def __init__(self, bench, name, table, **settings):
        super().__init__(bench.place, name, table=table, defer_limit=0,
                         **settings)

    def start(self, prefix=()):
        self.write_conf()
        self.spawn(*prefix, parts.MILTER, "-f", "-c", self.conf,
                   *self.options)
        self.wait_until("it listens", lambda: parts.is_listening(self.path))


class Bench:
    """What several goals use: made once, gone with the directory."""

    def __init__(self, place):
        self.place = place
        self.serial = 0

    @functools.cache
    def table(self, entries):
        """A table of so many full mailboxes u0000000@example.org and on."""
        path = self.place.dir / f"table-{entries}"
        path.mkdir()
        conf = self.place.dir / f"table-{entries}.conf"
        conf.write_text(f'table = "{path}"\nsource = "bench"\n')
        run(TOOLS / "republish", "-c", conf, "-n", entries)
        for file in (path, *path.iterdir()):
            shutil.chown(file, "postfix", "postfix")
        return path

    @functools.cache
    def recipients(self, entries, hit):
        """A file of expectations: 10,000 over all of the table, or none
        of them in it."""
        path = self.place.dir / f"recipients-{entries}-{hit}"
        step = max(1, entries // 10_000)
        path.write_text("".join(
            f"{'d u' if hit else 'c v'}{i:07}@example.org\n"
            # in no order that a cache could like
            for n in range(10_000)
            for i in [n * 7919 % 10_000 * step % entries]))
        return path

    @functools.cache
    def tree(self, roots):
        """A quota tree, and the settings of a scan of it."""
        base = self.place.dir / f"tree-{roots}"
        base.mkdir()
        run(TOOLS / "maketree", base / "quota", roots)
        (base / "table").mkdir()
        for path in (base, base / "quota", base / "table"):
            shutil.chown(path, "postfix")
        (base / "imapd.conf").write_text(
            f"configdirectory: {base}\nvirtdomains: userid\n")
        (base / "scan.conf").write_text(
            f'table = "{base}/table"\nsource = "bench"\n'
            f'imapd_conf = "{base}/imapd.conf"\n')
        run(parts.SCAN, "-q", "-c", base / "scan.conf")
        return base

    def name(self, what):
        self.serial += 1
        return f"{what}{self.serial}"

    def null(self, asking=False):
        return NullMilter(self.place, self.name("null"), asking)

    def ours(self, entries, **settings):
        return Ours(self, self.name("ours"), self.table(entries), **settings)


@contextlib.contextmanager
def running(*servers, prefix=()):
    """Servers, started with a command before theirs and stopped again."""
    try:
        for server in servers:
            server.start(prefix)
        yield servers
    finally:
        for server in servers:
            server.stop(signal.SIGKILL)


def load_command(server, recipients, *options):
    floor = ["-n"] if isinstance(server, NullMilter) else []
    return [str(a) for a in (TOOLS / "milterload", "-s", server.path, "-f",
                             recipients, *floor, *options)]


def load(server, recipients, *options):
    """Run the client; its figures. A wrong answer ends the bench."""
    return json.loads(run(*load_command(server, recipients, *options)).stdout)


def in_turn(ours, floor, runs=RUNS):
    """Measure ours and the floor alternately; two lists."""
    pairs = [(ours(), floor()) for _ in range(runs)]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def timed(*command):
    start = time.perf_counter()
    run(*command)
    return time.perf_counter() - start


def column(results, key):
    return [r[key] for r in results]


def g1_latency(bench):
    shapes = {"1 connection": ["-c", 1], "64 x 1000/s": ["-c", 64, "-r", 1000]}
    with on_cpu(0), running(bench.ours(100_000), bench.null()) as servers:
        ours, null = servers
        for shape, options in shapes.items():
            for hit in (False, True):
                file = bench.recipients(100_000, hit)
                with on_cpu(1):
                    a, b = in_turn(
                        lambda: load(ours, file, *options, "-t", SECONDS),
                        lambda: load(null, file, *options, "-t", SECONDS))
                what = f"RCPT, {'hit' if hit else 'miss'}, {shape}"
                for key, limit in (("p50", 1.05), ("p99", 1.15),
                                   ("p999", None)):
                    yield Row("G1", f"{what}, {key}", "us", column(a, key),
                              column(b, key), limit)


def system_calls(server, recipients):
    """System calls a RCPT, the set-up of the connection left out."""
    totals = []
    for count in (1000, 5000):
        out = server.log.with_suffix(".strace")
        strace = subprocess.Popen(
            ["strace", "-f", "-q", "-c", "-o", out, "-p",
             str(server.process.pid)], stderr=subprocess.DEVNULL)
        wait_for("strace is attached", lambda: re.search(
            r"^TracerPid:\t[1-9]", pathlib.Path(
                f"/proc/{server.process.pid}/status").read_text(), re.M))
        load(server, recipients, "-N", count, "-t", 60)
        strace.send_signal(signal.SIGINT)
        strace.wait()
        total = re.search(r"([\d]+)\s+(?:\d+\s+)?total", out.read_text())
        totals.append(int(total[1]))
    return (totals[1] - totals[0]) / 4000


def allocations(server, recipients):
    """Heap allocations a RCPT, from valgrind's count of them."""
    totals = []
    for count in (500, 2500):
        # a child that checks the table has its own count in the same log
        with running(server, prefix=("valgrind",)):
            load(server, recipients, "-N", count, "-t", 60)
            server.stop()
        total = re.search(rf"=={server.process.pid}== .*total heap usage: "
                          r"([\d,]+) allocs", server.text())
        totals.append(int(total[1].replace(",", "")))
    return (totals[1] - totals[0]) / 2000


def g2_nothing_extra(bench):
    parts.need("strace", "valgrind")
    with running(bench.ours(1000), bench.null()) as (ours, null):
        for hit in (False, True):
            file = bench.recipients(1000, hit)
            yield Row("G2", f"system calls a RCPT, {'hit' if hit else 'miss'}",
                      "", [system_calls(ours, file)],
                      [system_calls(null, file)], None if hit else 1.05)
    file = bench.recipients(1000, False)
    yield Row("G2", "heap allocations a RCPT, miss", "",
              [allocations(bench.ours(1000), file)],
              [allocations(bench.null(), file)], 1)


def g3_size(bench):
    small, big = bench.recipients(1000, False), bench.recipients(MILLION, True)
    small_hit = bench.recipients(1000, True)
    with on_cpu(0), running(bench.ours(MILLION), bench.ours(1000)) as servers:
        million, thousand = servers
        miss = bench.recipients(MILLION, False)
        with on_cpu(1):
            for what, ours, floor in (("miss", miss, small),
                                      ("hit", big, small_hit)):
                a, b = in_turn(lambda: load(million, ours, "-t", SECONDS),
                               lambda: load(thousand, floor, "-t", SECONDS))
                yield Row("G3", f"1M entries beside 1k, {what}, p50", "us",
                          column(a, "p50"), column(b, "p50"), 1.02)


def g4_throughput(bench):
    file = bench.recipients(100_000, False)
    with running(bench.ours(100_000), bench.null()) as (ours, null):
        for connections in (256, 1024):
            options = ["-c", connections, "-t", SECONDS]
            a, b = in_turn(lambda: load(ours, file, *options),
                           lambda: load(null, file, *options))
            yield Row("G4", f"closed loop, {connections} connections",
                      "RCPT/s", column(a, "rate"), column(b, "rate"), 0.95,
                      at_least=True)


def private_kib(pid):
    """Memory that is the process's own: not the table, which is a file."""
    total, mine = 0, True
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().split("\n"):
        if re.match(r"[0-9a-f]+-", line):
            mine = not line.endswith("/data.mdb")
        elif mine and line.startswith("Private_"):
            total += int(line.split()[1])
    return total


def kib_a_connection(server, recipients, count=1000):
    before = private_kib(server.process.pid)
    client = subprocess.Popen(
        load_command(server, recipients, "-c", count, "-r", 2000, "-t", "1",
                     "-w"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        client.stdout.readline()
        return (private_kib(server.process.pid) - before) / count
    finally:
        client.stdin.close()
        client.wait()


def g5_memory(bench):
    size = (bench.table(MILLION) / "data.mdb").stat().st_size
    yield Row("G5", "table file, 1M entries", "MB", [size / 1e6], None, 96)
    hits = bench.recipients(MILLION, True)
    with running(bench.ours(MILLION), bench.null()) as (ours, null):
        load(ours, hits, "-t", SECONDS)
        yield Row("G5", "private memory, 1M entries", "MB",
                  [private_kib(ours.process.pid) / 1000], None, 8)
        extra = kib_a_connection(ours, hits) - kib_a_connection(null, hits)
        yield Row("G5", "a connection, beyond nullmilter", "kB",
                  [extra * 1.024], None, 1)


def source(port, messages):
    """Messages a second on ten kept sessions."""
    seconds = timed("smtp-source", "-s", 10, "-m", messages, "-d", "-f",
                    "a@ext.test", "-t", "v0000001@example.org",
                    f"127.0.0.1:{port}")
    return messages / seconds


def g6_postfix(bench):
    parts.need("postfix", "smtp-source")
    messages = 1500 if QUICK else 5000
    with running(bench.ours(100_000), bench.null(), bench.null(True)) as all3:
        ports = [parts.free_port() for _ in all3]
        postfix = parts.Postfix(
            bench.place, bench.name("postfix"),
            default_transport="discard", relay_transport="discard",
            relay_domains="example.org",
            smtpd_client_connection_count_limit="0")
        postfix.services = [
            f"127.0.0.1:{port} inet n - n - - smtpd "
            f"-o smtpd_milters={{unix:{server.path},default_action=tempfail}}"
            for port, server in zip([*ports, parts.free_port()], all3)]
        bench.place.start(postfix)
        for port in (*ports, postfix.port):
            source(port, 200)
        sets = [[source(p, messages) for p in (*ports, postfix.port)]
                for _ in range(RUNS)]
        postfix.stop()
    ours, null, asking, without = map(list, zip(*sets))
    yield Row("G6", "Postfix, kept sessions", "msg/s", ours, null, 0.97, True)
    yield Row("G6", "- nullmilter asking for what ours does", "msg/s", asking,
              null)
    yield Row("G6", "- no filter", "msg/s", without, null)


def scan_commands(bench, threads):
    base = bench.tree(ROOTS)
    return ([parts.SCAN, "-q", "-c", base / "scan.conf"],
            [TOOLS / "scanfloor", base / "quota", threads])


def g7_scan_warm(bench):
    ours, floor = scan_commands(bench, 2)
    timed(*floor)
    a, b = in_turn(lambda: timed(*ours), lambda: timed(*floor))
    yield Row("G7", f"scan of {ROOTS} roots, warm, floor 2 threads", "s", a,
              b, 1.2)


def drop_caches():
    os.sync()
    DROP_CACHES.write_text("3\n")


def timed_cold(*command):
    drop_caches()
    return timed(*command)


def g8_scan_cold(bench):
    ours, floor = scan_commands(bench, 32)
    if not os.access(DROP_CACHES, os.W_OK):
        raise parts.Missing(DROP_CACHES)
    timed(*floor)
    if timed_cold(*floor) < 2 * timed(*floor):
        raise parts.Missing("a page cache that can be dropped")
    a, b = in_turn(lambda: timed_cold(*ours), lambda: timed_cold(*floor),
                   3 if QUICK else RUNS)
    yield Row("G8", f"scan of {ROOTS} roots, cold, floor 32 threads", "s", a,
              b, 1.2)


def peak_mb(*command):
    """The most memory a program had; read while it runs."""
    peak = 0
    with subprocess.Popen([str(a) for a in command]) as process:
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            match = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            peak = max(peak, int(match[1]) if match else 0)
            time.sleep(0.002)
        assert process.returncode == 0
    return peak / 1000


def g10_scan_memory(bench):
    ours = scan_commands(bench, 1)[0]
    yield Row("G10", f"scanner's memory, {ROOTS} roots", "MB",
              [peak_mb(*ours) for _ in range(RUNS)], None, 64)


class Watch(parts.Server):
    """quotadefer-scan --watch, publishing what a filter reads."""

    def __init__(self, bench, milter, tree):
        super().__init__(bench.name("watch"),
                         bench.place.dir / f"{milter.name}-watch.log")
        self.milter, self.tree = milter, tree

    def start(self):
        self.spawn(parts.SCAN, "--watch", "-c", self.milter.conf,
                   "-o", f"imapd_conf={self.tree.conf}", "-o",
                   "guard_full=100%")
        self.wait_until("it is ready", lambda: " roots=" in self.text())


def freshness(bench, what, limit, **settings):
    """On a tree of 100,000 roots, 1,000 of which change in turn."""
    tree = parts.Tree(bench.place, bench.name("changing"))
    shutil.rmtree(tree.dir / "quota")
    run(TOOLS / "maketree", tree.dir / "quota", 100_000)
    for n in range(1000):
        tree.set(f"f{n:04}", 0)
    for path in (tree.dir, tree.dir / "quota"):
        shutil.chown(path, "cyrus")
    milter = parts.Milter(bench.place, bench.name("fresh"), defer_limit=0,
                          **settings)
    watch = Watch(bench, milter, tree)
    with contextlib.ExitStack() as stack:
        stack.callback(milter.stop, signal.SIGKILL)
        milter.start()
        stack.callback(watch.stop)
        watch.start()
        results = [json.loads(run(
            TOOLS / "freshness", "-s", milter.path, "-d", tree.dir / "quota",
            "-r", 200, "-t", 5 * SECONDS).stdout) for _ in range(RUNS)]
    assert not sum(column(results, "skipped")), results
    for key, most in zip(("p50", "p99", "worst"), limit):
        yield Row("G12", f"rename to RCPT, 200/s, {what}, {key}", "ms",
                  column(results, key), None, most)


def g12_freshness(bench):
    parts.need("redis-server")
    yield from freshness(bench, "one host", (2, 10, None))
    redis = parts.Redis(bench.place, bench.name("redis"))
    try:
        redis.start()
        yield from freshness(bench, "Redis", (None, 20, None),
                             redis=redis.url)
    finally:
        redis.stop()


def republish(conf, records, *options):
    return int(run(TOOLS / "republish", "-c", conf, "-n", records,
                   *options).stdout)


def passes(milter, address):
    return milter.ctl("query", address, check=False).returncode == 0


def g13_feed(bench):
    parts.need("redis-server")
    with contextlib.ExitStack() as stack:
        redis = parts.Redis(bench.place, bench.name("redis"))
        stack.callback(redis.stop)
        redis.start()
        milter = parts.Milter(bench.place, bench.name("fed"), redis=redis.url)
        republish(milter.conf, 50_000)
        last = "u0049999@example.org"
        stack.callback(milter.stop)
        milter.start()
        milter.wait_until("it has the table",
                          lambda: not passes(milter, last))
        delays = []
        for n in range(RUNS):
            # 49,999 changes, and in the end the last mailbox is not full
            changes = republish(milter.conf, 49_999, "-k",
                                0 if n % 2 else 50_000)
            start = time.perf_counter()
            assert changes == 50_000
            milter.wait_until("the last change is there",
                              lambda: passes(milter, last))
            delays.append(time.perf_counter() - start)
            republish(milter.conf, 50_000, "-k", 0 if n % 2 else 49_999)
            milter.wait_until("it is full again",
                              lambda: not passes(milter, last))
    yield Row("G13", "50k changes, from publisher's end to milter", "s",
              delays, None, 1)


def pinging(redis, work):
    """The worst answer of Redis to another client while work() runs, in ms;
    and what work() returns."""
    with subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("redisping.py"),
             str(redis.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True) as client:
        client.stdout.readline()
        value = work()
        client.stdin.close()
        return float(client.stdout.readline()), value


def network_bytes(redis):
    stats = redis.cli("INFO", "stats")
    return [int(re.search(rf"total_net_{way}_bytes:(\d+)", stats)[1])
            for way in ("input", "output")]


def counting_bytes(redis, work):
    before = network_bytes(redis)
    work()
    return [b - a for a, b in zip(before, network_bytes(redis))]


def g14_publish(bench):
    parts.need("redis-server")
    records = ROOTS
    with contextlib.ExitStack() as stack:
        redis = parts.Redis(bench.place, bench.name("redis"))
        stack.callback(redis.stop)
        redis.start()
        conf = bench.place.dir / f"{redis.name}.conf"
        conf.write_text(f'redis = "{redis.url}"\nsource = "bench"\n')
        quiet = [pinging(redis, lambda: time.sleep(1))[0]
                 for _ in range(RUNS)]
        full = counting_bytes(redis, lambda: republish(conf, records))
        few = counting_bytes(redis, lambda: republish(
            conf, records, "-k", records // 111))
        worst = [pinging(redis, lambda n=n: republish(
            conf, records, "-k", 0 if n % 2 else records))[0]
            for n in range(RUNS)]
    yield Row("G14", f"{records} records replaced, worst other PING", "ms",
              worst, None, 5)
    yield Row("G14", "- the same with an idle Redis", "ms", quiet)
    yield Row("G14", "0.9 % changed, bytes written", "bytes", [few[0]],
              [full[0]], 0.1)
    yield Row("G14", "- with what the publisher reads back", "bytes",
              [sum(few)], [sum(full)])


def first_answer_ms(bench):
    """From the socket's being there to the first right answer."""
    server = bench.ours(MILLION)
    server.write_conf()
    file = bench.recipients(MILLION, True)
    try:
        server.spawn(parts.MILTER, "-f", "-c", server.conf, *server.options)
        while not server.path.exists():
            assert server.is_running()
        start = time.perf_counter()
        while True:
            done = run(*load_command(server, file, "-N", 1), check=False)
            if done.returncode == 0:
                return (time.perf_counter() - start) * 1000
            # the socket is bound a moment before it listens
            assert "Connection refused" in done.stderr, done.stderr
    finally:
        server.stop(signal.SIGKILL)


def g15_start(bench):
    yield Row("G15", "1M entries: socket to first answer", "ms",
              [first_answer_ms(bench) for _ in range(RUNS)], None, 50)


class Deliveries:
    """A private Cyrus with many roots, and mail going into it."""

    def __init__(self, bench):
        self.bench = bench
        self.cyrus = bench.place.start(parts.Cyrus(
            bench.place, bench.name("cyrus")))
        self.users = [f"{letter}{n}" for letter in "mail" for n in range(5)]
        for user in self.users:
            self.cyrus.create(f"user/{user}@example.org", STORAGE=10 ** 9)
        self.milter = parts.Milter(bench.place, bench.name("beside"))

    def add_roots(self, count):
        """Below Cyrus's own quota directory, beside its users'."""
        quota = self.cyrus.dir / "conf/quota"
        made = self.cyrus.dir / "made"
        run(TOOLS / "maketree", made, count)
        for directory in made.iterdir():
            there = quota / directory.name
            there.mkdir(exist_ok=True)
            shutil.chown(there, "cyrus", "mail")
            for file in directory.iterdir():
                file.rename(there / file.name)

    def deliver(self):
        """For half a second, one after the other on one connection; how
        many messages, and in what time."""
        body = "Subject: load\r\n\r\n" + ("y" * 76 + "\r\n") * 25
        with smtplib.LMTP(str(self.cyrus.lmtp)) as lmtp:
            count, start = 0, time.perf_counter()
            while (now := time.perf_counter()) < start + 0.5:
                user = self.users[count % len(self.users)]
                lmtp.sendmail("a@ext.test", [f"{user}@example.org"], body)
                count += 1
        return count, now - start

    def settled(self):
        """Without what the start of anything costs."""
        self.deliver()
        return self.deliver()

    def command(self):
        return [parts.SCAN, "-q", "-c", self.milter.conf, "-o",
                f"imapd_conf={self.cyrus.conf}"]

    def beside_scans(self):
        """One scan after the other, as often as they can be made."""
        done = threading.Event()

        def scan():
            while not done.is_set():
                run(*self.command())
        with concurrent.futures.ThreadPoolExecutor() as pool:
            scans = pool.submit(scan)
            try:
                return self.settled()
            finally:
                done.set()
                scans.result()

    def beside_watch(self):
        watch = Watch(self.bench, self.milter, self.cyrus)
        watch.start()
        try:
            return self.settled()
        finally:
            assert watch.is_running(), watch.text()
            watch.stop()


def rates(ways):
    """Messages a second in each way. What else the machine does changes from
    second to second: so in short turns, and each way is as often the first."""
    sums = [[0, 0] for _ in ways]
    for turn in range(2 * SECONDS * len(ways)):
        for n in range(len(ways)):
            way = (n + turn) % len(ways)
            sums[way] = [a + b for a, b in zip(sums[way], ways[way]())]
    return [count / seconds for count, seconds in sums]


def g19_deliveries(bench):
    """The noise is what two measurements of the same differ by."""
    parts.need(parts.CYRUS_BIN / "master", "saslpasswd2")
    load = Deliveries(bench)
    load.add_roots(100_000)
    run(*load.command())
    try:
        sets = [rates((load.settled, load.settled, load.beside_scans,
                       load.beside_watch)) for _ in range(RUNS)]
    finally:
        load.cyrus.stop()
    quiet, again, scans, watched = map(list, zip(*sets))
    noise = round(min(min(a / b, b / a) for a, b in zip(again, quiet)), 2)
    yield Row("G19", "Cyrus deliveries beside --watch", "msg/s", watched,
              quiet, noise, True)
    yield Row("G19", "- beside scans of 100,000 without pause", "msg/s",
              scans, quiet, noise, True)
    yield Row("G19", "- beside nothing, again: the noise", "msg/s", again,
              quiet)


GOALS = (
    (("G1",), g1_latency),
    (("G2",), g2_nothing_extra),
    (("G3",), g3_size),
    (("G4",), g4_throughput),
    (("G5",), g5_memory),
    (("G6",), g6_postfix),
    (("G7",), g7_scan_warm),
    (("G8",), g8_scan_cold),
    (("G10",), g10_scan_memory),
    (("G12",), g12_freshness),
    (("G13",), g13_feed),
    (("G14",), g14_publish),
    (("G15",), g15_start),
    (("G19",), g19_deliveries),
)
