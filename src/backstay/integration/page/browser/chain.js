// The patterns around an endpoint, in the order that a call passes them, and how they stand.
import { h, mark, say } from "./dom.js";

const FIRST = 3; // options that are shown before somebody asks for more
const OWN = new Set(["key", "state", "failures", "calls", "opens_in_s"]);
const STATES = new Set(["closed", "open", "half-open"]);

const written = (value) => (value === null ? "none" : typeof value === "string" ? value : Array.isArray(value) ? value.map(written).join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value));

function options(pattern) {
  const given = Object.entries(pattern.options).filter(([name, value]) => value !== null && value !== "" && !(name === "shared" && !value));
  const rows = given.map(([name, value]) => {
    const isTime = name.endsWith("_s") && typeof value === "number";
    return h("div", {}, h("dt", {}, isTime ? name.slice(0, -2) : name), h("dd", {}, isTime ? `${value} s` : written(value)));
  });
  if (!rows.length) return null;
  if (rows.length <= FIRST + 1) return h("dl.options", {}, rows);
  const rest = h("dl.options", {}, rows.slice(FIRST));
  return [h("dl.options", {}, rows.slice(0, FIRST)), h("details.more", {}, h("summary", {}, `${rows.length - FIRST} more`), rest)];
}

export class Chain {
  /** `end`: what stands at the end, the call itself. */
  constructor(patterns, end) {
    this.links = patterns.map((pattern) => {
      const states = h("ul.states");
      const isBreaker = pattern.name === "CircuitBreaker";
      const element = h("li.link", { "data-kind": pattern.name, "data-state": isBreaker ? "closed" : null }, h("b", {}, pattern.name), states, options(pattern));
      return { pattern, element, states, isBreaker, shown: [] };
    });
    this.element = h("ol.chain", { "aria-label": "Patterns, from the outside to the call" }, this.links.map((each) => each.element), h("li.end", {}, end));
    if (this.links.length === 0) this.element.prepend(h("li.none", {}, "No patterns"));
    this.state = "closed";
  }

  /** `live`: for each pattern the list of its states. `at`: when they were told, of performance.now(). */
  show(live, at) {
    this.state = "closed";
    this.links.forEach((link, index) => {
      let found = live?.[index] ?? [];
      if (link.isBreaker) {
        if (!found.length) found = [{ key: null, state: "closed" }];
        const worst = found.some((each) => each.state === "open") ? "open" : found.some((each) => each.state === "half-open") ? "half-open" : "closed";
        mark(link.element, "data-state", worst);
        if (worst === "open" || (worst === "half-open" && this.state === "closed")) this.state = worst;
      }
      while (link.shown.length > found.length) link.shown.pop().element.remove();
      found.forEach((state, place) => {
        if (!link.shown[place]) {
          const row = { badge: h("span.state"), key: h("code"), more: h("span.more") };
          row.element = h("li", {}, row.badge, row.key, row.more);
          link.states.append(row.element);
          link.shown[place] = row;
        }
        const row = link.shown[place];
        const word = STATES.has(state.state) ? state.state : "";
        row.badge.hidden = !word;
        mark(row.badge, "data-state", word || null);
        say(row.badge, word);
        say(row.key, state.key ?? "");
        row.key.hidden = state.key === null || state.key === undefined;
        row.until = state.state === "open" && typeof state.opens_in_s === "number" ? at + state.opens_in_s * 1000 : null;
        const rest = Object.entries(state).filter(([name, value]) => !OWN.has(name) && value !== null).map(([name, value]) => `${name.replaceAll("_", " ")} ${written(value)}`);
        if (state.state === "closed" && state.calls) rest.unshift(`${state.failures} of ${state.calls} failed`);
        row.text = rest.join(" · ");
      });
      this.tick();
    });
  }

  /** Countdowns go on between two answers of the server. */
  tick(now = performance.now()) {
    for (const link of this.links) {
      for (const row of link.shown) {
        if (row.until === null || row.until === undefined) { say(row.more, row.text ?? ""); continue; }
        const left = Math.ceil((row.until - now) / 1000);
        say(row.more, left > 0 ? `one call may try in ${left} s` : "one call may try now");
      }
    }
  }
}
