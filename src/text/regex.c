/* regex.c - PCRE2 with its compiler.  The text is known to be valid UTF-8: checking it again at each match would make
 * cutting a text quadratic. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "text/tokenizer.h"

#define STACK_BYTES ((size_t)16 << 20) /* for patterns that backtrack over a long run */
#define MAX_STEPS 10000000             /* of one match; a pattern that needs more is hostile */

struct qk_regex { pcre2_code *code; bool compiled; };

qk_status qk_regex_new(qk_regex **out, const char *pattern, size_t n_bytes, qk_error *err)
{
    qk_bytes translated = { 0 };
    int shown = n_bytes < 200 ? (int)n_bytes : 200, code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    qk_regex *regex = calloc(1, sizeof *regex);
    qk_status status = QK_OK;
    if (!context || !regex) {
        status = qk_out_of_memory(err, "pattern", sizeof *regex);
        goto out;
    }
    status = qk_regex_translate(&translated, pattern, n_bytes, err);
    if (status) goto out;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    regex->code = pcre2_compile((PCRE2_SPTR)(translated.data ? translated.data : ""), translated.n,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
    if (!regex->code) {
        PCRE2_UCHAR message[120];
        pcre2_get_error_message(code, message, sizeof message);
        status = qk_fail(err, QK_E_UNSUPPORTED, "pattern \"%.*s\": %s", shown, pattern, (char *)message);
        goto out;
    }
    regex->compiled = pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) == 0; /* not allowed on some machines */
    *out = regex;
    regex = NULL;
out:
    if (regex) qk_regex_free(regex);
    pcre2_compile_context_free(context);
    free(translated.data);
    return status;
}

void qk_regex_free(qk_regex *regex)
{
    if (!regex) return;
    pcre2_code_free(regex->code);
    free(regex);
}

static qk_status prepare(qk_regex_scratch *scratch, qk_error *err)
{
    if (!scratch->match) scratch->match = pcre2_match_data_create(1, NULL);
    if (!scratch->context) {
        scratch->context = pcre2_match_context_create(NULL);
        if (scratch->context) pcre2_set_match_limit(scratch->context, MAX_STEPS);
    }
    return scratch->match && scratch->context ? QK_OK : qk_out_of_memory(err, "pattern", 0);
}

static int match_once(const qk_regex *regex, qk_regex_scratch *scratch, const char *text, size_t n_bytes, size_t from)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    if (!regex->compiled)
        return pcre2_match(regex->code, subject, n_bytes, from, PCRE2_NO_UTF_CHECK, scratch->match, scratch->context);
    int found =
        pcre2_jit_match(regex->code, subject, n_bytes, from, PCRE2_NO_UTF_CHECK, scratch->match, scratch->context);
    if (found != PCRE2_ERROR_JIT_STACKLIMIT || scratch->stack) return found;
    scratch->stack = pcre2_jit_stack_create((size_t)32 << 10, STACK_BYTES, NULL);
    if (!scratch->stack) return PCRE2_ERROR_NOMEMORY;
    pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return pcre2_jit_match(regex->code, subject, n_bytes, from, PCRE2_NO_UTF_CHECK, scratch->match, scratch->context);
}

qk_status qk_regex_next(bool *found, qk_span *match, const qk_regex *regex, qk_regex_scratch *scratch, const char *text,
                        size_t n_bytes, size_t from, qk_error *err)
{
    qk_status status = prepare(scratch, err);
    if (status) return status;
    int result = match_once(regex, scratch, text, n_bytes, from);
    *found = result >= 0;
    if (result >= 0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->match);
        *match = (qk_span){ ends[0], ends[1] };
        return QK_OK;
    }
    if (result == PCRE2_ERROR_NOMATCH) return QK_OK;
    PCRE2_UCHAR message[120];
    pcre2_get_error_message(result, message, sizeof message);
    return qk_fail(err, QK_E_UNSUPPORTED, "pattern at byte %zu of a piece of %zu bytes: %s", from, n_bytes,
                   (char *)message);
}

void qk_regex_scratch_free(qk_regex_scratch *scratch)
{
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    *scratch = (qk_regex_scratch){ 0 };
}
