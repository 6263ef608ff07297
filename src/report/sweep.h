/* sweep.h - what a killed process left beside the files it was writing. */
#ifndef QK_REPORT_SWEEP_H
#define QK_REPORT_SWEEP_H

/* Remove NAME.tmp-PID in `folder` and its figures/ where no process PID is running any more. */
void qk_sweep_leftovers(const char *folder);

#endif
