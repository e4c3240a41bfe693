// WebP through libwebp; of an animation the first frame.
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "codecs.h"

static void drop_alpha(uint8_t *rgb, const uint8_t *rgba, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++) memcpy(rgb + 3 * i, rgba + 4 * i, 3);
}

static int read_animation(const uint8_t *bytes, size_t size, const vl_image_info *result, uint8_t *rgb, char *error) {
    WebPData data = {bytes, size};
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options)) return vl_codec_fail(error, "libwebp of another version");
    options.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    if (!decoder) return vl_codec_fail(error, "a damaged WebP animation");
    uint8_t *frame = 0;
    int time = 0;
    WebPAnimInfo info;
    int failed = !WebPAnimDecoderGetInfo(decoder, &info) || info.canvas_width != result->width ||
                 info.canvas_height != result->height || !WebPAnimDecoderGetNext(decoder, &frame, &time) || !frame;
    if (!failed) drop_alpha(rgb, frame, result->width * result->height);
    WebPAnimDecoderDelete(decoder);
    return failed ? vl_codec_fail(error, "a damaged WebP animation") : 0;
}

int vl_webp_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(bytes, size, &features) != VP8_STATUS_OK) return vl_codec_fail(error, "a damaged WebP header");
    if (!rgb) {
        result->width = features.width;
        result->height = features.height;
        return 0;
    }
    if (features.width != result->width || features.height != result->height)
        return vl_codec_fail(error, "two sizes in one WebP");
    if (features.has_animation) return read_animation(bytes, size, result, rgb, error);
    const int64_t pixels = result->width * result->height;
    if (!features.has_alpha) {
        if (!WebPDecodeRGBInto(bytes, size, rgb, (size_t)pixels * 3, (int)result->width * 3))
            return vl_codec_fail(error, "damaged WebP data");
        return 0;
    }
    // With alpha the colours under it count, as they are stored.
    uint8_t *rgba = (uint8_t *)malloc((size_t)pixels * 4);
    if (!rgba) return vl_codec_fail(error, "no memory for a WebP with alpha");
    const int failed = !WebPDecodeRGBAInto(bytes, size, rgba, (size_t)pixels * 4, (int)result->width * 4);
    if (!failed) drop_alpha(rgb, rgba, pixels);
    free(rgba);
    return failed ? vl_codec_fail(error, "damaged WebP data") : 0;
}
