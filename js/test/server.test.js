// On a server, and wherever there is no host: hooks give their first values and touch no window.
import assert from "node:assert/strict";
import test from "node:test";
import { createElement, version } from "react";
import { renderToString } from "react-dom/server";
import * as hooks from "../index.js";

const render = (use) => {
  let seen;
  renderToString(createElement(() => { seen = use(); return null; }));
  return seen;
};

test("the oldest React that is promised is the one tried here", () => {
  assert.match(version, /^18\./);
});

test("props are the defaults, or null", () => {
  assert.equal(render(() => hooks.useWidgetProps()), null);
  assert.deepEqual(render(() => hooks.useWidgetProps({ items: [] })), { items: [] });
  assert.deepEqual(render(() => hooks.useWidgetProps(() => [1])), [1]);
});

test("state is the initial one, in both forms", () => {
  assert.equal(render(() => hooks.useWidgetState("count", 3))[0], 3);
  assert.deepEqual(render(() => hooks.useWidgetState({ open: true }))[0], { open: true });
  assert.equal(render(() => hooks.useWidgetState("lazy", () => 4))[0], 4);
});

test("looks are those of nobody in particular", () => {
  assert.equal(render(hooks.useTheme), "light");
  assert.equal(render(hooks.useLocale), "en");
  assert.equal(render(hooks.useMaxHeight), null);
  assert.equal(render(hooks.useDisplayMode)[0], "inline");
  assert.equal(render(() => hooks.useOpenAiGlobal("toolOutput")), null);
  assert.equal(render(hooks.useProgress), null);
  assert.equal(render(hooks.useWidgetError), null);
});

test("a call that nobody can make is refused, and says why", async () => {
  const { call, pending } = render(() => hooks.useCallTool("find"));
  assert.equal(pending, false);
  await assert.rejects(call({}), /No host/);
});

test("state that no host keeps is kept all the same, and reset", async () => {
  const [, setCount] = render(() => hooks.useWidgetState("count", 1));
  setCount((before) => before + 1);
  setCount((before) => before + 1);
  const [, setAll] = render(() => hooks.useWidgetState({}));
  let seen;
  setAll((all) => { seen = all; return all; });
  assert.deepEqual(seen, { count: 3 });
  await hooks.resetWidgetState();
  setAll((all) => { seen = all; return all; });
  assert.deepEqual(seen, {});
});
