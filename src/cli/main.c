/* main.c - placeholder of the verb table. */
#include <stdio.h>
#include "qkscope.h"
int main(void) { printf("qkscope %s\n", qk_version()); return 0; }
