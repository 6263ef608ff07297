/* quadrature.c - Gauss-Legendre on [-1, 1]: the roots of P_16 by Newton's method. */
#include "stats/internal.h"

qk_rule qk_gauss_legendre(void)
{
    qk_rule out;
    for (int i = 0; i < QK_NODES; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (QK_NODES + 0.5)), slope = 1;
        for (int step = 0; step < 8; step++) {
            double before = 1, here = x; /* P_0, P_1 */
            for (int k = 2; k <= QK_NODES; k++) {
                double next = ((2 * k - 1) * x * here - (k - 1) * before) / k;
                before = here;
                here = next;
            }
            slope = QK_NODES * (x * here - before) / (x * x - 1);
            x -= here / slope;
        }
        out.x[i] = x;
        out.weight[i] = 2 / ((1 - x * x) * slope * slope);
    }
    return out;
}
