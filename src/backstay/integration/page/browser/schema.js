// JSON schema as a list of fields that people read; models open where they are used.
import { copier, h } from "./dom.js";

/** What a schema says something is: `string (date)`, `Item[]`, `integer | null`. */
function typeOf(schema, root) {
  if (schema === true || schema === undefined) return "anything";
  if (schema === false) return "nothing";
  if (schema["x-not-described"]) return "not described";
  if (schema.$ref) return nameOf(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.length <= 4 ? schema.enum.map((each) => JSON.stringify(each)).join(" | ") : `one of ${schema.enum.length}`;
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map((each) => typeOf(each, root)).join(" | ");
  if (schema.allOf?.length === 1) return typeOf(schema.allOf[0], root);
  if (schema.type === "array") {
    if (schema.prefixItems) return `[${schema.prefixItems.map((each) => typeOf(each, root)).join(", ")}]`;
    const item = typeOf(schema.items, root);
    return item.includes(" ") ? `(${item})[]` : `${item}[]`;
  }
  if (schema.type === "object" && !schema.properties && typeof schema.additionalProperties === "object") {
    return `{ [key]: ${typeOf(schema.additionalProperties, root)} }`;
  }
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.type === "object") return schema.title ?? "object";
  if (!schema.type) return schema.title && schema.properties ? schema.title : "anything";
  return schema.format ? `${schema.type} (${schema.format})` : schema.type;
}

const nameOf = (ref) => decodeURIComponent(ref.split("/").pop()).split("__").pop();
const resolve = (ref, root) => ref.split("/").slice(1).reduce((at, key) => at?.[decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~")], root);

/** The schemas of models that a schema refers to, looked up. */
function modelsIn(schema, root) {
  if (!schema || typeof schema !== "object") return [];
  if (schema.$ref) {
    const found = resolve(schema.$ref, root);
    return found ? [[nameOf(schema.$ref), found]] : [];
  }
  const inner = [...(schema.anyOf ?? schema.oneOf ?? schema.allOf ?? []), ...(schema.prefixItems ?? []), schema.items, schema.properties ? null : schema.additionalProperties];
  return inner.flatMap((each) => modelsIn(each, root));
}

const RULES = {
  minimum: (v) => `≥ ${v}`, maximum: (v) => `≤ ${v}`, exclusiveMinimum: (v) => `> ${v}`, exclusiveMaximum: (v) => `< ${v}`,
  minLength: (v) => `${v} characters or more`, maxLength: (v) => `${v} characters at most`, minItems: (v) => `${v} items or more`,
  maxItems: (v) => `${v} items at most`, pattern: (v) => `matches ${v}`, multipleOf: (v) => `multiple of ${v}`,
};

function notes(schema) {
  if (!schema || typeof schema !== "object") return [];
  const found = Object.entries(RULES).filter(([name]) => name in schema).map(([name, write]) => write(schema[name]));
  if (schema.enum?.length > 4) found.push(schema.enum.map((each) => JSON.stringify(each)).join(", "));
  if ("default" in schema && schema.default !== null) found.push(`otherwise ${JSON.stringify(schema.default)}`);
  if (schema["x-not-described"]) found.push(schema["x-not-described"]);
  return found;
}

/** A model's fields. Nested models are made when somebody opens them: they may contain themselves. */
function fields(schema, root) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, each]) => {
    const below = modelsIn(each, root).filter(([, model]) => model.properties || model.enum);
    const more = notes(each);
    return h("li.field", {},
      h("code.name", {}, name), " ", h("code.type", {}, typeOf(each, root)), " ",
      required.has(name) ? null : h("span.maybe", {}, "may be missing"),
      more.map((note) => h("span.note", {}, note)),
      each?.description ? h("p.soft", {}, each.description) : null,
      below.map(([title, model]) => nested(title, model, root)));
  });
  return h("ul.fields", {}, rows);
}

function nested(title, model, root) {
  if (!model.properties) return h("span.note", { title }, model.enum.map((each) => JSON.stringify(each)).join(", "));
  const box = h("details.nested", {}, h("summary", {}, h("code", {}, title)));
  box.addEventListener("toggle", () => box.append(fields(model, root)), { once: true });
  return box;
}

/** Everything about what is read as a schema: fields, or as JSON. */
export function schemaView(schema) {
  const body = h("div");
  const problem = schema["x-not-described"];
  if (problem) return h("p.fault", {}, `This model cannot be described: ${problem}`);
  if (!Object.keys(schema).length) return h("p.soft", {}, "Anything: it is passed on as it is.");
  const readable = () => {
    if (schema.properties) return h("div", {}, schema.description ? h("p.soft.text", {}, schema.description) : null, fields(schema, schema));
    const below = modelsIn(schema, schema);
    return h("div", {}, h("p", {}, h("code.type", {}, typeOf(schema, schema)), notes(schema).map((note) => h("span.note", {}, note))),
      below.map(([title, model]) => {
        if (!model.properties) return nested(title, { enum: [], ...model }, schema);
        return h("div.model", {}, h("h5", {}, h("code", {}, title)), model.description ? h("p.soft.text", {}, model.description) : null, fields(model, schema));
      }));
  };
  const raw = () => h("pre", { tabindex: "0" }, JSON.stringify(schema, null, 2));
  const buttons = [["Fields", readable], ["JSON schema", raw]].map(([label, make], index) => h("button", { type: "button", "aria-pressed": String(index === 0), onclick: ({ currentTarget }) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === currentTarget));
    body.replaceChildren(make());
  } }, label));
  body.append(readable());
  return h("div.schema", {}, h("div.bar", {}, h("div.segments.small", { role: "group", "aria-label": "How the model is shown" }, buttons), copier("Copy", () => JSON.stringify(schema, null, 2))), body);
}

/** All names of fields and models in a schema, for the search. */
export function wordsOf(schema, found = new Set()) {
  if (!schema || typeof schema !== "object") return found;
  for (const [name, each] of Object.entries(schema.properties ?? {})) { found.add(name); wordsOf(each, found); }
  for (const [name, each] of Object.entries(schema.$defs ?? {})) { found.add(name); wordsOf(each, found); }
  for (const each of [schema.items, schema.additionalProperties, ...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? []), ...(schema.prefixItems ?? [])]) wordsOf(each, found);
  return found;
}
