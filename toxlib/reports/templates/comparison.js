"use strict";
/* Clicking the head of a column sorts its table. A cell without a number comes last. */
for (const table of document.querySelectorAll("table.runs")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort") || "";
      const down = before ? before === "ascending" : head.dataset.first === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], down));
      table.tBodies[0].append(...rows);
    });
  });
}

function compare(a, b, down) {
  const sign = down ? -1 : 1;
  if (!("value" in a.dataset)) {
    return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  }
  const [x, y] = [Number(a.dataset.value), Number(b.dataset.value)];
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) - Number.isNaN(y);
  }
  return sign * (x - y);
}
