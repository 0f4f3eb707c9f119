// The scripts of the portal: the search of index.html, and the SQL page. All texts are shown as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function search(index) {
  const words = byId("words");
  byId("search").hidden = false;
  const rows = index.flatMap((table) => [
    { url: table.url, name: table.name, about: table.description, text: `${table.name} ${table.description}` },
    ...table.columns.map((column) => ({
      url: `${table.url}#${encodeURIComponent(column.name)}`,
      name: `${table.name}.${column.name}`,
      about: `${column.type}${column.sensitive ? ", sensitive" : ""}. ${column.description}`,
      text: `${table.name} ${column.name} ${column.description}${column.sensitive ? " sensitive personal" : ""}`,
    })),
  ]);
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = wanted.length ? rows.filter((row) => wanted.every((word) => row.text.toLowerCase().includes(word))) : [];
    byId("count").textContent = wanted.length ? `${found.length} found` : "";
    byId("found").replaceChildren(...found.slice(0, 50).map((row) => {
      const item = element("li", "");
      item.append(element("a", row.name, { href: row.url }), element("div", row.about, { class: "hint" }));
      return item;
    }));
  };
  words.addEventListener("input", show);
  show();
}

function queryOfAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("sql");
}

async function sqlPage() {
  const [query, status, run, download] = ["query", "status", "run", "csv"].map(byId);
  let database;
  let last;

  const say = (text, bad = false) => {
    status.textContent = text;
    status.classList.toggle("bad", bad);
  };

  const cell = (value, kind) => {
    const text = value instanceof Date ? database.text(value, kind) : String(value);
    return value === null ? element("td", "null", { class: "null" }) : element("td", text, kind === "number" ? { class: "number" } : {});
  };

  const show = (result) => {
    const head = element("thead", "");
    const names = element("tr", "");
    names.append(...result.columns.map((column) => element("th", column.name, { scope: "col" })));
    head.append(names);
    const body = element("tbody", "");
    for (const row of result.rows.slice(0, database.SHOWN_ROWS)) {
      const line = element("tr", "");
      line.append(...row.map((value, number) => cell(value, result.columns[number].kind)));
      body.append(line);
    }
    byId("rows").replaceChildren(head, body);
    byId("result").hidden = false;
    const shown = result.rows.length > database.SHOWN_ROWS ? `, the first ${database.SHOWN_ROWS.toLocaleString("en")} are shown; the CSV has all` : "";
    byId("summary").textContent = `${result.rows.length.toLocaleString("en")} rows in ${result.seconds.toFixed(2)} s, version ${database.version}${shown}.`;
    const chart = database.chart(result, byId("chart").clientWidth);
    byId("chart").replaceChildren(...(chart ? [chart] : []));
    byId("chart").hidden = !chart;
  };

  const ask = async () => {
    if (run.disabled) return;
    const sql = query.value.trim().replace(/;\s*$/, "");
    if (!sql) return;
    run.disabled = true;
    history.replaceState(null, "", `#sql=${encodeURIComponent(sql)}`);
    try {
      last = await database.run(sql);
      show(last);
      say("");
    } catch (error) {
      last = undefined;
      byId("result").hidden = true;
      say(String(error.message || error), true);
    }
    download.disabled = !last;
    run.disabled = false;
  };

  run.addEventListener("click", ask);
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask();
    }
  });
  byId("examples").addEventListener("change", (event) => {
    if (!event.target.value) return;
    query.value = event.target.value;
    ask();
  });
  download.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([database.csv(last)], { type: "text/csv" }));
    const link = element("a", "", { href: url, download: "result.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  byId("share").addEventListener("click", async () => {
    history.replaceState(null, "", `#sql=${encodeURIComponent(query.value.trim())}`);
    try {
      await navigator.clipboard.writeText(location.href);
      say("The address is in the clipboard.");
    } catch {
      say("Copy the address from the browser's address bar.");
    }
  });
  const fromAddress = () => {
    const shared = queryOfAddress();
    if (shared) query.value = shared;
    return Boolean(shared);
  };
  window.addEventListener("hashchange", () => fromAddress() && ask());
  const isShared = fromAddress();

  say("Loading …");
  let parts;
  try {
    parts = await import("./sql_page/sql.js");
  } catch {
    say(
      location.protocol === "file:"
        ? "This page works only on a server: run `make docs-serve` and open the address that it prints."
        : "The parts of this page are not installed: run `make sql-page` where the pipeline runs, then load this page again.",
      true,
    );
    return;
  }
  try {
    database = { ...(await parts.start({ say })), text: parts.text };
  } catch (error) {
    say(String(error.message || error), true);
    return;
  }
  run.disabled = false;
  say("");
  if (isShared) await ask();
}

if (byId("index")) search(JSON.parse(byId("index").textContent));
if (byId("query")) sqlPage();
