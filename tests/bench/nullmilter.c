/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor of every milter on this libmilter: wants RCPT and nothing else,
 * and answers CONTINUE without a look at it. With -m it asks for the events
 * and macros that quotadefer-milter asks for, to tell what those cost.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

static int as_ours;

static int ask_for_macros(SMFICTX *ctx)
{
	static char rcpt[] = "i f {auth_authen} {client_addr} {client_name} "
			     "{client_port} {mail_addr} {rcpt_addr}";
	static char data[] = "i";

	return smfi_setsymlist(ctx, SMFIM_ENVRCPT, rcpt) == MI_SUCCESS &&
	       smfi_setsymlist(ctx, SMFIM_DATA, data) == MI_SUCCESS;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions,
			     unsigned long steps, unsigned long f2,
			     unsigned long f3, unsigned long *our_actions,
			     unsigned long *our_steps, unsigned long *our_f2,
			     unsigned long *our_f3)
{
	unsigned long without = SMFIP_NOCONNECT | SMFIP_NOMAIL | SMFIP_NOBODY |
				SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOUNKNOWN;

	(void)actions;
	(void)f2;
	(void)f3;
	if (as_ours && !ask_for_macros(ctx))
		return SMFIS_REJECT;
	without |= as_ours ? SMFIP_NR_HELO : SMFIP_NOHELO | SMFIP_NODATA;
	*our_actions = as_ours ? SMFIF_SETSYMLIST : 0;
	*our_steps = without & steps;
	*our_f2 = 0;
	*our_f3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	(void)ctx;
	(void)name;
	return SMFIS_NOREPLY;
}

static sfsistat on_rcpt(SMFICTX *ctx, char **argv)
{
	(void)ctx;
	(void)argv;
	return SMFIS_CONTINUE;
}

static sfsistat on_data(SMFICTX *ctx)
{
	(void)ctx;
	return SMFIS_ACCEPT;
}

int main(int argc, char **argv)
{
	static char name[] = "nullmilter";
	struct smfiDesc description = {
		.xxfi_name = name,
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_SETSYMLIST,
		.xxfi_negotiate = on_negotiate,
		.xxfi_envrcpt = on_rcpt,
	};

	as_ours = argc == 3 && strcmp(argv[1], "-m") == 0;
	if (argc != 2 + as_ours) {
		fprintf(stderr, "usage: nullmilter [-m] unix:PATH\n");
		return 64;
	}
	if (as_ours) {
		description.xxfi_helo = on_helo;
		description.xxfi_data = on_data;
	}
	signal(SIGPIPE, SIG_IGN);
	if (smfi_register(description) != MI_SUCCESS ||
	    smfi_setconn(argv[argc - 1]) != MI_SUCCESS ||
	    smfi_opensocket(1) != MI_SUCCESS)
		return 69;
	return smfi_main() == MI_SUCCESS ? 0 : 70;
}
