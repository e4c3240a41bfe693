// ARMv8.6-A's 8-bit matrix products, without bfloat16 (a combination that the architecture allows).
#include "tables.h"
#include "vl_scalars.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#define VL_DOT
#define VL_I8MM
#include "neon.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_neoni8mm
#define TABLE_ISA VL_ISA_NEONI8MM
#define TABLE_NAME "neoni8mm"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
