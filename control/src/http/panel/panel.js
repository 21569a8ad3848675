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
    // Relative times alone are no reason to move what somebody is reading or about to press.
    const active = document.activeElement;
    const place = part.contains(active) ? focusable(part).indexOf(active) : -1;
    const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.id));
    const scrolled = [...part.querySelectorAll(".scroll, .lines")].map((element) => [element.scrollLeft, element.scrollTop]);
    part.replaceChildren(...fresh.childNodes);
    part.last = text;
    for (const details of part.querySelectorAll("details")) details.open = open.has(details.id);
    [...part.querySelectorAll(".scroll, .lines")].forEach((element, at) => {
      if (scrolled[at]) [element.scrollLeft, element.scrollTop] = scrolled[at];
    });
    if (place >= 0) (focusable(part)[place] || part.closest("section") || part).focus({ preventScroll: true });
    tell(false);
  }

  function focusable(part) {
    return [...part.querySelectorAll("a[href], button, input:not([type=hidden]), summary, [tabindex]")];
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
