// The catalogue as a table that sorts and filters.

import DataTable from "datatables";

const PAGE = 25;

export function makeTable(element) {
  const names = [...element.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const texts = names.map((name, k) => (element.tHead.rows[0].cells[k].classList.contains("numeric") ? -1 : k)).filter((k) => k >= 0);
  return new DataTable(element, {
    autoWidth: false,
    order: [],
    pageLength: PAGE,
    lengthMenu: [10, PAGE, 100, { label: "all", value: -1 }],
    paging: element.tBodies[0].rows.length > 10,
    columnDefs: [{ targets: texts, type: "string" }],
    columnControl: [["search"]],
    layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
    language: { search: "Filter", searchPlaceholder: "name or number", zeroRecords: "No feature passes the filter", info: "_START_ to _END_ of _TOTAL_ features", infoEmpty: "no features", infoFiltered: "(of _MAX_)", lengthMenu: "_MENU_ a page" },
  });
}

// Up and down move between the names.
export function moveByArrows(element) {
  element.addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const row = event.target.closest("tbody tr");
    const link = step && row?.[step]?.querySelector("a");
    if (!link) return;
    event.preventDefault();
    link.focus();
  });
}

// Show the row of a feature, on whichever page of the table it is.
export function showRow(table, id) {
  const row = table.row(`#row-${id}`);
  if (!row.any()) return;
  let position = table.rows({ search: "applied", order: "applied" }).indexes().indexOf(row.index());
  if (position < 0) {
    table.search("").columns().ccSearchClear();
    table.draw();
    position = table.rows({ search: "applied", order: "applied" }).indexes().indexOf(row.index());
  }
  if (table.page.len() > 0) table.page(Math.floor(Math.max(position, 0) / table.page.len())).draw("page");
}
