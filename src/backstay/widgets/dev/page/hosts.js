// Two hosts for a widget: one speaks MCP Apps (ui/*, 2026-01-26), one gives it window.openai alone.
// Both put it into a sandboxed frame of another origin under the policy that its metadata declares.
const OUTER = "allow-scripts allow-same-origin allow-forms allow-popups";
const INNER = "allow-scripts allow-same-origin allow-forms";
const PATIENCE_MS = 10000;
const MODES = ["inline", "fullscreen", "pip"];

/** The policy hosts build from the declared domains (MCP Apps 2026-01-26, "CSP"). */
function policyOf(csp) {
  const list = (domains, otherwise = "") => (domains?.length ? domains.join(" ") : otherwise);
  const from = list(csp.resourceDomains);
  return [
    "default-src 'none'", `script-src 'self' 'unsafe-inline' ${from}`, `style-src 'self' 'unsafe-inline' ${from}`,
    `img-src 'self' data: blob: ${from}`, `font-src 'self' data: ${from}`, `media-src 'self' data: blob: ${from}`,
    `connect-src ${list(csp.connectDomains, "'none'")}`, `frame-src ${list(csp.frameDomains, "'none'")}`,
    `base-uri ${list(csp.baseUriDomains, "'none'")}`, "object-src 'none'",
  ].map((each) => each.trim()).join("; ");
}

class Host {
  constructor(container, { client, tool, page, looks, sandbox, watch, on }) {
    Object.assign(this, { container, client, tool, page, looks, sandbox, watch, on });
    this.closed = false;
    this.hear = this.hear.bind(this);
  }

  async open(html) {
    this.frame = document.createElement("iframe");
    this.frame.title = `The widget ${this.tool.name}`;
    this.frame.setAttribute("sandbox", OUTER);
    const address = new URL("/sandbox.html", this.sandbox);
    address.searchParams.set("csp", policyOf(this.declared()));
    const ready = new Promise((resolve) => { this.proxyReady = resolve; });
    addEventListener("message", this.hear);
    this.container.replaceChildren(this.frame);
    this.frame.src = address;
    await ready;
    this.post({ jsonrpc: "2.0", method: "ui/notifications/sandbox-resource-ready", params: { html, sandbox: INNER } });
  }

  post(message) {
    if (!this.closed) this.frame.contentWindow?.postMessage(message, this.sandbox);
  }

  hear({ source, origin, data }) {
    if (this.closed || source !== this.frame.contentWindow || origin !== this.sandbox || !data) return;
    if (data.method === "ui/notifications/sandbox-proxy-ready") return this.proxyReady();
    this.take(data);
  }

  /** Note what went between host and widget; `to`: "widget" or "host". */
  note(to, method, sent, more = {}) {
    const entry = { lane: to === "widget" ? "host" : "view", method, sent, at: new Date(), began: performance.now(), ...more };
    this.watch(entry);
    return entry;
  }

  settle(entry, change) {
    Object.assign(entry, change, { ms: performance.now() - entry.began });
    this.watch(entry);
  }

  async callTool(name, given, onProgress) {
    const { tools } = this.on;
    const found = tools().find((each) => each.name === name);
    const visibility = found?._meta?.ui?.visibility;
    if (visibility && !visibility.includes("app")) throw new Error(`the tool ${name} is not for widgets: its visibility is ${visibility.join(", ")}`);
    return this.client.request("tools/call", { name, arguments: given ?? {} }, { onProgress });
  }

  remove() {
    this.closed = true;
    this.initialized?.(); // nobody has to wait for it any longer
    this.proxyReady?.();
    this.loaded?.();
    removeEventListener("message", this.hear);
    this.frame?.remove();
  }
}

export class AppsHost extends Host {
  static dialect = "ui";
  #asked = new Map();
  #id = 0;

  declared() {
    return this.page.meta?.ui?.csp ?? {};
  }

  context() {
    const { theme, locale, displayMode, maxHeight } = this.looks;
    return {
      theme, locale, displayMode, availableDisplayModes: MODES, containerDimensions: { maxHeight },
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone, platform: "web", userAgent: "backstay-inspector", toolInfo: { tool: this.tool },
    };
  }

  async show(given) {
    const begun = new Promise((resolve) => { this.initialized = resolve; });
    await this.open(this.page.html);
    const late = new Promise((resolve) => setTimeout(() => resolve("late"), PATIENCE_MS));
    if (await Promise.race([begun, late]) === "late" && !this.closed) {
      this.note("host", "nothing", undefined, { error: new Error(`the widget has not said ui/notifications/initialized within ${PATIENCE_MS / 1000} s: has its page the bridge?`) });
    }
    this.notify("ui/notifications/tool-input", { arguments: given });
  }

  result(result) { this.notify("ui/notifications/tool-result", result); }

  cancelled(reason) { this.notify("ui/notifications/tool-cancelled", { reason }); }

  progress() { /* the call that opened the widget is the model's; ui/* has no message for its progress */ }

  change(looks) {
    this.looks = looks;
    const { toolInfo, ...context } = this.context();
    this.notify("ui/notifications/host-context-changed", context);
  }

  notify(method, params) {
    this.note("widget", method, params);
    this.post({ jsonrpc: "2.0", method, params });
  }

  async close() {
    if (this.closed) return;
    const id = `inspector-${++this.#id}`;
    const entry = this.note("widget", "ui/resource-teardown", {});
    const answered = new Promise((resolve) => this.#asked.set(id, resolve));
    this.post({ jsonrpc: "2.0", id, method: "ui/resource-teardown", params: {} });
    const patience = new Promise((resolve) => setTimeout(() => resolve({ error: { message: "not answered within 300 ms" } }), 300));
    const { result, error } = await Promise.race([answered, patience]);
    this.settle(entry, error ? { error: new Error(error.message) } : { result });
    this.remove();
  }

  async take(message) {
    if (message.jsonrpc !== "2.0") return;
    const { id, method, params = {} } = message;
    if (method === undefined) {
      this.#asked.get(id)?.(message);
      this.#asked.delete(id);
      return;
    }
    const entry = this.note("host", method, params, { name: params.name ?? params.uri ?? params.url ?? params.mode ?? "" });
    if (id === undefined) return this.heard(method, params);
    try {
      const result = await this.answer(method, params);
      this.post({ jsonrpc: "2.0", id, result });
      this.settle(entry, { result });
    } catch (error) {
      this.post({ jsonrpc: "2.0", id, error: { code: error.code ?? -32603, message: error.message } });
      this.settle(entry, { error });
    }
  }

  heard(method, params) {
    if (method === "ui/notifications/initialized") this.initialized();
    if (method === "ui/notifications/size-changed") this.on.size(params);
    if (method === "ui/notifications/request-teardown") this.on.leave();
  }

  async answer(method, params) {
    switch (method) {
      case "ui/initialize": return {
        protocolVersion: params.protocolVersion ?? "2026-01-26",
        hostInfo: { name: "backstay inspector", version: "1" },
        hostCapabilities: { openLinks: {}, serverTools: {}, serverResources: {}, logging: {}, updateModelContext: { text: {}, structuredContent: {} }, message: { text: {} } },
        hostContext: this.context(),
      };
      case "ping": return {};
      case "tools/call": {
        const token = params._meta?.progressToken;
        const forward = token === undefined ? null : (progress) => this.notify("notifications/progress", { ...progress, progressToken: token });
        return this.callTool(params.name, params.arguments, forward);
      }
      case "resources/read":
      case "resources/list":
      case "resources/templates/list":
      case "prompts/list": return this.client.request(method, params);
      case "ui/message": this.on.say("The widget speaks for the user", params.content?.map((each) => each.text ?? `[${each.type}]`).join("\n")); return {};
      case "ui/open-link": this.on.say("The widget opens a link", params.url, params.url); return {};
      case "ui/update-model-context": this.on.context(params); return {};
      case "ui/request-display-mode": return { mode: MODES.includes(params.mode) ? this.on.mode(params.mode) : this.looks.displayMode };
    }
    throw Object.assign(new Error(`this host has no ${method}`), { code: -32601 });
  }
}

export class OpenAiHost extends Host {
  static dialect = "openai";
  #files = new Map();

  declared() {
    const { connect_domains, resource_domains, frame_domains } = this.page.meta?.["openai/widgetCSP"] ?? {};
    return { connectDomains: connect_domains, resourceDomains: resource_domains, frameDomains: frame_domains };
  }

  globals() {
    const { theme, locale, displayMode, maxHeight } = this.looks;
    return { theme, locale, displayMode, maxHeight };
  }

  async show(given) {
    const first = {
      ...this.globals(), toolInput: given, toolOutput: null, toolResponseMetadata: null, widgetState: null, view: null,
      safeArea: { insets: { top: 0, right: 0, bottom: 0, left: 0 } },
      userAgent: { device: { type: "desktop" }, capabilities: { hover: true, touch: false } },
    };
    this.note("widget", "window.openai", first);
    const loaded = new Promise((resolve) => { this.loaded = resolve; });
    await this.open(withOpenAi(this.page.html, first));
    await loaded;
  }

  result(result) {
    this.globalsChanged({ toolOutput: result.structuredContent ?? null, toolResponseMetadata: result._meta ?? null });
  }

  cancelled() {}

  progress() {}

  change(looks) {
    this.looks = looks;
    this.globalsChanged(this.globals());
  }

  globalsChanged(globals) {
    this.note("widget", "openai:set_globals", globals);
    this.post({ openai: "globals", globals });
  }

  async close() {
    if (!this.closed) this.remove();
  }

  async take(message) {
    if (message.openai === "loaded") return this.loaded();
    if (message.openai !== "request") return; // ui/* is not spoken here
    const { id, name, given } = message;
    const told = given.map((each) => (each instanceof File ? { name: each.name, type: each.type, size: each.size } : each));
    const entry = this.note("host", `openai.${name}`, told.length === 1 ? told[0] : told, { name: name === "callTool" ? given[0] : "" });
    try {
      const value = await this.answer(name, given);
      this.post({ openai: "answer", id, value });
      this.settle(entry, { result: value ?? null });
    } catch (error) {
      this.post({ openai: "answer", id, error: error.message });
      this.settle(entry, { error });
    }
  }

  async answer(name, [first, second]) {
    switch (name) {
      case "callTool": {
        if (!this.tool._meta?.["openai/widgetAccessible"]) throw new Error(`the widget of ${this.tool.name} may not call tools: it is not openai/widgetAccessible`);
        return this.callTool(first, second, null);
      }
      case "sendFollowUpMessage": return this.on.say("The widget speaks for the user", first?.prompt);
      case "openExternal": return this.on.say("The widget opens a link", first?.href, first?.href);
      case "notifyIntrinsicHeight": return this.on.size({ height: first });
      case "requestDisplayMode": {
        const mode = MODES.includes(first?.mode) ? this.on.mode(first.mode) : this.looks.displayMode;
        return { mode };
      }
      case "setWidgetState": return this.on.context({ structuredContent: first });
      case "uploadFile": {
        const fileId = `file_${this.#files.size + 1}`;
        this.#files.set(fileId, await dataUrl(first));
        return { fileId };
      }
      case "getFileDownloadUrl": return { downloadUrl: this.#files.get(first?.fileId) ?? null };
      case "requestClose": return this.on.leave();
    }
    return undefined;
  }
}

const dataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

const NAMES = ["callTool", "sendFollowUpMessage", "openExternal", "setOpenInAppUrl", "notifyIntrinsicHeight", "requestDisplayMode", "requestModal", "requestClose", "setWidgetState", "uploadFile", "getFileDownloadUrl"];

/** The page with window.openai before its own scripts. */
function withOpenAi(html, globals) {
  const data = JSON.stringify(globals).replaceAll("<", "\\u003c");
  const script = `<script>(${inject})(${data}, ${JSON.stringify(NAMES)});</script>`;
  let end = 0;
  for (const match of html.matchAll(/<head[^>]*>|<html[^>]*>|<!doctype[^>]*>/gi)) {
    if (match.index > 4096) break; // whatever comes later is text of the page
    end = Math.max(end, match.index + match[0].length);
  }
  return html.slice(0, end) + script + html.slice(end);
}

/** Runs in the widget's frame. */
function inject(globals, names) {
  const waiting = new Map();
  let next = 0;
  const openai = { ...globals };
  for (const name of names) {
    openai[name] = (...given) => new Promise((resolve, reject) => {
      waiting.set(++next, { resolve, reject });
      parent.postMessage({ openai: "request", id: next, name, given }, "*");
    });
  }
  const change = (changes) => {
    Object.assign(openai, changes);
    dispatchEvent(new CustomEvent("openai:set_globals", { detail: { globals: changes } }));
  };
  const keep = openai.setWidgetState;
  openai.setWidgetState = (state) => {
    change({ widgetState: state });
    return keep(state);
  };
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || !data) return;
    if (data.openai === "globals") return change(data.globals);
    if (data.openai !== "answer") return;
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data.value);
    else reject(new Error(data.error));
  });
  window.openai = openai;
  addEventListener("load", () => parent.postMessage({ openai: "loaded" }, "*"));
}
