/// Editing a line at a terminal, through libedit, and noticing Ctrl-C.
///
/// libedit is set up by functions with variable arguments and calls back for its keys: both stay in C.
#ifndef VL_TERMINAL_H
#define VL_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// An editor on standard input and output, with its history.
typedef struct vl_editor vl_editor;

/// What a reading ended with.
typedef enum {
    VL_EDITOR_LINE = 0,         // a line, perhaps with line feeds that were pasted
    VL_EDITOR_END = 1,          // the end of the input: Ctrl-D in an empty line
    VL_EDITOR_INTERRUPTED = 2,  // Ctrl-C: the line was given up
} vl_editor_outcome;

/// Makes an editor; NULL when there is no memory or no terminal. `name` is how ~/.editrc calls the program.
vl_editor *_Nullable vl_editor_open(const char *name, int32_t history_size);
void vl_editor_close(vl_editor *editor);

/// Reads a line. On VL_EDITOR_LINE, `line` has its `length` bytes without the last line feed, valid until the next
/// call; on VL_EDITOR_INTERRUPTED, it has what had been typed.
vl_editor_outcome vl_editor_read(vl_editor *editor, const char *prompt, const char *_Nullable *_Nonnull line,
                                 size_t *length);

/// Adds an entry to the history, unless it is the last one's double.
void vl_editor_remember(vl_editor *editor, const char *line);
/// Reads or writes the history; -1 when that fails.
int32_t vl_editor_load_history(vl_editor *editor, const char *path);
int32_t vl_editor_save_history(vl_editor *editor, const char *path);

/// From now on Ctrl-C (SIGINT) is counted and does nothing else.
void vl_interrupts_watch(void);
/// How often Ctrl-C was counted since the last reset.
int32_t vl_interrupts_count(void);
void vl_interrupts_reset(void);

#pragma clang assume_nonnull end

#endif
