// The list of events: only the lines in sight are in the page, however many there are.

const list = {
  height: 26, shown: [], hiddenKinds: new Set(), chosen: -1,

  start() {
    if (!data.rows.length) return;
    show("events");
    this.box = byId("list");
    this.texts = data.rows.map((row) => (data.strings[row[5]] + " " + (row[6] < 0 ? "" : data.strings[row[6]])).toLowerCase());
    const processors = [...new Set(data.rows.map((row) => row[2]))].sort((one, two) => one - two);
    byId("vp").append(element("option", { value: "" }, "all VPs"), ...processors.map((vp) => element("option", { value: vp }, "VP " + vp)));
    const present = new Map();
    for (const row of data.rows) present.set(row[4], (present.get(row[4]) || 0) + 1);
    for (const [kind, count] of [...present].sort((one, two) => one[0] - two[0])) {
      const button = element("button", { type: "button", "aria-pressed": "true", on: { click: () => {
        if (!this.hiddenKinds.delete(kind)) this.hiddenKinds.add(kind);
        button.setAttribute("aria-pressed", String(!this.hiddenKinds.has(kind)));
        this.filter();
      } } }, this.dot(kind), data.kindNames[kind] + " " + whole(count));
      byId("kinds").append(button);
    }
    byId("search").addEventListener("input", () => this.filter());
    byId("vp").addEventListener("change", () => this.filter());
    byId("problems").addEventListener("change", () => this.filter());
    this.box.addEventListener("scroll", () => this.draw());
    this.filter();
  },

  dot(kind) {
    const mark = element("span", { class: "dot" });
    mark.style.background = "var(--" + COLOURS[data.kindNames[kind]] + ")";
    return mark;
  },

  filter() {
    if (!this.box) return;
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const vp = byId("vp").value, problems = byId("problems").checked;
    const limited = timeline.zoomed;
    this.shown = [];
    data.rows.forEach((row, at) => {
      if (this.hiddenKinds.has(row[4]) || (vp !== "" && row[2] !== Number(vp)) || (problems && !row[8])) return;
      if (limited && (row[1] < timeline.from || row[1] > timeline.to)) return;
      if (words.every((word) => this.texts[at].includes(word) || data.kindNames[row[4]] === word)) this.shown.push(at);
    });
    const held = data.rows.length < data.total
      ? " The page holds " + whole(data.rows.length) + " of " + whole(data.total) + ": the first, the last, and problems between." : "";
    byId("event-count").textContent = whole(this.shown.length) + " shown" + (limited ? " in the part of the time line" : "") + "." + held;
    byId("spacer").style.height = this.shown.length * this.height + "px";
    this.box.scrollTop = 0;
    this.draw();
  },

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 5);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / this.height) + 12);
    byId("visible").style.top = first * this.height + "px";
    byId("visible").replaceChildren(...this.shown.slice(first, last).map((at) => this.line(at)));
  },

  line(at) {
    const row = data.rows[at];
    const line = element("div", { class: "row" + (row[8] ? " bad" : "") + (at === this.chosen ? " chosen" : ""),
      on: { click: () => this.choose(at) } });
    line.append(
      element("span", {}, seconds(row[1])),
      element("span", {}, row[2] + (row[3] ? " VTL " + row[3] : "")),
      element("span", {}, this.dot(row[4]), data.kindNames[row[4]]),
      element("span", {}, data.strings[row[5]]),
      element("span", {}, row[6] < 0 ? "" : data.strings[row[6]]),
      element("span", {}, row[7] ? duration(row[7]) : ""));
    return line;
  },

  choose(at) {
    this.chosen = this.chosen === at ? -1 : at;
    const row = data.rows[at], detail = byId("detail");
    detail.hidden = this.chosen < 0;
    const lines = ["event " + row[0] + ", " + seconds(row[1]) + " s, VP " + row[2] + ", VTL " + row[3], data.strings[row[5]]];
    if (row[6] >= 0) lines.push("from " + data.strings[row[6]]);
    if (row[7]) lines.push("took " + duration(row[7]));
    detail.textContent = lines.join("\n");
    this.draw();
  },
};

showHead();
timeline.start();
showFindings();
showCalls();
showReach();
showArrivals();
showCoverage();
list.start();
showConsole();
document.documentElement.dataset.ready = "true";
