// Mouse and keyboard, what is said about an operation, and when to draw.

const describe = (box, one) => {
  box.replaceChildren();
  const add = (kind, text, name) => {
    const part = document.createElement(kind);
    part.textContent = text;
    if (name) part.className = name;
    box.append(part, " ");
  };
  if (one === null) {
    add("span", "No operation is selected.");
    return;
  }
  add("b", `#${one.op} ${one.says}`, one.bad ? "bad" : "");
  add("span", "→");
  add("b", answer(one), one.bad ? "bad" : "");
  if (one.bad) add("span", "(proves the failure)");
  box.append(document.createElement("br"));
  const index = one.index < 0 ? "no index" : `index ${one.index}`;
  add("span", `${OUTCOMES[one.outcome]}, ${index}; ${CALLS[one.call]} of client ${one.client} to ` +
    `node ${one.node}, machine ${one.machine}; ${atTime(one.from, 1)} to ${atTime(one.to, 1)}, ` +
    `${took(one.to - one.from)}`);
};

const select = (one) => {
  selected = one;
  describe(id("readout"), one);
  if (one && (one.from < view.from || one.to > view.to)) {
    const width = view.to - view.from;
    show((one.from + one.to - width) / 2, (one.from + one.to + width) / 2);
  } else {
    redraw();
  }
};

// The operation under the mouse: in its lane the nearest bar within a few pixels.
const under = (event) => {
  const box = id("detail").getBoundingClientRect();
  const px = event.clientX - box.left;
  const py = event.clientY - box.top;
  for (const one of offenders) {
    const at = one.callout;
    if (at && px >= at.left && px <= at.left + at.width && py >= at.y && py < at.y + CALLOUT) {
      return one;
    }
  }
  const lane = lanes[Math.floor((py - detailTop) / laneHeight)];
  if (!lane || py < detailTop || px < GUTTER) return null;
  let best = null;
  let bestGap = 6;
  for (const one of lane) {
    const [from, to] = barSpan(detailPlot, one);
    const gap = Math.max(from - px, px - to, 0) - (one.bad ? 1 : 0);
    if (gap < bestGap) [best, bestGap] = [one, gap];
  }
  return best;
};

const zoom = (factor, middle = (view.from + view.to) / 2) =>
  show(middle - (middle - view.from) * factor, middle + (view.to - middle) * factor);
const move = (share) => {
  const by = (view.to - view.from) * share;
  show(view.from + by, view.to + by);
};
// To the next finding behind the middle of the view, or the one before it.
const visit = (step) => {
  const middle = selected ? selected.from : (view.from + view.to) / 2;
  const ahead = step > 0 ? findings.filter((one) => one.from > middle)
    : findings.filter((one) => one.from < middle).reverse();
  const goal = ahead[0] ?? findings.at(step > 0 ? 0 : -1);
  if (goal?.one) select(goal.one);
  else if (goal) show(goal.from - (view.to - view.from) / 2, goal.to + (view.to - view.from) / 2);
};

// Dragging in a plot of the whole run chooses what the time line shows.
const brush = (name, plotOf) => {
  const canvas = id(name);
  let start = null;
  const at = (event) => timeAt(plotOf(), event.clientX - canvas.getBoundingClientRect().left);
  canvas.addEventListener("pointerdown", (event) => {
    start = at(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (start !== null && Math.abs(at(event) - start) > (end / plotOf().width) * 4) {
      show(Math.min(start, at(event)), Math.max(start, at(event)));
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const width = view.to - view.from;
    if (start !== null && Math.abs(at(event) - start) <= (end / plotOf().width) * 4) {
      show(start - width / 2, start + width / 2);
    }
    start = null;
  });
};

const detailHands = () => {
  const canvas = id("detail");
  const tip = id("tip");
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { px: event.clientX, from: view.from, to: view.to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag && Math.abs(event.clientX - drag.px) > 3) {
      drag.moved = true;
      const scale = (drag.to - drag.from) / (detailPlot.right - GUTTER);
      const by = (drag.px - event.clientX) * scale;
      tip.hidden = true;
      show(drag.from + by, drag.to + by);
      return;
    }
    const one = under(event);
    if (one !== hovered) {
      hovered = one;
      redraw();
    }
    tip.hidden = one === null;
    if (one === null) return;
    describe(tip, one);
    const room = document.documentElement.clientWidth - tip.offsetWidth - 12;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, room))}px`;
    tip.style.top = `${event.clientY + 18}px`;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) {
      const one = under(event);
      if (one) select(one);
    }
    drag = null;
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    tip.hidden = true;
    redraw();
  });
  canvas.addEventListener("dblclick", (event) =>
    zoom(0.4, timeAt(detailPlot, event.clientX - canvas.getBoundingClientRect().left)));
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const px = event.clientX - canvas.getBoundingClientRect().left;
      zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(detailPlot, px));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move(event.deltaX / 1000);
    }
  }, { passive: false });
  canvas.addEventListener("keydown", keys);
};

// Arrow keys go along the lane of the selected operation, or to the nearest one of another lane.
const step = (along, across) => {
  if (selected === null) {
    const first = operations.find((one) => one.from >= view.from) ?? operations[0];
    if (first) select(first);
    return;
  }
  if (across === 0) {
    const lane = lanes[selected.lane];
    select(lane[lane.indexOf(selected) + along] ?? selected);
    return;
  }
  let number = selected.lane + across;
  while (lanes[number]?.length === 0) number += across;
  const lane = lanes[number] ?? [];
  const gap = (one) => Math.abs(one.from - selected.from);
  const nearest = lane.reduce((best, one) => (best && gap(best) <= gap(one) ? best : one), null);
  if (nearest) select(nearest);
};
const KEYS = {
  ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0),
  ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6),
  0: showAll, Home: showFailure, PageUp: () => move(-0.5), PageDown: () => move(0.5),
};
const keys = (event) => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
};

const buttons = () => {
  const acts = {
    "to-failure": showFailure, "to-all": showAll, left: () => move(-0.4), right: () => move(0.4),
    closer: () => zoom(0.6), wider: () => zoom(1.6), previous: () => visit(-1),
    next: () => visit(1),
  };
  for (const [name, act] of Object.entries(acts)) id(name).addEventListener("click", act);
  for (const name of ["to-failure", "previous", "next"]) id(name).disabled = findings.length === 0;
  for (const button of document.querySelectorAll("button.look")) {
    button.addEventListener("click", () => {
      const from = Number(button.dataset.from);
      const to = Number(button.dataset.to);
      const margin = Math.max((to - from) * 0.3, (data.window_us[1] - data.window_us[0]) / 2);
      const one = offenders.find((each) => each.from === from && each.to === to);
      if (one) {
        selected = one;
        describe(id("readout"), one);
      }
      show(from - margin, to + margin);
      id("timeline").scrollIntoView({ block: "start" });
    });
  }
  id("copy").addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(id("reproduce"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    navigator.clipboard?.writeText(id("reproduce").textContent).catch(() => {});
    id("copy").textContent = "copied";
  });
};

// Draws once per frame however often it is asked to; the first time at once.
let waiting = false;
const draw = () => {
  waiting = false;
  drawStrip();
  drawDetail();
  drawWhole();
};
function redraw() {
  if (waiting || root.dataset.state === "starting") return;
  waiting = true;
  requestAnimationFrame(draw);
}
const afresh = () => {
  colours = new Map();
  hatches.clear();
  wholeKept = null;
  packFaults();
  redraw();
};

packFaults();
showFailure();
draw();
describe(id("readout"), selected);
brush("strip", () => stripPlot);
brush("whole", () => wholePlot);
detailHands();
buttons();
window.addEventListener("resize", afresh);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", afresh);
root.dataset.offending = offenders.length;
root.dataset.operations = operations.length;
root.dataset.state = "drawn";
