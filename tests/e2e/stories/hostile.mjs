// What other people write is shown, and never obeyed.
import { visit } from '../lib/browser.mjs';
import { about, eventually, expect, test } from '../lib/runner.mjs';
import { deploy, sees } from '../lib/portal.mjs';
import { expectAccessible, expectNoSidewaysScroll } from '../lib/checks.mjs';

about('Hostile content');

test('a log that tries to harm its reader is only read', async (stage) => {
  const page = await stage.as('maya');
  await deploy(page, 'ledger', 'staging', 'v1.5.0');
  await sees(page, 'Done');
  await visit(page, '/services/ledger/logs?env=staging');
  const log = page.getByRole('log');
  await log.getByText('<script>alert("log")</script><img src=x onerror=alert(1)>').first().waitFor({ timeout: 60_000 });
  const text = () => log.evaluate((el) => el.textContent);
  await eventually('lines of the hostile dozen arrive', async () => { const all = await text(); return all.includes('bad UTF-8') && all.includes('bidi: user'); }, { seconds: 45 });
  const all = await text();
  expect(!/[\u202a-\u202e\u2066-\u2069]/.test(all), 'characters that turn text around are shown, not obeyed');
  expect(!/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(all), 'so are control characters');
  const made = await log.evaluate((el) => [...el.querySelectorAll('script, img, a, iframe, [onerror], [hx-get]')].map((it) => it.outerHTML));
  expect(!made.length, 'no markup came out of a line', made);
  expect(await page.title() === 'Logs of ledger · Pilothouse', 'nor a new title', await page.title());
  await expectAccessible(page, 'hostile logs');
}, { seconds: 200 });

test('a service whose description is markup is shown as text, everywhere', async (stage) => {
  const page = await stage.as('maya');
  for (const path of ['/services?q=mischief', '/services/mischief', '/search?q=mischief']) {
    const answer = await page.request.get(path);
    const html = await answer.text();
    expect(answer.ok() && html.includes('mischief'), `${path} shows it`, answer.status());
    for (const harm of ['<img src=x', '<script>alert', '<script>document.title', '<a hx-get="/sign-out"', '<b onclick', '<i onmouseover', '<form action="//evil']) {
      expect(!html.includes(harm), `${path} does not let ${harm} through`);
    }
    if (path.startsWith('/search')) continue;
    await visit(page, path);
    await page.getByText('<img src=x onerror="alert(1)">').first().waitFor({ state: 'attached' });
    await expectNoSidewaysScroll(page, path);
  }
  const addresses = await page.locator('a').evaluateAll((links) => links.map((link) => link.protocol).filter((it) => !['http:', 'https:'].includes(it)));
  expect(!addresses.length, 'links lead to http and https only', addresses);
});

test('a link that is a script keeps its entity out, and the import says so', async (stage) => {
  const page = await stage.as('petra');
  await visit(page, '/services/mischief-by-link', 404);
  stage.forgive(/status of 404/);
  await visit(page, '/catalogue/problems');
  await page.getByText(/tests\/e2e\/catalogue\/catalog-info\.yaml|catalog-info\.yaml/).first().waitFor();
  await page.getByText(/javascript:/).first().waitFor();
});

test('what one types into search and filters comes back as text', async (stage) => {
  const page = await stage.as('maya');
  const typed = '"><img src=x onerror=alert(7)>';
  for (const path of ['/services?q=', '/search?q=', '/services/ledger/logs?env=staging&q=', '/services?team=', '/services?sort=']) {
    const html = await (await page.request.get(path + encodeURIComponent(typed))).text();
    expect(!html.includes('<img src=x'), `${path} does not give markup back`);
  }
  await visit(page, `/services?q=${encodeURIComponent(typed)}`);
  expect(await page.getByRole('searchbox', { name: 'Filter services' }).inputValue() === typed, 'the field has what was typed');
});
