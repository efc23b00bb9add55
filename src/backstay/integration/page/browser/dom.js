// Elements and text. Everything that comes from outside becomes text here, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.primary", { onclick }, "Call")`. Attributes that are null are left out. */
export function h(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  return fill(document.createElement(tag || "div"), classes, attributes, children);
}

/** The same for drawings. */
export function s(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  return fill(document.createElementNS(SVG, tag), classes, attributes, children);
}

function fill(made, classes, attributes, children) {
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "hidden" || name === "open") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Change a text only if it is another one: nothing flickers, selections stay. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Change an attribute only if it is another one; null takes it away. */
export function mark(node, name, value) {
  if (value === null) { if (node.hasAttribute(name)) node.removeAttribute(name); }
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** An address that may stand in a link: of the web, and nothing that runs here. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch { return null; }
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

/** Milliseconds as people say them. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Number(ms.toPrecision(2))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

export const count = (number) => Number(number).toLocaleString("en");

export function share(fraction) {
  if (fraction === null || fraction === undefined) return "–";
  const percent = fraction * 100;
  return percent === 0 || percent >= 10 ? `${Math.round(percent)} %` : `${Number(percent.toPrecision(percent < 1 ? 1 : 2))} %`;
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
