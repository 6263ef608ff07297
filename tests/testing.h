/* testing.h - what every test program includes: cmocka with the headers it needs, and the data folder. */
#ifndef QK_TESTING_H
#define QK_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

/* "tests/data/NAME", in one of four static buffers. */
static inline const char *data_path(const char *name)
{
    static char paths[4][4096];
    static int next;
    const char *folder = getenv("QK_TEST_DATA");
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : "tests/data", name);
    return path;
}

/* Fails with the library's own message. */
#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        qk_error error_ = { QK_OK, "" };                                                                               \
        qk_error *err = &error_;                                                                                       \
        if ((call) != QK_OK) fail_msg("%s: %s", #call, error_.message);                                                \
        (void)err;                                                                                                     \
    } while (0)

#define assert_near(a, b, tolerance)                                                                                   \
    do {                                                                                                               \
        double a_ = (a), b_ = (b), t_ = (tolerance);                                                                   \
        if (!(a_ - b_ <= t_ && b_ - a_ <= t_)) fail_msg("%s = %.17g, expected %.17g +- %g", #a, a_, b_, t_);           \
    } while (0)

#endif
