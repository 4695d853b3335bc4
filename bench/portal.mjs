// A browser's part in the bench: signing in as a person does, and clicking Deploy.
//   node bench/portal.mjs sign-in URL USER                                  prints the session's cookie
//   node bench/portal.mjs token URL COOKIE                                   prints a token of theirs
//   node bench/portal.mjs turns URL COOKIE AUDIT-LOG ROUNDS IMAGE KUBECTL…   prints "PORTAL-MS KUBECTL-MS" a round
import { spawnSync } from 'node:child_process'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

const NAMESPACE = 'pilothouse-bench'
const [verb, base, ...rest] = process.argv.slice(2)
const now = () => performance.timeOrigin + performance.now()
const pause = ms => new Promise(done => setTimeout(done, ms))

class Browser {
  cookies = new Map()

  constructor(cookie) {
    if (cookie) this.cookies.set(...cookie.split(/=(.*)/).slice(0, 2))
  }

  async open(address, form) {
    const headers = { 'sec-fetch-site': 'same-origin', origin: base }
    if (address.startsWith(base)) headers.cookie = this.cookie()
    const answer = await fetch(address, {
      redirect: 'manual', headers, method: form ? 'POST' : 'GET', body: form && new URLSearchParams(form),
    })
    if (address.startsWith(base)) {
      for (const line of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
        if (/Max-Age=0/.test(line)) this.cookies.delete(name)
        else this.cookies.set(name, value)
      }
    }
    const to = answer.headers.get('location')
    return { status: answer.status, to: to && new URL(to, address).href, text: await answer.text() }
  }

  cookie() {
    return [...this.cookies].map(pair => pair.join('=')).join('; ')
  }
}

function hidden(html) {
  const fields = {}
  for (const [tag] of html.matchAll(/<input type="hidden"[^>]*>/g)) fields[attribute(tag, 'name')] = attribute(tag, 'value')
  return fields
}

function attribute(tag, name) {
  const value = new RegExp(`${name}="([^"]*)"`).exec(tag)?.[1] ?? ''
  return value.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)).replace(/&amp;/g, '&')
}

async function signIn(user) {
  const browser = new Browser()
  const { to } = await browser.open(`${base}/sign-in/start?next=%2F`)
  const page = await browser.open(to)
  const button = [...page.text.matchAll(/<button[^>]*name="person"[^>]*>[\s\S]*?<\/button>/g)]
    .map(([html]) => html).find(html => html.toLowerCase().includes(user))
  if (!button) throw new Error(`${user} is not among the sample people`)
  const back = await browser.open(to.split('?')[0], { ...hidden(page.text), person: attribute(button, 'value') })
  const home = await browser.open(back.to)
  if (home.status >= 400) throw new Error(`signing in ended with ${home.status}: ${home.text.slice(0, 400)}`)
  return browser.cookie()
}

// The end of the API server's audit log, from where it was when the clock started.
class Audit {
  constructor(path) {
    this.file = openSync(path, 'r')
    this.at = fstatSync(this.file).size
    this.rest = ''
  }

  // When the API server received the first write of this Deployment's image, in ms of the epoch.
  async write(name) {
    const deadline = Date.now() + 30_000
    while (Date.now() < deadline) {
      for (const line of this.lines()) {
        const event = JSON.parse(line)
        const { resource, namespace, name: named, subresource } = event.objectRef ?? {}
        const isWrite = ['patch', 'update'].includes(event.verb) && resource === 'deployments' && !subresource
        if (isWrite && namespace === NAMESPACE && named === name && !event.requestURI.includes('dryRun')
          && !event.user.username.startsWith('system:') && event.responseStatus.code === 200) {
          closeSync(this.file)
          // Date knows milliseconds only; the log has microseconds.
          const [, micros] = /\.\d{3}(\d{3})Z$/.exec(event.requestReceivedTimestamp)
          return Date.parse(event.requestReceivedTimestamp) + Number(micros) / 1000
        }
      }
      await pause(20)
    }
    throw new Error(`no write of ${name} in the audit log after 30 s`)
  }

  lines() {
    const size = fstatSync(this.file).size
    const buffer = Buffer.alloc(size - this.at)
    this.at += readSync(this.file, buffer, 0, buffer.length, this.at)
    const lines = (this.rest + buffer.toString()).split('\n')
    this.rest = lines.pop()
    return lines.filter(line => line.includes(NAMESPACE))
  }
}

async function clickDeploy(browser, log, version) {
  const address = `${base}/services/bench-portal/staging/deploy`
  const page = await browser.open(`${address}?version=${version}`)
  const form = { ...hidden(page.text), env: 'staging', version, reason: 'bench' }
  if (page.text.includes('name="take_over"')) {
    // Agreed on as a person would: the form is asked again with the box ticked.
    const agreed = await browser.open(`${address}?version=${version}&take_over=yes`)
    Object.assign(form, hidden(agreed.text), { take_over: 'yes' })
  }
  const audit = new Audit(log)
  const clicked = now()
  const answer = await browser.open(address, form)
  if (!answer.to?.includes('/deploys/')) throw new Error(`the deploy was not taken (${answer.status}): ${answer.text.replace(/<[^>]*>|\s+/g, ' ').slice(0, 800)}`)
  const took = await audit.write('bench-portal') - clicked
  const deadline = Date.now() + 60_000
  while ((await browser.open(answer.to)).text.includes('/live"')) {
    if (Date.now() > deadline) throw new Error(`${answer.to} does not end`)
    await pause(100)
  }
  return took
}

async function runKubectl(kubectl, log, image) {
  const audit = new Audit(log)
  const began = now()
  const [program, ...args] = kubectl
  const done = spawnSync(program, [...args, '-n', NAMESPACE, 'set', 'image', 'deployment/bench-kubectl', `service=${image}`], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`kubectl: ${done.stderr}`)
  return await audit.write('bench-kubectl') - began
}

async function turns(cookie, log, rounds, image, kubectl) {
  const browser = new Browser(cookie)
  // The first of each is no figure: the click takes the image field over from kubectl apply, kubectl fills its cache.
  await clickDeploy(browser, log, 'v1.1.0')
  await runKubectl(kubectl, log, `${image}:v1.2.0`)
  for (let round = 0; round < rounds; round++) {
    const version = round % 2 ? 'v1.1.0' : 'v1.0.0'
    const portal = await clickDeploy(browser, log, version)
    const byHand = await runKubectl(kubectl, log, `${image}:${version}`)
    console.log(portal.toFixed(1), byHand.toFixed(1))
  }
}

// A token that may read, made on the page of tokens.
async function makeToken(cookie) {
  const form = [['name', 'bench'], ['scope', 'read'], ['expires_days', '1']]
  const page = await new Browser(cookie).open(`${base}/settings/tokens`, form)
  const [token] = /ph_[\w-]{43}/.exec(page.text) ?? []
  if (!token) throw new Error(`no token was made (${page.status}): ${page.text.replace(/<[^>]*>|\s+/g, ' ').slice(0, 400)}`)
  return token
}

if (verb === 'sign-in') console.log(await signIn(rest[0]))
else if (verb === 'token') console.log(await makeToken(rest[0]))
else if (verb === 'turns') await turns(rest[0], rest[1], Number(rest[2]), rest[3], rest.slice(4))
else throw new Error(`what is '${verb}'?`)
