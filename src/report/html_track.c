/* html_track.c - what the page says of a model that trains while its massive values are tracked. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/track.h"

static bool has_kind(const qk_results *results, const char *kind)
{
    for (size_t a = 0; a < results->n_arms; a++)
        if (strcmp(results->arms[a].kind, kind) == 0) return true;
    return false;
}

static bool any_tracked(const qk_results *results) { return json_array_size(qk_rows(results, "track")) > 0; }

static void put_tokens(FILE *stream, double tokens)
{
    if (tokens >= 1e6) qk_html(stream, "%g million tokens", tokens / 1e6);
    else qk_html(stream, "%g tokens", tokens);
}

static void put_method(FILE *stream, const qk_results *results)
{
    double every = qk_field_number(results->settings, "track"), lambda = qk_field_number(results->settings, "lambda");
    if (!any_tracked(results)) return;
    fputs("<p>On the way, the same probe documents, which are not trained on, go through the model", stream);
    if (every > 0) qk_html(stream, " every %g steps", every);
    qk_html(stream,
            ". The first half of them says which dims are massive: those whose norm, averaged over these documents, is "
            "more than \u03bb = %g times the mean of their layer, before rotation. On the other half the loss is "
            "measured, as the model is and with its massive dims broken, so that no mask is tested on the text that it "
            "was found on.</p>\n",
            lambda);
}

static void put_recalibrate_question(FILE *stream, const qk_results *results)
{
    fputs("<p>A rotary model turns its queries and keys by their positions. DroPE (Gelberg et al. 2025) takes that "
          "rotation away from a trained model and lets it train on for a little while (recalibration). A few dims of "
          "queries and keys are far larger than the rest (massive values, Jin et al. 2025): do they stay, go, or move "
          "while the model learns to do without rotation?",
          stream);
    if (has_kind(results, "control"))
        fputs(" The control trains on the same text in the same order with its rotation kept: what it shows too comes "
              "from more training, not from dropping the rotation.",
              stream);
    fputs("</p>\n", stream);
    put_method(stream, results);
}

static void put_train_question(FILE *stream, const qk_results *results)
{
    fputs("<p>What does the model learn, and when do massive values, the few dims of queries and keys that are far "
          "larger than the rest (Jin et al. 2025), come up in it?</p>\n",
          stream);
    put_method(stream, results);
}

/* Of the first measurement. */
static const char *first_words(const qk_results *results)
{
    return results->study == QK_STUDY_TRAIN ? "at the start" : "as it came";
}

/* ---- in short */

/* The last tracked row of the control; NULL without one. */
static const json_t *control_end(const qk_results *results, size_t *arm)
{
    for (size_t a = 0; a < results->n_arms; a++) {
        *arm = a;
        if (strcmp(results->arms[a].kind, "control") == 0) return qk_track_moments(&results->tracks[a]).last;
    }
    return NULL;
}

static void put_against_control(FILE *stream, const qk_results *results, const json_t *last)
{
    size_t arm = 0;
    const json_t *control = control_end(results, &arm);
    double gap = qk_field_number(last, "loss") - qk_field_number(control, "loss");
    double tokens = qk_field_number(last, "tokens"), others = qk_field_number(control, "tokens");
    if (isnan(gap)) return;
    qk_html(stream, " %s is at %g after ", results->arms[arm].name, qk_field_number(control, "loss"));
    if (fabs(tokens - others) <= 0.01 * tokens) fputs("as many", stream);
    else put_tokens(stream, others);
    qk_html(stream, ": <b>dropping the rotation leaves the loss %g nats per token %s</b>.", fabs(gap),
            gap > 0 ? "higher" : "lower");
    if (fabs(tokens - others) > 0.01 * tokens) fputs(" The two did not train on as many tokens.", stream);
}

static void put_loss(FILE *stream, const qk_results *results, size_t arm)
{
    qk_moments m = qk_track_moments(&results->tracks[arm]);
    double before = qk_field_number(m.before, "loss"), last = qk_field_number(m.last, "loss");
    double dropped = qk_field_number(m.dropped, "loss"), left = qk_field_number(m.dropped, "rotation");
    qk_html(stream, "<li><b>%s</b>: loss on the probe documents %g nats per token %s", results->arms[arm].name, before,
            first_words(results));
    if (m.dropped) {
        qk_html(stream, ", %g right after ", dropped);
        if (left > 0) qk_html(stream, "its rotation was cut to %g\u00a0%%", 100 * left);
        else fputs("its rotation was dropped", stream);
        if (qk_field_number(m.dropped, "tokens") > 0) {
            fputs(" (little by little, over ", stream);
            put_tokens(stream, qk_field_number(m.dropped, "tokens"));
            fputc(')', stream);
        }
    }
    qk_html(stream, ", <b>%g after ", last);
    put_tokens(stream, qk_field_number(m.last, "tokens"));
    fputs("</b>.", stream);
    if (dropped > before && dropped > last)
        qk_html(stream, " Training took back %g\u00a0%% of what dropping had added.",
                100 * (dropped - last) / (dropped - before));
    if (m.dropped) put_against_control(stream, results, m.last);
    fputs("</li>\n", stream);
}

/* "36 at first, 40 after dropping, 31 at the end" of one number. */
static void put_way(FILE *stream, const qk_moments *m, const char *path)
{
    qk_html(stream, "%g at first", qk_track_number(m->before, path));
    if (m->dropped && m->dropped != m->last) qk_html(stream, ", %g after dropping", qk_track_number(m->dropped, path));
    qk_html(stream, ", %g at the end", qk_track_number(m->last, path));
}

static double largest_peak(const qk_arm_track *track)
{
    double most = 0;
    char path[48];
    for (size_t i = 0; i < track->n; i++)
        for (int t = 0; t < 2; t++) {
            snprintf(path, sizeof path, "totals.%s.max_over_mean", qk_result_tensors[t]);
            most = fmax(most, qk_track_number(track->rows[i], path));
        }
    return most;
}

/* Is no query or key dim massive in any measurement of this arm? */
static bool nothing_massive(const qk_arm_track *track)
{
    for (size_t i = 0; i < track->n; i++)
        if (qk_track_number(track->rows[i], "totals.q.count") > 0 ||
            qk_track_number(track->rows[i], "totals.k.count") > 0)
            return false;
    return true;
}

static void put_counts(FILE *stream, const qk_results *results, size_t arm)
{
    qk_moments m = qk_track_moments(&results->tracks[arm]);
    const char *name = results->arms[arm].name;
    char path[48];
    if (nothing_massive(&results->tracks[arm])) {
        qk_html(stream,
                "<li><b>%s does not show the phenomenon at this threshold.</b> No query or key dim is massive at "
                "\u03bb = %g in any measurement; the largest norm on the way is %g times the mean of its layer. At "
                "\u03bb = 3 the counts are: queries ",
                name, qk_field_number(results->settings, "lambda"), largest_peak(&results->tracks[arm]));
        put_way(stream, &m, "totals.q.count_3");
        fputs("; keys ", stream);
        put_way(stream, &m, "totals.k.count_3");
        fputs(".</li>\n", stream);
        return;
    }
    qk_html(stream, "<li><b>%s</b>: massive dims over all layers: ", name);
    for (int t = 0; t < 3; t++) {
        qk_html(stream, "%s%s ", t ? "; " : "", qk_result_tensor_words[t]);
        snprintf(path, sizeof path, "totals.%s.count", qk_result_tensors[t]);
        put_way(stream, &m, path);
    }
    fputs(".", stream);
    const char *words = " Overlap at the end with those of the first measurement (1: the same dims):";
    for (int t = 0; t < 2; t++) {
        snprintf(path, sizeof path, "totals.%s.overlap", qk_result_tensors[t]);
        if (isnan(qk_track_number(m.last, path))) continue;
        qk_html(stream, "%s %s %g", words, qk_result_tensor_words[t], qk_track_number(m.last, path));
        words = ",";
    }
    fputs(*words == ',' ? ".</li>\n" : "</li>\n", stream);
}

static void put_ablation(FILE *stream, const qk_results *results, size_t arm)
{
    qk_moments m = qk_track_moments(&results->tracks[arm]);
    double before = qk_track_number(m.before, "ablation.zero"), last = qk_track_number(m.last, "ablation.zero");
    if (nothing_massive(&results->tracks[arm])) return;
    qk_html(stream, "<li><b>%s</b>: setting the massive dims of queries and keys to zero costs, in nats per token, ",
            results->arms[arm].name);
    if (isnan(last)) {
        qk_html(stream, "%g at first; at the end nothing is massive any more.</li>\n", before);
        return;
    }
    if (isnan(before)) qk_html(stream, "%g at the end (at first nothing was massive)", last);
    else put_way(stream, &m, "ablation.zero");
    fputs("; to their mean ", stream);
    put_way(stream, &m, "ablation.mean");
    if (!isnan(qk_track_number(m.last, "ablation.random"))) {
        fputs("; as many other dims to zero ", stream);
        put_way(stream, &m, "ablation.random");
    }
    fputs(last <= qk_track_number(m.last, "ablation.random")
              ? ". At the end the massive dims matter no more than as many others.</li>\n" : ".</li>\n", stream);
}

static void put_sinks(FILE *stream, const qk_results *results, size_t arm)
{
    qk_moments m = qk_track_moments(&results->tracks[arm]);
    if (isnan(qk_field_number(m.last, "sink_rate"))) return;
    qk_html(stream, "<li><b>%s</b>: share of heads that are attention sinks: ", results->arms[arm].name);
    put_way(stream, &m, "sink_rate");
    fputs(".</li>\n", stream);
}

/* The last loss of log[] of an arm. */
static double last_logged(const qk_results *results, size_t arm, const char *field)
{
    const json_t *rows = qk_rows(results, "log");
    double value = NAN;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double x = qk_field_number(row, field);
        if (qk_field_index(row, "arm") == arm && !isnan(x)) value = x;
    }
    return value;
}

static void put_findings(FILE *stream, const qk_results *results)
{
    typedef void (*put)(FILE *, const qk_results *, size_t);
    static const put puts_of_an_arm[] = { put_loss, put_counts, put_ablation, put_sinks };
    for (size_t a = 0; a < results->n_arms; a++) {
        const json_t *arm = json_array_get(qk_rows(results, "arms"), a);
        double training = last_logged(results, a, "loss"), held_out = last_logged(results, a, "validation_loss");
        if (json_is_false(json_object_get(arm, "finished")))
            qk_html(stream, "<li><b>%s has not come to its end</b>: %g steps are done.</li>\n", results->arms[a].name,
                    qk_field_number(arm, "steps"));
        if (results->tracks[a].n == 0 && !isnan(training)) {
            qk_html(stream, "<li><b>%s</b>: training loss %g nats per token at the end", results->arms[a].name,
                    training);
            if (!isnan(held_out)) qk_html(stream, ", %g on held-out text", held_out);
            fputs(".</li>\n", stream);
        }
    }
    for (size_t i = 0; i < sizeof puts_of_an_arm / sizeof puts_of_an_arm[0]; i++)
        for (size_t a = 0; a < results->n_arms; a++)
            if (results->tracks[a].n) puts_of_an_arm[i](stream, results, a);
    for (size_t a = 0; a < results->n_arms; a++) qk_html_extent(stream, results, a);
    for (size_t a = 0; a < results->n_arms; a++) qk_html_temperature(stream, results, a);
}

/* ---- tables */

static bool add_moment(json_t *rows, const json_t *row, const char *words, const json_t **seen)
{
    if (!row || row == *seen) return true;
    *seen = row;
    json_t *copy = json_copy((json_t *)(uintptr_t)row);
    bool good = copy && json_object_set_new(copy, "moment", json_string(words)) == 0;
    return json_array_append_new(rows, copy) == 0 && good; /* takes the copy over, whatever becomes of it */
}

/* Rows of track[] that tell the story, with "moment" in words; NULL when out of memory. */
static json_t *moment_rows(const qk_results *results)
{
    static const struct { double share; const char *words; } stops[] = { { 0.1, "a tenth of the way" },
                                                                         { 0.5, "half way" } };
    json_t *rows = json_array();
    bool good = rows != NULL;
    for (size_t a = 0; good && a < results->n_arms; a++) {
        qk_moments m = qk_track_moments(&results->tracks[a]);
        const json_t *seen = NULL;
        double last = qk_field_number(m.last, "tokens"), dropped = qk_field_number(m.dropped, "tokens");
        good = add_moment(rows, m.before, first_words(results), &seen) &&
               add_moment(rows, m.dropped, "rotation dropped", &seen);
        for (size_t s = 0; good && s < sizeof stops / sizeof stops[0]; s++)
            for (size_t i = 1; i + 1 < results->tracks[a].n; i++) {
                double tokens = qk_field_number(results->tracks[a].rows[i], "tokens");
                if (!(tokens >= stops[s].share * last) || tokens <= dropped) continue;
                good = good && add_moment(rows, results->tracks[a].rows[i], stops[s].words, &seen);
                break;
            }
        good = good && add_moment(rows, m.last, "at the end", &seen);
    }
    if (good) return rows;
    json_decref(rows);
    return NULL;
}

static void put_tables(FILE *stream, const qk_results *results)
{
    static const qk_html_column story[] = {
        { "arm", "arm", QK_CELL_ARM, NULL },
        { "when", "moment", QK_CELL_TEXT, NULL },
        { "tokens", "tokens", QK_CELL_NUMBER, "trained on so far" },
        { "loss", "loss", QK_CELL_NUMBER, "nats per token, on the evaluating probe documents" },
        { "Q", "totals.q.count", QK_CELL_NUMBER, "massive query dims, all layers" },
        { "K", "totals.k.count", QK_CELL_NUMBER, "massive key dims" },
        { "V", "totals.v.count", QK_CELL_NUMBER, "massive value dims" },
        { "max / mean Q", "totals.q.max_over_mean", QK_CELL_NUMBER, "largest of the layers" },
        { "K", "totals.k.max_over_mean", QK_CELL_NUMBER, NULL },
        { "V", "totals.v.max_over_mean", QK_CELL_NUMBER, NULL },
        { "overlap Q", "totals.q.overlap", QK_CELL_NUMBER, "Jaccard index with the first measurement" },
        { "K", "totals.k.overlap", QK_CELL_NUMBER, NULL },
        { "\u0394NLL zero", "ablation.zero", QK_CELL_NUMBER, "massive dims of Q and K set to zero" },
        { "mean", "ablation.mean", QK_CELL_NUMBER, "... to their mean" },
        { "random", "ablation.random", QK_CELL_NUMBER, "as many other dims set to zero" },
        { "sinks", "sink_rate", QK_CELL_NUMBER, "share of heads" },
        { NULL, NULL, 0, NULL },
    };
    static const qk_html_column layers[] = {
        { "arm", "^arm", QK_CELL_ARM, NULL },
        { "when", "^moment", QK_CELL_TEXT, NULL },
        { "tensor", "tensor", QK_CELL_TEXT, NULL },
        { "layer", "layer", QK_CELL_NUMBER, NULL },
        { "massive", "count", QK_CELL_NUMBER, NULL },
        { "at \u03bb = 4", "count_4", QK_CELL_NUMBER, NULL },
        { "at \u03bb = 3", "count_3", QK_CELL_NUMBER, NULL },
        { "max / mean", "max_over_mean", QK_CELL_NUMBER, NULL },
        { "energy share", "energy_share", QK_CELL_NUMBER, "share of the sum of squared norms in massive dims" },
        { "length", "length", QK_CELL_NUMBER, "mean L2 norm of one head's vector" },
        { "overlap", "overlap", QK_CELL_NUMBER, NULL },
        { NULL, NULL, 0, NULL },
    };
    if (!any_tracked(results)) return;
    json_t *rows = moment_rows(results);
    if (!rows) fputs("<p>Out of memory: the tables are left out.</p>\n", stream);
    qk_html_table(stream, results, "The way at a glance", rows, NULL, story);
    fputs("<details><summary>By layer</summary>\n", stream);
    qk_html_table(stream, results, "Massive values by layer", rows, "tensors", layers);
    fputs("</details>\n", stream);
    json_decref(rows);
}

/* ---- limits */

static void put_limits(FILE *stream, const qk_results *results)
{
    fputs("<li>Each arm is one run with one seed. Another seed may take another way; a difference between two arms is "
          "one run against one run, and no interval here covers that.</li>\n"
          "<li>The probe documents are few, and of one kind. Their loss is not the loss on other text.</li>\n"
          "<li>Counts and masks are those of norms averaged over the identifying half of the probe: not the mean of "
          "the counts of single documents that <code>massive</code> gives.</li>\n"
          "<li>The masks change on the way, and with them how many dims are broken and how much lies in them: compare "
          "the costs beside the counts, and beside the random dims.</li>\n"
          "<li>A count depends on the threshold; the largest norm over the mean does not.</li>\n",
          stream);
    if (has_kind(results, "drope"))
        fputs("<li>Without rotation a part of every key that is the same at all positions has no effect: the softmax "
              "takes no notice of it. So setting key dims to zero or to their mean is one and the same there, and key "
              "norms compare something that works with something that partly does not. And the dims of a head could be "
              "mixed by any invertible map between queries and keys without changing what it does: which of them are "
              "massive is an inheritance of the model with rotation.</li>\n",
              stream);
    if (has_kind(results, "drope") && !has_kind(results, "control"))
        fputs("<li><b>There is no control here</b>: how much of the change comes from dropping the rotation and how "
              "much from training on cannot be told. Train as long with the rotation kept "
              "(<code>--control rope</code>) and report both folders together.</li>\n",
              stream);
}

static void put_nothing(FILE *stream, const qk_results *results) { (void)stream, (void)results; }

const qk_study_page qk_train_page = {
    "What happens while the model trains?", put_train_question, put_findings, put_tables, put_limits, put_nothing,
};
const qk_study_page qk_recalibrate_page = {
    "What happens when the rotation is dropped?", put_recalibrate_question, put_findings, put_tables, put_limits,
    put_nothing,
};
