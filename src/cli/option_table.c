/* option_table.c - the table of options.  An option means the same in every verb; each verb lists which it takes. */
#include "cli/option_table.h"

#include "cli/probing.h"
#include "model/scaling.h"
#include "study/bench.h"
#include "text/world.h"
#include "train/drope.h"

static const cli_choice precisions[] = {
    { "auto", QK_PRECISION_AUTO },
    { "f32", QK_PRECISION_F32 },
    { "bf16", QK_PRECISION_BF16 },
    { NULL, 0 },
};
static const cli_choice quantizations[] = {
    { "none", 1 << QK_QUANTIZE_NONE },
    { "nf4", 1 << QK_QUANTIZE_NF4 },
    { "q8_0", 1 << QK_QUANTIZE_Q8_0 },
    { NULL, 0 },
};
static const cli_choice criteria[] = {
    { "layer-mean", QK_CRITERION_LAYER_MEAN }, { "head-mean", QK_CRITERION_HEAD_MEAN }, { "top-k", QK_CRITERION_TOP_K },
    { "africa", QK_CRITERION_LAYER_MEAN },     { "jin", QK_CRITERION_TOP_K },           { NULL, 0 },
};
static const cli_choice sites[] = { { "pre", SITE_PRE }, { "post", SITE_POST }, { NULL, 0 } };
static const cli_choice presets[] = { { "africa", QK_PRESET_AFRICA }, { "jin", QK_PRESET_JIN }, { NULL, 0 } };
static const cli_choice protocols[] = {
    { "hf", QK_PPL_HF },
    { "strided", QK_PPL_STRIDED },
    { "llama.cpp", QK_PPL_LLAMA_CPP },
    { NULL, 0 },
};
static const cli_choice ops[] = {
    { "zero", OP_ZERO }, { "mean", OP_MEAN }, { "set_zero", OP_ZERO }, { "set_mean", OP_MEAN }, { NULL, 0 },
};
static const cli_choice controls[] = {
    { "excluding", QK_CONTROL_EXCLUDING },
    { "uniform", QK_CONTROL_UNIFORM },
    { "same-head", QK_CONTROL_SAME_HEAD },
    { "rope", CONTROL_ROPE },
    { NULL, 0 },
};
static const cli_choice norm_places[] = {
    { "q", QK_NORM_ON_Q }, { "k", QK_NORM_ON_K }, { "qk", QK_NORM_ON_Q | QK_NORM_ON_K }, { NULL, 0 },
};
static const cli_choice figure_formats[] = { { "png", FIGURE_PNG }, { "pdf", FIGURE_PDF }, { NULL, 0 } };
static const cli_choice tensors[] = {
    { "q", 1 << QK_TENSOR_Q },
    { "k", 1 << QK_TENSOR_K },
    { "v", 1 << QK_TENSOR_V },
    { NULL, 0 },
};

static const cli_choice parts[] = {
    { "train", QK_SPLIT_TRAIN }, { "validation", QK_SPLIT_VALIDATION }, { "test", QK_SPLIT_TEST }, { NULL, 0 },
};
static const cli_choice categories[] = {
    { "fact", 1 << QK_QUESTION_FACT },
    { "pass_key", 1 << QK_QUESTION_PASS_KEY },
    { "key_value", 1 << QK_QUESTION_KEY_VALUE },
    { "sum", 1 << QK_QUESTION_SUM },
    { "order", 1 << QK_QUESTION_ORDER },
    { "sentiment", 1 << QK_QUESTION_SENTIMENT },
    { "counterfact", 1 << QK_QUESTION_COUNTERFACT },
    { NULL, 0 },
};

static const cli_choice formats[] = {
    { "prompt", 0 }, { "statements", 1 }, { "yes-no", 2 }, { "question", 3 }, { "gsm8k", 4 },
    { "choices", 5 }, { "aqua", 6 },      { "imdb", 7 },   { NULL, 0 },
};
static const cli_choice kinds[] = {
    { "parametric", QK_KIND_PARAMETRIC }, { "contextual", QK_KIND_CONTEXTUAL }, { NULL, 0 },
};

static const cli_choice scorings[] = {
    { "exact", QK_SCORE_EXACT },
    { "choice", QK_SCORE_CHOICE },
    { "generated", QK_SCORE_GENERATED },
    { "first-integer", QK_SCORE_INTEGER },
    { "contains", QK_SCORE_CONTAINS },
    { NULL, 0 },
};

static const cli_choice methods[] = {
    { "none", 1 << QK_METHOD_NONE },
    { "crop", 1 << QK_METHOD_CROP },
    { "linear", 1 << QK_METHOD_LINEAR },
    { "ntk", 1 << QK_METHOD_NTK },
    { "ntk-parts", 1 << QK_METHOD_NTK_PARTS },
    { "dynamic", 1 << QK_METHOD_DYNAMIC },
    { "yarn", 1 << QK_METHOD_YARN },
    { "llama3", 1 << QK_METHOD_LLAMA3 },
    { "longrope", 1 << QK_METHOD_LONGROPE },
    { "temperature", 1 << QK_METHOD_TEMPERATURE },
    { "pi", 1 << QK_METHOD_LINEAR },
    { NULL, 0 },
};
static const cli_choice finds[] = {
    { "pass_key", 1 << QK_TASK_PASS_KEY }, { "pass_keys", 1 << QK_TASK_PASS_KEYS }, { "needle", 1 << QK_TASK_NEEDLE },
    { "nothing", 0 }, { NULL, 0 },
};
static const cli_choice haystacks[] = { { "world", 0 }, { "plain", 1 }, { NULL, 0 } };

static const cli_choice probes[] = {
#define X(id, name, doc) { name, 1 << QK_PROBE_##id },
    QK_PROBE_KINDS(X)
#undef X
    { "jin", 1 << QK_PROBE_JIN_128 | 1 << QK_PROBE_JIN_256 | 1 << QK_PROBE_JIN_1024 },
    { "ruler", 1 << QK_PROBE_NIAH_NOISE | 1 << QK_PROBE_NIAH | 1 << QK_PROBE_NIAH_MULTIKEY |
                   1 << QK_PROBE_NIAH_MULTIVALUE | 1 << QK_PROBE_NIAH_MULTIQUERY },
    { "all", CLI_ALL_PROBES },
    { NULL, 0 },
};
static const cli_choice alphabets[] = {
    { "digits", QK_ALPHABET_DIGITS }, { "letters", QK_ALPHABET_LETTERS }, { "mixed", QK_ALPHABET_MIXED }, { NULL, 0 },
};

static const cli_choice schedules[] = {
    { "cosine", QK_SCHEDULE_COSINE },
    { "constant", QK_SCHEDULE_CONSTANT },
    { "wsd", QK_SCHEDULE_WSD },
    { NULL, 0 },
};
static const cli_choice gradual_laws[] = {
    { "linear", QK_GRADUAL_LINEAR }, { "cubic", QK_GRADUAL_CUBIC }, { NULL, 0 },
};
static const cli_choice phases[] = { { "all", QK_PHASE_ALL }, { "prefill", QK_PHASE_PREFILL }, { NULL, 0 } };
static const cli_choice conditions[] = {
    { "baseline", CONDITION_BASELINE },
    { "massive", CONDITION_MASSIVE },
    { "mean", CONDITION_MEAN },
    { "random", CONDITION_RANDOM },
    { NULL, 0 },
};
static const cli_choice dtypes[] = { { "f32", QK_DTYPE_F32 }, { "bf16", QK_DTYPE_BF16 }, { NULL, 0 } };

static const cli_choice weights[] = {
    { "f32", 1 << QK_DTYPE_F32 },   { "bf16", 1 << QK_DTYPE_BF16 }, { "f16", 1 << QK_DTYPE_F16 },
    { "q8_0", 1 << QK_DTYPE_Q8_0 }, { "q4_0", 1 << QK_DTYPE_Q4_0 }, { "nf4", 1 << QK_DTYPE_NF4 },
    { NULL, 0 },
};
static const cli_choice tests[] = {
    { "ceilings", BENCH_CEILINGS },
#define X(id, name, doc) { name, 1 << QK_BENCH_##id },
    QK_BENCH_TESTS(X)
#undef X
    { NULL, 0 },
};

#define MATTERS .matters = true,
#define FLAG(field) .kind = KIND_FLAG, .offset = offsetof(cli_options, field)
#define TEXT(field) .kind = KIND_TEXT, .offset = offsetof(cli_options, field)
#define LIST(field) .kind = KIND_LIST, .offset = offsetof(cli_options, field)
#define BYTES(field) .kind = KIND_BYTES, .offset = offsetof(cli_options, field)
#define COUNT(field, low, high) .kind = KIND_COUNT, .offset = offsetof(cli_options, field), .min = (low), .max = (high)
#define NUMBER(field, low, high)                                                                                       \
    .kind = KIND_NUMBER, .offset = offsetof(cli_options, field), .min = (low), .max = (high)
#define CHOICE(field, rows) .kind = KIND_CHOICE, .offset = offsetof(cli_options, field), .choices = (rows)
#define SET(field, rows) .kind = KIND_SET, .offset = offsetof(cli_options, field), .choices = (rows)

const cli_option_row cli_option_table[N_OPTIONS] = {
    [OPTION_HELP] = { "help", NULL, 'h', GROUP_TALK, FLAG(help), .doc = "print this help" },
    [OPTION_VERSION] = { "version", NULL, 'V', GROUP_TALK, FLAG(version), .doc = "print the version" },
    [OPTION_OUTPUT] = { "output", "PATH", 'o', GROUP_RESULT, TEXT(output),
                        .doc = "where the result goes (a study: its run folder)" },
    [OPTION_JSON] = { "json", NULL, 0, GROUP_RESULT, FLAG(json),
                      .doc = "print the results object on stdout and nothing else there" },
    [OPTION_NO_RUN] = { "no-run", NULL, 0, GROUP_RESULT, FLAG(no_run), .doc = "leave no run folder" },
    [OPTION_FIGURES] = { "figures", "LIST", 0, GROUP_RESULT, SET(figures, figure_formats),
                         .doc = "png,pdf: beside the SVG figures" },
    [OPTION_RESUME] = { "resume", NULL, 0, GROUP_RESULT, FLAG(resume),
                        .doc = "continue the interrupted run in the folder of -o" },
    [OPTION_DRY_RUN] = { "dry-run", NULL, 0, GROUP_RESULT, FLAG(dry_run),
                         .doc = "print what it would take and do no work" },
    [OPTION_QUIET] = { "quiet", NULL, 'q', GROUP_TALK, FLAG(quiet), .doc = "no progress, no notes" },
    [OPTION_VERBOSE] = { "verbose", NULL, 'v', GROUP_TALK, FLAG(verbose), .doc = "say more" },
    [OPTION_CONTEXT] = { "context", "N", 'c', GROUP_DOCUMENTS, MATTERS COUNT(context, 2, 1 << 30),
                         .aliases = { "ctx-size" },
                         .doc = "cut documents to N tokens (the trained context; massive, disrupt: at most 512; tasks: "
                                "longest question); generate: of prompt and answer together" },
    [OPTION_NO_BOS] = { "no-bos", NULL, 0, GROUP_DOCUMENTS, MATTERS FLAG(no_bos),
                        .doc = "no beginning-of-sequence token" },
    [OPTION_THREADS] = { "threads", "N", 't', GROUP_COMPUTE, COUNT(threads, 1, 4096),
                         .doc = "threads (as OpenMP says)" },
    [OPTION_MAX_MEM] = { "max-mem", "SIZE", 0, GROUP_COMPUTE, BYTES(max_mem),
                         .doc = "work within SIZE bytes (8G, 512M), or exit 4" },
    [OPTION_PRECISION] = { "precision", "P", 0, GROUP_COMPUTE, MATTERS CHOICE(precision, precisions),
                           .doc = "auto, f32 or bf16 (auto)" },
    [OPTION_REFERENCE] = { "reference", NULL, 0, GROUP_COMPUTE, MATTERS FLAG(reference),
                           .doc = "the plain kernels instead of the fast ones" },
    [OPTION_QUANTIZE] = { "quantize", "LIST", 0, GROUP_COMPUTE, MATTERS SET(quantize, quantizations),
                          .doc = "none, nf4 or q8_0: weights of the layers in 4 or 8 bits, rounded while loading; "
                                 "several run a study on each model in each way, such as none,nf4 (none)" },
    [OPTION_CACHE_DIR] = { "cache-dir", "DIR", 0, GROUP_COMPUTE, TEXT(cache_dir),
                           .doc = "Hugging Face cache to find org/name in ($HF_HUB_CACHE, $HF_HOME/hub, ...)" },
    [OPTION_TEXTS] = { "texts", "PATH", 0, GROUP_DOCUMENTS, LIST(texts),
                       .doc = "documents: .txt, .jsonl or a folder; repeatable (built-in set)" },
    [OPTION_SPLIT] = { "split", "STRING", 0, GROUP_DOCUMENTS, TEXT(split),
                       .doc = "a .txt holds many documents with STRING between them" },
    [OPTION_LIMIT] = { "limit", "N", 'L', GROUP_DOCUMENTS, COUNT(limit, 1, 0),
                       .doc = "at most N documents (tasks, probes: questions of each category; context: texts, 2; "
                              "bench: 10)" },
    [OPTION_CALIB] = { "calib", "PATH", 0, GROUP_DOCUMENTS, LIST(calib),
                       .doc = "documents that the masks are found on, or the temperature is fitted on; repeatable" },
    [OPTION_FILE] = { "file", "PATH", 'f', GROUP_DOCUMENTS, TEXT(file), .doc = "read the text from a file" },
    [OPTION_DECODE] = { "decode", "IDS", 0, GROUP_DOCUMENTS, TEXT(decode),
                        .doc = "print the text of token ids such as 1,403,407" },
    [OPTION_PROTOCOL] = { "protocol", "P", 0, GROUP_QUESTION, MATTERS CHOICE(protocol, protocols),
                          .aliases = { "ppl-mode" }, .doc = "hf, strided or llama.cpp (hf)" },
    [OPTION_STRIDE] = { "stride", "N", 0, GROUP_QUESTION, MATTERS COUNT(stride, 1, 1 << 30),
                        .aliases = { "ppl-stride" }, .doc = "tokens that a window moves (half of it; crop: a quarter)" },
    [OPTION_PER_TOKEN] = { "per-token", NULL, 0, GROUP_RESULT, FLAG(per_token), .doc = "the loss of every token too" },
    [OPTION_QUESTIONS] = { "questions", "FILE", 0, GROUP_DOCUMENTS, LIST(questions),
                           .doc = "questions: .jsonl, .json or .csv; repeatable" },
    [OPTION_FORMAT] = { "format", "FORM", 0, GROUP_DOCUMENTS, MATTERS CHOICE(format, formats),
                        .doc = "of --questions: prompt (prompt, answer, category, kind), statements (statement, "
                               "label), yes-no, question, gsm8k (question, answer), choices (question, choices, answer), "
                               "aqua (question, options, correct), imdb (text, label) (as the first row has it)" },
    [OPTION_TEMPLATE] = { "template", "TEXT", 0, GROUP_DOCUMENTS, MATTERS TEXT(template),
                          .doc = "prompts of --questions, such as 'Q: {question}\\nA:', fields in braces, {choices} "
                                 "lists them (the form's)" },
    [OPTION_KIND] = { "kind", "K", 0, GROUP_DOCUMENTS, MATTERS CHOICE(kind, kinds),
                      .doc = "of --questions: parametric or contextual (as the row says, else as the form is)" },
    [OPTION_CATEGORY] = { "category", "NAME", 0, GROUP_DOCUMENTS, MATTERS TEXT(category),
                          .doc = "of --questions (as the row says, else the file's name)" },
    [OPTION_WORLD] = { "world", "SEED", 0, GROUP_DOCUMENTS, MATTERS COUNT(world, 0, 1e18),
                       .doc = "the invented world of this seed: its questions (42; without --questions), its "
                              "unlimited text in place of --texts" },
    [OPTION_CUT_LEFT] = { "cut-left", NULL, 0, GROUP_DOCUMENTS, MATTERS FLAG(cut_left),
                          .doc = "leave out the start of prompts that do not fit -c, which are else refused" },
    [OPTION_SCORE] = { "score", "HOW", 0, GROUP_QUESTION, MATTERS CHOICE(score, scorings),
                       .doc = "exact: the answer to the letter, given it so far; choice: the likeliest of the "
                              "choices; of written text, generated: all of it, first-integer, contains: the answer "
                              "or the first choice in it (as the file says)" },
    [OPTION_HOOKS] = { "hooks", "LIST", 0, GROUP_QUESTION, LIST(hooks),
                       .doc = "sites such as 'blocks.*.attn.hook_q,rot_k6'; repeatable" },
    [OPTION_TOLERANCE] = { "tolerance", "X", 0, GROUP_QUESTION, NUMBER(tolerance, 0, 1e9),
                           .doc = "largest relative error of a site (2e-5)" },
    [OPTION_LAMBDA] = { "lambda", "X", 0, GROUP_QUESTION, MATTERS NUMBER(lambda, 1e-9, 1e9),
                        .doc = "massive: norm above X times the mean (5)" },
    [OPTION_CRITERION] = { "criterion", "C", 0, GROUP_QUESTION, MATTERS CHOICE(criterion, criteria),
                           .doc = "layer-mean (africa), head-mean or top-k (jin) (layer-mean)" },
    [OPTION_SITE] = { "site", "S", 0, GROUP_QUESTION, MATTERS CHOICE(site, sites),
                      .doc = "pre or post: before or after the rotation (pre)" },
    [OPTION_PRESET] = { "preset", "NAME", 0, GROUP_QUESTION, MATTERS CHOICE(preset, presets), .aliases = { "compat" },
                        .doc = "africa or jin (tasks: jin): as the published experiment did it" },
    [OPTION_CAPTURED] = { "captured", "q=FILE", 0, GROUP_DOCUMENTS, LIST(captured),
                          .doc = "q, k or v captured elsewhere, .npy or FILE.safetensors[:TENSOR]; repeatable" },
    [OPTION_OP] = { "op", "OP", 0, GROUP_QUESTION, MATTERS CHOICE(op, ops), .aliases = { "reset-type" },
                    .doc = "zero or mean: what replaces a dim (zero)" },
    [OPTION_TENSORS] = { "tensors", "LIST", 0, GROUP_QUESTION, MATTERS SET(tensors, tensors),
                         .doc = "which of q,k,v are edited (q,k)" },
    [OPTION_LAYERS] = { "layers", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(layers),
                        .doc = "layers that are edited, such as 0-3,7 (all)" },
    [OPTION_CONTROL] = { "control", "C", 0, GROUP_QUESTION, MATTERS CHOICE(control, controls),
                         .doc = "disrupt: random dims, excluding massive ones, uniform, or same-head (excluding); "
                                "recalibrate: rope, which keeps the rotation" },
    [OPTION_SEEDS] = { "seeds", "N", 0, GROUP_QUESTION, MATTERS COUNT(seeds, 1, 10000),
                       .doc = "how many random controls (10; tasks: 3)" },
    [OPTION_SEED] = { "seed", "N", 's', GROUP_QUESTION, MATTERS COUNT(seed, 0, 1e18),
                      .doc = "seed of the first control, of a world's text, of a training, of sampling (42)" },
    [OPTION_TOP_K] = { "top-k", "K", 0, GROUP_QUESTION, MATTERS COUNT(top_k, 1, 1 << 20),
                       .doc = "criterion top-k: dims a head (1); generate: sample among the K likeliest tokens (all)" },
    [OPTION_BOOTSTRAP] = { "bootstrap", "N", 0, GROUP_QUESTION, MATTERS COUNT(bootstrap, 100, 10000000),
                           .doc = "bootstrap draws (10000)" },
    [OPTION_PART] = { "part", "P", 0, GROUP_QUESTION, MATTERS CHOICE(part, parts),
                      .doc = "of the invented world: train, validation or test (train; tasks: test)" },
    [OPTION_FROM] = { "from", "N", 0, GROUP_QUESTION, MATTERS COUNT(from, 0, 0),
                      .doc = "number of the first one (0)" },
    [OPTION_CATEGORIES] = { "categories", "LIST", 0, GROUP_QUESTION, MATTERS SET(categories, categories),
                            .doc = "of questions: fact, pass_key, key_value, sum, order, sentiment, counterfact (all)" },
    [OPTION_WHOLE] = { "whole", NULL, 0, GROUP_QUESTION, MATTERS FLAG(whole),
                       .doc = "of questions: all that can be asked about a context in one text, answers behind each" },
    [OPTION_TOKENIZER] = { "tokenizer", "PATH", 0, GROUP_DOCUMENTS, TEXT(tokenizer),
                           .doc = "folder with a tokenizer.json or tokenizer.model, or such a file (beside CONFIG)" },
    [OPTION_VALID] = { "valid", "PATH", 0, GROUP_DOCUMENTS, LIST(valid),
                       .doc = "held-out documents, as --texts; repeatable" },
    [OPTION_HOLD_OUT] = { "hold-out", "PERCENT", 0, GROUP_DOCUMENTS, MATTERS NUMBER(hold_out, 0, 90),
                          .doc = "hold out the last PERCENT of the documents of --texts (10)" },
    [OPTION_VALID_TOKENS] = { "valid-tokens", "N", 0, GROUP_DOCUMENTS, MATTERS COUNT(valid_tokens, 2, 1 << 30),
                              .doc = "at most N held-out tokens are scored (65536)" },
    [OPTION_STEPS] = { "steps", "N", 0, GROUP_TRAINING, MATTERS COUNT(steps, 0, 1e12), .doc = "optimiser steps" },
    [OPTION_TOKENS] = { "tokens", "N", 0, GROUP_TRAINING, COUNT(tokens, 1, 1e18),
                        .doc = "the same in tokens: as many whole steps as N fills" },
    [OPTION_BATCH] = { "batch", "ROWS", 'b', GROUP_TRAINING, MATTERS COUNT(batch, 1, 1 << 24),
                       .aliases = { "batch-size" }, .doc = "rows of one context in a step (16; bench: 8)" },
    [OPTION_MICRO] = { "micro", "ROWS", 0, GROUP_TRAINING, MATTERS COUNT(micro, 1, 1 << 24),
                       .aliases = { "micro-batch" }, .doc = "rows computed together (about 2048 tokens)" },
    [OPTION_LR] = { "lr", "X", 0, GROUP_TRAINING, MATTERS NUMBER(learning_rate, 0, 1e3),
                    .aliases = { "learning-rate" }, .doc = "learning rate at its height (1e-3)" },
    [OPTION_SCHEDULE] = { "schedule", "S", 0, GROUP_TRAINING, MATTERS CHOICE(schedule, schedules),
                          .doc = "cosine, constant, or wsd: constant, then a cosine fall (cosine)" },
    [OPTION_WARMUP] = { "warmup", "N", 0, GROUP_TRAINING, MATTERS COUNT(warmup, 0, 1e12),
                        .doc = "steps of linear rise (a tenth of the steps, at most 100)" },
    [OPTION_DECAY] = { "decay", "N", 0, GROUP_TRAINING, MATTERS COUNT(decay, 1, 1e12),
                       .doc = "wsd: steps of the fall (a fifth of the steps)" },
    [OPTION_MIN_LR] = { "min-lr", "SHARE", 0, GROUP_TRAINING, MATTERS NUMBER(min_lr, 0, 1),
                        .doc = "end of the fall, as a share of the height (0.1)" },
    [OPTION_WEIGHT_DECAY] = { "weight-decay", "X", 0, GROUP_TRAINING, MATTERS NUMBER(weight_decay, 0, 100),
                              .doc = "of matrices, decoupled (0.1)" },
    [OPTION_NO_DECAY_QK] = { "no-decay-qk", NULL, 0, GROUP_TRAINING, MATTERS FLAG(no_decay_qk),
                             .doc = "no weight decay of query and key projections" },
    [OPTION_BETA1] = { "beta1", "X", 0, GROUP_TRAINING, MATTERS NUMBER(beta1, 0, 0.999999), .doc = "AdamW (0.9)" },
    [OPTION_BETA2] = { "beta2", "X", 0, GROUP_TRAINING, MATTERS NUMBER(beta2, 0, 0.999999), .doc = "AdamW (0.95)" },
    [OPTION_EPSILON] = { "epsilon", "X", 0, GROUP_TRAINING, MATTERS NUMBER(epsilon, 1e-30, 1),
                         .doc = "AdamW (1e-8)" },
    [OPTION_CLIP] = { "clip", "X", 0, GROUP_TRAINING, MATTERS NUMBER(clip, 0, 1e9),
                      .doc = "largest norm of the gradient; 0 = not clipped (1)" },
    [OPTION_INIT_STD] = { "init-std", "X", 0, GROUP_TRAINING, MATTERS NUMBER(init_std, 0, 10),
                          .doc = "of the weights at the start (0.02)" },
    [OPTION_ACROSS_DOCUMENTS] = { "across-documents", NULL, 0, GROUP_DOCUMENTS, MATTERS FLAG(across_documents),
                                  .doc = "tokens see earlier documents of their row" },
    [OPTION_IN_ORDER] = { "in-order", NULL, 0, GROUP_DOCUMENTS, MATTERS FLAG(in_order),
                          .doc = "train on documents in the order given, a curriculum, and not in a random one" },
    [OPTION_RECOMPUTE] = { "recompute", NULL, 0, GROUP_COMPUTE, FLAG(recompute),
                           .doc = "compute activations twice instead of keeping them (generate: keep no keys and "
                                  "values)" },
    [OPTION_SAVE_EVERY] = { "save-every", "N", 0, GROUP_RESULT, COUNT(save_every, 0, 1e12),
                            .doc = "steps between checkpoints; 0 = only the last (500)" },
    [OPTION_VALID_EVERY] = { "valid-every", "N", 0, GROUP_TRAINING, COUNT(valid_every, 0, 1e12),
                             .doc = "steps between looks at the held-out loss; 0 = none (250)" },
    [OPTION_KEEP] = { "keep", "K", 0, GROUP_RESULT, COUNT(keep, 1, 1000000), .doc = "checkpoints that stay (2)" },
    [OPTION_DTYPE] = { "dtype", "T", 0, GROUP_RESULT, CHOICE(dtype, dtypes),
                       .doc = "f32 or bf16: of the weights in the folder of -o (f32)" },
    [OPTION_TRACK] = { "track", "STEPS", 0, GROUP_TRAINING, MATTERS COUNT(track, 0, 1e12),
                       .doc = "measure massive values every STEPS steps; 0 = never (train: never; recalibrate: a "
                              "twentieth)" },
    [OPTION_TRACK_DOCUMENTS] = { "track-documents", "N", 0, GROUP_TRAINING, MATTERS COUNT(track_documents, 2, 100000),
                                 .doc = "held-out documents that are measured, half to find, half to test (16)" },
    [OPTION_PROMPT] = { "prompt", "TEXT", 'p', GROUP_DOCUMENTS, LIST(prompts),
                        .doc = "what is to be continued; repeatable; '' = from the BOS token alone (standard input)" },
    [OPTION_PROMPT_FILE] = { "prompt-file", "PATH", 0, GROUP_DOCUMENTS, LIST(prompt_files),
                             .doc = "the same from a file: one prompt, or of a .jsonl one a line, its \"prompt\"; "
                                    "repeatable" },
    [OPTION_MAX_NEW_TOKENS] = { "max-new-tokens", "N", 'n', GROUP_QUESTION, MATTERS COUNT(max_new_tokens, 1, 1 << 28),
                                .aliases = { "n-predict", "predict" },
                                .doc = "at most N tokens behind a prompt (100; bench: 32; tasks: twice the answer and 16)" },
    [OPTION_TEMPERATURE] = { "temperature", "X", 0, GROUP_QUESTION, MATTERS NUMBER(temperature, 0, 100),
                             .aliases = { "temp" }, .doc = "of sampling; 0 = always the likeliest token (0)" },
    [OPTION_TOP_P] = { "top-p", "X", 0, GROUP_QUESTION, MATTERS NUMBER(top_p, 1e-9, 1),
                       .doc = "sample among the fewest tokens that hold X of the probability (1)" },
    [OPTION_STOP] = { "stop", "TEXT", 0, GROUP_QUESTION, LIST(stops),
                      .doc = "end where the text says TEXT, which is left out; repeatable" },
    [OPTION_PHASE] = { "phase", "P", 0, GROUP_QUESTION, MATTERS CHOICE(phase, phases),
                       .doc = "where edits act: all, or prefill, at the prompt's positions alone (all)" },
    [OPTION_IGNORE_END] = { "ignore-end", NULL, 0, GROUP_QUESTION, MATTERS FLAG(ignore_end),
                            .aliases = { "ignore-eos" }, .doc = "go on behind an end-of-sequence token" },
    [OPTION_CONDITIONS] = { "conditions", "LIST", 0, GROUP_QUESTION, MATTERS SET(conditions, conditions),
                            .doc = "baseline: unbroken, massive: with massive values broken, mean: with their mean in "
                                   "their place, random: with as many random ones broken (baseline; tasks: all)" },
    [OPTION_EDIT] = { "edit", "OP@SITE", 0, GROUP_QUESTION, LIST(edits),
                      .doc = "an edit such as zero@q3, scale=0.5@rot_k*:0-7, permute@v:top2; all of them make one more "
                             "condition; repeatable" },
    [OPTION_DROP_LAYERS] = { "drop-layers", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(drop_layers),
                             .doc = "layers that lose their rotation, such as 0-3,7 (all)" },
    [OPTION_DROP_PAIRS] = { "drop-pairs", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(drop_pairs),
                            .doc = "rotary pairs that lose it: such as 8-15, slow (no whole turn over the trained "
                                   "context), or fast (all)" },
    [OPTION_GRADUAL] = { "gradual", "STEPS", 0, GROUP_QUESTION, MATTERS COUNT(gradual, 0, 1e12),
                         .doc = "the rotation falls to nothing within STEPS steps (0: at once)" },
    [OPTION_GRADUAL_LAW] = { "gradual-law", "LAW", 0, GROUP_QUESTION, MATTERS CHOICE(gradual_law, gradual_laws),
                             .doc = "linear: in equal steps; cubic: by the cube of what is ahead, so that most of the "
                                    "steps have little of it left (linear)" },
    [OPTION_QK_NORM] = { "qk-norm", "N", 0, GROUP_QUESTION, MATTERS CHOICE(qk_norm, norm_places),
                         .doc = "q, k or qk: adds a norm over the whole projection" },
    [OPTION_TEMPERATURE_CONTEXT] = { "temperature-context", "N", 0, GROUP_QUESTION,
                                     MATTERS COUNT(temperature_context, 2, 1 << 30),
                                     .doc = "fit the attention temperature to held-out text of N tokens and store it" },
    [OPTION_METHOD] = { "method", "LIST", 0, GROUP_QUESTION, MATTERS SET(methods, methods),
                        .aliases = { "rope-scaling" },
                        .doc = "none, crop, linear (pi), ntk, ntk-parts, dynamic, yarn, llama3, longrope, temperature "
                               "(all that suit the model)" },
    [OPTION_LENGTHS] = { "lengths", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(lengths),
                         .doc = "of text, in trained contexts, ascending (0.5,1,2,4,8,16); nothing: no losses" },
    [OPTION_FIND] = { "find", "LIST", 0, GROUP_QUESTION, MATTERS SET(find, finds),
                      .doc = "pass_key, pass_keys (a key at every depth; world), needle (one of four; plain), nothing "
                             "(all of the haystack)" },
    [OPTION_HAYSTACK] = { "haystack", "NAME", 0, GROUP_QUESTION, MATTERS CHOICE(haystack, haystacks),
                          .doc = "what keys hide in: the world's talk (world), or plain English (plain; usual beside "
                                 "--texts)" },
    [OPTION_FIND_LENGTHS] = { "find-lengths", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(find_lengths),
                              .doc = "of prompts, in trained contexts (those of --lengths up to 4)" },
    [OPTION_DEPTHS] = { "depths", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(depths),
                        .doc = "where keys stand, to the thousandth: 0 = first, 1 = last (0,0.25,0.5,0.75,1)" },
    [OPTION_TRIALS] = { "trials", "N", 0, GROUP_QUESTION, MATTERS COUNT(trials, 1, 100000),
                        .doc = "prompts a length and depth up to twice the trained context, fewer beyond (8)" },
    [OPTION_ROPE_SCALE] = { "rope-scale", "S", 0, GROUP_QUESTION, MATTERS NUMBER(rope_scale, 1, 1e6),
                            .doc = "one factor at every length beyond the trained one (length / trained context)" },
    [OPTION_TEMPERATURE_SLOPE] = { "temperature-slope", "C", 0, GROUP_QUESTION,
                                   MATTERS NUMBER(temperature_slope, -10, 10),
                                   .doc = "attention temperature 1 + C ln s (fitted on held-out text)" },
    [OPTION_SLIDING] = { "sliding", NULL, 0, GROUP_QUESTION, MATTERS FLAG(sliding),
                         .doc = "losses of windows that move through each whole text too" },
    [OPTION_PROBES] = { "probes", "LIST", 0, GROUP_DOCUMENTS, MATTERS SET(probes, probes),
                        .doc = "generated questions: passkey, passkey-secret, passkey-prose; jin (jin-128, jin-256, "
                               "jin-1024); ruler (niah-noise, niah, niah-multikey, niah-multivalue, niah-multiquery); "
                               "verify, rank; all, which is all but jin" },
    [OPTION_PROBE_TOKENS] = { "probe-tokens", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(probe_tokens),
                              .doc = "tokens of a probe, prompt and answer together, ascending (512; tasks: at most "
                                     "the context)" },
    [OPTION_PROBE_SEED] = { "probe-seed", "N", 0, GROUP_QUESTION, MATTERS COUNT(probe_seed, 0, 1e18),
                            .doc = "seed of the probes (42)" },
    [OPTION_KEY_LENGTH] = { "key-length", "LIST", 0, GROUP_QUESTION, MATTERS TEXT(key_length),
                            .doc = "characters of a key, 5 to 48, ascending (5; needles: 7)" },
    [OPTION_KEY_ALPHABET] = { "key-alphabet", "A", 0, GROUP_QUESTION, MATTERS CHOICE(key_alphabet, alphabets),
                              .doc = "digits, letters or mixed (digits)" },
    [OPTION_SHAPE] = { "shape", "S", 0, GROUP_QUESTION, MATTERS TEXT(shape),
                       .doc = "world, 15m, 1.1b, 7b, 70b, or D_MODEL,LAYERS,HEADS,KV_HEADS,FFN,VOCAB[,HEAD_DIM] (1.1b)" },
    [OPTION_WEIGHTS] = { "weights", "LIST", 0, GROUP_QUESTION, MATTERS SET(weights, weights),
                         .doc = "formats of the random weights: f32, bf16, f16, q8_0, q4_0, nf4 (bf16)" },
    [OPTION_TESTS] = { "tests", "LIST", 0, GROUP_QUESTION, MATTERS SET(tests, tests),
                       .doc = "ceilings (what the machine can do at most), prefill (logits of the last token), score "
                              ""
                              "(of every token), norms and edits (what a study adds to that), sweep (score once a "
                              "layer, each edited alone), decode, study, train (ceilings,prefill,decode)" },
    [OPTION_PROMPT_TOKENS] = { "prompt-tokens", "N", 0, GROUP_QUESTION, MATTERS COUNT(prompt_tokens, 2, 1 << 24),
                               .aliases = { "n-prompt" }, .doc = "tokens of a text, a document, a training row (512)" },
    [OPTION_STREAMS] = { "streams", "N", 0, GROUP_QUESTION, MATTERS COUNT(streams, 1, 1 << 16),
                         .doc = "texts that decode writes side by side (1)" },
    [OPTION_REPETITIONS] = { "repetitions", "N", 'r', GROUP_QUESTION, MATTERS COUNT(repetitions, 1, 100000),
                             .doc = "how often each test is timed (5)" },
    [OPTION_MAX_LAYERS] = { "max-layers", "N", 0, GROUP_QUESTION, MATTERS COUNT(max_layers, 1, 4096),
                            .doc = "only the first N layers: less memory and time, the rest is estimated (all)" },
    [OPTION_CSV] = { "csv", NULL, 0, GROUP_RESULT, FLAG(csv), .doc = "comma-separated rows on stdout" },
};
