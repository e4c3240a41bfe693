// AVX-512 without VNNI (Skylake-X).
#include "tables.h"
#include "vl_scalars.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))),              \
                             apply_to = function)
#include "avx512.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_avx512
#define TABLE_ISA VL_ISA_AVX512
#define TABLE_NAME "avx512"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
