(() => {
  const byId = (id) => document.getElementById(id);
  const sections = [...document.querySelectorAll("section.query")];
  const rows = [...document.querySelectorAll("#toc > li")];
  const ramp = JSON.parse(byId("ramp").textContent);
  let current = null;
  let order = sections.slice();

  // Pictures inside the page are looked up when they come near the window, so that a long page opens at once.
  const source = (reference) => {
    if (!reference.startsWith("#")) return reference;
    const kept = byId(`p${reference.slice(1)}`);
    return kept ? JSON.parse(kept.textContent) : "";
  };
  const say = (text) => { byId("say").textContent = text; };
  const bare = () => "shown bare: layers were made for the first candidates only (match --layers-for 20 makes all)";
  const { stateOf, choose, draw, press, show } = makeComparison({ ramp, source, say, bare, layers: ["inliers"] });
  const nearby = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      nearby.unobserve(entry.target);
      show(entry.target);
    }
  }, { rootMargin: "500px" });
  for (const image of document.querySelectorAll("img[data-ref]:not([src])")) nearby.observe(image);

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
    say(`Query ${target.dataset.number} of ${sections.length}`);
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

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target instanceof Element && event.target.closest("input, select, textarea")) return;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "?") byId("help").showModal();
    else if (!current || !press(stateOf(current), event)) return;
    event.preventDefault();
  });

  window.addEventListener("beforeprint", () => {
    for (const section of sections) stateOf(section);
    for (const image of document.querySelectorAll("img[data-ref]:not([src])")) show(image);
  });
})();
