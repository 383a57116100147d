"use strict";
(() => {
  const find = document.getElementById("find");
  const found = document.getElementById("found");
  const nothing = document.getElementById("nothing");
  const entries = [...document.querySelectorAll("[data-find]")].map((node) => ({ node, text: null }));
  const filters = [...document.querySelectorAll("button[data-outcome]")];
  const hide = document.querySelector("input[data-hide]");
  const pick = document.querySelector("select[data-labels]");
  const typing = (node) => node.matches("input:not([type=radio]), textarea, select");

  // The texts are gathered at the first search, so that opening a page of thousands of items costs nothing.
  const textOf = (entry) => (entry.text ??= entry.node.textContent.toLowerCase());

  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.outcome);
    let shown = 0;
    for (const entry of entries) {
      const { outcome, labels } = entry.node.dataset;
      const fits = (!wanted.length || wanted.includes(outcome)) &&
        !(hide?.checked && outcome === hide.dataset.hide) &&
        (!pick?.value || (labels ?? "").split("\n").includes(pick.value)) &&
        words.every((word) => textOf(entry).includes(word));
      entry.node.hidden = !fits;
      shown += fits;
    }
    found.textContent = words.length || wanted.length || hide?.checked || pick?.value ? `${shown} of ${entries.length}` : "";
    if (nothing) nothing.hidden = shown > 0;
  };

  if (find) {
    let waiting = 0;
    find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 80); });
    for (const button of filters) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        search();
      });
    }
    for (const chosen of [hide, pick]) chosen?.addEventListener("change", search);
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !typing(event.target)) {
        event.preventDefault();
        find.focus();
        find.select();
      } else if (event.key === "Escape" && event.target === find) {
        find.value = "";
        search();
        find.blur();
      }
    });
  }

  // Keys go from item to item among those that are shown; a picture is enlarged by a click and by Enter.
  const items = entries.map((entry) => entry.node).filter((node) => node.matches("details.item"));
  const step = (by) => {
    const shown = items.filter((node) => !node.hidden);
    const open = shown.findIndex((node) => node.contains(document.activeElement) || node.open);
    const next = shown[open < 0 ? (by > 0 ? 0 : shown.length - 1) : open + by];
    if (!next) return;
    for (const node of shown) node.open = node === next;
    next.querySelector("summary").focus({ preventScroll: true });
    next.scrollIntoView({ block: "center" });
  };
  const steps = { n: 1, j: 1, ArrowRight: 1, p: -1, k: -1, ArrowLeft: -1 };
  // Arrow keys scroll what is wider than its place, and choose within groups of buttons.
  const ownArrows = (node) => node.closest("input, video, dialog, .strip, .scroll");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || typing(event.target)) return;
    const by = steps[event.key];
    if (!by || !items.length || document.querySelector("dialog[open]")) return;
    if (event.key.startsWith("Arrow") && ownArrows(event.target)) return;
    event.preventDefault();
    step(by);
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("button.zoom");
    if (!opener) return;
    const pictures = [...opener.closest(".strip").querySelectorAll("img")];
    const dialog = document.createElement("dialog");
    let large = null;
    const show = (place) => {
      if (!pictures[place]) return;
      const next = pictures[place].cloneNode();
      next.removeAttribute("width");
      next.removeAttribute("height");
      next.dataset.place = place;
      dialog.ariaLabel = next.alt;
      if (large) large.replaceWith(next); else dialog.append(next);
      large = next;
    };
    show(pictures.indexOf(opener.querySelector("img")));
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (key) => {
      if (key.key in steps) show(Number(large.dataset.place) + steps[key.key]);
    });
    dialog.addEventListener("close", () => { dialog.remove(); opener.focus(); });
    document.body.append(dialog);
    dialog.showModal();
  });

  const valueOf = (row, column, numeric) => {
    const value = row.cells[column].dataset.v ?? "";
    return numeric ? (value === "" ? null : Number(value)) : value.toLowerCase();
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const head of table.tHead.querySelectorAll("th[data-sort]")) {
      const numeric = head.dataset.sort === "num";
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // Figures begin with the highest; names, and what is better the less there is of it, with the first.
        const rising = !numeric || head.dataset.first === "up";
        const again = head.getAttribute("aria-sort") === (rising ? "ascending" : "descending");
        const sign = rising === again ? -1 : 1;
        for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const column = head.cellIndex;
        rows.sort((a, b) => {
          const [x, y] = [valueOf(a, column, numeric), valueOf(b, column, numeric)];
          if (x === y) return 0;
          // What was not measured stays last, whichever way the table is sorted.
          if (x === null) return 1;
          if (y === null) return -1;
          return x < y ? -sign : sign;
        });
        table.tBodies[0].append(...rows);
      });
    }
  }
})();
