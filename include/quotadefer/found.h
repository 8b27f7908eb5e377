/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_FOUND_H
#define QUOTADEFER_FOUND_H

/* The three answers of a look-up. Only QD_FOUND may ever defer mail. */
enum qd_found {
	QD_FOUND,
	QD_ABSENT,
	QD_ERROR
};

#endif
