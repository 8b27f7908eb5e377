# SPDX-License-Identifier: BSD-2-Clause
"""make bench: what quotadefer costs, beside the least that could do the same
on this machine. Figures of one run compare with each other only.

QUICK=1: fewer and smaller runs. ONLY="G1 G7": only these goals."""

import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import goals  # noqa: E402
import parts  # noqa: E402

PACKAGES = ("libmilter1.0.1", "liblmdb0", "libhiredis0.14", "postfix",
            "redis-server")


def cpu():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii")
    match = re.search(r"^model name\s*: (.*)$", text, re.M)
    return f"{os.cpu_count()} x {match[1] if match else platform.machine()}"


def packages():
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        check=False)
    return done.stdout.split("\n")[:-1]


def print_header():
    print(f"date      {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
    print(f"cpu       {cpu()}, load {os.getloadavg()[0]:.2f}")
    print(f"kernel    {platform.release()}")
    print(f"packages  {', '.join(packages())}")
    print(f"runs      {goals.RUNS}, ours and the floor in turn"
          f"{', QUICK' if goals.QUICK else ''}\n")
    print(f"{'goal':5}{'what':43}{'ours':>10}{'floor':>10} {'unit':8}"
          f"{'ratio [min max]':>19}  {'wanted':9} reached")


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def wanted(row):
    sign = ">=" if row.at_least else "<="
    return f"{sign} {row.limit:g}{'' if row.floor is None else 'x'}"


def print_row(row):
    """A goal is judged by the median of the pairs' ratios, or of ours."""
    ours, floor, ratio = statistics.median(row.ours), "", ""
    value = ours
    if row.floor is not None:
        ratios = [a / b if b else float(a > 0) for a, b in
                  zip(row.ours, row.floor)]
        value = statistics.median(ratios)
        floor = number(statistics.median(row.floor))
        ratio = f"{value:.2f} [{min(ratios):.2f} {max(ratios):.2f}]"
    reached = want = "-"
    if row.limit is not None:
        want = wanted(row)
        reached = "yes" if (value >= row.limit if row.at_least
                            else value <= row.limit) else "NO"
    print(f"{row.goal:5}{row.what:43}{number(ours):>10}{floor:>10} "
          f"{row.unit:8}{ratio:>19}  {want:9} {reached}", flush=True)


def main():
    parts.require()
    # a thousand connections need more descriptors than a shell gives
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    only = os.environ.get("ONLY", "").replace(",", " ").split()
    print_header()
    with parts.Place() as place:
        bench = goals.Bench(place)
        for names, measure in goals.GOALS:
            if only and not set(only) & set(names):
                continue
            try:
                for row in measure(bench):
                    if not only or row.goal in only:
                        print_row(row)
            except parts.Missing as missing:
                print(f"{' '.join(names)}: not measured: {missing}")


if __name__ == "__main__":
    main()
