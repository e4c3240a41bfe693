// The first frame of a GIF through giflib.
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "codecs.h"

typedef struct {
    const uint8_t *bytes;
    size_t size;
    size_t place;
} source;

static int read_bytes(GifFileType *file, GifByteType *out, int count) {
    source *from = (source *)file->UserData;
    size_t rest = from->size - from->place;
    size_t taken = (size_t)count < rest ? (size_t)count : rest;
    memcpy(out, from->bytes + from->place, taken);
    from->place += taken;
    return (int)taken;
}

static int fail(GifFileType *file, char *error, const char *text) {
    int code = 0;
    const char *reason = file && file->Error ? GifErrorString(file->Error) : 0;
    if (file) DGifCloseFile(file, &code);
    return vl_codec_fail(error, reason ? reason : text);
}

// Goes to the first picture; returns its transparent colour, or -1 after a fault.
static int find_picture(GifFileType *file) {
    int transparent = 0;
    for (;;) {
        GifRecordType record;
        if (DGifGetRecordType(file, &record) == GIF_ERROR || record == TERMINATE_RECORD_TYPE) return -1;
        if (record == IMAGE_DESC_RECORD_TYPE) return DGifGetImageDesc(file) == GIF_ERROR ? -1 : transparent;
        if (record != EXTENSION_RECORD_TYPE) continue;
        int kind = 0;
        GifByteType *block = 0;
        if (DGifGetExtension(file, &kind, &block) == GIF_ERROR) return -1;
        if (kind == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && block[1] & 1) transparent = block[4];
        while (block) {
            if (DGifGetExtensionNext(file, &block) == GIF_ERROR) return -1;
        }
    }
}

// Without a table indexes are shades of grey; beyond the table's end all is black.
static void put(uint8_t *out, const ColorMapObject *colors, int index) {
    const GifByteType shade = colors ? 0 : (GifByteType)index;
    GifColorType color = {shade, shade, shade};
    if (colors && index < colors->ColorCount) color = colors->Colors[index];
    out[0] = color.Red;
    out[1] = color.Green;
    out[2] = color.Blue;
}

int vl_gif_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    source from = {bytes, size, 0};
    int code = 0;
    GifFileType *file = DGifOpen(&from, read_bytes, &code);
    if (!file) return vl_codec_fail(error, "a damaged GIF header");
    const int transparent = find_picture(file);
    if (transparent < 0) return fail(file, error, "a GIF without a picture");
    const GifImageDesc *frame = &file->Image;
    // A picture that reaches over its canvas widens it.
    const int right = frame->Left + frame->Width, bottom = frame->Top + frame->Height;
    const int64_t width = right > file->SWidth ? right : file->SWidth;
    const int64_t height = bottom > file->SHeight ? bottom : file->SHeight;
    if (!rgb) {
        result->width = width;
        result->height = height;
        DGifCloseFile(file, &code);
        return 0;
    }
    if (width != result->width || height != result->height) return fail(file, error, "two sizes in one GIF");
    const ColorMapObject *colors = frame->ColorMap ? frame->ColorMap : file->SColorMap;
    if (frame->Left < 0 || frame->Top < 0 || frame->Width <= 0 || frame->Height <= 0)
        return fail(file, error, "a GIF picture without pixels");
    GifByteType *line = (GifByteType *)malloc((size_t)frame->Width);
    if (!line) return fail(file, error, "no memory for a GIF row");
    for (int64_t i = 0; i < width * height; i++) put(rgb + 3 * i, colors, transparent);
    static const int starts[4] = {0, 4, 2, 1}, steps[4] = {8, 8, 4, 2};
    const int passes = frame->Interlace ? 4 : 1;
    for (int pass = 0; pass < passes; pass++) {
        const int step = frame->Interlace ? steps[pass] : 1;
        for (int y = frame->Interlace ? starts[pass] : 0; y < frame->Height; y += step) {
            if (DGifGetLine(file, line, frame->Width) == GIF_ERROR) {
                free(line);
                return fail(file, error, "GIF data that end early");
            }
            uint8_t *out = rgb + ((int64_t)(frame->Top + y) * width + frame->Left) * 3;
            for (int x = 0; x < frame->Width; x++) put(out + 3 * x, colors, line[x]);
        }
    }
    free(line);
    DGifCloseFile(file, &code);
    return 0;
}
