// Runs each table of this processor against the scalar one, with the bounds of Tests/KernelTests: those tests are Swift,
// and a cross compiler for C is all that this needs. scripts/test-isas builds it for ARMv8-A and runs it in qemu.
//
//     neon [TABLE...]     the tables that must be there; fails if one of them is missing
#include "check.h"

int64_t checks, failures;
static uint64_t state;

void seed(uint64_t value) { state = value * 0x9e3779b97f4a7c15u + 1; }

uint32_t bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

float number(void) { return (float)(int32_t)bits() * 0x1p-31f; }

void *place(int at, int64_t bytes) {
    enum { SIZE = 4 << 20, PAGE = 65536 };
    static char *ends[PLACES];
    if (at < 0 || at >= PLACES || bytes > SIZE) abort();
    if (!ends[at]) {
        char *start = mmap(0, SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED || mprotect(start + SIZE, PAGE, PROT_NONE) != 0) abort();
        ends[at] = start + SIZE;
    }
    return ends[at] - bytes;
}

float *numbers(int at, int64_t count, float scale) {
    float *x = place(at, count * 4);
    for (int64_t i = 0; i < count; i++) x[i] = number() * scale;
    return x;
}

uint16_t *narrowed(int at, const float *x, int64_t count, int half) {
    uint16_t *y = place(at, count * 2);
    for (int64_t i = 0; i < count; i++) y[i] = half ? vl_f16_of(x[i]) : vl_bf16_of(x[i]);
    return y;
}

float error_of(const float *found, const float *expected, int64_t n) {
    float size = 1.0f, worst = 0.0f;
    for (int64_t i = 0; i < n; i++) size = fmaxf(size, fabsf(expected[i]));
    for (int64_t i = 0; i < n; i++) {
        const float difference = fabsf(found[i] - expected[i]);
        if (!(difference <= 3e38f)) return INFINITY;
        worst = fmaxf(worst, difference);
    }
    return worst / size;
}

int same_bits(const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (vl_bits(a[i]) != vl_bits(b[i]) && !(isnan(a[i]) && isnan(b[i]))) return 0;
    }
    return 1;
}

static const vl_kernels *named(const char *name) {
    for (int isa = 0; isa < VL_ISA_COUNT; isa++) {
        const vl_kernels *k = vl_kernels_for((vl_isa)isa);
        if (k && strcmp(k->name, name) == 0) return k;
    }
    return 0;
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) CHECK(named(arguments[i]), "there is no table %s", arguments[i]);
    const vl_kernels *last = vl_kernels_for(VL_ISA_SCALAR);
    int tables = 0;
    for (int isa = 0; isa < VL_ISA_COUNT; isa++) {
        const vl_kernels *k = vl_kernels_for((vl_isa)isa);
        if (!k) continue;
        tables++;
        last = k;
        CHECK((int)k->isa == isa, "the table of instruction set %d says %d", isa, (int)k->isa);
        // The environment asks for a table by its name.
        setenv("VL_ISA", k->name, 1);
        CHECK(vl_kernels_best() == k, "VL_ISA=%s gives %s", k->name, vl_kernels_best()->name);
        if (isa == VL_ISA_SCALAR) continue;
        const int64_t before = checks, failed = failures;
        check_functions(k);
        check_products(k);
        check_order(k);
        check_blocks(k);
        check_attention(k);
        check_dense(k);
        printf("%s: %lld checks, %lld failed\n", k->name, (long long)(checks - before), (long long)(failures - failed));
    }
    check_probes();
    unsetenv("VL_ISA");
    CHECK(vl_kernels_best() == last, "the best table is %s", vl_kernels_best()->name);
    CHECK(count == 1 || tables == count - 1, "%d tables, expected %d", tables, count - 1);
    return failures > 0;
}
