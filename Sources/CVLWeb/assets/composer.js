// The question that is being written: its pictures, its text, and what it would cost.

import { $, h, s, icon, iconButton, announce, toast, number } from "./dom.js";
import { t } from "./i18n.js";
import * as pictures from "./pictures.js";

const mostPictures = 32;

export class Composer {
    /**
     * @param app has `changed()`, `submit()`, `view(pictureId)`
     */
    constructor(app) {
        this.app = app;
        this.attached = [];
        this.question = $("#question");
        this.thumbs = $("#thumbs");
        this.plan = null;
        const { question } = this;
        question.addEventListener("input", () => {
            this.grow();
            app.changed();
        });
        question.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                app.submit();
            }
        });
        $("#composer").addEventListener("submit", (event) => {
            event.preventDefault();
            app.submit();
        });
        for (const [button, input] of [["#attach", "#files"], ["#camera", "#camera-file"]]) {
            $(button).addEventListener("click", () => $(input).click());
            $(input).addEventListener("change", () => {
                this.add([...$(input).files]);
                $(input).value = "";
            });
        }
        $("#locate").addEventListener("click", () => this.locate());
        $("#grounded").addEventListener("click", () => this.ground());
        addEventListener("paste", (event) => {
            const files = [...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith("image/"));
            if (!files.length) return;
            event.preventDefault();
            this.add(files.map((file, i) => (file.name && file.name !== "image.png" ? file : new File([file], `pasted-${Date.now() % 100000}-${i + 1}.png`, { type: file.type }))));
        });
        let depth = 0;
        const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
        addEventListener("dragenter", (event) => {
            if (!hasFiles(event)) return;
            depth++;
            $("#drop").hidden = false;
        });
        addEventListener("dragleave", (event) => {
            if (hasFiles(event) && --depth <= 0) $("#drop").hidden = true;
        });
        addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
        addEventListener("drop", (event) => {
            if (!hasFiles(event)) return;
            event.preventDefault();
            depth = 0;
            $("#drop").hidden = true;
            this.add([...event.dataTransfer.files]);
        });
    }

    grow() {
        const { question } = this;
        question.style.height = "auto";
        question.style.height = Math.min(question.scrollHeight, Math.max(120, innerHeight * 0.3)) + "px";
    }

    get text() { return this.question.value; }

    set(text, ids = []) {
        this.question.value = text;
        this.attached = [...ids];
        this.plan = null;
        this.draw();
        this.grow();
        this.app.changed();
    }

    async add(files) {
        for (const file of files) {
            if (!file.type.startsWith("image/") && !/\.tiff?$/i.test(file.name)) {
                toast(t("notPicture", { name: file.name }));
                continue;
            }
            if (this.attached.length + this.app.pictureCount() >= mostPictures) {
                toast(t("tooManyPictures", { limit: mostPictures }));
                break;
            }
            const picture = await pictures.add(file, file.name);
            if (picture.wasShrunk) toast(t("shrunk", { name: file.name }));
            this.attach(picture);
        }
    }

    attach(picture) {
        this.attached.push(picture.id);
        announce(t("pictureAdded", { n: this.attached.length }));
        this.draw();
        this.app.changed();
        this.question.focus();
    }

    /** Puts text at the caret, with the caret or selection after it where `select` says. */
    insert(text, select) {
        const { question } = this;
        const start = question.selectionStart;
        question.setRangeText(text, start, question.selectionEnd, "end");
        if (select) question.setSelectionRange(start + select[0], start + select[1]);
        question.focus();
        this.grow();
        this.app.changed();
    }

    locate() {
        const { question } = this;
        const chosen = question.value.slice(question.selectionStart, question.selectionEnd);
        const open = "<|ref|>";
        if (chosen) return this.insert(`${open}${chosen}<|/ref|>`);
        const [before, after] = document.documentElement.lang === "zh" ? ["", "在哪里？"] : question.value.trim() ? ["", ""] : ["Where is ", "?"];
        const caret = before.length + open.length;
        this.insert(`${before}${open}<|/ref|>${after}`, [caret, caret]);
    }

    ground() {
        const tag = "<|grounding|>";
        const { question } = this;
        if (question.value.startsWith(tag)) question.value = question.value.slice(tag.length);
        else question.value = tag + (question.value.trim() ? question.value : "Describe the image.");
        question.focus();
        this.grow();
        this.app.changed();
    }

    move(from, to) {
        if (to < 0 || to >= this.attached.length || from === to) return;
        const [id] = this.attached.splice(from, 1);
        this.attached.splice(to, 0, id);
        announce(t("movedTo", { n: to + 1 }));
        this.draw();
        this.thumbs.children[to]?.querySelector(".open").focus();
        this.app.changed();
    }

    remove(place) {
        this.attached.splice(place, 1);
        this.draw();
        const next = this.thumbs.children[Math.min(place, this.attached.length - 1)];
        (next ? next.querySelector(".open") : this.question).focus();
        this.app.changed();
    }

    /** Draws the thumbnails; each is framed as the model's tiles frame it, once the plan is there. */
    draw() {
        const { attached, thumbs } = this;
        thumbs.hidden = attached.length === 0;
        const images = this.plan?.images.slice(-attached.length || undefined) || [];
        thumbs.replaceChildren(...attached.map((id, i) => {
            const picture = pictures.known(id);
            const info = this.plan && attached.length ? images[i] : null;
            const across = info?.tiles_across || 1;
            const down = info?.tiles_down || 1;
            const frame = h("span", { class: "frame" }, picture?.width
                ? h("img", { src: pictures.url(picture), alt: "", class: Math.max(picture.width, picture.height) < 200 ? "tiny" : null, draggable: "false" })
                : h("span", { class: "unseen" }, (picture?.name.split(".").at(-1) || "?").toUpperCase()));
            const scale = Math.min(120 / across, 84 / down);
            frame.style.width = across * scale + "px";
            frame.style.height = down * scale + "px";
            if (info && across * down > 1) {
                const lines = [];
                for (let x = 1; x < across; x++) lines.push([x, 0, x, down]);
                for (let y = 1; y < down; y++) lines.push([0, y, across, y]);
                frame.append(s("svg", { class: "tiles", viewBox: `0 0 ${across} ${down}`, preserveAspectRatio: "none", "aria-hidden": "true" },
                    ...["under", "over"].flatMap((kind) => lines.map(([x1, y1, x2, y2]) => s("line", { x1, y1, x2, y2, class: kind, "vector-effect": "non-scaling-stroke" })))));
            }
            const cost = info ? (across * down > 1 || info.tiles > 1
                ? t("planPicture", { tokens: number(info.tokens), across, down }) : t("planWhole", { tokens: number(info.tokens) })) : "";
            const open = h("button", { type: "button", class: "open", title: picture?.name, "aria-label": `${t("pictureN", { n: i + 1 })}: ${t("thumbHint", { name: picture?.name || "" })} ${cost}`, onclick: () => this.app.view(id) }, frame);
            open.addEventListener("keydown", (event) => {
                const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
                if (event.altKey && event.key in steps) {
                    event.preventDefault();
                    this.move(i, i + steps[event.key]);
                } else if (event.key === "Delete" || event.key === "Backspace") {
                    event.preventDefault();
                    this.remove(i);
                }
            });
            const item = h("li", { draggable: "true", data: { place: i } }, open,
                h("button", { type: "button", class: "mention", title: t("mention", { n: i + 1 }), "aria-label": t("mention", { n: i + 1 }), onclick: () => this.insert(`<image ${i + 1}>`) }, "#" + (i + 1)),
                iconButton("close", t("removePicture", { n: i + 1 }), () => this.remove(i), { class: "remove" }),
                h("small", { title: cost }, info ? t("answerTokens", { count: number(info.tokens) }) : " "));
            item.addEventListener("dragstart", (event) => {
                event.dataTransfer.setData("text/x-place", String(i));
                event.dataTransfer.effectAllowed = "move";
                item.classList.add("dragged");
            });
            item.addEventListener("dragend", () => item.classList.remove("dragged"));
            item.addEventListener("dragover", (event) => {
                if (![...event.dataTransfer.types].includes("text/x-place")) return;
                event.preventDefault();
                item.classList.add("target");
            });
            item.addEventListener("dragleave", () => item.classList.remove("target"));
            item.addEventListener("drop", (event) => {
                const from = event.dataTransfer.getData("text/x-place");
                item.classList.remove("target");
                if (from === "") return;
                event.preventDefault();
                event.stopPropagation();
                this.move(Number(from), i);
            });
            return item;
        }));
    }

    /** Shows what the question would cost: `result` is what messages.plan gave, null for nothing to show. */
    showPlan(result, settings, rounds) {
        const plan = result?.plan || null;
        this.plan = plan;
        this.draw();
        $("#plan").hidden = !plan;
        const advice = [];
        if (plan) {
            $("#meter i").style.width = Math.min(100, (100 * plan.prompt_tokens) / plan.context) + "%";
            const answer = Math.min(settings.maxTokens || plan.context_left, plan.context_left);
            $("#meter b").style.width = Math.max(0, Math.min(100, (100 * answer) / plan.context)) + "%";
            $("#plan-text").textContent = t("planTokens", { tokens: number(plan.prompt_tokens), left: number(plan.context_left), context: number(plan.context) });
            const images = plan.images;
            if (plan.context_left < 16) advice.push(["warn", t("adviceFull")]);
            else if (settings.maxTokens && plan.context_left < Math.min(settings.maxTokens, plan.context / 8)) advice.push(["warn", t("adviceShort", { left: number(plan.context_left) })]);
            if (images.length >= 3 && settings.tiling === "auto") advice.push(["", t("adviceThree")]);
            const tiled = images.filter((image) => image.tiles_across * image.tiles_down > 1);
            if (tiled.length && plan.prompt_tokens > plan.context / 2) advice.push(["", t("adviceTiles", { tokens: number(tiled.reduce((sum, image) => sum + image.tokens, 0)) })]);
            if (result.dropped) advice.push(["", t("adviceTrim", { count: result.dropped })]);
            if (images.length > 1 && /<\|(?:ref|grounding)\|>/.test(this.text)) advice.push(["", t("adviceLast")]);
            else if (tiled.length && !rounds && this.attached.length === 1 && !advice.length) advice.push(["quiet", t("tilesShown")]);
        }
        this.advise(advice);
    }

    advise(list) {
        const place = $("#advice");
        place.hidden = list.length === 0;
        place.replaceChildren(...list.map(([kind, text]) => h("p", { class: kind }, text)));
    }
}

/** A question's text with its tags as marks. */
export function marked(text, plain) {
    const nodes = [];
    let from = 0;
    for (const match of text.matchAll(/<image(?:[ _](\d{1,3}))?>|<\|ref\|>([\s\S]*?)<\|\/ref\|>|<\|det\|>([\s\S]*?)<\|\/det\|>|<\|grounding\|>/g)) {
        nodes.push(...plain(text.slice(from, match.index)));
        from = match.index + match[0].length;
        if (match[2] !== undefined) nodes.push(h("b", { class: "mark" }, icon("target"), ...plain(match[2])));
        else if (match[3] !== undefined) nodes.push(h("code", { class: "mark" }, ...plain(match[3])));
        else if (match[0].startsWith("<image")) nodes.push(h("b", { class: "mark" }, icon("image"), match[1] || ""));
        else nodes.push(h("b", { class: "mark" }, icon("boxes"), t("boxes")));
        nodes.push("");
    }
    nodes.push(...plain(text.slice(from)));
    return nodes;
}
