// The busiest days of the year: nothing new begins, what is asked for waits, and begins by itself when they are over.
import { visit } from '../lib/browser.mjs';
import { looksRight } from '../lib/checks.mjs';
import { about, test } from '../lib/runner.mjs';
import { ROLLOUT, agreeToTakeOver, sees, send } from '../lib/portal.mjs';

const SERVICE = 'payment-gateway';
const FREEZE = `[[environment.freeze]]
name = "The busiest days of the year"
from = "2020-01-01 00:00"
to = "2999-01-04 08:00"
time_zone = "Europe/Berlin"
`;
const UNTIL = 'Fri 4 Jan 2999, 08:00 Europe/Berlin';
// What a freeze holds is looked at again only now and then.
const LOOK = 30_000;
const AFTER_STAGING = '[[environment]]\nname = "production"';

about('Freeze');

test('maya deploys to staging in a freeze, is told until when it waits, and it starts when the freeze is taken out', async (stage) => {
  let address;
  try {
    await stage.world.restartWith((text) => text.replace(AFTER_STAGING, `${FREEZE}\n${AFTER_STAGING}`));
    const page = await stage.as('maya');
    const form = `/services/${SERVICE}/staging/deploy?version=v1.1.0`;
    await visit(page, form);
    await page.getByText(`Frozen until ${UNTIL}`).first().waitFor();
    await looksRight(stage, 'maya', form, 'deploy-form-frozen');
    if (await page.getByRole('checkbox', { name: /^Take the image field over/ }).count()) await agreeToTakeOver(page);
    address = await send(page);
    await page.getByText(`Staging is frozen until ${UNTIL}`).first().waitFor();
    await looksRight(stage, 'maya', address, 'deployment-frozen');
    await page.context().close();   // its stream would break off with the portal
  } finally {
    await stage.world.restartWith((text) => text);
  }
  const page = await stage.as('maya');
  await visit(page, address);
  await sees(page, 'Done', ROLLOUT + LOOK);
}, { seconds: 300 });
