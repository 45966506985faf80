"use strict";
// The page of exports: downloads whose refusal is told where it was asked, capture histories, and names from a table.
(() => {
  const { ask, byId, dialog, item, refresh, say, toast } = review;

  // Fetched first, so that a refusal is a sentence on this page and no page of its own.
  async function download(address) {
    toast("Being written …");
    const answer = await fetch(address).catch(() => null);
    if (!answer) return toast("The server does not answer: is it still running?", true);
    if (!answer.ok) return toast((await answer.json().catch(() => ({}))).error ?? `The server answered ${answer.status}`, true);
    const name = /filename="?([^";]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "download";
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    toast(`Downloaded: ${name}`);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-download]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    download(link.href);
  });

  const asked = (form) => new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  for (const form of document.querySelectorAll("form[data-export]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      download(`/api/exports/${event.submitter.value}?${asked(form)}`);
    });
  }

  // --- what the capture histories would hold ---

  function table(heads, rows) {
    const made = document.createElement("table");
    made.className = "rows";
    made.createTHead().insertRow().append(...heads.map((head) => Object.assign(item(head, "th"), { scope: "col" })));
    const body = made.createTBody();
    for (const row of rows) body.insertRow().append(...row.map((value) => item(String(value), "td")));
    return made;
  }

  function folded(title, content) {
    const made = document.createElement("details");
    made.append(item(title, "summary"), content);
    return made;
  }

  const MOST = 200;
  const form = byId("histories");
  const number = (count, one, many) => `${count} ${count === 1 ? one : many}`;
  let turn = 0;
  async function look() {
    const mine = ++turn;
    byId("own-breaks").hidden = form.elements.occasions.value !== "breaks";
    const told = byId("histories-said");
    let nodes;
    try {
      const { record } = await ask("GET", `/api/capture-histories?${asked(form)}`);
      const { individuals, occasions, notes } = record;
      const held = `${number(individuals.length, "individual", "individuals")} on ${number(occasions.length, "occasion", "occasions")}`;
      nodes = [item(`${held}.`, "p"), ...notes.map((note) => Object.assign(item(note, "p"), { className: "hint" }))];
      nodes.push(folded("Individuals", table(
        ["Individual", "History", "First seen", "Last seen"],
        individuals.slice(0, MOST).map((one) => [one.name, one.history, one.first_seen, one.last_seen]),
      )));
      if (individuals.length > MOST) nodes.at(-1).append(item(`and ${individuals.length - MOST} more`, "p"));
      nodes.push(folded("Occasions", table(
        ["Occasion", "Individuals", "Photographs"],
        occasions.slice(0, MOST).map((one) => [one.name, one.individuals, one.photographs]),
      )));
      if (occasions.length > MOST) nodes.at(-1).append(item(`and ${occasions.length - MOST} more`, "p"));
    } catch (error) {
      nodes = [Object.assign(item(error.message, "p"), { className: "wrong" })];
    }
    if (mine === turn) told.replaceChildren(...nodes);
  }
  if (form) {
    form.addEventListener("change", look);
    look();
  }

  // --- names from a table ---

  const send = (files, onlyLook) => {
    const content = new FormData();
    for (const file of files) content.append("files", file);
    content.append("look", onlyLook);
    return ask("POST", "/api/names", content);
  };
  const list = (title, rows, most = 12) => {
    if (!rows.length) return [];
    const made = document.createElement("ul");
    made.append(...rows.slice(0, most).map((row) => item(row)));
    if (rows.length > most) made.append(item(`and ${rows.length - most} more`));
    return [item(title, "h3"), made];
  };
  byId("names-in")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...event.target.elements.files.files];
    try {
      const { changes, notes } = (await send(files, true)).record;
      const content = [...list("Decisions", changes), ...list("Left out", notes)];
      if (!changes.length) content.unshift(item("Nothing is to be decided: everybody has these names today.", "p"));
      if (await dialog({ title: "Names from a table", content, act: changes.length ? "Decide so" : "OK" }) === null || !changes.length) return;
      await send(files, false);
      event.target.reset();
      const done = number(changes.length, "decision made", "decisions made");
      toast(`${done}; each can be taken back under Decisions`);
      say(done);
      refresh();
      if (form) look();
    } catch (error) { toast(error.message, true); }
  });
})();
