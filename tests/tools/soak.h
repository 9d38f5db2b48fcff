/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * soak: what its parts share.
 *
 *	guest load -> soakN (vmabackup) -> soak-baseN (linear) -> --origin
 *			    \-> soak-fleeceN (linear) -> --fleece
 *
 * The parent makes the devices, keeps the guest load running in rounds and judges what
 * each round has left.  Actors are processes of their own, for libdevmapper is not made
 * for threads, and one that hangs can be named.  What they share is in one mapping.
 */
#ifndef SOAK_H
#define SOAK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NR_DISKS	2
#define SECTORS_MIB	2048u
/* The guest writes so much of each disk; what is beyond comes and goes with resizes. */
#define GUEST_MIB	24u
#define GUEST_SECTORS	(GUEST_MIB * SECTORS_MIB)
/* Archives and images of a round, in memory until they are judged. */
#define MAX_KEPT	10
/*
 * An actor or a process that takes longer hangs.  Far beyond the longest cbw_timeout: an
 * emulated machine with the debug kernel, on a busy builder, gets a tenth of a processor.
 */
#define HANG_SECONDS	600

/* What happened, in the order of printing. */
#define COUNTS(X) \
	X(SUSPENDS, "suspends") \
	X(NOFLUSH, "suspends without flush") \
	X(RELOADS, "reloads by our own table") \
	X(FOREIGN, "reloads by another target") \
	X(RESIZES, "resizes") \
	X(TOO_SMALL, "origins made too small") \
	X(ORIGIN_HANGS, "hangs of an origin") \
	X(FLEECE_ERRORS, "failures of a fleece device") \
	X(FLEECE_WRITE_ERRORS, "failures of its writes only") \
	X(FLEECE_SLOW, "slow fleece devices") \
	X(FLEECE_HANGS, "hangs of a fleece device") \
	X(BACKUPS, "backups begun") \
	X(BACKUPS_OK, "backups complete") \
	X(BACKUPS_CHECKED, "archives judged") \
	X(KILLS, "kills of vmactl") \
	X(STOPS, "stops of vmactl") \
	X(INTERRUPTED, "backups interrupted") \
	X(REFUSED, "backups refused") \
	X(BROKEN, "backups broken") \
	X(ARMS, "disks armed by message") \
	X(ARMS_REFUSED, "arms refused") \
	X(MESSAGES, "messages out of turn") \
	X(VIEWS, "views read in full") \
	X(VIEWS_CHECKED, "instants of views judged") \
	X(VIEWS_BROKEN, "views broken") \
	X(CHUNKS_RING, "chunks of guests by ring") \
	X(CHUNKS_SPILLED, "chunks of guests by fleece") \
	X(CHUNKS_REFETCHED, "chunks back from fleece") \
	X(CHUNKS_FETCHED, "chunks by fetch") \
	X(WRITES_FAILED, "guest writes failed by policy") \
	X(DISCARDS_DROPPED, "discards dropped") \
	X(GUEST_WRITES, "guest writes") \
	X(GUEST_RETRIES, "guest writes repeated") \
	X(ROUNDS, "rounds")

enum count {
#define X(id, text) N_##id,
	COUNTS(X)
#undef X
	NR_COUNTS
};

enum {
	ACTOR_BACKUP, ACTOR_BACKUP2, ACTOR_VIEW, ACTOR_DISTURB, ACTOR_FLEECE, ACTOR_MESSAGES,
	NR_ACTORS
};

/* Different ways in which backups end badly. */
#define MAX_REASONS	32

struct kept {
	char path[128];		/* an archive, or the image of view 0; ".1" of view 1 */
	unsigned int disks;	/* a bit each */
	bool view;
};

struct shared {
	_Atomic bool stop;
	_Atomic uint64_t count[NR_COUNTS];
	struct {
		char doing[96];
		_Atomic uint64_t since;		/* ns; 0: nothing that may hang */
		_Atomic int child;		/* a program that it waits for, or 0 */
	} actor[NR_ACTORS];
	pthread_mutex_t disk_lock[NR_DISKS];
	/* Only the disturber changes these. */
	_Atomic uint64_t sectors[NR_DISKS];
	/* By the viewer: what ends an instant stays away, or hardly any view is read in full. */
	_Atomic bool calm[NR_DISKS];
	pthread_mutex_t lock;			/* the rest */
	char reason[MAX_REASONS][64];
	uint64_t reason_count[MAX_REASONS];
	struct kept kept[MAX_KEPT];
	unsigned int nr_kept;
	unsigned int problems;
};

struct config {
	const char *vmactl, *guestload, *vmaread, *work;
	const char *origin[NR_DISKS], *fleece[NR_DISKS];
	uint64_t max_sectors[NR_DISKS];		/* of the origin */
	uint64_t fleece_sectors[NR_DISKS];
	uint64_t seed;
	uint64_t seconds;
};

extern struct shared *shared;
extern struct config config;

/* soak.c: what all use */
uint64_t now_ns(void);
void sleep_ms(uint64_t ms);
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...);
/* Something that must not be: told at once, and the soak will fail. */
void __attribute__((format(printf, 1, 2))) problem(const char *fmt, ...);
void count(enum count n, uint64_t by);
void __attribute__((format(printf, 1, 2))) count_reason(const char *fmt, ...);
uint64_t rnd(void);			/* of this process */
uint64_t below(uint64_t n);
bool percent(unsigned int p);
void __attribute__((format(printf, 2, 3))) doing(int actor, const char *fmt, ...);
void idle(int actor);
/* A place among what the round keeps; false: there is none. */
bool keep(const struct kept *k);
/* Runs a program with its output in a file. Its pid. */
int start(const char *const argv[], const char *output);

/* soak-dm.c: 0 or a negative errno */
void dm_quiet(void);
int dm_make(const char *name, uint64_t sectors, const char *target, const char *params, bool ro);
int dm_load(const char *name, uint64_t sectors, const char *target, const char *params);
int dm_suspend(const char *name, bool noflush);
int dm_resume(const char *name, bool noflush);
int dm_remove(const char *name);
bool dm_is_suspended(const char *name);
int dm_message(const char *name, const char *message);
int dm_status(const char *name, char *line, size_t len);
/* The number after " KEY " in a status line; UINT64_MAX if there is none. */
uint64_t status_number(const char *line, const char *key);

/* soak-judge.c */
void judge_init(void);
int load_start(bool first);		/* its pid */
void load_stop(int pid);
void judge(const struct kept *k, bool structure);	/* and remove it */

/* The actors: until shared->stop. Each leaves the devices as it found them. */
void act_backup(int actor);
void act_view(int actor);
void act_disturb(int actor);
void act_fleece(int actor);
void act_messages(int actor);
void disk_name(char *name, const char *kind, unsigned int disk);	/* at least 24 bytes */
void our_params(char *params, size_t len, unsigned int disk, bool plain);

#endif
