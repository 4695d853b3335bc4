// The smallest runner that tells a story: tests run in the order they are written, one line each, and the last
// line is `N passed, N failed`. Tests that only look may run beside each other. A test that failed says why and where
// the picture of its page is.
import fs from 'node:fs';
import path from 'node:path';

export const OUT = path.resolve(import.meta.dirname, '../out');

/** One draws while another waits; more only queue for two cores. */
const AT_ONCE = 3;

const tests = [];
let chapter = '';

/** Names what the following tests are about; it stands before each of their names. */
export const about = (name) => { chapter = name; };

/**
 * `body` gets a stage (see browser.mjs) to open browsers on. `seconds` is how long all of it may take. `looks`: it changes
 * nothing in the world and waits for nothing in it, so others like it may run at the same time.
 */
export const test = (name, body, { seconds = 60, looks = false } = {}) => tests.push({ name: `${chapter}: ${name}`, body, seconds, looks });

/** What does not hold is said in a sentence, with what was seen. */
export const expect = (holds, sentence, seen) => {
  if (!holds) throw new Error(seen === undefined ? sentence : `${sentence}\n  seen: ${show(seen)}`);
};

const show = (seen) => {
  const text = typeof seen === 'string' ? seen : JSON.stringify(seen, null, 1);
  return text.length > 1_500 ? `${text.slice(0, 1_500)} …` : text;
};

/** Asks again until `question` answers something, and gives that answer. For what has no event to wait for. */
export const eventually = async (what, question, { seconds = 20 } = {}) => {
  const end = Date.now() + seconds * 1_000;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
};

/** Runs the tests whose names contain one of `words` (all of them without words). Gives the exit code. */
export const run = async (words, openStage) => {
  const chosen = tests.filter(({ name }) => !words.length || words.some((word) => name.includes(word)));
  let failed = 0, next = 0;
  const worker = async (mayTake) => {
    while (next < chosen.length && mayTake(chosen[next])) {
      const n = next++;
      if (!await passes(chosen[n], n, openStage)) failed += 1;
    }
  };
  while (next < chosen.length) {
    if (chosen[next].looks) await Promise.all(Array.from({ length: AT_ONCE }, () => worker(({ looks }) => looks)));
    else await worker(({ looks }) => !looks);
  }
  if (!chosen.length) console.log(`No test's name contains ${words.join(' or ')}.`);
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  return failed || !chosen.length ? 1 : 0;
};

const passes = async ({ name, body, seconds }, n, openStage) => {
  const stage = await openStage();
  const began = Date.now();
  try {
    await inTime(seconds, body(stage));
    stage.expectNoComplaints();
    console.log(`ok ${name} (${((Date.now() - began) / 1_000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    const why = String(error?.message ?? error).replace(/\u001b\[\d+m/g, '').trim();
    console.log(`FAILED ${name}\n${why.replace(/^/gm, '    ')}`);
    for (const picture of await stage.pictures(path.join(OUT, `failed-${n + 1}`))) console.log(`    picture: ${picture}`);
    return false;
  } finally {
    await stage.close();
  }
};

const inTime = (seconds, work) => {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`took longer than ${seconds} s`)), seconds * 1_000); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

export const emptyOut = () => { fs.rmSync(OUT, { recursive: true, force: true }); fs.mkdirSync(OUT, { recursive: true }); };
