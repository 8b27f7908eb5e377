# SPDX-License-Identifier: BSD-2-Clause
"""A client of Redis on PORT that asks PING every half millisecond, until the
end of its input; then prints how long the slowest answer took, in ms."""

import gc
import select
import socket
import sys
import time

gc.disable()
worst = 0.0
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.0005)[0]:
        start = time.perf_counter()
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"
        worst = max(worst, time.perf_counter() - start)
print(worst * 1000)
