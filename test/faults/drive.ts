import { setTimeout as pause } from 'node:timers/promises'
import { requestCached, type SegmentRequest, sendRequest } from './client.js'
import type { ClientRequest, FinalAnswer, History } from './history.js'
import { readLedgers } from './ledgers.js'
import { type Fault, faultsByTarget, type Plan, type PlannedRequest } from './schedule.js'
import { BUDGETS, CLIENT_TIMEOUT_MS, type Replica, startWorld, TIMEOUT_MS, type World } from './world.js'

/** The history of a run, and every log line of its gateways. */
export interface Run {
  history: History
  logs: string[]
}

const IDLE_TIMEOUT_MS = 40_000
const IDLE_POLL_MS = 100
/** Longer than any gateway that has not lost the request takes to respond. */
const REQUEST_TIMEOUT_MS = CLIENT_TIMEOUT_MS + 20_000

/** Runs a plan and reads its history. Always removes every process and file of the run. */
export async function runPlan(plan: Plan): Promise<Run> {
  const logs: string[] = []
  const world = await startWorld(plan, logs)
  try {
    return { history: await drive(world), logs }
  } finally {
    await world.end()
  }
}

async function drive(world: World): Promise<History> {
  const { plan, replicas, upstream } = world
  const startedAt = Date.now()
  const run: RunState = { startedAt, harnessErrors: [] }
  const sent = plan.requests.map((request, index) => sendWithRetries(request, index, world, run))
  // Each fault repairs its target: afterwards Redis is up and every gateway runs.
  await Promise.all(faultsByTarget(plan.faults).map(faults => runFaults(faults, world, run)))
  const requests = (await Promise.all(sent)).flat()
  await waitUntilIdle(world, run.harnessErrors)
  const finals = await requestFinals(world, run.harnessErrors)
  const ledgerStates = await Promise.all(replicas.map(ledgerStateOf))
  await Promise.all(replicas.map(replica => replica.end('SIGTERM')))
  const ledgers = await readLedgers(world, startedAt)
  return {
    seed: plan.seed,
    api: plan.api,
    timeoutMs: TIMEOUT_MS[plan.api],
    clientTimeoutMs: CLIENT_TIMEOUT_MS,
    budgets: BUDGETS,
    calls: upstream.calls,
    requests,
    finals,
    instances: world.instances,
    faults: world.faults,
    harnessErrors: run.harnessErrors,
    clockOffsetsMs: plan.clockOffsetsMs,
    hasAllRows: !plan.rows.includes('missing'),
    ledgerStates,
    ...ledgers,
  }
}

interface RunState {
  startedAt: number
  harnessErrors: string[]
}

function untilMs(atMs: number, { startedAt }: RunState): Promise<void> {
  return pause(Math.max(0, startedAt + atMs - Date.now()))
}

/** Sends a planned request, with its planned retries after broken connections and 5xx. */
async function sendWithRetries(
  request: PlannedRequest,
  index: number,
  world: World,
  run: RunState,
): Promise<ClientRequest[]> {
  await untilMs(request.atMs, run)
  const sent: ClientRequest[] = []
  for (let attempt = 0; attempt <= request.retries; attempt++) {
    if (attempt > 0) await pause(RETRY_MS)
    const one = await sendOnce(request, `request-${index}-${attempt}`, world, attempt)
    if (one) sent.push(one)
    if (one?.outcome.kind !== 'broken' && !(one?.outcome.kind === 'problem' && one.outcome.status >= 500)) break
  }
  return sent
}

const RETRY_MS = 400

/**
 * Sends to the planned gateway or, like a load balancer, to the next one that listens. Waits while
 * none does.
 */
async function sendOnce(
  { gateway, input, team, abortAfterMs }: PlannedRequest,
  id: string,
  world: World,
  attempt: number,
): Promise<ClientRequest | undefined> {
  const { url, instance } = await findListeningGateway((gateway + attempt) % world.replicas.length, world.replicas)
  if (url === undefined) return undefined
  const at = Date.now()
  const request = {
    ...inputOf(input, world),
    url,
    id,
    key: world.keys[team],
    asForm: (gateway + attempt) % 2 === 0,
    timeoutMs: REQUEST_TIMEOUT_MS,
    ...(abortAfterMs !== undefined && { abortAfterMs }),
  }
  const outcome = await sendRequest(request, world.upstream)
  return { id, input, team, instance, at, endedAt: Date.now(), outcome }
}

const LISTEN_TIMEOUT_MS = 30_000
const LISTEN_POLL_MS = 50

/**
 * Returns no URL if no gateway listens within the timeout. The failed start is reported elsewhere.
 */
async function findListeningGateway(
  first: number,
  replicas: readonly Replica[],
): Promise<{ url?: string; instance: string }> {
  const order = [...replicas.slice(first), ...replicas.slice(0, first)]
  for (let waitedMs = 0; waitedMs < LISTEN_TIMEOUT_MS; waitedMs += LISTEN_POLL_MS) {
    const { gateway, instance } = order.find(replica => replica.gateway) ?? {}
    if (gateway && instance) return { url: gateway.url, instance: instance.id }
    await pause(LISTEN_POLL_MS)
  }
  return { instance: '' }
}

function inputOf(input: number, { plan, images }: World): { prompt: string; image: Buffer } {
  return { prompt: plan.inputs[input]?.prompt ?? '', image: images[input] ?? Buffer.alloc(0) }
}

/** Runs the faults of one target in order. */
async function runFaults(faults: readonly Fault[], world: World, run: RunState): Promise<void> {
  for (const fault of faults) {
    await untilMs(fault.atMs, run)
    const from = Date.now()
    const instance = 'gateway' in fault ? world.replicas[fault.gateway]?.instance?.id : undefined
    try {
      await inject(fault, world)
    } catch (error) {
      run.harnessErrors.push(`${fault.kind}: ${(error as Error).message}`)
    }
    world.faults.push({ kind: fault.kind, from, to: Date.now(), ...(instance !== undefined && { instance }) })
  }
}

/** Brings a fault about, waits for its duration, and repairs it. */
async function inject(fault: Fault, { redis, upstream, replicas }: World): Promise<void> {
  const wait = () => pause(fault.forMs)
  if ('gateway' in fault) return injectIntoGateway(replicas[fault.gateway] as Replica, fault.kind, wait)
  switch (fault.kind) {
    case 'redis-restarted':
      await redis.kill()
      await wait()
      return redis.restart()
    case 'redis-emptied':
      await redis.kill()
      await wait()
      return redis.startEmpty()
    case 'redis-frozen':
      redis.freeze()
      await wait()
      return redis.thaw()
    case 'redis-flushed':
      return redis.flush()
    case 'redis-evicted':
      await redis.setEvicting(true)
      await wait()
      return redis.setEvicting(false)
    case 'redis-full':
      await redis.setFull(true)
      await wait()
      return redis.setFull(false)
    case 'upstream-refused':
      upstream.refuse()
      await wait()
      return upstream.accept()
  }
}

async function injectIntoGateway(replica: Replica, kind: Fault['kind'], wait: () => Promise<void>): Promise<void> {
  if (kind === 'gateway-frozen') {
    replica.freeze()
    await wait()
    return replica.thaw()
  }
  if (kind === 'gateway-disk-full') {
    replica.setDiskFull(true)
    await wait()
    return replica.setDiskFull(false)
  }
  await replica.end(kind === 'gateway-killed' ? 'SIGKILL' : 'SIGTERM')
  await wait()
  await replica.start()
}

const BUSY = /^segmind_gateway_(upstream_in_flight|unsaved_ledger_steps|unsaved_results|queue_depth\{.*\}) [1-9]/m

/** Waits until no gateway has a call in flight or a pending store write. */
async function waitUntilIdle({ replicas, upstream }: World, harnessErrors: string[]): Promise<void> {
  const endsAt = Date.now() + IDLE_TIMEOUT_MS
  for (;;) {
    const metrics = await Promise.all(replicas.map(metricsOf))
    if (upstream.openCalls() === 0 && metrics.every(text => text !== undefined && !BUSY.test(text))) return
    if (Date.now() > endsAt) {
      const busy = metrics.map(text => (text === undefined ? 'no response' : (BUSY.exec(text)?.[0] ?? 'idle')))
      harnessErrors.push(`not idle after ${IDLE_TIMEOUT_MS} ms: ${busy.join(', ')}, ${upstream.openCalls()} calls open`)
      return
    }
    await pause(IDLE_POLL_MS)
  }
}

async function metricsOf({ gateway }: Replica): Promise<string | undefined> {
  try {
    return gateway && (await (await fetch(`${gateway.metricsUrl}/metrics`)).text())
  } catch {
    return undefined
  }
}

/** Returns the state of the ledger that a gateway reports. */
async function ledgerStateOf({ gateway }: Replica): Promise<string> {
  if (!gateway) return 'no gateway'
  const { checks } = (await (await fetch(`${gateway.url}/readyz`)).json()) as { checks: { ledger: string } }
  return checks.ledger
}

/** Requests each input from each gateway with `only-if-cached`. */
async function requestFinals(world: World, harnessErrors: string[]): Promise<FinalAnswer[]> {
  const finals: FinalAnswer[] = []
  for (const [gateway, replica] of world.replicas.entries()) {
    for (const input of world.plan.inputs.keys()) {
      if (!replica.gateway) continue
      const { url } = replica.gateway
      const target = {
        url,
        id: `final-${gateway}-${input}`,
        key: world.keys.free,
        asForm: true,
        timeoutMs: REQUEST_TIMEOUT_MS,
      }
      try {
        const answer = await requestFinal({ ...inputOf(input, world), ...target }, world)
        finals.push({ input, gateway, ...answer })
      } catch (error) {
        harnessErrors.push(`gateway ${gateway} did not respond at the end: ${(error as Error).message}`)
      }
    }
  }
  return finals
}

const FINAL_ATTEMPTS = 5

/**
 * Retries misses, because on a busy machine a gateway may wrongly consider its store unreachable.
 */
async function requestFinal(
  request: SegmentRequest,
  { upstream }: World,
): Promise<Omit<FinalAnswer, 'input' | 'gateway'>> {
  for (let attempt = 1; ; attempt++) {
    const at = Date.now()
    const answer = await requestCached(request, upstream)
    if (answer.status === 200 || attempt === FINAL_ATTEMPTS) return { at, ...answer }
    await pause(RETRY_MS)
  }
}
