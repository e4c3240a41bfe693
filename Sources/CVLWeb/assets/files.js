// Conversations as one JSON file, pictures and all, and back.

import { uid } from "./dom.js";
import * as store from "./store.js";
import * as pictures from "./pictures.js";

const format = "deepseek-vl-conversations";

export async function toFile(list) {
    const all = {};
    for (const conversation of list) {
        for (const id of store.picturesOf(conversation)) {
            const picture = await pictures.get(id);
            if (!picture) continue;
            const { blob, ...rest } = picture;
            all[id] = { ...rest, data: await pictures.toDataURL(blob) };
        }
    }
    return new Blob([JSON.stringify({ format, version: 1, conversations: list, pictures: all }, null, 1)], { type: "application/json" });
}

const text = (value, longest = 1 << 20) => (typeof value === "string" ? value.slice(0, longest) : "");
const integer = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);

function blobOf(address) {
    const match = /^data:(image\/[\w.+-]{1,40});base64,([A-Za-z0-9+/=\s]*)$/.exec(address);
    if (!match) return null;
    const bytes = Uint8Array.from(atob(match[2]), (c) => c.charCodeAt(0));
    return new Blob([bytes], { type: match[1] });
}

/** A box of a file: numbers only, and few. */
function boxOf(box) {
    const four = (list) => (Array.isArray(list) && list.length === 4 && list.every(Number.isFinite) ? list : null);
    if (!four(box?.pixels) || !four(box?.box)) return null;
    return { label: text(box.label, 500), image: integer(box.image), box: box.box, pixels: box.pixels, confidence: Number.isFinite(box.confidence) ? box.confidence : null };
}

function usageOf(usage) {
    if (!usage) return undefined;
    const cached = usage.prompt_tokens_details?.cached_tokens;
    return { prompt_tokens: integer(usage.prompt_tokens), completion_tokens: integer(usage.completion_tokens), prompt_tokens_details: cached === undefined ? undefined : { cached_tokens: integer(cached) } };
}

/** Reads a file into the store and says how many conversations it had. Nothing of it is trusted; all get new names. */
export async function fromFile(file) {
    const value = JSON.parse(await file.text());
    if (value?.format !== format || !Array.isArray(value.conversations)) throw new Error(`"format": "${format}"?`);
    const ids = new Map();
    for (const [id, picture] of Object.entries(value.pictures || {})) {
        const blob = blobOf(text(picture?.data, 1 << 27));
        if (blob) ids.set(id, (await pictures.add(blob, text(picture.name, 200))).id);
    }
    const known = (list) => (Array.isArray(list) ? list.map((id) => ids.get(id)).filter(Boolean) : []);
    let count = 0;
    for (const conversation of value.conversations) {
        const turns = (Array.isArray(conversation?.turns) ? conversation.turns : []).flatMap((turn) => {
            if (turn?.role === "user") return [{ id: uid(), role: "user", text: text(turn.text), pictures: known(turn.pictures) }];
            if (turn?.role !== "assistant") return [];
            return [{
                id: uid(), role: "assistant", text: text(turn.text), state: turn.state === "done" ? "done" : "stopped", finish: text(turn.finish, 20), model: text(turn.model, 200),
                boxes: (Array.isArray(turn.boxes) ? turn.boxes : []).slice(0, 1000).map(boxOf).filter(Boolean),
                problems: (Array.isArray(turn.problems) ? turn.problems : []).slice(0, 50).map((problem) => text(problem, 500)),
                usage: usageOf(turn.usage),
                timing: Number.isFinite(turn.timing?.first) ? { first: turn.timing.first, speed: Number.isFinite(turn.timing.speed) ? turn.timing.speed : 0 } : undefined,
                // Places count, so a picture that is missing stays a place.
                sent: (Array.isArray(turn.sent) ? turn.sent : []).map((id) => ids.get(id) || ""),
            }];
        });
        if (!turns.length) continue;
        const now = Date.now();
        await store.putConversation({ id: uid(), title: text(conversation.title, 200), created: integer(conversation.created) || now, updated: integer(conversation.updated) || now, system: text(conversation.system), turns });
        count++;
    }
    return count;
}
