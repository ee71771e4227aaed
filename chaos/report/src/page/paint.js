// What the plots are made of: a sharp canvas, the time axis, lanes of faults and of nodes.

const GUTTER = 104;
const MARGIN = 14;
const FONT = "12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const FAULT_ROW = 20;
const NODE_ROW = 22;

// How a canvas maps the microseconds of the span [from, to] to pixels.
const geometry = (name, from, to) => {
  const canvas = id(name);
  const ink = canvas.getContext("2d");
  const width = Math.max(canvas.parentElement.clientWidth, 320);
  const right = width - MARGIN;
  const x = (us) => GUTTER + ((us - from) / (to - from)) * (right - GUTTER);
  ink.font = FONT;
  return { canvas, ink, width, right, x, from, to };
};
// The same with a canvas of this height, cleared.
const canvasOf = (name, height, from, to) => {
  const plot = geometry(name, from, to);
  const { canvas, ink, width } = plot;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  ink.scale(ratio, ratio);
  ink.font = FONT;
  ink.textBaseline = "middle";
  ink.fillStyle = colour("panel");
  ink.fillRect(0, 0, width, height);
  return { ...plot, height };
};
// The time under a pixel of such a plot.
const timeAt = (plot, px) =>
  plot.from + ((px - GUTTER) / (plot.right - GUTTER)) * (plot.to - plot.from);

// Draws inside the plot only, not over the labels.
const inside = (plot, draw) => {
  plot.ink.save();
  plot.ink.beginPath();
  plot.ink.rect(GUTTER, 0, plot.right - GUTTER, plot.height);
  plot.ink.clip();
  draw();
  plot.ink.restore();
};
// Text cut to this width, or nothing when hardly a letter fits.
const fitted = (ink, text, room) => {
  if (ink.measureText(text).width <= room) return text;
  if (room < 28) return "";
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ink.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : "";
};
const label = (plot, text, y, hue = "soft") => {
  plot.ink.fillStyle = colour(hue);
  plot.ink.textAlign = "right";
  plot.ink.fillText(fitted(plot.ink, text, GUTTER - 16), GUTTER - 10, y);
  plot.ink.textAlign = "left";
};

// Grid lines from y0 to y1 and the times above them.
const timeAxis = (plot, textY, y0, y1) => {
  const { ink, x } = plot;
  const step = roundStep(plot.to - plot.from, (plot.right - GUTTER) / 120);
  for (let at = Math.ceil(plot.from / step) * step; at <= plot.to; at += step) {
    const px = Math.round(x(at)) + 0.5;
    ink.fillStyle = colour("grid");
    ink.fillRect(px - 0.5, y0, 1, y1 - y0);
    const text = atTime(at, step);
    const half = ink.measureText(text).width / 2;
    if (px + half > plot.width || at < 0) continue;
    ink.fillStyle = colour("soft");
    ink.textAlign = "center";
    ink.fillText(text, px, textY);
    ink.textAlign = "left";
  }
};

// Rows for the faults, so that neither bars nor names overlap when the whole run is shown.
const FAULT_ROWS_MAX = 10;
let faultRows = [];
// Rows that the time line has shown: it gives no room to the others, and does not jump back.
const rowsSeen = new Set();
const packFaults = () => {
  const { ink, x } = geometry("whole", 0, end);
  const ends = [];
  for (const fault of faults) {
    const from = x(fault.from);
    const to = x(fault.to ?? fault.from);
    const text = ink.measureText(fault.says).width;
    const needs = text + 12 <= to - from ? to + 12 : to + text + 24;
    let row = ends.findIndex((taken) => taken <= from);
    if (row < 0) row = ends.length < FAULT_ROWS_MAX ? ends.length : ends.indexOf(Math.min(...ends));
    ends[row] = Math.max(ends[row] ?? 0, needs);
    fault.row = row;
  }
  faultRows = [...ends.keys()];
  rowsSeen.clear();
};

// Shaded bands through all plots below the faults that cause them.
const faultBands = (plot, y0, y1) => {
  const { ink, x } = plot;
  for (const fault of faults) {
    const from = x(fault.from);
    ink.fillStyle = colour("band");
    if (fault.to === null) {
      ink.globalAlpha = 0.7;
      for (let y = y0; y < y1; y += 6) ink.fillRect(from - 0.5, y, 1, 3);
    } else {
      ink.globalAlpha = faults.length > 12 ? 0.06 : 0.11;
      ink.fillRect(from, y0, Math.max(x(fault.to) - from, 1), y1 - y0);
    }
    ink.globalAlpha = 1;
  }
};

// One bar per fault of these rows with its name; a diamond for what happened once.
const faultLanes = (plot, top, rows) => {
  const { ink, x } = plot;
  if (rows.length > 0) label(plot, "faults", top + FAULT_ROW / 2);
  inside(plot, () => {
    for (const [number, packed] of rows.entries()) {
      const row = faults.filter((fault) => fault.row === packed);
      row.forEach((fault, place) => {
        const y = top + number * FAULT_ROW;
        const from = x(fault.from);
        const to = fault.to === null ? from : Math.max(x(fault.to), from + 2);
        const next = place + 1 < row.length ? x(row[place + 1].from) - 8 : plot.right;
        ink.fillStyle = colour("fault");
        let textX = Math.max(from, GUTTER) + 6;
        if (fault.to === null) {
          const middle = y + FAULT_ROW / 2;
          ink.beginPath();
          ink.moveTo(from, middle - 6);
          ink.lineTo(from + 5, middle);
          ink.lineTo(from, middle + 6);
          ink.lineTo(from - 5, middle);
          ink.fill();
          textX = from + 9;
        } else {
          ink.fillStyle = colour("fault-fill");
          ink.fillRect(from, y + 2, to - from, FAULT_ROW - 4);
          ink.strokeStyle = colour("fault");
          ink.strokeRect(from + 0.5, y + 2.5, Math.max(to - from - 1, 1), FAULT_ROW - 5);
        }
        if (to < GUTTER || from > plot.right) return;
        let room = to - textX - 4;
        ink.fillStyle = colour("fault-ink");
        if (room < ink.measureText(fault.says).width && next - to > room) {
          textX = Math.max(to, GUTTER) + (fault.to === null ? 9 : 6);
          room = next - textX;
          ink.fillStyle = colour("ink");
        }
        ink.fillText(fitted(ink, fault.says, room), textX, y + FAULT_ROW / 2 + 0.5);
      });
    }
  });
};

// One lane per node: its standing as colour, its term as text.
const nodeLanes = (plot, top) => {
  const { ink, x } = plot;
  data.nodes.forEach((node, place) => {
    label(plot, `node ${node}`, top + place * NODE_ROW + NODE_ROW / 2);
  });
  inside(plot, () => {
    for (const one of standings) {
      const from = x(one.from);
      const to = x(one.to);
      if (to < GUTTER || from > plot.right) continue;
      const y = top + one.node * NODE_ROW + 2;
      const height = NODE_ROW - 4;
      const known = ["leader", "candidate", "follower", "down"].includes(one.role);
      const kind = known ? one.role : "follower";
      const low = kind === "follower" ? 3 : 0;
      ink.fillStyle = colour(kind);
      ink.fillRect(from, y + low, Math.max(to - from - 1, 1.5), height - 2 * low);
      const left = Math.max(from, GUTTER) + 6;
      const room = Math.min(to, plot.right) - left - 4;
      const plain = kind === "follower" && known;
      const words = kind === "down" ? ["down"]
        : plain ? [`term ${one.term}`, one.term]
        : [`${one.role}, term ${one.term}`, `${one.role} ${one.term}`, one.term];
      const text = words.find((word) => ink.measureText(word).width <= room);
      if (text === undefined) continue;
      ink.fillStyle = colour(`${kind}-ink`);
      ink.font = kind === "leader" ? `600 ${FONT}` : low > 0 ? FONT.replace("12", "11") : FONT;
      ink.fillText(text, left, y + height / 2 + 0.5);
      ink.font = FONT;
    }
  });
};
