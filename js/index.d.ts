/** How a widget is shown. */
export type DisplayMode = "inline" | "fullscreen" | "pip";

export type Theme = "light" | "dark";

/** What a tool has answered (MCP 2025-11-25, CallToolResult). */
export interface ToolResult<Data = Record<string, unknown>> {
  structuredContent?: Data;
  content?: Array<{ type: string; text?: string; [key: string]: unknown }>;
  isError?: boolean;
  _meta?: Record<string, unknown>;
}

export interface Progress {
  done: number;
  total?: number;
  message?: string;
}

export interface CallOptions {
  /** Hear of progress; `true` for `useProgress` alone. */
  onProgress?: true | ((progress: Progress) => void);
  /** How long to wait for an answer or for progress, in milliseconds; 120 000 by default. */
  timeoutMs?: number;
}

export interface ToolCall<Data> {
  /** What the last call that succeeded has returned; `null` before. */
  data: Data | null;
  /** The whole of it. */
  result: ToolResult<Data> | null;
  /** Why the latest call failed; `null` if it did not. */
  error: Error | null;
  /** Whether one is under way. */
  pending: boolean;
  /** Forget all of that, and what is under way. */
  reset(): void;
}

export type SetState<S> = (change: S | ((before: S) => S)) => void;

/** What `execute` has returned; until then `defaults`, `null` without. */
export function useWidgetProps<P = Record<string, unknown>>(): P | null;
export function useWidgetProps<P>(defaults: P | (() => P)): P;

/** Why there are no props, or `null`. */
export function useWidgetError(): Error | null;

/** State of this view that the host keeps, where it can: one entry, or all of it. */
export function useWidgetState<S>(key: string, initial: S | (() => S)): [S, SetState<S>];
export function useWidgetState<S extends object>(initial: S | (() => S)): [S, SetState<S>];

/** Every `useWidgetState` is at its initial value again. */
export function resetWidgetState(): Promise<void>;

export interface OpenAiGlobals {
  toolOutput: Record<string, unknown> | null;
  toolInput: Record<string, unknown> | null;
  toolResponseMetadata: Record<string, unknown> | null;
  widgetState: Record<string, unknown> | null;
  theme: Theme | null;
  locale: string;
  displayMode: DisplayMode;
  maxHeight: number | null;
  safeArea: { insets: { top: number; right: number; bottom: number; left: number } };
  userAgent: {
    device: { type: string };
    capabilities: { hover?: boolean; touch?: boolean };
  };
}

/** A value by its name in `window.openai`, in both dialects; `null` on a server or without one. */
export function useOpenAiGlobal<N extends keyof OpenAiGlobals>(name: N): OpenAiGlobals[N] | null;
export function useOpenAiGlobal(name: string): unknown;

/** The mode, and a function that asks the host for another and resolves with the one given. */
export function useDisplayMode(): [DisplayMode, (mode: DisplayMode) => Promise<DisplayMode>];

/** The height the host offers, in CSS pixels; `null` if it has not said. */
export function useMaxHeight(): number | null;

export function useTheme(): Theme;

/** A tag of BCP 47, such as "pt-BR". */
export function useLocale(): string;

/** Calls a tool of the server. */
export function useCallTool<Data = Record<string, unknown>, Args = Record<string, unknown>>(
  name: string,
  options?: CallOptions,
): ToolCall<Data> & { call(args?: Args, options?: CallOptions): Promise<ToolResult<Data>> };
export function useCallTool<Data = Record<string, unknown>>(
  name?: undefined,
  options?: CallOptions,
): ToolCall<Data> & {
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolResult<Data>>;
};

/** The latest progress of a call; `null` before the first. */
export function useProgress(): Progress | null;
