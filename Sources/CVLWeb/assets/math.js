// Formulas: the LaTeX that language models write, as MathML, which browsers set themselves.

const space = "http://www.w3.org/1998/Math/MathML";
const deepest = 24;
const longestFormula = 4000;

const letters = Object.fromEntries(
    ("alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π " +
        "varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ " +
        "Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω infty ∞ partial ∂ nabla ∇ ell ℓ hbar ℏ emptyset ∅ varnothing ∅ Re ℜ Im ℑ aleph ℵ " +
        "angle ∠ triangle △ square □ degree °").split(" ").reduce((pairs, word, i, list) => (i % 2 ? pairs : [...pairs, [word, list[i + 1]]]), []),
);
const operators = Object.fromEntries(
    ("times × cdot ⋅ div ÷ pm ± mp ∓ ast ∗ star ⋆ circ ∘ bullet ∙ oplus ⊕ otimes ⊗ leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ approx ≈ equiv ≡ sim ∼ " +
        "simeq ≃ cong ≅ propto ∝ ll ≪ gg ≫ in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ cup ∪ cap ∩ setminus ∖ land ∧ lor ∨ " +
        "wedge ∧ vee ∨ neg ¬ lnot ¬ forall ∀ exists ∃ to → rightarrow → leftarrow ← leftrightarrow ↔ Rightarrow ⇒ Leftarrow ⇐ " +
        "Leftrightarrow ⇔ implies ⟹ iff ⟺ mapsto ↦ uparrow ↑ downarrow ↓ ldots … cdots ⋯ vdots ⋮ ddots ⋱ dots … perp ⊥ parallel ∥ mid ∣ " +
        "therefore ∴ because ∵ prime ′ colon : langle ⟨ rangle ⟩ lceil ⌈ rceil ⌉ lfloor ⌊ rfloor ⌋ vert | Vert ‖ lvert | rvert | lVert ‖ " +
        "rVert ‖ lbrace { rbrace }").split(" ").reduce((pairs, word, i, list) => (i % 2 ? pairs : [...pairs, [word, list[i + 1]]]), []),
);
const large = { sum: "∑", prod: "∏", int: "∫", iint: "∬", iiint: "∭", oint: "∮", coprod: "∐", bigcup: "⋃", bigcap: "⋂", bigoplus: "⨁", bigotimes: "⨂" };
const functions = new Set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp lim max min sup inf det gcd deg dim ker arg Pr limsup liminf argmax argmin".split(" "));
const below = new Set(["lim", "max", "min", "sup", "inf", "limsup", "liminf", "argmax", "argmin", "det", "gcd", "Pr"]);
const accents = { hat: "^", widehat: "^", bar: "¯", overline: "¯", vec: "→", dot: "˙", ddot: "¨", tilde: "~", widetilde: "~" };
const spaces = { ",": "0.17em", ":": "0.22em", ";": "0.28em", "!": "-0.17em", " ": "0.3em", quad: "1em", qquad: "2em", "\n": "0.3em" };
const variants = { mathbb: "double-struck", mathbf: "bold", boldsymbol: "bold", bm: "bold", mathcal: "script", mathscr: "script", mathfrak: "fraktur", mathsf: "sans", mathtt: "mono", mathrm: "normal", mathit: "italic", operatorname: "normal" };
const environments = { matrix: ["", ""], pmatrix: ["(", ")"], bmatrix: ["[", "]"], Bmatrix: ["{", "}"], vmatrix: ["|", "|"], Vmatrix: ["‖", "‖"], cases: ["{", ""], array: ["", ""], aligned: ["", ""], align: ["", ""], "align*": ["", ""], gathered: ["", ""], split: ["", ""], smallmatrix: ["", ""] };

const m = (tag, attributes, ...children) => {
    const element = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
};

/** A letter of another alphabet: Unicode has them as characters of their own. */
function variant(text, kind) {
    const starts = { "double-struck": [0x1d538, 0x1d552, 0x1d7d8], bold: [0x1d400, 0x1d41a, 0x1d7ce], script: [0x1d49c, 0x1d4b6, 0], fraktur: [0x1d504, 0x1d51e, 0], sans: [0x1d5a0, 0x1d5ba, 0x1d7e2], mono: [0x1d670, 0x1d68a, 0x1d7f6] }[kind];
    const holes = { "double-struckC": "ℂ", "double-struckH": "ℍ", "double-struckN": "ℕ", "double-struckP": "ℙ", "double-struckQ": "ℚ", "double-struckR": "ℝ", "double-struckZ": "ℤ", scriptB: "ℬ", scriptE: "ℰ", scriptF: "ℱ", scriptH: "ℋ", scriptI: "ℐ", scriptL: "ℒ", scriptM: "ℳ", scriptR: "ℛ", scripte: "ℯ", scriptg: "ℊ", scripto: "ℴ", frakturC: "ℭ", frakturH: "ℌ", frakturI: "ℑ", frakturR: "ℜ", frakturZ: "ℨ" };
    if (!starts) return text;
    return Array.from(text, (c) => {
        if (holes[kind + c]) return holes[kind + c];
        const [upper, lower, digit] = starts;
        if (c >= "A" && c <= "Z") return String.fromCodePoint(upper + c.charCodeAt(0) - 65);
        if (c >= "a" && c <= "z") return String.fromCodePoint(lower + c.charCodeAt(0) - 97);
        if (digit && c >= "0" && c <= "9") return String.fromCodePoint(digit + c.charCodeAt(0) - 48);
        return c;
    }).join("");
}

class Parser {
    constructor(source) {
        this.tokens = source.match(/\\[a-zA-Z]+\*?|\\[\s\S]|[a-zA-Z]|\d+(?:\.\d+)?|\s+|[\s\S]/gu) || [];
        this.at = 0;
        this.depth = 0;
    }

    peek() {
        while (this.tokens[this.at] !== undefined && /^\s+$/.test(this.tokens[this.at])) this.at++;
        return this.tokens[this.at];
    }

    next() {
        const token = this.peek();
        this.at++;
        return token;
    }

    /** Elements until one of the tokens in `ends`, which is not taken. */
    list(ends) {
        const list = [];
        if (++this.depth > deepest) throw new Error("too deep");
        for (;;) {
            const token = this.peek();
            if (token === undefined || ends.includes(token)) break;
            const node = this.scripted();
            if (node) list.push(node);
        }
        this.depth--;
        return list;
    }

    group() {
        if (this.peek() === "{") {
            this.next();
            const list = this.list(["}"]);
            if (this.peek() === "}") this.next();
            return m("mrow", {}, ...list);
        }
        return this.atom() || m("mrow", {});
    }

    /** The characters of a group, as they are. */
    raw() {
        if (this.peek() !== "{") return this.next() || "";
        this.next();
        let text = "";
        for (let open = 1; this.at < this.tokens.length; this.at++) {
            const token = this.tokens[this.at];
            if (token === "{") open++;
            if (token === "}" && --open === 0) break;
            text += token.length === 2 && token[0] === "\\" ? token[1] : token;
        }
        this.at++;
        return text;
    }

    scripted() {
        const base = this.atom();
        if (!base) return null;
        let sub = null;
        let sup = null;
        for (;;) {
            const token = this.peek();
            if (token === "\\limits" || token === "\\nolimits") this.next();
            else if (token === "_" && !sub) {
                this.next();
                sub = this.group();
            } else if (token === "^" && !sup) {
                this.next();
                sup = this.group();
            } else if (token === "'" && !sup) {
                let primes = "";
                while (this.peek() === "'") primes += this.next() && "′";
                sup = m("mo", {}, primes);
            } else break;
        }
        const node = this.withScripts(base, sub, sup);
        // The name of a function stands apart from what follows, unless that is in brackets.
        if (base.getAttribute("class") !== "name" || [undefined, "(", "[", "\\left", "}", "&", "\\\\", ",", ")"].includes(this.peek())) return node;
        return m("mrow", {}, node, m("mspace", { width: "0.17em" }));
    }

    withScripts(base, sub, sup) {
        if (!sub && !sup) return base;
        const isBelow = base.getAttribute("data-limits") === "yes";
        const names = isBelow ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
        if (sub && sup) return m(names[2], {}, base, sub, sup);
        return sub ? m(names[0], {}, base, sub) : m(names[1], {}, base, sup);
    }

    delimiter() {
        const token = this.next();
        if (token === undefined || token === ".") return "";
        return token[0] === "\\" ? operators[token.slice(1)] || { "\\|": "‖" }[token] || token.slice(1) : token;
    }

    environment(name) {
        const [open, close] = environments[name] || ["", ""];
        if (name === "array") this.raw();
        const rows = [[]];
        for (;;) {
            const cell = this.list(["&", "\\\\", "\\end"]);
            rows.at(-1).push(m("mtd", {}, ...cell));
            const token = this.next();
            if (token === "&") continue;
            if (token === "\\\\") {
                rows.push([]);
                continue;
            }
            if (token === "\\end") this.raw();
            break;
        }
        if (rows.at(-1).length === 1 && !rows.at(-1)[0].childNodes.length) rows.pop();
        const isLeft = name === "cases" || name.startsWith("align") || name === "split";
        const table = m("mtable", isLeft ? { class: "left" } : {}, ...rows.map((row) => m("mtr", {}, ...row)));
        const fence = (text) => (text ? [m("mo", { stretchy: "true" }, text)] : []);
        return m("mrow", {}, ...fence(open), table, ...fence(close));
    }

    atom() {
        const token = this.next();
        if (token === undefined) return null;
        if (token === "{") {
            this.at--;
            return this.group();
        }
        if (token === "}" || token === "&" || token === "$") return null;
        if (/^\d/.test(token)) return m("mn", {}, token);
        if (token[0] !== "\\") {
            if (token === "_" || token === "^") {
                this.at--;
                return m("mrow", {});
            }
            if (/^\p{L}$/u.test(token)) return m("mi", {}, token);
            if (token === "-") return m("mo", {}, "−");
            if (token === "*") return m("mo", {}, "∗");
            if (token === "~") return m("mspace", { width: "0.3em" });
            return m("mo", "()[]|".includes(token) ? { stretchy: "false" } : {}, token);
        }
        const name = token.slice(1);
        if (name in letters) return m("mi", {}, letters[name]);
        if (name in operators) return m("mo", { stretchy: "false" }, operators[name]);
        if (name in large) return m("mo", name.includes("int") ? {} : { "data-limits": "yes", movablelimits: "false" }, large[name]);
        if (functions.has(name)) return m("mi", { class: "name", ...(below.has(name) ? { "data-limits": "yes" } : {}) }, name.replace(/^arg(?=m)/, "arg "));
        if (name in spaces) return m("mspace", { width: spaces[name] });
        if (name in accents) return m("mover", { accent: "true" }, this.group(), m("mo", { stretchy: /^(wide|over)/.test(name) ? "true" : "false" }, accents[name]));
        if (name.replace("*", "") in variants) {
            const kind = variants[name.replace("*", "")];
            return m("mi", kind === "normal" ? { mathvariant: "normal" } : {}, variant(this.raw(), kind));
        }
        switch (name) {
            case "frac": case "dfrac": case "tfrac": case "cfrac": return m("mfrac", {}, this.group(), this.group());
            case "binom": case "dbinom": return m("mrow", {}, m("mo", {}, "("), m("mfrac", { linethickness: "0" }, this.group(), this.group()), m("mo", {}, ")"));
            case "sqrt": {
                if (this.peek() !== "[") return m("msqrt", {}, this.group());
                this.next();
                const index = m("mrow", {}, ...this.list(["]"]));
                this.next();
                return m("mroot", {}, this.group(), index);
            }
            case "text": case "textbf": case "textit": case "textrm": case "mbox": return m("mtext", {}, this.raw().replace(/^ | $/g, "\u00a0"));
            case "left": {
                const open = this.delimiter();
                const list = this.list(["\\right"]);
                const close = this.next() === "\\right" ? this.delimiter() : "";
                const fence = (text) => (text ? [m("mo", { stretchy: "true" }, text)] : []);
                return m("mrow", {}, ...fence(open), ...list, ...fence(close));
            }
            case "big": case "Big": case "bigg": case "Bigg": case "bigl": case "bigr": case "Bigl": case "Bigr": return m("mo", {}, this.delimiter());
            case "begin": return this.environment(this.raw());
            case "overset": case "stackrel": {
                const over = this.group();
                return m("mover", {}, this.group(), over);
            }
            case "underset": {
                const under = this.group();
                return m("munder", {}, this.group(), under);
            }
            case "underbrace": return m("munder", { "data-limits": "yes" }, this.group(), m("mo", { stretchy: "true" }, "⏟"));
            case "overbrace": return m("mover", { "data-limits": "yes" }, this.group(), m("mo", { stretchy: "true" }, "⏞"));
            case "boxed": return m("mrow", { class: "boxed" }, this.group());
            case "not": return m("mo", {}, (this.next() || "") + "\u0338");
            case "pmod": return m("mrow", {}, m("mo", {}, "("), m("mi", {}, "mod"), m("mspace", { width: "0.3em" }), this.group(), m("mo", {}, ")"));
            case "bmod": case "mod": return m("mo", {}, "mod");
            case "displaystyle": case "textstyle": case "limits": case "nolimits": case "label": case "tag": case "nonumber": case "hline": return m("mrow", {});
            case "\\": return m("mspace", { linebreak: "newline" });
            case "|": return m("mo", {}, "‖");
            case "{": case "}": case "%": case "$": case "#": case "&": case "_": return m("mo", { stretchy: "false" }, name);
            default: return m("mtext", {}, token);
        }
    }
}

/** The element for a formula; its source as code if it is none. */
export function formula(source, isDisplay) {
    try {
        if (source.length > longestFormula) throw new Error("too long");
        const parser = new Parser(source);
        const list = [];
        while (parser.peek() !== undefined) {
            const node = parser.scripted();
            if (node) list.push(node);
        }
        const row = m("mrow", {}, ...list);
        const math = m("math", { display: isDisplay ? "block" : "inline" }, m("semantics", {}, row, m("annotation", { encoding: "application/x-tex" }, source)));
        return math;
    } catch {
        const code = document.createElement("code");
        code.textContent = source;
        return code;
    }
}
