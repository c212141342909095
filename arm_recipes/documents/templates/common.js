const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const number = value => value.toLocaleString("en", { maximumSignificantDigits: 4 });
const whole = value => value.toLocaleString("en");
const percent = value => (100 * value).toFixed(1) + " %";

function element(name, attributes = {}, text = null) {
  const made = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// Columns are [title, value of a row, how it is written]. Without the last a value is text; with "bar" it is a bar.
function fill(table, columns, rows) {
  const most = columns.map(([, value, write]) => write === "bar" ? Math.max(...rows.map(value), 0) : 0);
  const show = ordered => body.replaceChildren(...ordered.map(row => {
    const line = element("tr");
    columns.forEach(([, value, write], i) => {
      const cell = element("td", write && write !== "bar" ? {} : { class: "text" });
      if (write === "bar") {
        const strip = element("span", { class: "bar" });
        strip.style.width = (most[i] ? 80 * value(row) / most[i] : 0) + "px";
        cell.append(strip);
      } else if (value(row) !== null) cell.textContent = write ? write(value(row)) : value(row);
      line.append(cell);
    });
    return line;
  }));
  const head = element("tr"), body = element("tbody"), top = element("thead");
  let sorted = null, way = 1;
  columns.forEach(([title, value, write], i) => {
    const cell = element("th", write && write !== "bar" ? {} : { class: "text" }), button = element("button", {}, title);
    button.addEventListener("click", () => {
      way = sorted === i ? -way : write ? -1 : 1;  // the largest first, texts by the alphabet
      sorted = i;
      show([...rows].sort((a, b) => way * (write ? value(a) - value(b) : String(value(a)).localeCompare(value(b)))));
    });
    cell.append(button);
    head.append(cell);
  });
  top.append(head);
  table.replaceChildren(top, body);
  show(rows);
}

function layerTable(table, layers) {
  const total = layers.reduce((sum, layer) => sum + layer.cycles, 0);
  fill(table, [
    ["#", layer => layer.number, whole], ["part of the model", layer => layer.module || layer.origin], ["operator", layer => layer.operator],
    ["cycles", layer => layer.cycles, whole], ["share", layer => total ? layer.cycles / total : 0, percent],
    ["", layer => layer.cycles, "bar"], ["bound by", layer => layer.bound], ["MACs", layer => layer.macs, whole],
    ["MACs used", layer => layer.macs ? layer.utilisation : null, percent], ["bytes in use", layer => layer.staging_bytes, whole],
    ["tensor", layer => layer.name],
  ], layers.map((layer, i) => ({ number: i + 1, ...layer })));
}
