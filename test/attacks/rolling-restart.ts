// Restarts three gateways one after another, behind a real load balancer and under constant load:
//
//   npm run build:test
//   node .build/test/attacks/rolling-restart.js --balancer nginx --runs 5 [--clients 24] [--delay 5000]
//
// Run it in the repository's folder. It needs nginx or haproxy, and a redis-server. It prints a line for each run. The
// exit code is 1 after a failed request, and after a result that was bought twice.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { smallJpeg } from '../fixtures/odd-images.js'
import { type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { freePort } from '../support/programs/free-port.js'
import { type GuardedProcess, spawnGuarded } from '../support/programs/guardian.js'
import { startRedis } from '../support/programs/redis-server.js'

const REPLICAS = 3
/** Longest time of a purchase at the upstream. */
const PURCHASE_MS = 2_000
/** Load before the first restart, between restarts and after the last one. */
const STEADY_MS = 1_500
/** Pause of a client after a response. */
const PAUSE_MS = 10

/** Configuration in docker/, and the command that runs it in the foreground. */
const BALANCERS: Readonly<Record<string, { file: string; command(file: string, dir: string): [string, string[]] }>> = {
  nginx: {
    file: 'docker/nginx.conf',
    command: (file, dir) => ['nginx', ['-c', file, '-e', 'stderr', '-g', `daemon off; pid ${join(dir, 'nginx.pid')};`]],
  },
  haproxy: { file: 'docker/haproxy.cfg', command: file => ['haproxy', ['-db', '-f', file]] },
}

/** Results of the requests of one run. `failures` are lines for people. */
interface Tally {
  hits: number
  misses: number
  failures: string[]
  /** Durations of hits, in milliseconds. */
  hitMs: number[]
}

const { values } = parseArgs({
  options: {
    balancer: { type: 'string', default: 'nginx' },
    runs: { type: 'string', default: '5' },
    clients: { type: 'string', default: '24' },
    delay: { type: 'string', default: '5000' },
  },
})
const balancer = BALANCERS[values.balancer]
if (!balancer) throw new Error(`--balancer takes ${Object.keys(BALANCERS).join(' or ')}`)

const dir = await mkdtemp(join(tmpdir(), 'rolling-restart-'))
const upstream = await startFakeSegmind()
upstream.script(() => ({ after: sleep(Math.random() * PURCHASE_MS) }))
const redis = await startRedis()
const { file, keys } = await writeTeamsFile(dir, { vision: { limits: { requests_per_minute: 1_000_000 } } })
const starts = await prepareReplicas()
const gateways = await Promise.all(starts.map(start => start()))
const { url, process: front } = await startBalancer()
let hasFailed = false
for (let run = 1; run <= Number(values.runs); run++) hasFailed = !(await restartAll(run)) || hasFailed
await front.end('SIGTERM')
await Promise.all(gateways.map(gateway => gateway.end('SIGTERM')))
await Promise.all([redis.close(), upstream.close(), rm(dir, { recursive: true })])
process.exitCode = hasFailed ? 1 : 0

/** Returns a function for each replica that starts it on its port. */
async function prepareReplicas(): Promise<(() => Promise<GatewayProcess>)[]> {
  const ports = await Promise.all(Array.from({ length: REPLICAS }, freePort))
  return ports.map(port => () => {
    return startGatewayProcess({
      PORT: `${port}`,
      REDIS_URL: redis.url,
      DATA_DIR: join(dir, `${port}`),
      TEAMS_FILE: file,
      SEGMIND_API_KEY: upstream.apiKey,
      SEGMIND_BASE_URL: upstream.url,
      SEGMIND_MAX_CONCURRENCY: '64',
      TRUST_PROXY: '1',
      SHUTDOWN_DELAY_MS: values.delay,
    })
  })
}

/** Starts the balancer with the configuration of docker/, on a free port and in front of the replicas. */
async function startBalancer(): Promise<{ url: string; process: GuardedProcess }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const addresses = gateways.map(gateway => new URL(gateway.url).host)
  const text = (await readFile(balancer?.file ?? '', 'utf8'))
    .replace(/^( *)(listen|bind) .*80(;?)$/m, `$1$2 127.0.0.1:${port}$3`)
    .replace(/\bgateway-(\d):8080/g, (_, replica) => addresses[replica - 1] ?? '')
    .replace('access_log /dev/stdout', 'access_log off')
  const file = join(dir, 'balancer.conf')
  await writeFile(file, text)
  const [program, args] = balancer?.command(file, dir) ?? ['', []]
  const running = await spawnGuarded(program, args, { stdio: 'ignore' })
  await eventually('the balancer never answered', () =>
    fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
  return { url, process: running }
}

/** Restarts every replica under load. Resolves with true if nothing failed and nothing was bought twice. */
async function restartAll(run: number): Promise<boolean> {
  const tally: Tally = { hits: 0, misses: 0, failures: [], hitMs: [] }
  const stopping = new AbortController()
  const clients = Array.from({ length: Number(values.clients) }, (_, client) =>
    load(`${run}/${client}`, tally, stopping.signal),
  )
  const startedAt = performance.now()
  await sleep(STEADY_MS)
  for (const [index, start] of starts.entries()) {
    const code = await gateways[index]?.end('SIGTERM')
    if (code !== 0) tally.failures.push(`gateway ${index + 1} ended with ${code}`)
    gateways[index] = await start()
    await sleep(STEADY_MS)
  }
  stopping.abort()
  await Promise.all(clients)
  for (const prompt of boughtTwice(upstream)) tally.failures.push(`bought twice: ${prompt}`)
  report(run, tally, performance.now() - startedAt)
  return tally.failures.length === 0
}

/** Sends one request after another on a kept connection: three hits, then a miss. */
async function load(client: string, tally: Tally, signal: AbortSignal): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let count = 0; !signal.aborted; count++) {
    const isMiss = count % 4 === 3
    const startedAt = performance.now()
    const problem = await segment(agent, isMiss ? `${client}/${count}` : 'the same').catch(error => String(error))
    if (problem !== undefined)
      tally.failures.push(`${isMiss ? 'miss' : 'hit'} after ${since(startedAt)} ms: ${problem}`)
    else if (isMiss) tally.misses++
    else tally.hitMs.push(since(startedAt)) && tally.hits++
    await sleep(PAUSE_MS)
  }
  agent.destroy()
}

/** Resolves with the problem of a request that did not succeed. */
async function segment(agent: Agent, prompt: string): Promise<string | undefined> {
  const form = new Response(segmentForm({ prompt }, await smallJpeg()))
  const body = Buffer.from(await form.arrayBuffer())
  const headers = {
    'x-api-key': keys.vision,
    'content-type': form.headers.get('content-type') ?? '',
    'content-length': body.length,
  }
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/segment`, { method: 'POST', agent, headers }, async answer => {
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk)
      resolve(
        answer.statusCode === 200 ? undefined : `${answer.statusCode} ${Buffer.concat(chunks).toString('latin1')}`,
      )
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}

function boughtTwice({ calls }: FakeSegmind): string[] {
  const prompts = calls.map(({ fields }) => String(fields.prompt))
  return prompts.filter((prompt, index) => prompts.indexOf(prompt) !== index)
}

function report(run: number, { hits, misses, failures, hitMs }: Tally, ms: number): void {
  const sorted = hitMs.sort((one, other) => one - other)
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]
  console.log(
    `run ${run}: ${Math.round(ms / 1000)} s, ${hits} hits (median ${at(0.5)} ms, 99 % ${at(0.99)} ms, ` +
      `longest ${at(1)} ms), ${misses} misses, ${failures.length} failed`,
  )
  for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`)
}
