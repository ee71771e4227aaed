// What is shown: the data, the part of the run in view, the selected operation, the colours.

const root = document.documentElement;
const id = (name) => document.getElementById(name);
window.addEventListener("error", (event) => {
  root.dataset.state = `failed: ${event.message}`;
});

const data = JSON.parse(id("data").textContent);
const OUTCOMES = ["ok", "rejected", "failed", "unknown"];
const CALLS = ["command", "query", "stale query"];
const end = Math.max(data.end_us, 1000);

const operations = data.operations.map((row) => {
  const [op, lane, client, node, machine, says, reply, call, outcome, from, to, index, bad] = row;
  const text = (place) => data.texts[place];
  return {
    op, lane, call, outcome, from, to, index, bad: bad === 1, client: text(client),
    node: text(node), machine: text(machine), says: text(says), reply: text(reply),
  };
});
const faults = data.faults.map(([number, says, from, to]) => ({ number, says, from, to }));
const standings = data.standings.map(([node, term, role, from, to]) => ({
  node, term, role, from, to,
}));
const offenders = operations.filter((one) => one.bad);
const lanes = Array.from({ length: data.lanes }, () => []);
for (const one of operations) lanes[one.lane].push(one);

// Spans worth a visit, in order: offending operations, else violations.
const findings = (offenders.length > 0
  ? offenders.map((one) => ({ from: one.from, to: one.to, one }))
  : data.violations.map(([at]) => ({ from: at, to: at, one: null }))
).sort((a, b) => a.from - b.from);

const view = { from: 0, to: end };
let selected = offenders.at(-1) ?? null;
let hovered = null;

// Shows this part, or the nearest part of at least 20 microseconds inside the run.
const show = (from, to) => {
  const width = Math.min(Math.max(to - from, 20), end * 1.02);
  const middle = (from + to) / 2;
  const least = -end * 0.01;
  view.from = Math.min(Math.max(middle - width / 2, least), end * 1.01 - width);
  view.to = view.from + width;
  redraw();
};
const showAll = () => show(-end * 0.01, end * 1.01);
const showFailure = () =>
  (findings.length > 0 ? show(data.window_us[0], data.window_us[1]) : showAll());

let colours = new Map();
const colour = (name) => {
  if (!colours.has(name)) {
    colours.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  }
  return colours.get(name);
};

const atTime = (us, step) => {
  const digits = step >= 1e6 ? 0 : Math.min(6, Math.ceil(-Math.log10(step / 1e6) - 1e-9));
  return `${(us / 1e6).toFixed(digits)} s`;
};
const took = (us) => {
  if (us < 1e3) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
};
// Round steps (1, 2, 5 times a power of ten) so that about so many fit.
const roundStep = (width, count) => {
  const rough = width / Math.max(count, 1);
  const ten = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((digit) => digit * ten).find((step) => step >= rough);
};
const answer = (one) => (one.reply === "" ? OUTCOMES[one.outcome] : one.reply);
