"use strict";
(() => {
const element = (name, attributes = {}, text = "") => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
};

// What a cell is sorted and filtered by: its raw value where it has one, else the figure that it shows.
const figure = cell => {
  if (!cell.textContent && !cell.dataset.value && !cell.matches(".bar")) return null;
  if (cell.matches(".bar")) return parseFloat(cell.firstChild.style.width);
  const text = cell.dataset.value ?? cell.textContent.replace(/[, %]/g, "");
  const value = { inf: Infinity, "-inf": -Infinity, exact: Infinity }[text] ?? Number(text);
  return Number.isNaN(value) ? null : value;
};
const numeric = head => head.matches(".r, .bar");

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  [...body.rows].forEach((row, index) => { row.place = index; });
  heads.forEach((head, index) => {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const way = was ? (was === "ascending" ? -1 : 1) : numeric(head) ? -1 : 1;  // the largest first, texts by the alphabet
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      const key = numeric(head) ? row => figure(row.cells[index]) : row => row.cells[index].textContent || null;
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort(([a, one], [b, other]) => {
        if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;  // empty ones last
        return way * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a === b ? 0 : a - b) || one.place - other.place;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function filterable(section, table, changed) {
  const heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies[0].rows];
  const bar = element("div", { class: "filters" }), count = element("div", { class: "count", role: "status" });
  const ranges = element("div", { class: "ranges" }), tests = [];
  const field = (parent, name, input) => {
    const label = element("label", {}, name);
    label.append(input);
    parent.append(label);
    input.addEventListener("input", apply);
    return input;
  };
  const all = field(bar, "Contains", element("input", { type: "search" }));
  const texts = new Map(rows.map(row => [row, [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase()]));
  tests.push(row => all.value.toLowerCase().split(/\s+/).every(word => texts.get(row).includes(word)));
  heads.forEach((head, index) => {
    const name = head.textContent;
    if (head.matches(".bar")) return;
    if (!numeric(head)) {
      const values = [...new Set(rows.map(row => row.cells[index].textContent))].filter(value => value);
      if (values.length < (rows.some(row => !row.cells[index].textContent) ? 1 : 2) || values.length > Math.min(12, rows.length / 2)) return;
      const select = element("select");
      select.append(element("option", { value: "" }, "all"), ...values.map(value => element("option", { value }, value)));
      field(bar, name, select);
      tests.push(row => !select.value || row.cells[index].textContent === select.value);
      return;
    }
    if (new Set(rows.map(row => row.cells[index].textContent)).size < 2) return;
    const group = element("label", {}, name), pair = element("span");
    const [least, most] = ["least", "most"].map(end => element("input", { type: "number", step: "any", placeholder: end, "aria-label": `${name}, ${end}` }));
    for (const input of [least, most]) input.addEventListener("input", apply);
    pair.append(least, most);
    group.append(pair);
    ranges.append(group);
    tests.push(row => {
      if (!least.value && !most.value) return true;
      const value = figure(row.cells[index]);
      if (value === null) return false;
      const scale = row.cells[index].textContent.endsWith("%") ? 100 : 1;
      return (!least.value || scale * value >= Number(least.value)) && (!most.value || scale * value <= Number(most.value));
    });
  });
  function apply() {
    for (const row of rows) row.hidden = !tests.every(test => test(row));
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
    changed();
  }
  if (ranges.children.length) {
    const more = element("details");
    more.append(element("summary", {}, "Least and most"), ranges);
    bar.append(more);
  }
  section.querySelector(".frame").before(bar, count);
  apply();
}

function built(part, data) {
  const section = element("section", { class: "table" }), frame = element("div", { class: "frame", tabindex: "0" });
  const table = element("table"), columns = data.columns[part.columns], head = table.createTHead().insertRow(), body = table.createTBody();
  for (const [title, name] of columns) head.append(element("th", { scope: "col", class: name }, title));
  for (let start = 0; start < part.cells.length; start += columns.length) {
    const row = body.insertRow();
    columns.forEach(([, name], index) => {
      const cell = row.insertCell(), text = data.texts[part.cells[start + index]];
      if (name) cell.className = name;
      if (name !== "bar") cell.textContent = text;
      else cell.append(element("i")), cell.firstChild.style.width = text + "%";
    });
  }
  sortable(table);
  frame.append(table);
  if (part.title) section.append(element("h3", {}, part.title));
  section.append(frame);
  return section;
}

function copyable(place) {
  for (const code of place.querySelectorAll("pre.code")) {
    const button = element("button", { type: "button" }, "Copy"), text = code.textContent;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.prepend(button);
  }
}

function pointed(plot, choose) {
  const tip = element("div", { class: "tip", hidden: "" });
  document.body.append(tip);
  for (const dot of plot.querySelectorAll("circle")) {
    const title = dot.querySelector("title"), text = title.textContent;
    title.remove();
    dot.addEventListener("pointermove", event => {
      tip.textContent = text;
      tip.hidden = false;
      const over = event.clientX + 14 + tip.offsetWidth > innerWidth;
      tip.style.left = Math.max(0, over ? event.clientX - tip.offsetWidth - 14 : event.clientX + 14) + "px";
      tip.style.top = Math.max(0, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight)) + "px";
    });
    dot.addEventListener("pointerleave", () => { tip.hidden = true; });
    if (dot.dataset.row) dot.addEventListener("click", () => choose(Number(dot.dataset.row)));
  }
}

for (const section of document.querySelectorAll("section.table")) {
  const table = section.querySelector("table"), rows = [...table.tBodies[0].rows], name = section.dataset.name;
  const plots = name ? [...document.querySelectorAll("svg[data-of]")].filter(plot => plot.dataset.of === name) : [];
  const dots = plots.flatMap(plot => [...plot.querySelectorAll("circle[data-row]")]);
  const source = section.querySelector("script"), data = source ? JSON.parse(source.textContent) : null;
  const place = element("div", { class: "chosen-details", role: "region", "aria-label": "Details of the chosen row", hidden: "" });
  const choose = (index, scroll) => {
    rows.forEach((row, other) => { row.classList.toggle("chosen", other === index); });
    for (const dot of dots) {
      dot.classList.toggle("chosen", Number(dot.dataset.row) === index);
      if (dot.matches(".chosen")) dot.parentNode.append(dot);  // on top
    }
    if (scroll) rows[index].scrollIntoView({ block: "nearest" });
    if (!data) return;
    place.replaceChildren();
    for (const part of data.rows[index]) {
      if (typeof part !== "string") place.append(built(part, data));
      else place.insertAdjacentHTML("beforeend", part);
    }
    place.hidden = false;
    copyable(place);
  };
  sortable(table);
  if (data || dots.length) rows.forEach((row, index) => {
    row.tabIndex = 0;
    row.dataset.row = index;
    row.addEventListener("click", () => choose(index, false));
    row.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(index, false);
    });
  });
  for (const plot of plots) pointed(plot, index => choose(index, true));
  section.append(place);
  if ("filters" in section.dataset) filterable(section, table, () => {
    for (const dot of dots) dot.style.display = rows[dot.dataset.row].hidden ? "none" : "";
  });
}
for (const plot of document.querySelectorAll(".scatter svg[role]:not([data-of])")) pointed(plot, () => {});
copyable(document);
})();
