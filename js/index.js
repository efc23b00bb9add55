// React hooks on window.backstay, the bridge that every page of a backstay server begins with. They
// hold nothing themselves: what the host says is the bridge's, and useSyncExternalStore reads it, so
// all components of a page see the same thing in the same render. React 18 or later.
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

/** The bridge; outside of a host's page (a test, a story book, a server) one that knows nothing. */
const bridge = () => (typeof window !== "undefined" && window.backstay) || alone();

let standIn = null;

function alone() {
  if (standIn) return standIn;
  const listeners = new Map();
  const nobody = () => Promise.reject(new Error("No host: window.backstay is not there"));
  standIn = {
    props: null, input: null, partialInput: null, meta: null, error: null, state: null, progress: null,
    theme: null, locale: "en", displayMode: "inline", displayModes: [], maxHeight: null,
    safeArea: { top: 0, right: 0, bottom: 0, left: 0 },
    userAgent: { device: { type: "unknown" }, capabilities: { hover: false, touch: false } },
    on(event, fn) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event).add(fn);
      return () => listeners.get(event).delete(fn);
    },
    async setState(change) {
      const before = standIn.state || {};
      standIn.state = typeof change === "function" ? change(before) : { ...before, ...change };
      for (const fn of listeners.get("state") || []) fn(standIn.state);
    },
    callTool: nobody, requestDisplayMode: nobody,
  };
  return standIn;
}

// One subscriber for each set of events, made once: a new function would subscribe anew each render.
const subscribers = new Map();

function subscriber(...events) {
  const key = events.join();
  if (!subscribers.has(key)) {
    subscribers.set(key, (changed) => {
      const offs = events.map((event) => bridge().on(event, changed));
      return () => offs.forEach((off) => off());
    });
  }
  return subscribers.get(key);
}

const nothing = () => null;

/** A field of the bridge, read again at each of these events. */
function useBridge(field, ...events) {
  return useSyncExternalStore(subscriber(...events), () => bridge()[field], () => alone()[field]);
}

/**
 * What the widget's `execute` has returned: the latest result's structured content.
 *
 * Until there is one: `defaults`, or what it returns if it is a function; `null` without.
 */
export function useWidgetProps(defaults = null) {
  const [first] = useState(defaults);
  return useBridge("props", "props") ?? first;
}

/** Why there are no props: the latest result was an error, or no host answered. Else `null`. */
export function useWidgetError() {
  return useBridge("error", "error", "props");
}

const isEmpty = (state) => state == null || Object.keys(state).length === 0;

/**
 * State of this view that the host keeps, where it can: `useWidgetState(initial)` is all of it, an
 * object; `useWidgetState(key, initial)` is one entry of it. As `useState`: `[value, setValue]`.
 *
 * The model may read it. What a user must not lose belongs to the server (`ctx.state`).
 */
export function useWidgetState(...given) {
  const key = typeof given[0] === "string" ? given[0] : null;
  const [initial] = useState(key === null ? given[0] : given[1]);
  const read = useCallback((state) => {
    if (key === null) return isEmpty(state) ? initial : state;
    return state == null || state[key] === undefined ? initial : state[key];
  }, [key, initial]);
  const state = useSyncExternalStore(subscriber("state"), () => bridge().state, nothing);
  const setValue = useCallback((change) => {
    bridge().setState((before) => {
      const value = typeof change === "function" ? change(read(before)) : change;
      if (key === null) return value ?? {};
      return { ...before, [key]: value };
    }).catch((error) => console.warn(`The host did not keep the state: ${error.message}`));
  }, [key, read]);
  return [read(state), setValue];
}

/** Forget all of the view's state: every `useWidgetState` is at its initial value again. */
export function resetWidgetState() {
  return bridge().setState(() => ({}));
}

// window.openai's name: where the bridge has it, in both dialects, and the events that change it.
const GLOBALS = {
  toolOutput: ["props", "props"],
  toolInput: ["input", "input"],
  toolResponseMetadata: ["meta", "meta"],
  widgetState: ["state", "state"],
  theme: ["theme", "host"],
  locale: ["locale", "host"],
  displayMode: ["displayMode", "host"],
  maxHeight: ["maxHeight", "host"],
  userAgent: ["userAgent", "host"],
  safeArea: ["safeArea", "host"],
};

const wrapped = new WeakMap();

function insets(area) {
  if (!wrapped.has(area)) wrapped.set(area, { insets: area });
  return wrapped.get(area);
}

function onGlobals(changed) {
  window.addEventListener("openai:set_globals", changed);
  const off = bridge().on("host", changed);
  return () => {
    window.removeEventListener("openai:set_globals", changed);
    off();
  };
}

/**
 * A value by its name in ChatGPT's `window.openai`, in hosts of MCP Apps as well. `null`: this host
 * has none. Names the bridge does not know are read from `window.openai`.
 */
export function useOpenAiGlobal(name) {
  const [field, event] = GLOBALS[name] || [];
  const read = () => {
    if (name === "safeArea") return insets(bridge().safeArea);
    if (field) return bridge()[field];
    return window.openai?.[name] ?? null;
  };
  return useSyncExternalStore(field ? subscriber(event) : onGlobals, read, nothing);
}

/**
 * How the widget is shown: `[mode, request]`, the mode "inline", "fullscreen" or "pip".
 *
 * `request(mode)` asks the host for another and resolves with the one it has given, which may be the
 * old one; rejects if the host knows none.
 */
export function useDisplayMode() {
  const request = useCallback((mode) => bridge().requestDisplayMode(mode), []);
  return [useBridge("displayMode", "host"), request];
}

/** The height the host offers, in CSS pixels; `null` if it has not said. */
export function useMaxHeight() {
  return useBridge("maxHeight", "host");
}

function onTheme(changed) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const off = bridge().on("host", changed);
  dark.addEventListener("change", changed);
  return () => {
    off();
    dark.removeEventListener("change", changed);
  };
}

const readTheme = () =>
  bridge().theme || (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

/** "light" or "dark": the host's, and until it says so the system's. */
export function useTheme() {
  return useSyncExternalStore(onTheme, readTheme, () => "light");
}

/** The user's language as a tag of BCP 47, such as "pt-BR". */
export function useLocale() {
  return useBridge("locale", "host");
}

const IDLE = { data: null, result: null, error: null, pending: false };

/**
 * Calls a tool of the server: `{ call, data, result, error, pending, reset }` of the latest call.
 *
 * With a name, `call(arguments, options)`; without, `call(name, arguments, options)`. It resolves with
 * the whole result and rejects where the tool or the host does; a rejection that nobody waits for is
 * `error` and no more. Options, of the hook or of one call: `onProgress` (a function, or `true` for
 * `useProgress` alone), `timeoutMs`. `data` stays that of the last success until the next.
 */
export function useCallTool(name, options) {
  const [told, setTold] = useState(IDLE);
  const latest = useRef(0);
  const usual = useRef(options);
  useEffect(() => { usual.current = options; });
  useEffect(() => () => { latest.current = -1; }, []);

  const call = useCallback((...given) => {
    const [tool, args, extra] = name === undefined ? given : [name, ...given];
    if (latest.current < 0) latest.current = 0; // strict mode unmounts once for a try
    const turn = ++latest.current;
    const settle = (change) => {
      if (latest.current === turn) setTold((before) => ({ ...before, pending: false, ...change }));
    };
    setTold((before) => ({ ...before, pending: true, error: null }));
    const answer = bridge().callTool(tool, args, { ...usual.current, ...extra });
    answer.then(
      (result) => settle({ result, data: result.structuredContent ?? null }),
      (error) => settle({ error }),
    );
    return answer;
  }, [name]);
  const reset = useCallback(() => {
    latest.current += 1; // whatever is under way is no longer news
    setTold(IDLE);
  }, []);
  return useMemo(() => ({ call, reset, ...told }), [call, reset, told]);
}

/** The latest progress of a call, `{ done, total, message }`; `null` before the first. */
export function useProgress() {
  return useBridge("progress", "progress");
}
