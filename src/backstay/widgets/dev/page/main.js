// The inspector: chooses a tool, calls it as a client does, and shows its widget as a host does.
import { copier, h, tree } from "./dom.js";
import { form } from "./form.js";
import { AppsHost, OpenAiHost } from "./hosts.js";
import { Log } from "./log.js";
import { Client } from "./mcp.js";

const $ = (id) => document.getElementById(id);
const kept = {
  get(name, otherwise) {
    try { return JSON.parse(localStorage.getItem(`backstay:${name}`)) ?? otherwise; } catch { return otherwise; }
  },
  set(name, value) {
    try { localStorage.setItem(`backstay:${name}`, JSON.stringify(value)); } catch { /* no storage: for this page only */ }
  },
};

const session = await (await fetch("/session.json")).json();
const narrow = matchMedia("(max-width: 720px)");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const looks = {
  theme: kept.get("theme", systemDark.matches ? "dark" : "light"), locale: kept.get("locale", navigator.language || "en-US"),
  displayMode: "inline", maxHeight: 720,
};
const log = new Log($("log"), {
  empty: $("log-empty"),
  count: (all, errors) => { $("log-count").textContent = String(all); $("log-count").classList.toggle("bad", errors > 0); },
});
const watch = (entry) => log.add(entry);
const told = (method, message, level = "") => log.add({ lane: "app", method, message, level, at: new Date() });

let client = null;
let tools = [];
let tool = null;
let fields = null;
let writing = "form";
let editor = null;
let view = null;
let shown = null; // what the view shows: { tool, uri, html, given, result }
let underWay = null;

// ------------------------------------------------------------------ choices

/** Buttons of which one is pressed. */
function segments(id, value, changed) {
  const choose = (chosen) => {
    for (const each of $(id).querySelectorAll("button[data-value]")) each.setAttribute("aria-pressed", String(each.dataset.value === chosen));
  };
  $(id).addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-value]");
    if (!button || button.getAttribute("aria-pressed") === "true") return;
    choose(button.dataset.value);
    changed(button.dataset.value);
  });
  choose(value);
  return choose;
}

let dialect = kept.get("dialect", "ui");
segments("dialect", dialect, (value) => { kept.set("dialect", dialect = value); remount(); });
segments("theme", looks.theme, (value) => { kept.set("theme", looks.theme = value); dress(); });
segments("width", kept.get("width", "full"), (value) => { kept.set("width", value); fit(value); });
segments("filters", "all", (value) => log.filter(value));
const chooseWriting = segments("writing", writing, (value) => write(value));
$("clear").addEventListener("click", () => log.clear());
$("locale").value = looks.locale;
$("locale").addEventListener("change", () => {
  kept.set("locale", looks.locale = $("locale").value.trim() || "en-US");
  if (client) client.locale = looks.locale;
  dress();
});
$("mode").addEventListener("change", () => changeMode($("mode").value));

function fit(width) {
  $("frame").style.setProperty("--width", width === "full" ? "100%" : `${width}px`);
}

function dress() {
  $("canvas").dataset.theme = looks.theme;
  view?.change({ ...looks });
}

function changeMode(mode) {
  looks.displayMode = mode;
  $("mode").value = mode;
  $("frame").dataset.mode = mode;
  view?.change({ ...looks });
  return mode;
}

const look = () => kept.get("look", systemDark.matches ? "dark" : "light");
const wear = () => { document.documentElement.dataset.theme = look(); };
$("look").addEventListener("click", () => { kept.set("look", look() === "dark" ? "light" : "dark"); wear(); });
systemDark.addEventListener("change", wear);
wear();
fit(kept.get("width", "full"));
$("canvas").dataset.theme = looks.theme;
$("frame").dataset.mode = "inline";

const tabs = [...$("tabs").children];
function open(name) {
  for (const tab of tabs) {
    const on = tab.dataset.value === name;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    $(`panel-${tab.dataset.value}`).hidden = !on;
  }
  $("filters").hidden = name !== "log";
}
$("tabs").addEventListener("click", ({ target }) => { const tab = target.closest("[role=tab]"); if (tab) open(tab.dataset.value); });
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  open(next.dataset.value);
});
open("log");

// ------------------------------------------------------------------ the server

$("token").value = sessionStorage.getItem("backstay:token") ?? "";
$("token").addEventListener("change", () => {
  sessionStorage.setItem("backstay:token", $("token").value.trim()); // of this tab, and no longer
  connect();
});

function status(name, text) {
  $("dot").dataset.status = name;
  $("status").textContent = text;
}

function trouble(title, detail = "") {
  $("trouble").hidden = !title;
  const [head, body] = $("trouble").children;
  head.textContent = title ?? "";
  body.textContent = detail;
  body.hidden = !detail;
}

let turn = 0;
async function connect() {
  const mine = ++turn;
  status("starting", "Connecting");
  const next = new Client(session.mcp, { token: $("token").value.trim(), locale: looks.locale, watch });
  try {
    const { serverInfo, protocolVersion } = await next.connect();
    const found = await next.list("tools");
    if (mine !== turn) return;
    client = next;
    tools = found;
    trouble(null);
    status("ready", `${serverInfo.title ?? serverInfo.name} ${serverInfo.version ?? ""}`.trim());
    document.title = `${serverInfo.title ?? serverInfo.name} · backstay inspector`;
    $("about").replaceChildren(h("span", {}, session.app), h("span", {}, session.mcp), h("span", {}, `MCP ${protocolVersion}`), copier("Copy address", () => session.mcp));
    list();
    const wanted = decodeURIComponent(location.hash.slice(2));
    const again = tools.find((each) => each.name === (tool?.name ?? wanted)) ?? tools.find(faceOf) ?? tools[0];
    if (again) choose(again, tool?.name === again.name);
    await refresh();
  } catch (error) {
    if (mine !== turn) return;
    status("failed", "Not connected");
    if (error.status === 401 || error.status === 403) {
      trouble("This server asks for a token: paste one into “Bearer” above", error.message);
      $("token").focus();
    } else if (error.status === 404) trouble("There is no MCP server there", `${session.mcp} answers 404. --mcp-path names the path the app has mounted it at.`);
    else trouble("The MCP server does not answer as one", error.message);
  }
}

const news = new EventSource("/events");
news.addEventListener("app", ({ data }) => {
  const { status: now, said } = JSON.parse(data);
  if (now === "starting") { status("starting", "The app starts"); told("app", "starts"); }
  if (now === "ready") { told("app", "is ready"); connect(); }
  if (now === "failed") {
    turn += 1;
    underWay?.abort();
    status("failed", "The app does not run");
    trouble("The app does not run. Mend it and save; it starts anew by itself.", said);
    told("app", said, "bad");
  }
});
news.addEventListener("pages", ({ data }) => {
  const { files } = JSON.parse(data);
  told("page", files.join(", "));
  refresh();
});
news.addEventListener("face", ({ data }) => {
  const { about, status: now, message } = JSON.parse(data);
  told("build", `${about}: ${message ?? now}`, now === "failed" ? "bad" : "");
  if (now === "failed") trouble(`The face “${about}” was not built`, message);
  if (now === "built") trouble(null);
});
news.addEventListener("error", () => status("failed", "backstay widgets dev has ended"));

// ------------------------------------------------------------------ the list

const faceOf = (each) => {
  const uri = each._meta?.ui?.resourceUri ?? each._meta?.["openai/outputTemplate"];
  return uri ? { ui: each._meta?.ui?.resourceUri ?? uri, openai: each._meta?.["openai/outputTemplate"] ?? uri } : null;
};

const titleOf = (each) => each.title ?? each.annotations?.title ?? each.name.replaceAll("_", " ");

function list() {
  const wanted = $("search").value.trim().toLowerCase();
  const fits = (each) => !wanted || `${each.name} ${titleOf(each)} ${each.description ?? ""}`.toLowerCase().includes(wanted);
  const group = (title, some) => some.length
    ? [h("h2", {}, title, h("span.num", {}, String(some.length))), h("ul", {}, some.map((each) => h("li", {}, h("a", {
      href: `#/${encodeURIComponent(each.name)}`, "aria-current": each.name === tool?.name ? "true" : null, "data-tool": each.name,
    }, h("b", {}, titleOf(each)), h("code", {}, each.name)))))]
    : [];
  const some = tools.filter(fits);
  $("tools").replaceChildren(...group("Widgets", some.filter(faceOf)), ...group("Tools", some.filter((each) => !faceOf(each))));
  if (!some.length) $("tools").append(h("p.nothing", {}, wanted ? "None is called that." : "This server has no tools yet."));
}
$("search").addEventListener("input", list);
addEventListener("hashchange", () => {
  const found = tools.find((each) => each.name === decodeURIComponent(location.hash.slice(2)));
  if (found && found.name !== tool?.name) choose(found);
});

function choose(next, again = false) {
  const given = again ? current() : kept.get(`inputs:${session.app}:${next.name}`, {});
  tool = next;
  if (location.hash !== `#/${encodeURIComponent(tool.name)}`) history.replaceState(null, "", `#/${encodeURIComponent(tool.name)}`);
  list();
  $("name").textContent = titleOf(tool);
  const { readOnlyHint, destructiveHint, idempotentHint, openWorldHint } = tool.annotations ?? {};
  const facts = [
    [h("code", {}, tool.name)], readOnlyHint && ["reads only"], destructiveHint && !readOnlyHint && ["may destroy", "bad"], idempotentHint && ["idempotent"], openWorldHint && ["open world"],
    tool._meta?.securitySchemes?.some((each) => each.type === "oauth2") && ["wants a token"], tool.outputSchema && ["output schema"],
  ].filter(Boolean);
  $("facts").replaceChildren(...facts.map(([text, tone]) => h(tone ? `span.tag.${tone}` : "span.tag", {}, text)));
  $("description").textContent = tool.description === titleOf(tool) ? "" : tool.description ?? "";
  fields = form(tool.inputSchema, { onsubmit: call });
  editor = h("textarea.code", { rows: "12", spellcheck: "false", "aria-label": "Inputs as JSON" });
  fields.write(given);
  editor.value = JSON.stringify(given, null, 2);
  $("inputs").replaceChildren(writing === "form" ? fields.element : editor);
  $("call").disabled = false;
  if (again) return;
  $("panel-meta").replaceChildren(h("div.pad", {}, h("div.bar", {}, h("h3", {}, "tools/list"), copier("Copy", () => JSON.stringify(tool, null, 2))), tree(tool, 3)));
  leave();
}

/** The inputs as they stand, whatever is wrong with them. */
function current() {
  if (writing === "form") return fields?.read().value ?? {};
  try { return JSON.parse(editor.value); } catch { return {}; }
}

function write(how) {
  if (!fields) return;
  if (how === "form") {
    let value;
    try { value = JSON.parse(editor.value || "{}"); } catch (error) {
      chooseWriting("json");
      return say("These inputs are not JSON", error.message);
    }
    fields.write(value);
  } else editor.value = JSON.stringify(fields.read().value, null, 2);
  writing = how;
  $("inputs").replaceChildren(writing === "form" ? fields.element : editor);
}

// ------------------------------------------------------------------ calling

function inputs() {
  if (writing === "json") {
    try { return JSON.parse(editor.value || "{}"); } catch (error) {
      say("These inputs are not JSON", error.message);
      editor.focus();
      return null;
    }
  }
  const { value, problems } = fields.read();
  if (!problems.length) return value;
  fields.element.querySelector("[aria-invalid=true]")?.focus();
  return null;
}

$("call").addEventListener("click", () => (underWay ? underWay.abort() : call()));
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) { event.preventDefault(); call(); }
});

async function call() {
  if (underWay || !tool || !client) return;
  const given = inputs();
  if (given === null) return;
  const called = tool;
  kept.set(`inputs:${session.app}:${called.name}`, small(given) ? given : {});
  underWay = new AbortController();
  if (narrow.matches) $("canvas").scrollIntoView({ behavior: "smooth", block: "start" });
  $("call").textContent = "Cancel";
  $("call").classList.add("busy");
  const onProgress = ({ progress, total, message }) => {
    $("call").textContent = `Cancel · ${message ?? `${progress}${total ? ` of ${total}` : ""}`}`;
  };
  const calling = client.request("tools/call", { name: called.name, arguments: given }, { onProgress, signal: underWay.signal });
  calling.catch(() => {}); // awaited below, perhaps later
  try {
    const face = faceOf(called);
    if (face) await mount(called, given);
    const result = await calling;
    if (shown?.tool.name === called.name) shown.result = result;
    if (tool.name !== called.name) return tell(called, result); // another one is looked at by now
    if (face && result.isError && dialect === "openai") await refuse(called, result); // ChatGPT shows no widget then
    else if (face) view?.result(result);
    else plain(called, result);
    tell(called, result);
  } catch (error) {
    const stopped = error.name === "AbortError";
    view?.cancelled(stopped ? "cancelled by the user" : error.message);
    if (!stopped) failure(error);
  } finally {
    underWay = null;
    $("call").textContent = "Call";
    $("call").classList.remove("busy");
  }
}

const small = (given) => JSON.stringify(given).length < 20000;

function tell(called, result) {
  const texts = (result.content ?? []).filter((each) => each.type === "text").map((each) => each.text);
  const others = (result.content ?? []).filter((each) => each.type !== "text");
  $("panel-result").replaceChildren(h("div.pad", {},
    h("div.bar", {}, h("h3", {}, called.name, result.isError ? h("span.pill.bad", {}, "isError") : h("span.pill.good", {}, "ok")), copier("Copy", () => JSON.stringify(result, null, 2))),
    result.structuredContent === undefined ? null : h("section", {}, h("h4", {}, "structuredContent"), tree(result.structuredContent, 3)),
    texts.length ? h("section", {}, h("h4", {}, "What the model reads"), h("pre", {}, texts.join("\n"))) : null,
    others.length ? h("section", {}, h("h4", {}, "Other content"), tree(others, 2)) : null,
    result._meta ? h("section", {}, h("h4", {}, "_meta"), tree(result._meta, 2)) : null));
  if (!result.isError || tool?.name !== called.name) return;
  const { field, message, problems, errors } = result.structuredContent ?? {};
  let placed = false;
  if (writing === "form") {
    for (const each of problems ?? errors ?? []) placed = fields.fault(String(each.field ?? each.loc ?? ""), each.message ?? each.msg) || placed;
    if (field) placed = fields.fault(field, message) || placed;
  }
  if (!placed) open("result");
  say("The tool answered with an error", message ?? texts[0]);
}

function failure(error) {
  open("log");
  say("The call failed", error.message);
  if (error.status === 401 || error.status === 403) trouble("This tool asks for a token: paste one into “Bearer” above", error.message);
}

// ------------------------------------------------------------------ showing

function blank(...content) {
  $("frame").hidden = true;
  $("blank").hidden = false;
  $("blank").replaceChildren(...content);
}

function ghost() {
  if (!tool) return blank();
  blank(
    h("div.ghost", { "aria-hidden": "true" }, h("i"), h("i"), h("i")),
    h("p", {}, faceOf(tool) ? "Call it, and its widget appears here." : "A tool without a widget. What it answers appears here."));
}

function plain(called, result) {
  const texts = (result.content ?? []).map((each) => each.text ?? `[${each.type}]`).join("\n");
  const images = (result.content ?? []).filter((each) => each.type === "image").map((each) => h("img", { alt: "", src: `data:${each.mimeType};base64,${each.data}` }));
  blank(h("article.answer", {}, h("h3", {}, titleOf(called), result.isError ? h("span.pill.bad", {}, "isError") : null), images, result.structuredContent ? tree(result.structuredContent, 3) : h("pre", {}, texts)));
}

async function refuse(called, result) {
  await leave();
  plain(called, result);
}

async function leave() {
  mounts += 1;
  const old = view;
  view = shown = null;
  ghost();
  await old?.close();
}

let mounts = 0; // only the latest goes on: pages change while widgets are on their way
async function mount(called, given, result = null, page = null) {
  const mine = ++mounts;
  const uri = faceOf(called)[dialect];
  const found = page ?? await readPage(uri);
  if (mine !== mounts) return;
  const old = view;
  view = null;
  await old?.close();
  if (mine !== mounts) return;
  looks.displayMode = "inline";
  changeFrame();
  shown = { tool: called, uri, html: found.html, given, result };
  const Kind = dialect === "openai" ? OpenAiHost : AppsHost;
  view = new Kind($("frame"), {
    client, tool: called, page: found, looks: { ...looks }, sandbox: session.sandbox, watch,
    on: {
      tools: () => tools,
      size: ({ height }) => { if (height) $("frame").style.setProperty("--height", `${Math.min(Math.max(height, 40), 6000)}px`); },
      mode: (mode) => { queueMicrotask(() => changeMode(mode)); return mode; },
      context: (params) => context(params),
      say, leave,
    },
  });
  $("blank").hidden = true;
  $("frame").hidden = false;
  await view.show(given);
  if (mine === mounts && shown?.result) view.result(shown.result);
}

function changeFrame() {
  $("mode").value = looks.displayMode;
  $("frame").dataset.mode = looks.displayMode;
  $("frame").style.removeProperty("--height");
}

async function readPage(uri) {
  const { contents } = await client.request("resources/read", { uri });
  const [item] = contents;
  const html = item.text ?? new TextDecoder().decode(Uint8Array.from(atob(item.blob), (each) => each.charCodeAt(0)));
  return { html, meta: item._meta ?? {}, mimeType: item.mimeType };
}

/** The same widget again: in the other dialect, or with a page that has changed. */
async function remount(page = null) {
  if (!shown || !client) return;
  const { tool: called, given, result } = shown;
  try { await mount(called, given, result, page); } catch (error) { failure(error); }
}

/** Look whether the page on show is still the one the server has. */
let refreshes = 0;
async function refresh() {
  if (!shown || !client) return;
  const now = tools.find((each) => each.name === shown.tool.name);
  if (!now || !faceOf(now)) return leave();
  const mine = ++refreshes;
  try {
    const page = await readPage(faceOf(now)[dialect]);
    if (mine !== refreshes || !shown) return;
    shown.tool = now;
    if (page.html !== shown.html) await remount(page);
  } catch (error) { failure(error); }
}
$("again").addEventListener("click", () => remount());

function context(params) {
  $("panel-context").replaceChildren(h("div.pad", {}, h("div.bar", {}, h("h3", {}, "What the widget tells the model"), h("span.soft", {}, new Date().toLocaleTimeString())), tree(params, 3)));
}
$("panel-context").append(h("p.nothing", {}, "The widget has told the model nothing yet."));
$("panel-result").append(h("p.nothing", {}, "No call yet."));
$("panel-meta").append(h("p.nothing", {}, "No tool chosen."));

let saying = 0;
function say(title, text = "", link = null) {
  clearTimeout(saying);
  const safe = link && /^https?:/i.test(link);
  $("say").replaceChildren(h("b", {}, title), h("span", {}, text ?? ""), safe ? h("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, "Open") : "", h("button.quiet", { type: "button", "aria-label": "Close", onclick: () => { $("say").hidden = true; } }, "✕"));
  $("say").hidden = false;
  saying = setTimeout(() => { $("say").hidden = true; }, 7000);
}

ghost();
if (!/mac/i.test(navigator.platform)) document.querySelector(".go kbd").textContent = "Ctrl ↵";
document.documentElement.dataset.ready = "true";
