// Every page there is, by the router's own table: light and dark, wide and on a phone, by keyboard, by weight.
// A route that this file does not know fails; so does an entry whose route is gone.
import path from 'node:path';
import { visit } from '../lib/browser.mjs';
import { about, expect, OUT, test } from '../lib/runner.mjs';
import { expectAccessible, expectKeyboardReach, expectNoSidewaysScroll, weigh } from '../lib/checks.mjs';
import { routes } from '../lib/world.mjs';

const FIRST_LOAD = 100_000;   // bytes over the wire

const deployThat = (state, other = '') => (world) => world.sql(`select id from deploys where state = '${state}' ${other} order by id desc limit 1`).then((id) => `/deploys/${id}`);

/** A failed one as it would stand there had the environment put back what ran before. */
const deployPutBack = (state) => async (world) => {
  const more = state === 'rollback_failed' ? { failure: 'Quota team leaves room for 0 more pods.' } : {};
  const id = await world.sql(`insert into deploys (service, team, environment, cluster, namespace, action, requester, reason, policy, digest, shown, checks, progress, requested, ended, state, detail)
    select service, team, environment, cluster, namespace, action, requester, reason, policy, digest, shown, checks, progress, requested, ended, '${state}',
      detail || jsonb_build_object('state', '${state}', 'to', action - 'kind') || '${JSON.stringify(more)}'
    from deploys where state = 'failed' and action ->> 'kind' = 'deploy' order by id desc limit 1 returning id`);
  return `/deploys/${id}`;
};

/** One that maya made, put there as the settings page does. */
const tokenOfMaya = async (world) => {
  const { sub } = world.person('maya');
  const id = await world.sql(`insert into tokens (hash, issuer, subject, person, name, scopes, created, expires)
    select sha256(convert_to(gen_random_uuid()::text, 'UTF8')), issuer, subject, person, 'laptop', array['read', 'deploy'], now(), now() + interval '30 days'
    from sessions where subject = '${sub}' limit 1 returning id`);
  return `/settings/tokens/${id}/revocation`;
};

/** An access request that noor made, in a state of her choice. */
const accessThat = (state, detail) => async (world) => {
  const { sub } = world.person('noor');
  const filled = JSON.stringify({ state, ...detail });
  const id = await world.sql(`insert into grants (requester, issuer, subject, place, terms, seconds, reason, contact, digest, state, detail, requested, ended, wake)
    select person, issuer, subject, jsonb_build_object('team', 'payments', 'environment', 'staging', 'production', false, 'cluster', 'demo', 'namespace', 'payments-staging'),
      jsonb_build_object('role', 'edit', 'cluster_role', 'edit', 'approvers', jsonb_build_array('payments-managers'), 'longest_seconds', 28800), 28800,
      'The certificate changes tonight, and pods may need a restart.', '@noor', 'seen', '${state}', '${filled.replaceAll("'", "''")}', now(), case when '${state}' = 'ended' then now() end, now() + interval '1 hour'
    from sessions where subject = '${sub}' limit 1
    on conflict do nothing returning id`) || await world.sql(`select max(id) from grants where state = '${state}'`);
  return `/access/${id}`;
};

/** route → who looks, and the pages that show it. `status` where it is meant to refuse. */
const PAGES = {
  '/': [['home', 'maya', '/'], ['home-empty', 'noor', '/']],
  '/sign-in': [['sign-in', null, '/sign-in?next=%2Fservices']],
  '/signed-out': [['signed-out', null, '/signed-out']],
  '/services': [['services', 'maya', '/services'], ['services-none', 'maya', '/services?q=zzzzzz'], ['services-filtered', 'maya', '/services?team=payments&q=api']],
  '/services/{name}': [['service', 'maya', '/services/checkout-api'], ['service-locked', 'maya', '/services/storefront-web'], ['service-ambiguous', 'maya', '/services/pricing'], ['service-hostile', 'maya', '/services/mischief'], ['service-missing', 'maya', '/services/chekout-api', 404]],
  '/services/{name}/deploys': [['service-deploys', 'maya', '/services/checkout-api/deploys']],
  '/services/{name}/logs': [['logs', 'maya', '/services/checkout-api/logs?env=staging'], ['logs-hostile', 'maya', '/services/ledger/logs?env=staging']],
  '/services/{name}/{environment}/deploy': [['deploy-form', 'maya', '/services/checkout-api/staging/deploy?version=v1.2.0'], ['deploy-form-production', 'maya', '/services/checkout-api/production/deploy?version=v1.2.0'], ['deploy-form-refused', 'maya', '/services/storefront-web/staging/deploy?version=v1.1.0'], ['deploy-form-managed', 'maya', '/services/invoices/staging/deploy?version=v1.0.0']],
  '/services/{name}/{environment}/restart': [['restart', 'maya', '/services/checkout-api/staging/restart']],
  '/services/{name}/{environment}/scale': [['scale', 'maya', '/services/checkout-api/production/scale?replicas=4']],
  '/services/{name}/{environment}/migrate': [['migrate', 'maya', '/services/ledger/staging/migrate'], ['migrate-production', 'maya', '/services/ledger/production/migrate'], ['migrate-undeclared', 'maya', '/services/checkout-api/staging/migrate']],
  '/services/{name}/{environment}/rollback': [['rollback', 'maya', '/services/checkout-api/production/rollback'], ['rollback-staging', 'maya', '/services/payment-gateway/staging/rollback']],
  '/deploys': [['deploys', 'maya', '/deploys'], ['deploys-none', 'noor', '/deploys']],
  '/deploys/{id}': [['deploy-done', 'maya', deployThat('succeeded')], ['deploy-failed', 'maya', deployThat('failed')], ['deploy-rolled-back', 'maya', deployPutBack('rolled_back')], ['deploy-rollback-failed', 'maya', deployPutBack('rollback_failed')], ['deploy-withdrawn', 'maya', deployThat('cancelled')], ['deploy-rejected', 'omar', deployThat('rejected')], ['migration-done', 'maya', deployThat('succeeded', "and action ->> 'kind' = 'migrate'")], ['deploy-missing', 'maya', '/deploys/999999', 404]],
  '/approvals': [['approvals', 'omar', '/approvals'], ['approvals-none', 'noor', '/approvals']],
  '/access': [['access-none', 'noor', '/access'], ['access', 'omar', '/access']],
  '/access/new': [['access-new', 'noor', '/access/new?service=checkout-api&environment=staging'], ['access-new-open', 'noor', '/access/new']],
  '/access/{id}': [['access-waiting', 'omar', accessThat('requested', { expires: '2100-01-01T00:00:00Z' })], ['access-ended', 'noor', accessThat('ended', { why: { end: 'early', by: 'Omar Haddad' } })], ['access-missing', 'maya', '/access/999999', 404]],
  '/audit': [['audit', 'petra', '/audit'], ['audit-missing', 'maya', '/audit', 404]],
  '/catalogue/problems': [['catalogue-problems', 'petra', '/catalogue/problems']],
  '/settings/tokens': [['tokens', 'maya', '/settings/tokens']],
  '/settings/tokens/{id}/revocation': [['token-revocation', 'maya', tokenOfMaya], ['token-missing', 'maya', '/settings/tokens/0/revocation', 404]],
  '/device': [['device', 'maya', '/device'], ['device-unknown', 'maya', '/device?user_code=BCDF-GHJK']],
  '/authorize': [['authorize', 'maya', `/authorize?response_type=code&client_id=platform-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&code_challenge=${'A'.repeat(43)}&code_challenge_method=S256&state=s&host=laptop`], ['authorize-odd', 'maya', '/authorize', 400]],
  '/api': [['api-reference', 'maya', '/api']],
  '/catalogue/{kind}/{namespace}/{name}': [['catalogue-system', 'maya', '/catalogue/system/default/checkout']],
};

/** What GET also answers, and why it is no page of its own. */
const NOT_PAGES = {
  '/static/{version}/{*path}': 'files of pages',
  '/healthz': 'for probes', '/readyz': 'for probes', '/metrics': 'for Prometheus',
  '/sign-in/start': 'leads to the provider', '/auth/callback': 'leads back from it',
  '/api/openapi.json': 'a file', '/search': 'fills the palette', '/audit.csv': 'a file', '/audit.json': 'a file',
  '/deploys/{id}/live': 'a stream', '/deploys/{id}/log': 'a file', '/deploys/{id}/log/stream': 'a stream', '/services/{name}/live': 'a stream',
  '/services/{name}/logs/stream': 'a stream', '/services/{name}/logs/download': 'a file',
};

const all = Object.values(PAGES).flat();

about('Every page');

test('the suite knows every route of the router', async () => {
  const table = (await routes()).filter(({ method, path }) => method === 'GET' && !path.startsWith('/api/v1/')).map((route) => route.path);
  const known = [...Object.keys(PAGES), ...Object.keys(NOT_PAGES)];
  expect(table.length > 10, 'platform routes lists the routes', table);
  expect(table.every((route) => known.includes(route)), 'each route has its row in stories/pages.mjs', table.filter((route) => !known.includes(route)));
  expect(known.every((route) => table.includes(route)), 'each row has its route', known.filter((route) => !table.includes(route)));
});

for (const [name, who, where, status = 200] of all) {
  const open = async (stage, options) => {
    const page = who ? await stage.as(who, options) : await stage.visitor(options);
    const address = typeof where === 'string' ? where : await where(stage.world);
    return { page, address };
  };

  test(`${name}, wide and on a phone, light and dark`, async (stage) => {
    for (const phone of [false, true]) {
      const { page, address } = await open(stage, { phone });
      await visit(page, address, status);
      if (status !== 200) stage.forgive(new RegExp(`status of ${status}`));
      await page.evaluate(() => document.fonts.ready.then(() => {}));
      for (const colorScheme of ['light', 'dark']) {
        const look = `${name}${phone ? '-phone' : ''}-${colorScheme}`;
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: path.join(OUT, `${look}.png`), fullPage: true, animations: 'disabled' });
        await expectAccessible(page, look);
      }
      await expectNoSidewaysScroll(page, `${name}${phone ? ' on a phone' : ''}`);
      await page.context().close();
    }
  }, { seconds: 120, looks: true });

  test(`${name} is light, and works by keyboard alone`, async (stage) => {
    const { page, address } = await open(stage);
    const { bytes, list } = await weigh(page, address);
    if (status !== 200) stage.forgive(new RegExp(`status of ${status}`));
    expect(bytes < FIRST_LOAD, `${name} weighs ${bytes} bytes on the first visit, and may weigh ${FIRST_LOAD}`, list.slice(0, 12).map((part) => `${part.bytes} ${new URL(part.url).pathname}`));
    await expectKeyboardReach(page, name);
  }, { seconds: 90, looks: true });

  test(`${name} says the same without JavaScript`, async (stage) => {
    const { page, address } = await open(stage, { script: false });
    await visit(page, address, status);
    if (status !== 200) stage.forgive(new RegExp(`status of ${status}`));
    expect((await page.locator('h1').first().innerText()).length > 0, 'it has its heading');
    expect(await page.locator('main').innerText() !== '', 'and its content');
  }, { looks: true });
}
