// Chooses the table once, from what the processor and the operating system support.
#include <stdlib.h>
#include <string.h>

#include "tables.h"

#if defined(__x86_64__)
#include <cpuid.h>

static int supports(vl_isa isa) {
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    switch (isa) {
        case VL_ISA_SCALAR: return 1;
        case VL_ISA_AVX2: return avx2;
        case VL_ISA_AVX512: return avx512;
        case VL_ISA_AVX512VNNI: return avx512 && __builtin_cpu_supports("avx512vnni");
        case VL_ISA_AVX512BF16:
            return avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
        default: return 0;
    }
}
#endif

#if defined(__aarch64__)
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

// Headers that are older than these bits lack their names.
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)
#endif
#ifndef HWCAP2_BF16
#define HWCAP2_BF16 (1 << 14)
#endif

static int has_dot_products(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
static int has_int8_matrices(void) { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
static int has_bf16_matrices(void) { return (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0; }
#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int feature(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, 0, 0) == 0 && value != 0;
}

// Every Apple processor that runs macOS has dot products; the others came with the M2.
static int has_dot_products(void) { return 1; }
static int has_int8_matrices(void) { return feature("hw.optional.arm.FEAT_I8MM"); }
static int has_bf16_matrices(void) { return feature("hw.optional.arm.FEAT_BF16"); }
#else
// No way to ask is known here.
static int has_dot_products(void) { return 0; }
static int has_int8_matrices(void) { return 0; }
static int has_bf16_matrices(void) { return 0; }
#endif
#endif

const vl_kernels *vl_kernels_for(vl_isa isa) {
#if defined(__x86_64__)
    if (!supports(isa)) return 0;
    switch (isa) {
        case VL_ISA_SCALAR: return &vl_table_scalar;
        case VL_ISA_AVX2: return &vl_table_avx2;
        case VL_ISA_AVX512: return &vl_table_avx512;
        case VL_ISA_AVX512VNNI: return &vl_table_avx512vnni;
        case VL_ISA_AVX512BF16: return &vl_table_avx512bf16;
        default: return 0;
    }
#elif defined(__aarch64__)
    // Advanced SIMD is part of ARMv8-A: no question to the processor is needed.
    switch (isa) {
        case VL_ISA_SCALAR: return &vl_table_scalar;
        case VL_ISA_NEON: return &vl_table_neon;
        case VL_ISA_NEONDOT: return has_dot_products() ? &vl_table_neondot : 0;
        case VL_ISA_NEONI8MM: return has_dot_products() && has_int8_matrices() ? &vl_table_neoni8mm : 0;
        case VL_ISA_NEONBF16:
            return has_dot_products() && has_int8_matrices() && has_bf16_matrices() ? &vl_table_neonbf16 : 0;
        default: return 0;
    }
#else
    return isa == VL_ISA_SCALAR ? &vl_table_scalar : 0;
#endif
}

const vl_kernels *vl_kernels_best(void) {
    const vl_kernels *best = &vl_table_scalar;
    const char *wanted = getenv("VL_ISA");
    for (int isa = 0; isa < VL_ISA_COUNT; isa++) {
        const vl_kernels *table = vl_kernels_for((vl_isa)isa);
        if (!table) continue;
        if (wanted && strcmp(wanted, table->name) == 0) return table;
        best = table;
    }
    return best;
}

const char *vl_cpu_name(void) {
    static char name[49] = "unknown";
#if defined(__x86_64__)
    unsigned words[12];
    unsigned highest = __get_cpuid_max(0x80000000u, 0);
    if (highest < 0x80000004u) return name;
    for (unsigned leaf = 0; leaf < 3; leaf++)
        __cpuid(0x80000002u + leaf, words[4 * leaf], words[4 * leaf + 1], words[4 * leaf + 2], words[4 * leaf + 3]);
    char text[49];
    memcpy(text, words, 48);
    text[48] = 0;
    const char *start = text;
    while (*start == ' ') start++;
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ') length--;
    if (length > 0) {
        memcpy(name, start, length);
        name[length] = 0;
    }
#elif defined(__aarch64__)
    strcpy(name, "ARMv8-A");
#endif
    return name;
}
