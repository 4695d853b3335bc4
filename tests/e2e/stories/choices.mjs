// What people change their minds about, and what happens when they press twice.
import { visit } from '../lib/browser.mjs';
import { about, eventually, expect, test } from '../lib/runner.mjs';
import { approve, deploy, ROLLOUT, sees, send } from '../lib/portal.mjs';

const SERVICE = 'payment-gateway';

about('Second thoughts');

test('sending the same form twice makes one deploy', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/staging/deploy?version=v1.1.0&take_over=yes`);
  await page.getByText('The cluster accepts it').waitFor();
  const before = await stage.world.sql('select count(*) from deploys');
  const landed = await page.locator('#deploy-form').evaluate(async (form) => {
    const body = new URLSearchParams(new FormData(form));
    const send = () => fetch(form.action, { method: 'POST', body }).then((answer) => new URL(answer.url).pathname);
    return Promise.all([send(), send(), send()]);
  });
  expect(new Set(landed).size === 1 && /^\/deploys\/\d+$/.test(landed[0]), 'all three lead to the same deploy', landed);
  expect(await stage.world.sql('select count(*) from deploys') - before === 1, 'there is one deploy more');
  await visit(page, landed[0]);
  await sees(page, 'Done');
}, { seconds: 150 });

test('a request is withdrawn while it waits, and production stays as it was', async (stage) => {
  const page = await stage.as('maya');
  const audit = stage.world.auditEnd();
  await deploy(page, SERVICE, 'production', 'v1.1.0', 'Routes wallets, too.');
  await sees(page, 'Awaiting approval');
  await page.getByRole('button', { name: 'Withdraw' }).click();
  await sees(page, 'Withdrawn');
  await page.getByText('Nothing was changed.').waitFor();
  const writes = await stage.world.generationsSince(audit, 'payments-production', SERVICE);
  expect(!writes.length, 'the cluster was not written to', writes);
});

test('rejecting needs a note, which the requester reads', async (stage) => {
  const [maya, omar] = [await stage.as('maya'), await stage.as('omar', { phone: true })];
  await deploy(maya, SERVICE, 'production', 'v1.1.0', 'Routes wallets, too.');
  await sees(maya, 'Awaiting approval');
  await visit(omar, new URL(maya.url()).pathname);
  await omar.getByRole('button', { name: 'Reject' }).click();
  await omar.getByRole('alert').getByText(/Say why/).waitFor();
  stage.forgive(/status of 422/);
  await omar.getByRole('textbox', { name: /^Note/ }).fill('Not on a Friday.');
  await omar.getByRole('button', { name: 'Reject' }).click();
  await sees(omar, 'Rejected');
  await sees(maya, 'Rejected');
  await maya.getByText('Not on a Friday.').first().waitFor();
});

test('an approval counts for what was on screen only: a page that is out of date is refused', async (stage) => {
  const [maya, omar] = [await stage.as('maya'), await stage.as('omar')];
  await deploy(maya, SERVICE, 'production', 'v1.1.0', 'Once more.');
  const path = new URL(maya.url()).pathname;
  await visit(omar, path);
  // What a page drawn for other bytes would send.
  await omar.route('**/approval', (route) => route.continue({ postData: route.request().postData().replace(/seen=[^&]*/, `seen=sha256%3A${'0'.repeat(64)}`) }));
  await approve(omar, SERVICE);
  await omar.getByText('What would run is not what your page showed.').waitFor();
  stage.forgive(/status of 422/);
  await maya.getByRole('button', { name: 'Withdraw' }).click();
  await sees(maya, 'Withdrawn');
});

test('scaling and restarting go the same way', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/staging/scale`);
  await page.getByRole('textbox', { name: 'Replicas' }).fill('2');
  await send(page, 'Scale');
  await sees(page, 'Done', ROLLOUT);
  await eventually('two replicas are wanted', async () => (await stage.world.deployment('payments-staging', SERVICE)).spec.replicas === 2);
  await visit(page, `/services/${SERVICE}/staging/restart`);
  await send(page, 'Restart');
  await sees(page, 'Done', ROLLOUT);
}, { seconds: 240 });

test('what the form can\'t use comes back with the sentence and what was typed', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/staging/deploy`);
  await page.getByRole('textbox', { name: /^Reason/ }).fill('Kept while I look for the version');
  await page.getByRole('textbox', { name: /^Another version/ }).fill('v99.0.0');
  await page.getByRole('textbox', { name: /^Another version/ }).press('Tab');
  await page.getByText(/No such image/).first().waitFor();
  expect(await page.getByRole('textbox', { name: /^Reason/ }).inputValue() === 'Kept while I look for the version', 'what was typed is still there');
  expect(await page.getByRole('button', { name: 'Deploy', exact: true }).getAttribute('aria-disabled') === 'true', 'the button is off');
});
