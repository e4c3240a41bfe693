// The probes of `bench --limits`: they run the instructions of the best table, and none that the processor lacks (qemu
// ends a program that tries).
#include "check.h"

static void check_probe(const char *name, double (*probe)(int64_t), double operations) {
    CHECK(probe(0) == 0, "%s: no rounds do %g operations", name, probe(0));
    CHECK(probe(1) == operations, "%s: a round does %g operations, expected %g", name, probe(1), operations);
    CHECK(probe(1000) == 1000 * operations, "%s: 1000 rounds do %g operations", name, probe(1000));
}

void check_probes(void) {
    const int dot = vl_kernels_for(VL_ISA_NEONDOT) != 0, i8mm = vl_kernels_for(VL_ISA_NEONI8MM) != 0;
    // 24 chains; multiplications and additions of an instruction: FMLA 4 of each, SDOT 16, BFMMLA 16, SMMLA 32.
    check_probe("float32", vl_probe_f32, 24 * 8);
    check_probe("bfloat16", vl_probe_bf16, vl_kernels_for(VL_ISA_NEONBF16) ? 24 * 32 : 0);
    check_probe("8-bit", vl_probe_int8, i8mm ? 24 * 64 : dot ? 24 * 32 : 0);
}
