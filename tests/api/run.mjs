// The API against its own document: schemathesis (from PyPI) makes up thousands of requests, good and bad, and sends
// them to a portal with a token. Nothing may break (5xx), and every answer fits the document that the portal serves.
//
//   node tests/api/run.mjs [schemathesis options…]
//
// It needs what the browser tests need: a cluster (PILOTHOUSE_STATE), a Postgres (DATABASE_URL), target/debug/platform.
import { execFileSync, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { World } from '../e2e/lib/world.mjs';

const CHECKOUT = path.resolve(import.meta.dirname, '../..');
const REQUIREMENTS = path.join(import.meta.dirname, 'requirements.txt');
const VENV = path.join(CHECKOUT, '.pilothouse/schemathesis');
const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance', 'response_schema_conformance'];
const EXAMPLES = 40;   // a place and a shape

/** Installed once for each version that requirements.txt names. */
const schemathesis = () => {
  const wanted = fs.readFileSync(REQUIREMENTS, 'utf8');
  const installed = path.join(VENV, 'requirements.txt');
  if (!fs.existsSync(installed) || fs.readFileSync(installed, 'utf8') !== wanted) {
    fs.rmSync(VENV, { recursive: true, force: true });
    execFileSync('python3', ['-m', 'venv', VENV], { stdio: 'inherit' });
    execFileSync(path.join(VENV, 'bin/pip'), ['install', '--quiet', '--requirement', REQUIREMENTS], { stdio: 'inherit' });
    fs.writeFileSync(installed, wanted);
  }
  return path.join(VENV, 'bin/schemathesis');
};

/** A token of maya's that reads, and asks for what needs no approval. */
const token = async (world) => {
  const secret = `ph_${crypto.randomBytes(32).toString('base64url')}`;
  const hash = crypto.createHash('sha256').update(secret).digest('hex');
  const start = await fetch(`${world.portal}/sign-in/start`, { redirect: 'manual' });
  const issuer = new URL(start.headers.get('location')).origin;
  const { sub, username, name } = world.person('maya');
  const person = JSON.stringify({ identity: { issuer, subject: sub }, username, name, groups: ['engineering', 'payments'] });
  await world.sql(`insert into tokens (hash, issuer, subject, person, name, scopes, created, expires)
    values ('\\x${hash}', '${issuer}', '${sub}', '${person}', 'schemathesis', array['read', 'deploy', 'approve'], now(), now() + interval '1 day')`);
  return secret;
};

const program = schemathesis();
const world = await World.open();
try {
  const { status } = spawnSync(program, ['run', `${world.portal}/api/openapi.json`,
    '--header', `Authorization: Bearer ${await token(world)}`,
    '--checks', CHECKS.join(','), '--phases', 'examples,coverage,fuzzing', '--max-examples', String(EXAMPLES),
    '--exclude-path', '/api/v1/deploys/{id}/events',   // a stream; logs stream only for who says that they take one
    '--request-timeout', '30', '--continue-on-failure', '--no-color', '--generation-deterministic',
    ...process.argv.slice(2)], { stdio: 'inherit', cwd: CHECKOUT });
  process.exitCode = status ?? 1;
} finally {
  await world.close();
}
