// What every page has to be: accessible, no wider than its screen, light, usable by keyboard alone.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { visit } from './browser.mjs';
import { expect, OUT } from './runner.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** No finding of axe, in what one sees now. */
export const expectAccessible = async (page, what) => {
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(AXE);   // as the developer tools do it: the page's CSP stays as strict as it is
  const findings = await page.evaluate(async (values) => {
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] });
    return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.slice(0, 4).map((node) => `${node.html.slice(0, 200)} | ${node.any[0]?.message ?? node.failureSummary}`) }));
  }, RULES);
  expect(!findings.length, `axe finds fault with ${what}`, findings);
};

/** Nothing sticks out to the right: a phone never scrolls sideways. */
export const expectNoSidewaysScroll = async (page, what) => {
  const { wide, screen, culprits } = await page.evaluate(() => {
    const screen = document.documentElement.clientWidth;
    const clipped = (el) => { for (let up = el.parentElement; up && up !== document.body; up = up.parentElement) if (/auto|scroll|hidden|clip/.test(getComputedStyle(up).overflowX)) return true; return false; };
    const culprits = [...document.querySelectorAll('body *')].filter((el) => el.getBoundingClientRect().right > screen + 1 && el.checkVisibility() && !clipped(el));
    return { wide: document.documentElement.scrollWidth, screen, culprits: culprits.slice(0, 5).map((el) => el.outerHTML.slice(0, 160)) };
  });
  expect(wide <= screen, `${what} is ${wide} px wide on a screen of ${screen}`, culprits);
};

/** Light and dark, wide and on a phone: the same page, for the same person; pictures of it are kept for whoever looks. */
export const looksRight = async (stage, who, address, what) => {
  for (const phone of [false, true]) {
    const page = await stage.as(who, { phone });
    await visit(page, address);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: path.join(OUT, `${what}${phone ? '-phone' : ''}-${colorScheme}.png`), fullPage: true, animations: 'disabled' });
      await expectAccessible(page, what);
    }
    await expectNoSidewaysScroll(page, what);
    await page.context().close();
  }
};

/** Bytes over the wire of the first visit, nothing cached. Streams don't end and are not part of the page. */
export const weigh = async (page, path) => {
  const wire = await page.context().newCDPSession(page);
  const parts = new Map();
  await wire.send('Network.enable');
  await wire.send('Network.setCacheDisabled', { cacheDisabled: true });
  wire.on('Network.responseReceived', ({ requestId, response }) => parts.set(requestId, { url: response.url, bytes: 0 }));
  wire.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { if (parts.has(requestId)) parts.get(requestId).bytes = encodedDataLength; });
  await page.goto(path, { waitUntil: 'load' });
  await page.evaluate(() => document.fonts.ready.then(() => {}));
  await wire.detach();
  const list = [...parts.values()].sort((a, b) => b.bytes - a.bytes);
  return { bytes: list.reduce((sum, part) => sum + part.bytes, 0), list };
};

/** Tab reaches everything one can act on, and each shows that it has the focus. */
export const expectKeyboardReach = async (page, what) => {
  const { wanted, unseen } = await page.evaluate(() => {
    const look = (el) => [el, el.parentElement, el.closest('label, fieldset, li, tr') ?? el].map((it) => {
      const style = getComputedStyle(it);
      return [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor, style.backgroundColor, style.clip].join(' ');
    }).join(' | ');
    document.activeElement?.blur();
    const groups = new Set();
    const actions = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')].filter((el) => {
      if (el.disabled || el.tabIndex < 0 || !el.checkVisibility({ visibilityProperty: true }) || el.closest('[inert]')) return false;
      if (el.type !== 'radio') return true;
      const name = `${el.form?.id} ${el.name}`;            // of a group of radios Tab reaches one
      return !groups.has(name) && groups.add(name);
    });
    window.reach = { look, before: new Map(actions.map((el) => [el, look(el)])), reached: new Set() };
    return { wanted: actions.length, unseen: [] };
  });
  const steps = wanted + 40;
  for (let step = 0; step < steps; step++) {
    await page.keyboard.press('Tab');
    const { done, name } = await page.evaluate(() => {
      const { look, before, reached } = window.reach, el = document.activeElement;
      if (!el || el === document.body) return { done: reached.size > 0 };
      const first = el.type === 'radio' ? [...before.keys()].find((it) => it.name === el.name && it.form === el.form) ?? el : el;
      if (reached.has(first)) return { done: first === [...reached][0] };
      reached.add(first);
      const same = before.has(el) && look(el) === before.get(el);
      return { done: false, name: same ? el.outerHTML.slice(0, 160) : undefined };
    });
    if (name) unseen.push(name);
    if (done) break;
  }
  const missed = await page.evaluate(() => [...window.reach.before.keys()].filter((el) => el.isConnected && el.checkVisibility() && !window.reach.reached.has(el)).map((el) => el.outerHTML.slice(0, 160)));
  expect(!missed.length, `Tab does not reach everything on ${what}`, missed);
  expect(!unseen.length, `on ${what} one can't see where the focus is`, unseen);
};
