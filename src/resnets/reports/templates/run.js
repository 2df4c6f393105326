// Sorts tables of class "sortable" by the column whose heading is pressed. Without this script the headings are plain text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const sign = direction === "ascending" ? 1 : -1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      const rows = [...body.rows].map((row) => ({ row, cell: row.cells[column] }));
      rows.sort((a, b) => compare(a.cell, b.cell, sign));
      body.append(...rows.map(({ row }) => row));
    });
  });
}

function compare(a, b, sign) {
  if (!("value" in a.dataset)) {
    return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  }
  const missing = (a.dataset.value === "") - (b.dataset.value === ""); // cells without a number stay at the end
  return missing || sign * (a.dataset.value - b.dataset.value);
}
