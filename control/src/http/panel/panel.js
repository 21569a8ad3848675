// Renews the parts of a page that show what changes. Everything works without it; then the page is loaded again now and then.
"use strict";
(function () {
  const parts = [...document.querySelectorAll("[data-live]")];
  const announce = document.getElementById("announce");
  const waiting = new Set();
  let said = "";

  // What a screen reader is told: the headline of a part, when it has become another one.
  function tell(first) {
    const now = parts.map((part) => part.querySelector("[data-announce]")).filter(Boolean);
    const text = now.map((element) => element.dataset.announce.trim()).join(" ");
    if (!first && text !== said) announce.textContent = text;
    said = text;
  }

  async function renew(part) {
    if (waiting.has(part)) {
      part.dataset.again = "yes";
      return;
    }
    waiting.add(part);
    try {
      // A redirect leads to the page for signing in: the session is over.
      const answer = await fetch(part.dataset.live, { redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 403) return location.reload();
      if (answer.ok) show(part, await answer.text());
      part.classList.toggle("stale", !answer.ok);
    } catch {
      part.classList.add("stale");
    } finally {
      waiting.delete(part);
    }
    if (part.dataset.again) {
      delete part.dataset.again;
      renew(part);
    }
  }

  function show(part, text) {
    if (part.last === text) return;
    const fresh = document.createElement("div");
    fresh.innerHTML = text;
    const active = document.activeElement;
    const same = part.contains(active) ? identity(active) : null;
    const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.id));
    const scrolled = [...part.querySelectorAll(".scroll, .lines")].map((element) => [element.scrollLeft, element.scrollTop]);
    part.replaceChildren(...fresh.childNodes);
    part.last = text;
    for (const details of part.querySelectorAll("details")) details.open = open.has(details.id);
    [...part.querySelectorAll(".scroll, .lines")].forEach((element, at) => {
      if (scrolled[at]) [element.scrollLeft, element.scrollTop] = scrolled[at];
    });
    if (same) [...part.querySelectorAll(FOCUSABLE)].find((element) => identity(element) === same)?.focus({ preventScroll: true });
    tell(false);
  }

  const FOCUSABLE = "a[href], button, summary, [tabindex]";

  // By what it is and leads to: the same button may be in another place after a change, and another one in its place.
  function identity(element) {
    const owner = element.closest("figure, form, details");
    const where = owner?.id || owner?.getAttribute("action") || "";
    return [element.tagName, element.getAttribute("href"), element.getAttribute("aria-label"), where, element.localName === "button" ? element.textContent : ""].join(" ");
  }

  function renewAll() {
    if (!document.hidden) parts.forEach(renew);
  }

  tell(true);
  for (const part of parts) {
    const seconds = Number(part.dataset.every);
    if (seconds) setInterval(() => document.hidden || renew(part), seconds * 1000);
  }
  document.addEventListener("visibilitychange", renewAll);
  // After a download the page stays: what it shows has changed.
  window.addEventListener("focus", renewAll);

  const events = document.body.dataset.events;
  if (events && parts.length) {
    let polling = 0;
    const source = new EventSource(events);
    source.addEventListener("changed", renewAll);
    source.onopen = () => {
      clearInterval(polling);
      polling = 0;
    };
    source.onerror = () => {
      if (!polling) polling = setInterval(renewAll, 3000);
    };
    window.addEventListener("pagehide", () => source.close());
  }
})();
