// The controls: the originals' ranges and defaults, and the model's card.

import { h, number } from "./dom.js";
import { t } from "./i18n.js";

const storageName = "deepseek-vl.settings";

/** Ranges and defaults of the official demos. */
export const controls = {
    temperature: { low: 0, high: 1, step: 0.1, value: 0.1 },
    topP: { low: 0, high: 1, step: 0.05, value: 0.9 },
    repetition: { low: 0, high: 2, step: 0.1, value: 1.1 },
    maxTokens: { low: 0, high: 4096, step: 8, value: 2048 },
    maxHistory: { low: 0, high: 8192, step: 128, value: 4096 },
};

const presets = {
    presetOfficial: { temperature: 0.1, topP: 0.9, repetition: 1.1, maxTokens: 2048, maxHistory: 4096 },
    presetExact: { temperature: 0, topP: 1, repetition: 1 },
    presetGrounding: { temperature: 0, topP: 1, repetition: 1, maxTokens: 512, tiling: "auto" },
    presetFree: { temperature: 0.8, topP: 0.95, repetition: 1.1 },
};

export const defaults = { ...Object.fromEntries(Object.entries(controls).map(([name, c]) => [name, c.value])), seed: "", tiling: "auto" };

/** The saved settings; anything that is out of its range is the default again. */
export function load() {
    const settings = { ...defaults };
    try {
        const saved = JSON.parse(localStorage.getItem(storageName) || "{}");
        for (const [name, { low, high }] of Object.entries(controls)) {
            if (typeof saved[name] === "number" && saved[name] >= low && saved[name] <= high) settings[name] = saved[name];
        }
        if (["auto", "high", "low"].includes(saved.tiling)) settings.tiling = saved.tiling;
        if (typeof saved.seed === "string" && /^\d{0,15}$/.test(saved.seed)) settings.seed = saved.seed;
    } catch {
        // No storage, or something else's: the defaults are fine.
    }
    return settings;
}

function save(settings) {
    try {
        localStorage.setItem(storageName, JSON.stringify(settings));
    } catch {
        // They hold until the page is closed.
    }
}

/** Draws the panel; `changed` is called after each change. */
export function drawPanel(place, app, changed) {
    const { settings } = app;
    const set = (values) => {
        Object.assign(settings, values);
        save(settings);
        for (const chip of place.querySelectorAll("[data-preset]")) chip.setAttribute("aria-pressed", String(isPreset(presets[chip.dataset.preset])));
        changed();
    };
    const slider = (name) => {
        const { low, high, step } = controls[name];
        const common = { min: low, max: high, step, value: String(settings[name]) };
        const range = h("input", { type: "range", ...common, id: "c-" + name, "aria-describedby": "h-" + name, oninput: () => take(range.value) });
        const field = h("input", { type: "number", ...common, "aria-label": t(name), onchange: () => take(field.value) });
        const paint = () => range.style.setProperty("--part", ((settings[name] - low) / (high - low)) * 100 + "%");
        const take = (text) => {
            const value = text === "" || Number.isNaN(Number(text)) ? controls[name].value : Math.min(high, Math.max(low, Number(text)));
            set({ [name]: value });
            range.value = field.value = String(value);
            paint();
        };
        paint();
        return h("div", { class: "control" }, h("div", { class: "row" }, h("label", { for: "c-" + name }, t(name)), field), range, h("p", { class: "hint", id: "h-" + name }, t(name + "Hint")));
    };
    const isPreset = (values) => Object.entries(values).every(([name, value]) => settings[name] === value);
    const seed = h("input", { type: "text", inputmode: "numeric", id: "c-seed", value: settings.seed, placeholder: t("seedPlaceholder"), "aria-describedby": "h-seed", onchange: () => {
        seed.value = seed.value.replace(/\D/g, "").slice(0, 15);
        set({ seed: seed.value });
    } });
    const tiling = h("div", { class: "choices", role: "radiogroup", "aria-label": t("tiling") }, ...[["auto", "tilingAuto"], ["high", "tilingHigh"], ["low", "tilingLow"]].map(([value, label]) =>
        h("label", {}, h("input", { type: "radio", name: "tiling", value, checked: settings.tiling === value, onchange: () => set({ tiling: value }) }), h("span", {}, t(label)))));
    const system = h("textarea", { id: "c-system", rows: "3", dir: "auto", value: app.current?.system || "", "aria-describedby": "h-system", onchange: () => {
        app.current.system = system.value;
        changed(true);
    } });
    place.replaceChildren(
        h("header", {}, h("h2", {}, t("settings")), h("button", { type: "button", class: "ghost", id: "close-panel", "aria-label": t("close"), title: t("close") }, "✕")),
        h("section", {}, h("h3", {}, t("presets")), h("div", { class: "presets" }, ...Object.entries(presets).map(([name, values]) =>
            h("button", { type: "button", class: "chip", "aria-pressed": String(isPreset(values)), data: { preset: name }, onclick: () => {
                set(values);
                drawPanel(place, app, changed);
                place.querySelector(`[data-preset="${name}"]`).focus();
            } }, t(name))))),
        h("section", {}, h("h3", {}, t("sampling")), ...Object.keys(controls).map(slider),
            h("div", { class: "control" }, h("div", { class: "row" }, h("label", { for: "c-seed" }, t("seed")), seed), h("p", { class: "hint", id: "h-seed" }, t("seedHint"))),
            h("div", { class: "control" }, h("div", { class: "row" }, h("span", {}, t("tiling")), tiling), h("p", { class: "hint" }, t("tilingHint"))),
            h("div", { class: "control" }, h("label", { for: "c-system" }, t("system")), system, h("p", { class: "hint", id: "h-system" }, t("systemHint")))),
        h("section", { id: "card" }, h("h3", {}, t("card")), card(app)),
    );
    place.querySelector("#close-panel").addEventListener("click", () => app.closePanel());
}

function card(app) {
    const { model, models } = app;
    if (!model) return h("p", { class: "hint" }, "…");
    const names = models.length < 2 ? model.id : h("select", { "aria-label": t("cardName"), onchange: (event) => app.chooseModel(event.target.value) },
        ...models.map((one) => h("option", { value: one.id, selected: one.id === model.id }, one.id)));
    const size = (bytes) => (bytes >= 1 << 30 ? number(bytes / 2 ** 30, 1) + " GiB" : number(bytes / 2 ** 20, 1) + " MiB");
    const rows = [
        ["cardName", names],
        ["cardArchitecture", model.architecture],
        ["cardWeights", model.weights && `${model.weights}, ${size(model.weight_bytes)}`],
        ["cardContext", model.max_model_len && t("tokensOf", { count: number(model.max_model_len) })],
        ["cardVocabulary", model.vocab_size && t("tokensOf", { count: number(model.vocab_size) })],
        ["cardEyes", model.sees === undefined ? null : t(model.sees ? "yes" : "no")],
    ].filter((row) => row[1]);
    const notes = [];
    if (model.loaded === false) notes.push(t("cardUnloaded"));
    if (/shapes/.test(model.id)) notes.push(t("cardShapes"));
    if (model.sees === false) notes.push(t("cardBlind"));
    return h("div", { class: "card" }, h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, t(name)), h("dd", {}, value)])), ...notes.map((note) => h("p", { class: "hint" }, note)));
}
