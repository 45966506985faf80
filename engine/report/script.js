"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 480;
  // On a telephone the drawing shrinks to two thirds: its words and numbers grow, and fewer of them find room.
  const small = window.matchMedia("(max-width: 600px)").matches;
  const NUMBERED = small ? 10 : 20;
  const LETTERS = small ? 1.5 : 1;
  const byId = (id) => document.getElementById(id);
  const sections = [...document.querySelectorAll("section.query")];
  const rows = [...document.querySelectorAll("#toc > li")];
  const ramp = JSON.parse(byId("ramp").textContent);
  const layers = { keypoints: false, matches: false, inliers: true, marks: false, body: false, skin: false, heat: false, warp: false };
  const MEANING = {
    keypoints: "Rings: keypoints, orange on marks",
    matches: "Thin lines: all matches",
    inliers: "Lines between rings: matches that agree on one placement, the surest numbered",
    marks: "Orange areas: marks",
    body: "Blue: outline of the body; white: its middle, and its width at the quarters",
    skin: "Squares: places of the skin that are alike and that one placement explains, those of a pair in one colour",
    heat: "Glow: what makes the whole pictures alike, the palest the most",
    warp: "The candidate, laid over the query as the agreeing matches say",
  };
  const states = new Map();
  let bare = false;
  let current = null;
  let order = sections.slice();

  const element = (name, attributes = {}, ...children) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  // Pictures inside the page are looked up when they come near the window, so that a long page opens at once.
  const source = (reference) => {
    if (!reference.startsWith("#")) return reference;
    const kept = byId(`p${reference.slice(1)}`);
    return kept ? JSON.parse(kept.textContent) : "";
  };
  const show = (image) => {
    if (!image.hasAttribute("src")) image.src = source(image.dataset.ref);
  };
  const nearby = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      nearby.unobserve(entry.target);
      show(entry.target);
    }
  }, { rootMargin: "500px" });
  for (const image of document.querySelectorAll("img[data-ref]:not([src])")) nearby.observe(image);

  const colour = (percent) => ramp[Math.round(Math.max(0, Math.min(100, percent)) / 100 * (ramp.length - 1))];

  function stateOf(section) {
    let state = states.get(section);
    if (state) return state;
    const data = JSON.parse(section.querySelector(".data").textContent);
    const stage = section.querySelector(".stage");
    stage.replaceChildren(byId("stage").content.cloneNode(true));
    const find = (selector) => stage.querySelector(selector);
    state = { section, data, rank: 0, step: -1, timer: 0, stage, find };
    states.set(section, state);
    for (const button of stage.querySelectorAll("[data-layer]")) {
      button.addEventListener("click", () => toggle(button.dataset.layer, state));
    }
    find(".scale").style.background = `linear-gradient(90deg, ${ramp.join(", ")})`;
    find(".wipe input").addEventListener("input", () => wipe(state));
    find(".blink").addEventListener("click", () => blink(state));
    find(".back").addEventListener("click", () => step(state, -1));
    find(".forth").addEventListener("click", () => step(state, 1));
    fillStrip(state);
    const first = section.querySelector(".card");
    choose(state, first ? Number(first.dataset.rank) : 0, false);
    return state;
  }

  // Small copies of the candidates beside the comparison, so that nobody has to scroll to the cards and back.
  function fillStrip(state) {
    const cards = [...state.section.querySelectorAll(".card")];
    state.find(".strip").hidden = cards.length < 2;
    state.find(".strip").replaceChildren(...cards.map((card) => {
      const chip = document.createElement("button");
      const [name, chance] = [card.querySelector("b").textContent, card.querySelector(".num").textContent];
      chip.type = "button";
      chip.className = "chip";
      chip.dataset.rank = card.dataset.rank;
      chip.title = `Candidate ${card.dataset.rank}: ${name}, probability ${chance}`;
      chip.setAttribute("aria-label", chip.title);
      const image = card.querySelector("img")?.cloneNode();
      if (image) { image.className = ""; image.alt = ""; show(image); chip.append(image); }
      chip.append(part("place", card.dataset.rank), card.querySelector(".bar").cloneNode(true));
      return chip;
    }));
  }

  const cardOf = (state, rank) => state.section.querySelector(`.card[data-rank="${rank}"]`);

  function choose(state, rank, aloud = true) {
    const card = cardOf(state, rank);
    if (!card && rank !== 0) return;
    state.rank = rank;
    state.step = -1;
    for (const other of state.section.querySelectorAll(".card, .chip")) other.setAttribute("aria-pressed", String(Number(other.dataset.rank) === rank));
    draw(state);
    if (aloud && card) byId("say").textContent = `Candidate ${rank}: ${state.find(".about").textContent}`;
  }

  // The two photographs of the comparison: with layers where the run made them, otherwise bare.
  function viewsOf(state) {
    const pair = state.data.pairs[state.rank];
    if (pair) return { pair, views: pair.views.map((number) => state.data.views[number]) };
    const views = [];
    if (state.data.query) views.push({ picture: state.data.query.ref, size: [state.data.query.width, state.data.query.height] });
    const image = cardOf(state, state.rank)?.querySelector("img");
    if (image) views.push({ picture: image.dataset.ref, size: [Number(image.getAttribute("width")), Number(image.getAttribute("height"))] });
    return { pair: null, views };
  }

  function layOut(views, margin, gap) {
    const total = views.reduce((sum, view) => sum + view.size[0] * Math.min(HEIGHT / view.size[1], 1.4 * HEIGHT / view.size[0]), 0);
    const needed = total + gap * Math.max(views.length - 1, 0) + 2 * margin;
    let x = margin + Math.max(320 - needed, 0) / 2;
    const panels = views.map((view) => {
      const scale = Math.min(HEIGHT / view.size[1], 1.4 * HEIGHT / view.size[0]);
      const [width, height] = [view.size[0] * scale, view.size[1] * scale];
      const panel = { view, scale, width, height, x, y: 12 + (HEIGHT - height) / 2 };
      panel.at = (px, py) => [panel.x + (px + 0.5) * scale, panel.y + (py + 0.5) * scale];
      x += width + gap;
      return panel;
    });
    return { panels, width: Math.max(needed, 320) };
  }

  const picture = (panel, reference, extra = {}) => element("image", {
    href: source(reference), x: panel.x, y: panel.y, width: panel.width, height: panel.height, preserveAspectRatio: "none", ...extra,
  });

  function draw(state) {
    const { pair, views } = viewsOf(state);
    const wanted = (name) => Boolean(pair) && !bare && layers[name];
    const overlay = wanted("warp") && Boolean(pair.warp);
    window.clearInterval(state.timer);
    state.find(".blink").setAttribute("aria-pressed", "false");
    for (const button of state.stage.querySelectorAll("[data-layer]")) {
      const name = button.dataset.layer;
      button.disabled = !pair || (name === "warp" && !pair.warp) || (name === "heat" && !pair.heat) || (name === "skin" && !pair.skin) || ((name === "marks" || name === "body") && !views.some((v) => v[name]));
      // The overlay hides the layers that compare two photographs side by side.
      button.setAttribute("aria-pressed", String(wanted(name) && !button.disabled && (!overlay || name === "warp")));
    }
    const { panels, width } = layOut(overlay ? views.slice(0, 1) : views, 36, 64);
    const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT + 42}`, role: "img" });
    svg.setAttribute("aria-label", describe(state));
    panels.forEach((panel) => svg.append(picture(panel, panel.view.picture)));
    if (overlay) {
      const clip = element("rect", { x: panels[0].x, y: panels[0].y, width: panels[0].width, height: panels[0].height });
      svg.append(element("clipPath", { id: `${state.section.id}-clip` }, clip), picture(panels[0], pair.warp, { "clip-path": `url(#${state.section.id}-clip)`, class: "warped" }));
      const edge = element("line", { y1: panels[0].y, y2: panels[0].y + panels[0].height, class: "edge" });
      svg.append(edge);
      state.clip = { rect: clip, panel: panels[0], edge };
      wipe(state);
    } else {
      panels.forEach((panel, side) => {
        if (wanted("heat") && pair.heat) svg.append(picture(panel, pair.heat[side], { class: "heat" }));
        drawRegions(svg, panel, wanted);
      });
      if (wanted("skin") && pair.skin) svg.append(drawSkin(panels, pair.skin));
      if (wanted("matches")) svg.append(drawMatches(panels, pair));
      if (wanted("inliers")) svg.append(drawInliers(state, panels, pair));
    }
    panels.forEach((panel, index) => {
      const text = index === 1 ? `candidate ${state.rank}` : overlay ? "candidate over query" : "query";
      svg.append(element("text", { class: "cap", x: panel.x + panel.width / 2, y: HEIGHT + 28, "font-size": 13 * LETTERS }, text));
    });
    state.find(".view").replaceChildren(svg);
    state.find(".wipe").hidden = !overlay;
    state.find(".legend").hidden = overlay || !["inliers", "matches", "skin"].some(wanted);
    const on = [...state.stage.querySelectorAll("[data-layer][aria-pressed=true]")].map((button) => button.dataset.layer);
    state.find(".told").textContent = on.map((name) => MEANING[name]).join(" · ");
    tell(state, pair);
    highlight(state);
  }

  function describe(state) {
    const query = state.section.querySelector("h2").textContent.trim();
    const card = cardOf(state, state.rank);
    return card ? `Query ${query} beside candidate ${state.rank}, ${card.querySelector("img")?.alt ?? ""}` : `Query ${query}`;
  }

  function drawRegions(svg, panel, wanted) {
    const { view, scale } = panel;
    if (wanted("marks") && view.marks) svg.append(picture(panel, view.marks));
    if (wanted("body") && view.body) {
      const path = view.body.map((flat) => {
        let text = "";
        for (let i = 0; i < flat.length; i += 2) text += `${i ? "L" : "M"}${panel.at(flat[i], flat[i + 1]).map((v) => v.toFixed(1)).join(" ")}`;
        return `${text}Z`;
      }).join("");
      svg.append(element("path", { d: path, fill: "none", stroke: "#080c10", "stroke-width": 3.4 }), element("path", { d: path, fill: "none", stroke: "#78e6ff", "stroke-width": 1.5 }));
      drawAxis(svg, panel, view.axis);
    }
    if (wanted("keypoints")) {
      const rings = { "#8ccdff": "", "#ffb03b": "" };
      const radius = 2.6;
      for (let i = 0; i < view.points.length; i += 2) {
        const [x, y] = panel.at(view.points[i] / 10, view.points[i + 1] / 10);
        rings[i < 2 * view.on_mark ? "#ffb03b" : "#8ccdff"] += `M${(x - radius).toFixed(1)} ${y.toFixed(1)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`;
      }
      for (const [stroke, d] of Object.entries(rings)) svg.append(element("path", { d, fill: "none", stroke, "stroke-width": 1.1 }));
    }
  }

  // The mid-line from head to tail, and the body's width at a quarter, half and three quarters of its length.
  function drawAxis(svg, panel, [line, bars]) {
    const points = [];
    for (let i = 0; i < line.length; i += 2) points.push(panel.at(line[i], line[i + 1]).map((v) => v.toFixed(1)).join(" "));
    let d = points.length ? `M${points.join("L")}` : "";
    for (const [x0, y0, x1, y1] of bars) d += `M${panel.at(x0, y0).join(" ")}L${panel.at(x1, y1).join(" ")}`;
    svg.append(element("path", { d, fill: "none", stroke: "#080c10", "stroke-width": 3, opacity: 0.6 }), element("path", { class: "axis", d, fill: "none", stroke: "#fff", "stroke-width": 1.2 }));
  }

  function ends(panels, match) {
    return [...panels[0].at(match[0], match[1]), ...panels[1].at(match[2], match[3])].map((v) => Number(v.toFixed(1)));
  }

  function drawMatches(panels, pair) {
    const group = element("g", { opacity: 0.75, "stroke-width": 1 });
    for (const match of pair.matches.slice().reverse()) {
      const [x1, y1, x2, y2] = ends(panels, match);
      group.append(element("line", { x1, y1, x2, y2, stroke: colour(match[4]) }));
    }
    return group;
  }

  function drawSkin(panels, places) {
    const group = element("g", { class: "skin", fill: "none" });
    for (const place of places.slice().reverse()) {
      const [x1, y1, x2, y2] = ends(panels, place);
      const stroke = colour(place[4]);
      group.append(element("line", { x1, y1, x2, y2, stroke, opacity: 0.35 }));
      for (const [x, y] of [[x1, y1], [x2, y2]]) group.append(element("rect", { x: x - 3, y: y - 3, width: 6, height: 6, stroke }));
    }
    return group;
  }

  // A number goes to the first free place around its keypoint, away from the other photograph if it can.
  function placeNumber(x, y, away, text, taken) {
    const half = [(4.2 * text.length + 1) * LETTERS, 7 * LETTERS];
    for (const step of [14, 21, 29, 38]) {
      const reach = step * LETTERS;
      for (const [dx, dy] of [[1, 0], [0.75, -0.75], [0.75, 0.75], [0.1, -1], [0.1, 1], [-0.75, -0.75], [-0.75, 0.75]]) {
        const [cx, cy] = [x + away * reach * dx, y + reach * dy];
        const box = [cx - half[0], cy - half[1], cx + half[0], cy + half[1]];
        if (taken.some((o) => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3])) continue;
        taken.push(box);
        return [cx, cy];
      }
    }
    return null;
  }

  function drawInliers(state, panels, pair) {
    const group = element("g", { class: "inliers" });
    const all = pair.matches.slice(0, pair.inliers).map((match) => ends(panels, match));
    const taken = [all.map(([x, y]) => [x - 4, y - 4, x + 4, y + 4]), all.map(([, , x, y]) => [x - 4, y - 4, x + 4, y + 4])];
    const numbers = [];
    const drawn = all.map(([x1, y1, x2, y2], index) => {
      const sure = index < NUMBERED;
      const stroke = colour(pair.matches[index][4]);
      const one = element("g", { class: sure ? "inlier" : "inlier faint", "data-index": index });
      one.append(element("title", {}, `Inlier ${index + 1}, confidence ${(pair.matches[index][4] / 100).toFixed(2)}`));
      one.append(element("line", { class: "hit", x1, y1, x2, y2 }));
      const r = sure ? 4 : 2.6;
      for (const [kind, paint] of sure ? [["halo", null], ["stroke", stroke]] : [["stroke", stroke]]) {
        const parts = [element("line", { x1, y1, x2, y2 }), element("circle", { cx: x1, cy: y1, r }), element("circle", { cx: x2, cy: y2, r })];
        for (const part of parts) {
          part.setAttribute("class", kind);
          if (paint) part.setAttribute("stroke", paint);
          one.append(part);
        }
      }
      const text = String(index + 1);
      // More numbers than these hide the skin they point at; the others are told when one is pointed at.
      const places = sure ? [placeNumber(x1, y1, -1, text, taken[0]), placeNumber(x2, y2, 1, text, taken[1])] : [];
      if (places[0] && places[1]) for (const [x, y] of places) numbers.push(element("text", { x, y, class: "number", "data-index": index, "font-size": 13 * LETTERS }, text));
      one.addEventListener("click", () => { state.step = state.step === index ? -1 : index; highlight(state); });
      return one;
    });
    // Numbers lie above every line: a line through a number makes it another.
    group.append(...drawn.reverse(), ...numbers);
    return group;
  }

  function tell(state, pair) {
    const card = cardOf(state, state.rank);
    let text = card ? `Candidate ${state.rank} · ${card.querySelector("b").textContent} · probability ${card.querySelector(".num").textContent}` : "No candidate";
    if (pair) text += pair.model ? ` · ${pair.inliers} inliers of ${pair.matches.length} matches (${pair.model})` : ` · ${pair.matches.length} matches, no geometric model`;
    else if (card) text += " · shown bare: layers were made for the first candidates only (match --layers-for 20 makes all)";
    state.find(".about").textContent = text;
    state.find(".of").textContent = card ? [...card.querySelectorAll(".known")].map((one) => one.textContent).join(" · ") : "";
    state.find(".reasons").replaceChildren(...(pair?.reasons ?? []).map((reason) => {
      const item = document.createElement("li");
      item.textContent = reason;
      return item;
    }));
    weigh(state);
  }

  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  const part = (name, text) => {
    const node = document.createElement("span");
    node.className = name;
    node.textContent = text;
    return node;
  };

  // What each kind of evidence added to the score: for to the right of the middle, against to the left of it.
  function weigh(state) {
    const parts = state.data.parts[state.rank];
    state.find(".weighed").hidden = !parts;
    if (!parts) return;
    state.find(".sum").textContent = `${parts.unit} ${signed(parts.total)}, of which ${signed(parts.baseline)} is any pair's`;
    const top = Math.max(...parts.rows.map(([, amount]) => Math.abs(amount)), 1e-9);
    const weighty = parts.rows.filter(([, amount]) => Math.abs(amount) >= 0.005);
    const idle = parts.rows.filter((row) => !weighty.includes(row)).map(([name]) => name);
    state.find(".idle").textContent = idle.length ? `Next to nothing: ${idle.join("; ")}` : "";
    state.find(".parts").replaceChildren(...weighty.map(([name, amount, said]) => {
      const item = document.createElement("li");
      const track = part("track", "");
      const bar = part(amount < 0 ? "amount against" : "amount for", "");
      bar.style.width = `${(50 * Math.abs(amount) / top).toFixed(1)}%`;
      track.append(bar);
      item.append(part("what", name), track, part("num", signed(amount)), part("why", said.join(" · ")));
      return item;
    }));
  }

  function patch(view, x, y) {
    const radius = 0.06 * Math.max(...view.size);
    const svg = element("svg", { viewBox: `${x - radius} ${y - radius} ${2 * radius} ${2 * radius}`, "aria-hidden": "true" });
    svg.append(element("image", { href: source(view.picture), x: -0.5, y: -0.5, width: view.size[0], height: view.size[1], preserveAspectRatio: "none" }));
    svg.append(element("circle", { cx: x, cy: y, r: radius * 0.16, fill: "none", stroke: "#fff", "stroke-width": radius * 0.02, opacity: 0.8 }));
    return svg;
  }

  function highlight(state) {
    const { pair, views } = viewsOf(state);
    const detail = state.find(".detail");
    const group = state.find(".inliers");
    detail.hidden = !pair || pair.inliers === 0;
    if (group) {
      group.classList.toggle("chosen", state.step >= 0);
      for (const one of group.children) one.classList.toggle("on", Number(one.dataset.index) === state.step);
    }
    if (detail.hidden) return;
    const index = Math.max(state.step, 0);
    const [x0, y0, x1, y1, confidence] = pair.matches[index];
    state.find(".which").textContent = `inlier ${index + 1} of ${pair.inliers} · ${(confidence / 100).toFixed(2)}`;
    state.find(".patches").replaceChildren(patch(views[0], x0, y0), patch(views[1], x1, y1));
  }

  function step(state, by) {
    const pair = state.data.pairs[state.rank];
    if (!pair || pair.inliers === 0) return;
    state.step = (Math.max(state.step, by > 0 ? -1 : 0) + by + pair.inliers) % pair.inliers;
    highlight(state);
    byId("say").textContent = state.find(".which").textContent;
  }

  function wipe(state) {
    if (!state.clip) return;
    const share = Number(state.find(".wipe input").value) / 100;
    const { rect, panel, edge } = state.clip;
    rect.setAttribute("width", share * panel.width);
    edge.setAttribute("x1", panel.x + share * panel.width);
    edge.setAttribute("x2", panel.x + share * panel.width);
    edge.style.display = share > 0 && share < 1 ? "" : "none";
  }

  function blink(state) {
    const button = state.find(".blink");
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    window.clearInterval(state.timer);
    const slider = state.find(".wipe input");
    const flip = () => { slider.value = Number(slider.value) > 50 ? 0 : 100; wipe(state); };
    if (on) { flip(); state.timer = window.setInterval(flip, 800); }
  }

  function toggle(name, state) {
    if (bare) { bare = false; layers[name] = true; } else layers[name] = !layers[name];
    redraw(state);
  }

  function redraw(state) {
    for (const other of states.values()) if (other !== state && visible(other.section)) draw(other);
    for (const other of states.values()) other.stale = other !== state && !visible(other.section);
    if (state) draw(state);
  }

  const visible = (section) => {
    const box = section.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  };

  const waiting = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      const state = stateOf(entry.target);
      if (state.stale) { state.stale = false; draw(state); }
    }
  }, { rootMargin: "300px" });
  const isRead = (section) => {
    const box = section.getBoundingClientRect();
    return box.top <= 0.35 * window.innerHeight && box.bottom >= 0.3 * window.innerHeight;
  };
  const reading = new IntersectionObserver((entries) => {
    // An entry tells of a frame that may be past: a key may have led elsewhere since.
    for (const entry of entries) if (entry.isIntersecting && isRead(entry.target)) mark(entry.target);
  }, { rootMargin: "-30% 0px -65% 0px" });
  if (sections.length === 1) mark(sections[0]);
  for (const section of sections) { waiting.observe(section); reading.observe(section); }

  function mark(section) {
    if (current === section) return;
    current?.classList.remove("now");
    current = section;
    section.classList.add("now");
    byId("where").textContent = `${section.dataset.number} of ${sections.length}`;
    for (const row of rows) {
      const link = row.firstElementChild;
      const here = link.hash === `#${section.id}`;
      if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      if (here && getComputedStyle(row.closest(".list")).position === "sticky") link.scrollIntoView({ block: "nearest" });
    }
  }

  function go(by) {
    const here = order.indexOf(current);
    const target = order[here < 0 ? (by > 0 ? 0 : order.length - 1) : Math.max(0, Math.min(order.length - 1, here + by))];
    if (!target) return;
    target.scrollIntoView({ block: "start" });
    target.focus({ preventScroll: true });
    mark(target);
    byId("say").textContent = `Query ${target.dataset.number} of ${sections.length}`;
  }

  function arrange() {
    const key = { number: (d) => Number(d.number), doubt: (d) => -Number(d.doubt), sure: (d) => -Number(d.best) }[byId("order").value];
    const text = byId("find").value.trim().toLowerCase();
    rows.sort((a, b) => key(a.dataset) - key(b.dataset) || Number(a.dataset.number) - Number(b.dataset.number));
    byId("toc").replaceChildren(...rows);
    for (const row of rows) row.hidden = text !== "" && !row.textContent.toLowerCase().includes(text);
    order = rows.filter((row) => !row.hidden).map((row) => byId(row.firstElementChild.hash.slice(1)));
  }

  byId("order").addEventListener("change", arrange);
  byId("find").addEventListener("input", arrange);
  byId("next").addEventListener("click", () => go(1));
  byId("previous").addEventListener("click", () => go(-1));
  byId("ask").addEventListener("click", () => byId("help").showModal());
  document.addEventListener("click", (event) => {
    const button = event.target.closest("section.query button[data-rank]");
    if (!button) return;
    const state = stateOf(button.closest("section.query"));
    choose(state, Number(button.dataset.rank));
    if (state.stage.getBoundingClientRect().bottom < 120) state.section.scrollIntoView({ block: "start" });
  });

  const keys = { p: "keypoints", m: "matches", i: "inliers", s: "marks", b: "body", t: "skin", h: "heat", w: "warp" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target instanceof Element && event.target.closest("input, select, textarea")) return;
    const state = current ? stateOf(current) : null;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "?") byId("help").showModal();
    else if (!state) return;
    else if (/^[1-9]$/.test(event.key)) choose(state, Number(event.key));
    else if (event.key === "o") { bare = !bare; redraw(state); }
    else if (event.key === ".") step(state, 1);
    else if (event.key === ",") step(state, -1);
    else if (keys[event.key]) toggle(keys[event.key], state);
    else return;
    event.preventDefault();
  });

  window.addEventListener("beforeprint", () => {
    for (const section of sections) stateOf(section);
    for (const image of document.querySelectorAll("img[data-ref]:not([src])")) show(image);
  });
})();
