"use strict";
// The page of `python -m toxlib serve`. Texts and names are only ever set as textContent.

const find = (id) => document.getElementById(id);
const SHOWN_FROM = 0.2, WRITTEN_FROM = 0.5, LEAST = 0.005; // as in toxlib/coloured_text.py
let thresholds = {};

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function bar(score, threshold) {
  const picture = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" });
  picture.append(draw("rect", { width: 100 * score, height: 10 }));
  const line = { x1: 100 * threshold, x2: 100 * threshold, y1: 0, y2: 10 };
  picture.append(draw("line", { ...line, "vector-effect": "non-scaling-stroke" }));
  return picture;
}

function showScores({ scores, decisions }) {
  const rows = Object.entries(scores).map(([label, score]) => {
    const row = make("tr", decisions[label] ? "yes" : "");
    const cell = make("td");
    cell.append(bar(score, thresholds[label]));
    row.append(make("td", "name", label), cell, make("td", "value", score.toFixed(3)));
    row.append(make("td", "decision", decisions[label] ? "yes" : "no"));
    return row;
  });
  find("scores").tBodies[0].replaceChildren(...rows);
}

function showWords(text, words) {
  // Python counts characters, JavaScript halves of those outside Unicode's first plane.
  const letters = Array.from(text);
  const strongest = Math.max(LEAST, ...words.map(({ effect }) => Math.abs(effect)));
  const parts = [];
  let end = 0;
  for (const { start, end: stop, effect } of words) {
    parts.push(letters.slice(end, start).join(""));
    const share = Math.abs(effect) / strongest;
    const word = letters.slice(start, stop).join("");
    end = stop;
    if (share < SHOWN_FROM || Math.abs(effect) < LEAST) {
      parts.push(word);
      continue;
    }
    const strong = share >= WRITTEN_FROM ? " strong" : "";
    const marked = make("span", (effect > 0 ? "raises" : "lowers") + strong, word);
    const number = (effect > 0 ? "+" : "−") + Math.abs(effect).toFixed(2);
    marked.title = number;
    if (strong) marked.append(make("small", "", ` ${number}`));
    parts.push(marked);
  }
  find("words").replaceChildren(...parts, letters.slice(end).join(""));
}

function showError(message) {
  find("error").textContent = message;
  find("error").hidden = !message;
}

async function score(event) {
  event.preventDefault();
  const text = find("text").value, explain = find("label").value;
  find("score").disabled = true;
  try {
    const body = JSON.stringify({ texts: [text], explain });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("predict", { method: "POST", headers, body });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    showScores(content.results[0]);
    showWords(text, content.results[0].words);
    find("explained").textContent = explain;
    find("result").hidden = false;
    showError("");
  } catch (error) {
    showError(error.message);
  }
  find("score").disabled = false;
}

async function start() {
  const health = await (await fetch("health")).json();
  find("run").textContent = health.run;
  thresholds = health.thresholds;
  find("label").replaceChildren(...health.labels.map((label) => make("option", "", label)));
  if (location.hash.length > 1) {
    // A link may bring the text after a #, which browsers keep to themselves.
    find("text").value = decodeURIComponent(location.hash.slice(1));
    find("form").requestSubmit();
  }
}

find("form").addEventListener("submit", score);
start().catch((error) => showError(error.message));
