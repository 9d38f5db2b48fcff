/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmlog: what libdevmapper has to say, which it would print otherwise.
 */
#ifndef DEVICES_DMLOG_H
#define DEVICES_DMLOG_H

/* Keeps libdevmapper quiet from now on and forgets what it said. One thread at a time. */
void dmlog_capture(void);

/* Its last error message, or "". */
const char *dmlog_message(void);

#endif /* DEVICES_DMLOG_H */
