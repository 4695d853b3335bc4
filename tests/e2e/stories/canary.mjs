// A new version that proves itself first, and what the pages look like when something is not as it was left.
import { visit } from '../lib/browser.mjs';
import { looksRight } from '../lib/checks.mjs';
import { about, expect, test } from '../lib/runner.mjs';
import { agreeToTakeOver, pickVersion, ROLLOUT, sees, send } from '../lib/portal.mjs';

const SERVICE = 'payment-gateway';
// Other stories have deployed v1.1.0 by then. Not the newest: it writes so much that nobody could look at its log.
const NEW = 'v1.0.0';

about('Canary and blue-green');

test('maya picks a canary for the gateway, watches its share grow, and lets it go on', async (stage) => {
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

test('green gets all the traffic of the gateway while blue stands by', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}/staging/deploy?version=v1.1.0&strategy=blue-green`);
  const takeOver = page.getByRole('checkbox', { name: /^Take the image field over/ });
  if (await takeOver.count()) await agreeToTakeOver(page);
  await page.getByText(`${SERVICE}-green would stand beside it`).waitFor();
  const address = await send(page);
  const rollout = page.getByRole('region', { name: 'Rollout' });
  await rollout.getByRole('heading', { name: /^Green v1\.1\.0/ }).getByText('100 % of the traffic').waitFor({ timeout: ROLLOUT });
  await rollout.getByRole('heading', { name: /^Blue v1\.0\.0/ }).getByText('0 % of the traffic').waitFor();
  await looksRight(stage, 'maya', address, 'blue-green');
  await sees(page, 'Done');
  expect(await stage.world.kubectl('-n', 'payments-staging', 'get', 'deployment', `${SERVICE}-green`, '--ignore-not-found') === '', 'green is gone');
}, { seconds: 240 });

test('what somebody changes on the gateway with kubectl is told of on the service’s page', async (stage) => {
  const { image } = (await stage.world.deployment('payments-staging', SERVICE)).spec.template.spec.containers[0];
  const [repository] = image.split(/[:@](?!.*\/)/);
  await stage.world.kubectl('-n', 'payments-staging', 'set', 'image', `deployment/${SERVICE}`, `${SERVICE}=${repository}:v1.0.0`);
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}`);
  await page.getByRole('link', { name: 'Restore v1.1.0' }).waitFor({ timeout: ROLLOUT }).catch(async () => { await page.reload(); await page.getByRole('link', { name: 'Restore v1.1.0' }).waitFor(); });
  await looksRight(stage, 'maya', `/services/${SERVICE}`, 'service-drift');
  await page.getByRole('link', { name: 'Restore v1.1.0' }).click();
  await page.getByRole('heading', { name: /^Roll back/ }).waitFor();
}, { seconds: 180 });
