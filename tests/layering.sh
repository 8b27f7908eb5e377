#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Dependencies point one way, and each foreign library is known to its own
# files only. Prints what is wrong; fails if anything is.
cd "${QD_TOP_SRCDIR:-$(dirname "$0")/..}" || exit 1
bad=0

complain() {
	echo "layering: $*"
	bad=1
}

# only HEADER FILE...: no other source may include it
only() {
	header=$1
	shift
	for file in $(grep -l "#include <$header>" milter/*.[ch] tools/*/*.[ch] \
			include/quotadefer/*.h); do
		case " $* " in
		*" $file "*) ;;
		*) complain "$file includes <$header>" ;;
		esac
	done
	for file; do
		[ -f "$file" ] || complain "$file is allowed <$header> but gone"
	done
}

only libmilter/mfapi.h milter/callbacks.c
only lmdb.h milter/table_impl.h
only confuse.h milter/settings_file.c
only hiredis/hiredis.h milter/redis.c milter/feed.c milter/feed_entry.c \
	milter/feed_load.c milter/feed_source.c milter/redis_sentinel.c \
	tools/scan/publish_redis.c tools/scan/publish_redis_load.c
only jansson.h tools/ctl/compare_report.c tools/ctl/daemon.c \
	tools/ctl/list.c tools/ctl/query.c tools/ctl/steps.c tools/ctl/steps.h
only ldap.h milter/alias_ldap_connection.c milter/alias_ldap_search.c
only uthash.h milter/alias_cache.c milter/alias_content.c milter/alias_hash.c \
	milter/alias_include.c
only utlist.h milter/alias_cache.c
only unicode/ucasemap.h milter/fold.c

# pure MODULE...: no socket, clock, log, file or process
for module in address naming record policy reply utf8 value source rcpt \
		rootset fold aliastargets breaker netblock template; do
	if grep -nE '#include <(sys/socket|sys/stat|time|syslog|unistd|fcntl|poll|signal|pthread)\.h>|quotadefer/log\.h' \
		milter/$module.c include/quotadefer/$module.h; then
		complain "milter/$module.c must be pure"
	fi
done

# the daemon's own modules are not for the library or the tools
for header in ages callbacks control daemon feed listen loop requests session; do
	for file in $(grep -l "quotadefer/$header.h" milter/*.c tools/*/*.[ch])
	do
		case $file in
		milter/ages.c|milter/callbacks.c|milter/control.c) ;;
		milter/daemon.c|milter/feed*.c|milter/listen.c) ;;
		milter/loop.c|milter/main.c|milter/requests.c) ;;
		milter/session.c) ;;
		milter/control_client.c|tools/ctl/daemon.c|tools/ctl/query.c)
			[ $header = control ] ||
				complain "$file includes $header.h" ;;
		*) complain "$file includes $header.h" ;;
		esac
	done
done

# the decision knows no MTA, no Redis and no scanner
for file in milter/rcpt.c milter/policy.c milter/reply.c milter/naming.c \
		milter/address.c milter/record.c milter/table*.c; do
	if grep -nE 'quotadefer/(callbacks|daemon|feed|redis|loop|control|metrics|publish|quotastore)\.h' \
		"$file"; then
		complain "$file reaches up"
	fi
done

# the library knows nothing of the tools
for header in changes crew findings guard imapdconf load progress publish quotadb \
		quotalegacy quotarecord quotastore; do
	grep -l "quotadefer/$header.h" milter/*.[ch] | while read -r file; do
		echo "$file includes $header.h"
	done | grep . && complain "milter/ includes $header.h"
done

# private headers stay with their module
for impl in alias alias_ldap table settings feed redis; do
	for file in $(grep -lE "\"${impl}_(impl|tokens)\.h" milter/*.c tools/*/*.c); do
		case $file in
		milter/$impl*.c) ;;
		*) complain "$file includes ${impl}_impl.h" ;;
		esac
	done
done

for file in $(grep -lE '"alias(es|_expand)_impl.h"' milter/*.c tools/*/*.c); do
	case $file in
	milter/alias_cache.c|milter/alias_expand.c|milter/alias_follow.c) ;;
	milter/alias_hash.c|milter/alias_keys.c|milter/aliases.c) ;;
	*) complain "$file includes a header of the aliases" ;;
	esac
done

grep -nE '"(ctl|run|quotalegacy_impl)\.h"' milter/*.[ch] \
	include/quotadefer/*.h && complain "milter/ includes a tool's header"

exit $bad
