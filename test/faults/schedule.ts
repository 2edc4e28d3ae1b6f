import { type Random, randomFrom } from '../support/random.js'

/**
 * Everything a run does, derived from its seed alone. Times are milliseconds after the start of the
 * run.
 */
export interface Plan {
  seed: number
  api: 'v1' | 'v2'
  inputs: PlannedInput[]
  requests: PlannedRequest[]
  faults: Fault[]
}

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
 * The upstream's response to one call. `cost` in 10⁻⁹ credit. `reset-before`: the connection is
 * reset and the request not processed. Only with v2: `failed-job`, and `isFlaky`: the first poll of
 * the job and the first fetch of its picture fail.
 */
export type Behaviour =
  | { kind: 'normal'; delayMs: number; cost: number; isFlaky?: boolean }
  | { kind: 'cut' | 'stall'; delayMs: number; cost: number }
  | { kind: 'busy'; delayMs: number; waitMs: number }
  | { kind: 'server-error'; delayMs: number; status: 500 | 502 | 503 | 504 }
  | { kind: 'reset' | 'failed-job'; delayMs: number; cost: number }
  | { kind: 'reset-before' | 'hang'; delayMs: 0 }

/**
 * `redis-emptied`: killed and replaced by an empty server. `upstream-refused`: new connections to
 * Segmind fail.
 */
export type Fault =
  | { kind: 'redis-restarted' | 'redis-emptied' | 'redis-frozen' | 'upstream-refused'; atMs: number; forMs: number }
  | { kind: 'gateway-killed' | 'gateway-stopped' | 'gateway-frozen'; atMs: number; forMs: number; gateway: number }

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
    behaviours: behavioursOf(random.fork(`question ${image}`), api),
  }))
  return {
    seed,
    api,
    inputs,
    requests: requestsOf(random.fork('requests'), inputs.length, spanMs),
    faults: faultsOf(random.fork('faults'), spanMs),
  }
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
    kind: random.weighted({ 'redis-restarted': 1, 'redis-emptied': 0.8, 'redis-frozen': 1.2 }),
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
      const kind = random.weighted({ 'gateway-killed': 1.5, 'gateway-stopped': 0.8, 'gateway-frozen': 1 })
      const forMs = kind === 'gateway-frozen' ? random.between(1_000, 3_000) : random.between(0, 1_000)
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
