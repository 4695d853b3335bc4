// Three in the morning: nobody is awake to approve. Nina goes ahead, and in the morning omar looks into it.
import { visit } from '../lib/browser.mjs';
import { looksRight } from '../lib/checks.mjs';
import { about, expect, test } from '../lib/runner.mjs';
import { deploy, sees } from '../lib/portal.mjs';

const SERVICE = 'payment-gateway';

about('Broken glass');

test('nina deploys the gateway to production without an approval, and says why', async (stage) => {
  const { image } = (await stage.world.deployment('payments-production', SERVICE)).spec.template.spec.containers[0];
  const version = image.includes(':v1.1.0') ? 'v1.0.0' : 'v1.1.0';   // staging has run both by now
  const maya = await stage.as('maya');
  const waiting = await deploy(maya, SERVICE, 'production', version, 'The pool is fixed in this one');
  await looksRight(stage, 'nina', waiting, 'deployment-waiting-glass');
  const page = await stage.as('nina');
  await visit(page, waiting);
  await page.getByRole('link', { name: 'Break the glass…' }).click();
  await page.getByRole('heading', { name: `Deploy ${SERVICE}`, exact: true }).waitFor();
  const form = `/services/${SERVICE}/production/deploy?version=${version}&take_over=yes`;
  await looksRight(stage, 'nina', form, 'deploy-form-glass');
  await visit(page, form);
  const now = page.getByRole('region', { name: 'Break the glass' }).getByRole('button', { name: /without approval$/ });
  await now.click();
  await page.getByText(/Say why it can’t wait/).first().waitFor();
  stage.forgive(/status of 422/);   // the console repeats what the form answers without a reason
  await page.getByRole('textbox', { name: /^Reason/ }).fill('Its connections hang since 03:02, nobody can pay');
  const typed = page.getByRole('textbox', { name: 'Type the service’s name to confirm' });
  if (await typed.count()) await typed.fill(SERVICE);
  await now.click();
  await page.waitForURL(/\/deploys\/\d+$/);
  await page.getByText(/^Nina .* broke the glass: nobody approved this\.$/).waitFor();
  await sees(page, 'Done');
  await looksRight(stage, 'nina', new URL(page.url()).pathname, 'deployment-glass');
  await visit(maya, waiting);
  await maya.getByRole('button', { name: 'Withdraw' }).click();
  await sees(maya, 'Withdrawn');
}, { seconds: 240 });

test('omar is told at home, looks into what happened to the gateway, and signs it off', async (stage) => {
  const page = await stage.as('omar');
  await visit(page, '/');
  await looksRight(stage, 'omar', '/', 'home-glass');
  await page.getByRole('link', { name: '1 broken glass waits for your review' }).click();
  await page.getByRole('heading', { name: 'Broken glass, to be reviewed' }).waitFor();
  await looksRight(stage, 'omar', '/approvals', 'approvals-glass');
  await page.getByRole('textbox', { name: 'What you found' }).fill('The connection pool was exhausted; the limit is raised');
  await page.getByRole('button', { name: /^Sign off/ }).click();
  await page.waitForURL((url) => url.pathname === '/approvals');
  expect(await page.getByRole('button', { name: /^Sign off/ }).count() === 0, 'nothing is left to sign off');
});
