"use strict";
// What every page of a review does: ask the server, say what happened, keep the numbers fresh, change names.
const review = (() => {
  const byId = (id) => document.getElementById(id);
  const body = document.body;
  const say = (text) => { byId("say").textContent = text; };
  let hide = 0;

  // A short message that goes away by itself; a screen reader hears it.
  function toast(text, wrong = false) {
    const box = byId("toast");
    box.textContent = text;
    box.classList.toggle("wrong", wrong);
    box.hidden = false;
    window.clearTimeout(hide);
    hide = window.setTimeout(() => { box.hidden = true; }, wrong ? 8000 : 4000);
  }

  // Ask the server; the answer's record, or an error with its one line.
  async function ask(method, path, content) {
    const options = { method, headers: {} };
    if (method !== "GET") options.headers["x-review-token"] = body.dataset.token;
    if (content instanceof FormData) options.body = content;
    else if (content !== undefined && content !== null) {
      options.headers["content-type"] = "application/json";
      options.body = JSON.stringify(content);
    }
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("The server does not answer: is it still running? What was decided is kept.");
    }
    if (answer.status === 401) throw new Error("This page's session has ended: open the address that the program printed.");
    const record = await answer.json().catch(() => ({ error: `The server answered ${answer.status}` }));
    if (!answer.ok) throw new Error(record.error ?? `The server answered ${answer.status}`);
    return { status: answer.status, record };
  }

  const key = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  // A question to the person, with a text where one is wanted; null if the answer is no. `act` is what "yes" does.
  // `check(text)` may return what is wrong, or what would change, as nodes; it is asked again as the text changes.
  const TYPED = 200;  // milliseconds after the last letter
  function dialog({ title, label, value = "", list = "", check, content = [], act = "OK" }) {
    const box = byId("question-dialog");
    byId("question-title").textContent = title;
    byId("question-body").replaceChildren(...content);
    byId("question-label").hidden = !label;
    byId("question-label").firstElementChild.textContent = label ?? "";
    byId("question-wrong").textContent = "";
    const input = byId("question-input");
    input.value = value;
    if (list) input.setAttribute("list", list); else input.removeAttribute("list");
    const form = box.querySelector("form");
    const yes = form.querySelector("[value=yes]");
    yes.textContent = act;
    let turn = 0;
    let looking = Promise.resolve();
    const look = async (wait) => {
      if (!check) return;
      const mine = ++turn;
      yes.disabled = false;  // a disabled button would swallow Enter: `onsubmit` waits for the answer
      if (wait) await new Promise((wake) => { window.setTimeout(wake, TYPED); });
      if (mine !== turn) return;
      try {
        const nodes = input.value.trim() || !label ? await check(input.value.trim()) : [];
        if (mine !== turn) return;
        byId("question-body").replaceChildren(...content, ...nodes);
        byId("question-wrong").textContent = "";
        yes.disabled = Boolean(label) && !input.value.trim();
      } catch (error) {
        if (mine !== turn) return;
        byId("question-body").replaceChildren(...content);
        byId("question-wrong").textContent = error.message;
        yes.disabled = true;
      }
    };
    return new Promise((resolve) => {
      const typed = () => { looking = look(true); };
      const end = (result) => {
        input.removeEventListener("input", typed);
        form.onsubmit = null;
        box.onclose = null;
        resolve(result);
      };
      yes.disabled = false;
      form.onsubmit = async (event) => {
        event.preventDefault();
        for (let asked; asked !== looking;) await (asked = looking);  // Enter right after the last letter waits for the answer
        if (yes.disabled || !box.open) return;
        if (label && !input.value.trim()) { byId("question-wrong").textContent = "Give a name."; return; }
        box.close();
        end(input.value.trim());
      };
      form.querySelector("[value=no]").onclick = () => box.close();
      box.onclose = () => end(null);
      input.addEventListener("input", typed);
      box.showModal();
      if (label) { input.focus(); input.select(); } else yes.focus();
      looking = look(false);
    });
  }

  const open = () => Boolean(document.querySelector("dialog[open]"));

  // --- numbers that are kept fresh ---

  const changed = [];  // called with the progress when somebody decided or something was matched
  let before = "";
  async function refresh() {
    if (document.hidden) return;
    try {
      const { record } = await ask("GET", "/api/progress");
      const all = Math.max(record.counts.all, 1);
      const bars = byId("meter").children;
      ["decided", "contradictory", "no match found"].forEach((status, i) => { bars[i].style.width = `${100 * record.counts[status] / all}%`; });
      byId("meter").setAttribute("aria-label", `${record.counts.decided} of ${record.counts.all} questions decided`);
      for (const [place, number] of [["/", record.counts.open], ["/contradictions", record.contradictions]]) {
        const count = document.querySelector(`[data-place="${place}"] .count`);
        count.textContent = number;
        count.classList.toggle("some", place !== "/" && number > 0);
      }
      const shown = record.stage && record.stage !== "drawing layers";
      const stage = shown ? `${record.stage}${record.total ? ` ${record.done} of ${record.total}` : ""}` : "";
      const working = byId("working");
      byId("work").textContent = record.problem || (working ? "" : stage);
      if (working) {
        working.hidden = !stage;
        working.firstElementChild.textContent = stage;
        working.lastElementChild.firstElementChild.style.width = `${100 * record.done / Math.max(record.total, 1)}%`;
      }
      const now = JSON.stringify([record.last, record.counts]);
      if (before && now !== before) for (const hook of changed) hook(record);
      before = now;
    } catch (error) {
      byId("work").textContent = error.message;
    }
  }

  const main = document.querySelector("main[data-reload]");
  const REACHED = "a[href], button, input, select, summary";
  async function reload() {
    const answer = await fetch(window.location.href).catch(() => null);  // no answer: the next look at the numbers says so
    if (!answer?.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    const held = main.contains(document.activeElement) && document.activeElement !== main ? document.activeElement : null;
    // Whoever is choosing or typing goes on doing so; photographs chosen for an upload stay chosen.
    if (!fresh || open() || (held?.matches("input, select") && !held.closest(".upload"))) return;
    const place = held ? [...main.querySelectorAll(REACHED)].indexOf(held) : -1;
    const kept = main.querySelector(".upload");
    if (kept) fresh.querySelector(".upload")?.replaceWith(kept);
    main.replaceChildren(...fresh.childNodes);
    if (held) (main.contains(held) ? held : again(held, place)).focus({ preventScroll: true });
    refresh();
  }

  // Where the keyboard was goes on: at the same link or button, or the one that took its place.
  function again(held, place) {
    const all = [...main.querySelectorAll(REACHED)];
    const same = all.find((one) => ["href", "data-undo", "data-merge"].some((name) => held.hasAttribute(name) && one.getAttribute(name) === held.getAttribute(name)));
    return same ?? all[Math.min(place, all.length - 1)] ?? main;
  }
  if (main) changed.push(reload);

  // --- who reviews ---

  byId("who").addEventListener("click", async () => {
    const who = await dialog({ title: "Who reviews?", label: "Your name", value: body.dataset.who, act: "Review" });
    if (who === null) return;
    try {
      await ask("POST", "/api/session", { who });
      body.dataset.who = who;
      byId("who").textContent = who;
      byId("who").setAttribute("aria-label", `Reviewer: ${who}`);
      document.cookie = `scarmatch_reviewer=${encodeURIComponent(who)}; path=/; max-age=31536000; samesite=strict`;
    } catch (error) { toast(error.message, true); }
  });
  byId("ask").addEventListener("click", () => byId("help").showModal());

  // --- what a change of names would do ---

  const item = (text, name = "li") => { const node = document.createElement(name); node.textContent = text; return node; };
  async function previewed(decision) {
    const { record } = await ask("POST", "/api/preview", decision);
    const nodes = [];
    const list = (title, rows) => {
      if (!rows.length) return;
      const ul = document.createElement("ul");
      ul.append(...rows.slice(0, 8).map((row) => item(row)));
      if (rows.length > 8) ul.append(item(`and ${rows.length - 8} more`));
      nodes.push(item(title, "h3"), ul);
    };
    const groups = new Map();
    for (const [image, from, to] of record.renamed) {
      const move = `${from ?? "no name"} → ${to ?? "no name"}`;
      groups.set(move, [...(groups.get(move) ?? []), image]);
    }
    list("This changes", [...groups].map(([move, images]) => `${images.length} ${images.length === 1 ? "photograph" : "photographs"}: ${move}`));
    list("New contradictions", record.contradictions.map((one) => `${one.kind}${one.names.length ? `: ${one.names.join(", ")}` : ""}`));
    list("Contradictions that it resolves", record.resolved.map((one) => `${one.kind}${one.names.length ? `: ${one.names.join(", ")}` : ""}`));
    list("Earlier decisions that would no longer count", record.retired.map((row) => `decision ${row}`));
    if (!nodes.length) nodes.push(item("This changes no name.", "p"));
    return nodes;
  }

  const decide = (decision) => ask("POST", "/api/decisions", { decisions: [{ key: key(), ...decision }] });
  const holder = document.querySelector("[data-individual]");
  const chosen = () => [...document.querySelectorAll(".picks input:checked")].map((box) => box.value);
  async function changeName(action) {
    const name = holder.dataset.individual;
    const images = chosen();
    const some = `${images.length} ${images.length === 1 ? "photograph" : "photographs"}`;
    const free = action === "split" ? (await ask("GET", "/api/free-name")).record.name : "";
    const asked = {
      rename: { title: `Rename ${name}`, label: "New name", value: name, act: "Rename", of: (to) => ({ kind: "rename", individual: name, name: to }) },
      merge: { title: `Merge ${name} into another individual`, label: "That individual", list: "names", act: "Merge", of: (to) => ({ kind: "merge", individual: name, name: to }) },
      split: { title: `Split ${some} off ${name}`, label: "Their new name", value: free, act: "Split off", of: (to) => ({ kind: "split", individual: name, images, name: to }) },
      move: { title: `Move ${some} to another individual`, label: "That individual", list: "names", act: "Move", of: (to) => ({ kind: "move", images, name: to }) },
    }[action];
    const to = await dialog({ ...asked, check: async (text) => (action === "rename" && text === name ? [item("This is its name now.", "p")] : previewed(asked.of(text))) });
    if (to === null || (action === "rename" && to === name)) return;
    await decide(asked.of(to));
    window.location.href = `/individual?name=${encodeURIComponent(to)}`;
  }
  if (holder) {
    const tell = () => {
      const count = chosen().length;
      for (const button of document.querySelectorAll(".needs")) button.disabled = count === 0;
      byId("chosen").textContent = count ? `${count} chosen` : "Choose photographs to split off or move";
    };
    document.addEventListener("change", tell);
    tell();
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-undo], [data-merge], [data-name-action]");
    if (!button) return;
    try {
      if (button.dataset.nameAction) return void await changeName(button.dataset.nameAction);
      const decision = button.dataset.undo
        ? { kind: "undo", target: Number(button.dataset.undo) }
        : { kind: "merge", individual: button.dataset.merge, name: button.dataset.into };
      const title = button.dataset.undo ? `Take back decision ${button.dataset.undo}?` : `Merge ${button.dataset.merge} into ${button.dataset.into}?`;
      const act = button.dataset.undo ? "Take back" : "Merge";
      if (await dialog({ title, act, content: await previewed(decision) }) === null) return;
      await decide(decision);
      await reload();
      await refresh();
      toast(button.dataset.undo ? `Decision ${button.dataset.undo} taken back` : "Merged");
    } catch (error) { toast(error.message, true); }
  });

  byId("invite")?.addEventListener("click", async () => {
    try { byId("invitation").textContent = (await ask("POST", "/api/invitations", {})).record.address; } catch (error) { toast(error.message, true); }
  });

  byId("upload")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const told = byId("upload-said");
    const files = [...form.elements.files.files];
    const wrong = [];
    for (const [number, file] of files.entries()) {
      told.textContent = `Adding ${number + 1} of ${files.length} …`;
      const content = new FormData();
      content.append("file", file);
      content.append("date", form.elements.date.value.trim());
      content.append("viewpoint", form.elements.viewpoint.value);
      try { await ask("POST", "/api/photographs", content); } catch (error) { wrong.push(`${file.name}: ${error.message}`); }
    }
    const done = files.length - wrong.length;
    told.textContent = [`${done} ${done === 1 ? "photograph" : "photographs"} added`, ...wrong].join(". ");
    if (!wrong.length) form.reset();
    refresh();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || open() || event.target.closest?.("input, select, textarea")) return;
    if (event.key === "?") byId("help").showModal();
    else if (event.key === "g") window.location.href = document.querySelector(".place a")?.href ?? "/";
    else if (event.key === "Enter" && document.querySelector("a.start") && event.target === body) document.querySelector("a.start").click();
    else return;
    event.preventDefault();
  });

  refresh();
  window.setInterval(refresh, 2500);
  document.addEventListener("visibilitychange", refresh);
  return { ask, body, byId, changed, dialog, item, key, open, previewed, refresh, say, toast };
})();
