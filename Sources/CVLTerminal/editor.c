// The standard alone knows no terminals and no signal sets.
#define _DEFAULT_SOURCE 1

#include "include/vl_terminal.h"

#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

struct vl_editor {
    EditLine *line;
    History *history;
    const char *prompt;
    int interrupted;
};

// A pasted text that is longer than this is cut: nobody means to send it.
enum { LONGEST_PASTE = 1 << 20 };
static const wchar_t PASTE_END[] = L"\033[201~";

static vl_editor *owner(EditLine *line) {
    void *editor = NULL;
    el_get(line, EL_CLIENTDATA, &editor);
    return editor;
}

static char *prompt(EditLine *line) {
    // libedit's type says that the text may be changed; it never does.
    return (char *)(uintptr_t)owner(line)->prompt;
}

static unsigned char interrupt(EditLine *line, int key) {
    (void)key;
    owner(line)->interrupted = 1;
    return CC_NEWLINE;
}

static unsigned char suspend(EditLine *line, int key) {
    (void)line;
    (void)key;
    // libedit's handler gives the terminal back before, and takes it again afterwards.
    raise(SIGTSTP);
    return CC_REFRESH;
}

// What a terminal sends when a text is pasted stands between two marks, so that line feeds in it do not end the line.
static unsigned char paste(EditLine *line, int key) {
    (void)key;
    const size_t end_length = sizeof PASTE_END / sizeof *PASTE_END - 1;
    size_t capacity = 256, count = 0;
    wchar_t *text = malloc(capacity * sizeof *text);
    if (text == NULL) return CC_ERROR;
    wchar_t next;
    while (el_wgetc(line, &next) == 1) {
        if (count + 2 > capacity) {
            wchar_t *larger = realloc(text, capacity * 2 * sizeof *text);
            if (larger == NULL) break;
            text = larger;
            capacity *= 2;
        }
        text[count++] = next == L'\r' ? L'\n' : next;
        if (count >= end_length && wmemcmp(text + count - end_length, PASTE_END, end_length) == 0) {
            count -= end_length;
            break;
        }
        if (count >= LONGEST_PASTE) break;
    }
    while (count > 0 && text[count - 1] == L'\n') count--;
    text[count] = L'\0';
    int failed = count > 0 && el_winsertstr(line, text) != 0;
    free(text);
    return failed ? CC_ERROR : CC_REFRESH;
}

vl_editor *vl_editor_open(const char *name, int32_t history_size) {
    // libedit reads characters as the locale says; texts are UTF-8 here, whatever the environment says.
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        setlocale(LC_CTYPE, "en_US.UTF-8");
    }
    vl_editor *editor = calloc(1, sizeof *editor);
    if (editor == NULL) return NULL;
    editor->prompt = "";
    editor->line = el_init(name, stdin, stdout, stderr);
    editor->history = history_init();
    if (editor->line == NULL || editor->history == NULL) {
        vl_editor_close(editor);
        return NULL;
    }
    HistEvent event;
    history(editor->history, &event, H_SETSIZE, history_size);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->line, EL_CLIENTDATA, editor);
    el_set(editor->line, EL_PROMPT, prompt);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_SIGNAL, 1);
    el_set(editor->line, EL_HIST, history, editor->history);
    el_set(editor->line, EL_ADDFN, "vl-interrupt", "Give up the line", interrupt);
    el_set(editor->line, EL_ADDFN, "vl-suspend", "Stop the program until it is continued", suspend);
    el_set(editor->line, EL_ADDFN, "vl-paste", "Insert a pasted text", paste);
    el_set(editor->line, EL_ADDFN, "vl-complete", "Complete a file's name", _el_fn_complete);
    // While a line is edited, Ctrl-C and Ctrl-Z are keys and no signals.
    el_set(editor->line, EL_SETTY, "-d", "-isig", NULL);
    el_set(editor->line, EL_BIND, "^C", "vl-interrupt", NULL);
    el_set(editor->line, EL_BIND, "^Z", "vl-suspend", NULL);
    el_set(editor->line, EL_BIND, "^I", "vl-complete", NULL);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(editor->line, EL_BIND, "\033[200~", "vl-paste", NULL);
    el_source(editor->line, NULL);
    return editor;
}

void vl_editor_close(vl_editor *editor) {
    if (editor->line != NULL) el_end(editor->line);
    if (editor->history != NULL) history_end(editor->history);
    free(editor);
}

// Asks the terminal to mark pasted texts, or no longer to.
static void mark_pastes(int wanted) {
    const char *terminal = getenv("TERM");
    if (terminal == NULL || strcmp(terminal, "dumb") == 0 || *terminal == '\0') return;
    fputs(wanted ? "\033[?2004h" : "\033[?2004l", stdout);
    fflush(stdout);
}

vl_editor_outcome vl_editor_read(vl_editor *editor, const char *text, const char **line, size_t *length) {
    editor->prompt = text;
    editor->interrupted = 0;
    mark_pastes(1);
    int count = 0;
    const char *read = el_gets(editor->line, &count);
    mark_pastes(0);
    editor->prompt = "";
    *line = "";
    *length = 0;
    if (read == NULL || count <= 0) return editor->interrupted ? VL_EDITOR_INTERRUPTED : VL_EDITOR_END;
    *line = read;
    *length = (size_t)count;
    if (read[count - 1] == '\n') *length -= 1;
    return editor->interrupted ? VL_EDITOR_INTERRUPTED : VL_EDITOR_LINE;
}

void vl_editor_remember(vl_editor *editor, const char *line) {
    HistEvent event;
    history(editor->history, &event, H_ENTER, line);
}

int32_t vl_editor_load_history(vl_editor *editor, const char *path) {
    HistEvent event;
    return history(editor->history, &event, H_LOAD, path) < 0 ? -1 : 0;
}

int32_t vl_editor_save_history(vl_editor *editor, const char *path) {
    HistEvent event;
    return history(editor->history, &event, H_SAVE, path) < 0 ? -1 : 0;
}
