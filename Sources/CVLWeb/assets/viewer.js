// A picture at any size, with its boxes; a box that is drawn or a point that is clicked becomes a question.

import { h, icon, iconButton } from "./dom.js";
import { t } from "./i18n.js";
import * as pictures from "./pictures.js";
import { downloads, linkHovers, overlay } from "./grounding.js";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Opens the viewer.
 *
 * @param picture the picture
 * @param numbered pairs of number and box
 * @param onRegion called with "text" or "crop", and the region from 0 to 999
 */
export function openViewer(picture, numbered, onRegion) {
    const { width, height } = picture;
    const image = h("img", { src: pictures.url(picture), alt: picture.name, draggable: "false", class: Math.max(width, height) < 400 ? "tiny" : null });
    const selection = h("div", { class: "selection", hidden: true });
    const canvas = h("div", { class: "canvas" }, image, ...(width ? overlay(width, height, numbered) : []), selection);
    const stage = h("div", { class: "viewport", tabindex: "0", role: "group", "aria-label": picture.name }, canvas);
    let tool = "move";
    let scale = 1;
    let x = 0;
    let y = 0;
    let region = null;

    const place = () => {
        canvas.style.width = width * scale + "px";
        canvas.style.height = height * scale + "px";
        canvas.style.transform = `translate(${x}px, ${y}px)`;
    };
    const fit = () => {
        const room = stage.getBoundingClientRect();
        scale = Math.min((room.width - 32) / (width || 1), (room.height - 32) / (height || 1));
        x = (room.width - width * scale) / 2;
        y = (room.height - height * scale) / 2;
        place();
    };
    const zoom = (factor, cx, cy) => {
        const room = stage.getBoundingClientRect();
        cx ??= room.width / 2;
        cy ??= room.height / 2;
        const next = clamp(scale * factor, 0.02, 200);
        x = cx - ((cx - x) * next) / scale;
        y = cy - ((cy - y) * next) / scale;
        scale = next;
        place();
    };

    const fields = ["left", "top", "right", "bottom"].map((side) => {
        const input = h("input", { type: "number", min: "0", max: "999", step: "1", "aria-label": t(side), title: t(side), oninput: () => {
            const values = fields.map((field) => Number(field.value));
            if (fields.every((field) => field.value !== "")) select(values, true);
        } });
        return input;
    });
    const actions = h("div", { class: "region" },
        h("span", { class: "caption" }, t("region")), ...fields,
        h("button", { type: "button", class: "solid", disabled: true, onclick: () => finish("text") }, icon("target"), t("askRegion")),
        h("button", { type: "button", class: "outline", disabled: true, onclick: () => finish("crop") }, t("askCrop")));
    const select = (values, isTyped = false) => {
        const [a, b, c, d] = values.map((value) => clamp(Math.round(value) || 0, 0, 999));
        region = [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
        selection.hidden = false;
        selection.style.left = region[0] / 9.99 + "%";
        selection.style.top = region[1] / 9.99 + "%";
        selection.style.width = (region[2] - region[0]) / 9.99 + "%";
        selection.style.height = (region[3] - region[1]) / 9.99 + "%";
        if (!isTyped) fields.forEach((field, i) => { field.value = region[i]; });
        const isReal = region[2] > region[0] && region[3] > region[1];
        for (const button of actions.querySelectorAll("button")) button.disabled = !isReal;
    };
    const finish = (kind) => {
        dialog.close();
        onRegion(kind, region);
    };
    const tools = [["move", "hand", "toolMove"], ["box", "draw", "toolBox"], ["point", "point", "toolPoint"]].map(([name, picture, label]) =>
        iconButton(picture, t(label), () => use(name), { data: { tool: name }, "aria-pressed": name === "move" }));
    const use = (name) => {
        tool = name;
        stage.dataset.tool = name;
        for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    };

    const dialog = h("dialog", { class: "viewer", "aria-label": t("viewer") },
        h("header", {},
            h("strong", {}, picture.name), h("small", {}, width ? `${width} × ${height}` : ""),
            h("div", { class: "toolbar", role: "group", "aria-label": t("viewer") }, ...tools,
                iconButton("minus", t("zoomOut"), () => zoom(1 / 1.4)), iconButton("plus", t("zoomIn"), () => zoom(1.4)), iconButton("fit", t("zoomFit"), fit)),
            numbered.length ? downloads(picture, numbered) : null,
            iconButton("close", t("close"), () => dialog.close())),
        stage, actions, h("p", { class: "note" }, t("viewerHint")));

    // Pointers: one moves or draws, two zoom.
    const pointers = new Map();
    let start = null;
    const inPicture = (event) => {
        const box = canvas.getBoundingClientRect();
        return [((event.clientX - box.left) / box.width) * 999, ((event.clientY - box.top) / box.height) * 999];
    };
    stage.addEventListener("pointerdown", (event) => {
        if (event.button > 0) return;
        stage.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, event);
        const [px, py] = inPicture(event);
        start = { px, py, x, y, clientX: event.clientX, clientY: event.clientY };
        if (pointers.size === 2) start = null;
        else if (tool === "point") select([px - 15, py - 15, px + 15, py + 15]);
        event.preventDefault();
        stage.focus({ preventScroll: true });
    });
    stage.addEventListener("pointermove", (event) => {
        if (!pointers.has(event.pointerId)) return;
        if (pointers.size === 2) {
            const [a, b] = [...pointers.values()];
            const before = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
            pointers.set(event.pointerId, event);
            const [c, d] = [...pointers.values()];
            const room = stage.getBoundingClientRect();
            zoom(Math.hypot(c.clientX - d.clientX, c.clientY - d.clientY) / (before || 1), (c.clientX + d.clientX) / 2 - room.left, (c.clientY + d.clientY) / 2 - room.top);
            return;
        }
        pointers.set(event.pointerId, event);
        if (!start) return;
        if (tool === "move") {
            x = start.x + event.clientX - start.clientX;
            y = start.y + event.clientY - start.clientY;
            place();
        } else if (tool === "box") select([start.px, start.py, ...inPicture(event)]);
    });
    const up = (event) => {
        pointers.delete(event.pointerId);
        start = null;
    };
    stage.addEventListener("pointerup", up);
    stage.addEventListener("pointercancel", up);
    stage.addEventListener("wheel", (event) => {
        event.preventDefault();
        const room = stage.getBoundingClientRect();
        zoom(Math.exp(-event.deltaY / 400), event.clientX - room.left, event.clientY - room.top);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
        const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
        if (event.key in moves) {
            x += moves[event.key][0];
            y += moves[event.key][1];
            place();
        } else if (event.key === "+" || event.key === "=") zoom(1.25);
        else if (event.key === "-") zoom(1 / 1.25);
        else if (event.key === "0") fit();
        else return;
        event.preventDefault();
    });
    linkHovers(dialog);
    dialog.addEventListener("close", () => {
        removeEventListener("resize", fit);
        dialog.remove();
    });
    addEventListener("resize", fit);
    document.body.append(dialog);
    dialog.showModal();
    fit();
    use("move");
    stage.focus();
    return dialog;
}
