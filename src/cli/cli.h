/* command.h - the command line: verbs, their options, what they print.  The only room that prints, exits, reads the
 * environment or catches signals.
 *
 *   main.c      verb table, help, exit codes            load.c     models and documents that a verb was given
 *   option_table.c  one table of options for all verbs  plan.c     what a study would take
 *   options.c   argv read by that table                 help.c     the table printed
 *   parse.c     numbers, sizes, lists: strict           run.c      the run folder around a study
 *   progress.c  bar, plain lines, SIGINT                manifest.c manifest.json
 *   print.c     tables on stdout                        and one file a verb
 */
#ifndef QK_CLI_H
#define QK_CLI_H

#include <time.h>

#include "base/base.h"
#include "study/study.h"

/* ---- options (options.c) */

typedef enum cli_option_id {
    OPTION_END, /* ends a verb's list */
    OPTION_HELP, OPTION_VERSION,
    OPTION_OUTPUT, OPTION_JSON, OPTION_NO_RUN, OPTION_FIGURES, OPTION_RESUME, OPTION_DRY_RUN, OPTION_QUIET,
    OPTION_VERBOSE, OPTION_CONTEXT, OPTION_NO_BOS, OPTION_THREADS, OPTION_MAX_MEM, OPTION_PRECISION, OPTION_REFERENCE,
    OPTION_QUANTIZE, OPTION_CACHE_DIR,
    OPTION_TEXTS, OPTION_SPLIT, OPTION_LIMIT, OPTION_CALIB,
    OPTION_FILE, OPTION_DECODE,
    OPTION_PROTOCOL, OPTION_STRIDE, OPTION_PER_TOKEN,
    OPTION_HOOKS, OPTION_TOLERANCE,
    OPTION_QUESTIONS, OPTION_WORLD, OPTION_CUT_LEFT, OPTION_SCORE, OPTION_FORMAT, OPTION_TEMPLATE, OPTION_KIND, OPTION_CATEGORY,
    OPTION_LAMBDA, OPTION_CRITERION, OPTION_SITE, OPTION_PRESET, OPTION_CAPTURED,
    OPTION_OP, OPTION_TENSORS, OPTION_LAYERS, OPTION_CONTROL, OPTION_SEEDS, OPTION_SEED, OPTION_TOP_K, OPTION_BOOTSTRAP,
    OPTION_PART, OPTION_FROM, OPTION_CATEGORIES, OPTION_WHOLE,
    OPTION_TOKENIZER, OPTION_VALID, OPTION_HOLD_OUT, OPTION_VALID_TOKENS,
    OPTION_STEPS, OPTION_TOKENS, OPTION_BATCH, OPTION_MICRO, OPTION_LR, OPTION_SCHEDULE, OPTION_WARMUP, OPTION_DECAY,
    OPTION_MIN_LR, OPTION_WEIGHT_DECAY, OPTION_NO_DECAY_QK, OPTION_BETA1, OPTION_BETA2, OPTION_EPSILON, OPTION_CLIP,
    OPTION_INIT_STD, OPTION_ACROSS_DOCUMENTS, OPTION_IN_ORDER, OPTION_RECOMPUTE, OPTION_SAVE_EVERY, OPTION_VALID_EVERY, OPTION_KEEP,
    OPTION_DTYPE,
    OPTION_TRACK, OPTION_TRACK_DOCUMENTS,
    OPTION_PROMPT, OPTION_PROMPT_FILE, OPTION_MAX_NEW_TOKENS, OPTION_TEMPERATURE, OPTION_TOP_P, OPTION_STOP,
    OPTION_PHASE, OPTION_IGNORE_END, OPTION_CONDITIONS, OPTION_EDIT,
    OPTION_DROP_LAYERS, OPTION_DROP_PAIRS, OPTION_GRADUAL, OPTION_GRADUAL_LAW, OPTION_QK_NORM,
    OPTION_TEMPERATURE_CONTEXT,
    OPTION_METHOD, OPTION_LENGTHS, OPTION_FIND, OPTION_HAYSTACK, OPTION_FIND_LENGTHS, OPTION_DEPTHS, OPTION_TRIALS, OPTION_ROPE_SCALE,
    OPTION_TEMPERATURE_SLOPE, OPTION_SLIDING,
    OPTION_PROBES, OPTION_PROBE_TOKENS, OPTION_PROBE_SEED, OPTION_KEY_LENGTH, OPTION_KEY_ALPHABET,
    OPTION_SHAPE, OPTION_WEIGHTS, OPTION_TESTS, OPTION_PROMPT_TOKENS, OPTION_STREAMS, OPTION_REPETITIONS,
    OPTION_MAX_LAYERS, OPTION_CSV,
    N_OPTIONS
} cli_option_id;

/* Groups that several verbs share. */
#define OPTIONS_TALK OPTION_QUIET, OPTION_VERBOSE
#define OPTIONS_TEXTS OPTION_TEXTS, OPTION_SPLIT, OPTION_LIMIT
#define OPTIONS_COMPUTE                                                                                                \
    OPTION_CONTEXT, OPTION_NO_BOS, OPTION_THREADS, OPTION_MAX_MEM, OPTION_PRECISION, OPTION_REFERENCE, OPTION_QUANTIZE,    \
        OPTION_CACHE_DIR
#define OPTIONS_RUN OPTION_OUTPUT, OPTION_JSON, OPTION_NO_RUN, OPTION_FIGURES, OPTION_RESUME, OPTION_DRY_RUN

typedef struct cli_list { const char **items; size_t n; } cli_list; /* borrows argv's strings */

/* What training takes, whatever it begins with (training.h). */
#define OPTIONS_TRAINING                                                                                               \
    OPTION_OUTPUT, OPTION_JSON, OPTION_RESUME, OPTION_DRY_RUN, OPTION_DTYPE, OPTION_KEEP, OPTION_SAVE_EVERY,           \
    OPTIONS_TEXTS, OPTION_WORLD, OPTION_VALID, OPTION_HOLD_OUT, OPTION_VALID_TOKENS, OPTION_VALID_EVERY,               \
    OPTION_CONTEXT, OPTION_NO_BOS, OPTION_ACROSS_DOCUMENTS, OPTION_IN_ORDER, OPTION_STEPS, OPTION_TOKENS,              \
    OPTION_BATCH, OPTION_LR, OPTION_SCHEDULE, OPTION_WARMUP, OPTION_DECAY, OPTION_MIN_LR, OPTION_WEIGHT_DECAY,         \
    OPTION_NO_DECAY_QK, OPTION_BETA1, OPTION_BETA2, OPTION_EPSILON, OPTION_CLIP, OPTION_SEED, OPTION_MICRO,            \
    OPTION_RECOMPUTE, OPTION_PRECISION, OPTION_REFERENCE, OPTION_THREADS, OPTION_MAX_MEM, OPTION_CACHE_DIR,            \
    OPTION_TRACK, OPTION_TRACK_DOCUMENTS, OPTION_LAMBDA, OPTION_FIGURES

/* What was asked; a verb reads only what it takes.  Defaults stand in options.c, per-verb ones in the verb. */
typedef struct cli_options {
    bool given[N_OPTIONS];
    const char *output, *cache_dir, *split, *file, *decode, *layers;
    bool help, version, json, no_run, resume, dry_run, quiet, verbose, no_bos, reference, per_token, cut_left, whole;
    bool no_decay_qk, across_documents, in_order, recompute, ignore_end;
    cli_list texts, calib, captured, hooks, questions, valid, prompts, prompt_files, stops, edits;
    const char *tokenizer, *drop_layers, *drop_pairs, *template, *category;
    uint64_t context, threads, limit, from, world, stride, seeds, seed, top_k, bootstrap, max_mem;
    uint64_t valid_tokens, steps, tokens, batch, micro, warmup, decay, save_every, valid_every, keep;
    uint64_t track, track_documents, gradual, temperature_context, max_new_tokens;
    double lambda, tolerance, temperature, top_p;
    double hold_out, learning_rate, min_lr, weight_decay, beta1, beta2, epsilon, clip, init_std;
    const qk_level *level; /* of the processor, as QKSCOPE_LEVEL says */
    int precision, criterion, site, preset, protocol, op, control, part; /* the value of the chosen row */
    int schedule, dtype, gradual_law, qk_norm, phase, score, format, kind;
    int figures, tensors, categories, conditions, quantize;                                 /* bit sets */
    int methods, find, haystack;                                                /* of context: bit sets, plain? */
    const char *lengths, *find_lengths, *depths;
    uint64_t trials;
    double rope_scale, temperature_slope;
    int probes, key_alphabet;                                                   /* of probes: bit set, value */
    const char *probe_tokens, *key_length;
    uint64_t probe_seed;
    bool sliding;
    const char *shape;                                                          /* of bench */
    int weights, tests;                                                         /* bit sets: qk_dtype, BENCH_... */
    uint64_t prompt_tokens, streams, repetitions, max_layers;
    bool csv;
} cli_options;

typedef struct cli_choice { const char *name; int value; } cli_choice; /* lists end with a NULL name */

enum { SITE_PRE, SITE_POST };
enum { OP_ZERO, OP_MEAN };
enum { CONTROL_ROPE = 100, CONTROL_NONE }; /* recalibrate's, behind those of qk_control */
enum { QK_NORM_ON_Q = 1, QK_NORM_ON_K = 2 };
enum { CONDITION_BASELINE = 1, CONDITION_MASSIVE = 2, CONDITION_MEAN = 4, CONDITION_RANDOM = 8 };
enum { BENCH_CEILINGS = 1 << 30 }; /* beside 1 << qk_bench_test */
enum { FIGURE_PNG = 1, FIGURE_PDF = 2 };

/* ---- verbs (main.c) */

typedef struct cli_command cli_command;

typedef struct cli_verb {
    const char *name;
    qk_status (*run)(cli_command *command, qk_error *err);
    const char *arguments;         /* "MODEL...", as usage shows it */
    size_t min_arguments, max_arguments;
    const cli_option_id *options;  /* ends with OPTION_END */
    const char *line;              /* what it does, one line */
    const char *details;           /* more, or NULL */
    const char *examples;          /* one a line */
} cli_verb;

/* ---- progress (progress.c) */

typedef struct cli_progress {
    bool quiet, terminal, colour;
    bool drawn;               /* a bar stands on the current line */
    char phase[80];           /* of the last tick */
    double first, done;       /* of the phase's first tick and of the last; less than that is a new phase */
    double started, shown;    /* seconds, monotonic: begin of the phase, last time something was written */
} cli_progress;

struct cli_command {
    const cli_verb *verb;
    cli_options options;
    cli_list arguments;       /* after the verb */
    int argc;
    char **argv;              /* the whole command, for the manifest */
    cli_progress progress;
    qk_arena arena;           /* lives as long as the process */
    const char *program;      /* as called */
    time_t started;
    double started_seconds;   /* monotonic */
    int output_errno;         /* why stdout could not be written, 0 while it could: only the first flush is told */
};

/* Parse argv into command->options and command->arguments (the verb is the first of these). */
qk_status cli_parse_options(cli_command *command, qk_error *err);
/* Refuse options that command->verb does not take; `verbs` (NULL-terminated) is asked who does. */
qk_status cli_check_options(const cli_command *command, const cli_verb *const *verbs, qk_error *err);
/* A preset is no longer itself beside an option that it fixes (`fixed` ends with OPTION_END; NULL fixes nothing). */
qk_status cli_check_preset(const cli_options *options, const cli_option_id *fixed, qk_error *err);
qk_status cli_check_top_k(const cli_options *options, qk_error *err); /* --top-k only with its criterion */
/* Usage, options and examples of a verb. */
void cli_print_help(const cli_command *command, const cli_verb *verb, FILE *stream);
/* Every option of the verb that its numbers depend on, with the value in force, by name; NULL when out of memory. */
json_t *cli_settings_json(const cli_command *command);
/* The word of `candidates` nearest to `word`, or NULL where none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t n);
const char *cli_option_name(cli_option_id option); /* without its dashes */
/* How a choice is called: the first row with this value. */
const char *cli_choice_name(cli_option_id option, int value);

/* ---- strict parsing (parse.c): the whole text must be the number; `what` names the option in the message */

qk_status cli_parse_count(uint64_t *out, const char *what, const char *text, uint64_t min, uint64_t max, qk_error *err);
qk_status cli_parse_number(double *out, const char *what, const char *text, double min, double max, qk_error *err);
/* "8G", "512M", "1.5G", "1000000": K, M, G, T are powers of 1024. */
qk_status cli_parse_bytes(uint64_t *out, const char *what, const char *text, qk_error *err);
/* "0-3,7" into mask[n]; `unit` is what is counted, "layer". */
qk_status cli_parse_ranges(uint8_t *mask, size_t n, const char *what, const char *unit, const char *text, qk_error *err);
/* Split at commas outside of braces into the arena; an empty piece is refused. */
qk_status cli_split_list(cli_list *out, qk_arena *arena, const char *what, const char *text, qk_error *err);

/* ---- progress and talk (progress.c) */

double cli_seconds(void); /* monotonic */
void cli_progress_start(cli_progress *progress, bool quiet);
qk_progress cli_progress_callback(cli_progress *progress);
/* Take the bar off the screen; before anything else is written. */
void cli_progress_clear(cli_progress *progress);
/* A line on stderr unless -q. */
void cli_say(cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The first SIGINT or SIGTERM makes the next tick say stop, the second ends the process at once. */
void cli_catch_signals(void);

/* ---- what a verb works on (load.c) */

typedef struct cli_models { qk_named_model *items; size_t n; const char **paths; } cli_models; /* paths borrowed */

/* Open every path in every way of --quantize, path by path, name it ("NAME@nf4") and, with `hashed`, hash its weights.
 * Of what is only planned or listed, no weight is quantised. */
qk_status cli_load_models(cli_models *out, cli_command *command, cli_list paths, bool hashed, qk_error *err);
void cli_models_free(cli_models *models);
/* What a model of this path is called: the last part that says something. */
const char *cli_model_file_name(const char *path, qk_arena *arena);
/* Where the Hugging Face libraries would look for org/name: --cache-dir, or as the environment says; NULL: nowhere. */
const char *cli_cache_folder(cli_command *command);
/* The documents of --texts, or the built-in ones; --split and --limit as given. */
qk_status cli_load_documents(qk_documents *out, cli_command *command, qk_error *err);
/* The documents of --calib, or the built-in ones that cli_load_divided takes for masks; at most `limit` of --calib. */
qk_status cli_load_calibration(qk_documents *out, cli_command *command, size_t limit, qk_error *err);
/* Documents for masks and others to measure on: --calib and --texts; what is not given comes from the built-in set,
 * which is divided so that no document is in both (alternately in each category; repetitive ones are only measured). */
qk_status cli_load_divided(qk_documents *calibration, qk_documents *evaluation, cli_command *command, qk_error *err);
/* --layers as flags of the smallest model's layers, in the command's arena; NULL = all. */
qk_status cli_choose_layers(const uint8_t **layers, cli_command *command, const cli_models *models, qk_error *err);
/* How to compute, from the options; `usual_context` stands in for -c (0 = the trained context), but is never beyond the
 * shortest trained context. */
qk_compute cli_compute(cli_command *command, const cli_models *models, size_t usual_context);

/* ---- what it would take (plan.c) */

/* What a pass over these sequences would take.  Conditions are taken to differ from the first layer on. */
qk_status cli_plan(qk_plan *plan, const qk_model *model, const qk_sequence *sequences, size_t n_sequences,
                   size_t n_conditions, bool scored, const qk_compute *compute, qk_error *err);
json_t *cli_plan_json(const qk_plan *plan); /* tokens, sweeps, weight_bytes, ..., flops */
/* {"plan": [a row of cli_plan_json with name, documents, conditions for each model]}, as a table or as JSON. */
qk_status cli_show_plan(cli_command *command, const json_t *plan, qk_error *err);
/* --dry-run: print what one pass a model over the documents under `n_conditions` takes; QK_E_BUDGET over --max-mem.
 * Without `scored` no logits are made. */
qk_status cli_print_plan(cli_command *command, const cli_models *models, qk_documents *documents, size_t n_conditions,
                         bool scored, const qk_compute *compute, qk_error *err);

/* ---- results (print.c) */

/* A number or a text of a results row; NaN and "" where it is absent or null. */
double cli_number(const json_t *row, const char *key);
const char *cli_text(const json_t *row, const char *key);
const char *cli_model_name(const json_t *results, double index); /* models[index].name */
qk_status cli_print_json(const json_t *object, qk_error *err);
/* What was printed goes out now: before lines on stderr that belong below it. */
void cli_flush(cli_command *command);

/* ---- the run around a study (run.c) */

typedef struct cli_run {
    qk_run *run;    /* NULL with --no-run */
    json_t *settings, *key, *models, *data;
    char *folder;
} cli_run;

/* Open the run folder (-o, or runs/VERB-MODEL-TIME) for these models and document sets (NULL entries are left out). */
qk_status cli_run_open(cli_run *run, cli_command *command, const cli_models *models, const qk_documents *const *sets,
                       size_t n_sets, qk_error *err);
/* Write results.json, manifest.json, figures and report; then `print` the tables, or the whole object with --json. */
qk_status cli_run_finish(cli_run *run, cli_command *command, const json_t *results,
                         qk_status (*print)(const json_t *results, bool verbose, qk_error *err), qk_error *err);
/* Free; adds to the message of an interrupted study how to go on.  Returns `status`. */
qk_status cli_run_close(cli_run *run, qk_status status, qk_error *err);

/* What the kernels run at: a level of the processor, or "reference". */
const char *cli_level_name(const cli_command *command);
/* manifest.json (docs/RESULTS.md) with the settings that the study says it used; NULL when out of memory. */
json_t *cli_manifest(const cli_command *command, const cli_run *run, const json_t *results);
/* Seconds since 1970: SOURCE_DATE_EPOCH where it is set, the clock's otherwise. */
time_t cli_now(void);

/* ---- tables (print.c) */

typedef struct cli_table {
    const char *const *heads;
    const char *alignment; /* one letter a column: 'l' or 'r' */
    size_t n_columns, n_cells, capacity;
    char **cells;          /* owned */
    bool failed;           /* out of memory: printing says so */
} cli_table;

void cli_table_start(cli_table *table, const char *const *heads, const char *alignment);
/* The next cell, row by row; control characters are shown, not sent to the terminal. */
void cli_table_add(cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number with `digits` after the point; "-" for NaN. */
void cli_table_add_number(cli_table *table, double x, int digits);
void cli_table_add_interval(cli_table *table, const json_t *pair, int digits); /* "[low, high]", "-" for null */
/* Print and free; stream NULL: only free. */
qk_status cli_table_print(cli_table *table, FILE *stream, qk_error *err);
/* Bytes as a reader likes them: "16.2 MiB". */
const char *cli_human_bytes(char text[32], double n_bytes);
const char *cli_human_count(char text[32], double n); /* "1.24 G" */

#endif
