/* report.c - draw a run again: tables, figures and the page, from its results alone. */
#include <string.h>

#include "cli/verbs.h"

static qk_status run_report(cli_command *command, qk_error *err)
{
    const char *folder = command->arguments.items[0];
    qk_report_options options = { command->options.figures & FIGURE_PNG, command->options.figures & FIGURE_PDF };
    if (!qk_path_is_folder(folder))
        return qk_fail(err, QK_E_IO, "%s: expected the folder of a run, found none", folder);
    qk_status status = qk_report_build(folder, &options, err);
    if (!status) cli_say(command, "report: %s%sreport.html", folder, folder[strlen(folder) - 1] == '/' ? "" : "/");
    return status;
}

static const cli_option_id report_options[] = { OPTION_FIGURES, OPTIONS_TALK, OPTION_END };

const cli_verb verb_report = {
    .name = "report",
    .run = run_report,
    .arguments = "RUNDIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = report_options,
    .line = "Rebuild the tables, figures and report.html of a run from its results",
    .details = "A folder whose subfolders are runs becomes one report of all of them.",
    .examples = "  qkscope report runs/massive-tiny-20260102-030405 --figures png,pdf",
};
