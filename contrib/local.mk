# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += contrib/check contrib/packages contrib/try
