// Browser tests: the portal in Chromium, on a real cluster. One line a test; the last line is `N passed, N failed`.
import { emptyOut, run } from './lib/runner.mjs';
import { launch, Stage } from './lib/browser.mjs';
import { World } from './lib/world.mjs';

const HELP = `node tests/e2e/run.mjs [--start] [--pictures] [WORDS…]

WORDS       only tests whose name contains one of them
--start     start a portal, its database and its identity provider even where PORTAL_URL is set
--pictures  write the README's pictures into docs/screenshots

PILOTHOUSE_STATE  the state folder of the cluster that runs (bin/cluster up), with the sample images
DATABASE_URL      a Postgres; a database of the tests' own is made there, and dropped at the end
PORTAL_URL        a portal that runs already (its database then is DATABASE_URL); absent: one is started on free ports
PLATFORM          the portal's program (default target/debug/platform)
CHROMIUM          the browser (default: the one that is installed)
`;

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
if (process.argv.includes('--help')) { console.log(HELP); process.exit(0); }
if (process.argv.includes('--start')) delete process.env.PORTAL_URL;

emptyOut();
// The order is the order of the world: what the first story did is what later tests find.
for (const story of ['main-story', 'sign-in', 'choices', 'migration', 'canary', 'glass', 'freeze', 'roles', 'hostile', 'keyboard', 'without-script', 'pages']) await import(`./stories/${story}.mjs`);

let world, browser;   // a promise: tests that run beside each other start one browser, not three
// A browser that fell over fails the tests it was in, not all that follow.
const connected = async () => {
  const mine = browser ??= launch();
  if ((await mine).isConnected()) return mine;
  if (browser === mine) browser = launch();
  return browser;
};
const close = async () => { await (await browser)?.close().catch(() => {}); await world?.close(); };
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => close().finally(() => process.exit(130)));
try {
  world = await World.open();
  await world.resetWorkloads();
  const signedIn = new Map();
  process.exitCode = await run(words, async () => new Stage(await connected(), world, signedIn));
} catch (error) {
  console.log(`FAILED to begin\n    ${error.stderr || error.message}`);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
} finally {
  await close();
}
