// Checks pages of a built book with axe-core in headless Chromium: light and dark, 1280 and 360 px
// wide. Prints each violation once with the pages that have it; exits with 1 if there is any, with 2
// without a Chromium that starts.
//
//   node axe.mjs MODULES FOLDER [PAGE...]
//
// MODULES has axe-core and puppeteer-core, FOLDER the pages; without PAGE all are checked.
import { createRequire } from "node:module";
import { readFileSync, readdirSync, existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, folder, ...named] = process.argv.slice(2);
const require = createRequire(resolve(modules, "package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env.CHROMIUM || BROWSERS.find(existsSync);
if (!executablePath) {
  console.error(`no Chromium at ${BROWSERS.join(", ")}: name one, CHROMIUM=... make axe`);
  process.exit(2);
}

// What is the theme's own, each with the reason why it stays.
const NAMED = new Map([]);

// The door of the book has nothing to read.
const leadsElsewhere = (page) => /http-equiv="refresh"/i.test(page);

const pages = named.length
  ? named
  : readdirSync(folder, { recursive: true })
      .filter((name) => name.endsWith(".html") && !name.startsWith("_static"))
      .filter((name) => !leadsElsewhere(readFileSync(join(folder, name), "utf-8")))
      .sort();
const browser = await puppeteer
  .launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
  })
  .catch((error) => {
    console.error(`${executablePath} does not start: ${error.message}`);
    process.exit(2);
  });
const found = new Map();
const tab = await browser.newPage();
for (const width of [1280, 360]) {
  await tab.setViewport({ width, height: 900 });
  for (const theme of ["light", "dark"]) {
    for (const page of pages) {
      await tab.goto(pathToFileURL(resolve(join(folder, page))));
      // Colours that are on their way from one theme to the other are nobody's.
      await tab.addStyleTag({ content: "* { transition: none !important; animation: none !important; }" });
      await tab.evaluate((mode) => {
        document.documentElement.dataset.theme = mode;
        document.documentElement.dataset.mode = mode;
      }, theme);
      await tab.evaluate(axe);
      const { violations } = await tab.evaluate(() => axe.run({ resultTypes: ["violations"] }));
      for (const { id, help, nodes } of violations.filter(({ id }) => !NAMED.has(id))) {
        const seen = found.get(id) ?? { help, places: [] };
        for (const { html, any, target } of nodes) {
          const why = any[0]?.message ?? "";
          seen.places.push(`${page}, ${theme}, ${width} px: ${target}: ${html.replace(/\s+/g, " ").slice(0, 160)} ${why}`);
        }
        found.set(id, seen);
      }
    }
  }
}
await browser.close();
for (const [id, { help, places }] of found) {
  console.log(`${id}: ${help}, ${places.length} times`);
  for (const place of places.slice(0, Number(process.env.MOST ?? 5))) console.log(`  ${place}`);
}
console.log(`${pages.length} pages, 2 themes, 2 widths: ${found.size} kinds of violations`);
process.exit(found.size ? 1 : 0);
