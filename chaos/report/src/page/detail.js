// The part in view: faults, nodes, findings, one lane per client with one bar per operation.

let detailPlot = null;
let detailTop = 0;
let laneHeight = 24;

const barText = (one) => `${one.says} → ${answer(one)}`;
const barColour = (one) => ["ok", "rejected", "failed", "lost"][one.outcome];
const barSpan = (plot, one) => {
  const from = plot.x(one.from);
  return [from, Math.max(plot.x(one.to), from + 1.5)];
};

const hatches = new Map();
const hatch = (ink) => {
  if (!hatches.has("rejected")) {
    const tile = document.createElement("canvas");
    tile.width = 6;
    tile.height = 6;
    const brush = tile.getContext("2d");
    brush.fillStyle = colour("rejected-fill");
    brush.fillRect(0, 0, 6, 6);
    brush.strokeStyle = colour("rejected");
    brush.globalAlpha = 0.55;
    brush.beginPath();
    for (const shift of [-6, 0, 6]) {
      brush.moveTo(shift, 6);
      brush.lineTo(shift + 6, 0);
    }
    brush.stroke();
    hatches.set("rejected", ink.createPattern(tile, "repeat"));
  }
  return hatches.get("rejected");
};

const bar = (plot, one, y) => {
  const { ink } = plot;
  const [from, to] = barSpan(plot, one);
  const top = y + 3;
  const height = laneHeight - 6;
  const hue = one.bad ? colour("bad") : colour(barColour(one));
  if (one.outcome === 3) {
    const fade = ink.createLinearGradient(to, 0, to + 26, 0);
    fade.addColorStop(0, hue);
    fade.addColorStop(1, "transparent");
    ink.fillStyle = fade;
    ink.fillRect(to, top + height / 2 - 1, 26, 2);
  }
  if (to - from < 3 && !one.bad) {
    ink.fillStyle = hue;
    ink.fillRect(from, top, to - from, height);
    return;
  }
  ink.fillStyle = one.bad ? colour("bad-fill")
    : one.outcome === 1 ? hatch(ink) : colour(`${barColour(one)}-fill`);
  ink.fillRect(from, top, to - from, height);
  if (one.outcome === 2) {
    ink.fillStyle = hue;
    ink.fillRect(from, top + height / 2 - 1, to - from, 2);
  }
  ink.strokeStyle = hue;
  ink.lineWidth = one.bad ? 2.5 : 1.25;
  if (one.outcome === 3) ink.setLineDash([4, 3]);
  ink.strokeRect(from + 0.5, top + 0.5, Math.max(to - from - 1, 1), height - 1);
  ink.setLineDash([]);
  ink.lineWidth = 1;
};

// The operation's text in its bar, else beside it up to the next bar.
const barLabel = (plot, one, next, y) => {
  const { ink } = plot;
  const [from, to] = barSpan(plot, one);
  const left = Math.max(from, GUTTER) + 5;
  const middle = y + laneHeight / 2 + 0.5;
  const full = ink.measureText(barText(one)).width;
  const free = (next ? plot.x(next.from) : plot.right) - to - 8 - (one.outcome === 3 ? 26 : 0);
  ink.fillStyle = colour("ink");
  if (full <= to - left - 4 && one.outcome !== 2) {
    if (one.outcome === 1) {
      ink.fillStyle = colour("rejected-fill");
      ink.fillRect(left - 2, middle - 8, full + 4, 15);
      ink.fillStyle = colour("ink");
    }
    ink.fillText(barText(one), left, middle);
  } else if (free > 30 && to > GUTTER) {
    ink.fillStyle = colour(one.bad ? "bad" : "soft");
    const text = [barText(one), one.says].find((each) => ink.measureText(each).width <= free);
    ink.fillText(text ?? "", to + 4 + (one.outcome === 3 ? 26 : 0), middle);
  } else if (to - left > 34 && one.outcome !== 2 && one.outcome !== 1) {
    ink.fillText(fitted(ink, one.says, to - left - 4), left, middle);
  }
};

const laneName = (lane) => {
  const seen = new Set();
  for (const one of lanes[lane]) {
    if (one.to >= view.from && one.from <= view.to) seen.add(one.client);
  }
  const names = [...(seen.size > 0 ? seen : new Set([lanes[lane][0]?.client ?? ""]))];
  return names.length > 3 ? `client ${names[0]} … ${names.at(-1)}` : `client ${names.join(", ")}`;
};

// What was found, in words, above the lanes, with a line down to its bar.
const CALLOUT = 22;
const packCallouts = (plot) => {
  const ends = [];
  const placed = [];
  for (const one of offenders) {
    if (one.to < view.from || one.from > view.to || placed.length >= 24) continue;
    const index = one.index < 0 ? "" : ` (index ${one.index})`;
    const text =
      `#${one.op}  client ${one.client} asks node ${one.node}: ${barText(one)}${index}`;
    const shown = fitted(plot.ink, text, plot.right - GUTTER - 24);
    const width = plot.ink.measureText(shown).width + 16;
    const [from, to] = barSpan(plot, one);
    const at = (Math.max(from, GUTTER) + Math.min(to, plot.right)) / 2;
    const left = Math.min(Math.max(at - width / 3, GUTTER + 2), plot.right - width - 2);
    let row = ends.findIndex((taken) => taken <= left);
    if (row < 0) row = ends.length;
    ends[row] = left + width + 8;
    placed.push({ one, shown, width, left, at, row });
  }
  return { placed, rows: Math.max(ends.length, findings.length > 0 ? 1 : 0) };
};
const callouts = (plot, packed, top) => {
  const { ink } = plot;
  for (const { one, at } of packed.placed) {
    ink.fillStyle = colour("bad");
    ink.globalAlpha = 0.65;
    ink.fillRect(at - 0.75, top + 4, 1.5, detailTop + one.lane * laneHeight - top);
  }
  ink.globalAlpha = 1;
  for (const { one, shown, width, left, row } of packed.placed) {
    const y = top + row * CALLOUT;
    ink.fillStyle = colour("bad");
    ink.beginPath();
    ink.roundRect(left, y + 1, width, CALLOUT - 4, 4);
    ink.fill();
    ink.fillStyle = colour("paper");
    ink.font = `600 ${FONT}`;
    ink.fillText(fitted(ink, shown, width - 8), left + 8, y + CALLOUT / 2 - 0.5);
    ink.font = FONT;
    one.callout = { left, y, width };
  }
};

// Where the page has not all operations.
const leftOut = (plot, y0) => {
  const { ink } = plot;
  let from = -end;
  for (const [start, stop] of [...data.whole_us, [2 * end, 2 * end]]) {
    const [a, b] = [Math.max(plot.x(from), GUTTER), Math.min(plot.x(start), plot.right)];
    const inRun = start > 0 && from < end;
    if (b - a > 2 && inRun && !(start > end && from >= end)) {
      ink.fillStyle = colour("soft");
      ink.globalAlpha = 0.16;
      ink.fillRect(a, y0, b - a, plot.height - y0);
      ink.globalAlpha = 1;
      ink.fillStyle = colour("soft");
      ink.fillText(fitted(ink, "not all operations are in this page", b - a - 8), a + 6, y0 + 10);
    }
    from = stop;
  }
};

const drawDetail = () => {
  laneHeight = lanes.length > 16 ? 18 : 24;
  const rough = geometry("detail", view.from, view.to);
  rough.ink.font = `600 ${FONT}`;
  const packed = packCallouts(rough);
  const faultTop = 26;
  for (const fault of faults) {
    if ((fault.to ?? fault.from) >= view.from && fault.from <= view.to) rowsSeen.add(fault.row);
  }
  const rows = faultRows.filter((row) => rowsSeen.has(row));
  const nodeTop = faultTop + rows.length * FAULT_ROW + (rows.length > 0 ? 6 : 0);
  const findTop = nodeTop + data.nodes.length * NODE_ROW + 8;
  detailTop = findTop + packed.rows * CALLOUT + 4;
  const height = detailTop + lanes.length * laneHeight + 6;
  const plot = canvasOf("detail", height, view.from, view.to);
  detailPlot = plot;
  const { ink } = plot;
  timeAxis(plot, 12, 24, height);
  inside(plot, () => faultBands(plot, nodeTop, height));
  faultLanes(plot, faultTop, rows);
  nodeLanes(plot, nodeTop);
  if (packed.rows > 0) label(plot, "findings", findTop + CALLOUT / 2, "bad");
  inside(plot, () => {
    ink.fillStyle = colour("bad");
    ink.globalAlpha = 0.1;
    for (const { one } of packed.placed) {
      const [from, to] = barSpan(plot, one);
      ink.fillRect(from, detailTop, to - from, height - detailTop);
    }
    ink.globalAlpha = 1;
  });
  let drawn = 0;
  lanes.forEach((lane, number) => {
    const y = detailTop + number * laneHeight;
    ink.fillStyle = colour("grid");
    ink.fillRect(GUTTER, y + laneHeight / 2, plot.right - GUTTER, 1);
    const found = packed.placed.some(({ one }) => one.lane === number);
    label(plot, laneName(number), y + laneHeight / 2, found ? "bad" : "soft");
    inside(plot, () => {
      const shown = lane.filter((one) => one.to >= view.from && one.from <= view.to);
      let last = "";
      for (const one of shown) {
        const [from, to] = barSpan(plot, one);
        const spot = `${Math.round(from)} ${one.outcome}`;
        if (to - from < 2 && spot === last && !one.bad) continue;
        last = spot;
        bar(plot, one, y);
        drawn += 1;
      }
      if (laneHeight > 20 && shown.length < 400) {
        shown.forEach((one, place) => barLabel(plot, one, shown[place + 1], y));
      }
      for (const one of shown.filter((each) => each === selected || each === hovered)) {
        const [from, to] = barSpan(plot, one);
        ink.strokeStyle = colour("ink");
        ink.lineWidth = 1.5;
        ink.strokeRect(from - 2.5, y + 0.5, to - from + 5, laneHeight - 1);
        ink.lineWidth = 1;
      }
    });
  });
  inside(plot, () => {
    if (data.whole_us.length > 1 || data.whole_us[0][0] > 0 || data.whole_us[0][1] < data.end_us) {
      leftOut(plot, detailTop);
    }
    callouts(plot, packed, findTop);
    for (const [at, of] of data.violations) {
      ink.fillStyle = colour("bad");
      ink.fillRect(plot.x(at) - 1, findTop, 2, height - findTop);
      if (offenders.length === 0) {
        ink.fillText(fitted(ink, of, plot.right - plot.x(at) - 8), plot.x(at) + 6, findTop + 10);
      }
    }
  });
  root.dataset.drawn = drawn;
  const step = (view.to - view.from) / 200;
  id("shown").textContent =
    `${atTime(Math.max(view.from, 0), step)} to ${atTime(Math.min(view.to, end), step)}: ` +
    `${took(Math.min(view.to, end) - Math.max(view.from, 0))}`;
};
