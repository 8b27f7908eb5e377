# SPDX-License-Identifier: BSD-2-Clause
# libquotadefer.a: what a decision is made of, and the table; used by all.
noinst_LIBRARIES += milter/libquotadefer.a
milter_libquotadefer_a_SOURCES = \
	milter/address.c \
	milter/alias_aliases.c \
	milter/alias_cache.c \
	milter/alias_content.c \
	milter/alias_expand.c \
	milter/alias_expand_impl.h \
	milter/alias_file.c \
	milter/alias_follow.c \
	milter/alias_hash.c \
	milter/alias_impl.h \
	milter/alias_include.c \
	milter/alias_keys.c \
	milter/alias_slurp.c \
	milter/alias_texthash.c \
	milter/alias_tokens.c \
	milter/alias_tokens.h \
	milter/aliases.c \
	milter/aliases_impl.h \
	milter/aliasmap.c \
	milter/aliastargets.c \
	milter/breaker.c \
	milter/control_client.c \
	milter/deferline.c \
	milter/error.c \
	milter/fold.c \
	milter/log.c \
	milter/logqueue.c \
	milter/metrics.c \
	milter/naming.c \
	milter/netblock.c \
	milter/notify.c \
	milter/options.c \
	milter/policy.c \
	milter/privs.c \
	milter/rcpt.c \
	milter/record.c \
	milter/redis.c \
	milter/redis_impl.h \
	milter/redis_sentinel.c \
	milter/redisurl.c \
	milter/reply.c \
	milter/rootset.c \
	milter/settings.c \
	milter/settings_file.c \
	milter/settings_impl.h \
	milter/settings_notes.c \
	milter/settings_raw.c \
	milter/settings_read.c \
	milter/settings_spec.c \
	milter/socketspec.c \
	milter/source.c \
	milter/table.c \
	milter/table_batch.c \
	milter/table_check.c \
	milter/table_env.c \
	milter/table_guard.c \
	milter/table_impl.h \
	milter/table_view.c \
	milter/template.c \
	milter/utf8.c \
	milter/value.c
# alias maps of the kind ldap:, or an error in place of them
if HAVE_LDAP
milter_libquotadefer_a_SOURCES += \
	milter/alias_ldap.c \
	milter/alias_ldap_connection.c \
	milter/alias_ldap_domain.c \
	milter/alias_ldap_expand.c \
	milter/alias_ldap_file.c \
	milter/alias_ldap_impl.h \
	milter/alias_ldap_pool.c \
	milter/alias_ldap_search.c \
	milter/alias_ldap_state.c \
	milter/alias_ldap_table.c
else
milter_libquotadefer_a_SOURCES += milter/alias_ldap_none.c
endif
QD_LIBS = milter/libquotadefer.a $(LMDB_LIBS) $(HIREDIS_LIBS) $(CONFUSE_LIBS) \
	$(ICU_LIBS) $(LDAP_LIBS)

sbin_PROGRAMS += milter/quotadefer-milter
milter_quotadefer_milter_SOURCES = \
	milter/ages.c \
	milter/callbacks.c \
	milter/control.c \
	milter/daemon.c \
	milter/feed.c \
	milter/feed_entry.c \
	milter/feed_impl.h \
	milter/feed_load.c \
	milter/feed_source.c \
	milter/listen.c \
	milter/loop.c \
	milter/main.c \
	milter/requests.c \
	milter/session.c \
	milter/signals.c \
	milter/sigwait.c
milter_quotadefer_milter_LDADD = $(QD_LIBS) $(MILTER_LIBS)

dist_man_MANS += \
	milter/quotadefer-milter.8 \
	milter/quotadefer-schema.7 \
	milter/quotadefer.conf.5
