// backstay.ui: the few pieces the ready templates are built of. Text only ever becomes text, and an
// address is used only if it is of a harmless kind: what tools return is not to be trusted.
(() => {
  "use strict";
  const { backstay } = window;
  const SVG = "http://www.w3.org/2000/svg";
  const ICONS = {
    alert: "M12 8v5m0 3.5v.01M10.3 3.9 2.5 17.6A2 2 0 0 0 4.2 20.6h15.6a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0Z",
    back: "M15 5l-7 7 7 7", check: "M5 12.5l4.5 4.5L19 7.5", close: "M6 6l12 12M18 6 6 18",
    empty: "M4 13h4l1.5 3h5L16 13h4M4 13l2.4-7.2A2 2 0 0 1 8.3 4.5h7.4a2 2 0 0 1 1.9 1.3L20 13v5a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 18Z",
    expand: "M9 4H4v5m11-5h5v5M9 20H4v-5m11 5h5v-5", file: "M14 3H7a1.5 1.5 0 0 0-1.5 1.5v15A1.5 1.5 0 0 0 7 21h10a1.5 1.5 0 0 0 1.5-1.5V7.5Zm0 0v4.5h4.5",
    next: "M9 5l7 7-7 7", open: "M8 16 17 7m-7 0h7v7", photo: "M4 17l4.5-5 3.5 4 2.5-3L20 18M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Zm10.5 5v.01",
    search: "M16.5 16.5 21 21M18 10.5a7.5 7.5 0 1 1-15 0 7.5 7.5 0 0 1 15 0Z", table: "M4 5h16v14H4Zm0 5h16M10 10v9", stop: "M8 8h8v8H8Z",
  };
  const WORDS = {
    empty: "Nothing here yet", emptyHint: "", failed: "That did not work", reference: "Reference",
    done: "Done", sure: "Sure?", more: "Show more", search: "Filter", none: "No matches",
  };

  // An element. `attrs`: `class`, `on` (events to functions), attributes; null and false are left out.
  function el(tag, attrs, ...children) {
    const [name, ...classes] = tag.split(".");
    const node = document.createElement(name);
    if (classes.length) node.className = classes.join(" ");
    for (const [key, value] of Object.entries(attrs || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "on") for (const event of Object.keys(value)) node.addEventListener(event, value[event]);
      else if (key === "class") node.className += ` ${value}`;
      else if (key === "vars") for (const each of Object.keys(value)) node.style.setProperty(each, value[each]);
      else if (key === "value" || key === "checked") node[key] = value;
      else if (/^(on|style$|srcdoc$)/.test(key)) throw new Error(`el() sets no ${key}`);
      else if (/^(href|src|action|formaction|poster)$/.test(key)) {
        const url = address(value, key !== "href");
        if (url) node.setAttribute(key, url);
      } else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child || child === 0)
      .map((child) => (child instanceof Node ? child : String(child))));
    return node;
  }

  function svg(tag, attrs, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attrs || {})) {
      if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child || child === 0));
    return node;
  }

  function icon(name, flip) {
    return svg("svg", {
      viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.9, "aria-hidden": "true",
      "stroke-linecap": "round", "stroke-linejoin": "round", class: flip ? "flip" : null,
    }, svg("path", { d: ICONS[name] }));
  }

  function address(url, image) {
    const text = String(url === null || url === undefined ? "" : url).trim();
    if (image && /^data:(image|audio|video)\/[\w.+-]+[;,]/i.test(text)) return text;
    return (image ? /^(https?|blob):/i : /^(https?|mailto|tel):/i).test(text) ? text : null;
  }

  // Words of the page: English, or what props.labels says.
  let labels = {};
  function word(key) {
    return typeof labels[key] === "string" ? labels[key] : WORDS[key] || key;
  }

  function words(more) { Object.assign(WORDS, more); }

  function number(value, options) {
    try { return new Intl.NumberFormat(backstay.locale, options).format(value); } catch { return String(value); }
  }

  function text(value) {
    if (value === null || value === undefined) return "";
    return typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  function hue(seed) {
    let sum = 7;
    for (const each of String(seed)) sum = (sum * 31 + each.codePointAt(0)) % 3600;
    return Math.round(sum * 137.5) % 360; // neighbours far apart
  }

  function thumb(item, attrs) {
    const name = text(item.title);
    const node = el("span.thumb", { "aria-hidden": "true", vars: { "--hue": hue(item.id || name) }, ...attrs });
    node.append([...name.trim()].slice(0, 1).join("").toUpperCase() || "·");
    const source = item.image && address(item.image, true);
    if (source) node.append(el("img", { src: source, alt: "", loading: "lazy", decoding: "async", on: { error: (event) => event.target.remove() } }));
    return node;
  }

  function badge(value, extra) {
    if (value === null || value === undefined || value === "") return null;
    const { text: said = value, tone } = typeof value === "object" ? value : {};
    const known = ["accent", "good", "warn", "bad"].includes(tone) ? tone : "";
    return el("span.badge", { class: `${known} ${extra || ""}` }, text(said));
  }

  function notice(kind, title, ...lines) {
    return el("div.notice", { class: kind === "bad" ? "bad" : "", role: kind === "bad" ? "alert" : null },
      el("span.mark", null, icon(kind === "bad" ? "alert" : kind)), el("h2", null, title),
      lines.filter(Boolean).map((line) => el("p", null, line)));
  }

  function head(props, ...aside) {
    if (!props.title && !props.subtitle && !aside.filter(Boolean).length) return null;
    return el("header.head", null, el("div", null, props.title && el("h1", null, text(props.title)),
      props.subtitle && el("p", null, text(props.subtitle))), aside);
  }

  // A line at the foot that is read out, and goes when the next one comes or its time is over.
  const live = el("div.say", { role: "status", "aria-live": "polite" });
  let hush = 0;
  function say(message, tone) {
    clearTimeout(hush);
    live.replaceChildren(...(message ? [el("span", null, icon(tone === "bad" ? "alert" : "check"), text(message))] : []));
    if (message) hush = setTimeout(() => say(""), 6000);
  }

  // An action: {tool, arguments} | {message} | {url}, with a label and maybe `confirm`.
  async function act(action) {
    if (action.tool) {
      const { structuredContent: result = {} } = await backstay.callTool(action.tool, action.arguments || {});
      if (typeof result.error === "string") throw Object.assign(new Error(text(result.message) || result.error), { result });
      return result;
    }
    if (action.message) await backstay.sendMessage(text(action.message));
    else if (address(action.url)) await backstay.openLink(action.url);
    return {};
  }

  function button(action, done, attrs) {
    const label = text(action.label) || text(action.tool) || word("done");
    let armed = 0;
    const node = el("button.btn", { type: "button", "data-key": `${action.tool} ${label}`, ...attrs,
      class: `${action.primary ? "primary" : ""} ${(attrs || {}).class || ""}` }, label);
    node.addEventListener("click", async () => {
      if (node.getAttribute("aria-busy")) return;
      if (action.confirm && !armed) {
        node.classList.add("sure");
        node.textContent = typeof action.confirm === "string" ? action.confirm : word("sure");
        armed = setTimeout(disarm, 4000);
        return;
      }
      disarm();
      node.setAttribute("aria-busy", "true");
      node.prepend(el("span.spin"));
      try {
        const result = await act(action);
        if (done) done(result);
        say(result.message || (action.tool ? word("done") : ""));
      } catch (error) {
        say(error.message, "bad");
      } finally {
        node.removeAttribute("aria-busy");
        node.querySelectorAll(".spin").forEach((each) => each.remove());
      }
    });
    function disarm() {
      clearTimeout(armed);
      armed = 0;
      node.classList.remove("sure");
      node.textContent = label;
    }
    return node;
  }

  const actionsOf = (item) => (Array.isArray(item.actions) ? item.actions : [item.action])
    .filter((each) => each && typeof each === "object");

  // What a call's result does to a list: {items} all new, {item} one new, {removed: id} one less.
  function applied(items, result) {
    if (Array.isArray(result.items)) return result.items;
    const gone = result.removed === undefined ? [] : [].concat(result.removed).map(String);
    return items.filter((each) => !gone.includes(String(each.id)))
      .map((each) => (result.item && String(result.item.id) === String(each.id) ? { ...each, ...result.item } : each));
  }

  // Put `fresh` where `old` is, with the focus where it was.
  function swap(old, fresh) {
    const focus = document.activeElement;
    const key = old.contains(focus) ? focus.dataset.key : null;
    const all = [...old.querySelectorAll("[data-key]")].filter((each) => each.dataset.key === key);
    const place = all.indexOf(focus);
    old.replaceWith(fresh);
    if (key === null || key === undefined) return;
    const again = [...fresh.querySelectorAll("[data-key]")];
    const same = again.filter((each) => each.dataset.key === key)[Math.max(place, 0)];
    const heir = same || again[0];
    if (heir) heir.focus({ preventScroll: true });
  }

  // The life of a page: bones until there are props, then render(props, page), or what went wrong.
  function mount(options) {
    const page = el("main.page", { class: options.wide ? "wide" : "", "aria-busy": "true" });
    document.body.append(page, live);
    page.append(el("div", { "aria-hidden": "true" }, options.bones()), el("p.unseen", { role: "status" }, "…"));
    const show = (...nodes) => {
      page.removeAttribute("aria-busy");
      page.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
    };
    const wrong = (error) => show(notice("bad", word("failed"), text(error.message),
      error.error_id && el("code", null, `${word("reference")}: ${text(error.error_id)}`)));
    const update = (props) => {
      labels = (props && props.labels) || {};
      if (!props || typeof props !== "object") return;
      if (typeof props.error === "string" && !options.shows(props)) return wrong({ ...props, message: props.message || props.error });
      show(options.render(props, page));
    };
    backstay.on("props", update);
    backstay.on("error", (error) => (backstay.props ? say(error.message, "bad") : wrong(error)));
    backstay.on("theme", contrast);
    backstay.on("host", contrast);
    contrast();
    if (backstay.error) wrong(backstay.error);
    else if (backstay.props) update(backstay.props);
    return page;
  }

  // On a host's own accent, black or white: whichever is easier to read (WCAG 2.2, 1.4.3).
  function contrast() {
    const probe = el("span", { vars: { color: "var(--accent)" } });
    document.body.append(probe);
    const found = /^rgb/.test(getComputedStyle(probe).color) && getComputedStyle(probe).color.match(/[\d.]+/g);
    probe.remove();
    if (!found) return;
    const [r, g, b] = found.slice(0, 3).map((each) => each / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    document.documentElement.style.setProperty("--on-accent", light > 0.179 ? "#000000" : "#ffffff");
  }

  const bone = (width, height, attrs) => el("span.bone", { ...attrs, vars: { width, height: `${height}px`, ...((attrs || {}).vars || {}) } });

  backstay.ui = { el, svg, icon, address, word, words, number, text, hue, thumb, badge, notice, head, say, act, button, actionsOf, applied, swap, mount, bone };
})();
