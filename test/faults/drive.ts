import { setTimeout as pause } from 'node:timers/promises'
import { type Asking, askForCached, askGateway } from './client.js'
import type { ClientRequest, FinalAnswer, History } from './history.js'
import { readLedgers } from './ledgers.js'
import { type Fault, lanesOf, type Plan, type PlannedRequest } from './schedule.js'
import { BUDGETS, PATIENCE_MS, type Seat, startWorld, TIMEOUT_MS, type World } from './world.js'

/** What came of a run, and every line its gateways wrote. */
export interface Run {
  history: History
  logs: string[]
}

const QUIET_MS = 40_000
const QUIET_POLL_MS = 100
/** Only a gateway that has lost a request keeps one waiting so long. */
const GIVE_UP_MS = PATIENCE_MS + 20_000

/** Runs a plan from its beginning to its end, and reads what came of it. Nothing of it is left, whether or not it throws. */
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
  const { plan, seats, upstream } = world
  const startedAt = Date.now()
  const clock = { startedAt, troubles: [] as string[] }
  const asked = plan.requests.map((request, index) => askAsPlanned(request, index, world, clock))
  // Every lane puts right what it did: when all are over, Redis is up and every gateway runs.
  await Promise.all(lanesOf(plan.faults).map(lane => runLane(lane, world, clock)))
  const requests = (await Promise.all(asked)).flat()
  await untilQuiet(world, clock.troubles)
  const finals = await askFinally(world, clock.troubles)
  await Promise.all(seats.map(seat => seat.end('SIGTERM')))
  const books = await readLedgers(world, startedAt)
  return {
    seed: plan.seed,
    api: plan.api,
    timeoutMs: TIMEOUT_MS[plan.api],
    patienceMs: PATIENCE_MS,
    budgets: BUDGETS,
    calls: upstream.calls,
    requests,
    finals,
    lives: world.lives,
    faults: world.faults,
    troubles: clock.troubles,
    ...books,
  }
}

interface Clock {
  startedAt: number
  troubles: string[]
}

function untilMs(atMs: number, { startedAt }: Clock): Promise<void> {
  return pause(Math.max(0, startedAt + atMs - Date.now()))
}

/** Asks as planned, and again when that failed and may be tried again, as apps do. */
async function askAsPlanned(
  request: PlannedRequest,
  index: number,
  world: World,
  clock: Clock,
): Promise<ClientRequest[]> {
  await untilMs(request.atMs, clock)
  const made: ClientRequest[] = []
  for (let attempt = 0; attempt <= request.retries; attempt++) {
    if (attempt > 0) await pause(RETRY_MS)
    const asked = await askOnce(request, `request-${index}-${attempt}`, world, attempt)
    if (asked) made.push(asked)
    if (asked?.outcome.kind !== 'broken' && !(asked?.outcome.kind === 'problem' && asked.outcome.status >= 500)) break
  }
  return made
}

const RETRY_MS = 400

/** Asks the gateway that was planned, or, as a load balancer would, the next one that is there; waits while none is. */
async function askOnce(
  { gateway, question, team, abortAfterMs }: PlannedRequest,
  id: string,
  world: World,
  attempt: number,
): Promise<ClientRequest | undefined> {
  const { url, life } = await untilSomebodyListens((gateway + attempt) % world.seats.length, world.seats)
  if (url === undefined) return undefined
  const at = Date.now()
  const asking = {
    ...questionOf(question, world),
    url,
    id,
    key: world.keys[team],
    asForm: (gateway + attempt) % 2 === 0,
    giveUpMs: GIVE_UP_MS,
    ...(abortAfterMs !== undefined && { abortAfterMs }),
  }
  const outcome = await askGateway(asking, world.upstream)
  return { id, question, team, life, at, endedAt: Date.now(), outcome }
}

const NOBODY_MS = 30_000
const SEAT_POLL_MS = 50

/** Nothing when no gateway comes up, which is a trouble of its own. */
async function untilSomebodyListens(first: number, seats: readonly Seat[]): Promise<{ url?: string; life: string }> {
  const order = [...seats.slice(first), ...seats.slice(0, first)]
  for (let waitedMs = 0; waitedMs < NOBODY_MS; waitedMs += SEAT_POLL_MS) {
    const { gateway, life } = order.find(seat => seat.gateway) ?? {}
    if (gateway && life) return { url: gateway.url, life: life.id }
    await pause(SEAT_POLL_MS)
  }
  return { life: '' }
}

function questionOf(question: number, { plan, images }: World): { prompt: string; image: Buffer } {
  return { prompt: plan.questions[question]?.prompt ?? '', image: images[question] ?? Buffer.alloc(0) }
}

async function runLane(lane: readonly Fault[], world: World, clock: Clock): Promise<void> {
  for (const fault of lane) {
    await untilMs(fault.atMs, clock)
    const from = Date.now()
    const life = 'gateway' in fault ? world.seats[fault.gateway]?.life?.id : undefined
    try {
      await bringAbout(fault, world)
    } catch (error) {
      clock.troubles.push(`${fault.kind}: ${(error as Error).message}`)
    }
    world.faults.push({ kind: fault.kind, from, to: Date.now(), ...(life !== undefined && { life }) })
  }
}

async function bringAbout(fault: Fault, { redis, upstream, seats }: World): Promise<void> {
  const last = () => pause(fault.forMs)
  if ('gateway' in fault) return bringAboutAt(seats[fault.gateway] as Seat, fault.kind, last)
  switch (fault.kind) {
    case 'redis-restarted':
      await redis.kill()
      await last()
      return redis.restart()
    case 'redis-emptied':
      await redis.kill()
      await last()
      return redis.startEmpty()
    case 'redis-frozen':
      redis.freeze()
      await last()
      return redis.thaw()
    case 'upstream-refused':
      upstream.refuse()
      await last()
      return upstream.accept()
  }
}

async function bringAboutAt(seat: Seat, kind: Fault['kind'], last: () => Promise<void>): Promise<void> {
  if (kind === 'gateway-frozen') {
    seat.freeze()
    await last()
    return seat.thaw()
  }
  await seat.end(kind === 'gateway-killed' ? 'SIGKILL' : 'SIGTERM')
  await last()
  await seat.start()
}

const BUSY = /^segmind_gateway_(upstream_in_flight|unsaved_ledger_steps|unsaved_results|queue_depth\{.*\}) [1-9]/m

/** Waits until no gateway has a call under way or anything waiting for the store. */
async function untilQuiet({ seats, upstream }: World, troubles: string[]): Promise<void> {
  const endsAt = Date.now() + QUIET_MS
  for (;;) {
    const figures = await Promise.all(seats.map(figuresOf))
    if (upstream.open() === 0 && figures.every(text => text !== undefined && !BUSY.test(text))) return
    if (Date.now() > endsAt) {
      const busy = figures.map(text => (text === undefined ? 'silent' : (BUSY.exec(text)?.[0] ?? 'quiet')))
      troubles.push(`not quiet after ${QUIET_MS} ms: ${busy.join(', ')}, ${upstream.open()} calls open`)
      return
    }
    await pause(QUIET_POLL_MS)
  }
}

async function figuresOf({ gateway }: Seat): Promise<string | undefined> {
  try {
    return gateway && (await (await fetch(`${gateway.metricsUrl}/metrics`)).text())
  } catch {
    return undefined
  }
}

async function askFinally(world: World, troubles: string[]): Promise<FinalAnswer[]> {
  const finals: FinalAnswer[] = []
  for (const [gateway, seat] of world.seats.entries()) {
    for (const question of world.plan.questions.keys()) {
      if (!seat.gateway) continue
      const { url } = seat.gateway
      const own = { url, id: `final-${gateway}-${question}`, key: world.keys.free, asForm: true, giveUpMs: GIVE_UP_MS }
      try {
        const answer = await askPatiently({ ...questionOf(question, world), ...own }, world)
        finals.push({ question, gateway, ...answer })
      } catch (error) {
        troubles.push(`gateway ${gateway} did not answer at the end: ${(error as Error).message}`)
      }
    }
  }
  return finals
}

const FINAL_TRIES = 5

/** On a busy machine a gateway may think that its store is silent, and then has nothing cached. */
async function askPatiently(asking: Asking, { upstream }: World): Promise<Omit<FinalAnswer, 'question' | 'gateway'>> {
  for (let tries = 1; ; tries++) {
    const at = Date.now()
    const answer = await askForCached(asking, upstream)
    if (answer.status === 200 || tries === FINAL_TRIES) return { at, ...answer }
    await pause(RETRY_MS)
  }
}
