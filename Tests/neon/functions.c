// Functions of one value, norms, rotations and conversions, at every length.
#include "check.h"

static const float odd[] = {0.0f,   -0.0f,   INFINITY, -INFINITY, NAN,    3e38f,    -3e38f,
                            1e20f,  -1e20f,  1e-20f,   1e-38f,    1e-45f, 88.7f,    -88.7f,
                            103.0f, -103.9f, 4.2f,     -4.2f,     1.0f,   65504.0f, 65520.0f};
enum { ODD = sizeof odd / sizeof odd[0] };

// Values that are not to be compared by size: the same kind, or near each other.
static int alike(float a, float b, float least) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabsf(a - b) <= 2e-6f * fabsf(b) + least;
}

static void check_map(const vl_kernels *k, const vl_kernels *s, int64_t n) {
    static const float bounds[6] = {1e-6f, 1e-6f, 1e-6f, 0.0f, 2e-7f, 2e-7f};
    const float *x = numbers(0, n, 12), *y = numbers(1, n, 2), *z = numbers(2, n, 2);
    for (int f = 0; f < 6; f++) {
        float *out[2] = {place(3, n * 4), place(4, n * 4)};
        for (int i = 0; i < 2; i++) {
            const vl_kernels *t = i == 0 ? k : s;
            memcpy(out[i], x, (size_t)n * 4);
            switch (f) {
                case 0: t->silu_multiply(out[i], x, y, n); break;
                case 1: t->gelu_tanh(out[i], x, n); break;
                case 2: t->gelu_erf(out[i], x, n); break;
                case 3: t->add(out[i], y, n); break;
                case 4: t->add_scaled(out[i], y, 0.37f, n); break;
                default: t->rotate_halves(out[i], y, z, n / 2 * 2); break;
            }
        }
        CHECK(error_of(out[0], out[1], n) <= bounds[f], "%s: function %d, length %lld: error %g", k->name, f,
              (long long)n, (double)error_of(out[0], out[1], n));
    }
    if (n == 0) return;
    const float *w = numbers(1, n, 1), *b = numbers(2, n, 1);
    float *found = place(3, n * 4), *expected = place(4, n * 4);
    k->rms_norm(found, x, w, 1e-6f, n);
    s->rms_norm(expected, x, w, 1e-6f, n);
    CHECK(error_of(found, expected, n) < 2e-6f, "%s: rms norm %lld", k->name, (long long)n);
    k->layer_norm(found, x, w, b, 1e-6f, n);
    s->layer_norm(expected, x, w, b, 1e-6f, n);
    CHECK(error_of(found, expected, n) < (n < 4 ? 1e-3f : 4e-6f), "%s: layer norm %lld", k->name, (long long)n);
}

static void check_exponential(const vl_kernels *k) {
    enum { N = 40001 };
    float *x = place(0, N * 4), *y = place(1, N * 4);
    for (int i = 0; i < N; i++) x[i] = -105.0f + (float)i * 0.005f;
    k->exponential(y, x, N);
    for (int i = 0; i < N; i++) {
        const float expected = (float)exp((double)x[i]);
        const float unit = nextafterf(expected, INFINITY) - expected;
        if (isfinite(expected) && expected > 1e-37f)
            CHECK(fabsf(y[i] - expected) <= 2 * unit, "%s: exp(%g) = %g", k->name, (double)x[i], (double)y[i]);
        else
            CHECK(fabsf(y[i] - expected) <= 1e-38f || (isinf(y[i]) && isinf(expected)), "%s: exp(%g) = %g", k->name,
                  (double)x[i], (double)y[i]);
    }
    float ends[4] = {-INFINITY, INFINITY, NAN, 0};
    k->exponential(ends, ends, 4);
    CHECK(ends[0] == 0 && isinf(ends[1]) && isnan(ends[2]) && ends[3] == 1, "%s: the ends of exp", k->name);
}

static void check_conversions(const vl_kernels *k, const vl_kernels *s) {
    enum { ALL = 65536 };
    uint16_t *x = place(0, ALL * 2), *back[2] = {place(1, ALL * 2), place(2, ALL * 2)};
    float *y[2] = {place(3, ALL * 4), place(4, ALL * 4)};
    for (int i = 0; i < ALL; i++) x[i] = (uint16_t)i;
    k->f32_from_bf16(y[0], x, ALL), s->f32_from_bf16(y[1], x, ALL);
    CHECK(same_bits(y[0], y[1], ALL), "%s: widening bfloat16", k->name);
    k->f32_from_f16(y[0], x, ALL), s->f32_from_f16(y[1], x, ALL);
    CHECK(same_bits(y[0], y[1], ALL), "%s: widening halves", k->name);
    for (int n = 0; n < 11; n++) {
        k->f32_from_f16(y[0], x + ALL - n, n), s->f32_from_f16(y[1], x + ALL - n, n);
        CHECK(same_bits(y[0], y[1], n), "%s: widening %d halves", k->name, n);
        k->f32_from_bf16(y[0], x + ALL - n, n), s->f32_from_bf16(y[1], x + ALL - n, n);
        CHECK(same_bits(y[0], y[1], n), "%s: widening %d bfloat16", k->name, n);
    }
    for (int i = 0; i < ALL; i++) y[0][i] = i < ODD ? odd[i] : vl_float(bits());
    for (int half = 0; half < 2; half++) {
        (half ? k->f16_from_f32 : k->bf16_from_f32)(back[0], y[0], ALL);
        (half ? s->f16_from_f32 : s->bf16_from_f32)(back[1], y[0], ALL);
        CHECK(memcmp(back[0], back[1], ALL * 2) == 0, "%s: rounding to %s", k->name, half ? "halves" : "bfloat16");
    }
}

void check_functions(const vl_kernels *k) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    seed(1);
    for (int64_t n = 0; n <= 40; n++) check_map(k, s, n);
    check_map(k, s, 64), check_map(k, s, 127), check_map(k, s, 1152);
    check_exponential(k);
    check_conversions(k, s);
    float ones[ODD], a[ODD], b[ODD];
    for (int i = 0; i < ODD; i++) ones[i] = 1.0f;
    for (int f = 0; f < 3; f++) {
        for (int i = 0; i < 2; i++) {
            const vl_kernels *t = i == 0 ? k : s;
            if (f == 0) t->silu_multiply(i == 0 ? a : b, odd, ones, ODD);
            if (f == 1) t->gelu_tanh(i == 0 ? a : b, odd, ODD);
            if (f == 2) t->gelu_erf(i == 0 ? a : b, odd, ODD);
        }
        for (int i = 0; i < ODD; i++)
            // The scalar form of the tanh GELU loses digits where 1 + tanh is next to nothing.
            CHECK(alike(a[i], b[i], f == 1 && isfinite(odd[i]) ? 5e-7f * fabsf(odd[i]) + 1e-37f : 1e-37f),
                  "%s: function %d of %g is %g, expected %g", k->name, f, (double)odd[i], (double)a[i], (double)b[i]);
    }
}
