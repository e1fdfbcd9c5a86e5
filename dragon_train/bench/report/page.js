// Charts take their colours from the page, and are drawn again when its scheme changes.
const scheme = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const text = { labelColor: colour("muted"), titleColor: colour("muted"), titleFontWeight: 400, labelFontSize: 11, titleFontSize: 12 };
  return {
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    padding: { left: 5, right: 12, top: 5, bottom: 5 },
    view: { stroke: null },
    axis: { ...text, gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line") },
    legend: { ...text, orient: "top", offset: 4, symbolOpacity: 1, labelLimit: 320 },
    text: { color: colour("ink"), fontSize: 12 },
    rule: { color: colour("muted") },
    line: { color: colour("c2"), strokeWidth: 2 },
    point: { color: colour("c2"), size: 30, filled: true },
    bar: { color: colour("c2") },
    range: { category: ["c1", "c2", "c3", "c4", "c5", "c6"].map(colour) },
  };
}

// The interpreter of expressions (`ast`) works under a policy that forbids `eval`.
const looks = { actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };

async function draw(figure) {
  const plot = figure.querySelector(".plot");
  if (!plot.offsetWidth) return;
  figure.dataset.drawn = scheme.matches ? "dark" : "light";
  figure.view?.finalize();
  const spec = JSON.parse(figure.querySelector("script").textContent);
  figure.view = (await vegaEmbed(plot, spec, { ...looks, config: theme() })).view;
}

const figures = (selector = ".chart") => [...document.querySelectorAll(selector)];
scheme.addEventListener("change", () => figures(".chart[data-drawn]").forEach(draw));

// One run at a time.
const choice = document.getElementById("choice");
function choose() {
  for (const run of document.querySelectorAll(".run")) run.hidden = run.id !== choice.value;
  figures(".chart:not([data-drawn])").forEach(draw);
}
choice?.addEventListener("change", choose);
if (choice) choose();
else figures().forEach(draw);

// Pairs are sorted by the column whose button is pressed; pressed again, the other way.
function sort(button) {
  const header = button.closest("th"), table = button.closest("table"), place = header.cellIndex;
  const first = place ? "descending" : "ascending", other = place ? "ascending" : "descending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const key = (row) => row.cells[place].dataset.key;
  const compare = (a, b) => (place ? key(a) - key(b) : key(a).localeCompare(key(b)));
  const rows = [...table.tBodies[0].rows].sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
  table.tBodies[0].append(...rows);
  document.getElementById("said").textContent = `Sorted by ${button.textContent}, ${order}`;
}
for (const button of document.querySelectorAll(".pairs button")) button.addEventListener("click", () => sort(button));

// One sound at a time.
document.addEventListener("play", ({ target }) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== target) audio.pause();
}, true);
