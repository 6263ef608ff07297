/* backward_reference.c - the oracle of the derivatives: plain loops, double accumulators, never optimised. */
#include "math/backward.h"

#include <math.h>

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* Written, or added to what is there. */
static void put(float *to, double value, bool add) { *to = (float)(add ? *to + value : value); }

static void product_input(const qk_derivatives *self, float *dx, const float *dy, const float *w, size_t m, size_t n,
                          size_t k, bool add, int n_threads)
{
    (void)self;
#pragma omp parallel for num_threads(n_threads) if (m * n * k > 100000)
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < k; j++) {
            double sum = 0;
            for (size_t l = 0; l < n; l++) sum += (double)dy[i * n + l] * w[l * k + j];
            put(&dx[i * k + j], sum, add);
        }
}

static void product_weight(const qk_derivatives *self, float *dw, float *dbias, const float *dy, const float *x,
                           size_t m, size_t n, size_t k, int n_threads)
{
    (void)self;
#pragma omp parallel for num_threads(n_threads) if (m * n * k > 100000)
    for (size_t i = 0; i < n; i++) {
        double bias = 0;
        for (size_t j = 0; j < k; j++) {
            double sum = 0;
            for (size_t l = 0; l < m; l++) sum += (double)dy[l * n + i] * x[l * k + j];
            put(&dw[i * k + j], sum, true);
        }
        for (size_t l = 0; l < m; l++) bias += (double)dy[l * n + i];
        if (dbias) put(&dbias[i], bias, true);
    }
}

/* With r = 1 / sqrt(mean(x^2) + eps):  dgain = sum over rows of dy x r,  dx = r gain dy - x r^3 / n sum(gain dy x). */
static void rms_norm(float *dx, float *dgain, const float *dy, const float *x, const float *gain, size_t m, size_t n,
                     double eps, bool add, double *partial, int n_threads)
{
    (void)n_threads;
    for (size_t j = 0; j < n; j++) partial[j] = 0;
    for (size_t i = 0; i < m; i++, dx += n, dy += n, x += n) {
        double r = 1 / sqrt(dot(x, x, n) / (double)n + eps), along = 0;
        for (size_t j = 0; j < n; j++) {
            along += (double)gain[j] * dy[j] * x[j];
            partial[j] += dy[j] * (x[j] * r);
        }
        along *= r * r * r / (double)n;
        for (size_t j = 0; j < n; j++) put(&dx[j], r * gain[j] * dy[j] - x[j] * along, add);
    }
    for (size_t j = 0; j < n; j++) put(&dgain[j], partial[j], true);
}

static void rotate(float *dx, const float *cos, const float *sin, size_t head_dim)
{
    size_t half = head_dim / 2;
    for (size_t m = 0; m < half; m++) {
        double a = dx[m], b = dx[m + half];
        dx[m] = (float)(a * cos[m] + b * sin[m]);
        dx[m + half] = (float)(b * cos[m] - a * sin[m]);
    }
}

/* With P the softmax:  dP = dz v^T,  dS = scale P (dP - sum over keys of P dP)  of the seen keys, 0 of the others. */
static void score_gradients(const qk_attention_gradient *a)
{
    const qk_attention *f = &a->forward;
    size_t n_keys = f->row0 + f->n_rows;
    for (size_t i = 0; i < f->n_rows; i++) {
        const float *p = f->scores + i * f->scores_stride;
        float *ds = a->dscores + i * f->scores_stride;
        double mean = 0;
        for (size_t j = 0; j <= f->row0 + i; j++)
            mean += p[j] * dot(a->dz + i * f->z_stride, f->v + j * f->kv_stride, f->head_dim);
        for (size_t j = 0; j <= f->row0 + i; j++)
            ds[j] =
                (float)(f->scale * p[j] * (dot(a->dz + i * f->z_stride, f->v + j * f->kv_stride, f->head_dim) - mean));
        for (size_t j = f->row0 + i + 1; j < n_keys; j++) ds[j] = 0;
    }
}

/* dq = dS k, dk += dS^T q, dv += P^T dz. */
static void attention(const qk_derivatives *self, const qk_attention_gradient *a)
{
    (void)self;
    const qk_attention *f = &a->forward;
    size_t n_keys = f->row0 + f->n_rows, stride = f->scores_stride;
    score_gradients(a);
    for (size_t d = 0; d < f->head_dim; d++) {
        for (size_t i = 0; i < f->n_rows; i++) {
            double sum = 0;
            for (size_t j = 0; j < n_keys; j++) sum += (double)a->dscores[i * stride + j] * f->k[j * f->kv_stride + d];
            a->dq[i * f->q_stride + d] = (float)sum;
        }
        for (size_t j = 0; j < n_keys; j++) {
            double dk = 0, dv = 0;
            for (size_t i = 0; i < f->n_rows; i++) {
                dk += (double)a->dscores[i * stride + j] * f->q[i * f->q_stride + d];
                dv += (double)f->scores[i * stride + j] * a->dz[i * f->z_stride + d];
            }
            put(&a->dk[j * f->kv_stride + d], dk, true);
            put(&a->dv[j * f->kv_stride + d], dv, true);
        }
    }
}

static void silu_mul(float *dgate, float *dup, const float *dout, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double s = 1 / (1 + exp(-(double)gate[i])), d = dout[i];
        dgate[i] = (float)(d * up[i] * s * (1 + gate[i] * (1 - s)));
        dup[i] = (float)(d * gate[i] * s);
    }
}

static double nll(float *logits, size_t n, size_t target, float scale)
{
    double top = -INFINITY, sum = 0, at_target = logits[target];
    for (size_t i = 0; i < n; i++) top = fmax(top, logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp(logits[i] - top);
    for (size_t i = 0; i < n; i++) logits[i] = (float)(scale * (exp(logits[i] - top) / sum - (i == target)));
    return log(sum) + top - at_target;
}

static const qk_derivatives table = { "reference", NULL, QK_OPERANDS_PLAIN, product_input, product_weight,
                                      rms_norm,    rotate, attention, silu_mul,      nll };

const qk_derivatives *qk_derivatives_reference(void) { return &table; }
