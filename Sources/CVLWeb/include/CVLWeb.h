/// The files of the web page and the description of the service, inside the program: it works from one file, wherever that
/// is moved.
#ifndef VL_WEB_H
#define VL_WEB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __clang__
#pragma clang assume_nonnull begin
#else
#define _Nullable
#endif

/// One file of the page.
typedef struct {
    /// Where the page finds it, without a slash in front; empty for the page itself.
    const char *path;
    /// Its media type.
    const char *type;
    const uint8_t *bytes;
    size_t count;
} vl_web_asset;

/// The number of files.
size_t vl_web_count(void);

/// The file at `index`, which is below `vl_web_count()`.
vl_web_asset vl_web_asset_at(size_t index);

/// The OpenAPI description of the service, which is no file of the page.
vl_web_asset vl_web_description(void);

/// A hash of a file's bytes (FNV-1a, 64 bits): another one says that the file has changed.
uint64_t vl_web_hash(vl_web_asset asset);

#ifdef __clang__
#pragma clang assume_nonnull end
#endif

#endif
