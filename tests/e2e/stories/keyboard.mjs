// Without a mouse: the palette, the single keys, and rows.
import { visit } from '../lib/browser.mjs';
import { about, expect, test } from '../lib/runner.mjs';
import { expectAccessible } from '../lib/checks.mjs';

about('Keyboard');

test('⌘K opens the palette, typing finds, Enter goes there', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/');
  await page.keyboard.press('Control+k');
  const palette = page.getByRole('dialog', { name: 'Search' });
  await palette.waitFor();
  const found = page.waitForResponse((answer) => /[?&]q=ledg(&|$)/.test(answer.url()));
  await page.keyboard.type('ledg');
  await found;   // what stood there before may name ledger as well
  await palette.getByRole('option').first().filter({ hasText: 'ledger' }).waitFor();
  await expectAccessible(page, 'the open palette');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'ledger', exact: true }).waitFor();
  await page.keyboard.press('Control+k');
  await palette.waitFor();
  await page.keyboard.press('Escape');
  await palette.waitFor({ state: 'hidden' });
});

test('g then s, d, a goes to services, deployments, approvals', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/');
  for (const [key, path] of [['s', '/services'], ['d', '/deploys'], ['a', '/approvals']]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.waitForURL(`**${path}`);
    await page.locator('h1').waitFor();
  }
});

test('/ filters, j and k walk the rows, Enter opens one', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services');
  await page.keyboard.press('/');
  const field = page.getByRole('searchbox', { name: 'Filter services' });
  expect(await field.evaluate((el) => el === document.activeElement), 'the field has the focus');
  await page.keyboard.type('jj');
  expect(await field.inputValue() === 'jj', 'keys are letters while one types');
  await page.waitForURL(/q=jj/);
  await page.keyboard.press('Control+a');
  await page.keyboard.type('payment-g');
  await page.getByRole('link', { name: 'payment-gateway', exact: true }).waitFor();
  await page.waitForURL(/q=payment-g/);
  await field.blur();
  await page.keyboard.press('j');
  const name = await page.evaluate(() => document.activeElement.textContent);
  expect(name === 'payment-gateway', 'j is on the first row', name);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'payment-gateway', exact: true }).waitFor();
});

test('? shows the keys, Escape closes them', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/approvals');
  await page.keyboard.press('?');
  const keys = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  await keys.waitFor();
  await expectAccessible(page, 'the list of keys');
  await page.keyboard.press('Escape');
  await keys.waitFor({ state: 'hidden' });
});

test('the first Tab offers to skip to the content', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services');
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement.textContent) === 'Skip to content', 'the first stop is the skip link');
  await page.keyboard.press('Enter');
  expect(await page.evaluate(() => document.activeElement.id) === 'main', 'it leads to the content');
});
