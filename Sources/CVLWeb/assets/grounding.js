// Boxes: where the answer points, drawn on the picture, linked with the words, and saved as files.

import { h, s, icon, download } from "./dom.js";
import { t } from "./i18n.js";
import * as pictures from "./pictures.js";

/** Colours of boxes in turn, dark enough for white text; style.css has the same as .k0 to .k12. */
export const colours = ["#c4122f", "#1f4fd8", "#0a6b4a", "#a3410a", "#7722a3", "#00667a", "#b0126d", "#5c5f00", "#0f5fa8", "#8a1c1c", "#3f6b12", "#5a3fb8", "#9a3a50"];

export const colour = (n) => colours[n % colours.length];

/** The coordinates of a <|det|>, as the server's `box` has them. */
export function coordinates(det) {
    return [...det.matchAll(/\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]/g)].map((match) => match.slice(1).map(Number));
}

/** The numbers of the boxes that a reference of the answer means. */
export function matching(boxes, label, det) {
    const wanted = coordinates(det).map(String);
    return boxes.flatMap((box, n) => (box.label.trim() === label.trim() && wanted.includes(String(box.box)) ? [n] : []));
}

export const name = (box) => box.label.trim() || t("noLabel");

export function spoken(box) {
    return box.confidence === null || box.confidence === undefined
        ? t("boxPlain", { label: name(box) })
        : t("box", { label: name(box), confidence: Math.round(box.confidence * 100) + "%" });
}

/** Boxes as elements over a picture of `width` by `height` pixels; `numbered` has pairs of number and box. */
export function overlay(width, height, numbered) {
    const drawing = s("svg", { class: "rects", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const labels = h("div", { class: "labels", "aria-hidden": "true" });
    for (const [n, box] of numbered) {
        const [x1, y1, x2, y2] = box.pixels;
        const place = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1), "vector-effect": "non-scaling-stroke", "data-box": n };
        drawing.append(s("rect", { ...place, class: "halo" }), s("rect", { ...place, class: "line k" + (n % colours.length) }));
        const label = h("span", { class: "k" + (n % colours.length), data: { box: n }, dir: "auto" }, name(box));
        // Above the box, or in it where there is no room.
        label.style.left = (100 * x1) / width + "%";
        label.style.top = (100 * y1) / height + "%";
        if (y1 / height < 0.08) label.classList.add("inside");
        if (x1 / width > 0.7) label.classList.add("leftwards");
        labels.append(label);
    }
    return [drawing, labels];
}

/** Elements of one answer that belong to the same box light up together. */
export function linkHovers(root) {
    const light = (event, isOn) => {
        const target = event.target.closest?.("[data-box]");
        if (!target || !root.contains(target)) return;
        const numbers = target.dataset.box.split(" ");
        root.classList.toggle("lighting", isOn);
        for (const n of numbers) for (const other of root.querySelectorAll(`[data-box~="${CSS.escape(n)}"]`)) other.classList.toggle("lit", isOn);
    };
    for (const [type, isOn] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
        root.addEventListener(type, (event) => light(event, isOn));
    }
}

/** A picture with the boxes that lie on it, and a list of them. */
export function figure(picture, numbered, open) {
    const canDraw = picture.width > 0;
    const isTiny = canDraw && Math.max(picture.width, picture.height) < 400;
    const image = h("img", { src: pictures.url(picture), alt: picture.name, class: isTiny ? "tiny" : null });
    const stage = h("button", { type: "button", class: "stage", "aria-label": t("openPicture", { name: picture.name }), onclick: open }, image);
    if (canDraw) {
        stage.style.aspectRatio = picture.width + " / " + picture.height;
        stage.append(...overlay(picture.width, picture.height, numbered));
    }
    const list = h("ul", { class: "legend", "aria-label": t("boxes") }, ...numbered.map(([n, box]) =>
        h("li", {}, h("button", { type: "button", data: { box: n }, "aria-label": spoken(box), onclick: open },
            h("i", { class: "k" + (n % colours.length) }), h("span", { dir: "auto" }, name(box)),
            box.confidence === null || box.confidence === undefined ? null : h("small", {}, Math.round(box.confidence * 100) + "%")))));
    return h("figure", { class: "grounded", data: { picture: picture.id } }, stage, h("figcaption", {}, list, downloads(picture, numbered)));
}

/** A menu of files. */
export function downloads(picture, numbered) {
    const boxes = numbered.map(([n, box]) => ({ ...box, n }));
    const base = picture.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "picture";
    const item = (label, act) => h("button", { type: "button", role: "menuitem", onclick: (event) => {
        event.target.closest("details").open = false;
        act();
    } }, t(label));
    const menu = h("details", { class: "menu" },
        h("summary", { "aria-label": t("download"), title: t("download") }, icon("download"), h("span", {}, t("download"))),
        h("div", { role: "menu" },
            item("downloadPNG", async () => download(await png(picture, boxes), base + "-boxes.png")),
            item("downloadSVG", async () => download(new Blob([await svg(picture, boxes)], { type: "image/svg+xml" }), base + "-boxes.svg")),
            item("downloadCOCO", () => download(new Blob([JSON.stringify(coco(picture, boxes), null, 2)], { type: "application/json" }), base + "-coco.json")),
            item("downloadCSV", () => download(new Blob([csv(picture, boxes)], { type: "text/csv" }), base + "-boxes.csv"))));
    menu.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !menu.open) return;
        event.stopPropagation();
        menu.open = false;
        menu.querySelector("summary").focus();
    });
    menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) menu.open = false; });
    return menu;
}

/** The picture with its boxes; small ones are enlarged so that the labels can be read. */
export async function png(picture, boxes) {
    const bitmap = await createImageBitmap(picture.blob);
    const scale = Math.max(1, Math.ceil(800 / Math.max(bitmap.width, bitmap.height)));
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width * scale;
    canvas.height = bitmap.height * scale;
    const draw = canvas.getContext("2d");
    draw.imageSmoothingEnabled = scale === 1;
    draw.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const size = Math.max(14, Math.round(Math.max(canvas.width, canvas.height) / 50));
    const line = Math.max(3, size / 5);
    draw.font = `600 ${size}px system-ui, sans-serif`;
    draw.textBaseline = "middle";
    for (const box of boxes) {
        const [x1, y1, x2, y2] = box.pixels.map((value) => value * scale);
        draw.strokeStyle = draw.fillStyle = colour(box.n);
        draw.lineWidth = line;
        draw.strokeRect(x1, y1, x2 - x1, y2 - y1);
        const height = size * 1.4;
        const width = draw.measureText(name(box)).width + size * 0.8;
        const left = Math.min(x1, Math.max(0, canvas.width - width));
        const top = y1 - height < 0 ? y1 : y1 - height;
        draw.fillRect(left, top, width, height);
        draw.fillStyle = "#fff";
        draw.fillText(name(box), left + size * 0.4, top + height / 2);
    }
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A drawing that holds the picture; made of elements, so that no label can become markup. */
export async function svg(picture, boxes) {
    const { width, height } = picture;
    const size = Math.max(width, height) / 40;
    const root = s("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height },
        s("image", { href: await pictures.toDataURL(picture.blob), width, height, ...(width < 400 ? { "image-rendering": "pixelated" } : {}) }));
    for (const box of boxes) {
        const [x1, y1, x2, y2] = box.pixels;
        root.append(
            s("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none", stroke: colour(box.n), "stroke-width": size / 5 }),
            s("text", { x: x1, y: y1 < size * 1.5 ? y1 + size * 1.2 : y1 - size * 0.4, fill: colour(box.n), "font-size": size, "font-family": "system-ui, sans-serif", "font-weight": 600, "paint-order": "stroke", stroke: "#fff", "stroke-width": size / 5 }, name(box)),
        );
    }
    return new XMLSerializer().serializeToString(root);
}

export function coco(picture, boxes) {
    const labels = [...new Set(boxes.map(name))];
    return {
        images: [{ id: 1, file_name: picture.name, width: picture.width, height: picture.height }],
        annotations: boxes.map((box, i) => {
            const [x1, y1, x2, y2] = box.pixels;
            return { id: i + 1, image_id: 1, category_id: labels.indexOf(name(box)) + 1, bbox: [x1, y1, x2 - x1, y2 - y1], area: (x2 - x1) * (y2 - y1), iscrowd: 0, score: box.confidence ?? null };
        }),
        categories: labels.map((label, i) => ({ id: i + 1, name: label })),
    };
}

export function csv(picture, boxes) {
    // A label must not become a formula where the file is opened.
    const cell = (value) => {
        const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value ?? "");
        return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const rows = boxes.map((box) => [name(box), picture.name, ...box.pixels, ...box.box, box.confidence].map(cell).join(","));
    return ["label,picture,x1,y1,x2,y2,box_x1,box_y1,box_x2,box_y2,confidence", ...rows].join("\r\n") + "\r\n";
}
