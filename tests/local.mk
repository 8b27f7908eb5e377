# SPDX-License-Identifier: BSD-2-Clause
# make check: style and layering, unit, milter, then e2e with real servers.
# A test exits 77 if what it needs is not here; QD_REQUIRE_SERVERS=1 makes
# that a failure.
AM_TESTS_ENVIRONMENT = QD_TOP_BUILDDIR='$(abs_top_builddir)'; \
	QD_TOP_SRCDIR='$(abs_top_srcdir)'; \
	QD_STATEDIR='$(statedir)'; QD_RUNDIR='$(rundir)'; \
	export QD_TOP_BUILDDIR QD_TOP_SRCDIR QD_STATEDIR QD_RUNDIR;

EXTRA_DIST += tests/layering.sh tests/lsan.supp tests/tsan.supp tests/docs.sh $(E2E_TESTS) \
	tests/support/parts.py tests/support/fetch-sendmail \
	tests/support/matrix.py tests/support/oracles.py \
	tests/support/sendmail_part.py tests/support/sentinel_part.py \
	tests/support/slapd_part.py

TESTS += tests/layering.sh tests/docs.sh

UNIT_TESTS = \
	tests/unit/test_address \
	tests/unit/test_alias_cache \
	tests/unit/test_alias_expand \
	tests/unit/test_alias_text \
	tests/unit/test_aliases \
	tests/unit/test_aliastargets \
	tests/unit/test_asker \
	tests/unit/test_breaker \
	tests/unit/test_compare \
	tests/unit/test_fold \
	tests/unit/test_guard \
	tests/unit/test_imapdconf \
	tests/unit/test_log \
	tests/unit/test_naming \
	tests/unit/test_netblock \
	tests/unit/test_policy \
	tests/unit/test_publish \
	tests/unit/test_quotalegacy \
	tests/unit/test_quotarecord \
	tests/unit/test_rcpt \
	tests/unit/test_record \
	tests/unit/test_redisurl \
	tests/unit/test_reply \
	tests/unit/test_rootset \
	tests/unit/test_settings \
	tests/unit/test_settings_bad \
	tests/unit/test_socketspec \
	tests/unit/test_source \
	tests/unit/test_table \
	tests/unit/test_utf8 \
	tests/unit/test_value

if HAVE_LDAP
UNIT_TESTS += tests/unit/test_alias_ldap
endif

MILTER_TESTS = \
	tests/milter/test_control \
	tests/milter/test_daemon \
	tests/milter/test_policy \
	tests/milter/test_verdicts

# those with threads of ours in them
THREADED_TESTS = \
	$(MILTER_TESTS) \
	tests/unit/test_alias_cache \
	tests/unit/test_alias_text \
	tests/unit/test_quotalegacy \
	tests/unit/test_table \
	tests/e2e/feed.py \
	tests/e2e/ldap.py \
	tests/e2e/sentinel.py

E2E_TESTS = \
	tests/e2e/agreement.py \
	tests/e2e/alias.py \
	tests/e2e/aliascache.py \
	tests/e2e/aliastargets.py \
	tests/e2e/aliastext.py \
	tests/e2e/chain.py \
	tests/e2e/compare.py \
	tests/e2e/deliver.py \
	tests/e2e/feed.py \
	tests/e2e/ldap.py \
	tests/e2e/policy.py \
	tests/e2e/scan.py \
	tests/e2e/sendmail.py \
	tests/e2e/sentinel.py \
	tests/e2e/watch.py

if HAVE_CMOCKA
check_PROGRAMS += $(UNIT_TESTS) $(MILTER_TESTS)
check_LIBRARIES += tests/support/libsupport.a
TESTS += $(UNIT_TESTS) $(MILTER_TESTS)
endif
TESTS += $(E2E_TESTS)

if !HAVE_CMOCKA
check-local:
	@echo "cmocka is missing: apt-get install libcmocka-dev" >&2; exit 1
endif

tests_support_libsupport_a_SOURCES = \
	tests/support/check.h \
	tests/support/filter.c \
	tests/support/filter.h \
	tests/support/milterclient.c \
	tests/support/milterclient.h \
	tests/support/scratch.c \
	tests/support/scratch.h
AM_CPPFLAGS += -I$(top_srcdir)/tests/support

# asks alias maps, for comparison with postmap -q
check_PROGRAMS += tests/support/aliasquery
tests_support_aliasquery_SOURCES = tests/support/aliasquery.c
tests_support_aliasquery_LDADD = $(QD_LIBS)

# what is in a text of a virtual(5) map, for comparison with cleanup(8)
check_PROGRAMS += tests/support/aliastargets
tests_support_aliastargets_SOURCES = tests/support/aliastargets.c
tests_support_aliastargets_LDADD = $(QD_LIBS)

# says where addresses lead to, for comparison with Postfix
check_PROGRAMS += tests/support/aliasexpand
tests_support_aliasexpand_SOURCES = tests/support/aliasexpand.c
tests_support_aliasexpand_LDADD = $(QD_LIBS)

# for contrib/try
EXTRA_PROGRAMS += tests/support/smtptalk
tests_support_smtptalk_SOURCES = \
	tests/support/milterclient.c \
	tests/support/milterclient.h \
	tests/support/smtptalk.c
tests_support_smtptalk_LDADD =
CLEANFILES += tests/support/smtptalk
# for all programs that do not say otherwise: the tests
LDADD = tests/support/libsupport.a tools/ctl/libctl.a tools/scan/libscan.a \
	$(QD_LIBS) $(CMOCKA_LIBS)

