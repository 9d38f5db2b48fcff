// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The token bucket behind --bwlimit. Chunks that are asked for pay in advance;
 * chunks that guest writes pushed out pay when they arrive and are never held
 * back, so the bucket may go into debt.
 */
#include "vmactl/backup.h"

/* Lets a rate be kept with the 10 ms or so by which a sleep may be late. */
#define BURST_DIVISOR		10

/*
 * Debt is forgiven beyond this many seconds' worth: a guest that writes faster
 * than the limit all night must not keep the backup from ever ending.
 */
#define MAX_DEBT_SECONDS	1

#define NS_PER_SECOND		1000000000ull

/* The longest wait to answer with; the caller has other things to look at. */
#define MAX_WAIT_MS		1000

void backup_rate_init(struct backup_rate *r, uint64_t bytes_per_second, uint32_t largest_chunk)
{
	r->bytes_per_second = bytes_per_second;
	r->burst = (int64_t)(bytes_per_second / BURST_DIVISOR);
	/* Less would never be enough for one chunk. */
	if (r->burst < largest_chunk)
		r->burst = largest_chunk;
	r->tokens = r->burst;
	r->filled_ns = 0;
}

int64_t backup_rate_allowed(struct backup_rate *r, uint64_t now_ns)
{
	double earned;

	if (!r->bytes_per_second)
		return INT64_MAX;
	if (!r->filled_ns)
		r->filled_ns = now_ns;
	earned = (double)(now_ns - r->filled_ns) * (double)r->bytes_per_second / NS_PER_SECOND;
	/* Whole bytes only, and the time that they took: what is left over is kept. */
	if (earned >= 1) {
		if (earned >= (double)(r->burst - r->tokens)) {
			r->tokens = r->burst;
			r->filled_ns = now_ns;
		} else {
			r->tokens += (int64_t)earned;
			r->filled_ns += (uint64_t)((double)(int64_t)earned * NS_PER_SECOND /
						   (double)r->bytes_per_second);
		}
	}
	return r->tokens;
}

void backup_rate_charge(struct backup_rate *r, uint64_t bytes)
{
	int64_t floor;

	if (!r->bytes_per_second)
		return;
	floor = -(int64_t)(r->bytes_per_second * MAX_DEBT_SECONDS);
	r->tokens -= (int64_t)bytes;
	if (r->tokens < floor)
		r->tokens = floor;
}

int backup_rate_wait_ms(const struct backup_rate *r, uint32_t chunk)
{
	double ms;

	if (!r->bytes_per_second || r->tokens >= chunk)
		return 0;
	ms = (double)(chunk - r->tokens) * 1000 / (double)r->bytes_per_second + 1;
	return ms > MAX_WAIT_MS ? MAX_WAIT_MS : (int)ms;
}
