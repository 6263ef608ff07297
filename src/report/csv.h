/* csv.h - the numbers of a study as long tables, one row an observation. */
#ifndef QK_REPORT_CSV_H
#define QK_REPORT_CSV_H

#include "report/results.h"

/* Write every table of the study into the run's folder (docs/FORMATS.md, "CSV files"). */
qk_status qk_csv_write(const qk_results *results, qk_error *err);

#endif
