"use strict";

const SLACK = 0.05; // s at most that may be unheard of a sound: one tick
const TICK = 50; // ms
const FADE = 0.005; // s, so that switching does not click
const SIDES = ["A", "B"];
const CHOICES = ["left", "tie", "right"];
const KEYS = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", "=": "tie" };

const content = JSON.parse(document.getElementById("content").textContent);
const at = (id) => document.getElementById(id);

/** Two sounds in step, one of them audible. It cannot seek, and remembers which parts of each were audible. */
class Player {
  constructor(context, buffers, changed) {
    Object.assign(this, { context, buffers, changed, side: 0, position: 0, voices: [], heard: [[], []] });
  }

  get playing() {
    return this.voices.length > 0;
  }

  async toggle() {
    if (this.playing) this.pause();
    else await this.play();
  }

  async play() {
    await this.context.resume();
    if (this.playing) return;
    this.since = this.context.currentTime;
    this.voices = this.buffers.map((buffer, side) => this.voice(buffer, side));
    this.timer = setInterval(() => this.tick(), TICK);
    this.changed();
  }

  voice(buffer, side) {
    const [source, gain] = [this.context.createBufferSource(), this.context.createGain()];
    source.buffer = buffer;
    gain.gain.value = side === this.side ? 1 : 0;
    source.connect(gain).connect(this.context.destination);
    source.start(0, this.position);
    return { source, gain };
  }

  pause() {
    this.tick();
    this.stop();
  }

  stop() {
    clearInterval(this.timer);
    for (const voice of this.voices) voice.source.stop();
    this.voices = [];
    this.changed();
  }

  /** Make another side audible at the same place; where it has none, from its beginning. */
  async choose(side) {
    if (this.playing) this.tick();
    this.side = side;
    if (this.position >= this.buffers[side].duration) this.rewind();
    this.voices.forEach((voice, index) =>
      voice.gain.gain.setTargetAtTime(index === side ? 1 : 0, this.context.currentTime, FADE));
    if (!this.playing) await this.play();
    this.changed();
  }

  rewind() {
    if (this.playing) this.stop();
    this.position = 0;
  }

  /** Note what was audible since the last tick. */
  tick() {
    const now = this.context.currentTime;
    const duration = this.buffers[this.side].duration;
    const position = Math.min(duration, this.position + now - this.since);
    this.heard[this.side] = union(this.heard[this.side], [this.position, position]);
    [this.position, this.since] = [position, now];
    if (position >= duration) this.rewind();
    this.changed();
  }

  share(side) {
    const heard = this.heard[side].reduce((sum, [from, to]) => sum + to - from, 0);
    return Math.min(1, heard / Math.max(TICK / 1000, this.buffers[side].duration - SLACK));
  }

  get complete() {
    return this.share(0) === 1 && this.share(1) === 1;
  }
}

/** Disjoint intervals, and one more that may touch them, as disjoint intervals. */
function union(intervals, added) {
  const touches = ([from, to]) => from <= added[1] && to >= added[0];
  const joined = [added, ...intervals.filter(touches)];
  const whole = [Math.min(...joined.map(([from]) => from)), Math.max(...joined.map(([, to]) => to))];
  return [...intervals.filter((interval) => !touches(interval)), whole];
}

/** A test that a server keeps. */
class Served {
  async enter(name) {
    const { token } = await asked("raters", { name });
    this.base = `raters/${token}`;
  }

  async state() {
    return (this.last = await asked(this.base));
  }

  async sounds() {
    const answers = await Promise.all(["left", "right"].map((side) => fetch(`${this.base}/${this.last.done}/${side}`)));
    return Promise.all(answers.map((answer) => checked(answer).then(() => answer.arrayBuffer())));
  }

  async vote(ballot) {
    return (this.last = await asked(`${this.base}/${this.last.done}`, ballot));
  }
}

async function asked(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await checked(await fetch(path, body && post))).json();
}

async function checked(answer) {
  if (!answer.ok) throw new Error(reason(await answer.text()) ?? `the server answered ${answer.status}`);
  return answer;
}

/** The reason of a refusal, if the answer states one in words. */
function reason(text) {
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : undefined;
  } catch {
    return undefined;
  }
}

/** A test that this page holds; votes are kept in the browser. */
class Held {
  constructor({ plan, sounds, seats }) {
    Object.assign(this, { plan, encoded: sounds, seats });
  }

  async enter(name) {
    this.key = `dragon-listen ${this.plan} ${name}`;
    const seat = crypto.getRandomValues(new Uint32Array(1))[0] % this.seats.length;
    this.keep(this.kept ?? { plan: this.plan, rater: name, seat, votes: [] });
    at("saving").hidden = false;
  }

  get kept() {
    return JSON.parse(localStorage.getItem(this.key));
  }

  keep(votes) {
    localStorage.setItem(this.key, JSON.stringify(votes));
    this.votes = votes;
  }

  get trials() {
    return this.seats[this.votes.seat];
  }

  async state() {
    const [done, total] = [this.votes.votes.length, this.trials.length];
    return { done, total, prompt: this.trials[done]?.prompt };
  }

  async sounds() {
    const { sounds } = this.trials[this.votes.votes.length];
    return sounds.map((place) => Uint8Array.from(atob(this.encoded[place]), (letter) => letter.charCodeAt(0)).buffer);
  }

  async vote(ballot) {
    if (this.kept?.votes.length !== this.votes.votes.length) throw new Error("another window went on with the test");
    this.keep({ ...this.votes, votes: [...this.votes.votes, ballot] });
    return this.state();
  }

  download() {
    const file = new Blob([JSON.stringify(this.votes, null, 1)], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `votes-${this.votes.rater.replace(/[^\p{L}\p{N}]+/gu, "-")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

const test = content ? new Held(content) : new Served();
let context; // made by a click, as browsers ask
let player;
let shown; // ms, when the sounds of the trial were there
let voting = false;

function say(text) {
  at("status").textContent = text;
}

function only(id) {
  for (const part of ["entry", "trial", "end"]) at(part).hidden = part !== id;
}

/** Show what the player does, and let vote who heard both. */
function draw() {
  at("play").textContent = player?.playing ? "Pause" : "Play";
  for (const [side, name] of SIDES.entries()) {
    const pressed = String(player?.side === side);
    if (at(`sound-${side}`).getAttribute("aria-pressed") !== pressed) at(`sound-${side}`).setAttribute("aria-pressed", pressed);
    at(`heard-${side}`).value = player?.share(side) ?? 0;
    at(`heard-${side}`).setAttribute("aria-label", `heard of ${name}`);
    at(`sound-${side}`).disabled = !player;
  }
  at("play").disabled = !player;
  for (const choice of CHOICES) at(choice).disabled = voting || !player?.complete;
  if (player?.complete && !player.announced) {
    player.announced = true;
    say("You heard both. Which do you prefer?");
  }
}

/** Go to the trial that a state names, or to the end. */
async function show(state, saved = "") {
  player = undefined;
  draw();
  if (state.done === state.total) {
    only("end");
    say(`${saved}All ${state.total} pairs are done.`);
    at("thanks").focus();
    return;
  }
  only("trial");
  at("progress").textContent = `${state.done + 1} of ${state.total}`;
  at("prompt").textContent = state.prompt ?? "";
  say(`${saved}Loading the sounds.`);
  at("progress").focus();
  const buffers = await Promise.all((await test.sounds()).map((sound) => context.decodeAudioData(sound)));
  player = new Player(context, buffers, draw);
  shown = performance.now();
  draw();
  say(`${saved}Listen to A and B to the end, then vote.`);
}

async function vote(choice) {
  if (voting || !player?.complete) {
    if (!voting) say("Listen to both to the end before you vote.");
    return;
  }
  voting = true;
  if (player.playing) player.pause();
  draw();
  const ballot = { choice, seconds: (performance.now() - shown) / 1000 };
  const state = await attempt("Not saved", () => test.vote(ballot));
  voting = false;
  draw();
  if (state) await attempt("Saved, but the next sounds are not there", () => show(state, "Saved. "));
}

/** What an action gives; if it fails, undefined, and the rater is told. */
async function attempt(failure, action) {
  try {
    return await action();
  } catch (error) {
    say(`${failure}: ${error.message}. Try again, or load the page again and go on under your name.`);
    return undefined;
  }
}

async function start(event) {
  event.preventDefault();
  const name = at("name").value.trim();
  context ??= new AudioContext();
  await attempt("This did not work", async () => {
    await test.enter(name);
    localStorage.setItem("dragon-listen", name);
    await show(await test.state());
  });
}

/** Keys act at once, except the keys that a focused field or button takes itself. */
function act(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || at("trial").hidden) return;
  const focused = event.target.closest("button, input");
  const side = SIDES.indexOf(event.key.toUpperCase());
  if (event.key === " " && !focused) player?.toggle();
  else if (side >= 0) player?.choose(side);
  else if (event.key in KEYS) vote(KEYS[event.key]);
  else return;
  event.preventDefault();
}

at("entry").addEventListener("submit", start);
at("play").addEventListener("click", () => player?.toggle());
SIDES.forEach((_, side) => at(`sound-${side}`).addEventListener("click", () => player?.choose(side)));
for (const choice of CHOICES) at(choice).addEventListener("click", () => vote(choice));
at("download").addEventListener("click", () => test.download());
document.addEventListener("keydown", act);
// A button that was clicked with a pointer gives up the focus, so that Space goes on playing and pausing.
document.addEventListener("click", (event) => event.detail > 0 && event.target.closest("button")?.blur());

at("name").value = localStorage.getItem("dragon-listen") ?? "";
if (at("name").value) at("enter").textContent = "Continue";
only("entry");
at("name").focus();
