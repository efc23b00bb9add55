// Three small charts of one endpoint: calls, errors, latency. Drawn once; later only paths change.
import { count, duration, h, mark, s, say, share } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 52;
const FLOOR = HEIGHT - 1;

const x = (index, slots) => (index / slots) * WIDTH;
const round = (value) => Math.round(value * 10) / 10;

/** Bars as one path; `at(row)` and `from(row)`: where they end and begin, from 0 to 1. */
function bars(rows, slots, at, from = () => 0) {
  const wide = WIDTH / slots;
  let path = "";
  rows.forEach((row, index) => {
    if (!row) return;
    const top = at(row), bottom = from(row);
    if (top <= bottom) return;
    const high = Math.max(1.5, (top - bottom) * (HEIGHT - 4));
    const base = FLOOR - bottom * (HEIGHT - 4);
    path += `M${round(x(index, slots) + wide * .15)} ${round(base)}v${round(-high)}h${round(wide * .7)}v${round(high)}z`;
  });
  return path;
}

/** A line through the slots that have a value; those beside slots without one are short strokes. */
function line(rows, slots, at) {
  const wide = WIDTH / slots;
  let path = "", joined = false;
  rows.forEach((row, index) => {
    const value = row ? at(row) : null;
    if (value === null) { joined = false; return; }
    const y = round(FLOOR - value * (HEIGHT - 6));
    const middle = x(index, slots) + wide / 2;
    path += joined ? `L${round(middle)} ${y}` : `M${round(middle - wide * .35)} ${y}L${round(middle)} ${y}`;
    const next = rows[index + 1];
    if (!next || at(next) === null) path += `L${round(middle + wide * .35)} ${y}`;
    joined = true;
  });
  return path;
}

class Chart {
  constructor(title, classes, marks) {
    this.paths = marks.map((name) => s(`path.${name}`));
    this.cursor = s("rect.cursor", { y: 0, height: HEIGHT, width: 0 });
    this.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, s("path.floor", { d: `M0 ${HEIGHT - .5}H${WIDTH}` }), this.cursor, this.paths);
    this.value = h("b");
    this.more = [];
    this.most = h("span.most", { "aria-hidden": "true" });
    this.title = title;
    this.words = h("p", {}, h("span.label", {}, title), this.value);
    this.element = h(`div.figure.${classes}`, {}, this.words, h("div.plot", {}, this.svg, this.most));
  }

  show(value, more, most, paths, told) {
    say(this.value, value);
    more.forEach(([text, kind], index) => {
      if (!this.more[index]) this.words.append(this.more[index] = h(kind ? `span.${kind}` : "span"));
      say(this.more[index], text);
    });
    say(this.most, most);
    paths.forEach((path, index) => mark(this.paths[index], "d", path || null));
    mark(this.svg, "aria-label", `${this.title}, the last 15 minutes: ${told}`);
  }
}

/** The figures of one endpoint. */
export class Figures {
  constructor() {
    this.calls = new Chart("Calls", "calls", ["good", "bad"]);
    this.errors = new Chart("Errors", "errors", ["rate"]);
    this.latency = new Chart("Latency", "latency", ["p95", "p50"]);
    this.charts = [this.calls, this.errors, this.latency];
    this.quiet = h("p.quietly", {}, "No calls yet");
    this.row = h("div.figures", { hidden: true }, this.charts.map((each) => each.element));
    this.readout = h("p.readout", { "aria-hidden": "true" });
    this.element = h("div.lately", {}, this.quiet, this.row, this.readout);
    this.rows = [];
    for (const each of this.charts) {
      each.svg.addEventListener("pointermove", (event) => this.read(event));
      each.svg.addEventListener("pointerleave", () => this.point(null));
    }
  }

  /** What a slot holds is told where the pointer is, in all three. */
  read(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * this.rows.length);
    this.point(Math.max(0, Math.min(this.rows.length - 1, index)));
  }

  point(index) {
    this.pointed = index;
    for (const each of this.charts) {
      mark(each.cursor, "width", index === null ? 0 : WIDTH / this.rows.length);
      if (index !== null) mark(each.cursor, "x", x(index, this.rows.length));
    }
    if (index === null) return say(this.readout, `15 minutes to now, in steps of ${this.slotS} s`);
    const ago = (this.rows.length - 1 - index) * this.slotS;
    const when = ago === 0 ? "Now" : ago < 60 ? `${ago} s ago` : `${Math.floor(ago / 60)} min ${ago % 60 ? `${ago % 60} s ` : ""}ago`;
    const row = this.rows[index];
    say(this.readout, row ? `${when}: ${count(row.ok + row.failed)} calls, ${count(row.failed)} failed${row.cancelled ? `, ${count(row.cancelled)} cancelled` : ""}${row.p50_ms === null ? "" : `, p50 ${duration(row.p50_ms)}, p95 ${duration(row.p95_ms)}`}` : `${when}: no calls`);
  }

  /** `slots`: a Map of rows by the number of their slot. */
  show(statistics, slots) {
    if (!statistics) {
      this.row.hidden = true;
      this.quiet.hidden = false;
      return say(this.quiet, "Calls are not counted here");
    }
    const { window, total, now } = statistics;
    this.slotS = statistics.slot_s;
    const many = statistics.slots;
    const rows = this.rows = Array.from({ length: many }, (_, index) => slots.get(now - many + 1 + index) ?? null);
    const quiet = !window.calls && !window.cancelled;
    this.row.hidden = quiet;
    this.quiet.hidden = !quiet;
    if (quiet) {
      this.point(null);
      return say(this.quiet, total.calls ? `No calls in the last 15 minutes; ${count(total.calls)} since the process began` : "No calls yet");
    }
    const most = Math.max(1, ...rows.map((row) => (row ? row.ok + row.failed : 0)));
    this.calls.show(count(window.calls), [[window.cancelled ? `${count(window.cancelled)} cancelled` : "in 15 min"]], count(most),
      [bars(rows, many, (row) => row.ok / most), bars(rows, many, (row) => (row.ok + row.failed) / most, (row) => row.ok / most)],
      `${count(window.calls)} calls, ${count(window.failed)} failed`);
    this.errors.show(share(window.error_rate), [[`${count(window.failed)} failed`]], "100 %",
      [bars(rows, many, (row) => (row.ok + row.failed ? row.failed / (row.ok + row.failed) : 0))],
      `${share(window.error_rate)} failed`);
    const slowest = Math.max(.001, ...rows.map((row) => row?.p95_ms ?? 0));
    this.latency.show(duration(window.p50_ms), [["p50", "p50-name"], [`p95 ${duration(window.p95_ms)}`, "p95-name"], [`p99 ${duration(window.p99_ms)}`, "p99-name"]], duration(slowest),
      [line(rows, many, (row) => (row.p95_ms === null ? null : row.p95_ms / slowest)), line(rows, many, (row) => (row.p50_ms === null ? null : row.p50_ms / slowest))],
      `half of the calls took up to ${duration(window.p50_ms)}, 95 % up to ${duration(window.p95_ms)}`);
    this.point(this.pointed ?? null);
  }
}
