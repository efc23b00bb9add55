// A client of MCP over Streamable HTTP (2025-11-25), as small as an inspector needs it.
const REVISION = "2025-11-25";
const UI = "io.modelcontextprotocol/ui";

export class Refused extends Error {
  /** What a server says no with: an HTTP status, or a JSON-RPC error with its code and data. */
  constructor(message, { status = null, code = null, data = null } = {}) {
    super(message);
    Object.assign(this, { status, code, data });
  }
}

export class Client {
  #id = 0;
  #session = null;
  #revision = null;

  /** `watch(entry)` hears of every request when it is sent, and again, the same object, when answered. */
  constructor(url, { token = "", locale = "en", watch = () => {} } = {}) {
    Object.assign(this, { url, token, locale, watch });
    this.server = null;
  }

  async connect() {
    const answer = await this.request("initialize", {
      protocolVersion: REVISION,
      clientInfo: { name: "backstay-inspector", version: "1" },
      capabilities: { extensions: { [UI]: { mimeTypes: ["text/html;profile=mcp-app"] } } },
    });
    this.#revision = answer.protocolVersion;
    this.server = answer;
    await this.#post({ jsonrpc: "2.0", method: "notifications/initialized" });
    return answer;
  }

  /** All pages of a list: `list("tools")`. */
  async list(what) {
    const found = [];
    let cursor;
    do {
      const page = await this.request(`${what}/list`, cursor ? { cursor } : {});
      found.push(...page[what]);
      cursor = page.nextCursor;
    } while (cursor);
    return found;
  }

  async request(method, params = {}, { onProgress = null, signal = null } = {}) {
    const id = ++this.#id;
    const meta = { ...params._meta };
    if (onProgress) meta.progressToken = `inspector-${id}`;
    if (method === "tools/call") meta["openai/locale"] = this.locale;
    const sent = Object.keys(meta).length ? { ...params, _meta: meta } : params;
    const entry = { lane: "mcp", method, name: params.name ?? params.uri ?? "", sent, began: performance.now(), at: new Date() };
    this.watch(entry);
    try {
      const hear = (message) => {
        if (message.method !== "notifications/progress" || !onProgress) return;
        entry.progress = message.params;
        this.watch(entry);
        onProgress(message.params);
      };
      const response = await this.#post({ jsonrpc: "2.0", id, method, params: sent }, signal);
      const answer = await read(response, id, hear);
      if (answer.error) throw new Refused(answer.error.message, { status: response.status, ...answer.error });
      entry.result = answer.result;
      return answer.result;
    } catch (error) {
      entry.error = error;
      throw error;
    } finally {
      entry.ms = performance.now() - entry.began;
      this.watch(entry);
    }
  }

  async #post(body, signal = null) {
    const headers = { "Content-Type": "application/json", Accept: "application/json, text/event-stream" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (this.#session) headers["Mcp-Session-Id"] = this.#session;
    if (this.#revision) headers["Mcp-Protocol-Version"] = this.#revision;
    let response;
    try {
      response = await fetch(this.url, { method: "POST", headers, body: JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(`${this.url} cannot be reached, or does not let this page in (${error.message})`);
    }
    this.#session = response.headers.get("Mcp-Session-Id") ?? this.#session;
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

async function refusal(response) {
  const text = await response.text();
  let told = null;
  try { told = JSON.parse(text); } catch { /* not JSON */ }
  const wanted = response.headers.get("WWW-Authenticate");
  const message = told?.error?.message ?? told?.error_description ?? told?.detail ?? text.trim().slice(0, 300);
  return new Refused(message || `${response.status} ${response.statusText}`, {
    status: response.status, code: told?.error?.code ?? null, data: wanted ? { "WWW-Authenticate": wanted } : told?.error?.data ?? null,
  });
}

async function read(response, id, hear) {
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) return response.json();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("The stream ended before there was an answer");
    text += value;
    const events = text.split(/\r?\n\r?\n/);
    text = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (!data) continue;
      const message = JSON.parse(data);
      if (message.id !== id) { hear(message); continue; }
      reader.cancel().catch(() => {});
      return message;
    }
  }
}
