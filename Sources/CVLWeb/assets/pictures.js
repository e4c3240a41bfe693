// Pictures: read, measured, shown and sent. The server gets the file as it is, unless it is too large to send.

import { uid } from "./dom.js";
import * as store from "./store.js";

const urls = new Map();
const data = new Map();
const kept = new Map();
/** Bytes above which a picture is made smaller: two of them fit into a request. */
const largest = 11 << 20;
const longest = 4096;

export const types = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"];

async function measure(blob) {
    try {
        const bitmap = await createImageBitmap(blob);
        const size = { width: bitmap.width, height: bitmap.height };
        bitmap.close();
        return size;
    } catch {
        // A TIFF, for example: the server reads it, the browser does not show it.
        return { width: 0, height: 0 };
    }
}

async function shrink(blob) {
    const bitmap = await createImageBitmap(blob);
    const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/** Keeps a file as a picture; `wasShrunk` says that it is not sent as it is. */
export async function add(blob, name) {
    let wasShrunk = false;
    if (blob.size > largest) {
        try {
            blob = await shrink(blob);
            wasShrunk = true;
        } catch {
            // Not to be read here: the server says what it thinks of it.
        }
    }
    const picture = { id: uid(), name: name || "picture", type: blob.type || "application/octet-stream", added: Date.now(), blob, wasShrunk, ...(await measure(blob)) };
    kept.set(picture.id, picture);
    await store.putPicture(picture);
    return picture;
}

export async function get(id) {
    if (kept.has(id)) return kept.get(id);
    const picture = await store.getPicture(id);
    if (picture) kept.set(id, picture);
    return picture;
}

/** What is known already, for drawing at once. */
export const known = (id) => kept.get(id);

/** An address that this page can show a picture by. */
export function url(picture) {
    if (!urls.has(picture.id)) urls.set(picture.id, URL.createObjectURL(picture.blob));
    return urls.get(picture.id);
}

export function toDataURL(blob) {
    return new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(blob);
    });
}

/** The picture as an address that holds it, as the server takes it. */
export async function dataURL(id) {
    if (data.has(id)) return data.get(id);
    const picture = await get(id);
    if (!picture) return null;
    const text = await toDataURL(picture.blob);
    if (data.size > 12) data.delete(data.keys().next().value);
    data.set(id, text);
    return text;
}

/** A part of a picture, enlarged if it is very small, as a new file. */
export async function crop(picture, x1, y1, x2, y2) {
    const bitmap = await createImageBitmap(picture.blob);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, x2 - x1);
    canvas.height = Math.max(1, y2 - y1);
    canvas.getContext("2d").drawImage(bitmap, x1, y1, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return await add(blob, picture.name.replace(/\.[^.]*$/, "") + "-crop.png");
}
