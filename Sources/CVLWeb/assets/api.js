// The server's public endpoints. All addresses are relative to the page, so that it works below any path of a proxy.

const keyName = "deepseek-vl.key";

export const apiKey = {
    get: () => sessionStorage.getItem(keyName) || "",
    set: (key) => (key ? sessionStorage.setItem(keyName, key) : sessionStorage.removeItem(keyName)),
};

/** Why a request failed: the server's code, or `network`, `broken`, `aborted` for what happened on the way. */
export class ApiError extends Error {
    constructor(code, message, status = 0, retryAfter = 0) {
        super(message);
        this.code = code;
        this.status = status;
        this.retryAfter = retryAfter;
    }
}

function headers(hasBody) {
    const headers = hasBody ? { "Content-Type": "application/json" } : {};
    if (apiKey.get()) headers.Authorization = "Bearer " + apiKey.get();
    return headers;
}

async function request(path, body, signal) {
    let response;
    try {
        response = await fetch(path, {
            method: body ? "POST" : "GET",
            headers: headers(Boolean(body)),
            body: body ? JSON.stringify(body) : undefined,
            cache: "no-store",
            signal,
        });
    } catch (error) {
        if (signal?.aborted) throw new ApiError("aborted", "");
        throw new ApiError("network", String(error.message || error));
    }
    if (response.ok) return response;
    let problem = {};
    try {
        problem = (await response.json()).error || {};
    } catch {
        // A proxy's page of HTML: the status says enough.
    }
    const fallback = { 401: "invalid_api_key", 413: "too_large", 429: "rate_limit_exceeded", 502: "network", 503: "overloaded", 504: "timeout" };
    throw new ApiError(
        problem.code || fallback[response.status] || "status",
        problem.message || response.statusText || String(response.status),
        response.status,
        Number(response.headers.get("Retry-After")) || 0,
    );
}

async function json(path, body, signal) {
    try {
        return await (await request(path, body, signal)).json();
    } catch (error) {
        if (error instanceof ApiError) throw error;
        throw new ApiError(signal?.aborted ? "aborted" : "broken", String(error));
    }
}

export const models = () => json("v1/models");
export const health = () => json("health");
export const plan = (body, signal) => json("v1/plan", body, signal);

/** Asks for an answer and hands over each chunk of its stream. */
export async function chat(body, signal, onChunk) {
    const response = await request(
        "v1/chat/completions",
        { ...body, stream: true, stream_options: { include_usage: true, include_progress: true } },
        signal,
    );
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    let isDone = false;
    const take = (event) => {
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        if (!data) return;
        if (data === "[DONE]") {
            isDone = true;
            return;
        }
        let chunk;
        try {
            chunk = JSON.parse(data);
        } catch {
            throw new ApiError("broken", data.slice(0, 200));
        }
        if (chunk.error) throw new ApiError(chunk.error.code || "broken", chunk.error.message || "");
        onChunk(chunk);
    };
    try {
        for (;;) {
            const { done, value } = await reader.read();
            rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
            rest = rest.replace(/\r\n/g, "\n");
            let end;
            while ((end = rest.indexOf("\n\n")) >= 0) {
                take(rest.slice(0, end));
                rest = rest.slice(end + 2);
            }
            if (done) break;
        }
    } catch (error) {
        if (signal?.aborted) throw new ApiError("aborted", "");
        if (error instanceof ApiError) throw error;
        throw new ApiError("network", String(error.message || error));
    }
    if (!isDone) throw new ApiError(signal?.aborted ? "aborted" : "broken", "");
}
