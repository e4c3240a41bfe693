// ARMv8.2-A with 8-bit dot products.
#include "tables.h"
#include "vl_scalars.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define VL_DOT
#include "neon.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_neondot
#define TABLE_ISA VL_ISA_NEONDOT
#define TABLE_NAME "neondot"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
