// The page: conversations, what is running, and how the parts work together.

import { $, h, iconButton, announce, toast, download, uid } from "./dom.js";
import { setLanguage, language, t, translate } from "./i18n.js";
import * as api from "./api.js";
import * as store from "./store.js";
import * as pictures from "./pictures.js";
import { Composer } from "./composer.js";
import { AnswerView, errorText, questionView } from "./turns.js";
import { drawGallery, fetchFiles, readable } from "./gallery.js";
import { drawPanel, load as loadSettings } from "./settings.js";
import { plan, rounds, sampling } from "./messages.js";
import { openViewer } from "./viewer.js";
import { toFile, fromFile } from "./files.js";

const lookName = "deepseek-vl.look";

class App {
    constructor() {
        this.settings = loadSettings();
        this.models = [];
        this.model = null;
        this.list = [];
        this.current = this.fresh();
        this.running = null;
        this.planning = null;
        this.composer = new Composer(this);
    }

    fresh() {
        return { id: uid(), title: "", created: Date.now(), updated: Date.now(), system: "", turns: [] };
    }

    async start() {
        translate();
        this.wire();
        this.drawAll();
        const isKept = await store.open();
        if (!isKept) toast(t("notKept"));
        this.list = await store.conversations();
        store.sweep();
        const wanted = location.hash.slice(1) || sessionStorage.getItem("deepseek-vl.current");
        const found = this.list.find((one) => one.id === wanted);
        if (found) await this.show(found);
        else this.drawList();
        await this.connect();
        document.documentElement.dataset.ready = "yes";
    }

    /** Asks what is served; a server with keys is asked again with one. */
    async connect() {
        try {
            this.models = (await api.models()).data;
            this.model = this.models.find((one) => one.id === this.model?.id) || this.models[0];
        } catch (error) {
            if (error.code === "invalid_api_key") {
                await this.askKey(Boolean(api.apiKey.get()));
                return await this.connect();
            }
            this.model = null;
            $("#model-name").textContent = "";
            this.composer.advise([["warn", t("errorNetwork")]]);
            setTimeout(() => this.connect(), 5000);
            return;
        }
        this.composer.advise([]);
        $("#model-name").textContent = this.model.id;
        for (const button of ["#attach", "#camera", "#locate", "#grounded"]) $(button).disabled = this.model.sees === false;
        this.drawPanel();
        this.changed();
    }

    chooseModel(id) {
        this.model = this.models.find((one) => one.id === id);
        $("#model-name").textContent = id;
        this.drawPanel();
    }

    askKey(wasWrong) {
        return new Promise((resolve) => {
            const field = h("input", { type: "password", id: "key", autocomplete: "current-password", required: true });
            const dialog = h("dialog", { class: "key", "aria-labelledby": "key-title" },
                h("form", { method: "dialog" },
                    h("h2", { id: "key-title" }, t("keyTitle")), h("p", {}, t("keyText")),
                    wasWrong ? h("p", { class: "error", role: "alert" }, t("keyWrong")) : null,
                    h("label", { for: "key" }, t("keyLabel")), field, h("button", { type: "submit", class: "solid" }, t("keyUse"))));
            dialog.addEventListener("cancel", (event) => event.preventDefault());
            dialog.addEventListener("close", () => {
                api.apiKey.set(field.value.trim());
                dialog.remove();
                resolve();
            });
            document.body.append(dialog);
            dialog.showModal();
            field.focus();
        });
    }

    // Drawing.

    drawAll() {
        drawGallery($("#gallery"), (example) => this.runExample(example));
        this.drawList();
        this.drawPanel();
        this.drawTurns();
    }

    drawList() {
        const items = this.list.map((one) => h("li", { class: one.id === this.current.id ? "current" : null },
            h("button", { type: "button", class: "open", "aria-current": one.id === this.current.id ? "page" : null, onclick: () => this.show(one), dir: "auto" }, one.title || t("untitled")),
            iconButton("trash", t("deleteConversation", { title: one.title || t("untitled") }), () => this.remove(one))));
        $("#conversations").replaceChildren(...(items.length ? items : [h("li", { class: "empty" }, t("noConversations"))]));
    }

    drawPanel() {
        drawPanel($("#panel"), this, (isOfConversation) => {
            if (isOfConversation) this.save();
            this.changed();
        });
    }

    drawTurns() {
        const { turns } = this.current;
        $("#hero").hidden = turns.length > 0;
        $("#title").textContent = turns.length ? this.current.title : "DeepSeek-VL";
        document.title = this.current.title ? this.current.title + " · DeepSeek-VL" : "DeepSeek-VL";
        const lastQuestion = turns.findLast((turn) => turn.role === "user");
        $("#log").replaceChildren(...turns.map((turn, i) => {
            if (turn.role === "user") return questionView(turn, this, turn === lastQuestion && !this.running);
            const view = new AnswerView(turn, this, i === turns.length - 1);
            if (this.running?.turn === turn) this.running.view = view;
            return view.element;
        }));
    }

    /** Shows the end of the conversation, unless the user has gone up to read. */
    toEnd(isForced) {
        const place = $("#scroll");
        if (isForced) this.isFollowing = true;
        if (this.isFollowing) place.scrollTop = place.scrollHeight;
    }

    // Conversations.

    async show(conversation) {
        if (this.running) this.stop();
        this.current = conversation;
        for (const turn of conversation.turns) if (turn.state === "running") turn.state = "stopped";
        await Promise.all([...store.picturesOf(conversation)].map((id) => pictures.get(id)));
        this.remember();
        this.drawList();
        this.drawTurns();
        this.drawPanel();
        this.toEnd(true);
        this.closeSidebar();
        this.changed();
    }

    /** A reload shows the same conversation again. */
    remember() {
        try {
            sessionStorage.setItem("deepseek-vl.current", this.current.id);
        } catch {
            // Then it begins anew.
        }
    }

    async begin() {
        await this.show(this.fresh());
        this.composer.set("");
        $("#question").focus();
    }

    async save(conversation = this.current) {
        if (!conversation.turns.length) return;
        conversation.updated = Date.now();
        if (!this.list.includes(conversation)) {
            this.list.unshift(conversation);
            this.remember();
        }
        await store.putConversation({ ...conversation, turns: conversation.turns.map(({ phase, ...turn }) => turn) });
    }

    async remove(conversation) {
        const isShown = conversation.id === this.current.id;
        if (isShown && this.running) this.stop();
        this.list = this.list.filter((one) => one !== conversation);
        if (isShown) await this.begin();
        else this.drawList();
        this.offerUndo(t("deleted"), async () => {
            this.list.unshift(conversation);
            await this.show(conversation);
        }, () => store.removeConversation(conversation.id));
    }

    /** Says what was done, and takes it back on request. */
    offerUndo(text, undo, settle) {
        const place = $("#toast");
        toast(text);
        let isDone = false;
        const end = () => {
            if (!isDone) settle?.();
            isDone = true;
            removeEventListener("pagehide", end);
        };
        place.append(h("button", { type: "button", onclick: async () => {
            isDone = true;
            place.hidden = true;
            await undo();
        } }, t("undo")));
        setTimeout(end, 5000);
        addEventListener("pagehide", end);
    }

    pictureCount() {
        return this.current.turns.reduce((sum, turn) => sum + (turn.pictures?.length || 0), 0);
    }

    // The plan.

    /** Something that changes the plan has changed. */
    changed() {
        clearTimeout(this.planTimer);
        this.planning?.abort();
        const { composer } = this;
        const isEmpty = !composer.text.trim() && !composer.attached.length;
        $("#send").disabled = isEmpty || !this.model;
        $("#grounded").setAttribute("aria-pressed", String(composer.text.startsWith("<|grounding|>")));
        if (isEmpty || !this.model || this.model.loaded === false || this.running) {
            composer.showPlan(null, this.settings);
            return;
        }
        this.planTimer = setTimeout(async () => {
            const abort = new AbortController();
            this.planning = abort;
            const question = { role: "user", text: composer.text, pictures: composer.attached };
            const list = rounds([...this.current.turns, question]);
            try {
                const result = await plan(list, this.current.system, this.settings, abort.signal);
                if (!abort.signal.aborted) composer.showPlan(result, this.settings, list.length - 1);
            } catch (error) {
                if (error.code === "aborted" || abort.signal.aborted) return;
                composer.showPlan(null, this.settings);
                composer.advise([["warn", error.code === "context_length_exceeded" ? t("adviceFull") : errorText(error)]]);
            }
        }, composer.plan ? 400 : 150);
    }

    // Asking.

    async submit() {
        const { composer } = this;
        const text = composer.text.trim();
        if (this.running || (!text && !composer.attached.length) || !this.model) return;
        const question = { id: uid(), role: "user", text, pictures: composer.attached };
        composer.set("");
        await this.ask(question);
    }

    async ask(question) {
        const { current } = this;
        if (!current.title) current.title = readable(question.text).replace(/<image[ _]?\d*>/g, "").replace(/<\|\/?\w+\|>/g, "").trim().slice(0, 80) || t("untitled");
        current.turns.push(question);
        await this.answer();
    }

    async runExample(example) {
        if (this.running) return;
        try {
            const files = await fetchFiles(example);
            const ids = [];
            for (const file of files) ids.push((await pictures.add(file, file.name)).id);
            await this.ask({ id: uid(), role: "user", text: example.text, pictures: ids, exact: true });
        } catch {
            toast(t("errorNetwork"));
        }
    }

    /** Answers the last question of the conversation that is shown. */
    async answer() {
        const { current } = this;
        const question = current.turns.at(-1);
        const turn = { id: uid(), role: "assistant", text: "", boxes: [], problems: [], sent: [], state: "running", phase: { name: "planning" }, model: this.model.id };
        current.turns.push(turn);
        const run = { turn, abort: new AbortController(), view: null, frame: 0 };
        this.running = run;
        this.setBusy(true);
        this.drawTurns();
        this.drawList();
        this.toEnd(true);
        const settings = question.exact ? { ...this.settings, temperature: 0, topP: 1, repetition: 1 } : this.settings;
        const start = performance.now();
        let first = 0;
        let last = 0;
        let pieces = 0;
        let saved = start;
        const draw = () => {
            if (run.frame || this.running !== run) return;
            run.frame = requestAnimationFrame(() => {
                run.frame = 0;
                run.view?.update();
                this.toEnd();
            });
        };
        const watch = this.model.loaded === false ? this.watchLoading(turn, draw) : null;
        await this.save();
        try {
            const built = await plan(rounds(current.turns.slice(0, -1)), current.system, settings, run.abort.signal);
            clearInterval(watch);
            if (this.model.loaded === false) this.connect();
            turn.sent = built.sent;
            turn.phase = { name: "waiting" };
            draw();
            const body = { model: this.model.id, messages: built.messages, ...sampling(settings, built.plan.context_left) };
            await api.chat(body, run.abort.signal, (chunk) => {
                if (chunk.progress) turn.phase = { name: chunk.progress.phase === "pictures" ? "encoding" : "prefilling", ...chunk.progress };
                if (chunk.usage) turn.usage = chunk.usage;
                for (const choice of chunk.choices || []) {
                    if (choice.delta?.content) {
                        last = performance.now();
                        if (!first) first = last;
                        turn.phase = { name: "writing" };
                        turn.text += choice.delta.content;
                        pieces++;
                    }
                    if (choice.delta?.grounding) turn.boxes.push(...choice.delta.grounding.filter(isBox));
                    if (choice.delta?.grounding_problems) turn.problems.push(...choice.delta.grounding_problems.map(String));
                    if (choice.finish_reason) turn.finish = choice.finish_reason;
                }
                draw();
                if (performance.now() - saved > 1500) {
                    saved = performance.now();
                    this.save(current);
                }
            });
            turn.state = "done";
        } catch (error) {
            if (error.code === "aborted") turn.state = "stopped";
            else {
                turn.state = "failed";
                turn.error = { code: error.code || "other", message: String(error.message || error), retryAfter: error.retryAfter || 0 };
                if (error.code === "model_not_found") this.connect();
                if (error.code === "invalid_api_key") this.askKey(true).then(() => this.connect());
            }
        }
        clearInterval(watch);
        // An answer that was stopped has no usage; its pieces are its tokens, nearly.
        const count = turn.usage?.completion_tokens || pieces;
        turn.timing = first ? { first: (first - start) / 1000, total: (performance.now() - start) / 1000, speed: count > 1 && last > first ? ((count - 1) * 1000) / (last - first) : 0 } : undefined;
        delete turn.phase;
        cancelAnimationFrame(run.frame);
        if (this.running === run) {
            this.running = null;
            this.setBusy(false);
        }
        if (this.current === current) {
            this.drawTurns();
            this.toEnd();
            this.changed();
        }
        announce(turn.state === "stopped" ? t("stopped") : turn.state === "done" ? t("answered") + ". " + readable(turn.text).replace(/<\|det\|>.*?<\|\/det\|>/g, "") : "");
        await this.save(current);
        this.drawList();
    }

    /** Shows how far a model is that is loaded for this question. */
    watchLoading(turn, draw) {
        turn.phase = { name: "loadingModel" };
        return setInterval(async () => {
            try {
                const health = await api.health();
                if (health.progress && turn.phase?.name === "loadingModel") {
                    turn.phase = { name: "loadingModel", ...health.progress };
                    draw();
                }
            } catch {
                // The question itself finds out.
            }
        }, 500);
    }

    setBusy(isBusy) {
        $("#send").hidden = isBusy;
        $("#stop").hidden = !isBusy;
        document.documentElement.dataset.busy = isBusy ? "yes" : "no";
        if (!isBusy && document.activeElement === document.body) $("#question").focus();
    }

    stop() {
        this.running?.abort.abort();
    }

    async settled() {
        this.stop();
        while (this.running) await new Promise((resolve) => setTimeout(resolve, 20));
    }

    async regenerate() {
        await this.settled();
        if (this.current.turns.at(-1)?.role !== "assistant") return;
        this.current.turns.pop();
        // Asked again, an example follows the settings, too.
        delete this.current.turns.at(-1).exact;
        await this.answer();
    }

    async edit(turn, text) {
        await this.settled();
        const { current } = this;
        const before = [...current.turns];
        const place = current.turns.indexOf(turn);
        if (place < 0 || (!text.trim() && !turn.pictures?.length)) return;
        const lost = current.turns.length - place - 2;
        current.turns = current.turns.slice(0, place);
        if (lost > 0) this.offerUndo(t("removeTurn"), async () => this.restore(current, before));
        await this.ask({ id: uid(), role: "user", text: text.trim(), pictures: turn.pictures });
    }

    async restore(conversation, turns) {
        await this.settled();
        conversation.turns = turns;
        await this.show(conversation);
        await this.save();
    }

    async removeLast() {
        await this.settled();
        const { current } = this;
        const before = [...current.turns];
        const place = current.turns.findLastIndex((turn) => turn.role === "user");
        if (place < 0) return;
        current.turns = current.turns.slice(0, place);
        if (current.turns.length) await this.save();
        else this.list = this.list.filter((one) => one !== current);
        this.drawTurns();
        this.drawList();
        this.changed();
        this.offerUndo(t("deleted"), () => this.restore(current, before), () => current.turns.length || store.removeConversation(current.id));
        $("#question").focus();
    }

    async copy(text) {
        try {
            await navigator.clipboard.writeText(text);
            toast(t("copied"));
        } catch {
            const area = h("textarea", { value: text });
            document.body.append(area);
            area.select();
            document.execCommand("copy");
            area.remove();
            toast(t("copied"));
        }
    }

    // Pictures.

    /** Opens a picture; a region of it becomes a question. */
    view(id, numbered = []) {
        const picture = pictures.known(id);
        if (!picture || !picture.width) return;
        openViewer(picture, numbered, async (kind, region) => {
            const { composer } = this;
            if (kind === "crop") {
                const pixel = (value, side) => Math.round((value / 999) * side);
                const cut = await pictures.crop(picture, pixel(region[0], picture.width), pixel(region[1], picture.height), pixel(region[2], picture.width), pixel(region[3], picture.height));
                composer.attach(cut);
                if (!composer.text.trim()) composer.insert(t("regionCrop"));
                return;
            }
            // The model takes boxes to mean the last picture: another one is attached again.
            const last = [...this.current.turns.flatMap((turn) => turn.pictures || []), ...composer.attached].at(-1);
            if (last !== id) composer.attach(picture);
            const det = `<|det|>[[${region.join(", ")}]]<|/det|>`;
            composer.insert((composer.text && !/\s$/.test(composer.text) ? " " : "") + t("regionText", { det }));
        });
    }

    // The rest of the page.

    closeSidebar() {
        document.body.classList.remove("show-sidebar");
        $("#open-sidebar").setAttribute("aria-expanded", "false");
    }

    closePanel() {
        document.body.classList.remove("show-panel");
        $("#open-panel").setAttribute("aria-expanded", "false");
        $("#open-panel").focus();
    }

    wire() {
        const look = () => {
            try {
                return JSON.parse(localStorage.getItem(lookName) || "{}");
            } catch {
                return {};
            }
        };
        const keep = (values) => {
            try {
                localStorage.setItem(lookName, JSON.stringify({ ...look(), ...values }));
            } catch {
                // It holds until the page is closed.
            }
        };
        const names = { auto: "themeAuto", light: "themeLight", dark: "themeDark" };
        const showTheme = () => {
            const theme = document.documentElement.dataset.theme || "auto";
            $("#theme-name").dataset.t = names[theme];
            $("#theme-name").textContent = t(names[theme]);
        };
        showTheme();
        $("#theme").addEventListener("click", () => {
            const order = ["auto", "light", "dark"];
            const next = order[(order.indexOf(document.documentElement.dataset.theme || "auto") + 1) % 3];
            if (next === "auto") delete document.documentElement.dataset.theme;
            else document.documentElement.dataset.theme = next;
            keep({ theme: next });
            showTheme();
        });
        $("#language").addEventListener("click", () => {
            setLanguage(language() === "zh" ? "en" : "zh");
            keep({ language: language() });
            this.drawAll();
            this.changed();
        });
        $("#new").addEventListener("click", () => this.begin());
        const scroll = $("#scroll");
        scroll.addEventListener("scroll", () => {
            this.isFollowing = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
        }, { passive: true });
        $("#stop").addEventListener("click", () => this.stop());
        $("#open-sidebar").addEventListener("click", () => {
            const isShown = document.body.classList.toggle("show-sidebar");
            $("#open-sidebar").setAttribute("aria-expanded", String(isShown));
            if (isShown) $("#new").focus();
        });
        $("#close-sidebar").addEventListener("click", () => {
            this.closeSidebar();
            $("#open-sidebar").focus();
        });
        $("#open-panel").addEventListener("click", () => {
            const isShown = document.body.classList.toggle("show-panel");
            $("#open-panel").setAttribute("aria-expanded", String(isShown));
            if (isShown) $("#close-panel").focus();
        });
        $("#export").addEventListener("click", async () => download(await toFile(await store.conversations()), "deepseek-vl-conversations.json"));
        $("#import").addEventListener("click", () => $("#import-file").click());
        $("#import-file").addEventListener("change", async () => {
            const [file] = $("#import-file").files;
            $("#import-file").value = "";
            if (!file) return;
            try {
                const count = await fromFile(file);
                this.list = await store.conversations();
                this.drawList();
                toast(t("imported", { count }));
            } catch (error) {
                toast(t("importFailed", { reason: error.message }));
            }
        });
        addEventListener("keydown", (event) => {
            if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
            if (this.running) this.stop();
            else if (document.body.matches(".show-panel")) this.closePanel();
            else if (document.body.matches(".show-sidebar")) this.closeSidebar();
        });
        // A closed tab ends the request; what came so far is kept.
        addEventListener("pagehide", () => this.running && this.save());
    }
}

/** Whether a box of the stream is one: four numbers of pixels in order, on a picture. */
function isBox(box) {
    return box && typeof box.label === "string" && Number.isInteger(box.image) && Array.isArray(box.pixels) && box.pixels.length === 4 && box.pixels.every(Number.isFinite) && Array.isArray(box.box);
}

const app = new App();
app.start();
