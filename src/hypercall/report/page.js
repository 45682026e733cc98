"use strict";
// Everything that came from the guest is put into the page as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const COLOURS = { hypercall: "calls", interrupt: "interrupts", msr: "registers", cpuid: "registers",
  message: "messages", machine: "machine", finding: "problem", halt: "faint", vtl: "level", console: "good" };

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "class") made.className = value;
    else if (name === "on") for (const [what, act] of Object.entries(value)) made.addEventListener(what, act);
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const whole = (number) => Math.round(number).toLocaleString("en");

function duration(ns) {
  if (ns < 1000) return (Number.isInteger(ns) ? ns : ns.toFixed(1)) + " ns";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (ns >= size) return (ns / size).toFixed(ns / size < 10 ? 2 : 1) + " " + unit;
  }
  return ns + " ns";
}

const seconds = (ns, digits = 9) => (ns / 1e9).toFixed(digits);

function show(id) {
  byId(id).hidden = false;
  const title = byId(id).querySelector("h2").textContent;
  byId("contents").append(element("a", { href: "#" + id }, title));
}

// --- head ---------------------------------------------------------------------------------------

function showHead() {
  const known = data.description;
  const parts = [];
  if (known.source) parts.push("recorded by " + known.source);
  if (data.processors) parts.push(data.processors + " virtual processor" + (data.processors > 1 ? "s" : ""));
  if (known.memory) parts.push(whole(known.memory / 1048576) + " MiB");
  if (known.like) parts.push("like " + known.like);
  if (known.seed !== undefined) parts.push("seed " + known.seed);
  if (known.append) parts.push(known.append);
  byId("subtitle").textContent = parts.join(" · ");
  byId("subtitle").title = parts.join(" · ");
  for (const note of data.notes) byId("notes").append(element("p", { class: "note" }, note));
  const calls = data.calls.reduce((sum, row) => sum + (row.outcome === "continued" ? 0 : row.count), 0);
  const refused = data.calls.reduce((sum, row) => sum + (row.problem ? row.count : 0), 0);
  const card = (value, label, bad) =>
    byId("figures").append(element("div", { class: bad ? "card bad" : "card" }, element("b", {}, value), element("span", { class: "faint" }, label)));
  card(whole(calls), "hypercalls");
  card(whole(refused), "refused", refused > 0);
  if (data.kinds.interrupt) card(whole(data.kinds.interrupt), "interrupts taken");
  if (data.kinds.message) card(whole(data.kinds.message), "messages and events");
  if (data.kinds.msr) card(whole(data.kinds.msr), "accesses to MSRs");
  const found = data.findings.reduce((sum, each) => sum + each.count, 0);
  card(whole(found), "findings", found > 0);
  card(duration(data.end - data.start), known.source === "hypercall" ? "of virtual time" : "of time");
  if (known.source !== "hypercall") byId("call-note").textContent = "Choose a row to list its calls.";
  card(whole(data.total), "events");
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    timeline.draw();
    showMatrix();
  });
}

// --- tables -------------------------------------------------------------------------------------

function fillTable(table, columns, rows, choose) {
  let sorted = null;
  let ascending = false;
  const body = element("tbody");
  const fill = () => {
    const list = rows.slice();
    if (sorted) {
      list.sort((one, two) => {
        const a = sorted.key(one), b = sorted.key(two);
        const order = typeof a === "string" ? a.localeCompare(b) : a - b;
        return ascending ? order : -order;
      });
    }
    body.replaceChildren(...list.map((row) => {
      const line = element("tr", choose ? { class: "choosable", on: { click: () => choose(row) } } : {});
      for (const column of columns) {
        const cell = element("td", { class: column.class || "" });
        cell.append(column.cell(row));
        line.append(cell);
      }
      return line;
    }));
  };
  const heads = columns.map((column) => element("th", { class: column.class === "number" ? "number" : "" },
    element("button", { type: "button", on: { click: () => {
      ascending = sorted === column ? !ascending : typeof column.key(rows[0] || {}) === "string";
      sorted = column;
      fill();
    } } }, column.title)));
  table.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
  fill();
}

function showCalls() {
  if (!data.calls.length) return;
  show("calls");
  const most = Math.max(...data.calls.map((row) => row.count));
  const time = (title, name) => ({ title, class: "number", key: (row) => row[name], cell: (row) => duration(row[name]) });
  const columns = [
    { title: "call", class: "name", key: (row) => row.name, cell: (row) => row.name },
    { title: "outcome", class: "code", key: (row) => row.outcome,
      cell: (row) => element("span", { class: row.problem ? "problem" : "" }, row.outcome) },
    { title: "count", class: "barred", key: (row) => row.count, cell: (row) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = Math.max(2, 100 * row.count / most) + "px";
      return element("span", {}, element("span", {}, whole(row.count)), bar);
    } },
    time("mean", "mean"), time("median", "median"), time("99 %", "p99"), time("longest", "most"),
    { title: "first, s", class: "number", key: (row) => row.first, cell: (row) => seconds(row.first, 3) },
    { title: "last, s", class: "number", key: (row) => row.last, cell: (row) => seconds(row.last, 3) },
    { title: "mostly from", class: "code", key: (row) => (row.sites[0] || [""])[0], cell: (row) => {
      const rest = row.sites.slice(1).map(([site, count]) => site + " (" + whole(count) + ")");
      if (row.moreSites) rest.push(whole(row.moreSites) + " more");
      const text = row.sites.length ? row.sites[0][0] : "";
      return element("span", { title: rest.join("\n") }, rest.length ? text + "  +" + (row.sites.length - 1 + row.moreSites) : text);
    } },
  ];
  fillTable(byId("call-table"), columns, data.calls, (row) => {
    byId("search").value = row.name + (row.outcome === "SUCCESS" || row.outcome === "done" ? "" : " " + row.outcome);
    list.filter();
    byId("events").scrollIntoView();
  });
}

function showArrivals() {
  if (!data.arrivals.length) return;
  show("arrivals");
  const time = (title, name) => ({ title, class: "number", key: (row) => row[name], cell: (row) => duration(row[name]) });
  fillTable(byId("arrival-table"), [
    { title: "vector", class: "code", key: (row) => row.vector, cell: (row) => "0x" + row.vector.toString(16) },
    { title: "count", class: "number", key: (row) => row.count, cell: (row) => whole(row.count) },
    time("least", "least"), time("median", "median"), time("99 %", "p99"), time("longest", "most"),
  ], data.arrivals);
}

function showFindings() {
  show("findings");
  const rank = { error: 0, warning: 1, advice: 2 };
  const ordered = data.findings.slice().sort((one, two) =>
    (rank[one.severity] ?? 3) - (rank[two.severity] ?? 3) || one.first_ns - two.first_ns);
  for (const each of ordered) {
    const known = each.severity in rank ? each.severity : "";
    const vtl = each.vtl ? ", VTL " + each.vtl : "";
    byId("finding-list").append(element("div", { class: "finding" },
      element("div", {}, element("span", { class: "tag " + known }, each.severity)),
      element("div", {},
        element("div", {}, each.text),
        element("div", { class: "faint" }, each.rule + " · " + seconds(each.first_ns) + " s, VP " + each.vp + vtl + (each.site ? ", " : ""),
          element("span", { class: "code" }, each.site)),
        each.code.length ? element("pre", { class: "code" }, each.code.join("\n")) : "",
        each.why ? element("div", { class: "faint" }, each.why + " TLFS: " + each.section) : ""),
      element("div", { class: "count" }, each.count > 1 ? whole(each.count) + " times" : "once")));
  }
  if (data.findingsLeftOut) {
    byId("finding-list").append(element("p", { class: "faint" }, whole(data.findingsLeftOut) + " more are not shown."));
  }
  if (!data.findings.length) {
    byId("finding-list").append(element("p", { class: "faint" }, "The checks found nothing."));
  }
  for (const each of data.unchecked) {
    byId("unchecked").append(element("p", { class: "faint" },
      (each.inPart ? "Checked in part, for want of " : "Not checked, for want of ") + each.reason + ": " + each.rules.join(", ") + "."));
  }
}

// --- who reaches whom ---------------------------------------------------------------------------

let shownMatrix = null;

function showReach() {
  const names = Object.keys(data.matrices).filter((name) => data.matrices[name].length);
  if (!names.length) return;
  show("reach");
  shownMatrix = names[0];
  for (const name of names) {
    const sum = data.matrices[name].reduce((total, each) => total + each[2], 0);
    byId("matrix-tabs").append(element("button", { type: "button", role: "tab", "data-name": name,
      on: { click: () => { shownMatrix = name; showMatrix(); } } }, name + " " + whole(sum)));
  }
  showMatrix();
}

function showMatrix() {
  if (!shownMatrix) return;
  for (const tab of byId("matrix-tabs").children) {
    tab.setAttribute("aria-selected", String(tab.dataset.name === shownMatrix));
  }
  const size = data.matrixSize;
  const many = size > 12;
  const counts = new Map(data.matrices[shownMatrix].map(([from, to, count]) => [from * size + to, count]));
  const most = Math.max(...counts.values());
  const table = byId("matrix");
  table.className = many ? "matrix many" : "matrix";
  const numbers = [...Array(size).keys()];
  const rows = numbers.map((from) => element("tr", {}, element("th", { scope: "row" }, many ? String(from) : "VP " + from),
    ...numbers.map((to) => {
      const count = counts.get(from * size + to) || 0;
      const cell = element("td", { class: from === to ? "self" : "", title: "VP " + from + " → VP " + to + ": " + whole(count) },
        many || !count ? "" : whole(count));
      if (count) cell.style.background = "rgba(" + colour("accent-rgb") + "," + (0.1 + 0.55 * Math.sqrt(count / most)).toFixed(3) + ")";
      return cell;
    })));
  table.replaceChildren(element("thead", {}, element("tr", {}, element("th", {}, "from ↓ to →"),
    ...numbers.map((to) => element("th", { scope: "col" }, many ? String(to) : "VP " + to)))), element("tbody", {}, ...rows));
  const what = { interrupts: "Interrupts that calls send", flushes: "Flushes of translations that calls ask for",
    messages: "Messages and event flags that come into a SynIC" };
  byId("matrix-note").textContent = what[shownMatrix] + ", from the processor in a row to the one in a column." +
    (data.processors > size ? " Only the first " + size + " processors are shown." : "");
}

// --- enlightenments -----------------------------------------------------------------------------

function showCoverage() {
  const coverage = data.coverage;
  if (!coverage) return;
  show("coverage");
  for (const each of coverage.advice) {
    byId("coverage-advice").append(element("div", { class: "finding" },
      element("div", {}, element("span", { class: "tag advice" }, "advice")),
      element("div", {}, element("div", {}, each.text), element("div", { class: "faint" }, each.about))));
  }
  const number = (title, name) => ({ title, class: "number", key: (row) => row[name], cell: (row) => whole(row[name]) });
  const offered = coverage.enlightenments.filter((row) => row.verdict !== "not offered");
  const tone = { used: "good", "used without being offered": "problem", "tried, and refused": "problem" };
  const bits = [
    { title: "kind", class: "faint", key: (row) => row.word, cell: (row) => row.word },
    { title: "name", class: "name", key: (row) => row.name, cell: (row) => row.name },
    number("read", "read"), number("used", "used"),
    { title: "verdict", key: (row) => row.verdict, cell: (row) => element("span", { class: tone[row.verdict] || "faint" }, row.verdict) },
    { title: "by", class: "code", key: (row) => row.by.length, cell: (row) => row.by.slice(0, 4).map(([name, count]) => name + " " + whole(count)).join(", ") +
      (row.by.length > 4 ? " and " + (row.by.length - 4) + " more" : "") },
  ];
  const uses = [
    { title: "name", class: "name", key: (row) => row.name, cell: (row) => row.name },
    number("count", "count"), number("written", "writes"), number("refused", "refused"),
    { title: "from", class: "code", key: (row) => row.sites.length, cell: (row) => row.sites.map(([site, count]) => site + " (" + whole(count) + ")").join(", ") +
      (row.more_sites ? " and " + whole(row.more_sites) + " more" : "") },
  ];
  const tabs = [["offered " + offered.length, bits, offered], ["MSRs " + coverage.msrs.length, uses, coverage.msrs],
    ["CPUID " + coverage.cpuid.length, uses, coverage.cpuid]].filter(([, , rows]) => rows.length);
  const choose = (chosen) => {
    [...byId("coverage-tabs").children].forEach((tab, at) => tab.setAttribute("aria-selected", String(at === chosen)));
    fillTable(byId("coverage-table"), tabs[chosen][1], tabs[chosen][2]);
  };
  tabs.forEach(([title], at) => byId("coverage-tabs").append(
    element("button", { type: "button", role: "tab", on: { click: () => choose(at) } }, title)));
  if (tabs.length) choose(0);
}

// --- console ------------------------------------------------------------------------------------

function showConsole() {
  if (!data.console) return;
  show("console");
  byId("console-text").textContent = data.console;
  if (data.consoleCut) byId("console-note").textContent = whole(data.consoleCut) + " bytes before this are not shown";
}
