/// What tests need of the system and Swift's modules do not show.
#ifndef VL_TEST_SUPPORT_H
#define VL_TEST_SUPPORT_H

#include <stdint.h>

#pragma clang assume_nonnull begin

/// Starts a program at a pseudo-terminal of its own, 24 rows of 200 columns, as the leader of a new session.
///
/// `arguments` and `environment` end with NULL. Returns the terminal's other end and the process's id in `process`; -1
/// with errno set when that fails.
int32_t vl_test_start_at_terminal(const char *program, char *_Nullable const *_Nonnull arguments,
                                  char *_Nullable const *_Nonnull environment, int32_t *process);

#pragma clang assume_nonnull end

#endif
