/* threads.c - how many, and what happens after fork(). */
#include "base/base.h"

#include <omp.h>
#include <pthread.h>

int qk_thread_count(int wanted)
{
    int n = wanted > 0 ? wanted : omp_get_max_threads();
    return n > 0 ? n : 1;
}

/* libgomp's pool does not survive fork(): the child's first parallel region would wait for threads that are gone. */
static void run_alone(void) { omp_set_num_threads(1); }

void qk_guard_fork(void) { pthread_atfork(NULL, NULL, run_alone); }
