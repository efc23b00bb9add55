// window.backstay: what a page knows of its host and may ask of it, in whichever dialect the host
// speaks. MCP Apps (JSON-RPC by postMessage, 2026-01-26) leads as soon as its handshake is answered;
// ChatGPT's window.openai stands in until then, and for what ui/* lacks.
(() => {
  "use strict";
  if (window.backstay) return;

  const HANDSHAKE_MS = 10000, CALL_MS = 120000;
  const RTL = /^(ar|arc|ckb|dv|fa|he|iw|ks|ps|sd|ug|ur|yi)\b/i;
  const root = document.documentElement;
  const parent = window.parent !== window ? window.parent : null;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const waiting = new Map(), listeners = new Map();
  let target = "*"; // narrowed to the host's origin when it first answers
  let host = null; // what ui/initialize was answered with
  let openai = null;
  let lastId = 0, resultCame = false, closed = false, stateKey = null, telling = 0, seen = "";

  let arrived, missed;
  const backstay = {
    ready: new Promise((resolve, reject) => { arrived = resolve; missed = reject; }),
    dialect: null, props: null, input: null, partialInput: null, meta: null, error: null,
    state: null, progress: null, theme: null, locale: root.lang || "en", timeZone: null,
    displayMode: "inline", displayModes: [], maxHeight: null,
    safeArea: { top: 0, right: 0, bottom: 0, left: 0 },
    userAgent: { device: { type: "unknown" }, capabilities: { hover: false, touch: false } },
    on, setState, callTool, readResource, sendMessage, openLink, requestDisplayMode, uploadFile, fileUrl,
  };
  window.backstay = backstay;
  backstay.ready.catch(() => {}); // the error event tells; nobody has to await

  function on(event, fn) {
    if (!listeners.has(event)) listeners.set(event, new Set());
    listeners.get(event).add(fn);
    return () => listeners.get(event).delete(fn);
  }

  function emit(event, value) {
    for (const fn of [...(listeners.get(event) || [])]) {
      try { fn(value); } catch (error) { console.error(error); }
    }
  }

  // Both dialects may bring the same thing; only what differs is news.
  function set(event, name, value) {
    if (JSON.stringify(backstay[name]) === JSON.stringify(value)) return;
    backstay[name] = value;
    emit(event, value);
  }

  const fail = (error) => emit("error", (backstay.error = error));

  // JSON-RPC with the window above
  const post = (message) => parent && parent.postMessage({ jsonrpc: "2.0", ...message }, target);

  function request(method, params, ms = CALL_MS, progress = null) {
    return new Promise((resolve, reject) => {
      const id = ++lastId;
      const touch = () => {
        clearTimeout(entry.timer);
        entry.timer = setTimeout(() => {
          waiting.delete(id);
          reject(new Error(`${method} was not answered within ${ms / 1000} s`));
        }, ms);
      };
      const entry = { resolve, reject, progress, touch };
      waiting.set(id, entry);
      touch();
      post({ id, method, params: progress ? { ...params, _meta: { progressToken: `backstay-${id}` } } : params });
    });
  }

  window.addEventListener("message", ({ source, origin, data }) => {
    if (!parent || source !== parent || !data || data.jsonrpc !== "2.0") return;
    if (typeof data.method === "string") return asked(data, data.params || {});
    const entry = waiting.get(data.id);
    if (!entry) return;
    waiting.delete(data.id);
    clearTimeout(entry.timer);
    if (origin && origin !== "null") target = origin;
    if (data.error) entry.reject(new Error(String(data.error.message || "The host refused")));
    else entry.resolve(data.result || {});
  });

  function asked({ id, method }, params) {
    switch (method) {
      case "ui/resource-teardown":
        closed = true;
        emit("teardown", params); // and answer, as to a ping
      case "ping": return post({ id, result: {} });
      case "ui/notifications/tool-input": return set("input", "input", params.arguments || {});
      case "ui/notifications/tool-input-partial": return set("partial", "partialInput", params.arguments || {});
      case "ui/notifications/tool-result":
        resultCame = true;
        return take(params);
      case "ui/notifications/tool-cancelled":
        return fail(new Error(`The call was cancelled${params.reason ? `: ${params.reason}` : ""}`));
      case "ui/notifications/host-context-changed": return takeContext(params);
      case "notifications/progress": return takeProgress(params);
    }
    if (id !== undefined) post({ id, error: { code: -32601, message: `no such method here: ${method}` } });
  }

  function takeProgress({ progressToken, progress: done, total, message }) {
    const entry = waiting.get(Number(String(progressToken).replace("backstay-", "")));
    backstay.progress = { done, total, message };
    if (entry) {
      entry.touch(); // work that reports is alive
      if (typeof entry.progress === "function") entry.progress(backstay.progress);
    }
    emit("progress", backstay.progress);
  }

  // What came of a call
  const textOf = ({ content }) =>
    (Array.isArray(content) ? content : []).map((block) => (block && block.text) || "").join("\n").trim();

  // Hosts differ in what they pass on: some drop structuredContent, some wrap it in a string.
  function complete(result) {
    if (typeof result === "string") result = { result };
    if (!result || result.structuredContent != null) return result || {};
    const about = result._meta && result._meta["backstay/error"];
    if (about) return { ...result, structuredContent: about };
    try {
      const value = JSON.parse(typeof result.result === "string" ? result.result : textOf(result));
      if (value && typeof value === "object") return { ...result, structuredContent: value };
    } catch { /* it was prose */ }
    return result;
  }

  function take(result) {
    const { structuredContent, isError, _meta } = complete(result);
    set("meta", "meta", _meta || null);
    adoptState(_meta);
    if (isError) return fail(new Error(textOf(result) || "The tool failed"));
    backstay.error = null;
    if (structuredContent != null) set("props", "props", structuredContent);
  }

  // The host and its looks
  function takeContext(context) {
    const { theme, locale, timeZone, displayMode, availableDisplayModes, userAgent, platform } = context;
    const room = context.containerDimensions || {};
    const safe = context.safeAreaInsets || (context.safeArea && (context.safeArea.insets || context.safeArea));
    if (theme) backstay.theme = theme === "dark" ? "dark" : "light";
    if (locale) backstay.locale = String(locale).replace("_", "-");
    if (timeZone) backstay.timeZone = timeZone;
    if (displayMode && displayMode !== backstay.displayMode) {
      backstay.displayMode = displayMode;
      seen = "";
      measure();
    }
    if (availableDisplayModes) backstay.displayModes = availableDisplayModes;
    backstay.maxHeight = room.maxHeight || room.height || context.maxHeight || backstay.maxHeight;
    if (safe) backstay.safeArea = { ...backstay.safeArea, ...safe };
    if (userAgent && typeof userAgent === "object") backstay.userAgent = userAgent;
    else if (platform || context.deviceCapabilities) {
      const { device, capabilities } = backstay.userAgent;
      backstay.userAgent = {
        device: platform ? { type: platform === "web" ? "unknown" : platform } : device,
        capabilities: { ...capabilities, ...context.deviceCapabilities },
      };
    }
    dress((context.styles && context.styles.variables) || {});
    emit("host", backstay);
    if (theme) emit("theme", backstay.theme);
  }

  function dress(variables) {
    for (const [name, value] of Object.entries(variables)) {
      if (name.startsWith("--") && typeof value === "string") root.style.setProperty(name, value);
    }
    for (const side of ["top", "right", "bottom", "left"]) {
      root.style.setProperty(`--safe-${side}`, `${Number(backstay.safeArea[side]) || 0}px`);
    }
    const theme = backstay.theme || (dark.matches ? "dark" : "light");
    Object.assign(root.dataset, { theme, displayMode: backstay.displayMode });
    root.style.colorScheme = theme;
    root.lang = backstay.locale;
    root.dir = RTL.test(backstay.locale) ? "rtl" : "ltr";
  }

  function takeGlobals(event) {
    if (!window.openai) return;
    const first = !openai;
    openai = window.openai;
    const changed = first ? openai : (event && event.detail && event.detail.globals) || openai;
    const { toolInput, toolOutput, toolResponseMetadata: _meta, widgetState } = changed;
    takeContext(changed);
    if (widgetState !== undefined) set("state", "state", widgetState);
    if (!resultCame) { // ui/* brings the whole result, once it has
      if (toolInput) set("input", "input", toolInput);
      if (toolOutput != null) take({ structuredContent: toolOutput, _meta: _meta || backstay.meta });
    }
    if (first) greet();
  }

  function chatgpt() { // it may have come since we last looked
    if (!openai) takeGlobals();
    return openai || {};
  }

  function greet() {
    backstay.dialect = host ? "ui" : "openai";
    arrived(backstay);
    measure();
  }

  // What a page may ask. Each is (ui/* request, the same in window.openai); null: it has none.
  const gone = (what) => Promise.reject(new Error(`This host offers no ${what}`));

  async function ask(name, viaUi, viaOpenai) {
    await backstay.ready;
    if (host) {
      const result = await viaUi();
      if (result.isError && name !== "callTool") throw new Error(`The host declined ${name}`);
      return result;
    }
    return viaOpenai && openai[name] ? viaOpenai() : gone(name);
  }

  async function callTool(name, args = {}, { onProgress, timeoutMs } = {}) {
    const result = complete(await ask("callTool",
      () => request("tools/call", { name, arguments: args }, timeoutMs, onProgress),
      () => openai.callTool(name, args)));
    if (result.isError) throw Object.assign(new Error(textOf(result) || `${name} failed`), { result });
    return result;
  }

  function readResource(uri) {
    return ask("readResource", () => request("resources/read", { uri }));
  }

  function sendMessage(text) {
    return ask("sendFollowUpMessage",
      () => request("ui/message", { role: "user", content: [{ type: "text", text }] }),
      () => openai.sendFollowUpMessage({ prompt: text }));
  }

  function openLink(url) {
    return ask("openExternal", () => request("ui/open-link", { url }), () => openai.openExternal({ href: url }));
  }

  async function requestDisplayMode(mode) {
    const answer = await ask("requestDisplayMode",
      () => request("ui/request-display-mode", { mode }), () => openai.requestDisplayMode({ mode }));
    takeContext({ displayMode: (answer && answer.mode) || mode });
    return backstay.displayMode;
  }

  function uploadFile(file) { // ui/* has no upload: files travel as arguments there
    return chatgpt().uploadFile ? openai.uploadFile(file) : gone("uploadFile");
  }

  async function fileUrl(fileId) {
    if (!chatgpt().getFileDownloadUrl) return gone("getFileDownloadUrl");
    return (await openai.getFileDownloadUrl({ fileId })).downloadUrl;
  }

  // View state: window.openai keeps it where there is one. Elsewhere it lives as long as the page,
  // and longer if the result's _meta has a viewUUID to keep it under and the frame has storage.
  async function setState(change) {
    chatgpt();
    const before = backstay.state || {};
    const next = typeof change === "function" ? change(before) : { ...before, ...change };
    set("state", "state", next);
    if (openai && openai.setWidgetState) return openai.setWidgetState(next);
    if (stateKey) try { localStorage.setItem(stateKey, JSON.stringify(next)); } catch { /* none here */ }
    if (!host || !(host.hostCapabilities || {}).updateModelContext || telling) return;
    telling = setTimeout(() => { // the model is told once of many changes in a row
      telling = 0;
      if (!closed) request("ui/update-model-context", { structuredContent: backstay.state }).catch(() => {});
    }, 300);
  }

  function adoptState(meta) {
    if (!meta || !meta.viewUUID || stateKey || (openai && openai.setWidgetState)) return;
    stateKey = `backstay:${meta.viewUUID}`;
    try {
      const kept = JSON.parse(localStorage.getItem(stateKey));
      if (kept && !backstay.state) set("state", "state", kept);
    } catch { /* no storage here */ }
  }

  // The host gives the width; the page says how high it is at that width. In full screen the host
  // gives both: to answer would begin a chase, since pages there are as high as their window.
  function measure() {
    if (!closed) requestAnimationFrame(() => {
      if (backstay.displayMode === "fullscreen") return;
      const kept = root.style.height;
      root.style.height = "max-content";
      const size = { width: window.innerWidth, height: Math.ceil(root.getBoundingClientRect().height) };
      root.style.height = kept;
      if (seen === (seen = `${backstay.dialect} ${size.width} ${size.height}`)) return;
      if (host) post({ method: "ui/notifications/size-changed", params: size });
      else if (openai && openai.notifyIntrinsicHeight) openai.notifyIntrinsicHeight(size.height);
    });
  }

  // The start
  const preview = () => document.getElementById("backstay-props");

  function begin() {
    if (preview() && backstay.props === null) set("props", "props", JSON.parse(preview().textContent));
    const observer = new ResizeObserver(measure);
    observer.observe(root);
    observer.observe(document.body);
  }

  document.addEventListener("click", (event) => { // a frame may not follow links; the host may
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link || event.defaultPrevented || !/^(https?|mailto|tel):/i.test(link.href)) return;
    event.preventDefault();
    openLink(link.href).catch((error) => console.warn(error.message));
  });
  dark.addEventListener("change", () => dress({}));
  window.addEventListener("openai:set_globals", takeGlobals);
  dress({});
  takeGlobals();
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();

  let looks = 0;
  const looking = setInterval(() => { // window.openai may come after the page
    if (!openai) takeGlobals();
    if (openai || ++looks * 50 > HANDSHAKE_MS) clearInterval(looking);
  }, 50);

  request("ui/initialize", {
    protocolVersion: "2026-01-26",
    appInfo: { name: document.title || "backstay", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen", "pip"] },
  }, HANDSHAKE_MS).then((result) => {
    host = result;
    takeContext(result.hostContext || {});
    post({ method: "ui/notifications/initialized", params: {} });
    greet();
  }).catch(() => {
    if (openai) return;
    const error = new Error("No host answered: this page shows what an AI client hands it");
    missed(error);
    if (!preview()) fail(error);
  });
})();
