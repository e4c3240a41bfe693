// Markdown as answers have it, as elements. What a model writes becomes text nodes in elements that are named here, and
// nothing else: no markup of its own, no pictures from elsewhere, links only to the web, and only when clicked.

import { h, number } from "./dom.js";
import { formula } from "./math.js";
import { t } from "./i18n.js";

const limits = { depth: 8, rows: 100, columns: 24, characters: 200000, items: 1000 };

/** Characters that make text look like other text: overrides of direction and controls. */
const strange = /[\u202a-\u202e\u2066-\u2069\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text as nodes, with strange characters made visible. */
export function plain(text) {
    const nodes = [];
    let from = 0;
    for (const match of text.matchAll(strange)) {
        if (match.index > from) nodes.push(text.slice(from, match.index));
        const code = "U+" + match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
        nodes.push(h("span", { class: "control", title: t("controlCharacter") }, code));
        from = match.index + 1;
    }
    if (from < text.length) nodes.push(text.slice(from));
    return nodes;
}

/** Whether a link leads to where links may lead. */
function safeAddress(text) {
    try {
        const url = new URL(text);
        return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
    } catch {
        return null;
    }
}

function link(address, children) {
    const safe = safeAddress(address);
    if (!safe) return [...children, " (", ...plain(address), ")"];
    return [h("a", { href: safe, target: "_blank", rel: "noopener noreferrer nofollow", title: safe }, ...children)];
}

const special = /[\\`*_~[\]!<$h\n]/g;

/** Inline Markdown as nodes. */
class Inline {
    constructor(text, context, depth = 0) {
        this.text = text;
        this.context = context;
        this.depth = depth;
        this.missing = new Set();
    }

    /** Where `mark` comes next; what was not found once is not looked for again, so that time stays linear. */
    find(mark, from) {
        if (this.missing.has(mark)) return -1;
        const place = this.text.indexOf(mark, from);
        if (place < 0) this.missing.add(mark);
        return place;
    }

    inner(text) {
        return this.depth < limits.depth ? new Inline(text, this.context, this.depth + 1).nodes() : plain(text);
    }

    nodes() {
        const { text } = this;
        const nodes = [];
        let from = 0;
        let at = 0;
        const flush = (to) => { if (to > from) nodes.push(...plain(text.slice(from, to))); };
        while (at < text.length) {
            special.lastIndex = at;
            const match = special.exec(text);
            if (!match) break;
            at = match.index;
            const found = this.take(at);
            if (!found) {
                at++;
                continue;
            }
            flush(at);
            nodes.push(...found.nodes);
            at = from = found.end;
        }
        flush(text.length);
        return nodes;
    }

    between(at, mark, wrap, isTight = true) {
        const start = at + mark.length;
        if (isTight && /^\s|^$/.test(this.text.slice(start, start + 1))) return null;
        const end = this.find(mark, start + 1);
        if (end < 0 || (isTight && /\s/.test(this.text[end - 1]))) return null;
        return { nodes: [wrap(this.text.slice(start, end))], end: end + mark.length };
    }

    take(at) {
        const { text } = this;
        const rest = (length) => text.startsWith(length, at);
        switch (text[at]) {
            case "\n": return { nodes: [h("br")], end: at + 1 };
            case "\\": {
                const next = text[at + 1];
                if (next === "(" || next === "[") {
                    const end = this.find(next === "(" ? "\\)" : "\\]", at + 2);
                    if (end > 0) return { nodes: [formula(text.slice(at + 2, end), next === "[")], end: end + 2 };
                }
                return next && /[\\`*_{}[\]()#+\-.!|~<>$]/.test(next) ? { nodes: [next], end: at + 2 } : null;
            }
            case "`": {
                const mark = /^`+/.exec(text.slice(at, at + 8))[0];
                const end = this.find(mark, at + mark.length);
                if (end < 0) return null;
                return { nodes: [h("code", {}, ...plain(text.slice(at + mark.length, end).replace(/^ (.*) $/s, "$1")))], end: end + mark.length };
            }
            case "$": {
                if (rest("$$")) {
                    const end = this.find("$$", at + 2);
                    return end < 0 ? null : { nodes: [formula(text.slice(at + 2, end), true)], end: end + 2 };
                }
                const end = this.find("$", at + 1);
                if (end < 0 || end === at + 1 || /\s/.test(text[at + 1]) || /\s/.test(text[end - 1]) || /\d/.test(text[end + 1] || "") || text.slice(at, end).includes("\n")) return null;
                return { nodes: [formula(text.slice(at + 1, end), false)], end: end + 1 };
            }
            case "*":
                if (rest("***")) return this.between(at, "***", (inner) => h("strong", {}, h("em", {}, ...this.inner(inner))));
                if (rest("**")) return this.between(at, "**", (inner) => h("strong", {}, ...this.inner(inner)));
                if (/\w/.test(text[at - 1] || "") && /\d/.test(text[at + 1] || "")) return null;
                return this.between(at, "*", (inner) => h("em", {}, ...this.inner(inner)));
            case "_":
                if (/[\p{L}\p{N}]/u.test(text[at - 1] || "")) return null;
                if (rest("__")) return this.between(at, "__", (inner) => h("strong", {}, ...this.inner(inner)));
                return this.between(at, "_", (inner) => h("em", {}, ...this.inner(inner)));
            case "~": return rest("~~") ? this.between(at, "~~", (inner) => h("del", {}, ...this.inner(inner))) : null;
            case "!":
            case "[": {
                const start = text[at] === "!" ? at + 1 : at;
                const match = /^\[([^\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,2000}(?:\([^\s()]{0,200}\))?[^\s()<>]{0,500})>?(?:\s+"[^"\n]{0,200}")?\s*\)/.exec(text.slice(start, start + 3500));
                if (!match) return null;
                return { nodes: link(match[2], match[1] ? this.inner(match[1]) : [match[2]]), end: start + match[0].length };
            }
            case "h": {
                if (/[\p{L}\p{N}]/u.test(text[at - 1] || "")) return null;
                const match = /^https?:\/\/[^\s<>"'`（），。；、]{1,2000}/.exec(text.slice(at, at + 2010));
                if (!match) return null;
                const address = match[0].replace(/[.,;:!?)\]}*_~]+$/, "");
                return { nodes: link(address, [address]), end: at + address.length };
            }
            case "<": return this.tag(at);
            default: return null;
        }
    }

    /** The tags of grounding, a line break, an address; everything else in angle brackets is text. */
    tag(at) {
        const { text } = this;
        const rest = text.slice(at, at + 2100);
        const lineBreak = /^<br\s*\/?>/i.exec(rest);
        if (lineBreak) return { nodes: [h("br")], end: at + lineBreak[0].length };
        const address = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/.exec(rest);
        if (address) return { nodes: link(address[1], [address[1]]), end: at + address[0].length };
        if (rest.startsWith("<|ref|>")) {
            const end = this.find("<|/ref|>", at);
            const start = at + 7;
            if (end < 0) return { nodes: this.inner(text.slice(start)), end: text.length };
            const label = text.slice(start, end);
            let after = end + 8;
            let det = "";
            if (text.startsWith("<|det|>", after)) {
                const close = this.find("<|/det|>", after);
                det = text.slice(after + 7, close < 0 ? text.length : close);
                after = close < 0 ? text.length : close + 8;
            }
            return { nodes: [this.context.reference(label, det, plain)], end: after };
        }
        if (rest.startsWith("<|det|>")) {
            const end = this.find("<|/det|>", at);
            const det = text.slice(at + 7, end < 0 ? text.length : end);
            return { nodes: [this.context.reference("", det, plain)], end: end < 0 ? text.length : end + 8 };
        }
        if (rest.startsWith("<|grounding|>")) return { nodes: [], end: at + 13 };
        // The beginning of a tag that is still being written is not shown for a moment.
        if (this.context.isOpen && at + rest.length === text.length && /^<\|?\/?[a-z]{0,9}\|?$/.test(rest)) return { nodes: [], end: text.length };
        return null;
    }
}

const fence = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const bullet = /^( {0,12})([-*+]|\d{1,9}[.)])(?:\s+|$)/;
const rule = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const divider = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

function cells(line) {
    const list = [];
    let cell = "";
    const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
    for (let i = 0; i < inner.length; i++) {
        if (inner[i] === "\\" && inner[i + 1] === "|") cell += inner[++i];
        else if (inner[i] === "|" && !(inner[i - 1] === "<" || inner[i + 1] === ">")) {
            list.push(cell.trim());
            cell = "";
        } else cell += inner[i];
    }
    list.push(cell.trim());
    return list;
}

/** Cuts a text into blocks: each has its source, so that only what has changed is drawn again. */
function blocks(lines) {
    const list = [];
    let at = 0;
    const add = (kind, end, data = {}) => {
        list.push({ kind, source: lines.slice(at, end).join("\n"), lines: lines.slice(at, end), ...data });
        at = end;
    };
    while (at < lines.length) {
        const line = lines[at];
        if (!line.trim()) {
            at++;
            continue;
        }
        const opening = fence.exec(line);
        if (opening) {
            let end = at + 1;
            while (end < lines.length && !(lines[end].trim().startsWith(opening[1]) && /^\s*[`~]+\s*$/.test(lines[end]))) end++;
            add("code", Math.min(lines.length, end + 1), { language: opening[2], code: lines.slice(at + 1, end).join("\n") });
            continue;
        }
        const mathStart = /^\s*(\$\$|\\\[)/.exec(line);
        if (mathStart) {
            const close = mathStart[1] === "$$" ? "$$" : "\\]";
            let end = at;
            const first = line.slice(line.indexOf(mathStart[1]) + 2);
            if (!first.includes(close)) {
                end++;
                while (end < lines.length && !lines[end].includes(close)) end++;
            }
            const whole = lines.slice(at, end + 1).join("\n");
            const start = whole.indexOf(mathStart[1]) + 2;
            const stop = whole.indexOf(close, start);
            if (stop >= 0 && !whole.slice(stop + 2).trim()) {
                add("math", end + 1, { math: whole.slice(start, stop) });
                continue;
            }
        }
        const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line);
        if (heading) add("heading", at + 1, { level: heading[1].length, text: heading[2] });
        else if (rule.test(line)) add("rule", at + 1);
        else if (/^ {0,3}>/.test(line)) {
            let end = at + 1;
            while (end < lines.length && /^ {0,3}>/.test(lines[end])) end++;
            add("quote", end);
        } else if (bullet.test(line)) {
            const indent = bullet.exec(line)[1].length;
            const isOrdered = /\d/.test(bullet.exec(line)[2]);
            let end = at + 1;
            while (end < lines.length) {
                const next = bullet.exec(lines[end]);
                if (!lines[end].trim()) {
                    const after = lines[end + 1];
                    if (after === undefined || !(/^\s{2,}\S/.test(after) || bullet.test(after))) break;
                } else if (next && next[1].length <= indent && /\d/.test(next[2]) !== isOrdered) break;
                else if (!next && !/^\s{2,}/.test(lines[end]) && !lines[end - 1].trim()) break;
                else if (!next && (fence.test(lines[end]) && !/^\s/.test(lines[end]) || /^#{1,6}\s/.test(lines[end]))) break;
                end++;
            }
            add("list", end, { isOrdered });
        } else if (line.includes("|") && at + 1 < lines.length && divider.test(lines[at + 1]) && lines[at + 1].includes("-") && cells(lines[at + 1]).length === cells(line).length) {
            let end = at + 2;
            while (end < lines.length && lines[end].trim() && lines[end].includes("|")) end++;
            add("table", end);
        } else {
            let end = at + 1;
            while (
                end < lines.length && lines[end].trim() && !fence.test(lines[end]) && !/^ {0,3}(#{1,6}\s|>)/.test(lines[end]) &&
                !bullet.test(lines[end]) && !rule.test(lines[end]) && !/^\s*(\$\$|\\\[)/.test(lines[end]) &&
                !(lines[end].includes("|") && divider.test(lines[end + 1] || "") && (lines[end + 1] || "").includes("|"))
            ) end++;
            add("text", end);
        }
    }
    return list;
}

function items(block) {
    const indent = bullet.exec(block.lines[0])[1].length;
    const list = [];
    for (const line of block.lines) {
        const match = bullet.exec(line);
        if (match && match[1].length <= indent + 1) list.push({ width: match[0].length, lines: [line.slice(match[0].length)] });
        else list.at(-1).lines.push(line.slice(Math.min(list.at(-1).width, /^\s*/.exec(line)[0].length)));
    }
    return list.slice(0, limits.items);
}

function table(block, context) {
    const align = cells(block.lines[1]).map((cell) => (/^:.*:$/.test(cell) ? "center" : /:$/.test(cell) ? "right" : "left"));
    const row = (line, tag) =>
        h("tr", {}, ...cells(line).slice(0, limits.columns).map((cell, i) =>
            h(tag, { class: "to-" + (align[i] || "left"), scope: tag === "th" ? "col" : null }, ...new Inline(cell, context).nodes())));
    const body = block.lines.slice(2);
    const hidden = Math.max(0, body.length - limits.rows);
    const wide = cells(block.lines[0]).length - limits.columns;
    const note = hidden > 0 || wide > 0 ? [h("p", { class: "note" }, t("tableCut", { rows: number(hidden), columns: number(Math.max(0, wide)) }))] : [];
    return h("div", {}, h("div", { class: "table", tabindex: "0", role: "region", "aria-label": t("table") },
        h("table", {}, h("thead", {}, row(block.lines[0], "th")), h("tbody", {}, ...body.slice(0, limits.rows).map((line) => row(line, "td"))))), ...note);
}

function draw(block, context, depth) {
    const inline = (text) => new Inline(text, context).nodes();
    switch (block.kind) {
        case "heading": return h("h" + Math.min(6, block.level + 2), {}, ...inline(block.text));
        case "rule": return h("hr");
        case "math": return h("div", { class: "formula", tabindex: "0", role: "group", "aria-label": t("formula") }, formula(block.math, true));
        case "code": {
            const code = h("code", {}, ...plain(block.code));
            const copy = h("button", { type: "button", class: "ghost copy", onclick: () => context.copy(block.code) }, t("copy"));
            return h("figure", { class: "code" }, h("figcaption", {}, h("span", {}, block.language || t("code")), copy), h("pre", { tabindex: "0" }, code));
        }
        case "quote": return h("blockquote", {}, ...parts(block.lines.map((line) => line.replace(/^ {0,3}> ?/, "")), context, depth + 1));
        case "list": {
            const first = /\d+/.exec(block.lines[0]);
            return h(block.isOrdered ? "ol" : "ul", block.isOrdered && first[0] !== "1" ? { start: first[0] } : {}, ...items(block).map((item) => {
                const task = /^\[([ xX])\]\s+/.exec(item.lines[0]);
                if (task) item.lines[0] = item.lines[0].slice(task[0].length);
                const inner = parts(item.lines, context, depth + 1);
                // A single paragraph needs no paragraph around it.
                const children = inner.map((node) => (node.tagName === "P" ? [...node.childNodes] : [node])).flat();
                return h("li", {}, task ? (task[1] === " " ? "☐ " : "☑ ") : null, ...(inner.filter((n) => n.tagName === "P").length > 1 ? inner : children));
            }));
        }
        case "table": return table(block, context);
        default: return h("p", {}, ...inline(block.lines.map((line) => line.replace(/^ {1,8}/, "")).join("\n").trimEnd()));
    }
}

function parts(lines, context, depth) {
    if (depth > limits.depth) return [h("p", {}, ...plain(lines.join("\n")))];
    return blocks(lines).map((block) => draw(block, context, depth));
}

/** Draws Markdown into a place; blocks that are as they were stay as they are. */
export function render(place, text, context) {
    const isCut = text.length > limits.characters;
    const list = blocks((isCut ? text.slice(0, limits.characters) : text).replace(/\r\n?/g, "\n").split("\n"));
    const old = place.markdown || [];
    const now = list.map((block, i) => {
        const isLast = i === list.length - 1 && context.isOpen;
        const key = block.kind + "\n" + block.source + (block.source.includes("<|") ? "\n" + context.state : "") + (isLast ? "\nopen" : "");
        if (old[i]?.key === key) return old[i];
        const node = draw(block, { ...context, isOpen: isLast }, 0);
        node.setAttribute("dir", "auto");
        return { key, node };
    });
    for (let i = 0; i < now.length; i++) {
        if (old[i] === now[i]) continue;
        if (old[i]?.node.parentNode === place) place.replaceChild(now[i].node, old[i].node);
        else place.append(now[i].node);
    }
    for (const gone of old.slice(now.length)) gone.node.remove();
    if (isCut && !place.cut) place.after((place.cut = h("p", { class: "note" }, t("answerCut"))));
    place.markdown = now;
}
