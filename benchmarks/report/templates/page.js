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
})();
