// What people do in the portal, in the words of the portal: found by role and name, as a person would.
import { expect, eventually } from './runner.mjs';
import { visit } from './browser.mjs';

/** How long a rollout of a sample service may take on a busy machine. */
export const ROLLOUT = 90_000;

/** Goes to a service's deploy form through its page. */
export const openDeployForm = async (page, service, environment) => {
  await visit(page, `/services/${service}`);
  await page.getByRole('region', { name: environment, exact: true }).getByRole('link', { name: 'Deploy…' }).click();
  await page.getByRole('heading', { name: `Deploy ${service}`, exact: true }).waitFor();
};

/** Picks a version in the form; the checks, the dry run and the button come back for it together. */
export const pickVersion = async (page, version) => {
  await page.getByRole('radio', { name: new RegExp(`^${version}\\b`) }).check();
  await page.waitForURL((url) => url.searchParams.get('version') === version);
  await page.getByText(`${version} is sha256:`).waitFor();
};

/** Ticks the one-time take-over of the image field, where the form asks for it. */
export const agreeToTakeOver = async (page) => {
  await page.getByRole('checkbox', { name: /^Take the image field over from/ }).check();
  await page.getByText('The cluster accepts it').waitFor();
};

/** Sends the form, and gives the address of the deploy's page. */
export const send = async (page, verb = 'Deploy') => {
  await page.getByRole('button', { name: verb, exact: true }).click();
  await page.waitForURL(/\/deploys\/\d+$/);
  return new URL(page.url()).pathname;
};

/** Approves what the page shows: opens the dialog, types the name where it asks for it, and confirms. */
export const approve = async (page, service) => {
  await page.getByRole('button', { name: 'Approve production…' }).click();
  const dialog = page.getByRole('dialog', { name: /^Approve/ });
  await dialog.getByText(service).first().waitFor();
  const typed = dialog.getByRole('textbox', { name: `Type ${service} to confirm` });
  if (await typed.count()) await typed.fill(service);
  await dialog.getByRole('button', { name: /^Approve/ }).click();
};

/** The badge beside the heading of a deploy's page. */
export const badge = (page) => page.locator('main .title .badge').first();

/** Waits, without a reload, until the page says how it ended. */
export const sees = async (page, words, timeout = ROLLOUT) => {
  await badge(page).filter({ hasText: words }).waitFor({ timeout }).catch(async () => {
    const main = (await page.locator('main').innerText().catch(() => '')).slice(0, 1_200);
    throw new Error(`the page never said “${words}” within ${timeout / 1_000} s\n  it says: ${main}`);
  });
};

/** Everything at once, for tests whose subject is something else. */
export const deploy = async (page, service, environment, version, reason) => {
  await visit(page, `/services/${service}/${environment}/deploy?version=${version}`);
  const takeOver = page.getByRole('checkbox', { name: /^Take the image field over from/ });
  if (await takeOver.count()) await agreeToTakeOver(page);
  if (reason) await page.getByRole('textbox', { name: /^Reason/ }).fill(reason);
  return send(page, reason ? 'Request approval' : 'Deploy');
};

/** What a deploy's page says, without what counts the time since. */
export const told = async (page) => {
  // Without the live log: it begins when one opens the page.
  const text = await page.locator('#deploy').evaluate((el) => { const copy = el.cloneNode(true); copy.querySelector('#live-log')?.remove(); document.body.append(copy); const text = copy.innerText; copy.remove(); return text; });
  return text.replace(/\d+\s(s|min|h|d)\b( ago)?/g, 'TIME').replace(/just now/g, 'TIME').replace(/\s+/g, ' ').trim();
};

/** A deploy's page as another browser shows it is the same page. */
export const expectSame = async (one, other, what) => {
  const wanted = await told(one);
  await eventually(what, async () => (await told(other)) === (await told(one)), { seconds: 10 }).catch(async () => expect(false, what, `one: ${wanted}\n  other: ${await told(other)}`));
};
