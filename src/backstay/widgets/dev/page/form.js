// A form for a JSON schema: the common shapes as controls, everything else as JSON.
import { h } from "./dom.js";

let lastId = 0;

/** A field's schema with its $ref followed and "or null" taken off. */
function plain(schema, root, depth = 0) {
  if (depth > 8 || schema === true || !schema) return {};
  const { $ref, ...rest } = schema;
  if ($ref) {
    const found = $ref.replace(/^#\//, "").split("/").reduce((at, key) => at?.[key], root);
    return plain({ ...found, ...rest }, root, depth + 1);
  }
  const some = schema.anyOf ?? schema.oneOf ?? (schema.allOf?.length === 1 ? schema.allOf : null);
  if (some) {
    const others = some.filter((each) => each.type !== "null");
    const { anyOf, oneOf, allOf, ...more } = schema;
    if (others.length === 1) return { ...plain(others[0], root, depth + 1), ...more, nullable: others.length < some.length };
    return { ...more, json: true };
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((each) => each !== "null");
    return types.length === 1 ? { ...schema, type: types[0], nullable: true } : { ...schema, json: true };
  }
  return schema;
}

/**
 * A form. `read()` gives `{ value, problems }`, problems being `[name, message]`; `write(value)` fills
 * it in; `fault(name, message)` shows what the server thinks of a field.
 */
export function form(schema, { onsubmit }) {
  const root = schema ?? {};
  const fields = object(root, root, "");
  const element = h("form.fields", { novalidate: true, onsubmit: (event) => { event.preventDefault(); onsubmit(); } }, fields.element);
  if (!Object.keys(root.properties ?? {}).length) element.append(h("p.hint", {}, "It takes no inputs."));
  return {
    element,
    read() {
      const problems = [];
      const value = fields.read(problems) ?? {};
      return { value, problems };
    },
    write: (value) => fields.write(value ?? {}),
    fault: (name, message) => fields.fault(name, message),
    clear: () => fields.clear(),
  };
}

function object(schema, root, path) {
  const required = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties ?? {}).map(([name, each]) => [name, field(name, plain(each, root), root, required.has(name), path ? `${path}.${name}` : name)]);
  return {
    element: h("div.stack", {}, parts.map(([, part]) => part.element)),
    read(problems) {
      const value = {};
      for (const [name, part] of parts) {
        const given = part.read(problems);
        if (given !== undefined) value[name] = given;
      }
      return value;
    },
    write(value) { for (const [name, part] of parts) part.write(value?.[name]); },
    clear() { for (const [, part] of parts) part.clear(); },
    fault(name, message) {
      const [first, ...rest] = name.split(".");
      const found = parts.find(([each]) => each === first);
      return found ? found[1].fault(rest.join("."), message) : false;
    },
  };
}

function field(name, schema, root, required, path) {
  const id = `field-${++lastId}`;
  const title = schema.title && schema.title.toLowerCase().replaceAll(" ", "_") !== name.toLowerCase() ? schema.title : null;
  const says = h("p.fault", { id: `${id}-fault`, role: "alert", hidden: true });
  const about = [schema.description, limits(schema)].filter(Boolean).join(" ");
  const hint = about ? h("p.hint", { id: `${id}-hint` }, about) : null;
  const described = [hint && `${id}-hint`, `${id}-fault`].filter(Boolean).join(" ");
  const label = h("label", { for: id }, h("code", {}, name), title ? h("span.soft", {}, title) : null, required ? null : h("span.tag", {}, "optional"));

  if (!schema.json && schema.type === "object" && schema.properties) {
    const inner = object(schema, root, path);
    const set = h("fieldset", {}, h("legend", {}, h("code", {}, name), required ? null : h("span.tag", {}, "optional")), hint, inner.element);
    return {
      ...inner,
      element: set,
      read(problems) {
        const mine = [];
        const value = inner.read(mine);
        if (!required && !Object.keys(value).length) return undefined;
        problems.push(...mine);
        return value;
      },
    };
  }
  const control = controlFor(schema, id, described, required);
  const tell = (message) => {
    says.textContent = message;
    says.hidden = !message;
    control.focusable.setAttribute("aria-invalid", message ? "true" : "false");
    return true;
  };
  control.element.addEventListener("input", () => tell(""));
  return {
    element: h(control.inline ? "div.field.inline" : "div.field", {}, control.inline ? [control.element, label] : [label, control.element], hint, says),
    read(problems) {
      try {
        const value = control.read();
        if (value === undefined && required) throw new Error("Required");
        tell("");
        return value;
      } catch (error) {
        tell(error.message);
        problems.push([path, error.message]);
        return undefined;
      }
    },
    write: (value) => { control.write(value === undefined ? schema.default : value); tell(""); },
    clear: () => tell(""),
    fault: (_, message) => tell(message),
  };
}

function limits({ minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern }) {
  const said = [];
  const least = minimum ?? exclusiveMinimum, most = maximum ?? exclusiveMaximum;
  if (least !== undefined && most !== undefined) said.push(`${least} to ${most}`);
  else if (least !== undefined) said.push(`${exclusiveMinimum === undefined ? "at least" : "more than"} ${least}`);
  else if (most !== undefined) said.push(`${exclusiveMaximum === undefined ? "at most" : "less than"} ${most}`);
  if (minLength > 1) said.push(`at least ${minLength} characters`);
  if (maxLength !== undefined) said.push(`at most ${maxLength} characters`);
  if (pattern) said.push(`like ${pattern}`);
  return said.length ? `(${said.join("; ")})` : "";
}

function controlFor(schema, id, described, required) {
  const base = { id, "aria-describedby": described };
  const choices = schema.enum ?? (schema.const !== undefined ? [schema.const] : null);
  if (schema.json) return json(base, schema);
  if (choices) return select(base, choices, required);
  if (schema.type === "boolean") return toggle(base, schema, required);
  if (schema.type === "integer" || schema.type === "number") return number(base, schema);
  if (schema.type === "string") {
    if (schema.contentEncoding === "base64" || schema.format === "binary" || schema.format === "byte") return file(base);
    return text(base, schema, required);
  }
  if (schema.type === "array" && plainItems(schema)) return lines(base, schema);
  return json(base, schema);
}

const plainItems = ({ items }) => items && items.type === "string" && !items.enum;

const simple = (element, read, write) => ({ element, focusable: element, read, write });

function select(base, choices, required) {
  const options = choices.map((each, index) => h("option", { value: String(index) }, typeof each === "string" ? each : JSON.stringify(each)));
  if (!required) options.unshift(h("option", { value: "" }, "not given"));
  const element = h("select", base, options);
  return simple(element, () => (element.value === "" ? undefined : choices[Number(element.value)]), (value) => {
    const index = choices.indexOf(value);
    element.value = index >= 0 ? String(index) : required ? "0" : "";
  });
}

function toggle(base, schema, required) {
  const element = h("input", { ...base, type: "checkbox", role: "switch" });
  let touched = false;
  element.addEventListener("input", () => { touched = true; });
  return {
    element, focusable: element, inline: true,
    read: () => (touched || required || schema.default !== undefined ? element.checked : undefined),
    write: (value) => { touched = value !== undefined && value !== schema.default; element.checked = value === true; },
  };
}

function number(base, schema) {
  const element = h("input", {
    ...base, type: "number", step: schema.type === "integer" ? schema.multipleOf ?? 1 : "any",
    min: schema.minimum ?? null, max: schema.maximum ?? null, placeholder: schema.default ?? null,
  });
  return simple(element, () => {
    if (element.value === "" && !element.validity.badInput) return undefined;
    const value = Number(element.value);
    if (element.validity.badInput || Number.isNaN(value)) throw new Error("Not a number");
    if (schema.type === "integer" && !Number.isInteger(value)) throw new Error("Not a whole number");
    return value;
  }, (value) => { element.value = value ?? ""; });
}

const KINDS = { date: "date", time: "time", email: "email", uri: "url", "date-time": "text", password: "password" };

function text(base, schema, required) {
  const long = (schema.maxLength ?? 0) > 200 || schema.format === "textarea";
  const element = long
    ? h("textarea", { ...base, rows: "3", spellcheck: "false" })
    : h("input", { ...base, type: KINDS[schema.format] ?? "text", autocomplete: "off", spellcheck: "false", placeholder: schema.examples?.[0] ?? null });
  return simple(element, () => (element.value === "" ? (required && !schema.minLength ? "" : undefined) : element.value), (value) => { element.value = value ?? ""; });
}

function lines(base, schema) {
  const element = h("textarea", { ...base, rows: "3", spellcheck: "false", placeholder: "one a line" });
  return simple(element, () => {
    const found = element.value.split("\n").map((line) => line.trim()).filter(Boolean);
    return found.length ? found : undefined;
  }, (value) => { element.value = Array.isArray(value) ? value.join("\n") : ""; });
}

function json(base, schema) {
  const element = h("textarea.code", { ...base, rows: "4", spellcheck: "false", placeholder: schema.type === "array" ? "[ ]" : "JSON" });
  return simple(element, () => {
    if (!element.value.trim()) return undefined;
    try { return JSON.parse(element.value); } catch (error) { throw new Error(`Not JSON: ${error.message}`); }
  }, (value) => { element.value = value === undefined || value === null ? "" : JSON.stringify(value, null, 2); });
}

function file(base) {
  const element = h("input", { ...base, type: "file" });
  const said = h("span.hint", {}, "");
  let content;
  element.addEventListener("change", async () => {
    const [chosen] = element.files;
    if (!chosen) { content = undefined; said.textContent = ""; return; }
    const bytes = new Uint8Array(await chosen.arrayBuffer());
    let binary = "";
    for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    content = btoa(binary);
    said.textContent = `${chosen.name}, ${chosen.size.toLocaleString()} bytes, sent as base64`;
  });
  return {
    element: h("div.stack.tight", {}, element, said), focusable: element,
    read: () => content,
    write: (value) => { content = value; element.value = ""; said.textContent = value ? `${Math.floor(value.length * 0.75).toLocaleString()} bytes from before` : ""; },
  };
}
