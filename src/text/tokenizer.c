/* tokenizer.c - a tokenizer from a file: which kind it is, and what follows from its parts. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

qk_status qk_steps_add(qk_steps *steps, qk_step step, qk_error *err)
{
    if (!qk_grow(&steps->items, &steps->capacity, steps->n + 1, sizeof *steps->items)) {
        qk_regex_free(step.regex);
        return qk_out_of_memory(err, "steps", sizeof step);
    }
    steps->items[steps->n++] = step;
    return QK_OK;
}

qk_status qk_added_add(qk_tokenizer *t, qk_added_token token, qk_error *err)
{
    token.text = qk_arena_copy(&t->arena, token.text, token.n_bytes);
    if (!token.text || !qk_grow(&t->added, &t->added_capacity, t->n_added + 1, sizeof *t->added))
        return qk_out_of_memory(err, "added tokens", token.n_bytes);
    t->added[t->n_added++] = token;
    return QK_OK;
}

qk_status qk_tokenizer_surround(qk_tokenizer *t, bool before, const int32_t *ids, size_t n, qk_error *err)
{
    if (n == 0) return QK_OK;
    int32_t *copy = qk_arena_alloc(&t->arena, n * sizeof *copy);
    if (!copy) return qk_out_of_memory(err, "tokenizer", n * sizeof *copy);
    memcpy(copy, ids, n * sizeof *copy);
    if (before) t->prefix = copy, t->n_prefix = n;
    else t->suffix = copy, t->n_suffix = n;
    return QK_OK;
}

/* The text to look for: as it is, or as the normalizers leave it. */
static qk_status add_literal(qk_tokenizer *t, qk_work *work, size_t index)
{
    const qk_added_token *token = &t->added[index];
    qk_status status = QK_OK;
    if (!token->normalized || t->normalizers.n == 0)
        return qk_literals_add(token->normalized ? &t->normalized : &t->raw, token->text, token->n_bytes, index)
                   ? QK_OK
                   : qk_work_fail_memory(work);
    work->now.n = work->now.text.n = 0;
    if (!qk_bytes_add(&work->now.text, token->text, token->n_bytes) || !qk_pieces_cut(&work->now, 0, token->n_bytes))
        return qk_work_fail_memory(work);
    status = qk_work_steps(work, &t->normalizers);
    if (status || work->now.n == 0) return status;
    size_t n_bytes = work->now.spans[0].end;
    const char *text = qk_arena_copy(&t->arena, work->now.text.data, n_bytes);
    return text && qk_literals_add(&t->normalized, text, n_bytes, index) ? QK_OK : qk_work_fail_memory(work);
}

static qk_status index_added(qk_tokenizer *t, qk_error *err)
{
    qk_work work = { .tokenizer = t, .err = err };
    qk_status status = qk_new_array((void **)&t->is_special, t->vocabulary.n, sizeof *t->is_special, "vocabulary", err);
    for (size_t i = 0; !status && i < t->n_added; i++) {
        t->is_special[t->added[i].id] = t->added[i].special;
        status = add_literal(t, &work, i);
    }
    qk_literals_sort(&t->raw);
    qk_literals_sort(&t->normalized);
    qk_work_free(&work);
    return status;
}

qk_status qk_tokenizer_finish(qk_tokenizer *t, qk_error *err)
{
    qk_status status = QK_OK;
    if (t->vocabulary.n == 0) return qk_fail(err, QK_E_FORMAT, "vocabulary: expected tokens, found none");
    t->info.n_vocab = t->vocabulary.n;
    t->info.unk = t->bpe.unknown;
    t->info.adds_bos = t->n_prefix > 0;
    t->info.adds_eos = t->n_suffix > 0;
    status = qk_bpe_finish(&t->bpe, &t->vocabulary, err);
    if (!status) status = index_added(t, err);
    if (!status) status = qk_tokenizer_spell(t, err);
    return status;
}

qk_status qk_tokenizer_new(qk_tokenizer **out, qk_error *err)
{
    qk_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return qk_out_of_memory(err, "tokenizer", sizeof *t);
    t->info.bos = t->info.eos = t->info.unk = t->bpe.unknown = -1;
    *out = t;
    return QK_OK;
}

static void free_steps(qk_steps *steps)
{
    for (size_t i = 0; i < steps->n; i++) qk_regex_free(steps->items[i].regex);
    free(steps->items);
}

void qk_tokenizer_close(qk_tokenizer *t)
{
    if (!t) return;
    free_steps(&t->normalizers);
    free_steps(&t->pre_tokenizers);
    free_steps(&t->decoders);
    qk_literals_free(&t->raw);
    qk_literals_free(&t->normalized);
    qk_bpe_free(&t->bpe);
    qk_vocabulary_free(&t->vocabulary);
    free(t->added);
    free(t->is_special);
    free(t->spelling.data);
    free(t->spelling_ends);
    qk_arena_free(&t->arena);
    free(t);
}

const qk_tokenizer_info *qk_tokenizer_describe(const qk_tokenizer *tokenizer) { return &tokenizer->info; }
