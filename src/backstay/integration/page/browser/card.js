// One endpoint: what is declared of it, its patterns, its figures.
import { Chain } from "./chain.js";
import { Figures } from "./charts.js";
import { copier, h, mark, plural, webAddress } from "./dom.js";
import { schemaView, wordsOf } from "./schema.js";

/** A path with its parameters set off. */
export function pathOf(path) {
  return path.split(/(\{[^}]*\})/).filter(Boolean).map((part) => (part.startsWith("{") ? h("i", {}, part) : part));
}

export const methodBadge = (method) => h("span.method", { "data-method": method }, method || "?");

function signature(endpoint) {
  return `${endpoint.name}(${endpoint.parameters.map((each) => (each.default === undefined ? each.name : `${each.name}=${each.default}`)).join(", ")})`;
}

function argumentsOf(endpoint) {
  if (!endpoint.parameters.length) return h("p.soft", {}, "It takes no arguments.");
  return h("ul.fields", {}, endpoint.parameters.map((each) => h("li.field", {},
    h("code.name", {}, each.name), " ", each.type ? h("code.type", {}, each.type) : null, " ",
    each.where === "path" ? h("span.note", {}, "in the path") : null,
    each.default === undefined ? null : h("span.note", {}, "otherwise ", h("code", {}, each.default)))));
}

function answer(title, more, schema, open) {
  const box = h("details.answer", { open }, h("summary", {}, h("b", {}, title), more));
  const fill = () => box.append(schemaView(schema));
  if (open) fill();
  else box.addEventListener("toggle", fill, { once: true });
  return box;
}

function answers(endpoint) {
  const good = endpoint.success && answer(endpoint.is_stream ? "Yields" : "2xx", h("code", {}, endpoint.success.type || "?"), endpoint.success.schema, true);
  const bad = endpoint.errors.map((each) => answer(each.status ?? "error", [h("code", {}, each.name), each.is_returned ? null : h("span.note", {}, "raised")], each.schema, false));
  if (!good && !bad.length) return h("p.soft", {}, endpoint.returns ? ["Returns ", h("code.type", {}, endpoint.returns), "."] : "Nothing is declared.");
  return [good, bad];
}

export class Card {
  constructor(integration, endpoint) {
    this.integration = integration;
    this.endpoint = endpoint;
    this.id = endpoint.id;
    this.isNear = false;
    this.isStale = true;
    const fields = new Set([...endpoint.parameters.map((each) => each.name), ...wordsOf(endpoint.success?.schema)]);
    for (const each of endpoint.errors) wordsOf(each.schema, fields);
    this.fields = [...fields];
    this.head = [integration.name, integration.class, endpoint.name, endpoint.path, endpoint.method, endpoint.version, endpoint.doc, endpoint.returns, ...endpoint.patterns.map((each) => each.name), ...endpoint.errors.map((each) => each.status ?? each.name)].join("\n").toLowerCase();
    this.deep = this.fields.map((each) => each.toLowerCase());

    const documented = webAddress(endpoint.docurl);
    const [first, ...rest] = endpoint.doc.split(/\n\s*\n/);
    this.figures = new Figures();
    this.chain = new Chain(endpoint.patterns, methodBadge(endpoint.method));
    this.title = h("a.title", { href: `#${encodeURIComponent(this.id)}` }, endpoint.name);
    this.found = h("p.found", { hidden: true });
    const statuses = endpoint.errors.map((each) => each.status).filter(Boolean);
    this.fold = h("details.fold", {}, h("summary", {}, h("span", {}, "Arguments and answers"), h("span.soft.brief", {}, [plural(endpoint.parameters.length, "argument"), endpoint.success?.type || endpoint.returns, statuses.join(", ")].filter(Boolean).join(" · "))));
    this.fold.addEventListener("toggle", () => this.unfold());
    this.element = h("article.card", { "data-id": this.id },
      h("header", {}, methodBadge(endpoint.method), h("h3", {}, this.title), h("code.path", {}, pathOf(endpoint.path)),
        h("span.facts", {}, endpoint.is_stream ? h("span.tag", {}, "streams") : null, endpoint.version ? h("span.tag", {}, endpoint.version) : null, documented ? h("a.out", { href: documented, target: "_blank", rel: "noopener noreferrer", "aria-label": `Docs of ${endpoint.name}` }, "Docs ", h("span", { "aria-hidden": "true" }, "↗")) : null)),
      first ? h("p.text", {}, first) : null,
      rest.length ? h("details.more", {}, h("summary", {}, "Read on"), h("p.text", {}, rest.join("\n\n"))) : null,
      this.found,
      this.chain.element,
      this.figures.element,
      this.fold);
  }

  /** Made when it is opened for the first time: two hundred models are many fields. */
  unfold() {
    if (!this.fold.open || this.filled) return;
    this.filled = true;
    const call = signature(this.endpoint);
    this.fold.append(h("div.inside", {},
      h("section", {}, h("h4", {}, "Arguments"), h("div.bar", {}, h("code.call", {}, call), copier("Copy", () => call)), argumentsOf(this.endpoint)),
      h("section", {}, h("h4", {}, "Answers"), answers(this.endpoint))));
  }

  /** Whether all these words are somewhere in it. */
  matches(words) {
    const inFields = words.filter((word) => !this.head.includes(word));
    const named = inFields.map((word) => this.deep.findIndex((each) => each.includes(word)));
    const fits = named.every((index) => index >= 0);
    this.found.hidden = !fits || !named.length;
    if (fits && named.length) this.found.replaceChildren("Has ", ...[...new Set(named)].flatMap((index, place) => [place ? ", " : "", h("code", {}, this.fields[index])]));
    return fits;
  }

  /** How it goes, by the last answer of the server. */
  tell(live, slots, at) {
    this.live = live;
    this.slots = slots;
    this.at = at;
    this.isStale = true;
    this.chain.show(live?.patterns, at);
    this.isUsed = Boolean(live?.statistics?.window.calls || live?.statistics?.window.cancelled);
    this.trouble = this.chain.state !== "closed" ? this.chain.state : live?.statistics?.window.failed ? "failed" : null;
    mark(this.element, "data-trouble", this.trouble);
    if (this.isNear) this.draw();
  }

  /** Charts are drawn of what somebody may see. */
  draw() {
    if (!this.isStale || !this.live) return;
    this.isStale = false;
    this.figures.show(this.live.statistics, this.slots);
  }
}
