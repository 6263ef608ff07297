/* verbs.h - every verb; one a file, or two kin in one. */
#ifndef QK_CLI_VERBS_H
#define QK_CLI_VERBS_H

#include "cli/cli.h"

extern const cli_verb verb_info, verb_hooks, verb_tokenize, verb_ppl, verb_capture, verb_verify, verb_massive,
    verb_disrupt, verb_tasks, verb_context, verb_report, verb_world, verb_train, verb_recalibrate, verb_generate,
    verb_probes, verb_bench;

#endif
