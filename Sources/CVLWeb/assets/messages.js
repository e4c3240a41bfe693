// Conversations as the server's requests: which pictures stand where, which turns are left out, what may be asked for.

import * as pictures from "./pictures.js";
import { plan as askPlan } from "./api.js";

/** Mentions of pictures in a text: `<image 2>`, or `<image>` for the next one, as in the official programs. */
const mention = /<image(?:[ _](\d{1,3}))?>/g;

/**
 * The parts of a message: each picture where the text mentions it first, the others in front.
 *
 * A mention of a picture that there is not is left out; a second one of the same picture becomes words.
 */
export function parts(text, ids) {
    const placed = new Set();
    const list = [];
    let from = 0;
    let next = 0;
    const numbered = new Set([...text.matchAll(mention)].flatMap((match) => (match[1] ? [Number(match[1])] : [])));
    const push = (value) => {
        if (!value) return;
        if (list.at(-1)?.text !== undefined) list.at(-1).text += value;
        else list.push({ text: value });
    };
    for (const match of text.matchAll(mention)) {
        push(text.slice(from, match.index));
        from = match.index + match[0].length;
        let n = Number(match[1]) || 0;
        if (!match[1]) {
            do next++; while (next <= ids.length && (placed.has(next) || numbered.has(next)));
            n = next;
        }
        if (n < 1 || n > ids.length) continue;
        if (placed.has(n)) push("image " + n);
        else {
            placed.add(n);
            list.push({ picture: ids[n - 1] });
        }
    }
    push(text.slice(from));
    const front = ids.filter((_, i) => !placed.has(i + 1)).map((picture) => ({ picture }));
    const trimmed = list.map((part) => (part.text === undefined ? part : { text: part.text.replace(/^\s*\n|\n\s*$/g, "") }));
    return [...front, ...trimmed.filter((part) => part.picture || part.text.trim())];
}

/** Rounds of a conversation: a question and its answer. Rounds that were never answered are left out, but the last. */
export function rounds(turns) {
    const list = [];
    for (const turn of turns) {
        if (turn.role === "user") list.push({ question: turn });
        else if (list.length) list.at(-1).answer = turn;
    }
    return list.filter((round, i) => i === list.length - 1 || (round.answer && round.answer.text.trim()));
}

/** The body's messages, and the pictures in the order in which the model sees them. */
export async function messages(list, system, tiling) {
    const result = [];
    const sent = [];
    if (system?.trim()) result.push({ role: "system", content: system.trim() });
    for (const [i, { question, answer }] of list.entries()) {
        const content = [];
        for (const part of parts(question.text, question.pictures || [])) {
            if (part.picture) {
                const url = await pictures.dataURL(part.picture);
                if (!url) continue;
                sent.push(part.picture);
                content.push({ type: "image_url", image_url: { url, detail: tiling } });
            } else content.push({ type: "text", text: part.text });
        }
        if (!content.length) content.push({ type: "text", text: "" });
        result.push({ role: "user", content: content.every((part) => part.type === "text") ? content.map((part) => part.text).join("\n") : content });
        if (i < list.length - 1) result.push({ role: "assistant", content: answer.text });
    }
    return { messages: result, sent };
}

/**
 * Plans a conversation: the oldest rounds are left out until the prompt is no longer than the settings allow.
 *
 * Lengths are counted by the server, with every token of every picture.
 */
export async function plan(list, system, settings, signal) {
    const limit = settings.maxHistory;
    const attempt = async (dropped) => {
        const built = await messages(list.slice(dropped), system, settings.tiling);
        try {
            const answer = await askPlan({ messages: built.messages, max_tokens: 1 }, signal);
            return { ...built, plan: answer, dropped };
        } catch (error) {
            if (error.code === "context_length_exceeded" && dropped < list.length - 1) return null;
            throw error;
        }
    };
    const fits = (result) => result && result.plan.prompt_tokens <= limit && result.plan.context_left > 0;
    if (limit === 0) return await attempt(list.length - 1);
    let result = await attempt(0);
    if (fits(result) || list.length === 1) return result;
    // The fewest rounds that have to go, by halving.
    let low = 1;
    let high = list.length - 1;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (fits(await attempt(middle))) high = middle;
        else low = middle + 1;
    }
    return await attempt(low);
}

/** The sampling fields of a request. Values that the originals' sliders reach and no server can mean are off. */
export function sampling(settings, room) {
    const wanted = settings.maxTokens || room;
    const body = {
        temperature: settings.temperature,
        top_p: Math.max(1e-6, settings.topP),
        repetition_penalty: settings.repetition || 1,
        max_tokens: Math.max(1, Math.min(wanted, room)),
    };
    if (settings.seed !== "") body.seed = Number(settings.seed);
    return body;
}
