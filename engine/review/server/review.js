"use strict";
// The page of one question: look, decide, go on; the next question takes this one's place without a new page.
(() => {
  const { ask, byId, changed, dialog, key, open, refresh, say, toast } = review;
  let section = document.querySelector("section.query");
  if (!section) return;
  const KEPT = "scarmatch-review-look";
  const STEP = { y: "same", n: "different", c: "cannot_tell", x: "not_comparable", a: "new_individual", l: "skip", u: "undo" };
  const DONE = { same: "Same as", different: "Not", cannot_tell: "Cannot tell:", not_comparable: "Not comparable:" };
  let busy = false;

  const comparison = makeComparison({
    ramp: JSON.parse(byId("ramp").textContent),
    source: (reference) => (reference.startsWith("pictures/") ? `/${reference}` : reference),
    say,
    layers: [],
    wheel: true,
    bare: (state) => state.waiting ?? "",
    chosen,
    instead,
    moved: () => sessionStorage.setItem(KEPT, JSON.stringify(comparison.settings())),
  });
  const kept = sessionStorage.getItem(KEPT);
  if (kept) comparison.restore(JSON.parse(kept));
  let whole = false;

  const large = (one) => `${one.at}&size=large`;
  const candidateOf = (state) => state.data.candidates[state.rank];
  const shownOf = (state) => candidateOf(state)?.photographs[state.other] ?? null;
  const queryOf = (state) => state.data.queries[state.query];

  // The photographs as they are, where there are no layers or the whole photographs are wanted.
  function instead(state) {
    const both = [queryOf(state), shownOf(state)].filter(Boolean);
    if (whole) return both.map((one) => ({ picture: `${large(one)}&whole=1`, size: one.whole_size }));
    return state.data.pairs[state.rank] ? null : both.map((one) => ({ picture: large(one), size: one.size }));
  }

  function chosen(state, rank) {
    state.query ??= 0;
    if (state.seen !== rank) state.other = 0;
    state.seen = rank;
    fillOthers(state);
    load(state);
  }

  // Fetch the layers of what is looked at; the server computes them while the bare photographs are there.
  async function load(state) {
    const rank = state.rank;
    const [query, shown] = [queryOf(state), shownOf(state)];
    delete state.data.pairs[rank];
    delete state.data.parts[rank];
    const mine = state.asked = `${query?.image} ${shown?.image}`;
    if (!query || !shown) return;
    state.waiting = "layers are on their way";
    const path = `/api/layers?query=${encodeURIComponent(query.image)}&candidate=${encodeURIComponent(shown.image)}`;
    for (;;) {
      let answer;
      try { answer = await ask("GET", path); } catch (error) {
        if (state.asked === mine) { state.waiting = `no layers: ${error.message}`; redraw(state); }
        return;
      }
      if (state.asked !== mine || state.section !== section) return;
      if (answer.status === 200) {
        const { layers, parts } = answer.record;
        const views = layers.views.map((view, side) => ({ ...view, picture: large([query, shown][side]) }));
        state.data.views.push(...views);
        state.data.pairs[rank] = { ...layers, views: [state.data.views.length - 2, state.data.views.length - 1] };
        if (parts && state.query === 0) state.data.parts[rank] = parts;
        state.waiting = "";
        redraw(state);
        return;
      }
      await new Promise((wake) => { window.setTimeout(wake, 400); });
      if (state.asked !== mine || state.section !== section) return;
    }
  }

  const redraw = (state) => comparison.draw(state);

  // The candidate's photographs as small pictures below the comparison, the one that is looked at marked.
  function fillOthers(state) {
    const box = byId("others");
    const candidate = candidateOf(state);
    box.hidden = !candidate || candidate.photographs.length < 2;
    if (box.hidden) return;
    const title = document.createElement("span");
    title.textContent = `${candidate.name ?? "no name yet"}:`;
    box.replaceChildren(title, ...candidate.photographs.map((one, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = `${one.name} · ${one.meta}`;
      button.setAttribute("aria-label", `Photograph ${number + 1} of ${candidate.photographs.length}: ${button.title}`);
      button.setAttribute("aria-pressed", String(number === state.other));
      const image = document.createElement("img");
      Object.assign(image, { src: `${one.at}&size=small`, alt: "", loading: "lazy" });
      button.append(image);
      button.addEventListener("click", () => another(state, number));
      return button;
    }));
  }

  function another(state, number) {
    const count = candidateOf(state)?.photographs.length ?? 0;
    if (count < 2) return;
    state.other = (number + count) % count;
    const one = shownOf(state);
    [...byId("others").querySelectorAll("button")].forEach((button, place) => button.setAttribute("aria-pressed", String(place === state.other)));
    load(state);
    redraw(state);
    say(`${one.name}, ${one.meta}`);
  }

  function anotherQuery(state) {
    if (state.data.queries.length < 2) return;
    state.query = (state.query + 1) % state.data.queries.length;
    const one = queryOf(state);
    state.data.query = { ref: large(one), width: one.size[0], height: one.size[1] };
    load(state);
    redraw(state);
    say(`Query photograph ${state.query + 1} of ${state.data.queries.length}: ${one.name}`);
  }

  // --- going on ---

  const filters = () => new URLSearchParams([...new URLSearchParams(window.location.search)].filter(([name]) => name !== "image"));
  const addressOf = (question) => `/question?${new URLSearchParams([["image", question], ...filters()])}`;

  async function show(address, push = true) {
    const answer = await fetch(address, { headers: { "x-part": "question" } });
    if (!answer.ok) throw new Error("That question cannot be shown: open the queue again.");
    const made = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("section.query");
    comparison.forget(section);
    section.replaceWith(made);
    section = made;
    if (push && address !== window.location.pathname + window.location.search) window.history.pushState(null, "", address);
    shownAt = address;
    document.title = `${section.querySelector("h2").textContent} · ${document.querySelector(".brand").textContent}`;
    start();
  }
  // A link within the page ("To the decisions") changes no address but its end, and is none of ours.
  let shownAt = window.location.pathname + window.location.search;
  window.addEventListener("popstate", () => {
    const address = window.location.pathname + window.location.search;
    if (address !== shownAt) show(address, false).catch((error) => toast(error.message, true));
  });

  function start() {
    for (const image of section.querySelectorAll("img[data-ref]")) comparison.show(image);
    const state = comparison.stateOf(section);
    section.focus({ preventScroll: true });
    const said = section.querySelector(".verdict").textContent.trim();
    const about = state.find(".about").textContent;
    say(`${section.querySelector("h2").textContent}. ${said}. ${about}`);
    const nobody = !candidateOf(state);
    for (const button of byId("decide").querySelectorAll("[data-decide]")) {
      button.disabled = nobody && ["same", "different", "cannot_tell", "not_comparable"].includes(button.dataset.decide);
    }
  }

  async function walk(step) {
    const answer = await fetch(`/walk?${new URLSearchParams([["image", section.dataset.question], ["step", step], ...filters()])}`);
    const address = await answer.text();
    if (answer.ok && address) await show(address);
    else toast(step > 0 ? "This is the last question of the queue." : "This is the first question of the queue.");
  }

  async function decide(kind) {
    const state = comparison.stateOf(section);
    const question = section.dataset.question;
    const candidate = candidateOf(state);
    if (kind === "undo") return undo();
    const decision = { kind, key: key(), confidence: byId("confidence")?.value ?? "" };
    decision.shown = { layers: comparison.settings().layers, candidate: candidate?.name ?? null, photograph: shownOf(state)?.image ?? null };
    let done = "";
    if (DONE[kind]) {
      if (!candidate) return toast("There is no candidate to decide about: a new individual (a), or later (l).");
      decision.images = [queryOf(state).image, shownOf(state).image];
      done = `${DONE[kind]} ${candidate.name ?? shownOf(state).name}`;
    } else {
      decision.images = state.data.queries.map((one) => one.image);
      if (kind === "new_individual") {
        const free = (await ask("GET", "/api/free-name")).record.name;
        const name = await dialog({
          title: "A new individual", label: "Its name", value: free, act: "Name it so",
          check: (text) => review.previewed({ kind, images: decision.images, name: text }),
        });
        if (name === null) return;
        decision.name = name;
        done = `New individual ${name}`;
      } else done = "Put off";
    }
    const order = filters();
    const { record } = await ask("POST", `/api/decisions?${order}`, { decisions: [decision], question });
    toast(`${done} · u takes it back`);
    if (byId("confidence")) byId("confidence").selectedIndex = 0;  // it was said of this decision alone
    if (record.next) await show(addressOf(record.next));
    else { await show(addressOf(question)); toast(`${done}. The queue has no further question · u takes it back`); }
    refresh();
  }

  async function undo() {
    const { record } = await ask("POST", "/api/undo", {});
    const what = record.decisions[0];
    await show(record.next ? addressOf(record.next) : addressOf(section.dataset.question));
    toast(`Taken back: ${what.kind.replaceAll("_", " ")} (decision ${what.number})`);
    refresh();
  }

  // One thing after the other: a second key while the server is asked is not lost on the next question.
  async function attempt(action) {
    if (busy) return;
    busy = true;
    byId("decide").classList.add("busy");
    try { await action(); } catch (error) { toast(error.message, true); }
    busy = false;
    byId("decide").classList.remove("busy");
  }

  byId("decide").addEventListener("click", (event) => {
    const button = event.target.closest("[data-decide]");
    if (button) attempt(() => decide(button.dataset.decide));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("section.query button[data-rank]");
    if (button) comparison.choose(comparison.stateOf(section), Number(button.dataset.rank));
  });

  function surer(by) {
    const select = byId("confidence");
    if (!select) return;
    select.selectedIndex = Math.max(0, Math.min(select.options.length - 1, select.selectedIndex + by));
    say(`How sure: ${select.options[select.selectedIndex].text}`);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || open()) return;
    if (event.target instanceof Element && event.target.closest("input, select, textarea")) return;
    const state = comparison.stateOf(section);
    if (STEP[event.key]) attempt(() => decide(STEP[event.key]));
    else if (event.key === "j") attempt(() => walk(1));
    else if (event.key === "k") attempt(() => walk(-1));
    else if (event.key === "ArrowRight" && !event.shiftKey) comparison.choose(state, state.rank + 1);
    else if (event.key === "ArrowLeft" && !event.shiftKey) { if (state.rank > 1) comparison.choose(state, state.rank - 1); }
    else if (event.key === "v") another(state, state.other + 1);
    else if (event.key === "V") another(state, state.other - 1);
    else if (event.key === "q") anotherQuery(state);
    else if (event.key === "z") { whole = !whole; redraw(state); say(whole ? "Whole photographs" : "The animals"); }
    else if (event.key === "[") surer(-1);
    else if (event.key === "]") surer(1);
    else if (!comparison.press(state, event)) return;
    event.preventDefault();
  });

  // Somebody else decided something, or this question was matched: look whether this question is another now.
  changed.push(async () => {
    if (busy || open()) return;
    const answer = await fetch(window.location.href, { headers: { "x-part": "question" } }).catch(() => null);
    if (!answer?.ok) return;
    const made = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("section.query");
    const same = made.dataset.last === section.dataset.last && made.dataset.status === section.dataset.status;
    if (same || busy || made.dataset.question !== section.dataset.question) return;
    const matched = section.dataset.status === "not matched yet";
    comparison.forget(section);
    section.replaceWith(made);
    section = made;
    start();
    if (!matched) toast("Another reviewer decided about this question.");
  });
  start();
})();
