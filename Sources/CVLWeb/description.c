#include "CVLWeb.h"

// Kept true by Tests/ServerTests/DescriptionTests.swift.
static const uint8_t openapi_json[] = {
#embed "openapi.json"
};

vl_web_asset vl_web_description(void) {
    return (vl_web_asset){"openapi.json", "application/json", openapi_json, sizeof openapi_json};
}
