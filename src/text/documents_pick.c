/* documents_pick.c - the first documents of a set, or of the synthetic world, that serve a purpose. */
#include "text/documents_set.h"
#include "text/pick.h"

#include <stdlib.h>
#include <string.h>

typedef struct picking {
    qk_document_set set;
    const qk_pick *pick;
    size_t n_tokens;
} picking;

static bool enough(const picking *p)
{
    const qk_pick *pick = p->pick;
    return (pick->n_documents && p->set.documents.n >= pick->n_documents) ||
           (pick->n_tokens && p->n_tokens >= pick->n_tokens);
}

/* Kept, with its tokens, where it is long enough. */
static qk_status consider(picking *p, qk_document_source source, qk_error *err)
{
    const qk_pick *pick = p->pick;
    int32_t *tokens = NULL;
    size_t n = 0, cut;
    qk_status status = qk_encode(&tokens, &n, pick->tokenizer, source.text, source.n_bytes,
                                 (qk_encode_options){ .no_bos = pick->no_bos }, err);
    if (status) return qk_prefix(err, status, "%s", source.id);
    if (n < 2 || n <= pick->longer_than) {
        free(tokens);
        return QK_OK;
    }
    status = qk_document_set_add(&p->set, source, err);
    if (status) {
        free(tokens);
        return status;
    }
    qk_document *d = &p->set.documents.items[p->set.documents.n - 1];
    cut = pick->cut && n > pick->cut ? n - pick->cut : 0;
    d->tokens = tokens;
    d->n_tokens = n - cut;
    d->n_cut = cut;
    p->n_tokens += d->n_tokens;
    return QK_OK;
}

static qk_status finish(qk_documents *out, picking *p, qk_status status, qk_error *err)
{
    if (!status && p->set.documents.n > 0) return qk_document_set_finish(out, &p->set, err);
    qk_document_set_free(&p->set);
    if (!status) *out = (qk_documents){ 0 };
    return status;
}

qk_status qk_documents_pick(qk_documents *out, const qk_documents *from, size_t first, size_t n, const qk_pick *pick,
                            qk_error *err)
{
    picking p = { .pick = pick };
    qk_status status = QK_OK;
    for (size_t i = first; i < first + n && !status && !enough(&p); i++) {
        const qk_document *d = &from->items[i];
        status = consider(&p,
                          (qk_document_source){ .id = d->id,
                                                .category = d->category,
                                                .text = d->text,
                                                .n_bytes = d->n_bytes,
                                                .place = { d->id, i + 1 } },
                          err);
    }
    return finish(out, &p, status, err);
}

qk_status qk_documents_pick_world(qk_documents *out, const qk_world *world, qk_split split, uint64_t n,
                                  const qk_pick *pick, qk_error *err)
{
    static const char *const names[] = { "train", "validation", "test" };
    picking p = { .pick = pick };
    qk_status status = QK_OK;
    for (uint64_t i = 0; i < n && !status && !enough(&p); i++) {
        char id[40];
        qk_world_document d;
        snprintf(id, sizeof id, "%s-%llu", names[split], (unsigned long long)i);
        status = qk_world_write(&d, world, split, i, err);
        if (status) break;
        status = consider(
            &p,
            (qk_document_source){
                .id = id, .category = d.kind, .text = d.text, .n_bytes = d.n_bytes, .place = { "the world", i + 1 } },
            err);
        free(d.text);
    }
    return finish(out, &p, status, err);
}
