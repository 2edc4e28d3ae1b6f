// npm run demo: segments one photo by a prompt (twice), as a mask, as a cutout and by a point, and
// prints the cost of each result.
//
// Uses the gateway at SEGMIND_GATEWAY_URL (default http://localhost:8080, or the port in PORT) with
// the key in SEGMIND_GATEWAY_KEY, or the one in data/first-team.key for a gateway that `npm start`
// runs. If none runs, it starts one with the sandbox, where nothing is paid, and stops it at the
// end. The pictures go to demo-output/.
import { spawn } from 'node:child_process'
import { openAsBlob } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createClient } from '../dist/client/index.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUTPUT = join(ROOT, 'demo-output')
const REQUESTS = [
  { name: 'prompt', file: 'prompt', selection: { prompt: 'the cup' } },
  { name: 'prompt, again', file: 'prompt-again', selection: { prompt: 'the cup' } },
  { name: 'mask', file: 'mask', selection: { prompt: 'the cup', output: 'mask' } },
  { name: 'cutout', file: 'cutout', selection: { prompt: 'the cup', output: 'cutout' } },
  { name: 'point', file: 'point', selection: { coordinates: [[300, 200]] } },
]
const PROBE_TIMEOUT_MS = 2000
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

async function demonstrate({ url, key, origin }) {
  const client = createClient({ url, key })
  const photo = await openAsBlob(join(ROOT, 'examples', 'photos', 'coffee.jpg'))
  await mkdir(OUTPUT, { recursive: true })
  console.log(`Gateway: ${url} (${origin})\n`)
  const rows = [['request', 'X-Cache', 'x-cost', 'time', 'sent', 'file']]
  for (const request of REQUESTS) rows.push(await segment({ client, photo, ...request }))
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
  if (rows[1]?.[1] === 'HIT') console.log('\nThe first request was a HIT too: the gateway already had this result.')
}

/** Sends one request, saves the picture and returns a row of the table. */
async function segment({ client, photo, name, file, selection }) {
  const startedAt = performance.now()
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS)
  const answer = await client.segment(photo, selection, { signal }).catch(error => {
    throw new Error(`${name}: ${reasonOf(error)}`)
  })
  const tookMs = Math.round(performance.now() - startedAt)
  const path = join(OUTPUT, `${file}.${answer.contentType.slice('image/'.length).replace('jpeg', 'jpg')}`)
  await writeFile(path, answer.bytes)
  const { cache, cost, isUploaded } = answer
  const sent = isUploaded ? 'the photo' : 'its id'
  return [name, cache.toUpperCase(), asDecimal(cost), `${tookMs} ms`, sent, relative(process.cwd(), path)]
}

/** Formats credits without an exponent, down to 0.000000001. */
function asDecimal(credits) {
  return credits.toFixed(9).replace(/\.?0+$/, '')
}

/**
 * Returns the running gateway if there is one and its key is valid. Throws if the one in
 * SEGMIND_GATEWAY_URL cannot be used.
 */
async function runningGateway(env) {
  const named = env.SEGMIND_GATEWAY_URL
  const url = (named || `http://localhost:${env.PORT || 8080}`).replace(/\/+$/, '')
  const key = env.SEGMIND_GATEWAY_KEY || (await firstTeamKey())
  const problem = key ? await problemWith(url, key) : 'SEGMIND_GATEWAY_KEY is not set'
  if (!problem) return { url, key, origin: 'already running', stop: async () => {} }
  if (named) throw new Error(`the gateway at ${url} cannot be used: ${problem}`)
  return undefined
}

async function firstTeamKey() {
  const text = await readFile(join(ROOT, 'data', 'first-team.key'), 'utf8').catch(() => '')
  return text.trim()
}

async function problemWith(url, key) {
  try {
    await createClient({ url, key, attempts: 1 }).usage(undefined, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

/**
 * Starts a gateway with the sandbox, on free ports and in a temporary folder. `stop` removes both.
 */
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
    return { url, key, origin: 'started for this demo with the sandbox: nothing is paid', stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Returns the URL of the gateway, from its log. */
async function addressOf(child, ended) {
  const output = []
  let timer
  const listening = new Promise((resolve, reject) => {
    const readLine = line => {
      output.push(line)
      const url = /"url":"([^"]+)".*"msg":"listening"/.exec(line)?.[1]
      if (url) resolve(url)
    }
    createInterface({ input: child.stdout }).on('line', readLine)
    createInterface({ input: child.stderr }).on('line', readLine)
    const fail = reason => reject(new Error(`${reason}:\n${output.slice(-20).join('\n')}`))
    timer = setTimeout(() => fail('the gateway did not start in time'), START_TIMEOUT_MS)
    ended.then(code => fail(`the gateway exited with ${code} during its start; if it is not built, run npm run build`))
  })
  return listening.finally(() => clearTimeout(timer))
}

function reasonOf(error) {
  if (error.name === 'TimeoutError') return 'timeout'
  if (error.status) return `the gateway responded with ${error.status}: ${error.code}: ${error.message}`
  return (
    error.cause?.cause?.code ??
    error.cause?.cause?.message ??
    error.cause?.code ??
    error.cause?.message ??
    error.message
  )
}
