// What a browser may add to pages that work without it: rows that are filtered while one types, and two keys.
(() => {
  "use strict";
  const field = document.querySelector("input[data-filter]");
  if (field) {
    const table = document.getElementById(field.dataset.filter);
    const rows = table ? [...table.tBodies[0].rows] : [];
    const words = rows.map((row) => row.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, index) => { row.hidden = !wanted.every((word) => words[index].includes(word)); });
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.querySelector("form[role=search] input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
    if (event.key === "Escape" && typing) document.activeElement.blur();
  });
})();
