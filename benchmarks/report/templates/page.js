"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* Sorting. Numbers start with the highest, names with A; rows without a value stay at the end. */
  const valueOf = (row, column) => row.cells[column].dataset.value;

  const sortBy = (table, head, column) => {
    const isName = head.classList.contains("name");
    const current = head.getAttribute("aria-sort");
    const first = isName ? "ascending" : "descending";
    const direction = current === null ? first : current === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [valueOf(a, column), valueOf(b, column)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return sign * (isName ? x.localeCompare(y) : Number(x) - Number(y));
    });
    table.tBodies[0].append(...rows);
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const title = head.querySelector(".title").textContent;
    document.getElementById("sorted").textContent = `Sorted by ${title}, ${direction}.`;
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[1].cells];
    heads.forEach((head, column) => {
      head.querySelector(".sort").addEventListener("click", () => sortBy(table, head, column));
    });
  }

  /* Details open beside their number and stay inside the window. */
  for (const details of document.querySelectorAll(".details")) {
    details.addEventListener("toggle", (event) => {
      if (event.newState !== "open") return;
      const anchor = document.querySelector(`[popovertarget="${details.id}"]`).getBoundingClientRect();
      const { width, height } = details.getBoundingClientRect();
      const left = Math.min(Math.max(12, anchor.right - width), innerWidth - width - 12);
      const below = anchor.bottom + 6;
      const top = below + height > innerHeight - 12 ? Math.max(12, anchor.top - height - 6) : below;
      details.style.left = `${left}px`;
      details.style.top = `${top}px`;
    });
  }
  addEventListener("scroll", () => document.querySelector(".details:popover-open")?.hidePopover(), { passive: true });

  /* Figures. */
  const config = { displayModeBar: false, responsive: true };
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const shorten = (text) => escape(text.length > 26 ? `${text.slice(0, 25)}…` : text);

  const layout = (extra) => ({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--soft") },
    hoverlabel: { bgcolor: color("--raised"), bordercolor: color("--line"), font: { color: color("--ink") } },
    showlegend: false,
    ...extra,
  });
  const axis = (extra) => ({
    gridcolor: color("--line"),
    zeroline: false,
    linecolor: color("--line"),
    fixedrange: true,
    automargin: true,
    ...extra,
  });

  const frame = (parent, title) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const plot = document.createElement("div");
    caption.textContent = title;
    plot.className = "plot";
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", title);
    figure.append(caption, plot);
    parent.append(figure);
    return plot;
  };

  const drawAverage = (plot, panel) => {
    const measured = (point) => point.color !== null;
    const marked = (label, point) => `${label} ${point.mark}`.trim();
    const ink = (point) => (measured(point) ? color(`--c${point.color % 8}`) : color("--soft"));
    const traces = panel.points.map((point, index) => ({
      type: "scatter",
      mode: "markers",
      x: [point.value],
      y: [index],
      marker: { color: ink(point), size: 10, symbol: measured(point) ? "circle" : "diamond-open" },
      error_x: point.low === null ? undefined : {
        type: "data", symmetric: false, array: [point.high - point.value], arrayminus: [point.value - point.low],
        color: ink(point), thickness: 1.5, width: 4,
      },
      hovertemplate: `${marked(escape(point.label), point)}: ${point.value.toFixed(1)}` +
        (point.low === null ? "" : ` (${point.low.toFixed(1)} to ${point.high.toFixed(1)})`) + "<extra></extra>",
    }));
    const labels = panel.points.map((point) => marked(shorten(point.label), point));
    Plotly.react(plot, traces, layout({
      height: 64 + 30 * panel.points.length,
      margin: { l: 8, r: 12, t: 6, b: 40 },
      xaxis: axis({ title: { text: "percent" }, rangemode: "tozero" }),
      yaxis: axis({
        tickvals: labels.map((_, i) => i), ticktext: labels, range: [labels.length - 0.4, -0.6], showgrid: false,
        tickfont: { color: color("--ink") },
      }),
    }), config);
  };

  const drawCurve = (plot, curve) => {
    const traces = curve.lines.map((line) => ({
      type: "scatter",
      mode: line.y.filter((value) => value !== null).length === 1 ? "markers" : "lines",
      connectgaps: true,
      name: shorten(line.label),
      x: line.x,
      y: line.y,
      line: { color: color(`--c${line.color % 8}`), width: 1.75 },
      marker: { color: color(`--c${line.color % 8}`) },
      hovertemplate: `${escape(line.label)}, step %{x}: %{y:.4g}<extra></extra>`,
    }));
    Plotly.react(plot, traces, layout({
      height: 230,
      margin: { l: 8, r: 8, t: 6, b: 36 },
      xaxis: axis({ title: { text: "step", standoff: 6 }, showgrid: false }),
      yaxis: axis({ rangemode: curve.share ? "tozero" : "normal", tickformat: curve.share ? ".0%" : "" }),
    }), config);
  };

  const drawings = [];
  const averages = document.getElementById("averages");
  for (const panel of data.averages) {
    const plot = frame(averages, panel.title);
    drawings.push(() => drawAverage(plot, panel));
  }
  const curves = document.getElementById("curves");
  for (const curve of curves ? data.curves : []) {
    const plot = frame(curves, curve.title);
    drawings.push(() => drawCurve(plot, curve));
  }
  const drawAll = () => drawings.forEach((draw) => draw());
  drawAll();
  theme.addEventListener("change", drawAll);
})();
