// Every message, in order: between inspector and server, between host and widget, and of the app.
import { copier, h, tree } from "./dom.js";

const LANES = {
  mcp: { mark: "⇄", title: "inspector to MCP server" },
  view: { mark: "↑", title: "widget to host" },
  host: { mark: "↓", title: "host to widget" },
  app: { mark: "•", title: "the app and its files" },
};
const KEPT = 400;
const REPEATED = new Set(["ui/notifications/size-changed", "openai.notifyIntrinsicHeight"]);

const clock = (at) => `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;

/** The id under which the server's log tells the whole story of an error. */
const errorId = (entry) => entry.result?.structuredContent?.error_id ?? entry.error?.data?.error_id ?? null;

const failed = (entry) => Boolean(entry.error || entry.result?.isError || entry.level === "bad");

export class Log {
  #rows = new Map();
  #filter = "all";
  #last = null;

  constructor(list, { count, empty }) {
    Object.assign(this, { list, count, empty });
    this.filter("all");
  }

  /** Show an entry, or what has become of it. */
  add(entry) {
    let row = this.#rows.get(entry);
    if (!row && entry.method === this.#last?.method && REPEATED.has(entry.method)) {
      // A widget that grows says so at each step; one row is enough.
      row = this.#rows.get(this.#last);
      this.#rows.delete(this.#last);
      this.#rows.set(entry, row);
      entry.times = (this.#last.times ?? 1) + 1;
      this.#last = entry;
    }
    if (!row) {
      this.#last = entry;
      const follows = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
      row = h("li.entry");
      this.#rows.set(entry, row);
      this.list.append(row);
      if (this.#rows.size > KEPT) {
        const [oldest] = this.#rows.keys();
        this.#rows.get(oldest).remove();
        this.#rows.delete(oldest);
      }
      this.#draw(entry, row);
      if (follows) this.list.scrollTop = this.list.scrollHeight;
    } else this.#draw(entry, row);
    this.#tally();
  }

  filter(name) {
    this.#filter = name;
    for (const [entry, row] of this.#rows) row.hidden = !this.#fits(entry);
    this.#tally();
  }

  clear() {
    this.#rows.clear();
    this.#last = null;
    this.list.replaceChildren();
    this.#tally();
  }

  #fits(entry) {
    switch (this.#filter) {
      case "ui": return entry.lane === "view" || entry.lane === "host";
      case "mcp": return entry.lane === "mcp";
      case "errors": return failed(entry);
      default: return true;
    }
  }

  #tally() {
    const shown = [...this.#rows.values()].filter((row) => !row.hidden).length;
    const errors = [...this.#rows.keys()].filter(failed).length;
    this.empty.hidden = shown > 0;
    this.count(this.#rows.size, errors);
  }

  #draw(entry, row) {
    const { mark, title } = LANES[entry.lane];
    const open = row.querySelector("details")?.open ?? false;
    const waits = entry.lane === "mcp" && entry.ms === undefined;
    const id = errorId(entry);
    const outcome = waits
      ? h("span.ms.waits", {}, entry.progress ? `${entry.progress.progress}${entry.progress.total ? ` of ${entry.progress.total}` : ""}` : "…")
      : entry.ms === undefined ? null : h("span.ms", {}, entry.ms < 10 ? `${entry.ms.toFixed(1)} ms` : `${Math.round(entry.ms).toLocaleString()} ms`);
    const summary = h("summary", {},
      h("time", {}, clock(entry.at)),
      h("span.lane", { title }, mark),
      h("span.method", {}, entry.method),
      h("span.subject", {}, entry.times ? `${entry.times} times` : entry.name || entry.message || ""),
      id ? h("span.pill.bad", { title: id }, `error_id ${id.length > 12 ? `${id.slice(0, 8)}…` : id}`) : failed(entry) ? h("span.pill.bad", {}, entry.error?.status ? `HTTP ${entry.error.status}` : "error") : null,
      outcome);
    const details = h("details", {}, summary);
    const fill = () => {
      if (details.childElementCount > 1) return;
      details.append(this.#body(entry));
    };
    details.addEventListener("toggle", fill);
    if (open) { fill(); details.open = true; }
    row.dataset.lane = entry.lane;
    row.classList.toggle("failed", failed(entry));
    row.hidden = !this.#fits(entry);
    row.replaceChildren(details);
  }

  #body(entry) {
    const parts = [];
    const part = (name, value) => parts.push(h("section", {}, h("h4", {}, name, copier("Copy", () => JSON.stringify(value, null, 2))), tree(value)));
    if (entry.message && entry.lane === "app") parts.push(h("pre", {}, entry.message));
    if (entry.sent !== undefined) part(entry.lane === "mcp" ? "Sent" : "Message", entry.sent);
    if (entry.result !== undefined) part("Answer", entry.result);
    if (entry.error) part("Error", { message: entry.error.message, ...(entry.error.status && { status: entry.error.status }), ...(entry.error.code && { code: entry.error.code }), ...(entry.error.data && { data: entry.error.data }) });
    return h("div.body", {}, parts);
  }
}
