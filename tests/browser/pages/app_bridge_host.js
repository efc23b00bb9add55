// A host of MCP Apps made of the official AppBridge. Tests drive it by `window.host`.
import { AppBridge, getToolUiResourceUri, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";
import { connect, MIME_TYPE, policy, readPage, Record } from "./mcp.js";

const record = new Record();
const SANDBOX = "allow-scripts allow-same-origin allow-forms";
let client;
let bridge;
let frame;
let context = {};

const host = {
  events: record.events,
  seen: (kind, count) => record.seen(kind, count),

  async connect(url, options) {
    client = await connect(url, options);
    return { server: client.getServerVersion(), tools: (await client.listTools()).tools };
  },

  /** Show the widget of a tool, then call the tool and hand over input and result, as a chat does. */
  async open(name, given, { hostContext = {}, sandbox = SANDBOX, partial = [], call = true } = {}) {
    const tool = (await client.listTools()).tools.find((each) => each.name === name);
    if (!tool) throw new Error(`the server has no tool ${name}`);
    const uri = getToolUiResourceUri(tool);
    if (!uri) throw new Error(`the tool ${name} has no widget: ${JSON.stringify(tool._meta)}`);
    const page = await readPage(client, uri);
    if (page.mimeType !== MIME_TYPE) throw new Error(`${uri} is ${page.mimeType}, not ${MIME_TYPE}`);

    frame = document.createElement("iframe");
    frame.setAttribute("sandbox", SANDBOX);
    const { csp, permissions } = page.meta.ui ?? {};
    const address = new URL("sandbox.html", host.sandboxOrigin);
    address.searchParams.set("host", location.origin);
    address.searchParams.set("csp", policy(csp));

    context = { theme: "light", locale: "en-US", displayMode: "inline", availableDisplayModes: ["inline", "fullscreen"],
      platform: "web", userAgent: "backstay-test-host", toolInfo: { tool }, ...hostContext };
    document.body.className = context.theme;
    bridge = new AppBridge(
      client,
      { name: "backstay-test-host", version: "1.0.0" },
      { openLinks: {}, serverTools: {}, serverResources: {}, logging: {}, updateModelContext: { text: {}, structuredContent: {} }, message: { text: {} } },
      { hostContext: context },
    );
    const forwarded = Promise.withResolvers();
    listen(bridge, forwarded);
    const ready = Promise.withResolvers();
    bridge.addEventListener("sandboxready", ready.resolve);
    document.body.append(frame);
    frame.src = address;
    const connected = bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
    await connected;
    watchCalls(bridge);
    await ready.promise;
    await bridge.sendSandboxResourceReady({ html: page.html, sandbox, csp, permissions });
    await forwarded.promise;

    for (const part of partial) await bridge.sendToolInputPartial({ arguments: part });
    await bridge.sendToolInput({ arguments: given });
    let result = null;
    if (call) {
      result = await client.callTool({ name, arguments: given });
      await bridge.sendToolResult(result);
    }
    return { uri, meta: page.meta, app: bridge.getAppVersion(), result };
  },

  /** Hand over a result that the test has made up, or one of a call that it wants repeated. */
  result: (result) => bridge.sendToolResult(result),
  cancel: (reason) => bridge.sendToolCancelled({ reason }),

  /** Change theme, locale, display mode, sizes ... of the widget on show. */
  change(changes) {
    context = { ...context, ...changes };
    document.body.className = context.theme;
    bridge.setHostContext(context);
  },

  /** Tell the widget to end, and wait for its answer. */
  async close() {
    const answer = await bridge.teardownResource({});
    await bridge.close();
    frame.remove();
    return answer;
  },

  disconnect: () => client.close(),
};

/** Record whatever the widget asks for; grant it where a host would. */
function listen(made, initialized) {
  made.addEventListener("initialized", () => {
    record.add("initialized", { app: made.getAppVersion(), capabilities: made.getAppCapabilities() });
    initialized.resolve();
  });
  made.addEventListener("sizechange", (size) => {
    record.add("size-changed", size);
    if (size.height !== undefined) frame.style.height = `${size.height}px`;
  });
  made.addEventListener("loggingmessage", (params) => record.add("log", params));
  made.addEventListener("requestteardown", (params) => record.add("request-teardown", params));
  made.onmessage = async (params) => { record.add("message", params); return {}; };
  made.onopenlink = async (params) => { record.add("open-link", params); return {}; };
  made.onupdatemodelcontext = async (params) => { record.add("update-model-context", params); return {}; };
  made.onrequestdisplaymode = async ({ mode }) => {
    record.add("request-display-mode", { mode });
    host.change({ displayMode: mode });
    return { mode };
  };
}

/** The bridge forwards calls of tools to the server; say so when the answer has come. */
function watchCalls(made) {
  const forward = made.oncalltool;
  made.oncalltool = async (params, extra) => {
    record.add("call", params);
    const result = forward ? await forward(params, extra) : await client.callTool(params);
    record.add("called", { params, result });
    return result;
  };
}

window.host = host;
