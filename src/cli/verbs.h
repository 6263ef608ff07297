/* verbs.h - every verb, one a file or a pair of kin in one. */
#ifndef QK_CLI_VERBS_H
#define QK_CLI_VERBS_H

#include "cli/cli.h"

#endif
