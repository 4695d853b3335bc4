// The way in and out, and who is turned away.
import { signIn, visit } from '../lib/browser.mjs';
import { about, eventually, expect, test } from '../lib/runner.mjs';

about('Signing in');

test('whoever wants a page comes back to it after signing in', async (stage) => {
  const page = await stage.visitor();
  await page.goto('/services?q=ledger&team=payments');
  expect(new URL(page.url()).pathname === '/sign-in', 'one is asked to sign in first', page.url());
  await signIn(page, stage.world.person('maya'));
  await page.getByRole('heading', { name: 'Services', level: 1 }).waitFor();
  expect(page.url().endsWith('/services?q=ledger&team=payments'), 'the filters are still in the address', page.url());
});

test('a session that expired brings one back to the page after signing in again', async (stage) => {
  const page = await stage.visitor();
  await page.goto('/approvals');
  await signIn(page, stage.world.person('nina'));
  await stage.world.sql(`update sessions set last_seen = now() - interval '3 days', created = now() - interval '3 days', expires = now() - interval '1 day' where person->>'username' = 'nina'`);
  await eventually('the session has ended', async () => { await page.goto('/deploys'); return new URL(page.url()).pathname === '/sign-in'; });   // a portal remembers for 2 s
  await page.getByText(/You were signed out after|Your sign-in has ended/).waitFor();
  await signIn(page, stage.world.person('nina'));
  await page.getByRole('heading', { name: 'Deployments', level: 1 }).waitFor();
});

test('a next= to somewhere else leads home', async (stage) => {
  for (const next of ['https://evil.example/', '//evil.example', '/\\evil.example', '%2F%2Fevil.example', 'javascript:alert(1)']) {
    const page = await stage.visitor();
    await page.goto(`/sign-in?next=${encodeURIComponent(next)}`);
    await signIn(page, stage.world.person('omar'));
    await page.getByRole('navigation', { name: 'Main' }).waitFor({ state: 'attached' });
    expect(new URL(page.url()).origin === stage.world.portal, `${next} leads nowhere else`, page.url());
  }
});

test('mallory, who claims system:masters, is turned away with a sentence', async (stage) => {
  const audit = stage.world.auditEnd();
  const page = await stage.visitor();
  await page.goto('/approvals');
  await signIn(page, stage.world.person('mallory'));
  await page.getByRole('heading', { name: 'You are not signed in' }).waitFor();
  await page.getByText(/says “system:masters”.*belong to the cluster itself/).waitFor();
  stage.forgive(/status of 403/);
  expect(!(await stage.world.auditText(audit)).includes('mallory'), 'no cluster heard of her');
  await page.goto('/deploys');
  expect(new URL(page.url()).pathname === '/sign-in', 'she has no session');
});

test('signing out ends the session for good', async (stage) => {
  const page = await stage.visitor();
  await page.goto('/approvals');
  await signIn(page, stage.world.person('petra'));
  await page.getByRole('button', { name: /your account and theme/ }).click();
  const cookies = await page.context().cookies();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  await page.context().addCookies(cookies);
  await page.goto('/deploys');
  expect(new URL(page.url()).pathname === '/sign-in', 'the old cookie opens nothing', page.url());
});

test('the theme one chooses stays, and is there before any script runs', async (stage) => {
  const page = await stage.as('maya');
  await visit(page, '/services');
  await page.getByRole('button', { name: /your account and theme/ }).click();
  await page.getByRole('button', { name: 'Dark', exact: true }).click();
  const html = await (await page.request.get('/services')).text();
  expect(/<html lang="en" data-theme="dark">/.test(html), 'the server draws it dark');
});
