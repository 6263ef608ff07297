/* printed_json.h - what the program prints under --json. */
#ifndef QK_TESTS_PRINTED_JSON_H
#define QK_TESTS_PRINTED_JSON_H

#include <jansson.h>

#include "program.h"

/* stdout of a command that must succeed, parsed; nothing but the object stands there. */
static inline json_t *json_of(outcome o)
{
    json_error_t error;
    if (o.code != 0) fail_msg("exit %d: %s", o.code, o.err);
    json_t *object = json_loadb(o.out, o.n_out, 0, &error);
    if (!object) fail_msg("stdout is not JSON: %s at %d in: %.300s", error.text, error.position, o.out);
    outcome_free(&o);
    return object;
}

#endif
