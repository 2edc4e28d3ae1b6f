import { type Random, randomFrom } from '../support/random.js'

/**
 * Everything a run does, derived from its seed alone. Times are milliseconds after the start of the
 * run.
 */
export interface Plan {
  seed: number
  api: 'v1' | 'v2'
  /** Difference of each gateway's clock from the others, milliseconds. */
  clockOffsetsMs: number[]
  inputs: PlannedInput[]
  requests: PlannedRequest[]
  faults: Fault[]
  /** Row of the nth call in Segmind's request history. Further calls have normal rows. */
  rows: PlannedRow[]
}

/** `late`: absent in the first reading. `doubled`: listed twice. */
export type PlannedRow = 'normal' | 'late' | 'missing' | 'doubled'

/**
 * An image and a prompt, and the upstream's behaviour for each call in order. Later calls succeed.
 */
interface PlannedInput {
  image: number
  prompt: string
  behaviours: Behaviour[]
}

export interface PlannedRequest {
  atMs: number
  gateway: number
  input: number
  team: TeamId
  /** Number of retries after a failure. */
  retries: number
  /** Time after which the client disconnects. */
  abortAfterMs?: number
}

export type TeamId = 'free' | 'thrifty'

/**
 * The upstream's response to one call. Amounts in 10⁻⁹ credit. `stated`: the response states another
 * cost, or another balance than the true one by an offset. `reset-before`: the connection is
 * reset and the request not processed. Only with v2: `failed-job`, and `isFlaky`: the first poll of
 * the job and the first fetch of its picture fail.
 */
export type Behaviour =
  | { kind: 'normal'; delayMs: number; cost: number; isFlaky?: boolean; stated?: WrongFigures }
  | { kind: 'cut' | 'stall'; delayMs: number; cost: number }
  | { kind: 'busy'; delayMs: number; waitMs: number }
  | { kind: 'server-error'; delayMs: number; status: 500 | 502 | 503 | 504 }
  | { kind: 'reset' | 'failed-job'; delayMs: number; cost: number }
  | { kind: 'reset-before' | 'hang'; delayMs: 0 }

export type WrongFigures = { cost: number } | { balanceOffset: number }

/**
 * - `redis-emptied`: killed and replaced by an empty server. `redis-flushed`: emptied while it runs.
 * - `redis-evicted`: may evict any key, and evicts the sums of the ledger and some other keys.
 * - `redis-full`: refuses writes.
 * - `upstream-refused`: new connections to Segmind fail.
 * - `gateway-disk-full`: the gateway's files cannot grow.
 */
export type Fault =
  | { kind: RedisFault | 'upstream-refused'; atMs: number; forMs: number }
  | { kind: GatewayFault; atMs: number; forMs: number; gateway: number }

type RedisFault =
  | 'redis-restarted'
  | 'redis-emptied'
  | 'redis-frozen'
  | 'redis-flushed'
  | 'redis-evicted'
  | 'redis-full'
type GatewayFault = 'gateway-killed' | 'gateway-stopped' | 'gateway-frozen' | 'gateway-disk-full'

export const GATEWAYS = 3
/** Daily budget of the thrifty team, and the first estimate of every gateway, in 10⁻⁹ credit. */
export const THRIFTY_BUDGET = 7_000_000
export const FIRST_ESTIMATE = 2_000_000

/** Derives the plan of a seed. */
export function planOf(seed: number): Plan {
  const random = randomFrom(seed)
  const api = random.chance(0.4) ? 'v2' : 'v1'
  const spanMs = random.between(3_000, 7_000)
  const inputs = Array.from({ length: random.between(2, 6) }, (_, image) => ({
    image: seed * 10 + image,
    prompt: random.pick(['dog', 'cat', 'the red car', 'Ärmel, left']),
    // The name of a fork is part of the seed: another name changes every plan.
    behaviours: withWrongFigures(behavioursOf(random.fork(`question ${image}`), api), random.fork(`figures ${image}`)),
  }))
  return {
    seed,
    api,
    clockOffsetsMs: clockOffsetsOf(random.fork('clocks')),
    inputs,
    requests: requestsOf(random.fork('requests'), inputs.length, spanMs),
    faults: faultsOf(random.fork('faults'), spanMs),
    rows: rowsOf(random.fork('rows')),
  }
}

const HOUR_MS = 3_600_000
const CLOCK_OFFSETS_MS = [0, 5_000, -5_000, 180_000, -180_000, HOUR_MS, -HOUR_MS, 5 * HOUR_MS]

function clockOffsetsOf(random: Random): number[] {
  const areRight = random.chance(0.5)
  return Array.from({ length: GATEWAYS }, () => (areRight ? 0 : random.pick(CLOCK_OFFSETS_MS)))
}

function rowsOf(random: Random): PlannedRow[] {
  const weights = random.chance(0.3)
    ? { normal: 4, late: 1, missing: 1, doubled: 1 }
    : { normal: 4, late: 1, missing: 0, doubled: 1 }
  return Array.from({ length: PLANNED_ROWS }, () => random.weighted(weights))
}

/** Makes some responses of some inputs state a wrong cost or balance. */
function withWrongFigures(behaviours: Behaviour[], random: Random): Behaviour[] {
  const probability = random.pick([0, 0, 0.3])
  return behaviours.map(behaviour => {
    const isWrong = random.chance(probability)
    const stated: WrongFigures = random.chance(0.5)
      ? { cost: behaviourCost(behaviour) * random.pick([100, 10_000]) }
      : { balanceOffset: random.pick([-40, -3, 3, 40]) * 1_000_000_000 }
    return isWrong && behaviour.kind === 'normal' ? { ...behaviour, stated } : behaviour
  })
}

function behaviourCost(behaviour: Behaviour): number {
  return 'cost' in behaviour ? behaviour.cost : 0
}

/** Groups faults by target, in order. Faults of different targets are independent. */
export function faultsByTarget(faults: readonly Fault[]): Fault[][] {
  const byTarget = new Map<string, Fault[]>()
  for (const fault of faults) {
    const target = 'gateway' in fault ? `gateway ${fault.gateway}` : fault.kind.slice(0, 5)
    byTarget.set(target, [...(byTarget.get(target) ?? []), fault])
  }
  return [...byTarget.values()]
}

const PLANNED_CALLS = 10
const PLANNED_ROWS = 40

/** Draws the behaviours for one input. The success rate varies between inputs. */
function behavioursOf(random: Random, api: Plan['api']): Behaviour[] {
  const health = random.pick([4, 1.5, 0.7])
  return Array.from({ length: random.between(1, PLANNED_CALLS) }, () => behaviourOf(random, api, health))
}

function behaviourOf(random: Random, api: Plan['api'], health: number): Behaviour {
  const kind = random.weighted({
    normal: health * 4,
    busy: 1,
    'server-error': 1.5,
    cut: 1,
    stall: 0.7,
    reset: 1,
    'reset-before': 0.7,
    hang: 0.7,
    'failed-job': api === 'v2' ? 1 : 0,
  })
  const delayMs = random.between(0, 1_500)
  const cost = random.between(1_000_000, 2_400_000)
  switch (kind) {
    case 'busy':
      return { kind, delayMs, waitMs: random.between(200, 2_000) }
    case 'server-error':
      return { kind, delayMs, status: random.pick([500, 502, 503, 504] as const) }
    case 'hang':
    case 'reset-before':
      return { kind, delayMs: 0 }
    case 'normal':
      return { kind, delayMs, cost, ...(api === 'v2' && random.chance(0.15) && { isFlaky: true }) }
    default:
      return { kind, delayMs, cost }
  }
}

/** Draws bursts of mostly identical requests over all gateways, and some single requests. */
function requestsOf(random: Random, inputs: number, spanMs: number): PlannedRequest[] {
  const count = random.between(20, 100)
  const requests: PlannedRequest[] = []
  const abortProbability = random.pick([0, 0.1, 0.35])
  while (requests.length < count) {
    const atMs = random.between(0, spanMs)
    const input = random.between(0, inputs - 1)
    const size = random.chance(0.3) ? 1 : random.between(2, 20)
    const spreadMs = random.pick([0, 20, 400])
    for (let index = 0; index < size && requests.length < count; index++) {
      requests.push({
        atMs: atMs + random.between(0, spreadMs),
        gateway: random.between(0, GATEWAYS - 1),
        input: random.chance(0.85) ? input : random.between(0, inputs - 1),
        team: random.chance(0.25) ? 'thrifty' : 'free',
        retries: random.pick([0, 1, 3]),
        ...(random.chance(abortProbability) && { abortAfterMs: random.between(5, 1_500) }),
      })
    }
  }
  return requests.sort((one, other) => one.atMs - other.atMs)
}

/**
 * Draws the faults of Redis, the upstream and each gateway. Faults of one target do not overlap.
 */
function faultsOf(random: Random, spanMs: number): Fault[] {
  const isFaultFree = random.chance(0.08)
  if (isFaultFree) return []
  const redis = faultSequence(random, spanMs, random.pick([0, 1, 1, 2]), atMs => ({
    kind: random.weighted({
      'redis-restarted': 1,
      'redis-emptied': 0.6,
      'redis-frozen': 1.2,
      'redis-flushed': 0.4,
      'redis-evicted': 0.6,
      'redis-full': 0.8,
    }),
    atMs,
    forMs: random.chance(0.3) ? random.between(1_000, 3_000) : random.between(300, 1_000),
  }))
  const upstream = faultSequence(random, spanMs, random.chance(0.2) ? 1 : 0, atMs => ({
    kind: 'upstream-refused',
    atMs,
    forMs: random.between(300, 1_500),
  }))
  const gateways = Array.from({ length: GATEWAYS }, (_, gateway) =>
    faultSequence(random, spanMs, random.pick([0, 1, 1, 2]), atMs => {
      const kind = random.weighted({
        'gateway-killed': 1.5,
        'gateway-stopped': 0.8,
        'gateway-frozen': 1,
        'gateway-disk-full': 0.4,
      })
      const lasts = kind === 'gateway-frozen' || kind === 'gateway-disk-full'
      const forMs = lasts ? random.between(1_000, 3_000) : random.between(0, 1_000)
      return { kind, atMs, forMs, gateway }
    }),
  )
  return [...redis, ...upstream, ...gateways.flat()].sort((one, other) => one.atMs - other.atMs)
}

/** Pause after a fault, so that its effects show before the next one. */
const REST_MS = 700

/** Draws up to `count` faults. Each begins after the end of the previous one. */
function faultSequence(random: Random, spanMs: number, count: number, faultAt: (atMs: number) => Fault): Fault[] {
  const faults: Fault[] = []
  let freeAtMs = 0
  for (let left = count; left > 0 && freeAtMs < spanMs; left--) {
    const fault = faultAt(random.between(freeAtMs, freeAtMs + Math.ceil((spanMs - freeAtMs) / left)))
    faults.push(fault)
    freeAtMs = fault.atMs + fault.forMs + REST_MS
  }
  return faults
}
