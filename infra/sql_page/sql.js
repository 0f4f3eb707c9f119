// SQL on Gold in the browser: DuckDB runs in this page, and no query leaves it.
//
// DuckDB's own Parquet reader is an extension that it would load from the internet, so parquet-wasm reads the files and
// hands the rows over as Arrow. `start` gets the elements of sql.html; all texts go to the page as text, never as HTML.
import * as duckdb from "@duckdb/duckdb-wasm";
import * as Plot from "@observablehq/plot";
import initParquet, { readParquet } from "parquet-wasm/esm";

const SHOWN_ROWS = 1000;
const BARS = 40;
const FOLDER = new URL(".", import.meta.url);

export async function start(page) {
  const list = await (await load("gold/current/tables.json")).json();
  page.say("Starting DuckDB …");
  const [connection] = await Promise.all([
    open(),
    initParquet({ module_or_path: new URL("parquet_wasm_bg.wasm", FOLDER) }),
  ]);
  const loaded = new Set();

  async function fill(sql) {
    for (const table of list.tables) {
      if (loaded.has(table.table) || !mentions(sql, table.table)) continue;
      if (table.why_missing) throw new Error(`${table.table} has no file for this page: ${table.why_missing}`);
      page.say(`Loading ${table.table}, ${table.row_count.toLocaleString("en")} rows …`);
      const answer = await load(`gold/${list.version}/${encodeURIComponent(table.table)}.parquet`);
      const rows = readParquet(new Uint8Array(await answer.arrayBuffer())).intoIPCStream();
      await connection.insertArrowFromIPCStream(rows, { name: table.table, schema: "gold", create: true });
      loaded.add(table.table);
    }
  }

  async function run(sql) {
    await fill(sql);
    page.say("Running …");
    const began = performance.now();
    await connection.query("begin transaction read only");
    try {
      // only one statement can be prepared, so none ends the transaction before a write
      const statement = await connection.prepare(sql);
      const table = await statement.query();
      await statement.close();
      return { ...read(table), seconds: (performance.now() - began) / 1000 };
    } finally {
      await connection.query("rollback").catch(() => {});
    }
  }

  return { version: list.version, tables: list.tables, run, chart, csv, SHOWN_ROWS };
}

async function load(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} cannot be read (${answer.status}); load this page again`);
  return answer;
}

async function open() {
  const worker = new Worker(new URL("duckdb-browser-eh.worker.js", FOLDER));
  const failed = new Promise((_, reject) => {
    worker.addEventListener("error", () => reject(new Error("DuckDB cannot start in this browser; load this page again")));
  });
  const database = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), worker);
  await Promise.race([database.instantiate(new URL("duckdb-eh.wasm", FOLDER).href), failed]);
  await database.open({ query: { castDecimalToDouble: true } });
  const connection = await database.connect();
  for (const statement of [
    "create schema gold",
    "set search_path = 'gold'",
    "set autoinstall_known_extensions = false",
    "set autoload_known_extensions = false",
    "set enable_external_access = false",
    "set lock_configuration = true",
  ]) {
    await connection.query(statement);
  }
  return connection;
}

function mentions(sql, name) {
  const text = name.replace(/[.*+?^${}()|[\]\\-]/g, "\\$&");
  return new RegExp(`(^|[^\\w])${text}($|[^\\w])`, "i").test(sql);
}

// Return a result as columns with a kind, and rows of plain values: null, true, numbers, BigInts, Dates and texts.
function read(table) {
  const columns = table.schema.fields.map((field) => ({ name: field.name, kind: kind(String(field.type)) }));
  const vectors = columns.map((_, number) => table.getChildAt(number));
  const rows = [];
  for (let row = 0; row < table.numRows; row += 1) {
    rows.push(vectors.map((vector, number) => value(vector.get(row), columns[number].kind)));
  }
  return { columns, rows };
}

function kind(type) {
  if (/^(Date|Timestamp)/.test(type)) return type.startsWith("Date") ? "date" : "timestamp";
  if (/^(Int|Uint|Float|Decimal)/.test(type)) return "number";
  return /^Time/.test(type) ? "time" : "text";
}

function value(found, as) {
  if (found === null || found === undefined) return null;
  if (as === "date" || as === "timestamp") return new Date(Number(found));
  if (as === "time") return new Date(Number(found) / 1000).toISOString().slice(11, 23);
  if (as === "number" || typeof found === "boolean" || typeof found === "string") return found;
  if (found instanceof Uint8Array) return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return JSON.stringify(found, (_, part) => (typeof part === "bigint" ? Number(part) : part));
}

export function text(found, as) {
  if (found === null) return "";
  if (!(found instanceof Date)) return String(found);
  if (Number.isNaN(found.getTime())) return "";
  const whole = found.toISOString();
  return as === "date" ? whole.slice(0, 10) : whole.slice(0, 19).replace("T", " ");
}

function csv({ columns, rows }) {
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const lines = [columns.map((column) => quoted(column.name))];
  for (const row of rows) lines.push(row.map((found, number) => quoted(text(found, columns[number].kind))));
  return lines.map((line) => `${line.join(",")}\r\n`).join("");
}

// Return a chart of the first column of numbers by the first column; null if the result has no such columns.
function chart(result, width) {
  const made = plot(result, width);
  if (!made) return null;
  // the page names the chart; the names that Plot gives to its parts have no roles
  for (const part of [made, ...made.querySelectorAll("[aria-label]")]) part.removeAttribute("aria-label");
  made.setAttribute("aria-hidden", "true");
  return made;
}

function plot({ columns, rows }, width) {
  const y = columns.findIndex((column, number) => column.kind === "number" && (number > 0 || columns.length === 1));
  if (y < 0 || rows.length < 2) return null;
  const x = columns.length === 1 ? -1 : 0;
  const points = rows.slice(0, SHOWN_ROWS).map((row, place) => ({
    x: x < 0 ? place + 1 : row[x],
    y: row[y] === null ? null : Number(row[y]),
  }));
  const name = x < 0 ? "row" : columns[x].name;
  const as = x < 0 ? "number" : columns[x].kind;
  const options = {
    width: Math.max(280, width),
    style: { background: "transparent", fontSize: "12px" },
    marginLeft: 64,
    marginRight: 40,
    marginBottom: 44,
  };
  const color = "var(--link)";
  const isUnique = new Set(points.map((point) => String(point.x))).size === points.length;
  if (as === "text" || as === "time") {
    // bars with the same name would say nothing
    if (!isUnique) return null;
    const bars = points.slice(0, BARS).map((point, place) => ({ ...point, place }));
    const labels = bars.map((bar) => text(bar.x, as).slice(0, 24));
    return Plot.plot({
      ...options,
      height: 60 + bars.length * 22,
      marginLeft: Math.min(200, 24 + 7 * Math.max(...labels.map((label) => label.length))),
      x: { label: columns[y].name, grid: true, nice: true },
      y: { label: null, type: "band", tickFormat: (place) => labels[place] },
      marks: [Plot.barX(bars, { x: "y", y: "place", fill: color, insetTop: 2, insetBottom: 2 }), Plot.ruleX([0])],
    });
  }
  const marks = as === "number" || !isUnique ? [Plot.dot(points, { x: "x", y: "y", fill: color, r: 2.5 })] : [
    Plot.lineY(points, { x: "x", y: "y", stroke: color, sort: "x" }),
    Plot.dot(points, { x: "x", y: "y", fill: color, r: 2.5 }),
  ];
  const days = as === "date" ? { tickFormat: (day) => text(day, as) } : {};
  if (as === "date" && points.length <= width / 90) days.ticks = points.map((point) => point.x);
  return Plot.plot({
    ...options,
    height: 280,
    x: { label: name, ...days, type: as === "number" ? "linear" : "utc", ...(as === "number" ? { transform: Number } : {}) },
    y: { label: columns[y].name, grid: true, zero: true, nice: true },
    marks: [...marks, Plot.ruleY([0])],
  });
}
