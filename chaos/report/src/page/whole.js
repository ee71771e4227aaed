// The whole run: a strip to find one's way, and faults, nodes, throughput and latency on one axis.

let stripPlot = null;
let wholePlot = null;
const { width_us: binWidth, counts, latency_us: latencies } = data.bins;
const OUTCOME_COLOURS = ["ok", "rejected", "failed", "lost"];

// The frame around what the time line shows.
const frame = (plot, y0, y1) => {
  const { ink, x } = plot;
  const from = Math.max(x(view.from), GUTTER);
  const to = Math.max(Math.min(x(view.to), plot.right), from + 3);
  ink.strokeStyle = colour("accent");
  ink.lineWidth = 2;
  ink.strokeRect(from, y0 + 1, to - from, y1 - y0 - 2);
  ink.lineWidth = 1;
};

const drawStrip = () => {
  const height = 38;
  const plot = canvasOf("strip", height, 0, end);
  stripPlot = plot;
  const { ink, x } = plot;
  label(plot, "whole run", height / 2);
  const most = Math.max(1, ...counts.map((bin) => bin[0] + bin[1] + bin[2] + bin[3]));
  inside(plot, () => {
    faultBands(plot, 0, height);
    counts.forEach((bin, place) => {
      const all = bin[0] + bin[1] + bin[2] + bin[3];
      const tall = (all / most) * (height - 8);
      ink.fillStyle = colour("ok");
      ink.globalAlpha = 0.45;
      const from = x(place * binWidth);
      ink.fillRect(from, height - tall, x((place + 1) * binWidth) - from, tall);
      ink.globalAlpha = 1;
    });
    ink.fillStyle = colour("bad");
    for (const { from, to } of findings) {
      ink.fillRect(x(from) - 1, 0, Math.max(x(to) - x(from), 2), height);
    }
  });
  frame(plot, 0, height);
};

const throughput = (plot, top, height) => {
  const { ink, x } = plot;
  const perSecond = 1e6 / binWidth;
  const sums = counts.map((bin) => bin.reduce((sum, count) => sum + count, 0));
  const most = Math.max(1, ...sums) * perSecond;
  const step = roundStep(most, 3);
  const ceiling = Math.ceil(most / step) * step;
  const y = (rate) => top + height - (rate / ceiling) * height;
  ink.textAlign = "right";
  for (let rate = 0; rate <= ceiling; rate += step) {
    ink.fillStyle = colour("grid");
    ink.fillRect(GUTTER, Math.round(y(rate)), plot.right - GUTTER, 1);
    ink.fillStyle = colour("soft");
    ink.fillText(rate.toLocaleString("en"), GUTTER - 10, y(rate));
  }
  ink.textAlign = "left";
  inside(plot, () => {
    counts.forEach((bin, place) => {
      const from = x(place * binWidth);
      const width = Math.max(x((place + 1) * binWidth) - from - 1, 1);
      let sum = 0;
      bin.forEach((count, outcome) => {
        const bottom = y(sum * perSecond);
        sum += count;
        ink.fillStyle = colour(OUTCOME_COLOURS[outcome]);
        if (count > 0) ink.fillRect(from, y(sum * perSecond), width, bottom - y(sum * perSecond));
      });
    });
  });
};

const heading = (plot, text, y) => {
  plot.ink.font = `600 ${FONT}`;
  plot.ink.fillStyle = colour("panel");
  plot.ink.fillRect(GUTTER, y - 8, plot.ink.measureText(text).width + 6, 16);
  plot.ink.fillStyle = colour("ink");
  plot.ink.fillText(text, GUTTER, y);
  plot.ink.font = FONT;
};

const sign = (ink, call, px, py, size) => {
  if (call === 1) {
    ink.fillRect(px - size, py - size, 2 * size, 2 * size);
    return;
  }
  ink.beginPath();
  if (call === 0) {
    ink.arc(px, py, size * 1.1, 0, 7);
  } else {
    ink.moveTo(px, py - size * 1.4);
    ink.lineTo(px + size * 1.4, py + size * 1.2);
    ink.lineTo(px - size * 1.4, py + size * 1.2);
  }
  ink.fill();
};

const latency = (plot, top, height) => {
  const { ink, x } = plot;
  const spans = operations.map((one) => Math.max(one.to - one.from, 1));
  for (const pair of latencies) if (pair) spans.push(Math.max(pair[0], 1), Math.max(pair[1], 1));
  const least = Math.floor(Math.log10(spans.reduce((a, b) => Math.min(a, b), 1e9)));
  const most = Math.ceil(Math.log10(spans.reduce((a, b) => Math.max(a, b), 10)) + 1e-9);
  const low = Math.min(least, most - 1);
  const y = (us) => top + height - ((Math.log10(Math.max(us, 1)) - low) / (most - low)) * height;
  ink.textAlign = "right";
  for (let power = low; power <= most; power += 1) {
    ink.fillStyle = colour("grid");
    ink.fillRect(GUTTER, Math.round(y(10 ** power)), plot.right - GUTTER, 1);
    ink.fillStyle = colour("soft");
    const text = took(10 ** power).replace(/\.0+ /, " ");
    ink.fillText(text, GUTTER - 10, y(10 ** power));
  }
  ink.textAlign = "left";
  const size = operations.length > 4000 ? 1.2 : operations.length > 1000 ? 1.7 : 2.1;
  inside(plot, () => {
    ink.globalAlpha = operations.length > 4000 ? 0.45 : 0.75;
    for (const one of operations) {
      ink.fillStyle = colour(barColour(one));
      sign(ink, one.call, x(one.from), y(one.to - one.from), size);
    }
    ink.globalAlpha = 1;
    [[0, []], [1, [2, 3]]].forEach(([which, dash]) => {
      ink.strokeStyle = colour("ink");
      ink.lineWidth = 1.4;
      ink.setLineDash(dash);
      ink.beginPath();
      let pen = false;
      latencies.forEach((pair, place) => {
        if (pair) ink[pen ? "lineTo" : "moveTo"](x((place + 0.5) * binWidth), y(pair[which]));
        pen = pair !== null;
      });
      ink.stroke();
      ink.setLineDash([]);
      ink.lineWidth = 1;
    });
    for (const one of offenders) {
      ink.strokeStyle = colour("bad");
      ink.lineWidth = 2;
      ink.beginPath();
      ink.arc(x(one.from), y(one.to - one.from), 6, 0, 7);
      ink.stroke();
      ink.lineWidth = 1;
    }
  });
};

// Everything but the frame, kept until the size or the colours change: it has many points.
let wholeKept = null;
const wholePicture = (plot, at) => {
  const bottom = at.delay + at.delayHeight;
  timeAxis(plot, bottom + 14, at.nodes, bottom);
  inside(plot, () => faultBands(plot, at.nodes, bottom));
  faultLanes(plot, at.faults, faultRows);
  nodeLanes(plot, at.nodes);
  throughput(plot, at.rate, at.rateHeight);
  latency(plot, at.delay, at.delayHeight);
  if (at.phases.length > 0) label(plot, "phase", 11);
  inside(plot, () => {
    at.phases.forEach(([start, name], place) => {
      const px = Math.round(plot.x(start));
      const next = at.phases[place + 1] ? plot.x(at.phases[place + 1][0]) : plot.right;
      plot.ink.fillStyle = colour("soft");
      plot.ink.fillRect(px, 2, 1, at.faults - 2);
      plot.ink.fillRect(px, at.nodes - 3, 1, bottom - at.nodes + 3);
      plot.ink.fillText(fitted(plot.ink, name, next - px - 12), px + 6, 11);
    });
  });
  const kept = document.createElement("canvas");
  kept.width = plot.canvas.width;
  kept.height = plot.canvas.height;
  kept.getContext("2d").drawImage(plot.canvas, 0, 0);
  return kept;
};

const drawWhole = () => {
  const at = { rateHeight: 84, delayHeight: 170 };
  at.phases = data.phases.filter(([start, name]) => start < end && name !== "");
  at.faults = at.phases.length > 0 ? 22 : 2;
  at.nodes = at.faults + faultRows.length * FAULT_ROW + 6;
  at.rate = at.nodes + data.nodes.length * NODE_ROW + 28;
  at.delay = at.rate + at.rateHeight + 30;
  const bottom = at.delay + at.delayHeight;
  const plot = canvasOf("whole", bottom + 26, 0, end);
  wholePlot = plot;
  if (wholeKept) plot.ink.drawImage(wholeKept, 0, 0, plot.width, plot.height);
  else wholeKept = wholePicture(plot, at);
  frame(plot, at.nodes - 3, bottom + 3);
  heading(plot, "operations per second, by outcome", at.rate - 11);
  heading(plot, "latency by time of the question, logarithmic", at.delay - 11);
};
