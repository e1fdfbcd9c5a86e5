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
const headings = document.querySelectorAll(".pairs thead button");
for (const button of headings) button.addEventListener("click", () => sort(button));

// A pair has one player, and without this script a player for each sound. Both sounds run together and one of them is
// loud, so that the other takes over at the same place, without a gap.
const SOON = 0.02;  // seconds: a moment that is still to come, at which both begin
let context = null, stopOther = () => {};

function decoded(audio) {
  const content = atob(audio.src.slice(audio.src.indexOf(",") + 1));
  return context.decodeAudioData(Uint8Array.from(content, (letter) => letter.charCodeAt(0)).buffer);
}

function equip(player) {
  const lanes = [...player.querySelectorAll(".lane")], sides = [...player.querySelectorAll("[type=radio]")];
  const [button, place, clock] = [".play", "[type=range]", "output"].map((part) => player.querySelector(part));
  const audios = lanes.map((lane) => lane.querySelector("audio"));
  const name = button.getAttribute("aria-label").slice("Play".length);
  const length = Number(place.max);
  const heads = lanes.map((lane) => {
    const head = Object.assign(document.createElement("span"), { className: "head" });
    lane.querySelector(".picture").append(head);
    return head;
  });
  let buffers = null, voices = [], at = 0, since = null;  // `since`: when, by the context's clock, the sound was at 0
  const now = () => (since === null ? at : Math.min(Math.max(context.currentTime - since, 0), length));
  const loudness = (lane) => Number(sides[lane].checked);

  function show() {
    const seconds = now(), said = `${seconds.toFixed(1)} / ${length.toFixed(1)} s`;
    place.value = seconds;
    place.setAttribute("aria-valuetext", said);
    clock.textContent = said;
    for (const head of heads) head.style.left = `${(100 * seconds) / length}%`;
    lanes.forEach((lane, index) => lane.classList.toggle("heard", sides[index].checked));
    player.classList.toggle("playing", since !== null);
    button.setAttribute("aria-label", (since === null ? "Play" : "Pause") + name);
  }
  function follow() {
    if (since !== null && now() >= length) {
      stop();
      at = 0;
    }
    show();
    if (since !== null) requestAnimationFrame(follow);
  }
  function stop() {
    at = now();
    since = null;
    for (const { source } of voices) source.stop();
    voices = [];
    show();
  }
  async function start() {
    context ??= new AudioContext();
    await context.resume();
    buffers ??= await Promise.all(audios.map(decoded));
    if (since !== null) return;  // pressed again meanwhile
    stopOther();
    stopOther = stop;
    const begin = context.currentTime + SOON;
    voices = buffers.map((buffer, lane) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      const gain = new GainNode(context, { gain: loudness(lane) });
      source.connect(gain).connect(context.destination);
      source.start(begin, at);
      return { source, gain };
    });
    since = begin - at;
    follow();
  }
  function seek(seconds) {
    const running = since !== null;
    if (running) stop();
    at = Math.min(Math.max(seconds, 0), length);
    show();
    if (running) start();
  }
  function switchSides() {
    voices.forEach(({ gain }, lane) => gain.gain.setTargetAtTime(loudness(lane), context.currentTime, 0.005));
    show();
  }

  button.addEventListener("click", () => (since === null ? start() : stop()));
  place.addEventListener("input", () => seek(place.valueAsNumber));
  for (const side of sides) side.addEventListener("change", switchSides);
  lanes.forEach((lane, index) => lane.querySelector(".picture").addEventListener("click", (event) => {
    sides[index].checked = true;
    switchSides();
    seek((length * event.offsetX) / event.currentTarget.offsetWidth);
  }));
  for (const hidden of player.querySelectorAll("[hidden]")) hidden.hidden = false;
  for (const audio of audios) audio.hidden = true;
  player.classList.add("ready");
  show();
}
document.querySelectorAll(".player").forEach(equip);
