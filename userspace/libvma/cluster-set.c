// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvma/cluster-set.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"

#define FANOUT		256u		/* of both levels above: 8 + 8 + 16 bits */
#define GROUP_CLUSTERS	65536u
#define GROUP_WORDS	(GROUP_CLUSTERS / 64)
#define LIST_FIRST	4u		/* entries of a group's first list */
#define LIST_MAX	512u		/* then a bitmap; 4 KiB of archive by now */

struct group {
	uint32_t count;
	uint32_t room;		/* entries of list; 0: this is a bitmap */
	union {
		uint16_t *list;	/* sorted */
		uint64_t *bits;
	};
};

struct branch {
	struct group *groups[FANOUT];
};

struct cluster_set {
	struct branch *branches[FANOUT];
	uint64_t count;
};

struct cluster_set *cluster_set_new(void)
{
	return calloc(1, sizeof(struct cluster_set));
}

void cluster_set_free(struct cluster_set *s)
{
	if (!s)
		return;
	for (unsigned int b = 0; b < FANOUT; b++) {
		if (!s->branches[b])
			continue;
		for (unsigned int g = 0; g < FANOUT; g++) {
			struct group *group = s->branches[b]->groups[g];

			if (!group)
				continue;
			if (group->room)
				free(group->list);
			else
				free(group->bits);
			free(group);
		}
		free(s->branches[b]);
	}
	free(s);
}

static struct group *group_of(const struct cluster_set *s, uint32_t cluster)
{
	const struct branch *branch = s->branches[cluster >> 24];

	return branch ? branch->groups[(cluster >> 16) & 0xff] : NULL;
}

static struct group *group_make(struct cluster_set *s, uint32_t cluster)
{
	struct branch **branch = &s->branches[cluster >> 24];
	struct group *group;

	if (!*branch)
		*branch = calloc(1, sizeof(**branch));
	if (!*branch)
		return NULL;
	group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->list = calloc(LIST_FIRST, sizeof(*group->list));
	if (!group->list) {
		free(group);
		return NULL;
	}
	group->room = LIST_FIRST;
	(*branch)->groups[(cluster >> 16) & 0xff] = group;
	return group;
}

static int group_to_bitmap(struct group *g)
{
	uint64_t *bits = calloc(GROUP_WORDS, sizeof(*bits));

	if (!bits)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->count; i++)
		bits[g->list[i] / 64] |= 1ull << (g->list[i] % 64);
	free(g->list);
	g->bits = bits;
	g->room = 0;
	return 0;
}

static int list_grow(struct group *g)
{
	uint16_t *list = realloc(g->list, 2 * g->room * sizeof(*list));

	if (!list)
		return -ENOMEM;
	g->list = list;
	g->room *= 2;
	return 0;
}

/* Index of the first entry that is not below value; most archives are in order. */
static uint32_t list_place(const struct group *g, uint16_t value)
{
	uint32_t low = 0, high = g->count;

	if (!high || g->list[high - 1] < value)
		return high;
	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (g->list[mid] < value)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int bitmap_add(struct group *g, uint16_t value)
{
	uint64_t *word = &g->bits[value / 64];
	uint64_t bit = 1ull << (value % 64);

	if (*word & bit)
		return -EEXIST;
	*word |= bit;
	g->count++;
	return 0;
}

static int list_add(struct group *g, uint16_t value)
{
	uint32_t place = list_place(g, value);
	int ret;

	if (place < g->count && g->list[place] == value)
		return -EEXIST;
	if (g->count == LIST_MAX) {
		ret = group_to_bitmap(g);
		return ret ? ret : bitmap_add(g, value);
	}
	if (g->count == g->room) {
		ret = list_grow(g);
		if (ret)
			return ret;
	}
	memmove(&g->list[place + 1], &g->list[place], (g->count - place) * sizeof(*g->list));
	g->list[place] = value;
	g->count++;
	return 0;
}

int cluster_set_add(struct cluster_set *s, uint32_t cluster)
{
	struct group *g = group_of(s, cluster);
	int ret;

	if (!g)
		g = group_make(s, cluster);
	if (!g)
		return -ENOMEM;
	ret = g->room ? list_add(g, cluster & 0xffff) : bitmap_add(g, cluster & 0xffff);
	if (!ret)
		s->count++;
	return ret;
}

uint64_t cluster_set_count(const struct cluster_set *s)
{
	return s->count;
}

/* The first value from `from` on; GROUP_CLUSTERS if there is none. */
static uint32_t bitmap_next(const struct group *g, uint32_t from, bool there)
{
	for (uint32_t word = from / 64; word < GROUP_WORDS; word++) {
		uint64_t bits = there ? g->bits[word] : ~g->bits[word];

		if (word == from / 64)
			bits &= UINT64_MAX << from % 64;
		if (bits)
			return word * 64 + __builtin_ctzll(bits);
	}
	return GROUP_CLUSTERS;
}

static uint32_t list_next(const struct group *g, uint32_t from, bool there)
{
	uint32_t place = list_place(g, from);

	if (there)
		return place < g->count ? g->list[place] : GROUP_CLUSTERS;
	while (place < g->count && g->list[place] == from) {
		place++;
		from++;
	}
	return from;
}

static uint32_t group_next(const struct group *g, uint32_t from, bool there)
{
	if (!g || !g->count)
		return there ? GROUP_CLUSTERS : from;
	if (g->count == GROUP_CLUSTERS)
		return there ? from : GROUP_CLUSTERS;
	return g->room ? list_next(g, from, there) : bitmap_next(g, from, there);
}

uint64_t cluster_set_next(const struct cluster_set *s, uint64_t from, uint64_t nr, bool there)
{
	while (from < nr && from <= UINT32_MAX) {
		uint64_t base = from - from % GROUP_CLUSTERS;
		uint32_t next;

		/* A sparse set of a huge device: 2^24 clusters at a time. */
		if (there && !s->branches[from >> 24]) {
			from = (from >> 24 << 24) + (FANOUT * (uint64_t)GROUP_CLUSTERS);
			continue;
		}
		next = group_next(group_of(s, from), from % GROUP_CLUSTERS, there);
		from = base + next;
		if (next < GROUP_CLUSTERS)
			break;
	}
	return from < nr ? from : nr;
}

uint64_t cluster_set_first_missing(const struct cluster_set *s, uint64_t nr)
{
	return cluster_set_next(s, 0, nr, false);
}

int cluster_sets_complete(struct cluster_set *const sets[256], const struct vma_header *h,
			  struct vma_error *err)
{
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &h->devices[i];
		uint64_t first, missing;

		if (!sets[i])
			continue;
		missing = dev->nr_clusters - cluster_set_count(sets[i]);
		if (!missing)
			continue;
		first = cluster_set_first_missing(sets[i], dev->nr_clusters);
		return vma_fail(err, -ENODATA,
				"incomplete: device %s lacks %" PRIu64 " of %" PRIu64
				" clusters, the first at byte %" PRIu64,
				vma_quote(dev->name), missing, dev->nr_clusters,
				first * VMA_CLUSTER_SIZE);
	}
	return 0;
}
