// Every page of the console in a real browser. usage: node console-check.cjs URL BROWSER FOLDER
const { readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [url, executablePath, folder] = process.argv.slice(2);

async function alertOf(page) {
  // The demo's replacement, or whatever alert there is.
  await page.goto(`${url}/console/alerts`);
  const rows = await page.$$eval("tbody tr", (rows) => rows.map((row) => [row.innerText, row.querySelector("a").getAttribute("href")]));
  const wanted = rows.filter(([text]) => text.includes("site=south") && text.includes("effusion"));
  return (wanted.at(-1) ?? rows[0])[1];
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const problems = [];
  const token = process.env.TOKEN;
  const logIn = async (page) => {
    if (!token) return;
    await page.goto(`${url}/console/login`);
    await page.fill("#token", token);
    await page.click("main button[type=submit]");
    await page.waitForURL(`${url}/console`);
  };
  const scout = await browser.newPage();
  await logIn(scout);
  const alert = await alertOf(scout);
  await scout.close();
  const model = "/console/models/chest-xray?version=2.1&output=effusion&window=7d";
  const pages = token ? [
    ["alert-operator", alert], ["audit", "/console/audit"], ["audit-search", "/console/audit?q=effusion&action=alert+fired"],
    ["audit-then", "/console/audit?as_of=2025-04-01"], ["audit-verified", "/console/audit", "button[value=chain]"],
  ] : [
    ["fleet", "/console"], ["fleet-filtered", "/console?q=effusion"], ["alerts", "/console/alerts"], ["alert", alert], ["model", model],
    ["slice", `${model}&slice=site%3Dsouth`], ["values", "/console/models/chest-xray-quality?output=cardiothoracic_ratio"],
    ["health", "/console/health"], ["sources", "/console/sources"], ["rejections", "/console/rejections"], ["plan", "/console/plan"],
    ["login", "/console/login"], ["missing", "/console/nothing"],
    ["fleet-then", "/console?as_of=2025-04-01"], ["alert-then", `${alert}?as_of=2025-04-20T12:00`], ["model-then", `${model}&as_of=2025-03-20`],
  ];
  for (const theme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      const context = await browser.newContext({ viewport: { width, height: width < 700 ? 844 : 900 }, colorScheme: theme, bypassCSP: false });
      const page = await context.newPage();
      await logIn(page);
      for (const [name, path, button] of pages) {
        const where = `${name} ${theme} ${width}`;
        const say = (text) => problems.push(`${where}: ${text}`);
        const heard = (message) => { if (["error", "warning"].includes(message.type()) && name !== "missing") say(`console: ${message.text()}`); };
        const asked = (request) => { if (!request.url().startsWith(url)) say(`asks ${request.url()}`); };
        const failed = (error) => say(`error: ${error.message}`);
        page.on("console", heard); page.on("request", asked); page.on("pageerror", failed);
        const began = Date.now();
        const response = await page.goto(url + path, { waitUntil: "load" });
        const took = Date.now() - began;
        if (button) await Promise.all([page.waitForNavigation(), page.click(button)]);
        if (name !== "missing" && response.status() !== 200) say(`status ${response.status()}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) say(`is ${wide} pixels wider than the screen`);
        await page.screenshot({ path: join(folder, `${name}-${theme}-${width}.png`), fullPage: true });
        // The policy of the pages lets no foreign script in: axe is run by the browser's own debugger, outside of it.
        const session = await context.newCDPSession(page);
        await session.send("Runtime.evaluate", { expression: axe });
        const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
          expression: "axe.run(document, { resultTypes: ['violations'] }).then((found) => JSON.stringify(found.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.slice(0, 4).map((node) => node.html.slice(0, 200) + ' ' + node.any.map((one) => one.message).join('; ')) }))))",
          awaitPromise: true, returnByValue: true,
        });
        if (exceptionDetails) say(`axe: ${JSON.stringify(exceptionDetails)}`);
        for (const found of JSON.parse(result.value ?? "[]")) {
          const text = `axe ${found.impact} ${found.id}: ${found.help}\n    ${found.nodes.join("\n    ")}`;
          if (["serious", "critical"].includes(found.impact)) say(text); else console.log(`${where}: ${text}`);
        }
        console.log(`${where}: ${took} ms`);
        page.off("console", heard); page.off("request", asked); page.off("pageerror", failed);
      }
      await context.close();
    }
  }
  await browser.close();
  writeFileSync(join(folder, "report.txt"), problems.length ? problems.join("\n") + "\n" : "nothing was found\n");
  if (problems.length) { console.error(problems.join("\n")); process.exit(1); }
  console.log(`${pages.length} pages, light and dark, 390 and 1440 pixels wide: nothing was found`);
})().catch((error) => { console.error(error); process.exit(1); });
