/* work.c - what one encode or decode needs while it runs. */
#include "text/tokenizer.h"

#include <stdlib.h>

qk_status qk_work_fail_memory(const qk_work *work)
{
    return qk_out_of_memory(work->err, "tokenizer", work->now.text.n + work->next.text.n);
}

void qk_work_swap(qk_work *work)
{
    qk_pieces done = work->now;
    work->now = work->next;
    work->next = done;
    work->next.n = 0;
    work->next.text.n = 0;
}

qk_status qk_work_steps(qk_work *work, const qk_steps *steps)
{
    qk_status status = QK_OK;
    for (size_t i = 0; !status && i < steps->n; i++) {
        work->next.n = 0;
        work->next.text.n = 0;
        if (!qk_bytes_reserve(&work->next.text, 1)) return qk_work_fail_memory(work);
        status = steps->items[i].apply(work, &steps->items[i]);
    }
    return status;
}

bool qk_work_emit(qk_work *work, int32_t id)
{
    if (!qk_grow(&work->ids, &work->ids_capacity, work->n_ids + 1, sizeof *work->ids)) return false;
    work->ids[work->n_ids++] = id;
    return true;
}

void qk_work_free(qk_work *work)
{
    qk_pieces_free(&work->now);
    qk_pieces_free(&work->next);
    free(work->ids);
    free(work->symbols);
    free(work->heap);
    free(work->unused_left);
    qk_regex_scratch_free(&work->scratch);
}
