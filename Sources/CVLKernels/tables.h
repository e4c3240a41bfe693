// The tables of this build; dispatch.c chooses one. An ISA file that does not fit the target is empty.
#ifndef VL_TABLES_H
#define VL_TABLES_H

#include "vl_kernels.h"

extern const vl_kernels vl_table_scalar;
#if defined(__x86_64__)
extern const vl_kernels vl_table_avx2;
extern const vl_kernels vl_table_avx512;
extern const vl_kernels vl_table_avx512vnni;
extern const vl_kernels vl_table_avx512bf16;
#endif
#if defined(__aarch64__)
extern const vl_kernels vl_table_neon;
extern const vl_kernels vl_table_neondot;
extern const vl_kernels vl_table_neoni8mm;
extern const vl_kernels vl_table_neonbf16;
#endif

#endif
