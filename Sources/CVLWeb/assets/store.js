// Conversations and their pictures, kept in this browser. Without IndexedDB they last as long as the page.

const databaseName = "deepseek-vl";
let database = null;
const memory = { conversations: new Map(), pictures: new Map() };

const promised = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});

/** Opens the database; says whether what is kept will last. */
export async function open() {
    try {
        const request = indexedDB.open(databaseName, 1);
        request.onupgradeneeded = () => {
            request.result.createObjectStore("conversations", { keyPath: "id" });
            request.result.createObjectStore("pictures", { keyPath: "id" });
        };
        database = await promised(request);
        database.onversionchange = () => database.close();
    } catch {
        database = null;
    }
    return database !== null;
}

async function run(name, mode, work, otherwise) {
    if (!database) return otherwise(memory[name]);
    try {
        return await promised(work(database.transaction(name, mode).objectStore(name)));
    } catch (error) {
        // A full disk or a closed database: what is being said must not be lost.
        console.warn("storage", error);
        return otherwise(memory[name]);
    }
}

const put = (name, value) => run(name, "readwrite", (s) => s.put(value), (m) => m.set(value.id, value));
const get = (name, id) => run(name, "readonly", (s) => s.get(id), (m) => m.get(id));
const all = (name) => run(name, "readonly", (s) => s.getAll(), (m) => [...m.values()]);
const remove = (name, id) => run(name, "readwrite", (s) => s.delete(id), (m) => m.delete(id));

export const putConversation = (value) => put("conversations", value);
export const conversations = async () => (await all("conversations")).sort((a, b) => b.updated - a.updated);
export const putPicture = (value) => put("pictures", value);
export const getPicture = async (id) => (await get("pictures", id)) ?? memory.pictures.get(id);

/** Removes pictures that no conversation shows, but for those of the last day: another tab may be using them. */
export async function sweep() {
    const shown = new Set((await all("conversations")).flatMap((item) => [...picturesOf(item)]));
    const ids = await run("pictures", "readonly", (s) => s.getAllKeys(), (m) => [...m.keys()]);
    for (const id of ids) {
        if (shown.has(id)) continue;
        const picture = await get("pictures", id);
        if (!(Date.now() - picture?.added < 86400000)) await remove("pictures", id);
    }
}

/** The ids of the pictures that a conversation shows. */
export const picturesOf = (conversation) => new Set(conversation.turns.flatMap((turn) => turn.pictures || []));

/** Removes a conversation, and the pictures that no other one shows. */
export async function removeConversation(id) {
    const list = await conversations();
    const gone = list.find((item) => item.id === id);
    await remove("conversations", id);
    if (!gone) return;
    const kept = new Set(list.filter((item) => item.id !== id).flatMap((item) => [...picturesOf(item)]));
    for (const picture of picturesOf(gone)) if (!kept.has(picture)) await remove("pictures", picture);
}
