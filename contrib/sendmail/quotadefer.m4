divert(-1)
# SPDX-License-Identifier: BSD-2-Clause
#
# quotadefer for sendmail 8.14 and later: for sendmail.mc, before MAILER(),
# or include(`/path/to/quotadefer.m4'); then make sendmail.cf anew.
#
# In quotadefer.conf:
#   socket = "unix:/run/quotadefer/quotadefer.sock"
# sendmail connects as root, so the socket's group does not matter. Use a unix
# socket: over TCP each session takes some 40 ms longer.
#
# F= is empty: without the filter mail goes on as before (T would stop it).
# T= bounds how long a filter that hangs may hold up a client.
#
# Clients who logged in with SMTP AUTH pass: "authenticated" in
# quotadefer.conf(5).
divert(0)dnl
INPUT_MAIL_FILTER(`quotadefer', `S=local:/run/quotadefer/quotadefer.sock, F=, T=C:5s;S:5s;R:8s;E:8s')dnl
