#include "CVLWeb.h"

// Each file stands here as it is in its folder: the compiler reads it, and builds anew when it changes. Files that are
// added to the folder have to be named here; Tests/ServerTests sees to it that none is forgotten.

static const uint8_t index_html[] = {
#embed "assets/index.html"
};

static const uint8_t api_js[] = {
#embed "assets/api.js"
};

static const uint8_t app_js[] = {
#embed "assets/app.js"
};

static const uint8_t composer_js[] = {
#embed "assets/composer.js"
};

static const uint8_t dom_js[] = {
#embed "assets/dom.js"
};

static const uint8_t files_js[] = {
#embed "assets/files.js"
};

static const uint8_t gallery_js[] = {
#embed "assets/gallery.js"
};

static const uint8_t grounding_js[] = {
#embed "assets/grounding.js"
};

static const uint8_t i18n_js[] = {
#embed "assets/i18n.js"
};

static const uint8_t icon_svg[] = {
#embed "assets/icon.svg"
};

static const uint8_t markdown_js[] = {
#embed "assets/markdown.js"
};

static const uint8_t math_js[] = {
#embed "assets/math.js"
};

static const uint8_t messages_js[] = {
#embed "assets/messages.js"
};

static const uint8_t pictures_js[] = {
#embed "assets/pictures.js"
};

static const uint8_t settings_js[] = {
#embed "assets/settings.js"
};

static const uint8_t store_js[] = {
#embed "assets/store.js"
};

static const uint8_t style_css[] = {
#embed "assets/style.css"
};

static const uint8_t theme_js[] = {
#embed "assets/theme.js"
};

static const uint8_t turns_js[] = {
#embed "assets/turns.js"
};

static const uint8_t viewer_js[] = {
#embed "assets/viewer.js"
};

static const uint8_t rings_png[] = {
#embed "../../Examples/rings.png"
};

static const uint8_t s013_jpg[] = {
#embed "../../Examples/shapes-eval/s013.jpg"
};

static const uint8_t s012_png[] = {
#embed "../../Examples/shapes-eval/s012.png"
};

static const uint8_t s001_jpg[] = {
#embed "../../Examples/shapes-eval/s001.jpg"
};

static const uint8_t s062_png[] = {
#embed "../../Examples/shapes-eval/s062.png"
};

static const uint8_t m008_0_png[] = {
#embed "../../Examples/shapes-eval/m008_0.png"
};

static const uint8_t m008_1_png[] = {
#embed "../../Examples/shapes-eval/m008_1.png"
};

static const uint8_t s007_png[] = {
#embed "../../Examples/shapes-eval/s007.png"
};

static const uint8_t s004_jpg[] = {
#embed "../../Examples/shapes-eval/s004.jpg"
};

#define ASSET(path, type, bytes)                                                                                       \
    { path, type, bytes, sizeof(bytes) }

static const vl_web_asset assets[] = {
    ASSET("", "text/html; charset=utf-8", index_html),
    ASSET("assets/api.js", "text/javascript; charset=utf-8", api_js),
    ASSET("assets/app.js", "text/javascript; charset=utf-8", app_js),
    ASSET("assets/composer.js", "text/javascript; charset=utf-8", composer_js),
    ASSET("assets/dom.js", "text/javascript; charset=utf-8", dom_js),
    ASSET("assets/files.js", "text/javascript; charset=utf-8", files_js),
    ASSET("assets/gallery.js", "text/javascript; charset=utf-8", gallery_js),
    ASSET("assets/grounding.js", "text/javascript; charset=utf-8", grounding_js),
    ASSET("assets/i18n.js", "text/javascript; charset=utf-8", i18n_js),
    ASSET("assets/icon.svg", "image/svg+xml", icon_svg),
    ASSET("assets/markdown.js", "text/javascript; charset=utf-8", markdown_js),
    ASSET("assets/math.js", "text/javascript; charset=utf-8", math_js),
    ASSET("assets/messages.js", "text/javascript; charset=utf-8", messages_js),
    ASSET("assets/pictures.js", "text/javascript; charset=utf-8", pictures_js),
    ASSET("assets/settings.js", "text/javascript; charset=utf-8", settings_js),
    ASSET("assets/store.js", "text/javascript; charset=utf-8", store_js),
    ASSET("assets/style.css", "text/css; charset=utf-8", style_css),
    ASSET("assets/theme.js", "text/javascript; charset=utf-8", theme_js),
    ASSET("assets/turns.js", "text/javascript; charset=utf-8", turns_js),
    ASSET("assets/viewer.js", "text/javascript; charset=utf-8", viewer_js),
    ASSET("assets/examples/rings.png", "image/png", rings_png),
    ASSET("assets/examples/s013.jpg", "image/jpeg", s013_jpg),
    ASSET("assets/examples/s012.png", "image/png", s012_png),
    ASSET("assets/examples/s001.jpg", "image/jpeg", s001_jpg),
    ASSET("assets/examples/s062.png", "image/png", s062_png),
    ASSET("assets/examples/m008_0.png", "image/png", m008_0_png),
    ASSET("assets/examples/m008_1.png", "image/png", m008_1_png),
    ASSET("assets/examples/s007.png", "image/png", s007_png),
    ASSET("assets/examples/s004.jpg", "image/jpeg", s004_jpg),
};

size_t vl_web_count(void) { return sizeof assets / sizeof assets[0]; }

vl_web_asset vl_web_asset_at(size_t index) { return assets[index]; }

uint64_t vl_web_hash(vl_web_asset asset) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < asset.count; i++) hash = (hash ^ asset.bytes[i]) * 0x100000001b3u;
    return hash;
}
