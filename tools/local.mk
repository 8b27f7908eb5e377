# SPDX-License-Identifier: BSD-2-Clause
# Everything of the scanner but its main(), so that tests can have it.
noinst_LIBRARIES += tools/scan/libscan.a
tools_scan_libscan_a_SOURCES = \
	tools/scan/changes.c \
	tools/scan/crew.c \
	tools/scan/findings.c \
	tools/scan/guard.c \
	tools/scan/imapdconf.c \
	tools/scan/load.c \
	tools/scan/owner.c \
	tools/scan/progress.c \
	tools/scan/publish.c \
	tools/scan/publish_lmdb.c \
	tools/scan/publish_redis.c \
	tools/scan/publish_redis_impl.h \
	tools/scan/publish_redis_holder.c \
	tools/scan/publish_redis_load.c \
	tools/scan/publish_redis_write.c \
	tools/scan/quotadb.c \
	tools/scan/quotalegacy.c \
	tools/scan/quotalegacy_impl.h \
	tools/scan/quotalegacy_some.c \
	tools/scan/quotalegacy_walk.c \
	tools/scan/quotarecord.c \
	tools/scan/quotastore.c

sbin_PROGRAMS += tools/quotadefer-scan
tools_quotadefer_scan_SOURCES = \
	tools/scan/main.c \
	tools/scan/report.c \
	tools/scan/run.c \
	tools/scan/run.h \
	tools/scan/some.c \
	tools/scan/watch.c
tools_quotadefer_scan_LDADD = tools/scan/libscan.a $(QD_LIBS)

# The parts of quotadefer-ctl that tests have too.
noinst_LIBRARIES += tools/ctl/libctl.a
tools_ctl_libctl_a_SOURCES = \
	tools/ctl/asker.c \
	tools/ctl/asker.h \
	tools/ctl/compare.h \
	tools/ctl/compare_judge.c \
	tools/ctl/compare_names.c \
	tools/ctl/imap.c \
	tools/ctl/imap_parse.c \
	tools/ctl/link.c \
	tools/ctl/link.h \
	tools/ctl/lmtp.c \
	tools/ctl/smmap.c

sbin_PROGRAMS += tools/quotadefer-ctl
tools_quotadefer_ctl_SOURCES = \
	tools/ctl/common.c \
	tools/ctl/compare.c \
	tools/ctl/compare_all.c \
	tools/ctl/compare_report.c \
	tools/ctl/compare_roots.c \
	tools/ctl/ctl.h \
	tools/ctl/daemon.c \
	tools/ctl/list.c \
	tools/ctl/main.c \
	tools/ctl/query.c \
	tools/ctl/steps.c \
	tools/ctl/steps.h
tools_quotadefer_ctl_LDADD = tools/ctl/libctl.a tools/scan/libscan.a \
	$(QD_LIBS) $(JANSSON_LIBS)

dist_man_MANS += \
	tools/ctl/quotadefer-ctl.8 \
	tools/scan/quotadefer-scan.8
