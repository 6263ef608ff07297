/* schema.c - what results.json holds, study by study: the twin of docs/RESULTS.md. */
#include "report/schema.h"

const char *const qk_field_words[QK_N_FIELD_TYPES] = {
    [QK_IS_TEXT] = "text",
    [QK_IS_TEXT_OR_NULL] = "text or null",
    [QK_IS_COUNT] = "a whole number from 0",
    [QK_IS_NUMBER] = "a number",
    [QK_IS_NUMBER_OR_NULL] = "a number or null",
    [QK_IS_ANY] = "a value",
    [QK_IS_OBJECT] = "an object",
    [QK_IS_ARRAY] = "an array",
    [QK_IS_PAIR_OR_NULL] = "[low, high] or null",
    [QK_IS_MODEL] = "the index of a model",
    [QK_IS_MODELS] = "the indices of two models",
    [QK_IS_TEXTS] = "two texts",
    [QK_IS_DOCUMENT] = "the index of a document",
    [QK_IS_LAYER] = "a layer of the model",
    [QK_IS_TENSOR] = "\"q\", \"k\" or \"v\"",
    [QK_IS_KIND] = "\"baseline\", \"massive\" or \"random\"",
    [QK_IS_ARM] = "the index of an arm",
};

#define END { NULL, QK_IS_ANY }
const qk_field qk_common_fields[] = {
    { "settings", QK_IS_OBJECT }, { "models", QK_IS_ARRAY }, { "documents", QK_IS_ARRAY },
    { "warnings", QK_IS_ARRAY }, END
};
const qk_field qk_model_fields[] = {
    { "name", QK_IS_TEXT }, { "layers", QK_IS_COUNT }, { "heads", QK_IS_NUMBER_OR_NULL },
    { "kv_heads", QK_IS_NUMBER_OR_NULL }, { "head_dim", QK_IS_COUNT }, END
};
/* what captured tensors have no model to say */
const qk_field qk_whole_model_fields[] = {
    { "model_type", QK_IS_TEXT_OR_NULL }, { "attention_type", QK_IS_TEXT_OR_NULL },
    { "d_model", QK_IS_NUMBER_OR_NULL }, { "context", QK_IS_NUMBER_OR_NULL }, { "rope", QK_IS_ANY },
    { "rope_theta", QK_IS_NUMBER_OR_NULL }, { "parameters", QK_IS_NUMBER_OR_NULL }, { "sha256", QK_IS_TEXT_OR_NULL },
    { "pairs", QK_IS_ARRAY }, END
};
const qk_field qk_pair_fields[] = {
    { "pair", QK_IS_COUNT }, { "wavelength", QK_IS_NUMBER_OR_NULL }, { "rotations", QK_IS_NUMBER_OR_NULL },
    { "slow", QK_IS_ANY }, END
};
const qk_field qk_document_fields[] = {
    { "id", QK_IS_TEXT }, { "category", QK_IS_TEXT_OR_NULL }, { "tokens", QK_IS_COUNT }, { "cut", QK_IS_ANY },
    { "sha256", QK_IS_TEXT_OR_NULL }, { "repetitive", QK_IS_ANY }, END
};
static const qk_field massive_settings[] = {
    { "lambda", QK_IS_NUMBER }, { "criterion", QK_IS_TEXT }, { "site", QK_IS_TEXT }, END
};
static const qk_field disrupt_settings[] = {
    { "lambda", QK_IS_NUMBER_OR_NULL }, { "criterion", QK_IS_TEXT_OR_NULL }, { "site", QK_IS_TEXT },
    { "op", QK_IS_TEXT }, { "tensors", QK_IS_ANY }, { "control", QK_IS_TEXT_OR_NULL }, { "seeds", QK_IS_ARRAY },
    { "calibration", QK_IS_ANY }, END
};
static const qk_field counts_fields[] = {
    { "model", QK_IS_MODEL }, { "document", QK_IS_DOCUMENT }, { "tensor", QK_IS_TENSOR }, { "layer", QK_IS_LAYER },
    { "count", QK_IS_COUNT }, { "max_over_mean", QK_IS_NUMBER_OR_NULL }, { "energy_share", QK_IS_NUMBER_OR_NULL },
    { "gini", QK_IS_NUMBER_OR_NULL }, { "kurtosis", QK_IS_NUMBER_OR_NULL }, { "entropy", QK_IS_NUMBER_OR_NULL },
    { "slow_share", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field massive_summary_fields[] = {
    { "model", QK_IS_MODEL }, { "tensor", QK_IS_TENSOR }, { "positions", QK_IS_COUNT },
    { "total_mean", QK_IS_NUMBER_OR_NULL }, { "total_std", QK_IS_NUMBER_OR_NULL },
    { "total_ci95", QK_IS_PAIR_OR_NULL }, { "share_pct", QK_IS_NUMBER_OR_NULL },
    { "max_over_mean", QK_IS_NUMBER_OR_NULL }, { "energy_share", QK_IS_NUMBER_OR_NULL },
    { "gini", QK_IS_NUMBER_OR_NULL }, { "kurtosis", QK_IS_NUMBER_OR_NULL }, { "slow_share", QK_IS_NUMBER_OR_NULL },
    { "by_layer", QK_IS_ARRAY }, END
};
static const qk_field by_layer_fields[] = {
    { "layer", QK_IS_LAYER }, { "mean", QK_IS_NUMBER_OR_NULL }, { "std", QK_IS_NUMBER_OR_NULL },
    { "max_over_mean", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field sweep_fields[] = {
    { "model", QK_IS_MODEL }, { "tensor", QK_IS_TENSOR }, { "lambda", QK_IS_NUMBER },
    { "total_mean", QK_IS_NUMBER_OR_NULL }, { "total_std", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field change_fields[] = {
    { "model", QK_IS_MODEL }, { "tensor", QK_IS_TENSOR }, { "difference", QK_IS_NUMBER_OR_NULL },
    { "difference_ci95", QK_IS_PAIR_OR_NULL }, { "percent", QK_IS_NUMBER_OR_NULL }, { "test", QK_IS_ANY },
    { "layers_more", QK_IS_ARRAY }, END
};
static const qk_field pair_norm_fields[] = {
    { "model", QK_IS_MODEL }, { "tensor", QK_IS_TENSOR }, { "layer", QK_IS_LAYER }, { "norm", QK_IS_ARRAY },
    { "massive_pairs", QK_IS_ANY }, END
};
static const qk_field stability_fields[] = {
    { "model", QK_IS_MODEL }, { "tensor", QK_IS_TENSOR }, { "jaccard_mean", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field condition_fields[] = {
    { "model", QK_IS_MODEL }, { "name", QK_IS_TEXT }, { "kind", QK_IS_KIND }, { "dims", QK_IS_ANY },
    { "seed", QK_IS_NUMBER_OR_NULL }, { "receipt", QK_IS_ANY }, END
};
static const qk_field score_fields[] = {
    { "model", QK_IS_MODEL }, { "condition", QK_IS_TEXT }, { "document", QK_IS_DOCUMENT }, { "tokens", QK_IS_COUNT },
    { "nll", QK_IS_NUMBER_OR_NULL }, { "ppl", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field disrupt_summary_fields[] = {
    { "model", QK_IS_MODEL }, { "condition", QK_IS_TEXT }, { "tokens", QK_IS_COUNT },
    { "nll_per_token", QK_IS_NUMBER_OR_NULL }, { "delta_nll", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL },
    { "ppl", QK_IS_NUMBER_OR_NULL }, { "ppl_increase_pct", QK_IS_NUMBER_OR_NULL }, { "by_category", QK_IS_ARRAY }, END
};
static const qk_field by_category_fields[] = {
    { "category", QK_IS_TEXT_OR_NULL }, { "documents", QK_IS_COUNT }, { "delta_nll", QK_IS_NUMBER_OR_NULL },
    { "ci95", QK_IS_PAIR_OR_NULL }, { "ppl", QK_IS_NUMBER_OR_NULL }, { "ppl_increase_pct", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field effect_fields[] = {
    { "model", QK_IS_MODEL }, { "m_minus_r", QK_IS_OBJECT }, { "m_minus_r_pct", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field m_minus_r_fields[] = {
    { "delta_nll", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, END
};
static const qk_field test_fields[] = {
    { "comparison", QK_IS_TEXT }, { "name", QK_IS_TEXT }, { "n", QK_IS_ANY }, { "estimate", QK_IS_NUMBER_OR_NULL },
    { "statistic", QK_IS_NUMBER_OR_NULL }, { "df", QK_IS_NUMBER_OR_NULL }, { "log10_p", QK_IS_NUMBER_OR_NULL },
    { "p", QK_IS_TEXT_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "effect", QK_IS_NUMBER_OR_NULL },
    { "effect_name", QK_IS_TEXT_OR_NULL }, { "refused", QK_IS_TEXT_OR_NULL },
    { "log10_p_holm", QK_IS_NUMBER_OR_NULL }, END
};

/* ---- tasks */

static const qk_field tasks_settings[] = {
    { "source", QK_IS_TEXT }, { "part", QK_IS_TEXT_OR_NULL }, { "limit", QK_IS_NUMBER_OR_NULL },
    { "context", QK_IS_COUNT }, { "cut_left", QK_IS_ANY }, { "broken", QK_IS_ANY }, END
};
static const qk_field task_condition_fields[] = {
    { "model", QK_IS_MODEL }, { "name", QK_IS_TEXT }, { "kind", QK_IS_TEXT }, { "dims", QK_IS_ANY },
    { "seed", QK_IS_NUMBER_OR_NULL }, { "receipt", QK_IS_ANY }, END
};
static const qk_field category_fields[] = {
    { "model", QK_IS_MODEL }, { "condition", QK_IS_TEXT }, { "category", QK_IS_TEXT }, { "kind", QK_IS_TEXT },
    { "scoring", QK_IS_TEXT }, { "questions", QK_IS_COUNT }, { "right", QK_IS_NUMBER_OR_NULL },
    { "unparsed", QK_IS_NUMBER_OR_NULL }, { "found", QK_IS_NUMBER_OR_NULL }, { "accuracy", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "corrected", QK_IS_NUMBER_OR_NULL },
    { "corrected_ci95", QK_IS_PAIR_OR_NULL }, { "loss", QK_IS_NUMBER_OR_NULL }, { "loss_ci95", QK_IS_PAIR_OR_NULL },
    { "chance", QK_IS_NUMBER_OR_NULL }, { "most_common", QK_IS_NUMBER_OR_NULL }, { "nll", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field kind_fields[] = {
    { "model", QK_IS_MODEL }, { "condition", QK_IS_TEXT }, { "kind", QK_IS_TEXT }, { "categories", QK_IS_COUNT },
    { "macro", QK_IS_NUMBER_OR_NULL }, { "macro_ci95", QK_IS_PAIR_OR_NULL }, { "corrected", QK_IS_NUMBER_OR_NULL },
    { "corrected_ci95", QK_IS_PAIR_OR_NULL }, { "loss", QK_IS_NUMBER_OR_NULL }, { "loss_ci95", QK_IS_PAIR_OR_NULL },
    { "questions", QK_IS_COUNT }, { "right", QK_IS_NUMBER_OR_NULL }, { "unparsed", QK_IS_NUMBER_OR_NULL },
    { "accuracy", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "most_common", QK_IS_NUMBER_OR_NULL }, { "nll", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field key_error_fields[] = {
    { "model", QK_IS_MODEL }, { "condition", QK_IS_TEXT }, { "category", QK_IS_TEXT }, { "questions", QK_IS_COUNT },
    { "exact", QK_IS_NUMBER_OR_NULL }, { "truncated", QK_IS_NUMBER_OR_NULL }, { "near_miss", QK_IS_NUMBER_OR_NULL },
    { "wrong_length", QK_IS_NUMBER_OR_NULL }, { "generic", QK_IS_NUMBER_OR_NULL }, { "none", QK_IS_NUMBER_OR_NULL },
    END
};
static const qk_field mcnemar_fields[] = {
    { "contrast", QK_IS_TEXT }, { "models", QK_IS_MODELS }, { "conditions", QK_IS_TEXTS }, { "comparison", QK_IS_TEXT },
    { "name", QK_IS_TEXT }, { "n", QK_IS_COUNT }, { "both", QK_IS_NUMBER_OR_NULL },
    { "only_first", QK_IS_NUMBER_OR_NULL }, { "only_second", QK_IS_NUMBER_OR_NULL },
    { "neither", QK_IS_NUMBER_OR_NULL }, { "estimate", QK_IS_NUMBER_OR_NULL }, { "log10_p", QK_IS_NUMBER_OR_NULL },
    { "p", QK_IS_TEXT_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "refused", QK_IS_TEXT_OR_NULL },
    { "log10_p_holm", QK_IS_NUMBER_OR_NULL }, { "detectable", QK_IS_NUMBER_OR_NULL }, END
};

/* ---- context */

static const qk_field context_settings[] = {
    { "trained", QK_IS_COUNT }, { "lengths", QK_IS_ARRAY }, { "task_lengths", QK_IS_ARRAY }, { "depths", QK_IS_ARRAY },
    { "tasks", QK_IS_ARRAY }, { "trials", QK_IS_COUNT }, { "texts", QK_IS_COUNT }, { "joined", QK_IS_ANY }, END
};
static const qk_field method_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "name", QK_IS_TEXT },
    { "reference", QK_IS_ANY }, { "trained", QK_IS_COUNT }, { "slope", QK_IS_NUMBER_OR_NULL },
    { "temperature", QK_IS_ANY }, END
};
static const qk_field length_loss_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "protocol", QK_IS_TEXT },
    { "stretch", QK_IS_NUMBER }, { "length", QK_IS_COUNT }, { "texts", QK_IS_COUNT }, { "tokens", QK_IS_COUNT },
    { "nll_per_token", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "ppl", QK_IS_NUMBER_OR_NULL },
    { "delta", QK_IS_NUMBER_OR_NULL }, { "delta_ci95", QK_IS_PAIR_OR_NULL }, END
};
static const qk_field position_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "stretch", QK_IS_NUMBER },
    { "length", QK_IS_COUNT }, { "from", QK_IS_COUNT }, { "to", QK_IS_COUNT }, { "tokens", QK_IS_COUNT },
    { "nll_per_token", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, END
};
static const qk_field retrieval_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "task", QK_IS_TEXT },
    { "stretch", QK_IS_NUMBER }, { "length", QK_IS_COUNT }, { "depth", QK_IS_NUMBER_OR_NULL }, { "n", QK_IS_COUNT },
    { "right", QK_IS_COUNT }, { "accuracy", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL },
    { "nll", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field context_test_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "reference", QK_IS_COUNT }, { "task", QK_IS_TEXT },
    { "stretch", QK_IS_NUMBER }, { "length", QK_IS_COUNT }, { "name", QK_IS_TEXT }, { "n", QK_IS_COUNT },
    { "both", QK_IS_COUNT }, { "only_reference", QK_IS_COUNT }, { "only_arm", QK_IS_COUNT }, { "neither", QK_IS_COUNT },
    { "estimate", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, { "p", QK_IS_TEXT_OR_NULL },
    { "refused", QK_IS_TEXT_OR_NULL }, { "log10_p_holm", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field broken_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "condition", QK_IS_TEXT },
    { "dims", QK_IS_COUNT }, { "stretch", QK_IS_NUMBER }, { "length", QK_IS_COUNT }, { "n", QK_IS_COUNT },
    { "right", QK_IS_NUMBER_OR_NULL },
    { "accuracy", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL }, END
};
static const qk_field broken_test_fields[] = {
    { "model", QK_IS_MODEL }, { "arm", QK_IS_COUNT }, { "method", QK_IS_TEXT }, { "condition", QK_IS_TEXT },
    { "against", QK_IS_TEXT }, { "stretch", QK_IS_NUMBER }, { "length", QK_IS_COUNT }, { "name", QK_IS_TEXT },
    { "n", QK_IS_COUNT }, { "estimate", QK_IS_NUMBER_OR_NULL }, { "ci95", QK_IS_PAIR_OR_NULL },
    { "p", QK_IS_TEXT_OR_NULL }, { "refused", QK_IS_TEXT_OR_NULL }, { "log10_p_holm", QK_IS_NUMBER_OR_NULL }, END
};

/* ---- training, recalibration */

static const qk_field training_settings[] = {
    { "lambda", QK_IS_NUMBER_OR_NULL }, { "track", QK_IS_NUMBER_OR_NULL }, END
};
const qk_field qk_arm_fields[] = {
    { "name", QK_IS_TEXT }, { "kind", QK_IS_TEXT }, { "model", QK_IS_MODEL }, { "steps", QK_IS_COUNT },
    { "tokens", QK_IS_COUNT }, { "finished", QK_IS_ANY }, END
};
static const qk_field log_fields[] = {
    { "arm", QK_IS_ARM }, { "step", QK_IS_COUNT }, { "tokens", QK_IS_COUNT }, { "loss", QK_IS_NUMBER_OR_NULL },
    { "learning_rate", QK_IS_NUMBER_OR_NULL }, { "gradient_norm", QK_IS_NUMBER_OR_NULL },
    { "validation_loss", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field track_fields[] = {
    { "arm", QK_IS_ARM }, { "step", QK_IS_COUNT }, { "tokens", QK_IS_COUNT }, { "rotation", QK_IS_NUMBER_OR_NULL },
    { "loss", QK_IS_NUMBER_OR_NULL }, { "loss_tokens", QK_IS_COUNT }, { "sink_rate", QK_IS_NUMBER_OR_NULL },
    { "sink_sequences", QK_IS_COUNT }, { "sink_by_layer", QK_IS_ARRAY }, { "ablation", QK_IS_OBJECT },
    { "totals", QK_IS_OBJECT }, { "tensors", QK_IS_ARRAY }, END
};
static const qk_field tracked_layer_fields[] = {
    { "tensor", QK_IS_TENSOR }, { "layer", QK_IS_LAYER }, { "count", QK_IS_COUNT }, { "count_3", QK_IS_COUNT },
    { "count_4", QK_IS_COUNT }, { "max_over_mean", QK_IS_NUMBER_OR_NULL }, { "energy_share", QK_IS_NUMBER_OR_NULL },
    { "length", QK_IS_NUMBER_OR_NULL }, { "overlap", QK_IS_NUMBER_OR_NULL }, { "dims", QK_IS_ARRAY }, END
};
static const qk_field ablation_fields[] = {
    { "dims_q", QK_IS_COUNT }, { "dims_k", QK_IS_COUNT }, { "zero", QK_IS_NUMBER_OR_NULL },
    { "mean", QK_IS_NUMBER_OR_NULL }, { "random", QK_IS_NUMBER_OR_NULL }, END
};
static const qk_field totals_fields[] = {
    { "q", QK_IS_OBJECT }, { "k", QK_IS_OBJECT }, { "v", QK_IS_OBJECT }, END
};
static const qk_field nothing[] = { END };

static const qk_table massive_tables[] = {
    { "counts", counts_fields, NULL, NULL, 0 },
    { "summary", massive_summary_fields, "by_layer", by_layer_fields, QK_SEARCHED_ROWS },
    { "sweep", sweep_fields, NULL, NULL, 0 },
    { "change", change_fields, NULL, NULL, 0 },
    { "pair_norms", pair_norm_fields, NULL, NULL, 0 },
    { "stability", stability_fields, NULL, NULL, 0 },
    { NULL, NULL, NULL, NULL, 0 },
};
static const qk_table disrupt_tables[] = {
    { "conditions", condition_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "scores", score_fields, NULL, NULL, 0 },
    { "summary", disrupt_summary_fields, "by_category", by_category_fields, QK_SEARCHED_ROWS },
    { "effects", effect_fields, "m_minus_r", m_minus_r_fields, 0 },
    { "tests", test_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { NULL, NULL, NULL, NULL, 0 },
};
static const qk_table tasks_tables[] = {
    { "conditions", task_condition_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "categories", category_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "kinds", kind_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "errors", key_error_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "tests", mcnemar_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { NULL, NULL, NULL, NULL, 0 },
};
static const qk_table context_tables[] = {
    { "methods", method_fields, NULL, NULL, 64 },
    { "loss", length_loss_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "positions", position_fields, NULL, NULL, 0 },
    { "retrieval", retrieval_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "cells", retrieval_fields, NULL, NULL, 0 },
    { "tests", context_test_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "broken", broken_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { "broken_tests", broken_test_fields, NULL, NULL, QK_SEARCHED_ROWS },
    { NULL, NULL, NULL, NULL, 0 },
};
static const qk_table training_tables[] = {
    { "log", log_fields, NULL, NULL, 0 },
    { "track", track_fields, "tensors", tracked_layer_fields, 0 },
    { "track", nothing, "ablation", ablation_fields, 0 },
    { "track", nothing, "totals", totals_fields, 0 },
    { NULL, NULL, NULL, NULL, 0 },
};

const qk_study_schema qk_study_schemas[QK_N_STUDIES] = {
    [QK_STUDY_MASSIVE] = { "massive", massive_settings, massive_tables, false },
    [QK_STUDY_DISRUPT] = { "disrupt", disrupt_settings, disrupt_tables, false },
    [QK_STUDY_TASKS] = { "tasks", tasks_settings, tasks_tables, false },
    [QK_STUDY_CONTEXT] = { "context", context_settings, context_tables, false },
    [QK_STUDY_TRAIN] = { "train", training_settings, training_tables, true },
    [QK_STUDY_RECALIBRATE] = { "recalibrate", training_settings, training_tables, true },
};
