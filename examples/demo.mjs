// npm run demo: one photo, twice by a prompt and once by a point, and what each answer cost.
//
// Uses the gateway at SEGMIND_GATEWAY_URL (default http://localhost:8080) with the key in SEGMIND_GATEWAY_KEY or, for a gateway that
// `npm start` runs, the one in data/first-team.key. Where there is none it starts one of its own with the sandbox as its upstream,
// and stops it at the end: nothing is paid then. The pictures go to demo-output/.
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUTPUT = join(ROOT, 'demo-output')
const REQUESTS = [
  { name: 'prompt', file: 'prompt', fields: { prompt: 'the cup' } },
  { name: 'prompt, again', file: 'prompt-again', fields: { prompt: 'the cup' } },
  { name: 'point', file: 'point', fields: { coordinates: '[[300,200]]' } },
]
const LOOK_TIMEOUT_MS = 2000
const START_TIMEOUT_MS = 60_000
const ANSWER_TIMEOUT_MS = 150_000

let gateway
try {
  gateway = (await runningGateway(process.env)) ?? (await startGateway())
  await demonstrate(gateway)
} catch (error) {
  console.error(`demo: ${error.message}`)
  process.exitCode = 1
} finally {
  await gateway?.stop()
}

async function demonstrate({ url, key, whose }) {
  const photo = await readFile(join(ROOT, 'examples', 'photos', 'coffee.jpg'))
  await mkdir(OUTPUT, { recursive: true })
  console.log(`Gateway: ${url} (${whose})\n`)
  const rows = [['request', 'X-Cache', 'x-cost', 'time', 'file']]
  for (const request of REQUESTS) rows.push(await segment({ url, key, photo, ...request }))
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
  if (rows[1]?.[1] === 'HIT') console.log('\nThe first one was a HIT, too: this gateway had that answer already.')
}

/** Sends one request, keeps the picture, answers a row of the table. */
async function segment({ url, key, photo, name, file, fields }) {
  const form = new FormData()
  form.set('image', new Blob([photo], { type: 'image/jpeg' }), 'coffee.jpg')
  for (const [field, value] of Object.entries(fields)) form.set(field, value)
  const began = performance.now()
  const answer = await fetch(`${url}/segment`, {
    method: 'POST',
    headers: { 'x-api-key': key },
    body: form,
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  }).catch(error => {
    throw new Error(`${name}: ${reasonOf(error)}`)
  })
  const bytes = Buffer.from(await answer.arrayBuffer())
  const tookMs = Math.round(performance.now() - began)
  const type = answer.headers.get('content-type') ?? ''
  if (!answer.ok) throw new Error(`${name}: the gateway answered ${answer.status}: ${detailOf(bytes)}`)
  if (!type.startsWith('image/')) throw new Error(`${name}: expected a picture, got ${type || 'no content type'}`)
  const path = join(OUTPUT, `${file}.${type.slice('image/'.length).replace('jpeg', 'jpg')}`)
  await writeFile(path, bytes)
  const header = wanted => answer.headers.get(wanted) ?? '-'
  return [name, header('x-cache'), header('x-cost'), `${tookMs} ms`, relative(process.cwd(), path)]
}

/** The gateway that runs already, if there is one and we have a key that it takes. One that was named has to be usable. */
async function runningGateway(env) {
  const named = env.SEGMIND_GATEWAY_URL
  const url = (named || 'http://localhost:8080').replace(/\/+$/, '')
  const key = env.SEGMIND_GATEWAY_KEY || (await firstTeamKey())
  const problem = key ? await problemWith(url, key) : 'there is no key for it: set SEGMIND_GATEWAY_KEY'
  if (!problem) return { url, key, whose: 'it was running', stop: async () => {} }
  if (named) throw new Error(`the gateway at ${url} cannot be used: ${problem}`)
  return undefined
}

async function firstTeamKey() {
  const text = await readFile(join(ROOT, 'data', 'first-team.key'), 'utf8').catch(() => '')
  return text.trim()
}

async function problemWith(url, key) {
  try {
    const answer = await fetch(`${url}/usage`, {
      headers: { 'x-api-key': key },
      signal: AbortSignal.timeout(LOOK_TIMEOUT_MS),
    })
    const body = Buffer.from(await answer.arrayBuffer())
    return answer.ok ? undefined : `it answered ${answer.status}: ${detailOf(body)}`
  } catch (error) {
    return reasonOf(error)
  }
}

/** Starts a gateway with the sandbox on free ports and with a folder of its own; `stop` removes both. */
async function startGateway() {
  const folder = await mkdtemp(join(tmpdir(), 'segmind-gateway-demo-'))
  const { PATH, SystemRoot, TEMP } = process.env
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'main.js'), 'serve'], {
    env: { PATH, SystemRoot, TEMP, SANDBOX: 'true', HOST: '127.0.0.1', PORT: '0', METRICS_PORT: '0', DATA_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise(resolve => child.once('close', resolve))
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop().finally(() => process.exit(1)))
  try {
    const url = await addressOf(child, ended)
    const key = (await readFile(join(folder, 'first-team.key'), 'utf8')).trim()
    return { url, key, whose: 'started for this demo, with the sandbox as its upstream: nothing is paid', stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Where the gateway listens, as its log says. */
async function addressOf(child, ended) {
  const said = []
  let timer
  const listening = new Promise((resolve, reject) => {
    const hear = line => {
      said.push(line)
      const url = /"url":"([^"]+)".*"msg":"listening"/.exec(line)?.[1]
      if (url) resolve(url)
    }
    createInterface({ input: child.stdout }).on('line', hear)
    createInterface({ input: child.stderr }).on('line', hear)
    const fail = what => reject(new Error(`${what}:\n${said.slice(-20).join('\n')}`))
    timer = setTimeout(() => fail('the gateway did not start in time'), START_TIMEOUT_MS)
    ended.then(code => fail(`the gateway ended with ${code} before it listened (was it built? npm run build)`))
  })
  return listening.finally(() => clearTimeout(timer))
}

/** What a problem document says, or the beginning of whatever else came. */
function detailOf(bytes) {
  const text = bytes.toString('utf8')
  try {
    const { code, detail } = JSON.parse(text)
    return `${code}: ${detail}`
  } catch {
    return text.slice(0, 200)
  }
}

function reasonOf(error) {
  if (error.name === 'TimeoutError') return 'no answer in time'
  return error.cause?.code ?? error.cause?.message ?? error.message
}
