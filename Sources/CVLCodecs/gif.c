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

int vl_gif_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    source from = {bytes, size, 0};
    int code = 0;
    GifFileType *file = DGifOpen(&from, read_bytes, &code);
    if (!file) return vl_codec_fail(error, "a damaged GIF header");
    if (!rgb) {
        result->width = file->SWidth;
        result->height = file->SHeight;
        DGifCloseFile(file, &code);
        return 0;
    }
    int transparent = 0;
    for (;;) {
        GifRecordType record;
        if (DGifGetRecordType(file, &record) == GIF_ERROR) return fail(file, error, "a damaged GIF");
        if (record == TERMINATE_RECORD_TYPE) return fail(file, error, "a GIF without a picture");
        if (record == EXTENSION_RECORD_TYPE) {
            int kind = 0;
            GifByteType *block = 0;
            if (DGifGetExtension(file, &kind, &block) == GIF_ERROR) return fail(file, error, "a damaged GIF extension");
            if (kind == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && block[1] & 1) transparent = block[4];
            while (block) {
                if (DGifGetExtensionNext(file, &block) == GIF_ERROR) return fail(file, error, "a damaged GIF extension");
            }
            continue;
        }
        if (record == IMAGE_DESC_RECORD_TYPE) break;
    }
    if (DGifGetImageDesc(file) == GIF_ERROR) return fail(file, error, "a damaged GIF picture");
    const GifImageDesc *frame = &file->Image;
    const ColorMapObject *colors = frame->ColorMap ? frame->ColorMap : file->SColorMap;
    const int64_t width = result->width, height = result->height;
    if (!colors || colors->ColorCount <= 0) return fail(file, error, "a GIF without colours");
    if (frame->Left < 0 || frame->Top < 0 || frame->Width <= 0 || frame->Height <= 0 || frame->Left + frame->Width > width ||
        frame->Top + frame->Height > height)
        return fail(file, error, "a GIF picture outside its canvas");
    GifByteType *line = (GifByteType *)malloc((size_t)frame->Width);
    if (!line) return fail(file, error, "no memory for a GIF row");
    const GifColorType *fill = &colors->Colors[transparent < colors->ColorCount ? transparent : 0];
    for (int64_t i = 0; i < width * height; i++) {
        rgb[3 * i] = fill->Red;
        rgb[3 * i + 1] = fill->Green;
        rgb[3 * i + 2] = fill->Blue;
    }
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
            for (int x = 0; x < frame->Width; x++) {
                const GifColorType none = {0, 0, 0};
                const GifColorType *color = line[x] < colors->ColorCount ? &colors->Colors[line[x]] : &none;
                out[3 * x] = color->Red;
                out[3 * x + 1] = color->Green;
                out[3 * x + 2] = color->Blue;
            }
        }
    }
    free(line);
    DGifCloseFile(file, &code);
    return 0;
}
