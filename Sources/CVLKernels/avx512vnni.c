// AVX-512 with VNNI, without BF16 dot products (Ice Lake, Cascade Lake).
#include "tables.h"
#include "vl_scalars.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))),   \
                             apply_to = function)
#define VL_VNNI
#include "avx512.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_avx512vnni
#define TABLE_ISA VL_ISA_AVX512VNNI
#define TABLE_NAME "avx512vnni"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
