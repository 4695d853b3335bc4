// A new version that proves itself first, and what the pages look like when something is not as it was left.
import path from 'node:path';
import { visit } from '../lib/browser.mjs';
import { expectAccessible, expectNoSidewaysScroll } from '../lib/checks.mjs';
import { about, expect, OUT, test } from '../lib/runner.mjs';
import { agreeToTakeOver, pickVersion, ROLLOUT, sees, send } from '../lib/portal.mjs';

const SERVICE = 'payment-gateway';
// Other stories have deployed v1.1.0 by then. Not the newest: it writes so much that nobody could look at its log.
const NEW = 'v1.0.0';

about('Canary');

/** Light and dark, wide and on a phone: the same page, for the same person. */
const looksRight = async (stage, who, address, what) => {
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

test('maya picks a canary, watches its share grow, and lets it go on', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/staging/deploy`);
  await pickVersion(page, NEW);
  await page.getByRole('radio', { name: /^Canary/ }).check();
  await page.waitForURL((url) => url.searchParams.get('strategy') === 'canary');
  if (await page.getByRole('checkbox', { name: /^Take the image field over/ }).count()) await agreeToTakeOver(page);
  await page.getByText(`${SERVICE}-canary would stand beside it`).waitFor();
  await looksRight(stage, 'maya', new URL(page.url()).pathname + new URL(page.url()).search, 'deploy-form-canary');

  const address = await send(page);
  let reloads = 0;
  page.on('load', () => { reloads += 1; });
  await sees(page, 'Waits to go on');
  const rollout = page.getByRole('region', { name: 'Rollout' });
  await rollout.getByRole('heading', { name: /^Stable v/ }).waitFor();
  await rollout.getByRole('heading', { name: `Canary ${NEW}` }).getByText('50 % of the traffic').waitFor();
  await looksRight(stage, 'maya', address, 'canary');
  const still = await stage.as('maya', { script: false });
  await visit(still, address);
  await still.getByRole('button', { name: 'Stop' }).waitFor();
  await still.getByRole('button', { name: 'Go on' }).click();
  await sees(page, 'Done');
  expect(reloads === 0, 'the page moved on by itself');
  expect(await stage.world.kubectl('-n', 'payments-staging', 'get', 'deployment', `${SERVICE}-canary`, '--ignore-not-found') === '', 'the canary is gone');
}, { seconds: 240 });

test('what somebody changes with kubectl after the canary is told of on the service’s page', async (stage) => {
  const { image } = (await stage.world.deployment('payments-staging', SERVICE)).spec.template.spec.containers[0];
  const [repository] = image.split(/[:@](?!.*\/)/);
  await stage.world.kubectl('-n', 'payments-staging', 'set', 'image', `deployment/${SERVICE}`, `${SERVICE}=${repository}:v1.1.0`);
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}`);
  await page.getByRole('link', { name: `Restore ${NEW}` }).waitFor({ timeout: ROLLOUT }).catch(async () => { await page.reload(); await page.getByRole('link', { name: `Restore ${NEW}` }).waitFor(); });
  await looksRight(stage, 'maya', `/services/${SERVICE}`, 'service-drift');
  await page.getByRole('link', { name: `Restore ${NEW}` }).click();
  await page.getByRole('heading', { name: /^Roll back/ }).waitFor();
}, { seconds: 180 });
