/* merge.h - the arms of several training runs as one study, so that they are drawn side by side. */
#ifndef QK_REPORT_MERGE_H
#define QK_REPORT_MERGE_H

#include "report/results.h"

/* `names` are the parts' folders: where two arms have one name, these tell them apart.  *out stays NULL, and `why` says
 * in words why, where the parts cannot be compared: other probe documents, another threshold, models of other shapes,
 * too many arms.  Its folder is `folder`; it has no manifest. */
qk_status qk_results_merge(qk_results **out, char why[200], const qk_results *const *parts, const char *const *names,
                           size_t n_parts, const char *folder, qk_error *err);

#endif
