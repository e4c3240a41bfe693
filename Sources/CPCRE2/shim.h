// PCRE2 with 8-bit code units, for patterns that the pre-tokenizer does not know by heart.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
