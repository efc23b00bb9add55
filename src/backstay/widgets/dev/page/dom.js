// Elements and text. Everything that comes from outside becomes text here, never markup.

/** An element: `h("button.primary", { onclick }, "Call")`. Attributes that are null are left out. */
export function h(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const MORE = 40;

/** A JSON value as a tree that opens and closes. `depth`: how many levels are open at first. */
export function tree(value, depth = 2) {
  if (value === null || typeof value !== "object") return leaf(value);
  const many = Array.isArray(value);
  const entries = many ? value.map((each, index) => [index, each]) : Object.entries(value);
  if (!entries.length) return h("span.j-punct", {}, many ? "[ ]" : "{ }");
  const body = h("div.j-body");
  const fill = (from) => {
    for (const [key, each] of entries.slice(from, from + MORE)) {
      const nested = each !== null && typeof each === "object" && Object.keys(each).length > 0;
      body.append(h(nested ? "div.j-row.j-nest" : "div.j-row", {}, h("span.j-key", {}, String(key)), tree(each, depth - 1)));
    }
    const left = entries.length - from - MORE;
    if (left > 0) {
      const more = h("button.link", { type: "button", onclick: () => { more.remove(); fill(from + MORE); } }, `${left} more`);
      body.append(more);
    }
  };
  const box = h("details.j-box", { open: depth > 0 }, h("summary", {}, h("span.j-punct", {}, many ? `${entries.length} item${entries.length > 1 ? "s" : ""}` : `${entries.length} field${entries.length > 1 ? "s" : ""}`)), body);
  if (depth > 0) fill(0);
  else box.addEventListener("toggle", () => fill(0), { once: true });
  return box;
}

function leaf(value) {
  if (typeof value === "string") {
    const shown = value.length > 600 ? `${value.slice(0, 600)}… (${value.length.toLocaleString()} characters)` : value;
    return h("span.j-string", {}, shown);
  }
  return h(`span.j-${value === null ? "null" : typeof value}`, {}, String(value));
}

/** A button that copies a text, and says so. */
export function copier(label, text) {
  const button = h("button.quiet", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch { button.textContent = "Not allowed"; }
    setTimeout(() => { button.textContent = label; }, 1200);
  } }, label);
  return button;
}
