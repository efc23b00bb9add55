// A host that gives a widget `window.openai` and nothing else: no ui/* message is ever answered.
// The page of the widget is the one that the server serves. Tests drive it by `window.host`.
import { connect, policy, readPage, Record } from "./mcp.js";

const record = new Record();
let client;
let tool;
let frame;
let hints; // what ChatGPT says of its user with every call

const host = {
  events: record.events,
  seen: (kind, count) => record.seen(kind, count),

  async connect(url, options) {
    client = await connect(url, options);
    return { server: client.getServerVersion(), tools: (await client.listTools()).tools };
  },

  /** Show the widget of a tool with its result, as ChatGPT does: by `openai/outputTemplate`. */
  async open(name, given, { globals = {}, sandbox = "allow-scripts allow-same-origin allow-forms", late = false, call = true } = {}) {
    tool = (await client.listTools()).tools.find((each) => each.name === name);
    if (!tool) throw new Error(`the server has no tool ${name}`);
    const uri = tool._meta?.["openai/outputTemplate"];
    if (!uri) throw new Error(`the tool ${name} has no openai/outputTemplate: ${JSON.stringify(tool._meta)}`);
    const page = await readPage(client, uri);
    const declared = page.meta["openai/widgetCSP"] ?? {};
    hints = { "openai/locale": globals.locale ?? "en-US", "openai/userAgent": "backstay-test-host" };
    const result = call ? await client.callTool({ name, arguments: given, _meta: hints }) : null;
    const first = {
      theme: "light", locale: "en-US", displayMode: "inline", maxHeight: 600, userAgent: { device: { type: "desktop" }, capabilities: { hover: true, touch: false } },
      safeArea: { insets: { top: 0, right: 0, bottom: 0, left: 0 } }, view: null,
      toolInput: given, toolOutput: result?.structuredContent ?? null, toolResponseMetadata: result?._meta ?? null, widgetState: null, ...globals,
    };
    document.body.className = first.theme;

    frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-forms");
    const address = new URL("sandbox.html", host.sandboxOrigin);
    address.searchParams.set("host", location.origin);
    address.searchParams.set("csp", policy({ connectDomains: declared.connect_domains, resourceDomains: declared.resource_domains, frameDomains: declared.frame_domains }));
    const ready = record.seen("sandbox-ready", record.events.filter((each) => each.kind === "sandbox-ready").length + 1);
    document.body.append(frame);
    frame.src = address;
    await ready;
    send({ method: "ui/notifications/sandbox-resource-ready", params: { html: withOpenai(page.html, first, late), sandbox } });
    await record.seen("loaded", record.events.filter((each) => each.kind === "loaded").length + 1);
    return { uri, meta: page.meta, result };
  },

  /** Change `window.openai` and say so by the event `openai:set_globals`. */
  change(globals) {
    if (globals.theme) document.body.className = globals.theme;
    send({ openai: "globals", globals });
  },

  close: () => frame.remove(),
  disconnect: () => client.close(),
};

const send = (message) => frame.contentWindow.postMessage(message, host.sandboxOrigin);

const ANSWERS = {
  callTool: async (name, given) => {
    if (!tool._meta?.["openai/widgetAccessible"]) throw new Error(`widgets may not call tools: ${tool.name} is not openai/widgetAccessible`);
    return client.callTool({ name, arguments: given, _meta: hints });
  },
  sendFollowUpMessage: async () => undefined,
  openExternal: async () => undefined,
  setOpenInAppUrl: async () => undefined,
  setWidgetState: async () => undefined,
  notifyIntrinsicHeight: async (height) => { frame.style.height = `${height}px`; },
  requestDisplayMode: async ({ mode }) => { host.change({ displayMode: mode }); return { mode }; },
  requestModal: async () => undefined,
  requestClose: async () => undefined,
  uploadFile: async (file) => ({ fileId: `file_${file.name}` }),
  getFileDownloadUrl: async ({ fileId }) => ({ downloadUrl: `https://files.example.com/${fileId}` }),
};

addEventListener("message", async ({ source, origin, data }) => {
  if (source !== frame?.contentWindow || origin !== host.sandboxOrigin) return;
  if (data?.method === "ui/notifications/sandbox-proxy-ready") return record.add("sandbox-ready");
  if (data?.jsonrpc === "2.0") return record.add("unanswered", data); // the other dialect: nobody speaks it here
  if (data?.openai === "loaded") return record.add("loaded");
  if (data?.openai !== "request") return;
  const { id, name, given } = data;
  const told = given.map((each) => (each instanceof File ? { name: each.name, type: each.type, size: each.size } : each));
  record.add(name, { arguments: told });
  try {
    const value = await ANSWERS[name](...given);
    send({ openai: "answer", id, value });
    if (name === "callTool") record.add("called", { arguments: told, result: value });
  } catch (error) {
    send({ openai: "answer", id, error: String(error.message ?? error) });
  }
});

/** The page with `window.openai` before its own scripts; `late`: only once it has loaded. */
const withOpenai = (html, globals, late) => {
  const data = JSON.stringify(globals).replaceAll("<", "\\u003c");
  const script = `<script>(${inject})(${data}, ${JSON.stringify(Object.keys(ANSWERS))}, ${late});</script>`;
  const head = /<head[^>]*>|<html[^>]*>|<!doctype[^>]*>/gi;
  let end = 0;
  for (const match of html.matchAll(head)) end = Math.max(end, match.index + match[0].length);
  return html.slice(0, end) + script + html.slice(end);
};

/** Runs in the widget's frame. */
function inject(globals, names, late) {
  const waiting = new Map();
  let next = 1;
  const openai = { ...globals };
  for (const name of names) {
    openai[name] = (...given) => new Promise((resolve, reject) => {
      waiting.set(next, { resolve, reject });
      parent.postMessage({ openai: "request", id: next, name, given }, "*");
      next += 1;
    });
  }
  const change = (changes) => {
    Object.assign(openai, changes);
    dispatchEvent(new CustomEvent("openai:set_globals", { detail: { globals: changes } }));
  };
  const remember = openai.setWidgetState;
  openai.setWidgetState = (state) => {
    change({ widgetState: state });
    return remember(state);
  };
  addEventListener("message", ({ source, data }) => {
    if (source !== parent) return;
    if (data?.openai === "globals") return change(data.globals);
    if (data?.openai !== "answer") return;
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data.value);
    else reject(new Error(data.error));
  });
  if (!late) window.openai = openai;
  addEventListener("load", () => {
    if (late) {
      window.openai = openai;
      change(globals);
    }
    parent.postMessage({ openai: "loaded" }, "*");
  });
}

window.host = host;
