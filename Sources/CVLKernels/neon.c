// ARMv8-A with Advanced SIMD.
#include "tables.h"
#include "vl_scalars.h"

#if defined(__aarch64__)
#include "neon.inc.h"

#define TABLE vl_table_neon
#define TABLE_ISA VL_ISA_NEON
#define TABLE_NAME "neon"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
