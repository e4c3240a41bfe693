// Examples that run with one click; the answers of the bundled model are those of DeepSeek's own code on its weights.

import { h } from "./dom.js";
import { t, language } from "./i18n.js";

export const examples = [
    { tag: "tagGrounding", files: ["shapes.png"], text: "<|grounding|>Describe the image." },
    { tag: "tagLocate", files: ["ring-and-cross.png"], text: "Where is <|ref|>the purple ring<|/ref|>?" },
    { tag: "tagCount", files: ["shapes.png"], text: "How many shapes are there?" },
    { tag: "tagChinese", files: ["rings.png"], text: "图中有几个圆环？" },
    { tag: "tagColour", files: ["shapes.png"], text: "Which shape is green?" },
    { tag: "tagCompare", files: ["shapes.png", "rings.png"], text: "Which image has more shapes?" },
    { tag: "tagAbsent", files: ["shapes.png"], text: "Where is <|ref|>the orange star<|/ref|>?" },
    { tag: "tagCount", files: ["square.jpg"], text: "Describe the image." },
];

/** A question as people read it, without its tags. */
export const readable = (text) => text.replace(/<\|(?:\/?ref|grounding)\|>/g, "");

export function drawGallery(place, run) {
    place.replaceChildren(...examples.map((example) =>
        h("li", {}, h("button", { type: "button", onclick: () => run(example) },
            h("span", { class: "pictures" }, ...example.files.map((file) => h("img", { src: "assets/examples/" + file, alt: "", loading: "lazy" }))),
            h("span", { class: "tag" }, t(example.tag)),
            h("span", { class: "text", lang: /[\u4e00-\u9fff]/.test(example.text) ? "zh" : "en" }, readable(example.text))))));
    place.dataset.language = language();
}

/** The files of an example. */
export async function fetchFiles(example) {
    return await Promise.all(example.files.map(async (file) => {
        const response = await fetch("assets/examples/" + file);
        if (!response.ok) throw new Error(file);
        return new File([await response.blob()], file, { type: response.headers.get("Content-Type") });
    }));
}
