// The main job, on the real cluster: maya ships to staging, breaks it, mends it, asks for production; omar says yes
// on his phone; and the API server's own audit log says that it was maya.
import { signIn, visit } from '../lib/browser.mjs';
import { about, eventually, expect, test } from '../lib/runner.mjs';
import { agreeToTakeOver, approve, badge, expectSame, openDeployForm, pickVersion, ROLLOUT, sees, send } from '../lib/portal.mjs';
import { picture } from '../lib/pictures.mjs';
import { expectAccessible, expectNoSidewaysScroll } from '../lib/checks.mjs';

const SERVICE = 'checkout-api';
const IMAGE = /\/payments\/checkout-api(:[\w.]+)?@sha256:[0-9a-f]{64}$/;

/** What one step leaves for the next. */
const so = {};

about('The main job');

test('maya signs in and is greeted by name', async (stage) => {
  so.audit = stage.world.auditEnd();
  so.before = (await stage.world.deployment('payments-staging', SERVICE)).metadata.generation;
  const page = await stage.visitor();
  await page.goto('/');
  await page.getByRole('heading', { name: 'Sign in to Acme' }).waitFor();
  await picture(page, 'sign-in');
  await signIn(page, stage.world.person('maya'));
  await page.getByRole('heading', { level: 1, name: /Maya/ }).waitFor();
  expect(new URL(page.url()).pathname === '/', 'she is back on the page she asked for', page.url());
  stage.signedIn.set('maya', await page.context().storageState());
});

test('she finds checkout-api by typing, with a typing error', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services');
  await page.keyboard.press('/');
  await page.keyboard.type('chekout');
  await page.waitForURL(/q=chekout/);
  await picture(page, 'catalogue');
  await page.getByRole('link', { name: SERVICE, exact: true }).click();
  await page.getByRole('heading', { name: SERVICE, exact: true }).waitFor();
  await picture(page, 'service');
});

test('she deploys v1.1.0 to staging, agrees to the take-over, and watches it succeed without a reload', async (stage) => {
  const page = await stage.as('maya');
  await openDeployForm(page, SERVICE, 'staging');
  await pickVersion(page, 'v1.1.0');
  await page.getByText(/^The image belongs to kubectl/).waitFor();
  const refused = page.getByRole('button', { name: 'Deploy', exact: true });
  expect(await refused.getAttribute('aria-disabled') !== 'true' || await refused.getAttribute('aria-describedby'), 'a button that is off says why');
  await agreeToTakeOver(page);
  await picture(page, 'deploy-form');
  so.first = await send(page);
  const watcher = await stage.as('omar');
  await visit(watcher, so.first);
  let reloads = 0;
  page.on('load', () => { reloads += 1; });
  await page.locator('.pods li').first().waitFor();
  await picture(page, 'rolling-out');
  await sees(page, 'Done');
  await page.getByRole('list', { name: 'Progress' }).getByText('Verified').waitFor();
  expect(reloads === 0, 'the page moved on by itself');
  await expectSame(page, watcher, 'a second browser shows the same');
  await page.reload();
  await expectSame(page, watcher, 'a reload shows the same');
  const { spec } = await stage.world.deployment('payments-staging', SERVICE);
  expect(IMAGE.test(spec.template.spec.containers[0].image), 'the cluster runs a digest', spec.template.spec.containers[0].image);
}, { seconds: 180 });

test('she reads its logs, and they go on by themselves', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, so.first);
  await page.getByRole('link', { name: 'Logs', exact: true }).first().click();
  const log = page.getByRole('log');
  await log.getByText('quote computed from cache').first().waitFor();
  const lines = () => log.evaluate((el) => el.textContent.split('\n').filter((line) => line.includes('quote computed')).length);
  const had = await lines();
  await eventually('a new line arrives', async () => (await lines()) > had, { seconds: 30 });
  await picture(page, 'logs');
});

test('the crashing tag v1.3.0 fails with one reason, its last words, and the way back', async (stage) => {
  const page = await stage.as('maya');
  await openDeployForm(page, SERVICE, 'staging');
  await pickVersion(page, 'v1.3.0');
  expect(await page.getByRole('checkbox', { name: /^Take the image field over/ }).count() === 0, 'the take-over is asked for once only');
  so.crash = await send(page);
  await sees(page, 'Failed', ROLLOUT * 1.5);
  const reasons = page.locator('main .callout.is-bad');
  expect(await reasons.count() === 1, 'one reason, not several', await reasons.allInnerTexts());
  await page.getByRole('region', { name: 'Evidence' }).getByText('FATAL config: DATABASE_URL is not set').waitFor();
  await picture(page, 'failed');
}, { seconds: 240 });

test('she rolls back with the button on that page', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, so.crash);
  await page.getByRole('link', { name: 'Roll back…' }).click();
  await page.getByRole('heading', { name: `Roll back ${SERVICE}` }).waitFor();
  expect(await page.getByRole('radio', { name: /v1\.1\.0/ }).isChecked(), 'the last good release is chosen');
  await page.getByText('The cluster accepts it').waitFor();
  so.back = await send(page, 'Roll back');
  await sees(page, 'Done');
}, { seconds: 180 });

test('what staging has not run is not offered for production', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/production/deploy?version=v1.2.0`);
  await page.getByText('Staging has not run it', { exact: true }).waitFor();
  const button = page.getByRole('button', { name: 'Request approval' });
  expect(await button.getAttribute('aria-disabled') === 'true', 'the button is off');
  const why = await button.getAttribute('aria-describedby');
  expect(why && await page.locator(`#${why}`).isVisible(), 'and says why');
});

test('she asks for v1.1.0 in production, and cannot approve it herself', async (stage) => {
  const page = await stage.as('maya');
  await openDeployForm(page, SERVICE, 'production');
  await pickVersion(page, 'v1.1.0');
  await agreeToTakeOver(page);
  await page.getByRole('textbox', { name: /^Reason/ }).fill('Quotes come from the cache: half the time to a price.');
  so.production = await send(page, 'Request approval');
  await sees(page, 'Awaiting approval');
  await page.getByText('You asked for this deploy, so somebody else has to approve it.').waitFor();
  expect(await page.getByRole('button', { name: /^Approve/ }).count() === 0, 'there is no button for her');
  await picture(page, 'awaiting-approval');
});

test('omar finds it in his inbox on his phone and approves exactly these bytes', async (stage) => {
  const page = await stage.as('omar', { phone: true });
  await visit(page, '/approvals');
  await expectNoSidewaysScroll(page, 'the inbox');
  await picture(page, 'approvals-phone');
  await page.getByRole('link', { name: /^Review: / }).first().click();
  await page.getByRole('heading', { name: `Deploy ${SERVICE} v1.1.0` }).waitFor();
  await page.getByText('half the time to a price').first().waitFor();
  await expectNoSidewaysScroll(page, 'the approval');
  await expectAccessible(page, 'the approval on a phone');
  await picture(page, 'approval-phone');
  await page.getByRole('button', { name: 'Approve production…' }).click();
  await page.getByRole('dialog', { name: 'Approve and start the rollout?' }).waitFor();
  await expectAccessible(page, 'the dialog that confirms an approval');
  await picture(page, 'confirm-phone');
  expect(await page.getByRole('button', { name: 'Approve and roll out' }).isDisabled(), 'the name has to be typed first');
  await page.keyboard.press('Escape');
  await approve(page, 'checkout-api');
  await page.getByText(/Omar Haddad approved/).first().waitFor();
});

test('it lands in production by itself, and both see the same', async (stage) => {
  const [maya, omar] = [await stage.as('maya'), await stage.as('omar', { phone: true })];
  await visit(maya, so.production);
  await visit(omar, so.production);
  await sees(maya, 'Done', ROLLOUT * 2);
  await sees(omar, 'Done');
  await picture(maya, 'production-done');
  const { spec } = await stage.world.deployment('payments-production', SERVICE);
  const staging = await stage.world.deployment('payments-staging', SERVICE);
  const digest = (it) => it.spec.template.spec.containers[0].image.split('@')[1];
  expect(digest({ spec }) === digest(staging), 'production runs the bytes that staging runs', spec.template.spec.containers[0].image);
}, { seconds: 240 });

test('the API server names maya for exactly one write per deploy', async (stage) => {
  expect(so.production && so.back, 'the steps before did not get here');
  const writes = (namespace) => stage.world.generationsSince(so.audit, namespace, SERVICE);
  const [staging, production] = [await writes('payments-staging'), await writes('payments-production')];
  for (const [list, count] of [[staging, 3], [production, 1]]) {
    expect(list.length === count, `${count} writes changed the Deployment: deploy by deploy, one each`, list);
    for (const write of list) {
      expect(write.person === 'maya', 'the write is maya\'s', write);
      expect(write.groups.includes('oidc:payments'), 'with her groups', write);
    }
  }
  expect(staging[0].generation === so.before + 1 && staging.at(-1).generation === so.before + 3, 'no generation was made by anybody else', staging);
});

test('the trail of the portal tells the same story to petra', async (stage) => {
  const page = await stage.as('petra');
  await visit(page, '/audit');
  for (const words of ['Maya Okafor', 'Omar Haddad', SERVICE]) await page.getByRole('table').getByText(words).first().waitFor();
  await picture(page, 'audit');
});

test('the home page and the list tell what happened', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/');
  await page.getByText(SERVICE).first().waitFor();
  await picture(page, 'home');
  await visit(page, '/deploys');
  for (const path of [so.first, so.crash, so.back, so.production]) {
    expect(await page.locator(`a[href="${path}"]`).count() > 0, `the list has ${path}`);
  }
  await visit(page, so.crash);
  expect(await badge(page).innerText() === 'Failed', 'a deploy that ended stays as it ended');
});
