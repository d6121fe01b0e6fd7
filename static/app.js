// Small islands. Everything here makes a page that works without it a little quicker; nothing fetches data.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const closest = (event, selector) => event.target instanceof Element ? event.target.closest(selector) : null;

  // ---- theme: as the system, light, dark
  const theme = window.ringplanTheme;
  const CHOICES = ["system", "light", "dark"];
  const showTheme = () => all("[data-theme-switch]").forEach((button) => {
    const choice = theme.chosen();
    button.dataset.choice = choice;
    button.title = `${button.dataset.label}: ${button.dataset[choice]}`;
    button.setAttribute("aria-label", button.title);
  });

  // ---- errors: the summary takes the focus once, and the title says so even after a swap
  let shownPrefix = "";
  const showErrors = () => {
    if (!document.querySelector(".error-summary")) document.title = document.title.replace(shownPrefix, "");
    const summary = document.querySelector(".error-summary:not([data-seen])");
    if (!summary) return;
    summary.dataset.seen = "";
    summary.focus();
    const prefix = summary.dataset.titlePrefix;
    if (!prefix) return;
    shownPrefix = `${prefix} `;
    if (!document.title.startsWith(prefix)) document.title = shownPrefix + document.title;
  };

  // ---- passkeys: the browser answers what the form asks, then the form is sent with the answer
  const knowsPasskeys = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);
  const showPasskeys = () => {
    all("form[data-passkey]").forEach((form) => { form.hidden = !knowsPasskeys; });
    all("[data-no-passkeys]").forEach((note) => { note.hidden = knowsPasskeys; });
  };
  const askForPasskey = async (form) => {
    const asked = JSON.parse(form.dataset.passkey);
    const failed = form.querySelector("[data-passkey-failed]");
    failed.hidden = true;
    try {
      const credential = await (asked.user
        ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) })
        : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked) }));
      form.elements.credential.value = JSON.stringify(credential);
      form.requestSubmit();
    } catch {
      failed.hidden = false; // the person cancelled, or the device has none
    }
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.passkey || form.elements.credential.value) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    askForPasskey(form);
  }, true);

  // ---- a form is sent once: a second click while it is on its way does nothing
  const RELEASE_AFTER = 15000; // a download answers without leaving the page
  const release = (form) => {
    delete form.dataset.sent;
    all('[aria-disabled="true"][data-held]', form).forEach((button) => {
      button.removeAttribute("aria-disabled");
      delete button.dataset.held;
    });
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if ((event.submitter?.formMethod || form.method) === "get") return;
    if (form.dataset.sent !== undefined) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.dataset.sent = "";
    all('button:not([type="button"]), input[type="submit"]', form).forEach((button) => {
      button.setAttribute("aria-disabled", "true");
      button.dataset.held = "";
    });
    setTimeout(release, RELEASE_AFTER, form);
  }, true);
  addEventListener("pageshow", (event) => { if (event.persisted) all("form[data-sent]").forEach(release); });

  // ---- margin as typed: exact in micros, formatted by the browser
  const micros = (text, comma) => {
    let bare = text.replace(/[^\d.,]/g, "");
    if (comma) bare = bare.replace(/[.,]/g, (sign) => sign === "," ? "." : ",");
    if (/^[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(bare)) bare = bare.replaceAll(",", "");
    const parts = bare.match(/^(\d*)(?:\.(\d{0,6}))?$/);
    return parts && bare && bare !== "." ? BigInt(parts[1] || "0") * 1000000n + BigInt((parts[2] || "").padEnd(6, "0")) : null;
  };
  const put = (root, selector, text) => { const place = root.querySelector(selector); if (place) place.textContent = text; };
  const showMargin = (form) => {
    const place = form.querySelector("[data-margin]");
    const comma = (1.5).toLocaleString(place.dataset.locale || "en-GB").includes(",");
    const price = micros(form.querySelector("[data-price]").value, comma);
    const cost = micros(form.querySelector("[data-cost]").value, comma);
    const currency = form.querySelector("[data-currency-select]")?.value || place.dataset.currency;
    let amount = "–", share = "";
    if (price !== null && cost !== null) {
      const margin = price - cost;
      amount = new Intl.NumberFormat(place.dataset.locale || "en-GB", { style: "currency", currency, maximumFractionDigits: 6 }).format(Number(margin) / 1e6);
      share = price ? `${Math.round(Number(margin * 10000n / price) / 100)} %` : "";
    }
    if (place.querySelector("[data-margin-amount]")) {
      put(place, "[data-margin-amount]", amount);
      put(place, "[data-margin-share]", share);
    } else place.textContent = `${amount} ${share}`.trim();
    place.classList.toggle("bad", amount.startsWith("-"));
  };

  // ---- what is no longer as it was says what it was (data-before on the fields, data-was on the words)
  const showWas = (row) => {
    const was = row.querySelector("[data-was]");
    if (!was) return;
    const fields = all("[data-before]", row);
    const bare = (text) => text.trim().replaceAll(",", "");
    const now = (field) => (field.type === "checkbox" ? (field.checked ? "on" : "") : bare(field.value));
    fields.forEach((field) => field.classList.toggle("changed", now(field) !== bare(field.dataset.before)));
    was.hidden = !fields.some((field) => field.classList.contains("changed"));
  };

  // ---- a limit's row: its price beyond shows only where it is charged, its rule only where there is a limit
  const showLimit = (row) => {
    const included = row.querySelector("[data-included]");
    const tick = row.querySelector("[data-unlimited]");
    const rule = row.querySelector("[data-at-limit]");
    const unlimited = tick ? tick.checked : included?.value.trim() === "";
    if (tick && included) included.readOnly = unlimited;
    all("[data-when-limited]", row).forEach((part) => { part.hidden = unlimited; });
    all("[data-overage]", row).forEach((part) => { part.hidden = unlimited || rule?.value !== "charge"; });
    all("[data-no-overage]", row).forEach((part) => { part.hidden = !unlimited && rule?.value === "charge"; });
    showWas(row);
  };

  const prepare = () => {
    showTheme();
    showPasskeys();
    all("form:has([data-margin]):has([data-price]):has([data-cost])").forEach(showMargin);
    all("[data-limit]").forEach(showLimit);
    showErrors();
  };

  document.addEventListener("input", (event) => {
    if (closest(event, "[data-price], [data-cost], [data-currency-select]")) {
      const form = event.target.form;
      if (form?.querySelector("[data-margin]")) showMargin(form);
    }
    const row = closest(event, "[data-limit]");
    if (row) showLimit(row);
  });

  // ---- a code is made from the name until somebody types one
  document.addEventListener("input", (event) => {
    if (closest(event, "[data-code-from]")) event.target.dataset.typed = "";
    if (!event.target.id) return;
    all(`[data-code-from="${CSS.escape(event.target.id)}"]:not([data-typed])`).forEach((field) => {
      if (field.dataset.made === undefined && field.value) return;
      field.dataset.made = "";
      const plain = event.target.value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").replaceAll("ß", "ss").toLowerCase();
      const joint = field.dataset.codeJoint || "-";
      field.value = plain.replace(/[^a-z0-9]+/g, joint).replace(/^[-_]+|[-_]+$/g, "").slice(0, 63);
    });
  });

  document.addEventListener("change", (event) => {
    if (closest(event, "select[data-autosubmit], input[data-autosubmit]")) event.target.form?.requestSubmit();
  });

  document.addEventListener("change", (event) => {
    const name = closest(event, "[data-tick-all]")?.dataset.tickAll;
    if (name) all(`input[type="checkbox"][name="${CSS.escape(name)}"]`).forEach((box) => { box.checked = event.target.checked; });
  });

  document.addEventListener("click", (event) => {
    const theming = closest(event, "[data-theme-switch]");
    if (theming) {
      theme.choose(CHOICES[(CHOICES.indexOf(theme.chosen()) + 1) % CHOICES.length]);
      showTheme();
    }
    const copying = closest(event, "[data-copy]");
    if (copying) {
      const source = document.querySelector(copying.dataset.copy);
      navigator.clipboard?.writeText(source.value ?? source.textContent.trim()).then(() => {
        copying.textContent = copying.dataset.copied || copying.textContent; // the button has the focus: it is read out
      });
    }
    if (closest(event, "[data-print]")) print();
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.matches("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  // ---- htmx: what is being replaced says so; what failed says so where it can be read
  const targetOf = (event) => event.detail?.ctx?.target;
  document.addEventListener("htmx:before:request", (event) => targetOf(event)?.setAttribute?.("aria-busy", "true"));
  document.addEventListener("htmx:finally:request", (event) => {
    targetOf(event)?.removeAttribute?.("aria-busy");
    const form = event.target instanceof Element ? event.target.closest("form") : null;
    if (form) release(form);
  });
  const offline = (gone) => { const note = document.getElementById("offline"); if (note) note.hidden = !gone; };
  document.addEventListener("htmx:after:request", () => offline(false));
  document.addEventListener("htmx:error", (event) => { if (event.detail?.ctx) offline(true); });

  // ---- what had the focus has it again in what takes its place: by its id, its address or its words.
  // Another page of a list is read from its top.
  let left = null;
  document.addEventListener("htmx:before:swap", (event) => {
    const target = targetOf(event), at = document.activeElement;
    left = target?.id && at !== target && target.contains(at)
      ? { target: target.id, id: at.id, href: at.getAttribute("href"), words: at.textContent, pages: Boolean(at.closest(".paging")) } : null;
  });
  const takeFocus = () => {
    const place = left && document.getElementById(left.target);
    if (!place || place.contains(document.activeElement)) return;
    const same = all("a, button, input, select, summary", place).filter((each) => each.id ? each.id === left.id
      : each.hasAttribute("href") ? each.getAttribute("href") === left.href : each.textContent === left.words);
    if (same.length && !left.pages) same[0].focus({ preventScroll: true });
    else if (left.pages || !place.closest("[data-live]")) {
      place.tabIndex = -1;
      place.focus({ preventScroll: true });
      if (left.pages) place.scrollIntoView({ block: "start" });
    }
    left = null;
  };
  document.addEventListener("htmx:after:swap", () => { takeFocus(); prepare(); });

  // ---- live meters: say whether they are streamed, and poll while they are not
  const QUIET_AFTER = 12000; // the server beats every 5 s
  const POLL_EVERY = 3000;
  const heard = (event) => {
    const live = closest(event, "[data-live]");
    if (live) { live.dataset.heard = Date.now(); live.dataset.stream = "on"; }
  };
  document.addEventListener("htmx:sse:after:message", heard);
  setInterval(() => all("[data-live]").forEach((live) => {
    if (document.hidden || Date.now() - Number(live.dataset.heard || 0) < QUIET_AFTER) return;
    delete live.dataset.stream;
    window.htmx?.trigger(live.querySelector("[hx-trigger=poll]"), "poll");
  }), POLL_EVERY);

  prepare();
  // where a menu is wider than the screen, the entry one is at stands in its middle
  all(".topbar nav [aria-current], .tabs [aria-current]").forEach((entry) => {
    const menu = entry.parentElement, box = entry.getBoundingClientRect();
    menu.scrollLeft += box.left + box.width / 2 - menu.getBoundingClientRect().left - menu.clientWidth / 2;
  });
})();
