// With JavaScript off everything that does not stream works: real links, real forms, real pages.
import { signIn, visit } from '../lib/browser.mjs';
import { about, eventually, expect, test } from '../lib/runner.mjs';
import { approve, badge } from '../lib/portal.mjs';

about('Without JavaScript');

/** Without script a page moves when one loads it again. */
const reloadUntil = (page, words) => eventually(`the page says ${words}`, async () => { await page.reload(); return (await badge(page).innerText()) === words; }, { seconds: 120 });

test('one signs in, searches, filters and sorts', async (stage) => {
  const page = await stage.visitor({ script: false });
  await page.goto('/services');
  await signIn(page, stage.world.person('maya'));
  await page.getByRole('heading', { name: 'Services', level: 1 }).waitFor();
  const field = page.getByRole('searchbox', { name: 'Filter services' });
  await field.fill('gateway');
  await field.press('Enter');
  await page.getByRole('link', { name: 'payment-gateway', exact: true }).waitFor();
  expect(await page.getByRole('link', { name: 'storefront-web', exact: true }).count() === 0, 'the rest is filtered out');
  await visit(page, '/services');
  await page.getByRole('button', { name: /^(Team|Owner)/ }).click();
  await page.getByRole('checkbox', { name: /Payments/ }).check();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.waitForURL(/team=payments/);
  expect(await page.getByRole('link', { name: 'storefront-web', exact: true }).count() === 0, 'only what payments owns');
  await page.getByRole('link', { name: 'checkout-api', exact: true }).click();
  await page.getByRole('region', { name: 'staging', exact: true }).waitFor();
  await visit(page, '/services');
  await page.locator('[popovertarget=f-sort]').click();
  await page.locator('#f-sort').getByRole('radio').last().check();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.waitForURL(/sort=/);
});

test('one deploys, asks for production, and somebody approves', async (stage) => {
  const maya = await stage.as('maya', { script: false });
  await visit(maya, '/services/ledger/staging/deploy');
  await maya.getByRole('radio', { name: /^v1\.1\.0\b/ }).check();
  await maya.getByRole('button', { name: 'Check again' }).click();
  await maya.getByText('v1.1.0 is sha256:').waitFor();
  const takeOver = maya.getByRole('checkbox', { name: /^Take the image field over/ });
  if (await takeOver.count()) await takeOver.check();
  await maya.getByRole('button', { name: 'Deploy', exact: true }).click();
  await maya.waitForURL(/\/deploys\/\d+$/);
  await reloadUntil(maya, 'Done');

  await visit(maya, '/services/ledger/production/deploy?version=v1.1.0');
  await maya.getByRole('checkbox', { name: /^Take the image field over/ }).check();
  await maya.getByRole('button', { name: 'Check again' }).click();
  await maya.getByText('The cluster accepts it').waitFor();
  await maya.getByRole('textbox', { name: /^Reason/ }).fill('Sent without a script.');
  await maya.getByRole('button', { name: 'Request approval' }).click();
  await maya.waitForURL(/\/deploys\/\d+$/);

  const omar = await stage.as('omar', { script: false, phone: true });
  await visit(omar, '/approvals');
  await omar.getByRole('link', { name: /^Review: ledger/ }).first().click();
  await approve(omar, 'ledger');
  await omar.getByText(/Omar Haddad approved/).first().waitFor();
  await reloadUntil(maya, 'Done');
}, { seconds: 240 });

test('the logs that are there can be read and searched', async (stage) => {
  const page = await stage.as('maya', { script: false });
  await visit(page, '/services/checkout-api/logs?env=staging');
  await page.getByRole('log').getByText('checkout-api').first().waitFor();
  await page.getByRole('searchbox', { name: 'Search these logs' }).fill('ready');
  await page.getByRole('searchbox', { name: 'Search these logs' }).press('Enter');
  await page.waitForURL(/q=ready/);
});
