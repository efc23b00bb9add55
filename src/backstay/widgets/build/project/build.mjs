// Builds React faces: each to one document that loads nothing. Started by backstay.widgets.build with
// what to do as JSON on standard input; writes a line of JSON for each face to standard output.
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";

const input = [];
for await (const chunk of process.stdin) input.push(chunk);
const { toolchain, hooks, faces } = JSON.parse(Buffer.concat(input).toString());
const require = createRequire(join(toolchain, "package.json"));
const { build } = await import(pathToFileURL(require.resolve("vite")));

const ENTRY = "\0backstay-entry";
const OURS = /^(react|react-dom)(\/|$)/;

/** Where the page begins, where React comes from, and where the hooks are. */
const backstay = (entry, seen) => ({
  name: "backstay",
  enforce: "pre",
  async resolveId(source, importer, options) {
    if (source === ENTRY) return ENTRY;
    if (source === "backstay-widgets") return join(hooks, "index.js");
    if (!OURS.test(source)) return null;
    // One React for the page: the component's project's own if it has one, else the locked one.
    // Whoever imports it, the hooks too, must get the same.
    const rest = { ...options, skipSelf: true };
    return (await this.resolve(source, entry, rest)) ?? this.resolve(source, join(toolchain, "index.js"), rest);
  },
  load(id) {
    const path = id.split("?")[0];
    if (isAbsolute(path) && !path.split(sep).includes("node_modules")) seen.add(path);
    if (id !== ENTRY) return null;
    return [
      'import { createElement } from "react";',
      'import { createRoot } from "react-dom/client";',
      `import Face from ${JSON.stringify(entry)};`,
      'createRoot(document.getElementById("root")).render(createElement(Face));',
    ].join("\n");
  },
});

const page = (css, js) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
${css && `<style>${css.trim().replace(/<\/(style)/gi, "<\\/$1")}</style>\n`}</head>
<body>
<div id="root"></div>
<script>${js.trim().replace(/<\/(script)/gi, "<\\/$1").replace(/<!--/g, "\\x3c!--")}</script>
</body>
</html>
`;

async function one({ id, entry: named }) {
  const entry = realpathSync(named);
  const seen = new Set([entry]);
  const warnings = [];
  const root = dirname(entry);
  try {
    const made = await build({
      configFile: false,
      root,
      base: "./",
      envFile: false,
      publicDir: false,
      logLevel: "silent",
      mode: "production",
      plugins: [backstay(entry, seen)],
      oxc: { jsx: { runtime: "automatic", development: false } },
      build: {
        write: false,
        target: "es2020",
        cssCodeSplit: false,
        assetsInlineLimit: () => true,
        modulePreload: false,
        reportCompressedSize: false,
        rolldownOptions: {
          input: ENTRY,
          output: { format: "iife", codeSplitting: false },
          onwarn: (warning) => warnings.push(warning.message),
        },
      },
    });
    const files = made.output;
    const sheet = files.find((each) => each.fileName.endsWith(".css"));
    const script = files.find((each) => each.type === "chunk");
    const beside = files.filter((each) => each !== sheet && each !== script);
    if (beside.length) {
      throw new Error(`${beside.map((each) => each.fileName).join(", ")} would be a file beside the page, `
        + "and a page has to be one document; import it so that it can be inlined, or leave it out");
    }
    return { id, page: page(String(sheet?.source ?? ""), script.code), problems: [], warnings, inputs: [...seen].sort() };
  } catch (error) {
    return { id, page: null, problems: problemsOf(error, entry), warnings, inputs: [...seen].sort() };
  }
}

const plain = (text) => String(text ?? "").replace(/\x1b\[[0-9;]*m/g, "").replaceAll("\0", "");

/** Each error as its first line, where it is, and a picture of the code there. */
function problemsOf(error, entry) {
  return (error.errors?.length ? error.errors : [error]).map((each) => {
    const [first, ...rest] = plain(each.message).replace(/^(\[[^\]]*\] )+/, "").trim().split("\n");
    const place = /─\[ (.+):(\d+):(\d+) \]/.exec(rest.join("\n")) ?? [];
    if (each.plugin?.includes("css") && !each.id) { // it saw all sheets as one
      return { message: `in its CSS: ${first}`, file: entry, line: null, column: null, frame: plain(each.frame) };
    }
    let file = each.loc?.file ?? each.id ?? place[1] ?? null;
    if (file?.includes("backstay-entry")) {
      return {
        message: each.code === "MISSING_EXPORT" ? "it has no default export: export default the component" : first,
        file: entry, line: null, column: null, frame: "",
      };
    }
    file = file && resolve(file.split("?")[0]);
    const end = rest.findIndex((line) => /^───╯$|^ *│ Help:/.test(line));
    const code = rest.slice(1, end < 0 ? undefined : end).join("\n");
    return {
      message: first, file,
      line: each.loc?.line ?? (Number(place[2]) || null),
      column: each.loc ? each.loc.column + 1 : Number(place[3]) || null,
      frame: plain(each.frame) || code.trimEnd(),
    };
  });
}

for (const face of faces) {
  process.stdout.write(`${JSON.stringify(await one(face))}\n`);
}
