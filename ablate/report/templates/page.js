"use strict";
// Sorts the tables of the page and recomputes what its runs come to. Nothing is fetched; without it the page is whole.
(() => {
  const DASH = "\u2013";
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const draw = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // --- sorting ---------------------------------------------------------------------------------------------------

  const UNITS = { k: 1e3, M: 1e6, G: 1e9, "µs": 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400, KiB: 1, MiB: 1024,
    GiB: 1048576 };
  const PART = /(-?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([A-Za-zµ]*)/g;

  // What a cell is sorted by: the number that it begins with, in one unit; else its text; null where it has nothing.
  function keyOf(cell) {
    const text = cell.textContent.trim().replace(/\u2212/g, "-");
    if (!text || text === DASH) return null;
    const [head] = text.split(/[±(]/);
    if (!/^[<>≤≥+]?\s*-?\.?\d/.test(head)) return text;
    let sum = null;
    for (const [, digits, unit] of head.matchAll(PART)) {
      if (sum !== null && !(unit in UNITS)) break;
      sum = (sum ?? 0) + Number(digits.replace(/,/g, "")) * (UNITS[unit] ?? 1);
    }
    return sum;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, undefined, { numeric: true });
  }

  // Rows that belong together, such as a published one and the one measured for it: the last decides their place.
  function groupsOf(body) {
    const groups = [];
    let open = [];
    for (const row of body.rows) {
      open.push(row);
      if (!row.classList.contains("foreign")) {
        groups.push(open);
        open = [];
      }
    }
    if (open.length) groups.push(open);
    return groups;
  }

  // One button in each heading: upwards, downwards, and as it was. What is empty stays last.
  function sortable(table) {
    const headings = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    let original = null;
    const sort = (place, direction) => {
      original ??= groupsOf(body);
      headings.forEach((heading, at) => {
        if (at === place && direction) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        else heading.removeAttribute("aria-sort");
      });
      const keyed = original.map((rows) => [keyOf(rows[rows.length - 1].cells[place]), rows]);
      if (direction) {
        keyed.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          return direction * compare(a, b);
        });
      }
      body.append(...keyed.flatMap(([, rows]) => rows));
    };
    headings.forEach((heading, place) => {
      if (!heading.textContent.trim()) return;
      const button = make("button", { type: "button", title: "Sort by this column" }, ...heading.childNodes);
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        sort(place, now === null ? 1 : now === "ascending" ? -1 : 0);
      });
      heading.append(button);
    });
    table.classList.add("sortable");
  }

  // --- what the runs come to -------------------------------------------------------------------------------------

  // Mean of the values and its t interval, of positive ones on logarithms: as the settings' table has it.
  function summary(values, metric, quantiles) {
    const n = values.length;
    if (!n) return { n, mean: NaN, low: NaN, high: NaN };
    const scaled = metric.logs ? values.map(Math.log) : values;
    const back = metric.logs ? Math.exp : (value) => value;
    const mean = scaled.reduce((sum, value) => sum + value, 0) / n;
    if (n < 2) return { n, mean: back(mean), low: NaN, high: NaN };
    const squares = scaled.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const half = (quantiles[n] * Math.sqrt(squares / (n - 1))) / Math.sqrt(n);
    const [least, most] = metric.ends; // what the metric can be; null where it has no end
    const low = Math.max(back(mean - half), least ?? -Infinity);
    const high = Math.min(back(mean + half), most ?? Infinity);
    return { n, mean: back(mean), low, high };
  }

  // So many decimals; of two numbers that are equally near the even one, as Python rounds: toFixed takes the larger.
  function fixed(value, digits) {
    const text = value.toFixed(digits);
    const [, decimals = ""] = value.toFixed(100).split(".");
    const isTie = /^50*$/.test(decimals.slice(digits));
    return isTie && Number(text.at(-1)) % 2 ? (value * (1 - Number.EPSILON)).toFixed(digits) : text;
  }

  // So many digits, and a power of ten from as many places on: what Python's format "g" writes.
  function general(value, digits, places = digits) {
    if (!Number.isFinite(value)) return "\u221e";
    const rounded = Number(value.toPrecision(digits));
    if (rounded === 0 || (Math.abs(rounded) >= 1e-4 && Math.abs(rounded) < 10 ** places)) return String(rounded);
    const [digit, power] = rounded.toExponential().split("e");
    return `${digit}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  const short = (value, digits) => general(value, digits, 6);

  // With the digits that the interval supports: `3.21 ± 0.04`, or `5.1 (3.9–6.7)` where it reaches farther to one side.
  function written({ mean, low, high }, metric) {
    if (Number.isNaN(mean)) return DASH;
    if (metric.decimals !== null) {
      const digits = metric.decimals;
      const reach = Number.isNaN(low) ? "" : ` (${fixed(low, digits)}${DASH}${fixed(high, digits)})`;
      return fixed(mean, digits) + reach;
    }
    if (Number.isNaN(low) || Number.isNaN(high)) return general(mean, 4);
    const wide = high >= 1e6 * Math.abs(mean) && mean !== 0;
    const size = Math.max(...[mean, low, high].map(Math.abs));
    if (Math.abs(mean) >= 1e9 || wide || (size > 0 && size < 1e-2)) {
      const digits = wide ? 2 : 4;
      return `${general(mean, 4)} (${general(low, digits)}${DASH}${general(high, digits)})`;
    }
    const [below, above] = [mean - low, high - mean];
    const half = Math.min(below, above);
    const digits = half <= 0 ? 2 : Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(half))));
    if (fixed(below, digits) === fixed(above, digits)) return `${fixed(mean, digits)} ± ${fixed(half, digits)}`;
    return `${fixed(mean, digits)} (${fixed(low, digits)}${DASH}${fixed(high, digits)})`;
  }

  const WIDTH = 360;
  const MARGIN = 10;

  // value → place on an axis that has room for all of them.
  function axis(values, logs) {
    const scale = logs ? Math.log : (value) => value;
    let [least, most] = [Math.min(...values), Math.max(...values)];
    // What differs by rounding alone is one place: between two such numbers no tick could ever be reached.
    const size = Math.max(Math.abs(least), Math.abs(most));
    if (most - least <= 1e-9 * size) {
      const room = Math.max(0.5, 0.1 * size);
      [least, most] = logs ? [least / 1.1, most * 1.1] : [least - room, most + room];
    }
    const [start, end] = [scale(least), scale(most)];
    const place = (value) => MARGIN + ((scale(value) - start) / (end - start)) * (WIDTH - 2 * MARGIN);
    return { place, ticks: ticks(least, most, logs) };
  }

  // A few round numbers between two.
  function ticks(least, most, logs) {
    if (logs && most / least > 3) {
      const found = [];
      const digits = most / least > 200 ? [1] : most / least > 20 ? [1, 2, 5] : [1, 2, 3, 5, 7];
      for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power += 1) {
        for (const digit of digits) found.push(digit * 10 ** power);
      }
      const within = found.filter((value) => value >= least && value <= most);
      // Many are powers of ten with long labels, which need room beside each other.
      const every = within.length > 8 ? Math.ceil(within.length / 6) : 1;
      return within.filter((_, at) => at % every === 0);
    }
    const rough = (most - least) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    const found = [];
    for (let at = Math.ceil(least / step); at * step <= most * (1 + 1e-12); at += 1) found.push(at * step);
    return found;
  }

  function explore(box) {
    const data = JSON.parse(box.querySelector("script").textContent);
    const left = new Set(data.seeds.map((_, place) => place));
    let metric = 0;

    const choice = make("select");
    data.metrics.forEach((one, place) => choice.append(make("option", { value: place }, one.title)));
    choice.addEventListener("change", () => {
      metric = Number(choice.value);
      show();
    });
    const seeds = make("fieldset", {}, make("legend", {}, "seeds"));
    const ticked = data.seeds.map((seed, place) => {
      const tick = make("input", { type: "checkbox", checked: true });
      tick.addEventListener("change", () => {
        if (tick.checked) left.add(place);
        else left.delete(place);
        show();
      });
      const label = make("label", {}, tick, ` ${seed}`);
      label.dataset.seed = place;
      seeds.append(label);
      return tick;
    });
    const all = make("button", { type: "button" }, "all");
    all.addEventListener("click", () => {
      ticked.forEach((tick, place) => {
        tick.checked = true;
        left.add(place);
      });
      show();
    });
    seeds.append(all);

    const said = make("p", { className: "note" });
    said.setAttribute("aria-live", "polite");
    const head = make("tr");
    const addHeading = (text, className = "") => {
      const cell = make("th", { className }, text);
      cell.scope = "col";
      head.append(cell);
      return cell;
    };
    for (const knob of data.knobs) addHeading(knob.heading, knob.number ? "number" : "");
    addHeading("n", "number");
    const measured = addHeading("", "number");
    addHeading("diverged", "number");
    const scale = addHeading("", "strip");
    const body = make("tbody");
    const rows = data.settings.map((texts) => {
      const cells = texts.map((text, at) => make("td", { className: data.knobs[at].number ? "number" : "" }, text));
      const [n, mean, diverged] = [0, 1, 2].map(() => make("td", { className: "number" }));
      const strip = make("td", { className: "strip" });
      body.append(make("tr", {}, ...cells, n, mean, diverged, strip));
      return { n, mean, diverged, strip };
    });
    const table = make("table", {}, make("thead", {}, head), body);
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "The runs of each setting");

    function show() {
      const one = data.metrics[metric];
      const kept = (values) => values.map((value, place) => [value, place])
        .filter(([value, place]) => value !== null && left.has(place));
      const shown = data.values[metric].map(kept);
      const found = shown.map((pairs) => summary(pairs.map(([value]) => value), one, data.quantiles));
      const ends = found.flatMap(({ mean, low, high }) => (Number.isNaN(low) ? [mean] : [low, high]));
      const every = [...shown.flatMap((pairs) => pairs.map(([value]) => value)), ...ends];
      const usable = every.filter((value) => Number.isFinite(value) && !(one.logs && value <= 0));
      const { place, ticks: marks } = usable.length ? axis(usable, one.logs) : { place: () => MARGIN, ticks: [] };
      (measured.querySelector("button") ?? measured).textContent = one.heading;
      scale.replaceChildren(draw("svg", { width: WIDTH, height: 16, "aria-hidden": "true" }, ...marks.map((value) => {
        const x = place(value);
        const anchor = x < 20 ? "start" : x > WIDTH - 20 ? "end" : "middle";
        return draw("text", { x, y: 12, "text-anchor": anchor }, short(value, 4));
      })));
      rows.forEach((row, at) => {
        const { n, mean, low, high } = found[at];
        row.n.textContent = n;
        row.mean.textContent = written(found[at], one);
        row.diverged.textContent = data.diverged[at].filter((seed) => left.has(seed)).length;
        const parts = marks.map((value) => draw("line", {
          class: "mark", x1: place(value), x2: place(value), y1: 0, y2: 20 }));
        if (Number.isFinite(low) && Number.isFinite(high)) {
          parts.push(draw("line", { class: "reach", x1: place(low), x2: place(high), y1: 10, y2: 10 }));
        }
        for (const [value, seed] of shown[at]) {
          parts.push(draw("circle", { class: "run", cx: place(value), cy: 10, r: 3.5, "data-seed": seed },
            draw("title", {}, `seed ${data.seeds[seed]}: ${short(value, 5)}`)));
        }
        if (Number.isFinite(mean)) {
          parts.push(draw("line", { class: "mean", x1: place(mean), x2: place(mean), y1: 3, y2: 17 }));
        }
        const label = `${one.title}: ${row.mean.textContent}`;
        row.strip.replaceChildren(draw("svg", { width: WIDTH, height: 20, role: "img", "aria-label": label }, ...parts));
      });
      said.textContent = left.size === data.seeds.length ? data.note : `${left.size} of ${data.seeds.length} seeds. ` +
        "Verdicts, comparisons and the other tables of this page are those of all seeds: seeds that are left out " +
        "after looking at them make no evidence.";
    }

    // The runs of one seed share their start and their order of minibatches: they light up together.
    const light = (seed) => {
      for (const one of box.querySelectorAll("[data-seed]")) {
        one.classList.toggle("lit", seed !== undefined && one.dataset.seed === seed);
      }
    };
    for (const kind of ["pointerover", "focusin"]) {
      box.addEventListener(kind, (event) => light(event.target.closest("[data-seed]")?.dataset.seed));
    }
    for (const kind of ["pointerleave", "focusout"]) box.addEventListener(kind, () => light(undefined));

    const controls = make("div", { className: "controls" },
      make("label", {}, "measure ", choice), ...(data.seeds.length > 1 ? [seeds] : []));
    box.append(controls, scroll, said);
    show();
    sortable(table);
  }

  for (const table of document.querySelectorAll("main table")) {
    if (table.tHead && table.tBodies.length && table.tBodies[0].rows.length > 2) sortable(table);
  }
  for (const box of document.querySelectorAll(".explorer")) {
    explore(box);
    box.closest("section").hidden = false;
  }
  for (const item of document.querySelectorAll("nav li[hidden]")) item.hidden = false;
})();
