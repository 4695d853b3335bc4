// The database before the release: maya runs the declared migration and reads along; in production omar sees on his
// phone which command would run with which image, and says yes.
import { visit } from '../lib/browser.mjs';
import { expectAccessible, expectNoSidewaysScroll } from '../lib/checks.mjs';
import { about, expect, test } from '../lib/runner.mjs';
import { approve, sees, send } from '../lib/portal.mjs';

const SERVICE = 'ledger';

about('Migrations');

test('a migration runs from the page of its service, and its log is read while it is written', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, `/services/${SERVICE}`);
  await page.getByRole('region', { name: 'staging', exact: true }).getByRole('link', { name: 'Migrate…' }).click();
  await page.getByRole('heading', { name: `Migrate ${SERVICE}`, exact: true }).waitFor();
  await page.getByText('/app migrate', { exact: true }).waitFor();
  await page.getByText('The cluster accepts it').waitFor();
  let reloads = 0;
  await send(page, 'Run migration');
  page.on('load', () => { reloads += 1; });
  await page.getByRole('log').getByText('step 2 of 4: copy 12 480 rows').waitFor();
  await sees(page, 'Done');
  await page.getByRole('log').getByText('done').waitFor();
  expect(reloads === 0, 'the page moved on by itself');
  await page.reload();
  await page.getByRole('region', { name: 'Last lines of its log' }).getByText('step 4 of 4: drop column invoices.lines').waitFor();
  expect(!await page.getByRole('link', { name: 'Roll back…' }).count(), 'there is nothing to roll back to');
  await expectAccessible(page, 'a migration that is done');
}, { seconds: 120 });

test('in production it waits for omar, who sees command and image on his phone', async (stage) => {
  const [maya, omar] = [await stage.as('maya'), await stage.as('omar', { phone: true })];
  await visit(maya, `/services/${SERVICE}/production/migrate`);
  await maya.getByRole('textbox', { name: /^Reason/ }).fill('The next version reads the new table.');
  await maya.getByRole('textbox', { name: /^Type the service/ }).fill(SERVICE);
  const path = await send(maya, 'Request approval');
  await sees(maya, 'Awaiting approval');
  await visit(omar, path);
  const card = omar.getByRole('region', { name: 'What runs' });
  await card.getByText('/app migrate', { exact: true }).waitFor();
  await card.getByText(/\/payments\/ledger:v[\d.]+@sha256:[0-9a-f]{64}$/).first().waitFor();
  await expectNoSidewaysScroll(omar, 'a migration that waits, on a phone');
  await expectAccessible(omar, 'a migration that waits, on a phone');
  await approve(omar, SERVICE);
  await sees(omar, 'Done');
  await sees(maya, 'Done');
}, { seconds: 150 });
