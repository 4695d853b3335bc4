// Who sees what, and what people read who may not.
import { visit } from '../lib/browser.mjs';
import { about, expect, test } from '../lib/runner.mjs';

about('Roles');

const HERS = /status of 40[34]/;   // the console repeats what the page is meant to answer

test('noor, in no group, sees neither deploys nor namespaces', async (stage) => {
  const page = await stage.as('noor');
  const one = await stage.world.sql('select min(id) from deploys');
  expect(one, 'there is a deploy to be hidden');
  for (const path of [`/deploys/${one}`, '/services/checkout-api/staging/deploy', '/services/checkout-api/production/rollback', '/services/checkout-api/logs?env=staging', '/audit']) await visit(page, path, 404);
  stage.forgive(HERS);
  await visit(page, '/deploys');
  expect(await page.locator('main a[href^="/deploys/"]').count() === 0, 'the list is empty for her');
  await visit(page, '/services');
  const text = await page.locator('main').innerText();
  expect(!/v1\.\d\.0/.test(text), 'no version of anything', text);
});

test('what one may not do stays in sight, locked, with the reason', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services/storefront-web');
  const locked = page.locator('main [aria-disabled="true"]');
  expect(await locked.count() > 0, 'deploying the storefront is locked for maya of payments');
  for (const button of await locked.all()) {
    const ids = (await button.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean);
    expect(ids.length, 'a locked button names its reason', await button.evaluate((el) => el.outerHTML));
    for (const id of ids) expect((await page.locator(`#${id}`).innerText()).length > 20, 'the reason is a sentence');
    await button.focus();
    expect(await button.evaluate((el) => el === document.activeElement), 'it can be focused, so its reason is read out');
  }
});

test('the form says which right is missing and who grants it', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services/storefront-web/staging/deploy');
  await page.getByText('You may not deploy here').waitFor();
  await page.getByText(/can grant it/).first().waitFor();
  const button = page.getByRole('button', { name: 'Deploy', exact: true });
  expect(await button.getAttribute('aria-disabled') === 'true', 'the button is off');
  await button.click({ force: true });
  expect(new URL(page.url()).pathname.endsWith('/deploy'), 'and does nothing');
});

test('nina, on call, may act in every team\'s staging', async (stage) => {
  const page = await stage.as('nina');
  await visit(page, '/services/storefront-web/staging/restart');
  expect(await page.getByRole('button', { name: 'Restart', exact: true }).getAttribute('aria-disabled') !== 'true', 'restart is hers');
});

test('the audit trail is for the platform team; for others it does not exist', async (stage) => {
  const maya = await stage.as('maya');
  await visit(maya, '/audit', 404);
  stage.forgive(HERS);
  expect(await maya.getByRole('link', { name: 'Audit trail' }).count() === 0, 'the navigation shows only what works');
  const petra = await stage.as('petra');
  await visit(petra, '/');
  await petra.getByRole('link', { name: 'Audit trail' }).click();
  await petra.getByRole('heading', { name: /Audit/, level: 1 }).waitFor();
});

test('a form from another site changes nothing', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services/ledger/staging/restart');
  const fields = await page.locator('main form[method=post]').evaluate((form) => new URLSearchParams(new FormData(form)).toString());
  const before = await stage.world.sql('select count(*) from deploys');
  for (const headers of [{ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, { 'sec-fetch-site': 'same-site' }, { origin: 'null' }, {}]) {
    const answer = await page.request.post('/services/ledger/staging/restart', { data: fields, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }, maxRedirects: 0 });
    expect(answer.status() === 403, `refused with ${JSON.stringify(headers)}`, answer.status());
  }
  expect(await stage.world.sql('select count(*) from deploys') === before, 'no deploy was made');
});
