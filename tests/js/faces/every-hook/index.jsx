// A face that uses every hook, for the tests beside it: each value in an element of its own.
import {
  resetWidgetState, useCallTool, useDisplayMode, useLocale, useMaxHeight, useOpenAiGlobal, useProgress,
  useTheme, useWidgetError, useWidgetProps, useWidgetState,
} from "backstay-widgets";
import { useRef } from "react";
import "./style.css";
import dot from "./dot.svg";

function Value({ name, children }) {
  return <div className="row"><dt>{name}</dt><dd data-value={name}>{typeof children === "string" ? children : JSON.stringify(children)}</dd></div>;
}

export default function EveryHook() {
  const renders = useRef(0);
  renders.current += 1;
  const props = useWidgetProps({ total: "waiting" });
  const error = useWidgetError();
  const [count, setCount] = useWidgetState("count", 3);
  const [all, setAll] = useWidgetState({ untouched: true });
  const [mode, requestMode] = useDisplayMode();
  const maxHeight = useMaxHeight();
  const theme = useTheme();
  const locale = useLocale();
  const input = useOpenAiGlobal("toolInput");
  const { insets } = useOpenAiGlobal("safeArea");
  const add = useCallTool("add_up");
  const any = useCallTool();
  const progress = useProgress();
  const twice = () => { setCount((before) => before + 1); setCount((before) => before + 1); };
  return (
    <main>
      <img src={dot} alt="" width="8" height="8" />
      <dl>
        <Value name="total">{props.total}</Value>
        <Value name="error">{error ? error.message : "none"}</Value>
        <Value name="count">{count}</Value>
        <Value name="state">{all}</Value>
        <Value name="mode">{mode}</Value>
        <Value name="maxHeight">{maxHeight}</Value>
        <Value name="theme">{theme}</Value>
        <Value name="locale">{locale}</Value>
        <Value name="input">{input}</Value>
        <Value name="insets">{insets.top}</Value>
        <Value name="sum">{add.data ? add.data.total : "none"}</Value>
        <Value name="pending">{add.pending}</Value>
        <Value name="refusal">{any.error ? any.error.message : "none"}</Value>
        <Value name="progress">{progress}</Value>
        <Value name="renders">{renders.current}</Value>
      </dl>
      <button id="twice" onClick={twice}>Twice</button>
      <button id="replace" onClick={() => setAll({ count: 10, note: "new" })}>Replace</button>
      <button id="reset" onClick={() => resetWidgetState()}>Reset</button>
      <button id="wide" onClick={() => requestMode("fullscreen")}>Wide</button>
      <button id="add" onClick={() => add.call({ a: 20, b: 22 }, { onProgress: true })}>Add</button>
      <button id="fail" onClick={() => any.call("add_up", { a: 666, b: 0 })}>Fail</button>
    </main>
  );
}
