#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The pages, the sample file and the programs say the same. Prints what is
# wrong; fails if anything is. The access lists of quotadefer-schema(7) are
# tried on a real redis-server, with the real programs.
# shellcheck disable=SC2317 # wait_for and trap call functions
src=${QD_TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
top=${QD_TOP_BUILDDIR:-$src}
milter=$top/milter/quotadefer-milter
scan=$top/tools/quotadefer-scan
ctl=$top/tools/quotadefer-ctl
conf_page=$src/milter/quotadefer.conf.5
schema_page=$src/milter/quotadefer-schema.7
ctl_page=$src/tools/ctl/quotadefer-ctl.8
sample=$top/contrib/quotadefer.conf.sample
export LC_ALL=C
bad=0

complain() {
	echo "docs: $*"
	bad=1
}

# need PROGRAM...: skip the test, or fail where everything must be here
need() {
	for program; do
		command -v "$program" >/dev/null && continue
		echo "docs: $program is missing"
		[ -z "$QD_REQUIRE_SERVERS" ] && [ "$bad" -eq 0 ] && exit 77
		exit 1
	done
}

# same WHAT FILE WHAT FILE: complain unless both have the same lines
same() {
	diff "$2" "$4" >diff.out && return
	complain "< $1, > $3"
	cat diff.out
}

# a page that is not installed here is no mistake
lint() {
	for page in "$src"/milter/*.[578] "$src"/tools/*/*.8; do
		mandoc -Tlint -W style "$page" >lint.out 2>&1
		grep -v -e 'referenced manual not found' \
			-e 'outdated mandoc.db' lint.out &&
			complain "$page: see above"
	done
}

# NAME=DEFAULT of every setting, without quotes; NAME=unset
printed_settings() {
	"$ctl" -c /dev/null -n -v |
		sed -e 's/ # default$//' -e 's/^# //' -e 's/ = /=/' \
			-e 's/="\(.*\)"$/=\1/' -e 's/^source=.*/source=unset/'
}

page_settings() {
	awk '
	/^\.It Ic [a-z_]+ No =/ { name = $3; next }
	name && /^Default: unset\.$/ { print name "=unset"; name = "" }
	name && /^Default:$/ {
		getline
		sub(/^\.Ql /, ""); sub(/ \.$/, "")
		if (/^"/) {
			sub(/^"/, ""); sub(/"$/, ""); gsub(/""/, "\"")
		}
		print name "=" $0; name = ""
	}
	/^\.It Ic / && name { print name "=missing" }' "$conf_page" |
		sed -e "s|=/var/lib/quotadefer|=$QD_STATEDIR|" \
			-e "s|=/run/quotadefer|=$QD_RUNDIR|"
}

sample_settings() {
	awk '
	/^# / { if (/[Uu]nset by default/) unset = 1 }
	/^$/ { unset = 0 }
	/^#[a-z_]+ = / {
		sub(/^#/, ""); sub(/ = /, "=")
		if (unset) sub(/=.*/, "=unset")
		else if (/="/) { sub(/="/, "="); sub(/"$/, "") }
		print
	}' "$sample"
}

settings() {
	printed_settings | sort >printed
	page_settings | sort >page
	sample_settings | sort >sample
	[ "$(wc -l <printed)" -gt 20 ] || complain "no settings are printed"
	same "quotadefer-ctl -n -v" printed "quotadefer.conf(5)" page
	same "quotadefer-ctl -n -v" printed "the sample file" sample
}

# Settings that only a restart brings into force: mention_fixed().
restarts() {
	sed -n 's/^		{ "\([a-z_]*\)".*/\1/p' "$src/milter/loop.c" |
		sort >fixed
	awk '/^\.It Ic [a-z_]+ No =/ { name = $3 }
	     /^Restart\.$/ { print name }' "$conf_page" | sort >page
	same "milter/loop.c: restart" fixed "quotadefer.conf(5)" page
}

help_options() {
	"$1" -h >help
	sed -n 's/.*\[-\([a-zA-Z]*\)\].*/\1/p' help | fold -w 1 | sed 's/^/-/'
	grep -oE -e '(^|[^[:alnum:]-])-(-[a-z]+(-[a-z]+)*|[a-zA-Z])' help |
		sed 's/^[^-]*//'
}

page_options() {
	grep '^\.It Fl' "$1" | grep -oE 'Fl -?[a-zA-Z]+(-[a-z]+)*' |
		sed 's/^Fl /-/'
}

# options PROGRAM PAGE
options() {
	help_options "$1" | sort -u >printed
	page_options "$2" | sort -u >page
	[ "$(wc -l <printed)" -gt 10 ] || complain "$1 -h: too few options"
	same "$1 -h" printed "$2" page
}

# check_all FILE: every program takes it
check_all() {
	"$milter" -c "$1" -n -o user="$(id -un)" ||
		complain "quotadefer-milter refuses $1"
	"$scan" -c "$1" -n -o imapd_conf="$tmp/imapd.conf" ||
		complain "quotadefer-scan refuses $1"
	"$ctl" -c "$1" -n || complain "quotadefer-ctl refuses $1"
}

sample_is_good() {
	sed 's/^#\([a-z_]* = \)/\1/' "$sample" >uncommented
	check_all "$sample" 2>/dev/null
	check_all uncommented
	"$ctl" -c uncommented -n -v | grep '# default$' &&
		complain "uncommenting has left these at their defaults"
}

# wait_for WHAT COMMAND...: until it succeeds, at most a minute
wait_for() {
	what=$1
	shift
	end=$(($(date +%s) + 60))
	until "$@" >/dev/null 2>&1; do
		if [ "$(date +%s)" -gt "$end" ]; then
			complain "after a minute still not: $what"
			return 1
		fi
		sleep 0.05
	done
}

admin() {
	redis-cli -p "$port" "$@"
}

redis_answers() {
	[ "$(admin PING)" = PONG ]
}

is_following() {
	"$ctl" -c conf status | grep -q '^feed following'
}

# verdict 0 or 1: joe passes, or is deferred
verdict() {
	"$ctl" -c conf query joe@example.org >/dev/null
	[ $? -eq "$1" ]
}

# joe USED: his quota record, of 100 KiB
joe() {
	printf '%%(S (%d 100) M (0) AS (0) NF (1) MODSEQ 1)\n' "$1" \
		>quota/j/user.joe
}

scan_as_scanner() {
	"$scan" -c conf -q -o redis_password_file="$tmp/SECRET2" \
		-o "redis=redis://quotadefer-scan@127.0.0.1:$port" ||
		complain "the scanner's access list does not do"
}

start_redis() {
	port=$(/usr/bin/python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
	{
		echo 'user default on nopass ~* &* +@all'
		grep '^user quotadefer-' "$schema_page"
	} >users.acl
	redis-server --port "$port" --bind 127.0.0.1 --save '' \
		--dir "$tmp" --aclfile "$tmp/users.acl" >redis.log &
	servers="$servers $!"
	wait_for "redis-server answers" redis_answers
}

start_milter() {
	"$milter" -f -c conf 2>milter.log &
	servers="$servers $!"
	wait_for "the feed follows" is_following
}

write_conf() {
	(umask 077 && echo SECRET1 >SECRET1 && echo SECRET2 >SECRET2)
	# the scanner becomes the owner of the tree, who is not to be root
	[ "$(id -u)" -ne 0 ] || chown nobody . SECRET1 SECRET2
	echo 'alias@example.org joe@example.org' >virtual
	cat >conf <<-EOF
	table = "$tmp/table"
	socket = "unix:$tmp/socket"
	control_socket = "$tmp/control"
	imapd_conf = "$tmp/imapd.conf"
	user = "$(id -un)"
	redis = "redis://quotadefer-milter@127.0.0.1:$port"
	redis_password_file = "$tmp/SECRET1"
	alias_maps = { "texthash:$tmp/virtual" }
	EOF
}

# The figures of the page are those that the filter has.
figures() {
	"$ctl" -c conf stats --openmetrics |
		sed -n 's/^# TYPE \([a-z_]*\).*/\1/p' >families
	[ "$(wc -l <families)" -gt 10 ] || complain "no figures"
	while read -r family; do
		grep -q "$family" "$ctl_page" ||
			complain "$ctl_page does not have $family"
	done <families
	grep -oE '(It Li|,) quotadefer_[a-z_]*' "$ctl_page" |
		sed -e 's/.* //' -e 's/_\(total\|info\)$//' | sort >page
	sort families | sed 's/_info$//' >printed
	same "stats --openmetrics" printed "$ctl_page" page
}

access_lists() {
	need redis-server redis-cli
	mkdir -p quota/j table
	start_redis || return
	write_conf
	joe 200000
	scan_as_scanner
	start_milter || return
	wait_for "a loaded record defers" verdict 1
	joe 0
	scan_as_scanner
	wait_for "a removed record passes" verdict 0
	joe 200001
	scan_as_scanner
	wait_for "a new record defers" verdict 1
	figures
	[ -z "$(admin ACL LOG)" ] || complain "Redis refused: $(admin ACL LOG)"
	"$scan" -c conf -q 2>refused
	[ $? -eq 77 ] || complain "the filter's user may write: $(cat refused)"
}

stop_servers() {
	for pid in $servers; do
		kill "$pid"
	done 2>/dev/null
	wait
	rm -rf "$tmp"
}

need mandoc
servers=
tmp=$(mktemp -d) || exit 1
trap stop_servers EXIT
trap 'exit 1' INT TERM
cd "$tmp" || exit 1
printf 'configdirectory: %s\nvirtdomains: userid\ndefaultdomain: %s\n' \
	"$tmp" example.org >imapd.conf

lint
settings
restarts
options "$milter" "$src/milter/quotadefer-milter.8"
options "$scan" "$src/tools/scan/quotadefer-scan.8"
options "$ctl" "$ctl_page"
sample_is_good
access_lists
exit "$bad"
