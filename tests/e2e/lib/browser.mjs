// Browsers, and the people who sit before them. Whatever a page complains about (a CSP violation, a console error,
// an uncaught exception) fails the test that opened it.
import fs from 'node:fs';
import { chromium } from 'playwright-core';
import { expect } from './runner.mjs';

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

// Only this machine can be reached, so that nothing depends on the world, and nothing leaks into it.
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];

/** Long enough for a busy machine of two cores; a test that waits for a rollout says so itself. */
const PATIENCE = 15_000;

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM || ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((file) => fs.existsSync(file)) || 'chromium',
  headless: true,
  args: FLAGS,
});

export class Stage {
  #contexts = [];
  #complaints = [];

  constructor(browser, world, signedIn) {
    Object.assign(this, { browser, world, signedIn });
  }

  /** A new browser with one tab. Options: phone, dark, script (false: JavaScript is off), state (cookies). */
  async visitor({ phone = false, dark = false, script = true, state } = {}) {
    const context = await this.browser.newContext({
      baseURL: this.world.portal,
      viewport: phone ? PHONE : DESKTOP,
      hasTouch: phone,
      colorScheme: dark ? 'dark' : 'light',
      javaScriptEnabled: script,
      reducedMotion: 'reduce',
      storageState: state,
    });
    context.setDefaultTimeout(PATIENCE);
    this.#contexts.push(context);
    await context.exposeBinding('complainAboutPolicy', (_, text) => this.#complaints.push(text));
    await context.addInitScript(() => addEventListener('securitypolicyviolation', (e) =>
      window.complainAboutPolicy(`CSP ${e.effectiveDirective} refused ${e.blockedURI} at ${e.sourceFile}:${e.lineNumber} on ${location.pathname}`)));
    const page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && this.#complaints.push(`console on ${new URL(page.url()).pathname}: ${message.text()}`));
    page.on('pageerror', (error) => this.#complaints.push(`exception on ${new URL(page.url()).pathname}: ${error.message}`));
    page.on('dialog', (dialog) => { this.#complaints.push(`a dialog of the browser: ${dialog.message()}`); dialog.dismiss(); });
    return page;
  }

  /** A new browser in which this person is signed in. The sign-in itself happens once a run, at the provider. */
  async as(username, options = {}) {
    if (!this.signedIn.has(username)) {
      const page = await this.visitor();
      await page.goto('/approvals');
      await signIn(page, this.world.person(username));
      await page.getByRole('navigation', { name: 'Main' }).waitFor({ state: 'attached' });
      this.signedIn.set(username, await page.context().storageState());
    }
    return this.visitor({ ...options, state: this.signedIn.get(username) });
  }

  /** Takes back what is expected here: a page that is meant to be missing makes the console say 404. */
  forgive(pattern) {
    this.#complaints = this.#complaints.filter((text) => !pattern.test(text));
  }

  expectNoComplaints() {
    expect(!this.#complaints.length, 'the browser complained', this.#complaints);
  }

  async pictures(stem) {
    const pages = this.#contexts.flatMap((context) => context.pages());
    const taken = [];
    for (const [n, page] of pages.entries()) {
      const file = `${stem}-${n + 1}.png`;
      await page.screenshot({ path: file, timeout: 5_000 }).then(() => taken.push(`${file} of ${page.url()}`), () => {});
    }
    return taken;
  }

  async close() {
    for (const context of this.#contexts.splice(0)) await context.close().catch(() => {});
  }
}

/** Through the portal's sign-in page and the development provider's page of people, back to where one wanted to go. */
export const signIn = async (page, person) => {
  await page.getByRole('link', { name: /^Continue with/ }).click();
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor();
  await page.getByRole('button', { name: person.name }).click();
};

/** The response of a page that must be there. */
export const visit = async (page, path, status = 200) => {
  const response = await page.goto(path);
  expect(response.status() === status, `${path} should answer ${status}`, `${response.status()} ${await heading(page)}`);
  return response;
};

export const heading = async (page) => (await page.locator('h1').first().textContent({ timeout: 2_000 }).catch(() => '(no heading)')).trim();
