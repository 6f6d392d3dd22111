// Pages in a real browser. usage: node console-check.cjs SET URL BROWSER FOLDER
//   open    every page of a demo, and some of them as they print: for whoever is on its machine, or by READ_TOKEN
//   people  what whoever logs in sees: AUDIT_TOKEN and OPERATE_TOKEN are tokens of these roles
//   new     an installation that has a plan and the one before it, and no record yet
//   bundle  the report of an evidence bundle: URL is that of a file, and nothing may be asked for at all
const { readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [set, url, executablePath, folder] = process.argv.slice(2);
const tokens = { read: process.env.READ_TOKEN, audit: process.env.AUDIT_TOKEN, operate: process.env.OPERATE_TOKEN };
// Whoever is on the machine of a daemon that has no token yet needs none.
const ANYONE = tokens.read ? "read" : "";
const SIZES = { 390: 844, 1440: 900 };
// No page scrolls sideways at these either: what a page has at 400 % on a screen, a tablet, half a screen.
const BETWEEN = [320, 768, 1024];
// The width of A4 less the margins of Chromium.
const PAPER = 717;

async function logIn(page, as) {
  if (!as) return;
  await page.goto(`${url}/console/login`);
  await page.fill("#token", tokens[as]);
  await page.click("main button[type=submit]");
  await page.waitForURL(`${url}/console`);
}

async function alertsOf(page) {
  // The demo's replacement and what is said of its data, or whatever alert there is.
  await page.goto(`${url}/console/alerts`);
  const rows = await page.$$eval("tbody tr", (rows) => rows.map((row) => [row.innerText, row.querySelector("a").getAttribute("href")]));
  const find = (...words) => (rows.filter(([text]) => words.every((word) => text.includes(word))).at(-1) ?? rows[0])[1];
  return { alert: find("site=south", "effusion"), data: find("health/") };
}

// What a page of the set is: its name, its address, who looks, what is done on it first, and whether it is printed.
function pagesOf({ alert, data }) {
  const model = "/console/models/chest-xray?version=2.1&output=effusion&window=7d";
  const of = (name, path, more = {}) => ({ name, path, ...more });
  return {
    open: [
      of("fleet", "/console"), of("fleet-filtered", "/console?q=effusion"), of("alerts", "/console/alerts"),
      of("alert", alert, { check: first }), of("alert-data", data), of("model", model), of("slice", `${model}&slice=site%3Dsouth`),
      of("values", "/console/models/chest-xray-quality?output=cardiothoracic_ratio"), of("health", "/console/health"),
      of("sources", "/console/sources"), of("rejections", "/console/rejections"), of("plan", "/console/plan"),
      of("login", "/console/login"), of("missing", "/console/nothing", { status: 404 }),
      of("fleet-then", "/console?as_of=2025-04-01"), of("alert-then", `${alert}?as_of=2025-04-20T12:00`),
      of("model-then", `${model}&as_of=2025-03-20`),
      of("fleet-print", "/console", { prints: true }), of("model-print", model, { prints: true }),
      of("alert-print", alert, { prints: true }),
    ],
    people: [
      of("login-outside", "/console/login"), of("login-refused", "/console/login", { act: wrongToken, status: 401 }),
      of("audit", "/console/audit", { as: "audit" }),
      of("audit-search", `/console/audit?q=${alert && `alert+${alert.split("/").at(-1)}`}&action=alert+fired`, { as: "audit", check: hasEntries }),
      of("audit-then", "/console/audit?as_of=2025-04-01", { as: "audit" }),
      of("audit-verified", "/console/audit", { as: "audit", act: (page) => press(page, "button[value=chain]") }),
      of("alert-auditor", alert, { as: "audit" }), of("audit-operator", "/console/audit", { as: "operate", status: 403 }),
      of("alert-operator", alert, { as: "operate", act: openSteps }),
      of("alert-operator-print", alert, { as: "operate", prints: true }),
    ],
    new: [
      of("new-fleet", "/console"), of("new-alerts", "/console/alerts"), of("new-health", "/console/health"),
      of("new-sources", "/console/sources"), of("new-rejections", "/console/rejections"),
      of("plan-changed", "/console/plan", { check: hasDifference }),
    ],
    bundle: [of("bundle", ""), of("bundle-print", "", { prints: true })],
  }[set];
}

// Do something that leads to a page, and return its response.
async function press(page, button) {
  const [response] = await Promise.all([page.waitForNavigation(), page.click(button)]);
  return response;
}

async function wrongToken(page) {
  await page.fill("#token", "dosi_nobody");
  return press(page, "main button[type=submit]");
}

async function openSteps(page) {
  await page.$$eval("details.step", (steps) => steps.forEach((step) => { step.open = true; }));
}

// Whoever is woken reads what broke, where and what is new there without scrolling.
async function first(page) {
  return page.evaluate(() => {
    const said = [...document.querySelectorAll(".headline, .sure, .moved")];
    const text = said.map((one) => one.textContent).join(" ");
    const below = said.filter((one) => one.getBoundingClientRect().bottom > window.innerHeight);
    return [
      ...["effusion", "site south", "vendor", "95"].filter((word) => !text.includes(word)).map((word) => `the first words do not say ${word}`),
      ...below.map((one) => `${one.className} is below the first screen`),
    ];
  });
}

async function isWide(page, say, size) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) say(`is ${wide} pixels wider than ${size}`);
}

async function hasEntries(page) {
  return (await page.$$("tbody tr")).length ? [] : ["no entry was found"];
}

async function hasDifference(page) {
  return (await page.$$(".diff del, .diff ins")).length ? [] : ["no line was taken out or put in"];
}

// What is on paper is dark on white and can only be read.
async function onPaper(page) {
  return page.evaluate(() => {
    const shown = [...document.querySelectorAll("body, body *")].filter((one) => one.checkVisibility() && !one.closest("svg"));
    const light = (color) => {
      const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
      return alpha === 0 || 0.2126 * red + 0.7152 * green + 0.0722 * blue > 200;
    };
    const dark = shown.filter((one) => !one.closest(".mark") && !light(getComputedStyle(one).backgroundColor));
    const pale = shown.filter((one) => one.childNodes.length && light(getComputedStyle(one).color));
    const tools = shown.filter((one) => one.matches("nav, form, button, input, select, textarea"));
    const folded = [...document.querySelectorAll("details[open]")].filter((one) => !one.checkVisibility() && !one.querySelector("form"));
    const name = (one) => `${one.tagName.toLowerCase()}${one.className ? `.${one.className}` : ""}`;
    const say = (found, what) => found.length ? [`${found.length} elements ${what}, the first ${name(found[0])}`] : [];
    return [
      ...say(dark, "are dark on paper"), ...say(pale, "have pale letters on paper"), ...say(tools, "on paper are tools"),
      ...say(folded, "are open and not on paper"),
    ];
  });
}

// Texts of a picture that cover each other, or are cut off at its edge.
async function crowded(page) {
  return page.evaluate(() => [...document.querySelectorAll("svg.picture")].filter((svg) => svg.checkVisibility()).flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => ({ said: text.textContent.trim(), box: text.getBoundingClientRect() }));
    const name = svg.querySelector("title").textContent;
    const cut = texts.filter(({ box }) => box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - box.height / 5 || box.bottom > frame.bottom + box.height / 5);
    const over = texts.flatMap((a, index) => texts.slice(index + 1).filter((b) => {
      const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      return wide > 2 && high > 0.4 * Math.min(a.box.height, b.box.height);
    }).map((b) => `"${a.said}" covers "${b.said}" in "${name}"`));
    return [...cut.map(({ said }) => `"${said}" is cut off in "${name}"`), ...over];
  }));
}

async function faultsOf(page, context) {
  // The policy of the pages lets no foreign script in: axe is run by the browser's own debugger, outside of it.
  const session = await context.newCDPSession(page);
  await session.send("Runtime.evaluate", { expression: axe });
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
    expression: "axe.run(document, { resultTypes: ['violations'] }).then((found) => JSON.stringify(found.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.slice(0, 4).map((node) => node.html.slice(0, 200) + ' ' + [...node.any, ...node.all, ...node.none].map((one) => one.message).join('; ')) }))))",
    awaitPromise: true, returnByValue: true,
  });
  await session.detach();
  if (exceptionDetails) return [{ impact: "critical", text: `axe: ${JSON.stringify(exceptionDetails)}` }];
  return JSON.parse(result.value).map(({ id, impact, help, nodes }) => ({ impact, text: `axe ${impact} ${id}: ${help}\n    ${nodes.join("\n    ")}` }));
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const problems = [];
  const isFile = set === "bundle";
  let alerts = {};
  if (["open", "people"].includes(set)) {
    const scout = await browser.newPage();
    await logIn(scout, set === "people" ? "operate" : ANYONE);
    alerts = await alertsOf(scout);
    await scout.close();
  }
  const pages = pagesOf(alerts);
  let looked = 0;
  for (const theme of isFile ? ["light"] : ["light", "dark"]) {
    for (const [width, height] of Object.entries(SIZES).map(([width, height]) => [Number(width), height])) {
      const contexts = {};
      for (const { name, path, as = ANYONE, act, check, status = 200, prints = false } of pages) {
        // On paper there is one width.
        if (prints && width !== 390) continue;
        const size = prints ? PAPER : width;
        // Paper is white for whoever has chosen dark pages, too.
        const key = `${as} ${prints}`;
        if (!contexts[key]) {
          contexts[key] = await browser.newContext({ viewport: { width: size, height }, colorScheme: prints ? "light" : theme, offline: isFile });
          if (prints && !isFile) await contexts[key].addCookies([{ name: "dosimeter_theme", value: theme, url }]);
          const page = await contexts[key].newPage();
          await logIn(page, as);
          await page.close();
        }
        const page = await contexts[key].newPage();
        const where = `${name} ${theme} ${size}`;
        const say = (text) => problems.push(`${where}: ${text}`);
        page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && status === 200) say(`console: ${message.text()}`); });
        page.on("request", (request) => { if (!request.url().startsWith(url)) say(`asks ${request.url()}`); });
        page.on("pageerror", (error) => say(`error: ${error.message}`));
        if (prints) await page.emulateMedia({ media: "print" });
        const began = Date.now();
        let response = await page.goto(url + path, { waitUntil: "load" });
        const took = Date.now() - began;
        if (act) response = (await act(page)) ?? response;
        if (!isFile && response.status() !== status) say(`status ${response.status()}`);
        await isWide(page, say, size);
        if (check) (await check(page)).forEach(say);
        if (prints) (await onPaper(page)).forEach(say);
        (await crowded(page)).forEach(say);
        await page.screenshot({ path: join(folder, `${name}-${theme}-${size}.png`), fullPage: true });
        for (const { impact, text } of await faultsOf(page, contexts[key])) {
          if (["serious", "critical"].includes(impact)) say(text); else console.log(`${where}: ${text}`);
        }
        for (const other of theme === "light" && width === 1440 && !prints ? BETWEEN : []) {
          await page.setViewportSize({ width: other, height });
          await isWide(page, say, other);
        }
        console.log(`${where}: ${took} ms`);
        looked += 1;
        await page.close();
      }
      for (const context of Object.values(contexts)) await context.close();
    }
  }
  await browser.close();
  writeFileSync(join(folder, `report-${set}.txt`), problems.length ? problems.join("\n") + "\n" : "nothing was found\n");
  if (problems.length) { console.error(problems.join("\n")); process.exit(1); }
  console.log(`${set}: ${looked} views of ${pages.length} pages: nothing was found`);
})().catch((error) => { console.error(error); process.exit(1); });
