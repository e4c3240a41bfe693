// Questions and answers as elements.

import { h, icon, iconButton, number } from "./dom.js";
import { t } from "./i18n.js";
import * as pictures from "./pictures.js";
import { plain, render } from "./markdown.js";
import { colours, figure, linkHovers, matching, spoken } from "./grounding.js";
import { marked } from "./composer.js";

/** What a failed request is called, in words that say what to do. */
export function errorText(error) {
    const seconds = error.retryAfter || 2;
    const values = { message: error.message, seconds };
    switch (error.code) {
        case "network": return t("errorNetwork");
        case "broken": case "cancelled": return t("errorBroken");
        case "overloaded": return t("errorOverloaded", values);
        case "rate_limit_exceeded": return t("errorRate", values);
        case "invalid_image": return t("errorPicture", values);
        case "too_large": return t("errorLarge");
        case "context_length_exceeded": return t("errorContext", values);
        case "timeout": return t("errorTimeout");
        case "shutting_down": return t("errorEnding");
        case "invalid_api_key": return t("errorKey");
        case "model_not_loaded": return t("errorModel", values);
        default: return t("errorOther", values);
    }
}

/** A picture as a small button. */
export function thumbnail(id, open) {
    const picture = pictures.known(id);
    if (!picture) return h("span", { class: "unseen" }, "?");
    const isTiny = Math.max(picture.width, picture.height) < 200;
    return h("button", { type: "button", class: "thumb", title: picture.name, "aria-label": t("openPicture", { name: picture.name }), onclick: open },
        picture.width ? h("img", { src: pictures.url(picture), alt: "", class: isTiny ? "tiny" : null }) : h("span", { class: "unseen" }, picture.name));
}

export function questionView(turn, app, isLast) {
    const body = h("div", { class: "bubble" });
    const draw = () => body.replaceChildren(...[
        turn.pictures?.length ? h("div", { class: "shown" }, ...turn.pictures.map((id) => thumbnail(id, () => app.view(id)))) : null,
        turn.text ? h("p", { dir: "auto" }, ...marked(turn.text, plain)) : null,
    ].filter(Boolean));
    const edit = () => {
        const area = h("textarea", { rows: "3", "aria-label": t("editLabel"), dir: "auto" });
        area.value = turn.text;
        const cancel = () => {
            draw();
            actions.hidden = false;
        };
        const save = () => app.edit(turn, area.value);
        area.addEventListener("keydown", (event) => {
            if (event.key === "Escape") {
                event.stopPropagation();
                cancel();
            } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                save();
            }
        });
        body.replaceChildren(...[
            turn.pictures?.length ? h("div", { class: "shown" }, ...turn.pictures.map((id) => thumbnail(id, () => app.view(id)))) : null, area,
            h("div", { class: "row" }, h("button", { type: "button", class: "outline", onclick: cancel }, t("cancel")), h("button", { type: "button", class: "solid", onclick: save }, t("saveEdit"))),
        ].filter(Boolean));
        actions.hidden = true;
        area.focus();
        area.setSelectionRange(area.value.length, area.value.length);
    };
    const actions = h("div", { class: "actions" },
        iconButton("edit", t("edit"), edit),
        isLast ? iconButton("trash", t("removeTurn"), () => app.removeLast(), { data: { act: "remove" } }) : null);
    draw();
    return h("article", { class: "turn user", "aria-label": t("you"), data: { turn: turn.id } }, body, actions);
}

/** An answer that grows: `update()` draws what has changed. */
export class AnswerView {
    constructor(turn, app, isLast) {
        this.turn = turn;
        this.app = app;
        this.text = h("div", { class: "text" });
        this.figures = h("div", { class: "figures" });
        this.progress = h("div", { class: "progress", hidden: true }, h("span"), h("i", {}, h("b")));
        this.foot = h("div", { class: "foot" });
        this.element = h("article", { class: "turn model", "aria-label": t("model"), data: { turn: turn.id } },
            h("div", { class: "columns" }, h("div", { class: "words" }, this.progress, this.text, this.foot), this.figures));
        this.isLast = isLast;
        this.drawn = -1;
        linkHovers(this.element);
        this.update();
    }

    reference(label, det) {
        const { turn } = this;
        const numbers = det ? matching(turn.boxes, label, det) : [];
        if (!numbers.length) return h("span", { class: "ref", dir: "auto" }, ...plain(label || det));
        return h("button", {
            type: "button", class: "ref linked k" + (numbers[0] % colours.length), data: { box: numbers.join(" ") }, dir: "auto",
            "aria-label": numbers.map((n) => spoken(turn.boxes[n])).join("; "), onclick: () => this.open(turn.boxes[numbers[0]].image),
        }, ...plain(label || det));
    }

    boxesOn(image) {
        return [...this.turn.boxes.entries()].filter(([, box]) => box.image === image);
    }

    open(image) {
        this.app.view(this.turn.sent[image], this.boxesOn(image));
    }

    update() {
        const { turn } = this;
        const isOpen = turn.state === "running";
        this.element.setAttribute("aria-busy", String(isOpen));
        render(this.text, turn.text, {
            isOpen,
            state: turn.boxes.length + (isOpen ? "" : "."),
            reference: (label, det) => this.reference(label, det),
            copy: (text) => this.app.copy(text),
        });
        this.element.classList.toggle("writing", isOpen && turn.text !== "");
        if (this.drawn !== turn.boxes.length) {
            this.drawn = turn.boxes.length;
            const images = [...new Set(turn.boxes.map((box) => box.image))].filter((image) => pictures.known(turn.sent[image]));
            this.figures.replaceChildren(...images.map((image) => figure(pictures.known(turn.sent[image]), this.boxesOn(image), () => this.open(image))));
            this.element.classList.toggle("with-figures", images.length > 0);
        }
        const phase = isOpen ? turn.phase : null;
        this.progress.hidden = !phase || (phase.name === "writing" && turn.text !== "");
        if (phase) {
            this.progress.firstChild.textContent = t(phase.name, phase);
            this.progress.lastChild.classList.toggle("unknown", !phase.total);
            this.progress.lastChild.firstChild.style.width = phase.total ? (100 * phase.done) / phase.total + "%" : "";
        }
        if (!isOpen) this.finish();
        else this.foot.replaceChildren();
    }

    finish() {
        const { turn, app } = this;
        const facts = [];
        if (turn.state === "stopped") facts.push(t("stopped"));
        if (turn.finish === "length") facts.push(t("endedLength"));
        if (turn.finish === "repetition") facts.push(t("endedRepetition"));
        if (turn.timing?.first !== undefined) facts.push(t("firstToken", { seconds: number(turn.timing.first, 2) }));
        if (turn.timing?.speed) facts.push(t("speed", { speed: number(turn.timing.speed, turn.timing.speed < 20 ? 1 : 0) }));
        if (turn.usage) {
            facts.push(t("answerTokens", { count: number(turn.usage.completion_tokens) }));
            const prompt = number(turn.usage.prompt_tokens);
            const cached = turn.usage.prompt_tokens_details?.cached_tokens;
            facts.push(cached === undefined ? t("promptTokens", { prompt }) : t("cached", { cached: number(cached), prompt }));
        }
        const problems = (turn.problems || []).map((problem) => h("p", { class: "note" }, t("groundingProblem", { problem })));
        const error = turn.error ? h("div", { class: "error", role: "alert" }, h("p", {}, errorText(turn.error)),
            this.isLast ? h("button", { type: "button", class: "outline", onclick: () => app.regenerate() }, icon("again"), t("retry")) : null) : null;
        this.foot.replaceChildren(...[
            ...problems, error,
            h("div", { class: "row" },
                turn.text ? iconButton("copy", t("copyAnswer"), () => app.copy(turn.text)) : null,
                this.isLast && !turn.error ? iconButton("again", t("regenerate"), () => app.regenerate(), { data: { act: "again" } }) : null,
                facts.length ? h("span", { class: "facts" }, facts.join(" · ")) : null),
        ].filter(Boolean));
    }
}
