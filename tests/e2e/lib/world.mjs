// The world the tests live in: a portal, its cluster, its database. Either one that runs (PORTAL_URL), or one that
// is started here: a database of its own, the development identity provider, and `platform serve`, on free ports.
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { eventually, expect } from './runner.mjs';

const call = promisify(execFile);
const CHECKOUT = path.resolve(import.meta.dirname, '../../..');
const PLATFORM = process.env.PLATFORM || path.join(CHECKOUT, 'target/debug/platform');

export class World {
  #stop = [];
  /** Starts the portal with a changed configuration, or starts it anew. */
  #serve;
  people = readPeople();

  /** What the environment names, or what is started now. */
  static async open() {
    const world = new World();
    world.state = need('PILOTHOUSE_STATE', 'the state folder of a cluster that runs (bin/cluster up)');
    world.database = need('DATABASE_URL', 'a Postgres: any database of the server, or the portal\'s own beside PORTAL_URL');
    world.audit = path.join(world.state, 'cluster/audit.log');
    expect(fs.existsSync(world.audit), `there is no audit log of an API server at ${world.audit}`);
    if (process.env.PORTAL_URL) world.portal = process.env.PORTAL_URL.replace(/\/$/, '');
    else await world.#start().catch(async (error) => { await world.close(); throw error; });
    return world;
  }

  /** The sample workloads as their files have them: what the tests change is made anew, by the hand of kubectl. */
  async resetWorkloads() {
    for (const namespace of ['payments-staging', 'payments-production']) {
      await this.kubectl('-n', namespace, 'delete', 'deployment/checkout-api', 'deployment/payment-gateway', 'deployment/ledger', '--ignore-not-found', '--wait');
      await this.kubectl('-n', namespace, 'delete', 'deployment,service,horizontalpodautoscaler,poddisruptionbudget', '-l', 'app.kubernetes.io/name=invoices', '--ignore-not-found', '--wait');
    }
    await this.#run(path.join(CHECKOUT, 'demo/apply'), ['--reset']);
    for (const namespace of ['payments-staging', 'payments-production']) {
      for (const name of ['checkout-api', 'payment-gateway', 'ledger']) await this.kubectl('-n', namespace, 'rollout', 'status', `deployment/${name}`, '--timeout=180s');
    }
  }

  person(username) {
    return this.people.find((person) => person.username === username);
  }

  async kubectl(...args) {
    return (await this.#run(path.join(CHECKOUT, 'bin/cluster'), ['kubectl', ...args])).stdout.trim();
  }

  async deployment(namespace, name) {
    return JSON.parse(await this.kubectl('-n', namespace, 'get', 'deployment', name, '-o', 'json'));
  }

  async sql(statement) {
    return (await this.#run(psql(), [this.database, '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set=ON_ERROR_STOP=1', '--command', statement])).stdout.trim();
  }

  /** Where the API server's audit log ends now: a place to read from later. */
  auditEnd() {
    return fs.statSync(this.audit).size;
  }

  /** Everything the API server wrote down since. */
  async auditText(offset) {
    const handle = await fs.promises.open(this.audit);
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - offset), 0, size - offset, offset);
    await handle.close();
    return buffer.toString('utf8', 0, bytesRead);
  }

  /** Writes to a Deployment that changed what it wants to be, oldest first: who, as whom, and the generation it got. */
  async generationsSince(offset, namespace, name) {
    const events = (await this.auditText(offset)).split('\n').filter((line) => line.includes(`"${name}"`) && line.includes('"deployments"')).map((line) => JSON.parse(line));
    let generation = 0;
    return events
      .filter(({ objectRef: at, responseStatus, requestURI, responseObject }) => at?.resource === 'deployments' && !at.subresource && at.namespace === namespace && at.name === name
        && responseStatus?.code < 300 && !requestURI.includes('dryRun=') && responseObject?.metadata?.generation)
      .filter(({ responseObject: { metadata } }) => { const moved = metadata.generation > generation; generation = Math.max(generation, metadata.generation); return moved; })
      .map(({ user, impersonatedUser, verb, responseObject }) => ({
        portal: user.username, person: impersonatedUser?.username, groups: impersonatedUser?.groups, verb,
        generation: responseObject.metadata.generation, image: responseObject.spec.template.spec.containers[0].image,
      }));
  }

  async close() {
    for (const stop of this.#stop.splice(0).reverse()) await stop().catch((error) => console.error(`while stopping: ${error.message}`));
  }

  async #start() {
    expect(fs.existsSync(PLATFORM), `there is no portal at ${PLATFORM}`, 'build it (cargo build --bin platform), or name one with PLATFORM');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pilothouse-e2e-'));
    this.#stop.push(async () => fs.rmSync(folder, { recursive: true, force: true }));
    await this.#makeDatabase();
    const [port, signInPort] = [await freePort(), await freePort()];
    await this.#process('identity-provider', folder, ['identity-provider', '--listen', `127.0.0.1:${signInPort}`, '--issuer', `http://localhost:${signInPort}`, '--people', path.join(CHECKOUT, 'demo/people.toml')]);
    await answers(`http://127.0.0.1:${signInPort}/.well-known/openid-configuration`);
    const configuration = await this.#configuration(port, signInPort);
    const file = path.join(folder, 'pilothouse.toml');
    let stop;
    this.#serve = async (change) => {
      await stop?.();
      fs.writeFileSync(file, change(configuration));
      stop = await this.#process('portal', folder, ['serve', '--config', file]);
      await answers(`http://127.0.0.1:${port}/readyz`);
    };
    await this.#serve((text) => text);
    this.portal = `http://localhost:${port}`;
  }

  /** Ends the portal, and starts it again with a configuration that `change` makes of the usual one. */
  async restartWith(change) {
    expect(this.#serve, 'only a portal that was started here can be restarted: leave PORTAL_URL out');
    await this.#serve(change);
  }

  /** The demo's own configuration, with a catalogue file beside the sample's that tries to do harm. */
  async #configuration(port, signInPort) {
    const registry = (await this.#run(path.join(CHECKOUT, 'bin/cluster'), ['registry-host'])).stdout.trim();
    const filled = { PORT: port, SIGN_IN_PORT: signInPort, DATABASE: this.database, STATE: this.state, CHECKOUT, REGISTRY: registry };
    return fs.readFileSync(path.join(CHECKOUT, 'demo/pilothouse.toml'), 'utf8')
      .replace(/@([A-Z_]+)@/g, (_, name) => filled[name])
      .replace(/^paths = \[(.*)\]$/m, (_, paths) => `paths = [${paths}, "${path.join(CHECKOUT, 'tests/e2e/catalogue')}"]`);
  }

  async #makeDatabase() {
    const name = `e2e_${process.pid}_${Date.now().toString(36)}`;
    const server = this.database;
    await this.sql(`create database ${name}`);
    const url = new URL(server);
    url.pathname = `/${name}`;
    this.database = url.href;
    this.#stop.push(async () => { this.database = server; await this.sql(`drop database ${name} with (force)`); });
  }

  async #process(name, folder, args) {
    const log = path.join(folder, `${name}.log`);
    const out = fs.openSync(log, 'a');
    const child = spawn(PLATFORM, args, { cwd: CHECKOUT, stdio: ['ignore', out, out] });
    fs.closeSync(out);
    const ended = new Promise((done) => child.once('exit', done));
    const stop = async () => {
      child.kill('SIGTERM');
      const patience = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(patience);
      fs.copyFileSync(log, path.resolve(import.meta.dirname, `../out/${name}.log`));
    };
    this.#stop.push(stop);
    ended.then((code) => code && console.error(`${name} ended with ${code}:\n${fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').slice(-10).join('\n') : ''}`));
    return stop;
  }

  #run(program, args) {
    return call(program, args, { cwd: CHECKOUT, maxBuffer: 64 << 20, env: { ...process.env, PILOTHOUSE_STATE: this.state } });
  }
}

/** The router's own table, from `platform routes`: [{ method, path, access }]. */
export const routes = async () => {
  const { stdout } = await call(PLATFORM, ['routes']);
  return stdout.trim().split('\n').map((line) => { const [method, path, access] = line.split(/\s+/); return { method, path, access }; });
};

const need = (name, what) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: ${what}.`);
  return value;
};

/** `[[people]]` of demo/people.toml: plain `key = "text"` lines. */
const readPeople = () => fs.readFileSync(path.join(CHECKOUT, 'demo/people.toml'), 'utf8').split('[[people]]').slice(1).map((text) =>
  Object.fromEntries([...text.matchAll(/^(\w+) = "(.*)"$/gm)].map(([, key, value]) => [key, value])));

/** Debian keeps its versions side by side; elsewhere whatever is on the PATH is the one. */
const psql = () => {
  const versions = fs.existsSync('/usr/lib/postgresql') ? fs.readdirSync('/usr/lib/postgresql').sort((a, b) => b - a) : [];
  return versions.map((version) => `/usr/lib/postgresql/${version}/bin/psql`).find((file) => fs.existsSync(file)) ?? 'psql';
};

const freePort = () => new Promise((done, fail) => {
  const server = net.createServer().once('error', fail).listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
});

const answers = (url) => eventually(`${url} answers`, () => fetch(url).then((answer) => answer.ok, () => false), { seconds: 30 });
