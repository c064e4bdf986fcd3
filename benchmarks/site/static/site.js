// Fills the pages from the JSON files in data/. Texts from models and data become text nodes, never markup.
"use strict";
(() => {
  const STEP = 200; // rows that are drawn at first
  const CUT = 0.05; // share of cut responses from which on a number is marked
  const $ = (selector) => document.querySelector(selector);

  // Control characters and marks of direction would reorder or hide what is around them, so they are shown by number.
  const shown = (text) => String(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  };
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const name = (text) => el("bdi", { class: "cut-name", title: shown(text) }, shown(text));
  const fill = (node, ...children) => node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null));
  const points = (share) => (100 * share).toFixed(1);
  const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : Math.round(100 * share)}\u00a0%`;
  const signed = (share) => {
    const text = points(Math.abs(share));
    return text === "0.0" ? text : `${share > 0 ? "+" : "−"}${text}`;
  };
  const pText = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  const measure = (k) => (k === null || k === undefined ? "" : k === 1 ? "pass@1" : `avg@${k}`);
  const solves = (correct, k) => 2 * correct > k;
  const duration = (seconds) => (seconds >= 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds)} s`);
  const size = (count) => (count >= 1e9 ? `${+(count / 1e9).toFixed(1)}B` : count >= 1e6 ? `${+(count / 1e6).toFixed(1)}M` : String(count));
  const DAY = 86400000;
  const AGE = 30; // days after which a line is marked that is older than the latest of its section
  const days = (from, to) => Math.floor((new Date(to) - new Date(from)) / DAY);
  const ago = (date) => {
    const found = days(date, Date.now());
    return found < 1 ? "today" : found === 1 ? "yesterday" : `${found} days ago`;
  };
  const problem = (text) => { $("#problem").textContent = text; };

  const known = new Map();
  const load = (path) => {
    if (!known.has(path)) {
      known.set(path, fetch(path, { cache: "no-cache" }).then((answer) => {
        if (answer.ok) return answer.json();
        if (answer.status === 404) return null;
        throw new Error(`${path}: ${answer.status}`);
      }));
    }
    return known.get(path);
  };

  // The state of a page is in its address.
  const parameters = () => new URLSearchParams(location.search);
  const remember = (next) => {
    const text = next.toString();
    history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
  };
  const set = (key, value) => {
    const next = parameters();
    next.delete(key);
    for (const each of [value].flat()) if (each) next.append(key, each);
    remember(next);
  };
  const options = (select, values, chosen) => {
    fill(select, values.map(([value, text]) => el("option", { value, selected: value === chosen }, shown(text))));
  };

  // Holm's step-down correction, as benchmarks/significance.py has it.
  const holm = (values) => {
    const order = values.map((_, place) => place).sort((a, b) => values[a] - values[b]);
    let last = 0;
    const found = [];
    order.forEach((place, rank) => {
      last = Math.max(last, Math.min(1, (values.length - rank) * values[place]));
      found[place] = last;
    });
    return found;
  };

  const save = (file, kind, text) => {
    const address = URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` }));
    const link = el("a", { href: address, download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };

  /* Board */

  const FILTERS = ["q", "pipeline", "algorithm", "family", "size", "since"];
  const board = {
    async start() {
      this.data = await load("data/board.json");
      const form = $("#controls");
      $("#loaded").hidden = this.data.sections.length === 0 && this.data.failures.length === 0;
      $("#empty").hidden = this.data.sections.length > 0;
      this.failures();
      const none = this.data.sections.length === 0;
      form.hidden = $(".bar").hidden = $(".scroll").hidden = none;
      if (none) {
        fill($("#missing ul"), this.failed);
        $("#missing").hidden = this.failed.length === 0;
        return;
      }
      options(form.section, this.data.sections.map((s) => [s.id, this.heading(s)]));
      form.oninput = (event) => this.changed(event.target);
      form.onsubmit = (event) => event.preventDefault();
      $("#more").onclick = () => { this.all = true; this.draw(); };
      $("#clear").onclick = () => {
        for (const key of FILTERS) set(key, "");
        this.read();
      };
      for (const button of document.querySelectorAll("[data-export]")) {
        button.onclick = () => this.export(button.dataset.export);
      }
      this.read();
    },

    heading(section) {
      const p = section.protocol;
      const parts = [section.pipelines.join(", "), p.name && `protocol ${p.name}`, `${p.engine_version}, ${p.dtype}`, `seed ${p.seed}`];
      return parts.filter(Boolean).join("; ");
    },

    failures() {
      const items = this.data.failures.map((f) => el("li", {}, el("b", { class: "warning" }, f.state), " ",
        el("bdi", {}, shown(`${f.pipeline}/${f.stage}${f.text ? `: ${f.text}` : ""} (run ${f.run})`))));
      this.failed = items;
    },

    // Controls from the address.
    read() {
      const now = parameters(), form = $("#controls");
      this.section = this.data.sections.find((s) => s.id === now.get("section")) || this.data.sections[0];
      form.section.value = this.section.id;
      set("section", this.section.id); // a later visit shows the same, whatever was measured meanwhile
      $("#measured").textContent = `Latest measurement ${this.section.end.slice(0, 10)}, ${ago(this.section.end)}`;
      const lines = this.section.lines;
      for (const key of ["pipeline", "algorithm", "family", "size"]) {
        const values = [...new Set(lines.map((line) => this.value(line, key)).filter(Boolean))].sort();
        options(form[key], [["", "all"], ...values.map((v) => [v, v])], now.get(key) || "");
        form[key].parentNode.hidden = values.length < 2 && !now.get(key);
      }
      form.q.value = now.get("q") || "";
      form.since.value = now.get("since") || "";
      form.seeds.checked = now.get("seeds") === "grouped";
      form.seeds.parentNode.hidden = this.section.methods.length === 0;
      const hidden = now.getAll("hide");
      fill($("#columns div"), this.columnNames().map(([key, title]) => el("label", {}, el("input", {
        type: "checkbox", name: "column", value: key, checked: !hidden.includes(key) }), shown(title))));
      this.all = false;
      this.draw();
    },

    value(line, key) {
      return key === "size" ? line.parameters && size(line.parameters) : line[key];
    },

    columnNames() {
      return [...this.section.columns.map((c) => [c.benchmark || `average-${c.group}`, this.title(c)]),
        ["cost", "Cost of training"]];
    },

    title(column) {
      return column.benchmark ? column.title : `Average ${this.data.groups[column.group]}`;
    },

    changed(control) {
      if (control.name === "column") {
        set("hide", [...document.querySelectorAll("[name=column]")].filter((c) => !c.checked).map((c) => c.value));
      } else if (control.name === "section") {
        remember(new URLSearchParams({ section: control.value }));
        this.read();
        return;
      } else {
        set(control.name, control.type === "checkbox" ? (control.checked ? "grouped" : "") : control.value);
      }
      this.draw();
    },

    lines() {
      const now = parameters();
      let lines = this.section.lines;
      if (now.get("seeds") === "grouped") {
        const grouped = new Set(this.section.methods.flatMap((m) => m.members));
        lines = [...this.section.methods, ...lines.filter((line) => !grouped.has(line.name))];
        // As single lines are: by the number of columns, then by the first that may be ranked.
        const whole = (line) => line.cells.filter(Boolean).length;
        const first = (line) => (line.cells.find((cell) => cell && !cell.differs) || { value: 0 }).value;
        lines.sort((a, b) => whole(b) - whole(a) || first(b) - first(a));
      }
      const wanted = (now.get("q") || "").toLowerCase();
      lines = lines.filter((line) => line.name.toLowerCase().includes(wanted)
        && ["pipeline", "algorithm", "family", "size"].every((key) => !now.get(key) || this.value(line, key) === now.get(key))
        && (!now.get("since") || line.end.slice(0, 10) >= now.get("since")));
      const sort = now.get("sort");
      if (!sort) return lines;
      const sign = now.get("order") === "asc" ? 1 : -1;
      if (sort === "name") return lines.sort((a, b) => -sign * b.name.localeCompare(a.name));
      const at = this.columnNames().findIndex(([key]) => key === sort);
      const number = (line) => (sort === "cost" ? line.seconds : line.cells[at] && line.cells[at].value);
      // Lines without a number come last, and before them those of another protocol, which are not ranked.
      const tier = (line) => (number(line) === null || number(line) === undefined ? 2 : sort !== "cost" && line.cells[at].differs ? 1 : 0);
      return lines.sort((a, b) => tier(a) - tier(b) || (tier(a) < 2 ? sign * (number(a) - number(b)) : 0));
    },

    places() {
      const hidden = parameters().getAll("hide");
      return this.columnNames().map(([key], place) => [key, place]).filter(([key]) => !hidden.includes(key));
    },

    draw() {
      const lines = [...this.lines()], columns = this.places(), now = parameters();
      const drawn = this.all ? lines : lines.slice(0, STEP);
      const picked = new Set(now.getAll("pick"));
      const head = el("tr", {}, this.header("name", "Model", ""), columns.map(([key, place]) => {
        const column = this.section.columns[place];
        return column ? this.header(key, this.title(column), measure(column.k), !column.benchmark) : this.header(key, "Cost", "of training");
      }));
      fill($("#board"), el("thead", {}, head), el("tbody", {}, drawn.map((line) => el("tr", {},
        this.label(line, picked), columns.map(([, place]) => this.cell(line, place))))));
      $("#more").hidden = drawn.length === lines.length;
      $("#more").textContent = `Show all ${lines.length}`;
      const all = this.section.lines.length, grouped = now.get("seeds") === "grouped";
      $("#count").textContent = grouped || lines.length === all ? `${lines.length} ${lines.length === 1 ? "line" : "lines"}` : `${lines.length} of ${all} lines`;
      $("#clear").hidden = !FILTERS.some((key) => now.get(key));
      this.link(picked);
      this.notes(lines, columns);
    },

    header(key, title, below, average) {
      const now = parameters();
      const direction = now.get("sort") === key ? (now.get("order") === "asc" ? "ascending" : "descending") : null;
      const click = () => {
        // A name begins with ascending order, a number with descending; the third click is the original order.
        const first = key === "name" ? "asc" : "desc", order = now.get("sort") === key ? now.get("order") || "desc" : "";
        const next = order === "" ? first : order === first ? (first === "asc" ? "desc" : "asc") : "";
        set("sort", next ? key : "");
        set("order", next);
        this.draw();
        document.querySelector(`[data-sort="${CSS.escape(key)}"]`).focus();
      };
      return el("th", { scope: "col", class: key === "name" ? "name" : average ? "average" : null, "aria-sort": direction },
        el("button", { type: "button", class: "sort", "data-sort": key, onclick: click }, shown(title)),
        below ? el("span", { class: "sub" }, below) : null);
    },

    label(line, picked) {
      const several = this.section.lines.some((other) => other.pipeline !== line.pipeline);
      const text = several ? line.name : line.label;
      const sub = line.members ? `${line.members.length} seeds, ${line.end.slice(0, 10)}` : line.end.slice(0, 10);
      const link = line.id ? el("a", { href: `model.html?id=${line.id}` }, name(text)) : el("b", {}, name(text));
      const older = days(line.end, this.section.end);
      const pick = (event) => {
        set("pick", event.target.checked ? [...parameters().getAll("pick"), line.id] : parameters().getAll("pick").filter((id) => id !== line.id));
        this.link(new Set(parameters().getAll("pick")));
      };
      const box = line.id ? el("input", { type: "checkbox", checked: picked.has(line.id), "aria-label": `Compare ${shown(text)}`, onchange: pick }) : null;
      return el("th", { scope: "row", class: "name" }, el("span", { class: "pick" }, box, el("span", {}, link,
        el("span", { class: "sub", title: line.algorithm ? shown(line.algorithm) : null }, [sub, line.algorithm].filter(Boolean).map(shown).join(" · ")),
        older >= AGE ? el("span", { class: "sub warning" }, `${older} days older than the latest`) : null)));
    },

    cell(line, place) {
      const column = this.section.columns[place];
      if (!column) {
        const money = line.money === null ? null : el("span", { class: "sub" }, `cost ${line.money}`);
        return el("td", {}, line.seconds === null ? "–" : duration(line.seconds), money);
      }
      const average = column.benchmark ? "" : "average", cell = this.at(line, place);
      if (!cell) return el("td", { class: average || null }, el("span", { "aria-label": "not measured" }, "–"));
      const value = `${cell.differs ? "~" : ""}${points(cell.value)}${cell.best ? "*" : ""}`;
      return el("td", { class: [average, cell.best && "best"].filter(Boolean).join(" ") || null },
        cell.best ? el("b", {}, value) : value, this.below(cell).map((text) => el("span", { class: "sub" }, text)));
    },

    // Groups are not tested, so no mark is shown beside them.
    at(line, place) {
      const cell = line.cells[place];
      return cell && parameters().get("seeds") === "grouped" ? { ...cell, best: undefined } : cell;
    },

    below(cell) {
      return [
        cell.low !== null && `${points(cell.low)}–${points(cell.high)}`,
        cell.spread && `seeds ${points(cell.spread[0])}–${points(cell.spread[1])}`,
        cell.partial && `${cell.partial[0]}/${cell.partial[1]} asked`,
        cell.cut >= CUT && `cut ${Math.round(100 * cell.cut)}%`,
        cell.overlap && `overlap ${percent(cell.overlap)}`,
      ].filter(Boolean);
    },

    link(picked) {
      const ids = [...picked];
      $("#compare").hidden = ids.length < 2;
      $("#compare").textContent = `Compare ${ids.length} models`;
      $("#compare").href = `compare.html?${new URLSearchParams(ids.map((id) => ["m", id]))}`;
    },

    notes(lines, columns) {
      const cells = lines.flatMap((line) => columns.map(([, place]) => this.at(line, place))).filter(Boolean);
      const has = (test) => cells.some(test);
      const texts = ["Scores are in percent, with 95 % intervals."];
      if (has((c) => c.best)) texts.push("* The best of its column, or not distinguishable from it (paired test, Holm-corrected, 5 %). Of all models here, whatever the filter shows.");
      if (has((c) => c.differs)) texts.push("~ Measured by another protocol than the column's: not ranked, and in no average.");
      if (has((c) => c.partial)) texts.push("6/30 asked: only 6 of 30 questions were asked.");
      if (has((c) => c.cut >= CUT)) texts.push("cut: share of responses that ended at the token limit. For an average, the largest of its benchmarks.");
      if (has((c) => c.overlap)) texts.push("overlap: share of questions that overlap the model's training data (a fifth of their n-grams, or more). Such a number is never marked as best. For an average, the largest of its benchmarks.");
      if (has((c) => c.spread)) texts.push("seeds: lowest and highest score of the group. Its interval is over seeds and questions. No number is marked as best while seeds are grouped.");
      fill($("#notes"), texts.map((text) => el("li", {}, text)));
      const missing = this.section.lines.map((line) => {
        const lacks = this.section.columns.filter((c, place) => !line.cells[place]);
        const names = lacks.filter((c) => c.benchmark).map((c) => c.title);
        const none = lacks.filter((c) => !c.benchmark).map((c) => `no ${this.title(c).toLowerCase()}`);
        const told = [names.length ? `not measured on ${names.join(", ")}` : "", ...none].filter(Boolean).join("; ");
        return told ? el("li", {}, el("bdi", {}, shown(`${line.name}: ${told}`))) : null;
      }).filter(Boolean);
      fill($("#missing ul"), this.failed, missing);
      $("#missing").hidden = this.failed.length + missing.length === 0;
    },

    // The rows and columns of scores that are shown, in their order, and whether the cost is.
    rows() {
      const places = this.places().map(([, place]) => place), last = this.section.columns.length;
      const at = places.filter((place) => place < last);
      return [at.map((place) => this.section.columns[place]), this.lines().map((line) => [line, at.map((place) => this.at(line, place))]), places.includes(last)];
    },

    export(kind) {
      const [columns, rows, costs] = this.rows();
      const time = (line) => (line.seconds === null ? "–" : duration(line.seconds));
      const heads = columns.map((c) => `${this.title(c)}${c.k ? ` ${measure(c.k)}` : ""}`);
      const plain = (cell) => (cell ? `${cell.differs ? "~" : ""}${points(cell.value)}${cell.best ? "*" : ""}` : "–");
      if (kind === "csv") {
        // A cell that begins with one of these is a formula in a spreadsheet.
        const quoted = (text) => `"${String(text).replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
        const head = ["model", "pipeline", "measured", ...heads.flatMap((h) => [h, `${h} low`, `${h} high`, `${h} marks`]), ...(costs ? ["device seconds of training", "cost of training"] : [])];
        const marks = (c) => [c.best && "best", c.differs && "another protocol", c.partial && `${c.partial[0]}/${c.partial[1]} questions`, c.cut && `cut ${c.cut}`, c.overlap && `overlap ${c.overlap}`, c.spread && `seeds ${c.spread.join(" to ")}`].filter(Boolean).join("; ");
        const body = rows.map(([line, cells]) => [line.label, line.pipeline || "", line.end,
          ...cells.flatMap((c) => (c ? [c.value, c.low ?? "", c.high ?? "", marks(c)] : ["", "", "", ""])), ...(costs ? [line.seconds ?? "", line.money ?? ""] : [])]);
        const number = (value) => (typeof value === "number" ? String(value) : quoted(value));
        save("board.csv", "text/csv", [head, ...body].map((row) => row.map(number).join(",")).join("\r\n") + "\r\n");
      } else if (kind === "md") {
        const safe = (text) => shown(text).replace(/([\\`*_{}[\]<>|~#&!])/g, "\\$1").replace(/\s+/g, " ");
        const line = (cells) => `| ${cells.join(" | ")} |`;
        const last = (text) => (costs ? [text] : []);
        const body = rows.map(([each, cells]) => line([safe(each.name), ...cells.map((c) => safe(plain(c))), ...last(time(each))]));
        save("board.md", "text/markdown", [line(["model", ...heads.map(safe), ...last("cost of training")]), line(["---", ...heads.map(() => "---:"), ...last("---:")]), ...body].join("\n") + "\n");
      } else {
        const signs = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
        const safe = (text) => shown(text).replace(/[\\~^&%$#_{}]/g, (sign) => signs[sign] || `\\${sign}`);
        const number = (c) => (!c ? "--" : c.best ? `\\textbf{${points(c.value)}}` : `${c.differs ? "\\textasciitilde{}" : ""}${points(c.value)}`);
        const last = (text) => (costs ? [text] : []);
        const body = rows.map(([each, cells]) => `${[safe(each.name), ...cells.map(number), ...last(time(each).replace("–", "--"))].join(" & ")} \\\\`);
        save("board.tex", "application/x-tex", [`\\begin{tabular}{l${"r".repeat(heads.length + costs)}}`, "\\hline",
          `${["Model", ...heads.map(safe), ...last("Cost of training")].join(" & ")} \\\\`, "\\hline", ...body, "\\hline", "\\end{tabular}"].join("\n") + "\n");
      }
    },
  };

  /* Choosing models, on the pages Compare and Questions */

  const picker = {
    async start(drawn) {
      this.names = await load("data/models.json");
      this.drawn = drawn;
      const ids = Object.keys(this.names), counts = new Map();
      for (const id of ids) counts.set(this.names[id], (counts.get(this.names[id]) || 0) + 1);
      this.label = (id) => (counts.get(this.names[id]) > 1 ? `${this.names[id]} (${id.slice(0, 6)})` : this.names[id]);
      fill($("#models"), ids.map((id) => el("option", { value: shown(this.label(id)) })));
      if (ids.length < 1) {
        $("#empty").hidden = false;
        $("#empty").textContent = "This store holds no score yet.";
        return false;
      }
      $("#picker").hidden = false;
      $("#picker").onsubmit = (event) => {
        event.preventDefault();
        const text = $("#picker").model.value.trim();
        const match = ids.find((id) => shown(this.label(id)) === text)
          || ids.find((id) => shown(this.label(id)).toLowerCase().includes(text.toLowerCase()));
        problem(match ? "" : `No model is called ${shown(text)}.`);
        if (!match || !text) return;
        $("#picker").model.value = "";
        this.choose([...this.ids().filter((id) => id !== match), match]);
      };
      return true;
    },
    ids() {
      return parameters().getAll("m").filter((id) => this.names[id] !== undefined);
    },
    async choose(ids) {
      set("m", ids);
      await this.draw();
    },
    async draw() {
      const ids = this.ids();
      $("#picked").hidden = ids.length === 0;
      fill($("#picked"), ids.map((id, place) => el("li", {},
        el("a", { href: `model.html?id=${id}` }, name(this.label(id))),
        place ? el("button", { type: "button", "aria-label": `Compare the others with ${shown(this.label(id))}`, title: "Compare the others with this one",
          onclick: () => this.choose([id, ...ids.filter((other) => other !== id)]) }, "↑") : el("span", { class: "sub" }, "first"),
        el("button", { type: "button", "aria-label": `Remove ${shown(this.label(id))}`, onclick: () => this.choose(ids.filter((other) => other !== id)) }, "×"))));
      await this.drawn(ids);
    },
  };

  /* Compare */

  const compare = {
    async start() {
      if (!await picker.start((ids) => this.draw(ids))) return;
      await picker.draw();
    },
    // The files hold A minus B for A before B in order.
    async pair(a, b) {
      const [first, second] = a < b ? [a, b] : [b, a];
      const found = await load(`data/compare/${first}-${second}.json`);
      if (!found || a < b) return found;
      const turned = (d) => ({ ...d, difference: -d.difference, low: -d.high, high: -d.low, better: d.worse, worse: d.better });
      return {
        benchmarks: found.benchmarks.map((d) => ({ ...turned(d), shares: [...d.shares].reverse(), only: [...d.only].reverse() })),
        averages: found.averages.map(turned),
      };
    },
    async draw(ids) {
      $("#note").hidden = ids.length < 2;
      $("#empty").hidden = ids.length > 1;
      $("#empty").textContent = ids.length ? "Add a second model." : "Add two models, or choose them on the Board.";
      const others = ids.slice(1);
      const pairs = await Promise.all(others.map((other) => this.pair(ids[0], other)));
      const corrected = (key) => {
        const values = pairs.flatMap((pair) => (pair ? pair[key].map((d) => d.p_value) : [])), all = holm(values);
        let place = 0;
        return pairs.map((pair) => (pair ? pair[key].map(() => all[place++]) : []));
      };
      const benchmarks = corrected("benchmarks"), averages = corrected("averages");
      if (ids.join() !== picker.ids().join()) return; // another choice was made meanwhile
      fill($("#pairs"), others.map((other, place) => this.section(ids[0], other, pairs[place], benchmarks[place], averages[place])));
      const models = ids.map((id) => ({ id, name: picker.label(id) }));
      await Promise.all([lengths.draw(models), training.draw(models)]);
    },
    // Links to the questions that one of the two solves, in three classes by how many of the store's samples are correct.
    async lists(a, b, d) {
      const models = await Promise.all([a, b].map((id) => load(`data/models/${id}.json`)));
      const asked = new Set(models.filter(Boolean).flatMap((found) => found.scores.filter((score) => score.benchmark === d.benchmark).map((score) => score.set)));
      const shares = new Map();
      for (const set_ of await Promise.all([...asked].map((id) => load(`data/questions/${id}.json`)))) if (set_) set_.ids.forEach((id, i) => shares.set(id, set_.shares[i]));
      const kind = (share) => (share === undefined ? "of unknown difficulty" : share < 1 / 3 ? "hard" : share < 2 / 3 ? "medium" : "easy");
      const link = (id) => el("li", {}, el("a", { href: `questions.html?${new URLSearchParams([["m", a], ["m", b], ["benchmark", d.benchmark], ["question", id]])}` }, el("bdi", {}, shown(id))));
      return d.only.map((found, i) => {
        const sorted = [...found].sort((x, y) => shares.get(x) - shares.get(y));
        const kinds = ["hard", "medium", "easy", "of unknown difficulty"].map((each) => [each, sorted.filter((id) => kind(shares.get(id)) === each)]);
        return [el("h3", {}, `Only ${"AB"[i]} solves ${found.length}`), kinds.filter(([, ids]) => ids.length).map(([each, ids]) =>
          [el("p", { class: "notes" }, `${ids.length} ${each}`), el("ul", { class: "ids" }, ids.map(link))])];
      });
    },
    section(a, b, pair, benchmarks, averages) {
      const labels = [a, b].map((id) => picker.label(id));
      const title = el("h2", {}, el("bdi", {}, shown(labels[0])), " against ", el("bdi", {}, shown(labels[1])));
      if (!pair) {
        return el("section", {}, title, el("p", {}, "This site does not hold the comparison of these two. Run ",
          el("code", {}, `hpt compare ${a.slice(0, 12)} ${b.slice(0, 12)}`), ", or open the store with ", el("code", {}, "hpt view"), "."));
      }
      if (!pair.benchmarks.length) return el("section", {}, title, el("p", {}, "The two have no question in common."));
      const head = ["Benchmark", "A", "B", "A − B", "95 %", "p", "only A solves", "only B solves"];
      const row = (text, shares, d, p, only) => {
        const even = d.better + d.worse === 0; // an interval of zero width would claim more than is known
        const verdict = p < 0.05 && !(d.protocol_differences || []).length ? (d.difference > 0 ? "better" : "worse") : null;
        return el("tr", {}, el("th", { scope: "row", class: "name" }, shown(text)), shares.map((s) => el("td", {}, s)),
          el("td", { class: verdict }, verdict ? el("b", {}, signed(d.difference)) : signed(d.difference)),
          el("td", { class: "range" }, even ? "none" : `${signed(d.low)} to ${signed(d.high)}`), el("td", {}, pText(p)), only.map((n) => el("td", {}, n)));
      };
      const differing = pair.benchmarks.filter((d) => d.protocol_differences.length);
      return el("section", {}, title,
        differing.map((d) => el("p", { class: "warning" }, `Not comparable on ${shown(d.title)}: ${d.protocol_differences.join(", ")} differ.`)),
        el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Differences of ${shown(labels.join(" and "))}` }, el("table", {},
          el("thead", {}, el("tr", {}, head.map((text, i) => el("th", { scope: "col", class: i ? null : "name" }, text)))),
          el("tbody", {}, pair.benchmarks.map((d, i) => row(d.title, d.shares.map(points), d, benchmarks[i], d.only.map((ids) => String(ids.length)))),
            pair.averages.map((d, i) => row(`Average ${{ in: "in distribution", out: "out of distribution" }[d.group] || "other benchmarks"}`, ["", ""], d, averages[i], ["", ""]))))),
        el("p", { class: "notes" }, "A is ", el("bdi", {}, shown(labels[0])), ", B is ", el("bdi", {}, shown(labels[1])), "."),
        pair.benchmarks.filter((d) => d.only[0].length + d.only[1].length).map((d) => {
          const box = el("div", {}), open = async (event) => { if (event.target.open && !box.hasChildNodes()) fill(box, await this.lists(a, b, d)); };
          return el("details", { ontoggle: open }, el("summary", {}, `${shown(d.title)}: ${d.only[0].length} only A, ${d.only[1].length} only B`), box);
        }));
    },
  };

  /* Formulas */

  const MATH = "http://www.w3.org/1998/Math/MathML";
  const ELEMENTS = new Set("math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mpadded mphantom menclose mstyle".split(" "));
  // A tree is [element, attributes, children...]. Only elements and attributes of MathML without effect on the page are made.
  const formula = ([kind, attributes, ...children]) => {
    const node = document.createElementNS(MATH, ELEMENTS.has(kind) ? kind : "mrow");
    for (const [key, value] of Object.entries(attributes)) if (/^[a-z]+$/.test(key) && !key.startsWith("on") && key !== "href" && key !== "style") node.setAttribute(key, value);
    node.append(...children.map((child) => (typeof child === "string" ? shown(child) : formula(child))));
    return node;
  };
  // A text of a model or of data: pieces of text, and [source, tree] of each formula.
  const typeset = (pieces, plain) => pieces.map((piece) => (typeof piece === "string" ? shown(piece) : plain ? shown(piece[0]) : formula(piece[1])));

  /* Questions */

  const OUTCOMES = { correct: "correct", incorrect: "incorrect", no_answer: "no answer", timeout: "timeout", crash: "crash", gold_error: "gold answer unreadable" };
  const FINISHES = { length: "cut at the token limit", repetition: "ended because it repeated itself" };

  const questions = {
    async start() {
      if (!await picker.start((ids) => this.models(ids))) return;
      const form = $("#controls");
      form.oninput = (event) => {
        set(event.target.name, event.target.value);
        if (event.target.name === "set") {
          set("question", "");
          set("benchmark", "");
        }
        this.all = false;
        this.draw();
      };
      form.onsubmit = (event) => event.preventDefault();
      $("#samples").oninput = ({ target }) => {
        set(target.name, target.type === "checkbox" ? (target.checked ? "yes" : "") : target.value);
        this.answers();
      };
      $("#more").onclick = () => { this.all = true; this.draw(); };
      options($("#samples").outcome, [["", "any"], ...Object.entries(OUTCOMES)]);
      for (const key of ["outcome", "cut", "least", "most"]) $("#samples")[key].value = parameters().get(key) || "";
      $("#samples").source.checked = parameters().get("source") === "yes";
      if (!picker.ids().length) {
        const found = await load("data/board.json");
        set("m", [...new Set(found.sections[0].lines.slice(0, 6).map((line) => line.id))]);
      }
      await picker.draw();
    },
    async models(ids) {
      const found = await Promise.all(ids.map((id) => load(`data/models/${id}.json`)));
      if (ids.join() !== picker.ids().join()) return;
      this.chosen = found.filter(Boolean);
      const sets = new Map();
      for (const model of this.chosen) for (const score of model.scores) {
        const own = sets.get(score.set) || { score, count: 0 };
        own.count += 1;
        sets.set(score.set, own);
      }
      $("#controls").hidden = sets.size === 0;
      $("#empty").hidden = sets.size > 0;
      $("#empty").textContent = "Add a model.";
      const now = parameters();
      // The sets that most of the models answered come first.
      const order = [...sets].sort(([, a], [, b]) => b.count - a.count);
      const asked = order.find(([, each]) => each.score.benchmark === now.get("benchmark"));
      const chosen = sets.has(now.get("set")) ? now.get("set") : asked ? asked[0] : order.length ? order[0][0] : "";
      options($("#controls").set, order.map(([id, { score }]) => [id,
        score.complete ? score.title : `${score.title}, ${score.questions} of ${score.rows} questions`]), chosen);
      for (const key of ["show", "order", "q"]) $("#controls")[key].value = now.get(key) || "";
      await this.draw();
    },
    async draw() {
      const set_ = $("#controls").set.value;
      this.set = set_ ? await load(`data/questions/${set_}.json`) : null;
      $("#grid-box").hidden = !this.set;
      if (!this.set) { $("#question").hidden = true; $("#count").textContent = ""; return; }
      // The latest score of each model on these questions.
      this.scores = this.chosen.map((model) => model.scores.filter((score) => score.set === set_).pop());
      const rows = this.set.ids.map((id, place) => {
        const cells = this.scores.map((score) => (score ? [score.correct[place], score.k] : null));
        const own = cells.filter(Boolean);
        return { id, cells, place, share: own.reduce((sum, [c, k]) => sum + c / k, 0) / Math.max(1, own.length), solved: cells.map((c) => c && solves(...c)) };
      });
      const form = $("#controls"), text = form.q.value.toLowerCase();
      const kinds = {
        differ: (s) => s.includes(true) && s.includes(false),
        first: (s) => s[0] === true && s.length > 1 && s.slice(1).every((each) => each === false),
        others: (s) => s[0] === false && s.includes(true),
        none: (s) => !s.includes(true) && s.includes(false),
        every: (s) => s.length > 0 && s.every((each) => each === true),
      };
      const kept = rows.filter((row) => row.id.toLowerCase().includes(text) && (!form.show.value || kinds[form.show.value](row.solved)));
      const by = { "": (a, b) => a.share - b.share, easy: (a, b) => b.share - a.share, id: () => 0 }[form.order.value];
      kept.sort((a, b) => by(a, b) || a.place - b.place);
      const drawn = this.all ? kept : kept.slice(0, STEP);
      $("#count").textContent = `${kept.length} of ${rows.length} questions`;
      $("#more").hidden = drawn.length === kept.length;
      $("#more").textContent = `Show all ${kept.length}`;
      const cell = (found) => {
        if (!found) return el("td", {}, "–");
        const box = el("span", {}, `${found[0]}/${found[1]}`);
        box.style.setProperty("--share", found[0] / found[1]);
        return el("td", {}, box);
      };
      fill($("#grid"), el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "name" }, "Question"),
        this.chosen.map((model) => el("th", { scope: "col" }, name(picker.label(model.id)))))),
      el("tbody", {}, drawn.map((row) => el("tr", {},
        el("th", { scope: "row", class: "name" }, el("button", { type: "button", onclick: () => this.open(row.id, true) }, el("bdi", {}, shown(row.id)))),
        row.cells.map(cell)))));
      await this.open(parameters().get("question"), !this.seen);
      this.seen = true;
    },
    async open(id, byUser) {
      const place = id === null ? -1 : this.set.ids.indexOf(id);
      $("#question").hidden = place < 0;
      if (place < 0) return;
      set("question", id);
      fill($("#question h2"), shown(this.set.title), ", ", el("bdi", {}, shown(id)));
      this.opened = { place, id, files: null };
      if (this.set.shows_text) {
        const block = Math.floor(place / 20);
        this.opened.files = await Promise.all(this.scores.map((score) => (score ? load(`data/responses/${score.record}/${block}.json`) : null)));
      }
      if (this.opened.id !== id) return;
      this.answers();
      if (byUser) { $("#question").focus(); $("#question").scrollIntoView({ block: "start" }); }
    },
    answers() {
      const { id, place, files } = this.opened, filter = $("#samples"), plain = filter.source.checked;
      const texts = (files || []).map((file) => file && file[id]);
      const first = texts.find(Boolean), fault = texts.find((text) => text && text.fault);
      filter.hidden = !first;
      const why = this.set.shows_text ? "This site does not hold the responses. Open the store with hpt view, or build the site with --responses."
        : "The texts of this benchmark are not shown, because it does not say that they may be public.";
      fill($("#text"), first ? [el("pre", {}, typeset(first.question, plain)), el("p", {}, "Gold answer: ", el("bdi", {}, shown(first.gold)), fault ? [" (cannot be read: ", el("bdi", {}, shown(fault.fault)), ")"] : null)] : el("p", { class: "notes" }, why));
      const wanted = (sample) => (!filter.outcome.value || sample.outcome === filter.outcome.value)
        && (!filter.cut.value || (sample.finish_reason === "length") === (filter.cut.value === "yes"))
        && (!filter.least.value || sample.tokens >= +filter.least.value) && (!filter.most.value || sample.tokens <= +filter.most.value);
      fill($("#answers"), this.chosen.map((model, i) => {
        const score = this.scores[i];
        const told = score ? `${score.correct[place]} of ${score.k} samples are correct` : "not measured on this question";
        const samples = texts[i] ? texts[i].samples.filter(wanted) : [];
        return el("article", {}, el("h3", {}, el("bdi", {}, shown(picker.label(model.id)))), el("p", { class: "notes" }, told,
          texts[i] && score.k > texts[i].samples.length ? `; the first ${texts[i].samples.length} are shown` : ""),
        samples.map((sample) => [el("p", { class: "outcome" }, el("b", {}, OUTCOMES[sample.outcome] || "not graded"),
          sample.extracted === null ? ", no answer found" : [", answer ", el("bdi", {}, shown(sample.extracted))],
          `; ${sample.tokens} tokens${FINISHES[sample.finish_reason] ? `, ${FINISHES[sample.finish_reason]}` : ""}`),
        el("pre", {}, typeset(sample.response, plain), sample.left_out ? `\n… ${sample.left_out} more characters` : "")]));
      }));
    },
  };

  /* Model */

  const model = {
    async start() {
      const id = parameters().get("id") || "";
      const found = /^[0-9a-f]{16}$/.test(id) ? await load(`data/models/${id}.json`) : null;
      $("#model").hidden = !found;
      $("#empty").hidden = Boolean(found);
      $("#empty").textContent = "This store has no score of such a model. The Board lists the models.";
      if (!found) return;
      document.title = shown(found.name);
      fill($("#title"), el("bdi", {}, shown(found.name)));
      const f = found.facts || {}, origin = f.origin && (f.origin.repo || f.origin.path);
      this.list($("#facts"), [["Algorithm", f.algorithm], ["Family", f.family], ["Parameters", f.parameters && size(f.parameters)],
        ["Seed", f.seed], ["Sweep", f.swept && JSON.stringify(f.swept)], ["Base from", origin], ["Training data", (f.data || []).join(", ")], ["Made", f.end], ["Content hash", found.hash.slice(0, 16)]]);
      const link = (each) => (each.id ? el("a", { href: `model.html?id=${each.id}` }, name(each.name)) : name(each.name));
      fill($("#lineage"), found.lineage.map((each) => el("li", {}, link(each))), el("li", {}, el("b", {}, name(found.name))),
        found.children.length ? el("li", {}, found.children.map((each, i) => [i ? ", " : "", link(each)])) : null);
      this.scores(found);
      $("#record").href = `data/every_eval_ever/${id}.json`;
      $("#card").href = `data/cards/${id}.md`;
      this.made(found.stage);
      await training.draw([found]);
    },
    list(node, pairs) {
      fill(node, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) =>
        el("div", {}, el("dt", {}, term), el("dd", {}, el("bdi", {}, shown(value))))));
    },
    scores(found) {
      const head = ["Benchmark", "Score", "Solved", "Verdicts", "Cut", "Tokens a response", "Protocol", "Measured"];
      const verdicts = (s) => Object.keys(OUTCOMES).filter((key) => s.outcomes && s.outcomes[key]).map((key) => el("span", { class: "sub" }, `${percent(s.outcomes[key] / s.samples)} ${OUTCOMES[key]}`));
      fill($("#scores"), el("thead", {}, el("tr", {}, head.map((text, i) => el("th", { scope: "col", class: i ? (i > 5 ? "text" : null) : "name" }, text)))),
        el("tbody", {}, found.scores.map((s) => el("tr", {}, el("th", { scope: "row", class: "name" },
          el("a", { href: `questions.html?${new URLSearchParams([["m", found.id], ["set", s.set]])}` }, shown(s.title)), el("span", { class: "sub" }, measure(s.k))),
        el("td", {}, points(s.avg_at_k), el("span", { class: "sub" }, `${points(s.interval_low)}–${points(s.interval_high)}`)),
        el("td", {}, `${s.solved} of ${s.questions}`, s.complete ? null : el("span", { class: "sub" }, `${s.questions}/${s.rows} asked`),
          s.overlap ? el("span", { class: "sub" }, `${s.overlap} overlap training data`) : null),
        el("td", {}, verdicts(s)), el("td", {}, `${points(s.truncated_share)}\u00a0%`), el("td", {}, Math.round(s.mean_tokens)),
        el("td", { class: "text" }, shown([s.settings.name, s.settings.engine_version, s.settings.dtype, s.settings.grader_version].filter(Boolean).join(", "))),
        el("td", { class: "text" }, s.end.slice(0, 10), el("span", { class: "sub" }, s.pipeline ? shown(s.pipeline) : ""))))));
      const [curves, bars] = this.figures(found);
      $("#curves").hidden = curves.length === 0;
      fill($("#curves .figures"), curves);
      $("#lengths").hidden = bars.length === 0;
      fill($("#lengths .figures"), bars);
    },
    // The pass@k curves and the histograms of lengths of a model's scores.
    figures: (found) => [
      found.scores.filter((s) => s.pass_at.length > 1).map((s) => model.curve(s)),
      found.scores.filter((s) => s.lengths).map((s) => model.histogram(s)),
    ],
    // Samples by length: the first bar counts those of 1 token, each next one those of up to twice as many.
    histogram(score) {
      const counts = score.lengths, first = counts.findIndex((n) => n > 0), bars = counts.slice(first);
      const width = 300, height = 150, left = 44, bottom = 22, most = Math.max(...bars), step = (width - left - 10) / bars.length;
      const all = bars.reduce((a, b) => a + b, 0), at = (i) => left + i * step, down = (n) => 8 + (1 - n / most) * (height - bottom - 8);
      const told = `${shown(score.title)}: ${Math.round(score.mean_tokens)} tokens a response on average, the longest up to ${2 ** (counts.length - 1)}`;
      const text = (x, y, words, anchor) => svg("text", { x, y, "text-anchor": anchor }, words);
      return el("figure", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told },
        ...[0, most].flatMap((n) => [svg("line", { class: "axis", x1: left, x2: width - 10, y1: down(n), y2: down(n) }), text(left - 5, down(n) + 4, percent(n / all), "end")]),
        ...bars.map((n, i) => svg("rect", { class: "bar", x: at(i) + 1, width: Math.max(1, step - 2), y: down(n), height: height - bottom - down(n) })),
        text(left, height - 5, `≤ ${2 ** first}`, "start"), text(width - 10, height - 5, `≤ ${2 ** (counts.length - 1)} tokens`, "end")),
      el("figcaption", {}, told));
    },
    curve(score) {
      const values = score.pass_at, width = 300, height = 150, left = 34, bottom = 22;
      const x = (i) => left + (i * (width - left - 10)) / (values.length - 1), y = (v) => 8 + (1 - v) * (height - bottom - 8);
      const path = values.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      const told = `${shown(score.title)}: pass@1 ${points(values[0])}\u00a0%, pass@${values.length} ${points(values[values.length - 1])}\u00a0%`;
      const text = (at, down, words, anchor) => svg("text", { x: at, y: down, "text-anchor": anchor }, words);
      return el("figure", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told },
        ...[0, 0.5, 1].flatMap((v) => [svg("line", { class: "axis", x1: left, x2: width - 10, y1: y(v), y2: y(v) }), text(left - 5, y(v) + 4, String(100 * v), "end")]),
        svg("path", { class: "line", d: path }), text(left, height - 5, "k = 1", "start"), text(width - 10, height - 5, String(values.length), "end")),
      el("figcaption", {}, told));
    },
    made(stage) {
      $("#made").hidden = !stage;
      if (!stage) return;
      this.list($("#made dl"), [["Run", stage.run], ["Code", stage.commit && stage.commit.slice(0, 12)], ["Machine", [...stage.gpus, stage.gpus.length ? null : stage.processor].filter(Boolean).join(", ")],
        ["Time", stage.seconds === null ? null : duration(stage.seconds)], ["Device time", stage.device_seconds === null ? null : duration(stage.device_seconds)],
        ["Cost", stage.money], ["Tokens generated", stage.tokens], ["Tokens trained on", stage.trained_tokens]]);
      $("#made pre").textContent = shown(JSON.stringify(stage.config, null, 2)).replaceAll("\\u000a", "\n");
    },
  };

  /* Training curves */

  const LINES = 8; // models in a figure, each with a color and a dash of its own
  const training = {
    // Figures of what these models' trainings logged, one line per model.
    async draw(models) {
      const turn = this.turn = (this.turn || 0) + 1;
      const known = new Set(await load("data/training.json")), trained = models.filter(({ id }) => known.has(id));
      const section = $("#training"), chosen = trained.slice(0, LINES);
      const loaded = await Promise.all(chosen.map((each) => load(`data/training/${each.id}.json`)));
      // A model has one color in all figures of a page, if there are few.
      const place = (each, i) => (models.length <= LINES ? models.indexOf(each) : i);
      const logs = chosen.map((each, i) => ({ name: each.name, place: place(each, i), log: loaded[i] })).filter((each) => each.log && each.log.steps.length);
      if (turn !== this.turn) return; // another choice was made meanwhile
      section.hidden = logs.length === 0;
      const titles = [...new Set(logs.flatMap(({ log }) => log.curves.map(([title]) => title)))];
      const legend = logs.length < 2 ? null : el("ul", { class: "legend" }, logs.map((each) => el("li", {}, this.key(each.place), name(each.name))));
      fill($("#training .figures"), legend, titles.map((title) => this.figure(title, logs)),
        trained.length > LINES ? el("p", { class: "notes" }, `The first ${LINES} of ${trained.length} models.`) : null);
    },
    key: (i) => svg("svg", { viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" }, svg("line", { class: `line line-${i}`, x1: 0, x2: 24, y1: 4, y2: 4 })),
    figure(title, logs) {
      const lines = logs.map(({ name: text, place, log }) => {
        const found = log.curves.find(([each]) => each === title);
        return { text, place, points: found ? log.steps.map((step, i) => [step, found[1][i]]).filter(([, v]) => v !== null) : [] };
      }).filter((line) => line.points.length);
      const number = (v) => (v !== 0 && Math.abs(v) < 0.001 ? v.toExponential(1) : String(+v.toPrecision(3)));
      const told = lines.map((line) => `${lines.length > 1 ? `${shown(line.text)}: ` : ""}${number(line.points[0][1])} to ${number(line.points[line.points.length - 1][1])}`).join("; ");
      return this.plot(title, lines, number, (first, last) => [`step ${first}`, String(last)], told);
    },
    // A figure of lines, each with a place in the legend and points [x, y].
    plot(title, lines, number, ends, told) {
      const width = 320, height = 160, left = 58, right = 12, bottom = 22;
      const steps = lines.flatMap((line) => line.points.map(([step]) => step)), values = lines.flatMap((line) => line.points.map(([, v]) => v));
      const first = Math.min(...steps), last = Math.max(...steps), low = Math.min(...values), high = Math.max(...values);
      const x = (step) => left + ((step - first) * (width - left - right)) / (last - first || 1), y = (v) => 8 + ((high - v) * (height - bottom - 8)) / (high - low || 1);
      const text = (at, down, words, anchor) => svg("text", { x: at, y: down, "text-anchor": anchor }, words);
      return el("figure", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}, ${told}` },
        ...(low === high ? [low] : [low, high]).flatMap((v) => [svg("line", { class: "axis", x1: left, x2: width - right, y1: y(v), y2: y(v) }), text(left - 5, y(v) + 4, number(v), "end")]),
        ...lines.map((line) => (line.points.length === 1
          ? svg("circle", { class: `dot dot-${line.place}`, cx: x(line.points[0][0]), cy: y(line.points[0][1]), r: 3 })
          : svg("path", { class: `line line-${line.place}`, d: line.points.map(([step, v], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(v).toFixed(1)}`).join("") }))),
        text(left, height - 5, ends(first, last)[0], "start"), text(width - right, height - 5, ends(first, last)[1], "end")),
      el("figcaption", {}, title, lines.length > 1 ? null : el("span", { class: "sub" }, told)));
    },
  };

  /* Lengths of the responses of compared models */

  const lengths = {
    async draw(models) {
      const chosen = models.slice(0, LINES), loaded = await Promise.all(chosen.map(({ id }) => load(`data/models/${id}.json`)));
      if (models.map(({ id }) => id).join() !== picker.ids().join()) return; // another choice was made meanwhile
      // The latest score of each model on a benchmark.
      const titles = new Map();
      loaded.forEach((found, place) => {
        for (const score of found ? found.scores : []) if (score.lengths) titles.set(score.title, new Map(titles.get(score.title)).set(place, score));
      });
      const shared = [...titles].filter(([, scores]) => scores.size > 1);
      $("#lengths").hidden = shared.length === 0;
      fill($("#lengths .figures"), el("ul", { class: "legend" }, chosen.map((each, place) => el("li", {}, training.key(place), name(each.name)))),
        shared.map(([title, scores]) => {
          // One class more on both sides, so that a single one is a peak.
          const first = Math.max(0, Math.min(...[...scores.values()].map((score) => score.lengths.findIndex((n) => n > 0))) - 1);
          const last = Math.max(...[...scores.values()].map((score) => score.lengths.length));
          const lines = [...scores].map(([place, score]) => {
            const all = score.lengths.reduce((a, b) => a + b, 0);
            return { place, points: Array.from({ length: last - first + 1 }, (_, i) => [first + i, (score.lengths[first + i] || 0) / all]) };
          });
          const told = [...scores].map(([place, score]) => `${shown(chosen[place].name)}: ${Math.round(score.mean_tokens)} tokens a response`).join("; ");
          const figure = training.plot(title, lines, percent, (low, high) => [`≤ ${2 ** low}`, `≤ ${2 ** high} tokens`], told);
          figure.querySelector("figcaption").append(el("span", { class: "sub" }, told));
          return figure;
        }));
    },
  };

  /* History */

  const past = {
    async start() {
      this.data = await load("data/history.json");
      const form = $("#controls"), none = this.data.lines.length === 0;
      form.hidden = $("#note").hidden = none;
      $("#empty").hidden = !none;
      if (none) return;
      form.q.value = parameters().get("q") || "";
      form.worse.checked = parameters().get("worse") === "yes";
      form.oninput = () => {
        set("q", form.q.value);
        set("worse", form.worse.checked ? "yes" : "");
        this.draw();
      };
      form.onsubmit = (event) => event.preventDefault();
      $("#more").onclick = () => { this.all = true; this.draw(); };
      this.draw();
    },
    draw() {
      const form = $("#controls"), text = form.q.value.toLowerCase();
      const lines = this.data.lines.filter((line) => `${line.name} ${line.title}`.toLowerCase().includes(text)
        && (!form.worse.checked || line.points.some((point) => point.change === "worse")));
      const drawn = this.all ? lines : lines.slice(0, 40);
      $("#count").textContent = `${lines.length} ${lines.length === 1 ? "line" : "lines"}`;
      $("#more").hidden = drawn.length === lines.length;
      fill($("#lines"), drawn.map((line) => this.line(line)));
    },
    line(line) {
      const marks = line.points.filter((point) => point.change);
      const against = (point) => `compare.html?${new URLSearchParams([["m", line.points[line.points.indexOf(point) - 1].id], ["m", point.id]])}`;
      const row = (point) => el("tr", {}, el("th", { scope: "row", class: "name" }, el("a", { href: `model.html?id=${point.id}` }, this.when(point, 16)),
        el("span", { class: "sub" }, point.run ? shown(point.run) : "")),
      el("td", {}, points(point.value), el("span", { class: "sub" }, `${points(point.low)}–${points(point.high)}`)),
      el("td", { class: point.change }, point.change ? el("a", { href: against(point) }, el("b", {}, point.change)) : point.p === null ? "" : "even"),
      el("td", {}, point.p === null ? "–" : pText(point.p)));
      return el("section", {}, el("h2", {}, el("bdi", {}, shown(line.name)), ` on ${shown(line.title)}, ${measure(line.k)}`), this.figure(line),
        el("details", { open: marks.length > 0 }, el("summary", {}, "step" in line.points[0] ? `${line.points.length} checkpoints`
          : `${line.points.length} scores, ${marks.filter((m) => m.change === "worse").length} worse than the one before`),
          el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Scores of ${shown(line.name)} on ${shown(line.title)}` }, el("table", {},
            el("thead", {}, el("tr", {}, ["Measured", "Score", "Change", "p"].map((head, i) => el("th", { scope: "col", class: i ? null : "name" }, head)))),
            el("tbody", {}, [...line.points].reverse().map(row))))));
    },
    when(point, length) {
      return "step" in point ? `step ${point.step}` : point.end.replace("T", " ").slice(0, length);
    },
    figure(line) {
      const width = 560, height = 150, left = 38, right = 12, bottom = 20, all = line.points;
      const low = Math.min(...all.map((p) => p.low)), high = Math.max(...all.map((p) => p.high));
      const x = (i) => left + (i * (width - left - right)) / (all.length - 1), y = (v) => 8 + ((high - v) * (height - bottom - 8)) / (high - low || 1);
      const path = (values, first) => values.map(([i, v], n) => `${n ? "L" : first}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      const area = path(all.map((p, i) => [i, p.high]), "M") + path(all.map((p, i) => [i, p.low]).reverse(), "L") + "Z";
      const told = `${shown(line.name)} on ${shown(line.title)}: from ${points(all[0].value)} to ${points(all[all.length - 1].value)} in ${all.length} scores`;
      const text = (at, down, words, anchor) => svg("text", { x: at, y: down, "text-anchor": anchor }, words);
      return el("figure", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told },
        ...[low, high].flatMap((v) => [svg("line", { class: "axis", x1: left, x2: width - right, y1: y(v), y2: y(v) }), text(left - 5, y(v) + 4, points(v), "end")]),
        svg("path", { class: "area", d: area }), svg("path", { class: "line", d: path(all.map((p, i) => [i, p.value]), "M") }),
        ...all.map((p, i) => svg("circle", { class: `dot ${p.change || ""}`, cx: x(i), cy: y(p.value), r: p.change ? 5 : 3 })),
        text(left, height - 4, this.when(all[0], 10), "start"), text(width - right, height - 4, this.when(all[all.length - 1], 10), "end")));
    },
  };

  /* Runs */

  const runs = {
    async start() {
      this.data = await load("data/runs.json");
      const form = $("#controls"), all = this.data.runs;
      form.hidden = all.length === 0;
      $("#empty").hidden = all.length > 0;
      form.q.value = parameters().get("q") || "";
      options(form.outcome, [["", "all"], ...[...new Set(all.map((run) => run.outcome))].sort().map((each) => [each, each])], parameters().get("outcome") || "");
      form.oninput = (event) => { set(event.target.name, event.target.value); this.draw(); };
      form.onsubmit = (event) => event.preventDefault();
      this.draw();
    },
    draw() {
      const form = $("#controls"), text = form.q.value.toLowerCase(), all = this.data.runs;
      const found = all.filter((run) => `${run.run} ${run.pipeline}`.toLowerCase().includes(text) && (!form.outcome.value || run.outcome === form.outcome.value));
      $("#count").textContent = all.length ? `${found.length} of ${this.data.all} runs${this.data.all > all.length ? `, of the latest ${all.length}` : ""}` : "";
      fill($("#runs"), found.map((run) => this.run(run)));
    },
    run(run) {
      const bad = isBad(run);
      const facts = el("dl", { class: "facts" });
      model.list(facts, [["Pipeline", run.pipeline], ["Began", run.start], ["Took", run.seconds === null ? null : duration(run.seconds)],
        ["Code", run.commit && run.commit.slice(0, 12)], ["Overrides", run.overrides.join(" ")], ["Error", run.error]]);
      return el("section", {}, el("h2", {}, el("a", { href: `run.html?id=${run.id}` }, el("bdi", {}, shown(run.run))), ": ", el("span", { class: bad ? "warning" : null }, outcome(run))), facts,
        el("details", { open: bad }, el("summary", {}, `${run.stages.length} ${run.stages.length === 1 ? "stage" : "stages"}`),
          el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Stages of ${shown(run.run)}` }, el("table", {}, stagesOf(run)))));
    },
  };
  // A published site does not change. The run that published it had not ended.
  const outcome = (run) => (run.outcome === "running" && !live ? "not ended when this site was built" : run.outcome);
  const isBad = (run) => ["failed", "died", "interrupted"].includes(run.outcome);
  const stagesOf = (run) => [
    el("thead", {}, el("tr", {}, ["Stage", "State", "Time", "Why"].map((head, i) => el("th", { scope: "col", class: i === 0 ? "name" : i === 3 ? "text" : null }, head)))),
    el("tbody", {}, run.stages.map(([stage, state, seconds, why]) => el("tr", {}, el("th", { scope: "row", class: "name" }, el("bdi", {}, shown(stage))),
      el("td", {}, state === "failed" ? el("b", { class: "warning" }, state) : state), el("td", {}, seconds === null ? "–" : duration(seconds)), el("td", { class: "text" }, why ? shown(why) : "")))),
  ];

  /* Run */

  const oneRun = {
    async start() {
      const id = parameters().get("id") || "";
      const found = /^[0-9a-f]{16}$/.test(id) ? await load(`data/runs/${id}.json`) : null;
      $("#run").hidden = !found;
      $("#empty").hidden = Boolean(found);
      $("#empty").textContent = "This site has no page of such a run. Runs lists those that it has.";
      if (!found) return;
      document.title = shown(found.run);
      fill($("#title"), el("bdi", {}, shown(found.run)), ": ", el("span", { class: isBad(found) ? "warning" : null }, outcome(found)));
      const total = (key) => found.made.reduce((sum, each) => sum + (each[key] || 0), 0), money = found.made.some((each) => each.money !== null);
      const options = Object.entries(found.options).map(([key, value]) => `${key} = ${[value].flat().join(" ")}`).join(", ");
      model.list($("#facts"), [["Pipeline", found.pipeline], ["Began", found.start], ["Took", found.seconds === null ? null : duration(found.seconds)],
        ["Device time of what it made", found.made.length ? duration(total("device_seconds")) : null], ["Cost", money ? total("money").toFixed(2) : null],
        ["Tokens generated", total("tokens") || null], ["Tokens trained on", total("trained_tokens") || null],
        ["Code", found.commit && found.commit.slice(0, 12)], ["Overrides", found.overrides.join(" ")], ["Asked for", options], ["Error", found.error],
        ["Its report, in the store", found.report && `${found.report}/output/site/index.html`]]);
      const file = `${found.run.replace(/[^\w.-]/g, "-")}.json`, commit = found.commit ? found.commit.replace("+changes", "") : null;
      const [command, config, packages] = document.querySelectorAll("#again pre");
      command.textContent = `${commit ? `git checkout ${shown(commit)}\n` : ""}hpt run ${file}`;
      if (commit !== found.commit) command.append("\n# files were modified after this commit");
      config.textContent = shown(JSON.stringify(found.config, null, 2)).replaceAll("\\u000a", "\n");
      packages.textContent = Object.entries(found.packages).map(([key, version]) => shown(`${key} ${version}`)).join("\n");
      config.before(el("button", { type: "button", onclick: () => save(file, "application/json", JSON.stringify(found.config, null, 2)) }, `Save ${file}`));
      fill($("#stages"), stagesOf(found));
      this.made(found.made);
      $("#models").hidden = found.models.length === 0;
      fill($("#models ul"), found.models.map((each) => el("li", {}, each.scored ? el("a", { href: `model.html?id=${each.id}` }, name(each.name)) : name(each.name))));
      fill($("#scores"), found.models.filter((each) => each.scored).map((each) => {
        const box = el("div", { class: "figures" });
        const open = async (event) => { if (event.target.open && !box.hasChildNodes()) fill(box, model.figures(await load(`data/models/${each.id}.json`))); };
        return el("details", { ontoggle: open }, el("summary", {}, "pass@k and length of responses: ", name(each.name)), box);
      }));
      await training.draw(found.models);
    },
    made(rows) {
      $("#made").hidden = rows.length === 0;
      const head = ["Artifact", "Time", "Device time", "Tokens", "Trained on", "Memory", "Size", "Machine"];
      const time = (value) => (value === null ? "–" : duration(value)), bytes = (value) => (value ? `${size(value).replace("B", "G")}B` : "–");
      fill($("#made table"), el("thead", {}, el("tr", {}, head.map((text, i) => el("th", { scope: "col", class: i === 0 ? "name" : i === 7 ? "text" : null }, text)))),
        el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row", class: "name" }, name(row.artifact), row.attempts > 1 ? el("span", { class: "sub" }, `${row.attempts} attempts`) : null),
          el("td", {}, time(row.seconds)), el("td", {}, time(row.device_seconds)), el("td", {}, row.tokens === null ? "–" : size(row.tokens)), el("td", {}, row.trained_tokens === null ? "–" : size(row.trained_tokens)),
          el("td", {}, bytes(row.peak_memory_bytes)), el("td", {}, bytes(row.bytes)), el("td", { class: "text" }, row.machine ? shown(row.machine) : "")))));
    },
  };

  /* Data */

  const tables = {
    async start() {
      const found = Object.entries(await load("data/tables.json"));
      fill($("#files tbody"), found.map(([file, table]) => el("tr", {}, el("th", { scope: "row", class: "name" },
        el("a", { href: `tables/${file}.parquet` }, `${file}.parquet`), el("span", { class: "sub" }, el("a", { href: `tables/${file}.csv.gz` }, `${file}.csv.gz`))),
      el("td", {}, String(table.rows)), el("td", { class: "text" }, table.about))));
      const groups = {};
      for (const score of await load("data/lighteval.json") || []) (groups[score.model] ||= []).push(score);
      if (Object.keys(groups).length) $("#samples").textContent = "The first samples of each question with their verdicts, as Parquet files in the style of lighteval's details: doc, model_response and metric.";
      const links = (score) => score.paths.flatMap((path, place) => [" ", el("a", { href: path, title: path.split("/").pop() }, `part ${place + 1}`)]);
      fill($("#details"), Object.entries(groups).map(([model, scores]) => el("details", {}, el("summary", {}, name(model)),
        el("ul", {}, scores.map((score) => el("li", {}, el("bdi", {}, shown(`${score.title}, ${score.end.slice(0, 10)}:`)), links(score)))))));
      fill($("#schemas"), found.map(([file, table]) => el("details", {}, el("summary", {}, `${file}, ${table.columns.length} columns`),
        el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Columns of ${file}` }, el("table", {}, el("tbody", {},
          table.columns.map(([column, kind, nullable, about]) => el("tr", {}, el("th", { scope: "row", class: "name" }, column),
            el("td", { class: "text" }, kind + (nullable ? ", may be null" : "")), el("td", { class: "text" }, about)))))))));
    },
  };

  const pages = { board, compare, questions, model, history: past, runs, run: oneRun, data: tables };
  let live = false; // whether `hpt view` serves the site, and open pages follow the store
  const begin = () => pages[document.body.dataset.page].start().catch((error) => problem(`The page could not be filled: ${error.message}`));
  load("data/site.json").then((site) => { live = Boolean(site && site.live); }).catch(() => null).then(begin);

  // A site that `hpt view` serves looks for changes. What is chosen is in the address and stays.
  const watch = async () => {
    const first = await load("data/site.json");
    if (first && first.reports) $("nav").append(el("a", { href: first.reports }, "Reports"));
    if (!first || !first.live) return;
    let version = first.version;
    setInterval(async () => {
      const now = await fetch("data/site.json", { cache: "no-store" }).then((answer) => answer.json()).catch(() => null);
      if (!now || now.version === version || (document.activeElement && document.activeElement.matches("input"))) return;
      version = now.version;
      known.clear();
      begin();
    }, 3000);
  };
  watch();
})();
