// The page: reads the document once, then asks every two seconds how it goes.
import { Card, methodBadge } from "./card.js";
import { count, h, mark, plural, say, share } from "./dom.js";

const PERIOD_MS = 2000;
const SLOWEST_MS = 10_000;
const PATIENCE_MS = 8000;
const FORGET_MS = 60_000; // a process that was not heard of for so long is gone

const $ = (id) => document.getElementById(id);
const folder = new URL(".", import.meta.url).href.replace(/\/$/, "");
const kept = {
  set(name, value) {
    try { localStorage.setItem(`backstay:docintegration:${name}`, value); } catch { /* no storage: for this page only */ }
  },
};

let print = null; // the fingerprint of the document that is shown
let cards = [];
let sections = [];
let which = "all";
let selected = null;
const byId = new Map(); // no ids of the document: integrations may have names such as "Search"

// ------------------------------------------------------------------ looks

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.look ? root.dataset.look === "dark" : systemDark.matches);
function changeLook() {
  root.dataset.look = isDark() ? "light" : "dark";
  kept.set("look", root.dataset.look);
}
$("look").addEventListener("click", changeLook);
$("keys").addEventListener("click", () => $("help").showModal());

// ------------------------------------------------------------------ what is declared

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const card = byId.get(target.dataset.id);
    if (!card) continue;
    card.isNear = isIntersecting;
    if (isIntersecting) card.draw();
  }
}, { rootMargin: "300px" });

function build(document_) {
  const open = new Set(cards.filter((each) => each.fold.open).map((each) => each.id));
  near.disconnect();
  byId.clear();
  cards = [];
  sections = document_.integrations.map((integration) => {
    const own = integration.endpoints.map((endpoint) => new Card(integration, endpoint));
    cards.push(...own);
    const links = own.map((card) => {
      byId.set(card.id, card);
      card.link = h("a", { href: `#${encodeURIComponent(card.id)}` }, methodBadge(card.endpoint.method), h("span", {}, card.endpoint.name), card.dot = h("span.dot", { hidden: true }));
      return card.item = h("li", {}, card.link);
    });
    const facts = [
      ["Address", integration.base_url, "code"], ["Class", integration.class, "code"], ["Client", integration.client, "code"], ["Auth", integration.auth, "code"],
    ].filter(([, value]) => value).map(([label, value, kind]) => h("div", {}, h("dt", {}, label), h("dd", {}, h(kind, {}, value))));
    if (integration.credentials.length) facts.push(h("div", {}, h("dt", {}, "Credentials"), h("dd", {}, integration.credentials.map((name) => h("code.tag", { title: "The value is not shown" }, name)))));
    const element = h("section.integration", { "data-id": integration.id, "aria-labelledby": `name-of-${integration.id}` },
      h("header", {}, h("h2", { id: `name-of-${integration.id}` }, integration.name), integration.doc ? h("p.text", {}, integration.doc) : null, h("dl.known", {}, facts)),
      own.length ? own.map((card) => card.element) : h("p.nothing", {}, "No endpoints are declared here."));
    const heading = h("a.group", { href: `#${encodeURIComponent(integration.id)}` }, h("b", {}, integration.name), h("span.num", {}, count(own.length)));
    const group = h("div.list", {}, heading, h("ul", {}, links));
    return { integration, element, group, heading, cards: own };
  });
  $("list").replaceChildren(...sections.map((each) => each.element));
  $("side").replaceChildren(...sections.map((each) => each.group));
  for (const card of cards) {
    near.observe(card.element);
    if (open.has(card.id)) card.fold.open = true;
  }
  selected = selected && byId.get(selected.id);
  filter();
}

// ------------------------------------------------------------------ what is shown of it

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { integration, element, group, cards: own } of sections) {
    let some = 0;
    for (const card of own) {
      const fits = card.matches(words) && (which === "all" || (which === "used" ? card.isUsed : Boolean(card.trouble)));
      if (card.element.hidden === fits) card.element.hidden = card.item.hidden = !fits;
      some += fits;
    }
    // One without endpoints is found by its name.
    const named = !own.length && which === "all" && words.every((word) => `${integration.name}\n${integration.doc}`.toLowerCase().includes(word));
    element.hidden = group.hidden = !some && !named;
    shown += some + named;
  }
  const blank = $("blank");
  blank.hidden = shown > 0 || print === null;
  if (blank.hidden) return;
  const text = !sections.length
    ? ["No integrations", "Give them to base_pattern(useintegration=[...]), or to add_docintegration(app, [...])."]
    : which === "trouble" && !words.length
      ? ["All is well", "No call failed in the last 15 minutes, and every circuit is closed."]
      : which === "used" && !words.length
        ? ["No calls yet", "This process has called nobody in the last 15 minutes."]
        : ["Nothing is like that", "No endpoint has all these words in its name, path, method, documentation or fields."];
  if (blank.dataset.text === text[0]) return;
  blank.dataset.text = text[0];
  blank.replaceChildren(h("b", {}, text[0]), h("p", {}, text[1]));
}
/** Somebody looks for something else: what is found begins at the top. */
function refilter() {
  filter();
  scrollTo({ top: 0, behavior: "instant" });
}
$("search").addEventListener("input", refilter);
$("which").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  which = button.dataset.value;
  for (const each of $("which").querySelectorAll("button")) mark(each, "aria-pressed", each === button);
  refilter();
});

// ------------------------------------------------------------------ which one is looked at

function select(card, { focus = true, write = true } = {}) {
  if (selected) selected.element.removeAttribute("data-selected");
  if (!card) { selected = null; return; }
  selected = card;
  card.element.setAttribute("data-selected", "");
  point(card);
  if (write) history.replaceState(null, "", `#${encodeURIComponent(card.id)}`);
  if (focus) card.title.focus({ preventScroll: true });
  card.element.scrollIntoView({ block: "start" });
}

/** The list at the side shows where in the page one is. */
let pointed = null;
function point(card) {
  if (pointed === card) return;
  pointed?.link.removeAttribute("aria-current");
  pointed = card;
  card.link.setAttribute("aria-current", "location");
  const side = $("side"), top = card.link.offsetTop, high = side.clientHeight;
  if (side.scrollHeight > high && (top < side.scrollTop + 40 || top > side.scrollTop + high - 60)) side.scrollTop = top - high / 2;
}

let settled = true;
addEventListener("scroll", () => {
  if (!settled) return;
  settled = false;
  requestAnimationFrame(() => {
    settled = true;
    const line = innerHeight * .3;
    const seen = cards.find((card) => card.isNear && !card.element.hidden && card.element.getBoundingClientRect().bottom > line);
    if (seen) point(seen);
  });
}, { passive: true });

function follow() {
  let name = "";
  try { name = decodeURIComponent(location.hash.slice(1)); } catch { return; }
  const card = byId.get(name);
  if (!card) {
    sections.find(({ integration }) => integration.id === name)?.element.scrollIntoView({ block: "start" });
    return;
  }
  if (card.element.hidden) { // whoever follows a link wants to see it
    $("search").value = "";
    $("which").querySelector("button").click();
    filter();
  }
  select(card, { write: false });
}
addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (link && link.hash === location.hash && link.id !== "skip") { event.preventDefault(); follow(); }
});
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("endpoints").focus(); });

function step(by) {
  const shown = cards.filter((card) => !card.element.hidden);
  if (!shown.length) return;
  const at = shown.indexOf(selected);
  const next = at < 0 ? (by > 0 ? Math.max(0, shown.indexOf(pointed)) : shown.length - 1) : Math.max(0, Math.min(shown.length - 1, at + by));
  select(shown[next]);
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const writing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape" && event.target === $("search")) {
    if ($("search").value) { $("search").value = ""; refilter(); } else $("search").blur();
    event.preventDefault();
    return;
  }
  if (event.key === "Enter" && event.target === $("search")) { selected = null; step(1); return; }
  if (writing) return;
  const act = {
    "/": () => { $("search").focus(); $("search").select(); },
    j: () => step(1), k: () => step(-1), t: changeLook, "?": () => $("help").showModal(),
    o: () => { if (selected) selected.fold.open = !selected.fold.open; },
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// ------------------------------------------------------------------ how it goes

const processes = new Map(); // by id: { live, slots: Map of Maps, heard, at, now, name }
let chosen = null;
let heard = null; // when the server answered last
let trouble = null; // what it said instead

class Refused extends Error {}

async function ask(address) {
  const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401 || answer.status === 403) throw new Refused("Not allowed: log in and load this page again");
  if (answer.status === 404) throw new Refused("The page is closed (404)");
  if (!answer.ok) throw new Error(`The app answers ${answer.status}`);
  return answer.json();
}

function remember(told) {
  const now = performance.now();
  let process = processes.get(told.process.id);
  if (!process) processes.set(told.process.id, process = { slots: new Map(), name: `${told.process.host} · ${told.process.pid}` });
  process.heard = process.at = now;
  process.live = told.endpoints;
  process.print = told.document;
  for (const [id, { statistics }] of Object.entries(told.endpoints)) {
    if (!statistics) continue;
    process.now = statistics.now;
    let slots = process.slots.get(id);
    if (!slots) process.slots.set(id, slots = new Map());
    for (const row of statistics.series) slots.set(row.slot, row);
    for (const number of slots.keys()) if (number <= statistics.now - statistics.slots) slots.delete(number);
  }
  for (const [id, each] of processes) if (now - each.heard > FORGET_MS) processes.delete(id);
  if (!processes.has(chosen)) chosen = told.process.id;
  const select_ = $("process");
  select_.hidden = processes.size < 2;
  const ids = [...processes.keys()].join();
  if (!select_.hidden && select_.dataset.ids !== ids) {
    select_.dataset.ids = ids;
    select_.replaceChildren(...[...processes].map(([id, each]) => h("option", { value: id }, each.name)));
    select_.value = chosen;
  }
  return told.process.id === chosen;
}
$("process").addEventListener("change", ({ target }) => { chosen = target.value; show(); });

function show() {
  const process = processes.get(chosen);
  if (!process) return;
  for (const card of cards) {
    card.tell(process.live[card.id] ?? null, process.slots.get(card.id) ?? new Map(), process.at);
    card.dot.hidden = !card.trouble;
    mark(card.dot, "data-status", card.trouble === "open" ? "failed" : card.trouble ? "warned" : null);
    mark(card.dot, "title", card.trouble === "failed" ? "Some calls failed" : card.trouble ? `Its circuit is ${card.trouble}` : null);
  }
  sumUp();
  filter();
}

const sums = {};
function sumUp() {
  let calls = 0, failed = 0, open = 0, half = 0, breakers = 0, troubled = 0;
  for (const card of cards) {
    const window_ = card.live?.statistics?.window;
    calls += window_?.calls ?? 0;
    failed += window_?.failed ?? 0;
    breakers += card.chain.links.some((each) => each.isBreaker);
    open += card.chain.state === "open";
    half += card.chain.state === "half-open";
    troubled += Boolean(card.trouble);
  }
  const told = [
    ["Integrations", count(sections.length), plural(cards.length, "endpoint")],
    ["Calls", count(calls), "in 15 minutes"],
    ["Errors", share(calls ? failed / calls : null), calls ? `${count(failed)} failed` : "nothing was called"],
    ["Circuits", !breakers ? "none" : open ? `${open} open` : half ? `${half} half-open` : "all closed", breakers ? `of ${plural(breakers, "endpoint")}` : "no breakers", open ? "bad" : half ? "warn" : breakers ? "good" : null],
  ];
  const element = $("sums");
  element.hidden = !sections.length;
  for (const [label, value, more, level] of told) {
    if (!sums[label]) {
      const row = sums[label] = { value: h("b"), more: h("span") };
      row.element = h("div", {}, h("dt", {}, label), h("dd", {}, row.value, row.more));
      element.append(row.element);
    }
    say(sums[label].value, value);
    say(sums[label].more, more);
    mark(sums[label].element, "data-level", level ?? null);
  }
  $("troubled").hidden = !troubled;
  say($("troubled"), String(troubled));
}

function standing() {
  const away = trouble !== null;
  mark($("dot"), "data-status", away ? "failed" : heard === null ? "starting" : "ready");
  mark(root, "data-away", away ? "" : null);
  if (!away) return say($("status"), heard === null ? "Connecting" : "Live");
  const ago = heard === null ? "" : `; figures of ${Math.round((performance.now() - heard) / 1000)} s ago`;
  say($("status"), `${trouble}${ago}`);
}

let pause = PERIOD_MS;
let asking = false;
async function poll() {
  if (asking) return;
  asking = true;
  try {
    if (print === null) await read();
    const process = processes.get(chosen);
    const known = process?.now === undefined ? "" : `?process=${encodeURIComponent(chosen)}&since=${process.now}`;
    const told = await ask(`${folder}/live.json${known}`);
    const isChosen = remember(told);
    heard = performance.now();
    trouble = null;
    pause = PERIOD_MS;
    if (isChosen && told.document !== print) await read(); // the app was started anew, with other code
    if (isChosen) show();
  } catch (error) {
    trouble = error instanceof Refused || /answers \d/.test(error.message) ? error.message : "The app is away";
    pause = Math.min(SLOWEST_MS, pause * 1.5);
  }
  asking = false;
  standing();
  later();
}

async function read() {
  const told = await ask(`${folder}.json`);
  const isFirst = print === null;
  if (told.document !== print) {
    print = told.document;
    build(told);
  }
  if (isFirst) follow();
}

let timer = null;
function later() {
  clearTimeout(timer);
  timer = document.hidden ? null : setTimeout(poll, pause);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && timer === null) poll(); }); // poll() does nothing while one is under way
addEventListener("online", () => { if (trouble !== null) { clearTimeout(timer); poll(); } });
setInterval(() => {
  if (document.hidden) return;
  for (const card of cards) if (card.isNear) card.chain.tick();
  if (trouble !== null) standing();
}, 500);

poll();
