// Attacks a gateway with quantity and measures what the others notice:
//
//   npm run build:test
//   node .build/test/attacks/pressure.js pipeline [--connections 1] [--requests 5000] [--path /docs/json]
//   node .build/test/attacks/pressure.js crowd [--uploads 500] [--readers 100] [--stalled 40]
//   node .build/test/attacks/pressure.js batches [--batches 80] [--selections 100]
//   node .build/test/attacks/pressure.js leavers [--callers 250]
//
// Linux only (/proc). The exit code is 1 when the gateway took more memory than its bound, when a request of another
// team was not answered, or when a purchase was made for a caller that had left.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { smallJpeg } from '../fixtures/odd-images.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { guard } from '../support/programs/guardian.js'
import type { CrowdOrders } from './crowd.js'

const MIB = 1024 ** 2
const UPLOAD_MEMORY = 512 * MIB
/** The process itself, with its caches and the buffers of the system, may take this much more. */
const MARGIN = 250 * MIB
const UPLOAD_BYTES = 20 * MIB
const RESULT_BYTES = 8 * MIB
/** Time that Segmind takes for a call. */
const SERVICE_MS = 1_000
const CLICK_EVERY_MS = 500

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    connections: { type: 'string', default: '1' },
    requests: { type: 'string', default: '5000' },
    path: { type: 'string', default: '/docs/json' },
    uploads: { type: 'string', default: '500' },
    readers: { type: 'string', default: '100' },
    stalled: { type: 'string', default: '40' },
    batches: { type: 'string', default: '80' },
    selections: { type: 'string', default: '100' },
    callers: { type: 'string', default: '250' },
  },
})
const ATTACKS = { pipeline, crowd, batches, leavers }
const attack = ATTACKS[positionals[0] as keyof typeof ATTACKS]
if (!attack) throw new Error(`name one of ${Object.keys(ATTACKS).join(', ')}`)

const dir = await mkdtemp(join(tmpdir(), 'gateway-pressure-'))
const guardian = guard(dir)
const photo = await smallJpeg()
const upstream = await startFakeSegmind()
const limits = { requests_per_minute: 1_000_000 }
const { file, keys } = await writeTeamsFile(dir, { bully: { limits }, others: { limits } })
const settings = {
  DATA_DIR: dir,
  TEAMS_FILE: file,
  SEGMIND_API_KEY: upstream.apiKey,
  SEGMIND_BASE_URL: upstream.url,
  UPLOAD_MEMORY_BYTES: `${UPLOAD_MEMORY}`,
  MAX_IMAGE_BYTES: `${UPLOAD_BYTES}`,
  MEMORY_CACHE_BYTES: '16MiB',
  SEGMIND_MAX_CONCURRENCY: '4',
}
const gateway = await startGatewayProcess(settings, { asShipped: true })
const { port } = new URL(gateway.url)
const failures: string[] = []
let peak = 0
const watching = setInterval(() => {
  peak = Math.max(peak, residentBytes())
}, 50)

await attack()
clearInterval(watching)
console.log(`peak memory ${Math.round(peak / MIB)} MiB`)
if (peak > UPLOAD_MEMORY + MARGIN) failures.push(`more than ${(UPLOAD_MEMORY + MARGIN) / MIB} MiB`)
for (const failure of failures.slice(0, 20)) console.log(`FAILED: ${failure}`)
await gateway.end('SIGKILL')
await upstream.close()
await guardian.clean()
process.exit(failures.length > 0 ? 1 : 0)

/** Asks for a public document again and again on each connection, and reads nothing. */
async function pipeline(): Promise<void> {
  const requests = `GET ${values.path} HTTP/1.1\r\nhost: a\r\n\r\n`.repeat(Number(values.requests))
  const sockets = Array.from({ length: Number(values.connections) }, () => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {}).pause()
    socket.write(requests)
    return socket
  })
  await watchOthers(() => sleep(10_000))
  for (const socket of sockets) socket.destroy()
}

/** Uploads large photos, promises others and stops, and reads nothing of large answers, all at once. */
async function crowd(): Promise<void> {
  upstream.script({ body: Buffer.concat([photo, Buffer.alloc(RESULT_BYTES - photo.length)]) })
  const large = await segment(keys.bully, 'a large result')
  upstream.script(() => ({ after: sleep(SERVICE_MS) }))
  const orders: CrowdOrders = {
    port: Number(port),
    key: keys.bully,
    resultId: large.headers.get('x-result-id') ?? '',
    photo,
    bytes: UPLOAD_BYTES,
    uploads: Number(values.uploads),
    readers: Number(values.readers),
    stalled: Number(values.stalled),
  }
  await watchOthers(async () => {
    const worker = new Worker(new URL('./crowd.js', import.meta.url), { workerData: orders })
    const [statuses] = (await once(worker, 'message')) as [Record<string, number>]
    console.log(`uploads: ${Object.entries(statuses).map(([status, count]) => `${count} × ${status}`)}`)
    await worker.terminate()
  })
}

/** Fills the queue with the batches of one team. */
async function batches(): Promise<void> {
  upstream.script(() => ({ after: sleep(SERVICE_MS) }))
  const stopping = new AbortController()
  const running = Array.from({ length: Number(values.batches) }, (_, batch) => {
    const selections = Array.from({ length: Number(values.selections) }, (_, at) => ({ prompt: `${batch}/${at}` }))
    const form = segmentForm({ selections: JSON.stringify(selections) }, photo)
    return send('/segment/batch', keys.bully, form, stopping.signal)
      .then(answer => answer.arrayBuffer())
      .catch(() => undefined)
  })
  await sleep(2_000)
  await watchOthers(() => sleep(12 * CLICK_EVERY_MS))
  stopping.abort()
  await Promise.all(running)
}

/** Sends requests whose callers hang up while they wait in the queue. */
async function leavers(): Promise<void> {
  upstream.script(() => ({ after: sleep(SERVICE_MS) }))
  const callers = Number(values.callers)
  const leaving = new AbortController()
  const sent = Array.from({ length: callers }, (_, at) =>
    send('/segment', keys.bully, segmentForm({ prompt: `${at}` }, photo), leaving.signal).catch(() => undefined),
  )
  await sleep(2 * SERVICE_MS)
  leaving.abort()
  await Promise.all(sent)
  const made = upstream.calls.length
  await watchOthers(() => sleep(5 * SERVICE_MS))
  const late = upstream.calls.filter(({ fields }) => !String(fields.prompt).startsWith('click')).length - made
  console.log(`${callers} callers left; ${made} purchases before, ${late} after`)
  // Calls that were being sent when the callers left.
  if (late > Number(settings.SEGMIND_MAX_CONCURRENCY)) failures.push(`${late} purchases for callers that had left`)
}

/** Runs `work` while another team clicks and the health is read, and prints how long both took. */
async function watchOthers(work: () => Promise<unknown>): Promise<void> {
  const clicks: Promise<number>[] = []
  const health: Promise<number>[] = []
  let isOver = false
  const clicking = (async () => {
    for (let count = 0; !isOver; count++) {
      clicks.push(timed(segment(keys.others, `click ${count}`)))
      health.push(timed(fetch(`${gateway.url}/healthz`)))
      await sleep(CLICK_EVERY_MS)
    }
  })()
  await work()
  isOver = true
  await clicking
  console.log(`clicks of another team: ${summaryOf(await Promise.all(clicks))}`)
  console.log(`health: ${summaryOf(await Promise.all(health))}`)
}

async function timed(answer: Promise<Response>): Promise<number> {
  const startedAt = performance.now()
  const problem = await answer.then(
    async response => (response.ok ? undefined : `${response.status} ${await response.text()}`),
    error => String(error.cause ?? error),
  )
  const ms = performance.now() - startedAt
  if (problem !== undefined) failures.push(`another team got ${problem} after ${Math.round(ms)} ms`)
  return ms
}

function summaryOf(times: number[]): string {
  const sorted = times.toSorted((one, other) => one - other)
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0)
  return `${times.length}, median ${at(0.5)} ms, longest ${at(1)} ms`
}

function segment(key: string, prompt: string): Promise<Response> {
  return send('/segment', key, segmentForm({ prompt }, photo))
}

function send(path: string, key: string, body: FormData, signal?: AbortSignal): Promise<Response> {
  return fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { 'x-api-key': key },
    body,
    ...(signal && { signal }),
  })
}

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) * 1024
}
