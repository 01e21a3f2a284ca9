"use strict";
// The table of images: sorted, filtered and shown a page at a time. Rows that are not shown are not in the document.
(() => {
  const section = document.getElementById("images");
  if (!section) return;
  const body = section.querySelector("tbody");
  const heads = [...section.querySelectorAll("th[data-key]")];
  const field = (name) => section.querySelector(`[name="${name}"]`);
  const status = section.querySelector("[role=status]");
  const collator = new Intl.Collator(undefined, { numeric: true });

  const number = (text) => (text === undefined || text === "" ? NaN : Number(text));
  const rows = [...body.rows].map((element, place) => {
    element.hidden = false;
    return {
      element,
      place,
      text: `${element.querySelector("th").textContent} ${element.dataset.group || ""}`.toLowerCase(),
      file: element.querySelector("th > bdi").textContent,
      group: element.dataset.group || "",
      status: element.dataset.status,
      score: number(element.dataset.score),
      spread: number(element.dataset.spread),
      size: number(element.dataset.size),
    };
  });
  let found = rows;
  let first = 0;

  const compare = (key, turn) => (a, b) => {
    const x = a[key];
    const y = b[key];
    if (typeof x === "string") return turn * collator.compare(x, y) || a.place - b.place;
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.place - b.place; // last
    return turn * (x - y) || a.place - b.place;
  };

  const show = () => {
    const size = Number(field("rows").value) || found.length || 1;
    first = Math.max(0, Math.min(first, Math.floor((found.length - 1) / size) * size));
    const last = Math.min(first + size, found.length);
    body.replaceChildren(...found.slice(first, last).map((row) => row.element));
    const range = found.length ? `Images ${first + 1} to ${last} of ${found.length}` : "No images";
    status.textContent = range + (found.length < rows.length ? ` that match, of ${rows.length}` : "");
    field("before").disabled = first === 0;
    field("after").disabled = last >= found.length;
  };

  const choose = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const group = field("group") ? field("group").value : "";
    const state = field("status").value;
    const low = number(field("low").value);
    const high = number(field("high").value);
    found = rows.filter(
      (row) =>
        words.every((word) => row.text.includes(word)) &&
        (!group || row.group === group) &&
        (!state || row.status === state) &&
        (Number.isNaN(low) || row.score >= low) &&
        (Number.isNaN(high) || row.score <= high),
    );
    first = 0;
    show();
  };

  const sort = (head) => {
    const before = head.getAttribute("aria-sort");
    const turn = before === "none" ? head.dataset.first : before === "ascending" ? "descending" : "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? turn : "none"));
    rows.sort(compare(head.dataset.key, turn === "ascending" ? 1 : -1));
    choose();
  };

  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sort(head)));
  const form = section.querySelector("form");
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(choose));
  field("rows").addEventListener("change", show);
  const turn = (pages) => () => {
    first += pages * Number(field("rows").value);
    show();
  };
  field("before").addEventListener("click", turn(-1));
  field("after").addEventListener("click", turn(1));
  section.querySelectorAll("[data-script]").forEach((part) => part.removeAttribute("hidden"));
  show();
})();
