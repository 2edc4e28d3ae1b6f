// Runs two gateways on one Redis under a mixed load with faults, and checks that memory and handles stay flat and that
// the ledger has each call that the upstream billed, exactly once:
//
//   npm run build:test
//   node .build/bench/soak.js [--minutes 30] [--clients 12]
//
// Linux only (/proc). It needs a redis-server. The exit code is 1 when a check fails.
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { LedgerEntry } from '../src/contracts/ledger.js'
import { openStore } from '../src/store/open-store.js'
import { type FakeAnswer, startFakeSegmind } from '../test/support/doubles/fake-segmind.js'
import { entriesOf } from '../test/support/entries-of.js'
import { eventually } from '../test/support/eventually.js'
import { startGatewayProcess } from '../test/support/gateway/gateway-process.js'
import { writeTeamsFile } from '../test/support/gateway/teams-file.js'
import { guard } from '../test/support/programs/guardian.js'
import { startRedis } from '../test/support/programs/redis-server.js'
import { createSoakClient, readMetrics, type SoakStep } from './soak-client.js'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, clients: { type: 'string', default: '12' } },
})
const MINUTES = Number(values.minutes)
const ADMIN_KEY = 'soak-admin-key-0123456789'
const SAMPLE_MS = 5_000
/** A fault begins this often and lasts this long. */
const FAULT_EVERY_MS = 30_000
const FAULT_MS = 3_000
/**
 * Most growth between the second and the last third of the run. V8 takes resident memory in steps, so
 * the heap that a collection of garbage leaves says more.
 */
const MAX_MEMORY_GROWTH = 1.2
const MAX_HEAP_GROWTH = 1.1
const MAX_HANDLE_GROWTH = 16

interface Sample {
  minute: number
  /** Resident memory and used heap in MiB, and open handles, of each gateway. */
  memory: number[]
  heap: number[]
  handles: number[]
}

const dir = await mkdtemp(join(tmpdir(), 'gateway-soak-'))
const guardian = guard(dir)
const upstream = await startFakeSegmind({ remaining: 9_000_000_000_000 })
/** Cost of the call with this index, in 10⁻⁹ credit: never the same twice, so that a mix-up shows. */
const costOf = (index: number): number => 1_000_000 + index
upstream.script((_call, index) => answerTo(index))
const redis = await startRedis({ appendonly: true })
const limits = { requests_per_minute: 100_000, reads_per_minute: 1_000_000 }
const { file: teamsFile, keys } = await writeTeamsFile(dir, { bees: { limits }, ants: { limits } })
const gateways = await Promise.all(['a', 'b'].map(startReplica))
const client = await createSoakClient(
  gateways.map(({ url, metricsUrl }) => ({ url, metricsUrl })),
  { keys: Object.values(keys), adminKey: ADMIN_KEY },
)

const samples: Sample[] = []
const startedAt = Date.now()
const minutesSoFar = () => (Date.now() - startedAt) / 60_000
const isOver = () => minutesSoFar() >= MINUTES
await Promise.all([...Array.from({ length: Number(values.clients) }, runClient), injectFaults(), sampleUsage()])
const failures = [...client.failures, ...(await checkRest()), ...(await checkLedger()), ...checkGrowth()]
report()
await Promise.all(gateways.map(gateway => gateway.end('SIGTERM')))
await redis.close()
await upstream.close()
await guardian.clean()
process.exitCode = failures.length > 0 ? 1 : 0

function startReplica(name: string) {
  const settings = {
    REDIS_URL: redis.url,
    DATA_DIR: join(dir, name),
    TEAMS_FILE: teamsFile,
    ADMIN_KEY,
    SEGMIND_API_KEY: upstream.apiKey,
    SEGMIND_BASE_URL: upstream.url,
    SEGMIND_TIMEOUT_MS: '5000',
    CLIENT_TIMEOUT_MS: '20000',
    // Small, so that it is full long before the second third of the run.
    MEMORY_CACHE_BYTES: '2MiB',
    NODE_ENV: 'production',
  }
  return startGatewayProcess(settings, { asShipped: true })
}

/** Of 100 calls, two are refused, one is cut off, one gets no answer, and one has to wait for the rate. */
function answerTo(index: number): FakeAnswer {
  const after = sleep(20 + ((index * 37) % 180))
  const kind = (index * 61) % 100
  if (kind < 2) return { after, status: 422, body: { error: 'not this picture' } }
  if (kind === 2) return { after, how: 'cut', cost: costOf(index) }
  if (kind === 3) return { after, how: 'reset' }
  if (kind === 4) return { status: 429, headers: { 'retry-after': '1' }, body: { error: 'Too many requests' } }
  return { after, cost: costOf(index) }
}

async function runClient(): Promise<void> {
  while (!isOver()) await client.step()
}

async function injectFaults(): Promise<void> {
  const faults = [
    async () => {
      redis.freeze()
      await sleep(FAULT_MS)
      redis.thaw()
    },
    async () => {
      await upstream.goOffline()
      await sleep(FAULT_MS)
      await upstream.goOnline()
    },
    async () => {
      await redis.stop()
      await sleep(FAULT_MS)
      await redis.start()
    },
  ]
  for (let count = 0; ; count++) {
    for (let waitedMs = 0; waitedMs < FAULT_EVERY_MS && !isOver(); waitedMs += 500) await sleep(500)
    if (isOver()) return
    await faults[count % faults.length]?.()
  }
}

async function sampleUsage(): Promise<void> {
  for (; !isOver(); await sleep(SAMPLE_MS)) samples.push(await sample())
}

async function sample(): Promise<Sample> {
  const pids = gateways.map(({ child }) => child.pid)
  const heap = await Promise.all(gateways.map(({ metricsUrl }) => heapOf(metricsUrl)))
  return { minute: minutesSoFar(), memory: pids.map(memoryOf), heap, handles: pids.map(handlesOf) }
}

async function heapOf(metricsUrl: string): Promise<number> {
  const text = await readMetrics(metricsUrl)
  return Number(/^nodejs_heap_size_used_bytes (.*)/m.exec(text)?.[1]) / 1024 ** 2
}

function memoryOf(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

function handlesOf(pid: number | undefined): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Waits until no purchase is in progress and nothing waits for the store. */
async function checkRest(): Promise<string[]> {
  const pending =
    /^segmind_gateway_(upstream_in_flight|queue_depth|unsaved_ledger_steps|unsaved_results)(\{.*\})? [1-9].*/m
  const busy = async () => {
    const texts = await Promise.all(gateways.map(({ metricsUrl }) => readMetrics(metricsUrl)))
    return texts.flatMap(text => pending.exec(text)?.[0] ?? [])
  }
  try {
    await eventually('the gateways never came to rest', async () => (await busy()).length === 0)
    return []
  } catch {
    return [`at rest: ${await busy()}`]
  }
}

/** Compares the ledger with the calls that the upstream billed. */
async function checkLedger(): Promise<string[]> {
  const url = { reveal: () => redis.url }
  const opened = await openStore({ redisUrl: url, dataDir: join(dir, 'check'), maxBytes: 64 * 1024 ** 2 })
  const { ledger } = opened.store
  const read = async (): Promise<LedgerEntry[]> => {
    const days = [new Date(startedAt), new Date()].map(day => day.toISOString().slice(0, 10))
    return (await Promise.all([...new Set(days)].map(day => entriesOf(ledger, day)))).flat()
  }
  // A step that was refused during the last fault is retried.
  const entries = await eventually('an entry stayed reserved', async () => {
    const all = await read()
    return all.every(({ state }) => state !== 'reserved') && all
  })
  const usage = await ledger.usage(new Date().toISOString().slice(0, 7))
  await opened.store.close()
  await opened.spool.close()
  return compare(entries, usage)
}

function compare(entries: LedgerEntry[], usage: { charged: number; unknown: number }[]): string[] {
  const charged = entries.filter(({ state }) => state === 'charged')
  const unknown = entries.filter(({ state }) => state === 'unknown')
  const costs = charged.map(({ settled }) => settled?.cost ?? 0)
  const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0)
  const problems: string[] = []
  if (new Set(costs).size !== costs.length) problems.push('a call is charged twice')
  if (sum(costs) !== sum(usage.map(day => day.charged))) problems.push('usage differs from the entries')
  // What was billed and not charged must be among the calls whose outcome the gateways could not know.
  const missing = upstream.billed - sum(costs)
  const mostUnknown = unknown.length * (1_000_000 + upstream.calls.length)
  if (missing < 0 || missing > mostUnknown) problems.push(`billed ${upstream.billed}, charged ${sum(costs)}`)
  client.notes.push(
    `ledger: ${charged.length} charged, ${unknown.length} of unknown outcome, ` +
      `${upstream.calls.length} calls, ${missing / 1e9} credits billed without an answer`,
  )
  return problems
}

function checkGrowth(): string[] {
  const third = Math.floor(samples.length / 3)
  const thirds = [samples.slice(third, 2 * third), samples.slice(2 * third)]
  return gateways.flatMap((_, index) => {
    const growth = (of: (numbers: number[]) => number, kind: 'memory' | 'heap' | 'handles') =>
      thirds.map(part => of(part.map(each => each[kind][index] ?? 0))) as [number, number]
    const memory = growth(median, 'memory')
    // The least is what a collection of garbage leaves.
    const heap = growth(numbers => Math.min(...numbers), 'heap')
    const handles = growth(median, 'handles')
    client.notes.push(
      `gateway ${index + 1}, second and last third: memory ${memory.map(Math.round)}, heap ${heap.map(Math.round)}`,
    )
    return [
      ...(memory[1] > memory[0] * MAX_MEMORY_GROWTH ? ['memory grew'] : []),
      ...(heap[1] > heap[0] * MAX_HEAP_GROWTH ? ['the heap grew'] : []),
      ...(handles[1] > handles[0] + MAX_HANDLE_GROWTH ? ['handles grew'] : []),
    ].map(problem => `gateway ${index + 1}: ${problem}`)
  })
}

function median(numbers: number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? 0
}

function report(): void {
  console.log('minute  memory and heap in MiB (each gateway)  handles')
  const every = Math.max(1, Math.floor(samples.length / 12))
  for (const [index, { minute, memory, heap, handles }] of samples.entries())
    if (index % every === 0)
      console.log(
        `${minute.toFixed(1).padStart(6)}  ${[...memory, ...heap].map(Math.round).join(' ').padEnd(40)}  ${handles.join(' ')}`,
      )
  const steps = [...client.steps].map(([name, count]: [SoakStep, number]) => `${name} ${count}`)
  console.log(`requests: ${steps.join(', ')}`)
  console.log(`statuses: ${[...client.statuses].map(([status, count]) => `${status} × ${count}`).join(', ')}`)
  for (const note of client.notes) console.log(note)
  for (const failure of failures.slice(0, 20)) console.log(`FAILED: ${failure}`)
  console.log(failures.length === 0 ? 'passed' : `${failures.length} failed`)
}
