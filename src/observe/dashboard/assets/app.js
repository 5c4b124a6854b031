"use strict";
// Shows the reports that arrive as server-sent events. All texts of a report become text nodes.

const HISTORY = 90; // samples per chart
const SMOOTHING = 4; // seconds over which figures are averaged; charts show each sample
const SORT_PAUSE = 3000; // milliseconds for which an order by live figures stays, so that it can be read
const ANNOUNCE_PAUSE = 4000; // milliseconds between two events that are read out
const OVERSCAN = 8; // rows rendered beyond the window
const MAX_EVENTS = 200;
const STRIP_SECONDS = 900;
const HEALTHS = ["healthy", "degraded", "unhealthy", "draining"];
const FAILURES = ["application", "overload", "transport", "timeout"];
const SVG = "http://www.w3.org/2000/svg";

const find = (id) => document.getElementById(id);
const array = (value) => (Array.isArray(value) ? value : []);
const objects = (value) => array(value).filter((item) => item && typeof item === "object");
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

// ---------------------------------------------------------------- text

// What is invisible or changes the direction of text is shown as its code.
const HIDDEN_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
function clean(value, limit = 160) {
  let text = value === null || value === undefined ? "" : String(value);
  if (text.length > limit) text = text.slice(0, limit) + "…";
  return text.replace(HIDDEN_CHARACTERS, (char) => {
    if (char === "\n") return "\\n";
    return "\\u{" + char.codePointAt(0).toString(16) + "}";
  });
}
const count = (value) => {
  if (value === null) return "–";
  if (value >= 1e9) return (value / 1e9).toFixed(1) + " G";
  if (value >= 1e6) return (value / 1e6).toFixed(value >= 1e7 ? 0 : 1) + " M";
  if (value >= 1e4) return (value / 1e3).toFixed(value >= 1e5 ? 0 : 1) + " k";
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
};
const rate = (value) => {
  if (value === null) return "–";
  if (value < 0.05) return "0";
  return value < 10 ? value.toFixed(1) : count(Math.round(value));
};
const percent = (value) => {
  if (value === null) return "–";
  if (value <= 0) return "0 %";
  if (value < 0.0005) return "<0.1 %";
  return (value * 100).toFixed(value < 0.0995 ? 1 : 0) + " %";
};
function latency(seconds) {
  if (seconds === null) return "–";
  const ms = seconds * 1000;
  if (ms < 0.995) return ms.toFixed(2) + " ms";
  if (ms < 9.95) return ms.toFixed(1) + " ms";
  if (ms < 999.5) return ms.toFixed(0) + " ms";
  return seconds < 99.5 ? seconds.toFixed(seconds < 9.95 ? 2 : 1) + " s" : count(Math.round(seconds)) + " s";
}
function span(seconds) {
  if (seconds === null || seconds < 0) return "";
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 172800) return Math.floor(seconds / 3600) + " h";
  return Math.floor(seconds / 86400) + " d";
}
// Two of the same name are shown apart.
function distinct(name, seen) {
  let key = name;
  for (let n = 2; seen.has(key); n++) key = name + " (" + n + ")";
  seen.add(key);
  return key;
}
const words = (name) => clean(name, 60).replace(/_/g, " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const plural = (n, noun) => n + " " + noun + (n === 1 ? "" : "s");

// ---------------------------------------------------------------- elements

// Makes an element: `make("p", { class: "x" }, "text", child)`.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  element.append(...children);
  return element;
}
// Writes only what differs: most cells stay the same from one report to the next.
function setText(element, text) {
  if (element.shown === text) return;
  element.shown = text;
  element.textContent = text;
}
function setClass(element, name) {
  if (element.className !== name) element.className = name;
}
function setTitle(element, text) {
  if (element.title !== text) element.title = text;
}
function bar() {
  const fill = make("i");
  const element = make("div", { class: "bar", "aria-hidden": "true" }, fill);
  return { element, set(share) {
    const scale = "scaleX(" + Math.max(0, Math.min(1, share || 0)).toFixed(3) + ")";
    if (fill.scale !== scale) fill.style.transform = fill.scale = scale;
  } };
}
// A line chart of a series, drawn in a view box of HISTORY x 100.
function spark(bad = false) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", bad ? "spark bad" : "spark");
  svg.setAttribute("viewBox", "0 0 " + (HISTORY - 1) + " 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const area = document.createElementNS(SVG, "path");
  const line = document.createElementNS(SVG, "path");
  svg.append(area, line);
  let drawn = null;
  return { element: svg, draw(series, least = 1) {
    const mark = series.id + ":" + series.written;
    if (drawn === mark) return;
    drawn = mark;
    const path = series.path(least);
    line.setAttribute("d", path.line);
    area.setAttribute("d", path.area);
  } };
}
let lastSeries = 0;
class Series {
  constructor() {
    this.id = ++lastSeries;
    this.values = new Float32Array(HISTORY);
    this.written = 0;
  }
  push(value) {
    this.values[this.written % HISTORY] = value || 0;
    this.written += 1;
  }
  path(least) {
    const length = Math.min(this.written, HISTORY);
    if (length < 2) return { line: "", area: "" };
    let most = least;
    for (let i = 0; i < length; i++) most = Math.max(most, this.values[i]);
    const first = HISTORY - length;
    let line = "";
    for (let i = 0; i < length; i++) {
      const value = this.values[(this.written - length + i) % HISTORY];
      line += (i ? "L" : "M") + (first + i) + " " + (96 - (value / most) * 90).toFixed(1);
    }
    return { line, area: line + "L" + (HISTORY - 1) + " 100L" + first + " 100Z" };
  }
}
function figure(label, withSpark, bad) {
  const value = make("dd", {}, make("span"), make("small"));
  const chart = withSpark ? spark(bad) : null;
  const element = make("div", { class: "figure" }, make("dt", {}, label), value);
  if (chart) element.append(chart.element);
  return { element, chart, set(text, unit = "") {
    setText(value.firstChild, text);
    setText(value.lastChild, unit);
  } };
}
// "12 ms" as the figure and its unit.
const withUnit = (text) => text.split(" ");

// ---------------------------------------------------------------- what was reported

const model = {
  time: null,
  balancers: new Map(),
  granted: new Set(),
  needsToken: false,
  token: "",
  sort: { column: "name", descending: false },
  grouped: true,
  filter: "",
  announcedAt: -Infinity,
};

// Turns two readings of counters into rates.
class Meter {
  constructor() {
    this.total = null;
    this.failed = 0;
    this.rate = null;
    this.failureRate = 0;
    this.rates = new Series();
    this.errors = new Series();
  }
  read(total, failed, passed) {
    const isRestart = this.total === null || total < this.total || failed < this.failed;
    if (!isRestart && passed > 0) {
      const now = (total - this.total) / passed;
      const failing = (failed - this.failed) / passed;
      const part = this.rate === null ? 1 : 1 - Math.exp(-passed / SMOOTHING);
      this.rate = (this.rate || 0) + (now - (this.rate || 0)) * part;
      this.failureRate += (failing - this.failureRate) * part;
      this.rates.push(now);
      this.errors.push(now > 0 ? failing / now : 0);
    }
    this.total = total;
    this.failed = failed;
  }
  get errorRatio() {
    if (this.rate === null || this.rate < 0.005) return this.rate === null ? null : 0;
    return Math.min(1, this.failureRate / this.rate);
  }
}

class Endpoint {
  constructor(key, name) {
    this.key = key;
    this.name = name;
    this.label = clean(name);
    this.meter = new Meter();
    this.inFlight = new Series();
    this.p99s = new Series();
  }
  update(data, passed) {
    this.data = data;
    this.health = HEALTHS.includes(data.health) ? data.health : "unhealthy";
    const outcomes = data.outcomes || {};
    let total = 0;
    for (const kind in outcomes) total += number(outcomes[kind]) || 0;
    let failed = 0;
    for (const kind of FAILURES) failed += number(outcomes[kind]) || 0;
    this.meter.read(total, failed, passed);
    this.outstanding = number(data.outstanding) || 0;
    this.weight = number(data.weight);
    const histogram = data.first_byte || data.end || {};
    this.p50 = number(histogram.p50);
    this.p99 = number(histogram.p99);
    // An average is better than nothing.
    if (this.p50 === null) this.p50 = number(data.latency_seconds);
    this.inFlight.push(this.outstanding);
    this.p99s.push(this.p99);
    const since = span(number(data.since_seconds));
    this.reason = data.reason ? clean(data.reason) : "";
    this.state = this.health + (since ? " · " + since : "") + (this.reason ? " · " + this.reason : "");
    this.zone = data.zone ? clean(data.zone, 80) : "";
    this.tier = number(data.tier);
  }
  matches(filter) {
    const text = this.data.name + "\n" + this.health + "\n" + (this.data.reason || "") + "\n" + (this.data.zone || "") + "\n" + (this.data.region || "");
    return text.toLowerCase().includes(filter);
  }
}

// ---------------------------------------------------------------- the table

const COLUMNS = [
  { id: "name", label: "Endpoint", value: (e) => e.label },
  { id: "state", label: "State", value: (e) => HEALTHS.length - HEALTHS.indexOf(e.health), live: true },
  { id: "weight", label: "Weight", value: (e) => e.weight, numeric: true },
  { id: "share", label: "Share", value: (e) => e.meter.rate, numeric: true, live: true },
  { id: "rate", label: "Req/s", value: (e) => e.meter.rate, numeric: true, live: true },
  { id: "errors", label: "Errors", value: (e) => e.meter.errorRatio, numeric: true, live: true },
  { id: "p50", label: "p50", value: (e) => e.p50, numeric: true, live: true },
  { id: "p99", label: "p99", value: (e) => e.p99, numeric: true, live: true },
  { id: "flight", label: "In flight", value: (e) => e.outstanding, numeric: true, live: true },
];
const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  const { column, descending } = model.sort;
  const { value } = COLUMNS.find((it) => it.id === column);
  const [x, y] = [value(a), value(b)];
  let order = typeof x === "string" ? collator.compare(x, y) : (x ?? -1) - (y ?? -1);
  if (descending) order = -order;
  return order || collator.compare(a.label, b.label);
}

function cells(...extra) {
  const made = {};
  for (const { id, numeric } of COLUMNS) {
    const name = id + (numeric && id !== "share" && id !== "flight" ? " num" : "");
    made[id] = make("div", { class: name, role: "cell" });
  }
  made.shareText = make("span", { class: "num" });
  made.bar = bar();
  made.share.append(made.bar.element, made.shareText);
  made.flightText = make("span", { class: "num" });
  made.spark = spark();
  made.flight.append(made.spark.element, made.flightText);
  made.row = make("div", { class: "line", role: "row" }, ...COLUMNS.map(({ id }) => made[id]), ...extra);
  return made;
}
function setFigures(row, figures, total, mostShare) {
  const share = total > 0 && figures.rate !== null ? figures.rate / total : null;
  setText(row.shareText, percent(share));
  row.bar.set(mostShare > 0 ? (share || 0) / mostShare : 0);
  setText(row.rate, rate(figures.rate));
  setClass(row.rate, "rate num" + (figures.rate ? "" : " is-zero"));
  const errors = figures.errors;
  setText(row.errors, percent(errors));
  setClass(row.errors, "errors num" + (errors >= 0.01 ? " is-hot" : errors ? "" : " is-zero"));
  setText(row.flightText, count(figures.outstanding));
}

class EndpointRow {
  constructor(balancer) {
    this.button = make("button", { type: "button", tabindex: "-1" }, make("bdi"));
    this.dot = make("span");
    this.stateText = make("span");
    this.cells = cells();
    this.element = this.cells.row;
    this.cells.name.append(this.button);
    this.cells.state.append(this.dot, this.stateText);
    this.element.addEventListener("click", () => openDetails(balancer, this.item));
    this.button.addEventListener("focus", () => balancer.setCurrent(this.item.key));
  }
  show(item, balancer) {
    this.item = item;
    const row = this.cells;
    setText(this.button.firstChild, item.label);
    setTitle(this.button, item.label.length > 20 ? item.label : "");
    setClass(this.element, "line endpoint is-" + item.health);
    setClass(this.dot, "dot " + item.health);
    setText(this.stateText, item.state);
    setTitle(row.state, item.reason);
    setText(row.weight, count(item.weight));
    const figures = { rate: item.meter.rate, errors: item.meter.errorRatio, outstanding: item.outstanding };
    setFigures(row, figures, balancer.meter.rate, balancer.mostShare);
    setText(row.p50, latency(item.p50));
    setText(row.p99, latency(item.p99));
    row.spark.draw(item.inFlight, balancer.mostInFlight);
  }
}

class GroupRow {
  constructor(balancer) {
    this.cells = cells();
    this.element = this.cells.row;
    this.element.classList.add("zone");
    this.name = make("bdi");
    this.about = make("small");
    this.away = make("button", { type: "button", class: "act" }, "Shift away");
    this.back = make("button", { type: "button", class: "act" }, "Restore");
    this.away.addEventListener("click", () => confirmAction("shift_zone", balancer, { zone: this.item.zone }));
    this.back.addEventListener("click", () => confirmAction("restore_zone", balancer, { zone: this.item.zone }));
    this.cells.state.remove();
    this.cells.weight.remove();
    this.cells.name.append(this.name, this.about, this.away, this.back);
    this.cells.name.setAttribute("aria-colspan", "3");
  }
  show(item, balancer) {
    this.item = item;
    setText(this.name, item.label);
    const worse = item.size - item.healthy;
    setText(this.about, plural(item.size, "endpoint") + (worse ? ", " + worse + " not healthy" : ""));
    this.away.hidden = item.zone === null || !model.granted.has("shift_zone");
    this.back.hidden = item.zone === null || !model.granted.has("restore_zone");
    const errors = item.rate > 0.005 ? item.failing / item.rate : 0;
    setFigures(this.cells, { rate: item.rate, errors, outstanding: item.outstanding }, balancer.meter.rate, 1);
    this.cells.spark.draw(balancer.groupSeries(item));
  }
}

// ---------------------------------------------------------------- a balancer

class Balancer {
  constructor(key, name) {
    this.name = name;
    this.label = clean(key) || "unnamed";
    this.endpoints = new Map();
    this.groups = new Map();
    this.meter = new Meter();
    this.inFlight = new Series();
    this.p99s = new Series();
    this.waiting = new Series();
    this.states = new Set();
    this.items = [];
    this.rows = new Map();
    this.spare = { endpoint: [], group: [] };
    this.current = null;
    this.sortedAt = 0;
    this.build();
  }

  build() {
    const id = "b" + ++Balancer.made;
    this.fold = make("button", { type: "button", class: "fold", "aria-expanded": "true", "aria-controls": id }, make("bdi", {}, this.label));
    this.fold.addEventListener("click", () => {
      const open = this.fold.getAttribute("aria-expanded") !== "true";
      this.fold.setAttribute("aria-expanded", String(open));
      this.table.hidden = !open;
      if (open) this.render();
    });
    this.refresh = make("button", { type: "button", class: "act", hidden: "" }, "Refresh source");
    this.refresh.addEventListener("click", () => confirmAction("refresh", this, {}));
    this.chips = {};
    const chips = HEALTHS.map((health) => {
      const chip = make("button", { type: "button", class: "chip", "aria-pressed": "false" }, make("span", { class: "dot " + health }), make("span"));
      chip.addEventListener("click", () => {
        const on = !this.states.delete(health);
        if (on) this.states.add(health);
        chip.setAttribute("aria-pressed", String(on));
        this.arrange(true);
        this.render();
      });
      return (this.chips[health] = chip);
    });
    this.figures = {
      rate: figure("Requests", true),
      errors: figure("Errors", true, true),
      flight: figure("In flight", true),
      p99: figure("Slowest p99", true),
      waiting: figure("Waiting", true),
    };
    const figures = Object.values(this.figures).map((it) => it.element);
    this.notices = make("div");
    this.head = make("div", { class: "line head", role: "row", "aria-rowindex": "1" });
    for (const { id: column, label, numeric } of COLUMNS) {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => sortBy(column, numeric));
      this.head.append(make("div", { class: column + (numeric ? " num" : ""), role: "columnheader", "data-column": column }, button));
    }
    this.body = make("div", { class: "rows", role: "rowgroup" });
    this.empty = make("p", { class: "empty", hidden: "" });
    this.table = make("div", { id, role: "table", "aria-label": "Endpoints of " + this.label },
      make("div", { role: "rowgroup", class: "contents" }, this.head), this.body, this.empty);
    // Without a box of its own, the header sticks to the top of the page while the table is in view.
    this.head.parentElement.style.display = "contents";
    this.section = make("section", { class: "card balancer" },
      make("header", {},
        make("h2", { class: "title" }, this.fold),
        make("div", { class: "states", role: "group", "aria-label": "Show only these states" }, ...chips, this.refresh),
        make("dl", { class: "figures" }, ...figures)),
      this.notices, this.table);
    this.body.addEventListener("keydown", (event) => this.onKey(event));
    this.showSort();
  }

  update(data, passed) {
    this.data = data;
    const seen = new Set();
    let [total, failed, inFlight, fastest] = [0, 0, 0, 0];
    this.slowest = null;
    const states = { healthy: 0, degraded: 0, unhealthy: 0, draining: 0 };
    let longest = 0;
    for (const reported of objects(data.endpoints)) {
      const name = String(reported.name ?? "");
      const key = distinct(name, seen);
      let endpoint = this.endpoints.get(key);
      if (!endpoint) this.endpoints.set(key, (endpoint = new Endpoint(key, name)));
      longest = Math.max(longest, endpoint.label.length);
      const before = endpoint.meter.total;
      const failedBefore = endpoint.meter.failed;
      endpoint.update(reported, passed);
      if (before !== null && endpoint.meter.total >= before && endpoint.meter.failed >= failedBefore) {
        total += endpoint.meter.total - before;
        failed += endpoint.meter.failed - failedBefore;
      }
      inFlight += endpoint.outstanding;
      states[endpoint.health] += 1;
      fastest = Math.max(fastest, endpoint.meter.rate || 0);
      if (endpoint.p99 !== null && endpoint.meter.rate > 0.05) this.slowest = Math.max(this.slowest || 0, endpoint.p99);
    }
    for (const key of this.endpoints.keys()) if (!seen.has(key)) this.endpoints.delete(key);
    this.meter.read((this.meter.total || 0) + total, this.meter.failed + failed, passed);
    this.outstanding = inFlight;
    this.inFlight.push(inFlight);
    this.p99s.push(this.slowest);
    this.waiting.push(number(data.waiting));
    this.mostShare = this.meter.rate > 0 ? fastest / this.meter.rate : 0;
    this.mostInFlight = 4;
    for (const endpoint of this.endpoints.values()) this.mostInFlight = Math.max(this.mostInFlight, endpoint.outstanding);
    this.counts = states;
    // The names get the room that they need, and the reasons of states get the rest.
    const room = Math.max(110, Math.min(280, longest * 7.8 + 12)).toFixed(0) + "px";
    if (this.room !== room) this.table.style.setProperty("--name", (this.room = room));
    this.arrange(false);
  }

  // Decides which rows there are, and in which order.
  arrange(now) {
    const column = COLUMNS.find((it) => it.id === model.sort.column);
    const filter = model.filter;
    let shown = [];
    for (const endpoint of this.endpoints.values()) {
      if (this.states.size && !this.states.has(endpoint.health)) continue;
      if (filter && !endpoint.matches(filter)) continue;
      shown.push(endpoint);
    }
    const time = performance.now();
    if (now || !column.live || time - this.sortedAt > SORT_PAUSE) {
      shown.sort(compare);
      this.sortedAt = time;
      this.order = new Map(shown.map((endpoint, index) => [endpoint.key, index]));
    } else {
      const place = (endpoint) => this.order.get(endpoint.key) ?? Infinity;
      shown.sort((a, b) => place(a) - place(b) || 0);
    }
    this.shown = shown.length;
    if (model.grouped) shown = this.group(shown);
    this.items = shown;
  }

  group(endpoints) {
    const groups = new Map();
    for (const endpoint of endpoints) {
      const key = (endpoint.tier ?? "") + "\n" + (endpoint.data.region || "") + "\n" + (endpoint.data.zone || "");
      let group = groups.get(key);
      if (!group) {
        const parts = [];
        if (endpoint.tier) parts.push("tier " + endpoint.tier);
        if (endpoint.zone) parts.push(endpoint.zone);
        else if (endpoint.data.region) parts.push(clean(endpoint.data.region, 80));
        const label = parts.join(" · ") || "no zone";
        groups.set(key, (group = {
          key: "group\n" + key, label, zone: endpoint.data.zone ?? null, tier: endpoint.tier, isGroup: true,
          isPlain: parts.length === 0, size: 0, healthy: 0, rate: 0, failing: 0, outstanding: 0, members: [],
        }));
      }
      group.size += 1;
      group.healthy += endpoint.health === "healthy" ? 1 : 0;
      group.rate += endpoint.meter.rate || 0;
      group.failing += endpoint.meter.failureRate;
      group.outstanding += endpoint.outstanding;
      group.members.push(endpoint);
    }
    const sorted = [...groups.values()].sort((a, b) => (a.tier ?? 0) - (b.tier ?? 0) || collator.compare(a.label, b.label));
    for (const key of this.groups.keys()) if (!groups.has(key.slice(6))) this.groups.delete(key);
    for (const group of sorted) {
      const series = this.groupSeries(group);
      if (series.at !== model.time) series.push(group.outstanding);
      series.at = model.time;
    }
    // One group without a name says nothing.
    if (sorted.length === 1 && sorted[0].isPlain) return endpoints;
    return sorted.flatMap((group) => [group, ...group.members]);
  }
  groupSeries(group) {
    let series = this.groups.get(group.key);
    if (!series) this.groups.set(group.key, (series = new Series()));
    return series;
  }

  render() {
    const { figures, counts, data } = this;
    for (const health of HEALTHS) {
      const chip = this.chips[health];
      setText(chip.lastChild, counts[health] + " " + health);
      chip.hidden = !counts[health] && !this.states.has(health) && health !== "healthy";
    }
    this.refresh.hidden = !model.granted.has("refresh");
    figures.rate.set(rate(this.meter.rate), "/s");
    figures.rate.chart.draw(this.meter.rates);
    figures.errors.set(...withUnit(percent(this.meter.errorRatio)));
    figures.errors.chart.draw(this.meter.errors, 0.05);
    setClass(figures.errors.element, "figure" + (this.meter.errorRatio >= 0.01 ? " is-bad" : ""));
    figures.flight.set(count(this.outstanding));
    figures.flight.chart.draw(this.inFlight, 4);
    figures.p99.set(...withUnit(latency(this.slowest)));
    figures.p99.chart.draw(this.p99s, 0.001);
    const waiting = number(data.waiting);
    figures.waiting.chart.draw(this.waiting, 4);
    figures.waiting.set(count(waiting));
    setClass(figures.waiting.element, "figure" + (waiting ? " is-bad" : ""));
    this.renderNotices();
    if (!this.table.hidden) this.renderRows();
  }

  renderNotices() {
    const driver = this.data.driver || {};
    const lines = array(this.data.notices).map((text) => ["notice", text]);
    if (driver.last_error) lines.push(["notice is-bad", "The source of endpoints fails: " + driver.last_error + " (" + plural(number(driver.errors) || 1, "error") + ")"]);
    if (driver.state === "dropped") lines.push(["notice is-bad", "The driver was dropped: changes of the endpoints are not seen."]);
    const mark = JSON.stringify(lines);
    if (this.notices.mark === mark) return;
    this.notices.mark = mark;
    this.notices.replaceChildren(...lines.map(([name, text]) => make("p", { class: name }, clean(text, 600))));
  }

  // Renders the rows in the window, and the row with the focus wherever it is.
  renderRows() {
    const height = rowHeight;
    const total = this.items.length;
    if (this.body.rows !== total * height) this.body.style.height = (this.body.rows = total * height) + "px";
    this.table.setAttribute("aria-rowcount", total + 1);
    this.empty.hidden = total > 0;
    if (!total) setText(this.empty, this.endpoints.size ? "No endpoint matches." : "This balancer has no endpoints.");
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - OVERSCAN);
    const last = Math.min(total, Math.ceil((innerHeight - top) / height) + OVERSCAN);
    const visible = [];
    for (let index = first; index < last; index++) visible.push(index);
    const focused = this.body.contains(document.activeElement) ? this.current : null;
    if (focused !== null) {
      const index = this.items.findIndex((item) => item.key === focused);
      if (index >= 0 && (index < first || index >= last)) visible.push(index);
    }
    const keys = new Set(visible.map((index) => this.items[index].key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      this.rows.delete(key);
      row.element.remove();
      this.spare[row instanceof GroupRow ? "group" : "endpoint"].push(row);
    }
    if (!keys.has(this.current)) {
      // The focus enters the table at its first row.
      const start = visible.find((index) => !this.items[index].isGroup && index >= first + (first ? OVERSCAN : 0));
      this.current = start === undefined ? null : this.items[start].key;
    }
    visible.sort((a, b) => a - b);
    let next = this.body.firstElementChild;
    const active = document.activeElement;
    for (const index of visible) {
      const item = this.items[index];
      let row = this.rows.get(item.key);
      if (!row) {
        row = this.spare[item.isGroup ? "group" : "endpoint"].pop();
        if (!row) row = item.isGroup ? new GroupRow(this) : new EndpointRow(this);
        this.rows.set(item.key, row);
      }
      const shift = "translateY(" + index * height + "px)";
      if (row.shift !== shift) row.element.style.transform = row.shift = shift;
      row.element.setAttribute("aria-rowindex", index + 2);
      row.show(item, this);
      if (row.button) row.button.tabIndex = item.key === this.current ? 0 : -1;
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
    }
    // Moving an element in the document takes its focus.
    if (active !== document.activeElement && this.body.contains(active)) active.focus({ preventScroll: true });
  }

  setCurrent(key) {
    const before = this.rows.get(this.current);
    if (before && before.button) before.button.tabIndex = -1;
    this.current = key;
    const row = this.rows.get(key);
    if (row && row.button) row.button.tabIndex = 0;
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.target.closest(".zone")) return;
    event.preventDefault();
    const from = this.items.findIndex((item) => item.key === this.current);
    let index = Math.max(0, Math.min(this.items.length - 1, from + step));
    // Headings of groups are passed over; the first row may be one.
    const direction = index === 0 ? 1 : Math.sign(step);
    while (this.items[index] && this.items[index].isGroup) index += direction;
    if (!this.items[index]) index = from;
    if (!this.items[index]) return;
    this.setCurrent(this.items[index].key);
    const top = this.body.getBoundingClientRect().top + index * rowHeight;
    const covered = find("main").offsetTop + 40;
    if (top < covered) scrollBy(0, top - covered);
    else if (top + rowHeight > innerHeight) scrollBy(0, top + rowHeight - innerHeight + 8);
    this.renderRows();
    this.rows.get(this.current).button.focus({ preventScroll: true });
  }

  showSort() {
    for (const header of this.head.children) {
      const is = header.dataset.column === model.sort.column;
      header.setAttribute("aria-sort", is ? (model.sort.descending ? "descending" : "ascending") : "none");
    }
  }
}
Balancer.made = 0;

function sortBy(column, numeric) {
  const same = model.sort.column === column;
  model.sort = { column, descending: same ? !model.sort.descending : Boolean(numeric) };
  rearrange();
}
function rearrange() {
  for (const balancer of model.balancers.values()) {
    balancer.showSort();
    balancer.arrange(true);
    balancer.render();
  }
}

// ---------------------------------------------------------------- events

const EVENT_TITLES = { endpoint_added: "added", endpoint_removed: "removed", notice: "Notice", notice_ended: "Notice ended", source_error: "Source error" };
function eventTone(event) {
  if (event.kind === "source_error") return "bad";
  if (event.kind === "notice") return "warn";
  if (event.kind === "notice_ended") return "good";
  if (event.kind !== "health") return "";
  return { healthy: "good", degraded: "warn", unhealthy: "bad" }[event.to] || "";
}
function eventTitle(event, balancer) {
  const what = event.kind === "health" ? "is " + (clean(event.to, 20) || "unknown") : EVENT_TITLES[event.kind] || words(event.kind);
  const who = event.endpoint ? clean(event.endpoint, 80) : balancer.label;
  return { who, what };
}
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
let eventsMark = "";

function renderEvents() {
  const all = [];
  for (const balancer of model.balancers.values()) {
    for (const event of objects(balancer.data.events)) all.push({ event, balancer, time: number(event.time) || 0 });
  }
  all.sort((a, b) => b.time - a.time || (number(b.event.id) || 0) - (number(a.event.id) || 0));
  renderStrip(all);
  const filter = model.filter;
  const wanted = ({ event, balancer }) => [event.endpoint, event.kind, event.cause, event.to, balancer.name].join("\n").toLowerCase().includes(filter);
  const shown = (filter ? all.filter(wanted) : all).slice(0, MAX_EVENTS);
  const mark = filter + "\n" + shown.map(({ event, balancer }) => event.id + "@" + balancer.label).join("\n");
  find("no-events").hidden = shown.length > 0;
  setText(find("no-events"), all.length ? "No event matches." : "No events yet.");
  if (mark === eventsMark) return;
  eventsMark = mark;
  const many = model.balancers.size > 1;
  find("events").replaceChildren(...shown.map(({ event, balancer, time }) => {
    const { who, what } = eventTitle(event, balancer);
    const about = [];
    if (many && event.endpoint) about.push(balancer.label);
    if (event.cause) about.push(clean(event.cause, 400));
    const lasted = span(number(event.lasted_seconds));
    if (lasted) about.push(event.from ? clean(event.from, 20) + " for " + lasted + " before" : "lasted " + lasted);
    const stamp = make("time", { datetime: new Date(time * 1000).toISOString() }, clock.format(time * 1000));
    return make("li", { class: eventTone(event) }, stamp, make("i", { "aria-hidden": "true" }),
      make("div", {}, make("b", {}, make("bdi", {}, who)), " " + what, make("small", {}, about.join(" · "))));
  }));
}

// Events per quarter of a minute, the worst in the colour of the bar.
function renderStrip(all) {
  const slots = 60;
  const bins = Array.from({ length: slots }, () => ({ n: 0, tone: "" }));
  const rank = ["", "good", "warn", "bad"];
  for (const { event, time } of all) {
    const age = (model.time || 0) - time;
    if (age < 0 || age >= STRIP_SECONDS) continue;
    const bin = bins[slots - 1 - Math.floor((age / STRIP_SECONDS) * slots)];
    bin.n += 1;
    const tone = eventTone(event);
    if (rank.indexOf(tone) > rank.indexOf(bin.tone)) bin.tone = tone;
  }
  const strip = find("strip");
  const mark = JSON.stringify(bins);
  if (strip.mark === mark) return;
  strip.mark = mark;
  strip.setAttribute("viewBox", "0 0 " + slots * 4 + " 24");
  const most = Math.max(4, ...bins.map((bin) => bin.n));
  strip.replaceChildren(...bins.flatMap(({ n, tone }, slot) => {
    if (!n) return [];
    const rect = document.createElementNS(SVG, "rect");
    const height = 4 + (n / most) * 20;
    const attributes = { x: slot * 4, y: 24 - height, width: 3, height, class: tone };
    for (const name in attributes) rect.setAttribute(name, attributes[name]);
    return [rect];
  }));
}

// Reads out new changes of health, the latest of a report and how many there were.
function announceEvents(balancer) {
  const events = objects(balancer.data.events);
  const newest = events.reduce((most, event) => Math.max(most, number(event.id) ?? 0), -1);
  const before = balancer.lastEvent;
  balancer.lastEvent = newest;
  if (before === undefined) return;
  const fresh = events.filter((event) => event.id > before && ["health", "notice", "source_error"].includes(event.kind));
  if (!fresh.length || performance.now() - model.announcedAt < ANNOUNCE_PAUSE) return;
  model.announcedAt = performance.now();
  const { who, what } = eventTitle(fresh[fresh.length - 1], balancer);
  const more = fresh.length > 1 ? ", and " + plural(fresh.length - 1, "more event") : "";
  announce(who + " " + what + more);
}
function announce(text) {
  find("status").textContent = text;
}

// ---------------------------------------------------------------- panels

const panels = new Map();
const FIRST_PANELS = ["budgets", "retries", "hedges", "failovers", "limits", "circuits"];

// Every list of the report besides the balancers is a panel: an item for each, and a figure for each of its fields.
function renderPanels(report, passed) {
  const names = Object.keys(report).filter((key) => key !== "balancers" && objects(report[key]).length);
  const place = (name) => (FIRST_PANELS.includes(name) ? FIRST_PANELS.indexOf(name) : FIRST_PANELS.length);
  names.sort((a, b) => place(a) - place(b) || collator.compare(a, b));
  for (const [name, panel] of panels) {
    if (names.includes(name)) continue;
    panel.section.remove();
    panels.delete(name);
  }
  for (const name of names.slice(0, 20)) {
    let panel = panels.get(name);
    if (!panel) {
      const title = panelTitle(name);
      const section = make("section", { class: "card panel", "aria-label": title }, make("header", {}, make("h2", {}, title)));
      panels.set(name, (panel = { section, items: new Map() }));
      find("panels").append(section);
    }
    const seen = new Set();
    objects(report[name]).slice(0, 100).forEach((data, index) => {
      const key = String(data.name ?? "") + "\n" + index;
      seen.add(key);
      let item = panel.items.get(key);
      if (!item) {
        panel.items.set(key, (item = new PanelItem(data.name)));
        panel.section.append(item.element);
      }
      item.show(data, passed);
    });
    for (const [key, item] of panel.items) {
      if (seen.has(key)) continue;
      item.element.remove();
      panel.items.delete(key);
    }
  }
}

function* fields(data, prefix = "", depth = 0) {
  for (const [key, value] of Object.entries(data)) {
    if (key === "name" && !prefix) continue;
    if (value && typeof value === "object" && !Array.isArray(value) && depth < 2) yield* fields(value, prefix + key + " ", depth + 1);
    else if (!Array.isArray(value)) yield [prefix + key, value];
  }
}
const panelTitle = (name) => capital(words(name)).replace(/^(Tcp|Udp)\b/, (protocol) => protocol.toUpperCase());
// Figures that go up and down; all other whole numbers are counters, of which the rate matters too.
const GAUGE = /(^flows$|limit|in_flight|waiting|balance|outstanding|seconds|ratio|weight|capacity|state|open$|(max|min)(_|$)|size)/;

class PanelItem {
  constructor(name) {
    this.bar = bar();
    this.facts = make("dl");
    this.values = new Map();
    this.isShown = false;
    this.element = make("div", { class: "item" }, make("h3", {}, make("bdi", {}, clean(name) || "unnamed")), this.bar.element, this.facts);
  }
  show(data, passed) {
    const used = number(data.in_flight);
    const limit = number(data.limit);
    this.bar.element.hidden = used === null || !limit;
    if (limit) this.bar.set(used / limit);
    const seen = new Set();
    for (const [key, value] of fields(data)) {
      if (seen.size >= 24) break;
      // Of the reasons that are counted, only those that have occurred are shown.
      if (value === 0 && key.includes(" ") && !GAUGE.test(key)) continue;
      seen.add(key);
      let fact = this.values.get(key);
      if (!fact) {
        const shown = make("dd", {}, make("span"), make("small"));
        const element = make("div", {}, make("dt", {}, words(key)), shown);
        // A reason that was not shown before has not occurred before.
        this.values.set(key, (fact = { element, shown, last: this.isShown && key.includes(" ") ? 0 : null, rate: null }));
        this.facts.append(element);
      }
      let text = value === null ? "–" : typeof value === "boolean" ? (value ? "yes" : "no") : clean(value, 80);
      let speed = "";
      if (typeof value === "number") {
        text = /seconds/.test(key) ? latency(value) : count(value);
        if (!GAUGE.test(key) && Number.isInteger(value)) {
          if (fact.last !== null && value >= fact.last && passed > 0) {
            const part = fact.rate === null ? 1 : 1 - Math.exp(-passed / SMOOTHING);
            fact.rate = (fact.rate || 0) + ((value - fact.last) / passed - (fact.rate || 0)) * part;
          }
          fact.last = value;
          if (fact.rate >= 0.05) speed = " " + rate(fact.rate) + "/s";
        }
      }
      setText(fact.shown.firstChild, text);
      setText(fact.shown.lastChild, speed);
      setTitle(fact.shown, text.length > 10 ? text : "");
    }
    for (const [key, fact] of this.values) {
      if (seen.has(key)) continue;
      fact.element.remove();
      this.values.delete(key);
    }
    this.isShown = true;
  }
}

// ---------------------------------------------------------------- details of an endpoint

const details = find("details");
const detailFigures = {
  rate: figure("Requests", true),
  errors: figure("Errors", true, true),
  flight: figure("In flight", true),
  p99: figure("p99", true),
};
find("details-charts").append(...Object.values(detailFigures).map((it) => it.element));
let detailed = null;

function openDetails(balancer, endpoint) {
  detailed = { balancer, key: endpoint.key };
  const actions = [];
  for (const [kind, label] of [["drain", "Drain"], ["undrain", "Undrain"], ["end_ejection", "End ejection"], ["set_weight", "Set weight"]]) {
    if (!model.granted.has(kind)) continue;
    const button = make("button", { type: "button", class: "act" }, label);
    button.addEventListener("click", () => confirmAction(kind, balancer, { endpoint: endpoint.name }, endpoint.weight));
    actions.push(button);
  }
  find("details-actions").replaceChildren(...actions);
  find("details-actions").hidden = !actions.length;
  renderDetails();
  details.showModal();
}
function renderDetails() {
  if (!detailed) return;
  const { balancer, key } = detailed;
  const endpoint = balancer.endpoints.get(key);
  setText(find("details-balancer"), balancer.label);
  setText(find("details-title"), clean(key, 12000));
  if (!endpoint) {
    setText(find("details-state"), "This endpoint was removed.");
    return;
  }
  const { data, meter } = endpoint;
  const state = find("details-state");
  if (state.mark !== endpoint.health + endpoint.state) {
    state.mark = endpoint.health + endpoint.state;
    state.shown = null;
    const since = span(number(data.since_seconds));
    const text = capital(endpoint.health) + (since ? " for " + since : "") + (data.reason ? ": " + clean(data.reason, 2000) : "");
    state.replaceChildren(make("span", { class: "dot " + endpoint.health, "aria-hidden": "true" }), make("span", {}, text));
  }
  detailFigures.rate.set(rate(meter.rate), "/s");
  detailFigures.rate.chart.draw(meter.rates);
  detailFigures.errors.set(...withUnit(percent(meter.errorRatio)));
  detailFigures.errors.chart.draw(meter.errors, 0.05);
  detailFigures.flight.set(count(endpoint.outstanding));
  detailFigures.flight.chart.draw(endpoint.inFlight, 4);
  detailFigures.p99.set(...withUnit(latency(endpoint.p99)));
  detailFigures.p99.chart.draw(endpoint.p99s, 0.001);
  const share = balancer.meter.rate > 0 && meter.rate !== null ? meter.rate / balancer.meter.rate : null;
  const facts = [
    ["Zone", data.zone], ["Region", data.region], ["Tier", number(data.tier)],
    ["Weight", number(data.weight)], ["Share of traffic", percent(share)],
    ["First byte", quantiles(data.first_byte)], ["End of response", quantiles(data.end)],
    ["Average latency", number(data.latency_seconds) === null ? null : latency(data.latency_seconds)],
  ];
  const outcomes = { success: null, application: null, overload: null, transport: null, timeout: null, ...data.outcomes };
  for (const [kind, n] of Object.entries(outcomes)) facts.push([capital(words(kind)), count(number(n))]);
  const mark = JSON.stringify(facts);
  const shown = find("details-facts");
  if (shown.mark === mark) return;
  shown.mark = mark;
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  shown.replaceChildren(...known.flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, clean(value, 400))]));
}
function quantiles(histogram) {
  if (!histogram) return null;
  return "p50 " + latency(number(histogram.p50)) + ", p99 " + latency(number(histogram.p99)) + " of " + count(number(histogram.count));
}
details.querySelector(".close").addEventListener("click", () => details.close());
details.addEventListener("click", (event) => {
  if (event.target === details && event.clientX < details.getBoundingClientRect().left) details.close();
});
details.addEventListener("close", () => {
  const { balancer, key } = detailed || {};
  detailed = null;
  const row = balancer && balancer.rows.get(key);
  if (row) row.button.focus({ preventScroll: true });
});

// ---------------------------------------------------------------- actions

const ACTIONS = {
  drain: ["Drain this endpoint?", "It gets no new requests; those in flight finish.", "Drain"],
  undrain: ["Undrain this endpoint?", "It gets requests again.", "Undrain"],
  end_ejection: ["End the ejection?", "The endpoint gets requests again at once.", "End ejection"],
  set_weight: ["Set the weight", "A weight of 0 means no requests.", "Set weight"],
  shift_zone: ["Shift this zone away?", "Its endpoints get no new requests.", "Shift away"],
  restore_zone: ["Restore this zone?", "Its endpoints get requests again.", "Restore"],
  refresh: ["Refresh the source?", "The source of endpoints is asked now.", "Refresh"],
};
const confirmation = find("confirm");
let pending = null;

function confirmAction(kind, balancer, target, before) {
  const [title, text, label] = ACTIONS[kind];
  pending = { kind, label, body: { action: kind, balancer: balancer.name, ...target } };
  const name = target.endpoint ?? target.zone;
  setText(find("confirm-title"), title);
  setText(find("confirm-text"), (name === undefined ? "" : clean(name) + " of ") + balancer.label + ". " + text);
  setText(confirmation.querySelector(".primary"), label);
  find("confirm-error").textContent = "";
  const weight = find("confirm-weight").querySelector("input");
  find("confirm-weight").hidden = kind !== "set_weight";
  weight.disabled = kind !== "set_weight";
  if (kind === "set_weight") weight.value = String(before ?? 1);
  askForToken();
  confirmation.showModal();
}
function askForToken() {
  const needed = model.needsToken && !model.token;
  const input = find("confirm-token").querySelector("input");
  find("confirm-token").hidden = !needed;
  input.disabled = !needed;
  input.value = "";
}
confirmation.querySelector(".cancel").addEventListener("click", () => confirmation.close());
confirmation.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = confirmation.querySelector(".primary");
  if (button.disabled || !pending) return;
  const { body, label } = pending;
  if (body.action === "set_weight") body.weight = Number(find("confirm-weight").querySelector("input").value);
  const typed = find("confirm-token").querySelector("input").value;
  const headers = { "Content-Type": "application/json" };
  if (model.token || typed) headers.Authorization = "Bearer " + (model.token || typed);
  button.disabled = true;
  try {
    const response = await fetch("api/actions", { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json().catch(() => ({}));
    if (response.status === 401) {
      model.token = "";
      askForToken();
    } else if (typed) {
      model.token = typed;
    }
    if (response.ok) {
      confirmation.close();
      toast(label + ": done");
    } else {
      find("confirm-error").textContent = clean(answer.error || "status " + response.status, 400);
    }
  } catch {
    find("confirm-error").textContent = "The dashboard did not answer.";
  }
  button.disabled = false;
});
let toastTimer = 0;
function toast(text) {
  announce(text);
  find("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (find("toast").textContent = ""), 4000);
}
async function loadGranted() {
  try {
    const answer = await (await fetch("api/actions")).json();
    model.granted = new Set(array(answer.granted));
    model.needsToken = Boolean(answer.token);
    renderAll();
  } catch {
    // Without an answer the page is read-only. The next connection asks again.
  }
}

// ---------------------------------------------------------------- reports

let rowHeight = 34;
function show(report) {
  const time = number(report.time);
  if (time !== null && time === model.time) return;
  const passed = model.time === null || time === null ? 0 : time - model.time;
  model.time = time;
  find("boot")?.remove();
  const seen = new Set();
  for (const data of objects(report.balancers)) {
    const name = String(data.name ?? "");
    const key = distinct(name, seen);
    let balancer = model.balancers.get(key);
    if (!balancer) {
      model.balancers.set(key, (balancer = new Balancer(key, name)));
      find("balancers").append(balancer.section);
    }
    balancer.update(data, passed);
    announceEvents(balancer);
  }
  for (const [key, balancer] of model.balancers) {
    if (seen.has(key)) continue;
    balancer.section.remove();
    model.balancers.delete(key);
  }
  let none = find("none");
  if (!model.balancers.size && !none) find("balancers").append(make("p", { id: "none", class: "card empty" }, "No balancer is registered."));
  else if (model.balancers.size) none?.remove();
  renderPanels(report, passed);
  renderAll();
}
function renderAll() {
  let [endpoints, serving, rates] = [0, 0, 0];
  for (const balancer of model.balancers.values()) {
    balancer.render();
    endpoints += balancer.endpoints.size;
    serving += balancer.counts.healthy + balancer.counts.degraded;
    rates += balancer.meter.rate || 0;
  }
  if (model.balancers.size) setText(find("totals"), plural(model.balancers.size, "balancer") + " · " + serving + " of " + plural(endpoints, "endpoint") + " serving · " + rate(rates) + " req/s");
  renderEvents();
  renderDetails();
}

// ---------------------------------------------------------------- the connection

let stream = null;
let retryTimer = 0;
function setLink(state, text) {
  const link = find("link");
  if (link.dataset.state === state) return;
  const before = link.dataset.state;
  link.dataset.state = state;
  setText(link.lastChild, text);
  if (state === "lost") announce("The connection is lost. The figures are old.");
  if (state === "live" && before === "lost") announce("Connected again.");
}
function connect() {
  clearTimeout(retryTimer);
  if (stream) stream.close();
  stream = new EventSource("api/events");
  stream.addEventListener("open", loadGranted);
  stream.addEventListener("message", (event) => {
    setLink("live", "Live");
    show(JSON.parse(event.data));
  });
  stream.addEventListener("failure", (event) => {
    setLink("lost", "Report failed");
    announce(clean(JSON.parse(event.data).error, 300));
  });
  stream.addEventListener("error", () => {
    // The browser reconnects by itself, unless the answer was an error: too many clients listen.
    if (stream.readyState === EventSource.CLOSED) poll();
    else setLink("lost", "Reconnecting");
  });
}
async function poll() {
  try {
    const response = await fetch("api/report");
    if (!response.ok) throw new Error();
    show(await response.json());
    setLink("polled", "Every 5 s");
    loadGranted();
  } catch {
    setLink("lost", "Reconnecting");
  }
  if (!document.hidden) retryTimer = setTimeout(connect, 5000);
}
// A page that is not in view gives its place to others after a minute.
let hiddenTimer = 0;
function seenOrHidden() {
  clearTimeout(hiddenTimer);
  if (!document.hidden) {
    if (!stream || stream.readyState === EventSource.CLOSED) connect();
    return;
  }
  hiddenTimer = setTimeout(() => {
    stream?.close();
    clearTimeout(retryTimer);
    setLink("waiting", "Paused");
  }, 60000);
}
document.addEventListener("visibilitychange", seenOrHidden);
// A tab that was opened in the background.
if (document.hidden) seenOrHidden();

// ---------------------------------------------------------------- controls

let frame = 0;
function renderSoon() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    for (const balancer of model.balancers.values()) if (!balancer.table.hidden) balancer.renderRows();
  });
}
function measure() {
  const style = getComputedStyle(document.documentElement);
  rowHeight = parseFloat(style.getPropertyValue("--row")) || 34;
  document.documentElement.style.setProperty("--top", document.querySelector(".top").offsetHeight + "px");
  renderSoon();
}
addEventListener("scroll", renderSoon, { passive: true });
addEventListener("resize", measure);
new ResizeObserver(measure).observe(document.querySelector(".top"));
find("group").addEventListener("change", (event) => {
  model.grouped = event.target.checked;
  rearrange();
});
find("filter").addEventListener("input", (event) => {
  model.filter = event.target.value.trim().toLowerCase();
  rearrange();
  renderEvents();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, dialog")) return;
  event.preventDefault();
  find("filter").focus();
});
measure();
connect();
