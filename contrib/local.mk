# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += contrib/check contrib/packages contrib/try

# The sample settings, and what connects quotadefer to its surroundings.
contrib_made = \
	contrib/quotadefer.conf.sample \
	contrib/cron/quotadefer-scan \
	contrib/systemd/quotadefer-milter.service \
	contrib/systemd/quotadefer-scan.service \
	contrib/systemd/quotadefer-watch.service
contrib_sources = \
	contrib/quotadefer.conf.sample.in \
	contrib/cron/quotadefer-scan.in \
	contrib/systemd/quotadefer-milter.service.in \
	contrib/systemd/quotadefer-scan.service.in \
	contrib/systemd/quotadefer-watch.service.in
EXTRA_DIST += $(contrib_sources)
CLEANFILES += $(contrib_made)

rundir = $(runstatedir)/quotadefer

# configure would leave $${prefix} in them
$(contrib_made): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@confdir[@]|$(confdir)|g' \
		-e 's|@statedir[@]|$(statedir)|g' \
		-e 's|@rundir[@]|$(rundir)|g' $(srcdir)/$@.in > $@.tmp && \
	mv $@.tmp $@
contrib/quotadefer.conf.sample: $(srcdir)/contrib/quotadefer.conf.sample.in
contrib/cron/quotadefer-scan: $(srcdir)/contrib/cron/quotadefer-scan.in
contrib/systemd/quotadefer-milter.service: \
	$(srcdir)/contrib/systemd/quotadefer-milter.service.in
contrib/systemd/quotadefer-scan.service: \
	$(srcdir)/contrib/systemd/quotadefer-scan.service.in
contrib/systemd/quotadefer-watch.service: \
	$(srcdir)/contrib/systemd/quotadefer-watch.service.in

nodist_conf_DATA = contrib/quotadefer.conf.sample

examplesdir = $(docdir)/examples
postfix_examplesdir = $(examplesdir)/postfix
dist_postfix_examples_DATA = contrib/postfix/main.cf
sendmail_examplesdir = $(examplesdir)/sendmail
dist_sendmail_examples_DATA = contrib/sendmail/quotadefer.m4
cron_examplesdir = $(examplesdir)/cron
nodist_cron_examples_DATA = contrib/cron/quotadefer-scan

if HAVE_UNITDIR
unitdir = $(systemdsystemunitdir)
else
unitdir = $(examplesdir)/systemd
endif
nodist_unit_DATA = \
	contrib/systemd/quotadefer-milter.service \
	contrib/systemd/quotadefer-scan.service \
	contrib/systemd/quotadefer-watch.service
dist_unit_DATA = contrib/systemd/quotadefer-scan.timer

# The pages in the sources have the paths of a distribution's package; the
# installed ones have those of this build.
man_paths = \
	-e 's|/etc/quotadefer|$(confdir)|g' \
	-e 's|/var/lib/quotadefer|$(statedir)|g' \
	-e 's|/run/quotadefer/control|$(rundir)/control|g' \
	-e 's|/usr/sbin/quotadefer|$(sbindir)/quotadefer|g' \
	-e 's|/usr/share/doc/quotadefer|$(docdir)|g'

# What is there is the administrator's; what he never touched may go.
install-data-hook:
	test -e "$(DESTDIR)$(confdir)/quotadefer.conf" || \
		$(INSTALL_DATA) contrib/quotadefer.conf.sample \
			"$(DESTDIR)$(confdir)/quotadefer.conf"
	for page in $(dist_man_MANS); do \
		name=$${page##*/}; \
		installed="$(DESTDIR)$(mandir)/man$${name##*.}/$$name"; \
		sed $(man_paths) "$(srcdir)/$$page" > "$$installed" || exit; \
	done

uninstall-hook:
	! cmp -s contrib/quotadefer.conf.sample \
		"$(DESTDIR)$(confdir)/quotadefer.conf" || \
		rm -f "$(DESTDIR)$(confdir)/quotadefer.conf"
