// Examples that run with one click; the answers of the bundled model are those of DeepSeek's own code on its weights.

import { h } from "./dom.js";
import { t, language } from "./i18n.js";

export const examples = [
    { tag: "tagGrounding", files: ["s013.jpg"], text: "<|grounding|>What is in the image?" },
    { tag: "tagLocate", files: ["s012.png"], text: "Where is <|ref|>the large red star<|/ref|>?", zh: "<|ref|>红色的星形<|/ref|>。" },
    { tag: "tagCount", files: ["s001.jpg"], text: "How many squares are in the image?", zh: "图中有几个正方形？" },
    { tag: "tagChinese", files: ["rings.png"], text: "图中有几个圆环？" },
    { tag: "tagRead", files: ["s062.png"], text: "What word is written in the image?" },
    { tag: "tagCompare", files: ["m008_0.png", "m008_1.png"], text: "This is image_1: <image 1>\nThis is image_2: <image 2>\nWhich image shows a purple circle?" },
    { tag: "tagAbsent", files: ["s007.png"], text: "Where is <|ref|>the green ring<|/ref|>?", zh: "<|ref|>绿色的圆环<|/ref|>。" },
    { tag: "tagColour", files: ["s004.jpg"], text: "What color is the ring?", zh: "圆环是什么颜色？" },
];

/** A question as people read it, without its tags. */
export const readable = (text) => text.replace(/^This is image_\d: <image \d>\n/gm, "").replace(/<\|(?:\/?ref|grounding)\|>/g, "");

export function drawGallery(place, run) {
    const chosen = examples.map((example) => (language() === "zh" && example.zh ? { ...example, text: example.zh } : example));
    place.replaceChildren(...chosen.map((example) =>
        h("li", {}, h("button", { type: "button", onclick: () => run(example) },
            h("span", { class: "pictures" }, ...example.files.map((file) => h("img", { src: "assets/examples/" + file, alt: "", loading: "lazy" }))),
            h("span", { class: "tag" }, t(example.tag)),
            h("span", { class: "text", lang: /[\u4e00-\u9fff]/.test(example.text) ? "zh" : "en" }, readable(example.text))))));
}

/** The files of an example. */
export async function fetchFiles(example) {
    return await Promise.all(example.files.map(async (file) => {
        const response = await fetch("assets/examples/" + file);
        if (!response.ok) throw new Error(file);
        return new File([await response.blob()], file, { type: response.headers.get("Content-Type") });
    }));
}
