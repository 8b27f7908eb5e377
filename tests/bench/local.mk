# SPDX-License-Identifier: BSD-2-Clause
# make bench: our speed beside that of the least that could do the same. Not
# part of make or make check. QUICK=1 takes some minutes; ONLY=G7 selects.
bench_tools = \
	tests/bench/freshness \
	tests/bench/maketree \
	tests/bench/milterload \
	tests/bench/nullmilter \
	tests/bench/republish \
	tests/bench/scanfloor
EXTRA_PROGRAMS += $(bench_tools)
CLEANFILES += $(bench_tools)
EXTRA_DIST += tests/bench/bench.py tests/bench/goals.py \
	tests/bench/redisping.py

tests_bench_freshness_SOURCES = \
	tests/bench/freshness.c \
	tests/support/milterclient.c \
	tests/support/milterclient.h
tests_bench_freshness_LDADD =
tests_bench_maketree_SOURCES = tests/bench/maketree.c
tests_bench_maketree_LDADD =
tests_bench_milterload_SOURCES = \
	tests/bench/milterload.c \
	tests/support/milterclient.c \
	tests/support/milterclient.h
tests_bench_milterload_LDADD =
tests_bench_nullmilter_SOURCES = tests/bench/nullmilter.c
tests_bench_nullmilter_LDADD = $(MILTER_LIBS)
tests_bench_republish_SOURCES = tests/bench/republish.c
tests_bench_republish_LDADD = tools/scan/libscan.a $(QD_LIBS)
tests_bench_scanfloor_SOURCES = tests/bench/scanfloor.c
tests_bench_scanfloor_LDADD =

.PHONY: bench
bench: all $(bench_tools)
	QD_TOP_BUILDDIR='$(abs_top_builddir)' QUICK='$(QUICK)' ONLY='$(ONLY)' \
	/usr/bin/python3 -B '$(srcdir)/tests/bench/bench.py'
