"use strict";

const TRIES = 5;
const AT_ONCE = 2; // requests of this page; the service's queue is for everybody
const find = (id) => document.getElementById(id);
const status = find("status");
const waiting = [];
let running = 0;
let token = "";
let range = null;

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  for (let tried = 1; ; tried++) {
    const answer = await fetch(path, { ...options, headers });
    if (answer.ok) return answer;
    const seconds = Number(answer.headers.get("Retry-After"));
    if (answer.status !== 503 || !seconds || tried === TRIES) {
      if (answer.status === 401) wantToken();
      const problem = await answer.json().catch(() => ({}));
      throw new Error(problem.detail ? `${problem.code}: ${problem.detail}` : `the service answered ${answer.status}`);
    }
    await new Promise((resume) => setTimeout(resume, 1000 * seconds));
  }
}

function wantToken() {
  find("token-form").hidden = false;
  find("token").focus();
}

async function introduce() {
  try {
    const info = await (await ask("v1/info")).json();
    range = info.range;
    const better = info.higher_is_better ? "higher is better" : "lower is better";
    find("about").textContent = `${info.model} ${info.version}: ${info.meaning}, ${range[0]} to ${range[1]}, ${better}.`;
    find("token-form").hidden = true;
    status.textContent = "";
  } catch (error) {
    status.textContent = error.message;
  }
}

function take(files) {
  for (const file of files) {
    const card = find("card").content.firstElementChild.cloneNode(true);
    const name = file.name || "pasted image";
    card.querySelector("h2").textContent = name;
    card.querySelector(".number").textContent = "…";
    card.querySelector(".show-map").hidden = true;
    const picture = card.querySelector(".picture");
    picture.alt = name;
    picture.onerror = () => { picture.hidden = true; };
    picture.src = URL.createObjectURL(file);
    find("results").prepend(card);
    waiting.push({ file, name, card, alone: files.length === 1 });
  }
  if (files.length > 1) status.textContent = `${files.length} images to score`;
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running++;
    score(waiting.shift()).finally(() => { running--; next(); });
  }
}

function request(file) {
  const kind = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  return { method: "POST", body: file, headers: { "Content-Type": kind } };
}

async function score({ file, name, card, alone }) {
  try {
    const { results: [result] } = await (await ask("v1/score", request(file))).json();
    show(card, result);
    status.textContent = `${name}: ${result.score.toFixed(2)}${range ? ` of ${range[0]} to ${range[1]}` : ""}`;
    const button = card.querySelector(".show-map");
    button.hidden = false;
    button.onclick = () => showMap(card, file, name, button);
    if (alone) await showMap(card, file, name, button);
  } catch (error) {
    card.classList.add("failed");
    card.querySelector(".number").textContent = "no score";
    card.querySelector(".scale").hidden = true;
    card.querySelector(".message").textContent = error.message;
    status.textContent = `${name}: ${error.message}`;
  }
}

function show(card, result) {
  const put = (place, text) => { card.querySelector(place).textContent = text; };
  put(".number", result.score.toFixed(2));
  const between = result.interval && result.interval.map((bound) => bound.toFixed(2)).join(" to ");
  const certain = between ? `People give it ${between} with a probability of 90 %. ` : "";
  const spread = result.spread === null ? "" : `Spread of the votes ${result.spread.toFixed(2)}; `;
  put(".spread", `${certain}${spread}${result.width}×${result.height} pixels.`);
  put(".message", result.message);
  const scale = card.querySelector(".scale");
  if (!range) {
    scale.hidden = true;
    return;
  }
  put(".range", `of ${range[0]} to ${range[1]}`);
  scale.ariaLabel = `${result.score.toFixed(2)} on a scale from ${range[0]} to ${range[1]}`;
  const share = (value) => Math.min(Math.max((value - range[0]) / (range[1] - range[0]), 0), 1) * 100;
  card.querySelector(".mark").style.left = `${share(result.score)}%`;
  if (result.interval) {
    const bar = card.querySelector(".interval");
    bar.style.left = `${share(result.interval[0])}%`;
    bar.style.right = `${100 - share(result.interval[1])}%`;
  }
}

async function showMap(card, file, name, button) {
  button.disabled = true;
  button.textContent = "The map is being made…";
  try {
    const picture = await (await ask("v1/map", request(file))).blob();
    const map = card.querySelector(".map");
    map.onload = () => { map.parentElement.scrollLeft = map.parentElement.scrollWidth; }; // on a phone: the map before the image
    map.src = URL.createObjectURL(picture);
    map.alt = `Quality map of ${name}`;
    card.querySelector("figure").hidden = false;
    button.hidden = true;
  } catch (error) {
    card.querySelector(".message").textContent = `No map: ${error.message}`;
    button.textContent = "Show the map";
    button.disabled = false;
  }
}

find("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("drop").classList.add("over");
});
document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  take([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("token").value.trim();
  introduce();
});
if (find("token-form").hidden) introduce();
