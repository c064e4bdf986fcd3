"use strict";
(() => {
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

  /* A table is one stop of the Tab key; arrow keys, Home and End go from button to button. */
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  for (const table of document.querySelectorAll("table")) {
    const buttonAt = (row, column) => table.rows[row]?.cells[column]?.querySelector("button.sort, button.number");
    const all = table.querySelectorAll("button.sort, button.number");
    all.forEach((button, place) => { button.tabIndex = place ? -1 : 0; });
    table.addEventListener("focusin", (event) => {
      if (!event.target.matches("button.sort, button.number")) return;
      all.forEach((button) => { button.tabIndex = -1; });
      event.target.tabIndex = 0;
    });
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("button.sort, button.number")?.closest("td, th");
      if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
      let row = cell.parentNode.rowIndex, column = cell.cellIndex, found;
      const last = table.rows[row].cells.length;
      if (event.key in moves) {
        const [down, right] = moves[event.key];
        do {
          row += down;
          column += right;
          found = buttonAt(row, column);
        } while (!found && table.rows[row] && column >= 0 && column < last);
      } else if (event.key === "Home" || event.key === "End") {
        const order = [...table.rows[row].cells].map((other) => other.querySelector("button.sort, button.number")).filter(Boolean);
        found = event.key === "Home" ? order[0] : order.at(-1);
      } else return;
      event.preventDefault();
      found?.focus();
    });
  }

  /* Details open beside their number and stay inside the window. They close once the number has moved away, but not for
     what a click or the focus scrolled before they were open. */
  let anchor, top;
  addEventListener("click", (event) => { anchor = event.target.closest(".number") || anchor; }, true);
  for (const details of document.querySelectorAll(".details")) {
    details.addEventListener("toggle", (event) => {
      if (event.newState !== "open") return;
      const place = anchor.getBoundingClientRect();
      top = place.top;
      const { width, height } = details.getBoundingClientRect();
      const left = Math.min(Math.max(12, place.right - width), innerWidth - width - 12);
      const below = place.bottom + 6;
      details.style.left = `${left}px`;
      details.style.top = `${below + height > innerHeight - 12 ? Math.max(12, top - height - 6) : below}px`;
    });
  }
  addEventListener("scroll", () => {
    const details = document.querySelector(".details:popover-open");
    if (details && Math.abs(anchor.getBoundingClientRect().top - top) > 40) details.hidePopover();
  }, { passive: true, capture: true });

  /* All squares of the matrices share one popover, because their number grows with the square of the models'. */
  const pair = document.getElementById("pair");
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const term = (name, value) => [element("dt", name), element("dd", value)];
  const openPair = (button) => {
    const cell = button.parentNode, table = cell.closest("table"), { dataset } = button;
    const [alone, questions] = [dataset.alone, dataset.of].map((text) => text.split(" ").map(Number));
    const [every, all] = [alone, questions].map((counts) => counts.reduce((sum, count) => sum + count));
    const told = (count, of) => `${count.toLocaleString("en")} of ${of.toLocaleString("en")} questions`;
    const names = JSON.parse(dataset.names || table.dataset.names);
    const classes = names.length > 1 ? names.map((name, place) => [name, alone[place], questions[place]]) : [];
    const solved = Number(dataset.solved);
    const nameOf = (node) => node.querySelector("bdi").cloneNode(true);
    pair.querySelector("h3").replaceChildren(nameOf(cell.parentNode.cells[0]), ", not ", nameOf(table.tHead.rows[0].cells[cell.cellIndex]), " · ", nameOf(table.closest("figure")));
    pair.querySelector("dl").replaceChildren(
      ...term("Solved only by it", told(every, all)),
      ...term("Solved by it", solved.toLocaleString("en")),
      ...term("Solved by both", (solved - every).toLocaleString("en")),
      ...classes.filter(([, , of]) => of).flatMap(([name, count, of]) => term(name[0].toUpperCase() + name.slice(1), told(count, of))),
      ...JSON.parse(dataset.notes || "[]").flatMap((note) => term(...note)),
    );
    pair.hidePopover();
    pair.showPopover();
  };
  document.querySelectorAll(".matrix .number").forEach((button) => button.addEventListener("click", () => openPair(button)));
})();
