"use strict";
// A query beside one of its candidates: photographs, layers, zoom, the steps through inliers, and what was weighed.
// Works on any section with cards and data (parts.html); the page says what else happens by the hooks of `host`:
//   ramp      colours of confidence, from 0 to 1
//   source    reference of a picture -> its address
//   say       tells a screen reader one sentence
//   layers    names of the layers that are on at first
//   chosen    called with (state, rank) when a candidate is looked at; may fill in state.data.pairs[rank] and redraw
//   moved     called when zoom, layers or place changed
function makeComparison(host) {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 480;
  // On a telephone the drawing shrinks to two thirds: its words and numbers grow, and fewer of them find room.
  const small = window.matchMedia("(max-width: 600px)").matches;
  const NUMBERED = small ? 10 : 20;
  const LETTERS = small ? 1.5 : 1;
  const byId = (id) => document.getElementById(id);
  const ramp = host.ramp;
  const source = host.source;
  const layers = Object.fromEntries(["keypoints", "matches", "inliers", "marks", "body", "skin", "heat", "warp"].map((name) => [name, host.layers.includes(name)]));
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
  // Zoom (1 shows everything) around a place, in shares of the photograph; the same for both, kept between candidates.
  const look = { zoom: 1, x: 0.5, y: 0.5 };
  let bare = false;

  const element = (name, attributes = {}, ...children) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  const show = (image) => {
    if (!image.hasAttribute("src")) image.src = source(image.dataset.ref);
  };

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
    find(".nearer").addEventListener("click", () => zoom(state, 1.5));
    find(".farther").addEventListener("click", () => zoom(state, 1 / 1.5));
    watchPointers(state);
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
    host.chosen?.(state, rank);
    for (const other of state.section.querySelectorAll(".card, .chip")) other.setAttribute("aria-pressed", String(Number(other.dataset.rank) === rank));
    draw(state);
    if (aloud && card) host.say(`Candidate ${rank}: ${state.find(".about").textContent}`);
  }

  // The two photographs of the comparison: with layers where the run made them, otherwise bare.
  function viewsOf(state) {
    const instead = host.instead?.(state);
    if (instead) return { pair: null, views: instead };
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
      [panel.left, panel.top] = [panel.x + width / 2 - look.x * width * look.zoom, panel.y + height / 2 - look.y * height * look.zoom];
      panel.at = (px, py) => [panel.left + (px + 0.5) * scale * look.zoom, panel.top + (py + 0.5) * scale * look.zoom];
      panel.shows = (px, py) => px >= panel.x && px <= panel.x + width && py >= panel.y && py <= panel.y + height;
      x += width + gap;
      return panel;
    });
    return { panels, width: Math.max(needed, 320) };
  }

  const picture = (panel, reference, extra = {}) => element("image", {
    href: source(reference), x: panel.left, y: panel.top, width: panel.width * look.zoom, height: panel.height * look.zoom, preserveAspectRatio: "none", ...extra,
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
    const windows = panels.map((panel, side) => {
      const id = `${state.section.id}-window-${side}`;
      const edge = element("rect", { x: panel.x, y: panel.y, width: panel.width, height: panel.height });
      const inside = element("g", { "clip-path": `url(#${id})` }, picture(panel, panel.view.picture));
      svg.append(element("clipPath", { id }, edge), inside);
      return inside;
    });
    state.panels = panels;
    if (overlay) {
      const clip = element("rect", { x: panels[0].x, y: panels[0].y, width: panels[0].width, height: panels[0].height });
      svg.append(element("clipPath", { id: `${state.section.id}-clip` }, clip), picture(panels[0], pair.warp, { "clip-path": `url(#${state.section.id}-clip)`, class: "warped" }));
      const edge = element("line", { y1: panels[0].y, y2: panels[0].y + panels[0].height, class: "edge" });
      svg.append(edge);
      state.clip = { rect: clip, panel: panels[0], edge };
      wipe(state);
    } else {
      panels.forEach((panel, side) => {
        if (wanted("heat") && pair.heat) windows[side].append(picture(panel, pair.heat[side], { class: "heat" }));
        drawRegions(windows[side], panel, wanted);
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
    const place = state.find(".zoomed");
    if (place) place.textContent = look.zoom > 1 ? `${look.zoom.toFixed(1)}×` : "";
    state.find(".view").classList.toggle("near", look.zoom > 1);
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

  const bothShow = (panels, [x1, y1, x2, y2]) => panels[0].shows(x1, y1) && panels[1].shows(x2, y2);

  function drawMatches(panels, pair) {
    const group = element("g", { opacity: 0.75, "stroke-width": 1 });
    for (const match of pair.matches.slice().reverse()) {
      const line = ends(panels, match);
      const [x1, y1, x2, y2] = line;
      if (bothShow(panels, line)) group.append(element("line", { x1, y1, x2, y2, stroke: colour(match[4]) }));
    }
    return group;
  }

  function drawSkin(panels, places) {
    const group = element("g", { class: "skin", fill: "none" });
    for (const place of places.slice().reverse()) {
      const [x1, y1, x2, y2] = ends(panels, place);
      if (!bothShow(panels, [x1, y1, x2, y2])) continue;
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
    const drawn = all.flatMap(([x1, y1, x2, y2], index) => {
      if (!bothShow(panels, [x1, y1, x2, y2])) return [];
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
      return [one];
    });
    // Numbers lie above every line: a line through a number makes it another.
    group.append(...drawn.reverse(), ...numbers);
    return group;
  }

  function tell(state, pair) {
    const card = cardOf(state, state.rank);
    let text = card ? `Candidate ${state.rank} · ${card.querySelector("b").textContent} · probability ${card.querySelector(".num").textContent}` : "No candidate";
    if (pair) text += pair.model ? ` · ${pair.inliers} inliers of ${pair.matches.length} matches (${pair.model})` : ` · ${pair.matches.length} matches, no geometric model`;
    else if (card && host.bare) text += ` · ${host.bare(state)}`;
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
    host.say(state.find(".which").textContent);
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
    host.moved?.();
  }

  // --- zoom and place, in step for both photographs ---

  function place(state, zoomed, x, y) {
    look.zoom = Math.max(1, Math.min(12, zoomed));
    const half = 0.5 / look.zoom;
    look.x = Math.max(half, Math.min(1 - half, x));
    look.y = Math.max(half, Math.min(1 - half, y));
    if (state.frame) return;
    state.frame = window.requestAnimationFrame(() => { state.frame = 0; redraw(state); host.moved?.(); });
  }

  // Zoom by a factor; what lies at a share (u, v) of the window stays where it is.
  function zoom(state, factor, u = 0.5, v = 0.5) {
    const to = Math.max(1, Math.min(12, look.zoom * factor));
    const keep = 1 / look.zoom - 1 / to;
    place(state, to, look.x + (u - 0.5) * keep, look.y + (v - 0.5) * keep);
  }

  const pan = (state, dx, dy) => place(state, look.zoom, look.x + dx / look.zoom, look.y + dy / look.zoom);

  // Where in the window of the photograph under it a pointer is, in shares, with the window's size in screen pixels.
  function under(state, event) {
    const svg = state.find(".view svg");
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const panel = state.panels.find((one) => one.shows(point.x, point.y));
    const pixels = svg.getScreenCTM().a;
    return panel && { u: (point.x - panel.x) / panel.width, v: (point.y - panel.y) / panel.height, width: panel.width * pixels, height: panel.height * pixels };
  }

  function watchPointers(state) {
    const view = state.find(".view");
    const held = new Map();
    let start = null;
    view.addEventListener("wheel", (event) => {
      const at = event.ctrlKey || host.wheel ? under(state, event) : null;
      if (!at) return;
      event.preventDefault();
      zoom(state, Math.exp(-event.deltaY * 0.0018), at.u, at.v);
    }, { passive: false });
    view.addEventListener("dblclick", (event) => {
      const at = under(state, event);
      if (at) zoom(state, look.zoom > 1 ? 0.01 : 3, at.u, at.v);
    });
    view.addEventListener("pointerdown", (event) => {
      const at = under(state, event);
      if (!at) return;
      held.set(event.pointerId, event);
      start = { at, dragged: false };
    });
    view.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before || !start) return;
      const others = [...held.values()].filter((one) => one.pointerId !== event.pointerId);
      if (others.length === 1) {
        const apart = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
        zoom(state, apart(event) / Math.max(apart(before), 1), start.at.u, start.at.v);
      } else if (look.zoom > 1) {
        const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
        if (!start.dragged && Math.hypot(dx, dy) < 4) return;
        if (!start.dragged) { start.dragged = true; view.setPointerCapture(event.pointerId); }
        pan(state, -dx / start.at.width, -dy / start.at.height);
      }
      held.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => held.delete(event.pointerId));
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

  const keys = { p: "keypoints", m: "matches", i: "inliers", s: "marks", b: "body", t: "skin", h: "heat", w: "warp" };

  // Act on a key that concerns a comparison; false if it is none.
  function press(state, event) {
    const arrow = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
    if (/^[1-9]$/.test(event.key)) choose(state, Number(event.key));
    else if (event.key === "o") { bare = !bare; redraw(state); }
    else if (event.key === ".") step(state, 1);
    else if (event.key === ",") step(state, -1);
    else if (event.key === "+" || event.key === "=") zoom(state, 1.5);
    else if (event.key === "-") zoom(state, 1 / 1.5);
    else if (event.key === "0") place(state, 1, 0.5, 0.5);
    else if (arrow && event.shiftKey) pan(state, ...arrow);
    else if (keys[event.key]) toggle(keys[event.key], state);
    else return false;
    return true;
  }

  // A section that is shown no more is forgotten; layers, zoom and place stay.
  const forget = (section) => { window.clearInterval(states.get(section)?.timer); states.delete(section); };
  const settings = () => ({ layers: Object.keys(layers).filter((name) => layers[name]), look: { ...look } });
  const restore = (kept) => {
    for (const name of Object.keys(layers)) layers[name] = kept.layers.includes(name);
    Object.assign(look, kept.look);
  };
  return { stateOf, choose, draw, step, press, forget, settings, restore, show };
}
