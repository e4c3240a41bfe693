// One instruction set's table, from the functions that the including file has defined. TABLE, TABLE_ISA, TABLE_NAME and
// TABLE_NT_BF16 are set by that file, TABLE_DENSE where there is dense attention in bfloat16, and TABLE_ROUNDS where `attend`
// rounds if it may.
#ifndef TABLE_DENSE
#define TABLE_DENSE 0
#endif
#ifndef TABLE_ROUNDS
#define TABLE_ROUNDS 0
#endif
const vl_kernels TABLE = {
    .isa = TABLE_ISA,
    .name = TABLE_NAME,
    .nt_bf16_bf16 = TABLE_NT_BF16,
    .attend_dense = TABLE_DENSE,
    .attend_rounds = TABLE_ROUNDS,
#define VL_OP(field) .field = field,
#include "kernels.def"
#undef VL_OP
};
#undef TABLE
#undef TABLE_ISA
#undef TABLE_NAME
#undef TABLE_NT_BF16
#undef TABLE_DENSE
#undef TABLE_ROUNDS
