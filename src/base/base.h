/* base.h - what every room may use: errors, checked sizes, arenas, files, hashes, random numbers, threads. */
#ifndef QK_BASE_H
#define QK_BASE_H

#include <stdarg.h>
#include <stdio.h>

#include "qkscope.h"

/* ---- errors (error.c) */

/* Fill `err` (NULL allowed) and return `status`, so that `return qk_fail(...)` reads as one sentence.  Control
 * characters and broken UTF-8 in the formatted text become '?': names come from files. */
qk_status qk_fail(qk_error *err, qk_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Put "prefix: " before the message of a failed call; returns `status`. */
qk_status qk_prefix(qk_error *err, qk_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
qk_status qk_out_of_memory(qk_error *err, const char *what, size_t n_bytes);

/* ---- checked size arithmetic: false on overflow, *out untouched */

static inline bool qk_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool qk_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
/* calloc with a message; n * size is checked.  *out is NULL-able void**-like: pass (void **)&p. */
qk_status qk_new_array(void *out, size_t n, size_t size, const char *what, qk_error *err);
/* As qk_new_array, but 64-byte aligned, zeroed; free() releases it. */
qk_status qk_new_floats(float **out, size_t n, const char *what, qk_error *err);
/* The same with whatever lay there: for what is written before it is read.  Both lie in large pages (2 MiB) where they
 * fill some and the system grants them: a pass is faster by a tenth (docs/SPEED.md). */
qk_status qk_new_scratch(float **out, size_t n, const char *what, qk_error *err);

/* ---- arena: many small things, one lifetime (arena.c) */

typedef struct qk_arena { struct qk_arena_block *blocks; } qk_arena; /* {0} is an empty one */
void *qk_arena_alloc(qk_arena *arena, size_t n_bytes); /* zeroed, 16-byte aligned; NULL when out of memory */
char *qk_arena_copy(qk_arena *arena, const char *text, size_t n_bytes); /* NUL-terminated copy */
void qk_arena_free(qk_arena *arena);

/* ---- files (file.c) */

/* A whole file, mapped read-only.  An empty file maps to data = "" and size = 0. */
typedef struct qk_map { const uint8_t *data; size_t size; } qk_map;
qk_status qk_map_open(qk_map *out, const char *path, qk_error *err);
void qk_map_close(qk_map *map);
/* The bytes [offset, offset + n_bytes) are wanted soon: what is not in the page cache is read meanwhile. */
void qk_map_expect(const qk_map *map, size_t offset, size_t n_bytes);
/* The pages of [offset, offset + n_bytes) are not needed for now: they leave resident memory and come back from the
 * page cache, as a rule, when they are touched again.  The bytes do not change. */
void qk_map_release(const qk_map *map, size_t offset, size_t n_bytes);
/* malloc'ed "a/b" */
char *qk_path_join(const char *folder, const char *name);
bool qk_path_exists(const char *path);
bool qk_path_is_folder(const char *path);
qk_status qk_make_folders(const char *path, qk_error *err); /* like mkdir -p */

/* A file written beside its final place (path.tmp-PID) and renamed by commit; a failed or discarded one leaves nothing.
 * commit checks ferror, flushes, fsyncs. */
typedef struct qk_output { FILE *stream; char *path, *temporary; } qk_output;
qk_status qk_output_open(qk_output *out, const char *path, qk_error *err);
qk_status qk_output_commit(qk_output *out, qk_error *err);
void qk_output_discard(qk_output *out); /* also after commit: then it does nothing */
/* The three together, for text or bytes at hand. */
qk_status qk_write_file(const char *path, const void *bytes, size_t n_bytes, qk_error *err);

/* ---- hashes (hash.c) */

typedef struct qk_sha256 { uint32_t state[8]; uint64_t n_bytes; uint8_t block[64]; } qk_sha256;
void qk_sha256_start(qk_sha256 *hash);
void qk_sha256_add(qk_sha256 *hash, const void *bytes, size_t n_bytes);
void qk_sha256_hex(char hex[65], qk_sha256 *hash);
void qk_sha256_of(char hex[65], const void *bytes, size_t n_bytes);

/* ---- random numbers (rng.c): xoshiro256** seeded by splitmix64; the same numbers on every machine */

typedef struct qk_rng { uint64_t s[4]; } qk_rng;
void qk_rng_seed(qk_rng *rng, uint64_t seed);
uint64_t qk_rng_next(qk_rng *rng);
uint64_t qk_rng_below(qk_rng *rng, uint64_t n); /* uniform in [0, n), without bias; n >= 1 */
double qk_rng_uniform(qk_rng *rng);             /* [0, 1), 53 bits */
double qk_rng_normal(qk_rng *rng);              /* N(0, 1), polar method without a cached second value */
/* The first k of a random permutation of 0..n-1, in drawn order (Fisher-Yates); picks[k] */
qk_status qk_rng_sample(uint32_t *picks, uint32_t k, uint32_t n, qk_rng *rng, qk_error *err);

/* ---- text (utf8.c) */

/* Bytes of the character that starts at s (1..4), 0 where the UTF-8 is invalid (overlong, surrogate, > U+10FFFF). */
int qk_utf8_length(const uint8_t *s, size_t n_bytes);
/* First byte offset that is not valid UTF-8; n_bytes where all is well. */
size_t qk_utf8_valid(const char *s, size_t n_bytes);
/* Decode one valid character; returns its length. */
int qk_utf8_decode(uint32_t *codepoint, const uint8_t *s);
/* Unicode White_Space */
bool qk_is_white_space(uint32_t codepoint);
/* Encode; returns 1..4. */
int qk_utf8_encode(uint8_t out[4], uint32_t codepoint);

/* ---- threads (threads.c) */

int qk_thread_count(int wanted);     /* 0 = as OpenMP says; never below 1 */
/* Once per process before parallel work: a child of fork() runs with one thread, else libgomp waits for ever. */
void qk_guard_fork(void);

#endif
