// The time line: counts of each span of time, and single events where they have room.

const timeline = {
  lane: 46, gutter: 62, axis: 24, from: 0, to: 1, drag: null,

  start() {
    const lanes = data.timeline.lanes;
    if (!lanes.length || data.end <= data.start) return;
    show("timeline");
    this.canvas = byId("canvas");
    this.lane = lanes.length <= 4 ? 72 : lanes.length <= 16 ? 48 : 34;
    this.whole();
    const names = [["calls", "calls"], ["interrupts", "interrupts"], ["messages", "messages"], ["registers", "MSRs and CPUID"],
      ["problem", "problems"], ["running", "runs"], ["resting", "rests"], ["level", "above VTL 0"]];
    for (const [name, label] of names) {
      const mark = element("i");
      mark.style.background = "var(--" + name + ")";
      byId("legend").append(element("span", {}, mark, label));
    }
    if (data.timeline.leftOut) byId("legend").append(element("span", {}, "Only the first " + lanes.length + " processors are shown."));
    for (const button of document.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.move(button.dataset.move));
    }
    this.canvas.addEventListener("pointerdown", (event) => {
      this.drag = { from: event.offsetX, to: event.offsetX };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.drag) { this.drag.to = event.offsetX; this.draw(); } else this.tell(event);
    });
    this.canvas.addEventListener("pointerup", () => this.drop());
    this.canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
    this.canvas.addEventListener("dblclick", () => this.move("all"));
    this.canvas.addEventListener("keydown", (event) => {
      const what = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "-": "out", Escape: "all" }[event.key];
      if (what) { this.move(what); event.preventDefault(); }
    });
    this.times = Float64Array.from(data.rows, (row) => row[1]);
    this.sortedTimes = this.times.every((time, at) => !at || this.times[at - 1] <= time);
    this.laneOf = new Map(lanes.map((lane, at) => [lane.vp, at]));
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    this.draw();
  },

  whole() {
    const margin = (data.end - data.start) * 0.005 + 1;
    this.from = data.start - margin;
    this.to = data.end + margin;
    this.zoomed = false;
  },

  move(what) {
    const span = this.to - this.from, middle = (this.from + this.to) / 2;
    if (what === "all") this.whole();
    else {
      const size = what === "in" ? span / 2 : what === "out" ? span * 2 : span;
      const at = middle + (what === "left" ? -span / 4 : what === "right" ? span / 4 : 0);
      this.set(at - size / 2, at + size / 2);
    }
    this.draw();
    list.filter();
  },

  set(from, to) {
    const least = 20, most = (data.end - data.start) * 1.01 + 2;
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    if (to - from >= most) { this.whole(); return; }
    this.from = from;
    this.to = to;
    this.zoomed = true;
  },

  drop() {
    const drag = this.drag;
    this.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 4) {
      this.set(this.time(Math.min(drag.from, drag.to)), this.time(Math.max(drag.from, drag.to)));
      list.filter();
    }
    this.draw();
  },

  time(x) { return this.from + (x - this.gutter) / (this.width - this.gutter) * (this.to - this.from); },
  x(time) { return this.gutter + (time - this.from) / (this.to - this.from) * (this.width - this.gutter); },

  draw() {
    if (!this.canvas) return;
    const lanes = data.timeline.lanes, ratio = devicePixelRatio || 1;
    this.width = this.canvas.parentElement.clientWidth;
    const height = this.axis + lanes.length * this.lane;
    this.canvas.width = this.width * ratio;
    this.canvas.height = height * ratio;
    this.canvas.style.height = height + "px";
    const pen = this.pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    this.drawAxis(height);
    const most = this.detailed() ? 0 : this.scale();
    lanes.forEach((lane, at) => this.drawLane(lane, this.axis + at * this.lane, most));
    if (!most) this.drawArrows();
    this.drawEvents();
    if (this.drag) {
      pen.fillStyle = "rgba(" + colour("accent-rgb") + ",.18)";
      pen.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), height);
    }
  },

  drawAxis(height) {
    const pen = this.pen, span = this.to - this.from;
    const labels = Math.max(2, (this.width - this.gutter) / 105);
    let step = 10 ** Math.floor(Math.log10(span / labels));
    for (const factor of [1, 2, 5, 10]) if (span / (step * factor) <= labels) { step *= factor; break; }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    const digits = Math.min(9, Math.max(0, Math.ceil(9 - Math.log10(step))));
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = this.x(at);
      if (x < this.gutter + 18) continue;
      pen.fillStyle = colour("line");
      pen.fillRect(x, this.axis - 4, 1, height);
      pen.fillStyle = colour("faint");
      pen.fillText(seconds(at, digits) + " s", Math.min(x, this.width - 34), 3);
    }
  },

  spans(lane, values, act) {
    const width = data.timeline.width;
    const first = Math.max(0, Math.floor((this.from - data.start) / width));
    const last = Math.min(values.length - 1, Math.floor((this.to - data.start) / width));
    for (let at = first; at <= last; at++) if (values[at]) act(at, values[at]);
  },

  // The counts that a column of pixels has, so that the tallest bar fills its lane.
  columns(lane, name) {
    const found = new Map(), width = data.timeline.width;
    this.spans(lane, lane.counts[name] || [], (at, count) => {
      const x = Math.max(this.gutter, Math.floor(this.x(data.start + at * width)));
      found.set(x, (found.get(x) || 0) + count);
    });
    return found;
  },

  scale() {
    let most = 1;
    for (const lane of data.timeline.lanes) {
      const sums = new Map();
      for (const name of ["registers", "interrupts", "messages", "calls"]) {
        for (const [x, count] of this.columns(lane, name)) sums.set(x, (sums.get(x) || 0) + count);
      }
      for (const sum of sums.values()) most = Math.max(most, sum);
    }
    return most;
  },

  drawLane(lane, top, most) {
    const pen = this.pen, width = data.timeline.width, bottom = top + this.lane - 4, strip = 6;
    pen.fillStyle = colour("text");
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText("VP " + lane.vp, 6, top + this.lane / 2);
    pen.fillStyle = colour("running");
    const left = Math.max(this.gutter, this.x(lane.first)), right = Math.min(this.width, this.x(data.end));
    pen.fillRect(left, bottom - strip, Math.max(0, right - left), strip);
    for (const [state, values] of Object.entries(lane.times)) {
      this.spans(lane, values, (at, time) => {
        const begin = Math.max(this.gutter, this.x(data.start + at * width)), end = this.x(data.start + (at + 1) * width);
        pen.fillStyle = colour(state === "resting" ? "resting" : "level");
        const tall = strip * Math.min(1, time / width);
        if (end > begin) pen.fillRect(begin, bottom - tall, end - begin + 0.3, tall);
      });
    }
    if (most) this.drawBars(lane, top, bottom - strip - 1, most);
    pen.fillStyle = colour("line");
    pen.fillRect(0, top + this.lane - 1, this.width, 1);
  },

  drawBars(lane, top, bottom, most) {
    const pen = this.pen, width = data.timeline.width;
    const room = bottom - top - 7, wide = Math.max(1.5, (this.x(data.start + width) - this.x(data.start)) * 0.9);
    const sums = new Map();
    for (const name of ["registers", "interrupts", "messages", "calls"]) {
      pen.fillStyle = colour(name);
      for (const [x, count] of this.columns(lane, name)) {
        const before = sums.get(x) || 0;
        sums.set(x, before + count);
        const low = room * (before / most) ** 0.4, high = Math.max(low + 1, room * ((before + count) / most) ** 0.4);
        pen.fillRect(x, bottom - high, wide, high - low);
      }
    }
    pen.fillStyle = colour("problem");
    for (const name of ["problems", "findings"]) {
      for (const x of this.columns(lane, name).keys()) pen.fillRect(x, top, Math.max(3, Math.min(wide, 6)), 4);
    }
  },

  // Whether the events in sight are few, all there, and far enough apart to say more than their counts.
  detailed() {
    const [first, last] = this.inSight();
    const pixels = this.x(data.start + data.timeline.width) - this.x(data.start);
    return this.zoomed && last > first && last - first <= 600 && pixels > 6 && data.rows.length === data.total;
  },

  // The events in sight, if they are few enough to be drawn one by one.
  inSight() {
    if (!this.sortedTimes) return [0, 0];
    const find = (time) => {
      let low = 0, high = this.times.length;
      while (low < high) { const middle = (low + high) >> 1; if (this.times[middle] < time) low = middle + 1; else high = middle; }
      return low;
    };
    return [find(this.from), find(this.to)];
  },

  drawEvents() {
    const [first, last] = this.inSight();
    if (last - first > 600 || last === first) return;
    const pen = this.pen, detailed = this.detailed(), taken = new Map();
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (let at = last - 1; at >= first; at--) {
      const row = data.rows[at], lane = this.laneOf.get(row[2]), x = this.x(row[1]);
      if (lane === undefined || x < this.gutter) continue;
      const top = this.axis + lane * this.lane, y = detailed ? top + this.lane / 2 - 5 : top + 8;
      pen.fillStyle = colour(row[8] ? "problem" : COLOURS[data.kindNames[row[4]]]);
      if (detailed) pen.fillRect(x - 0.5, top + 3, 1, this.lane - 13);
      pen.beginPath();
      pen.arc(x, y, detailed ? 4.5 : 3.5, 0, 7);
      pen.fill();
      if (row[7]) pen.fillRect(x, y - 2, Math.max(1, this.x(row[1] + row[7]) - x), 4);
      // A text where there is room for it before the next event of the lane.
      const room = (taken.get(lane) ?? this.width) - x - 16;
      if (detailed && room > 40) this.label(data.strings[row[5]], x + 9, y, room);
      taken.set(lane, x);
    }
  },

  // From what was sent to its arrival.
  drawArrows() {
    const pen = this.pen;
    pen.strokeStyle = colour("interrupts");
    pen.lineWidth = 1.2;
    for (const [sent, sender, arrived, receiver] of data.arrows) {
      if (arrived < this.from || sent > this.to) continue;
      const one = this.laneOf.get(sender), other = this.laneOf.get(receiver);
      if (one === undefined || other === undefined) continue;
      const middle = (lane) => this.axis + lane * this.lane + this.lane / 2 - 5;
      const x = this.x(sent), y = middle(one), end = this.x(arrived), below = middle(other);
      const tip = end - 5, bend = Math.max(12, (tip - x) / 2);
      pen.beginPath();
      pen.moveTo(x, y);
      pen.bezierCurveTo(x + bend, y, tip - bend, below, tip, below);
      pen.moveTo(tip - 5, below - 4);
      pen.lineTo(tip, below);
      pen.lineTo(tip - 5, below + 4);
      pen.stroke();
    }
    // Nothing is to reach into the names of the lanes.
    pen.fillStyle = colour("surface");
    pen.fillRect(0, this.axis, this.gutter - 1, data.timeline.lanes.length * this.lane);
    pen.fillStyle = colour("text");
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    data.timeline.lanes.forEach((lane, at) => pen.fillText("VP " + lane.vp, 6, this.axis + at * this.lane + this.lane / 2));
  },

  label(text, x, y, room) {
    const pen = this.pen, most = Math.floor(room / 6.2);
    pen.fillStyle = colour("text");
    pen.fillText(text.length > most ? text.slice(0, most - 1) + "…" : text, x, y, room);
  },

  tell(event) {
    const tip = byId("tip"), at = Math.floor((event.offsetY - this.axis) / this.lane), lane = data.timeline.lanes[at];
    if (!lane || event.offsetX < this.gutter) { tip.hidden = true; return; }
    const time = this.time(event.offsetX), span = Math.floor((time - data.start) / data.timeline.width);
    const lines = ["VP " + lane.vp + " at " + seconds(time) + " s"];
    const counted = Object.entries(lane.counts).filter(([, values]) => values[span]).map(([name, values]) => whole(values[span]) + " " + name);
    if (counted.length) lines.push(counted.join(", ") + " in " + duration(data.timeline.width));
    const [first, last] = this.inSight();
    if (last - first <= 600) {
      let best = null, distance = 9;
      for (let number = first; number < last; number++) {
        const away = Math.abs(this.x(data.rows[number][1]) - event.offsetX);
        if (data.rows[number][2] === lane.vp && away < distance) { best = data.rows[number]; distance = away; }
      }
      if (best) lines.push(data.strings[best[5]].slice(0, 300));
    }
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    const box = this.canvas.parentElement.getBoundingClientRect();
    tip.style.left = Math.max(0, Math.min(event.offsetX + 14, box.width - tip.offsetWidth - 4)) + "px";
    tip.style.top = this.axis + (at + 1) * this.lane + 2 + "px";
  },
};
