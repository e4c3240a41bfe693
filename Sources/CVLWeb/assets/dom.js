// Making elements: texts become text nodes, and nothing else. No string of this page is ever read as markup.

const svgSpace = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name === "class") element.setAttribute("class", value);
        else if (name === "data") Object.assign(element.dataset, value);
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") element[name] = value;
        else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

/** An element of HTML. */
export function h(tag, properties, ...children) {
    return fill(document.createElement(tag), properties, children);
}

/** An element of SVG. */
export function s(tag, properties, ...children) {
    return fill(document.createElementNS(svgSpace, tag), properties, children);
}

/** One of the icons that index.html draws. */
export function icon(name) {
    return s("svg", { class: "icon", "aria-hidden": "true", focusable: "false" }, s("use", { href: "#i-" + name }));
}

/** A button with an icon, which screen readers call `label`. */
export function iconButton(name, label, onclick, more) {
    return h("button", { type: "button", class: "ghost", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export const $ = (selector, root = document) => root.querySelector(selector);

export const uid = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

/** Says something to those who listen to the page instead of looking at it. */
export function announce(text) {
    const place = $("#announcer");
    place.textContent = "";
    setTimeout(() => { place.textContent = text; }, 30);
}

let toastTimer = 0;

/** Shows a short message for some seconds. */
export function toast(text) {
    const place = $("#toast");
    place.textContent = text;
    place.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => { place.hidden = true; }, 5000);
}

/** Gives a file to the user. */
export function download(blob, name) {
    const url = URL.createObjectURL(blob);
    const link = h("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** A number as people of the page's language write it. */
export const number = (value, digits = 0) =>
    new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
