import { type Random, randomFrom } from './random.js'

/** Everything one run does, as it follows from its seed alone. Times are milliseconds from the beginning of the run. */
export interface Plan {
  seed: number
  api: 'v1' | 'v2'
  questions: PlannedQuestion[]
  requests: PlannedRequest[]
  faults: Fault[]
}

/** One image and prompt, and what Segmind does with the calls for it, one after the other; after these it answers well. */
export interface PlannedQuestion {
  image: number
  prompt: string
  behaviours: Behaviour[]
}

export interface PlannedRequest {
  atMs: number
  gateway: number
  question: number
  team: TeamId
  /** How often the client tries again after a failure. */
  retries: number
  /** The client leaves so long after it asked. */
  abortAfterMs?: number
}

export type TeamId = 'free' | 'thrifty'

/**
 * `cost` in 10⁻⁹ credit. `reset-before`: the connection is torn and the request never taken; `failed-job` only with v2, as is `isRough`: the
 * first question about the job fails, and the first try to fetch its picture.
 */
export type Behaviour =
  | { kind: 'normal'; delayMs: number; cost: number; isRough?: boolean }
  | { kind: 'cut' | 'stall'; delayMs: number; cost: number }
  | { kind: 'busy'; delayMs: number; waitMs: number }
  | { kind: 'server-error'; delayMs: number; status: 500 | 502 | 503 | 504 }
  | { kind: 'reset' | 'failed-job'; delayMs: number; cost: number }
  | { kind: 'reset-before' | 'hang'; delayMs: 0 }

/** `redis-emptied`: killed, and a new one with no memory takes its place. `upstream-refused`: no new connection to Segmind succeeds. */
export type Fault =
  | { kind: 'redis-restarted' | 'redis-emptied' | 'redis-frozen' | 'upstream-refused'; atMs: number; forMs: number }
  | { kind: 'gateway-killed' | 'gateway-stopped' | 'gateway-frozen'; atMs: number; forMs: number; gateway: number }

export const GATEWAYS = 3
/** In 10⁻⁹ credit: the daily budget of the thrifty team, and the estimate every gateway begins with. */
export const THRIFTY_BUDGET = 7_000_000
export const FIRST_ESTIMATE = 2_000_000

/** Makes the plan of a seed. */
export function planOf(seed: number): Plan {
  const random = randomFrom(seed)
  const api = random.chance(0.4) ? 'v2' : 'v1'
  const spanMs = random.between(3_000, 7_000)
  const questions = Array.from({ length: random.between(2, 6) }, (_, image) => ({
    image: seed * 10 + image,
    prompt: random.pick(['dog', 'cat', 'the red car', 'Ärmel, left']),
    behaviours: behavioursOf(random.fork(`question ${image}`), api),
  }))
  return {
    seed,
    api,
    questions,
    requests: requestsOf(random.fork('requests'), questions.length, spanMs),
    faults: faultsOf(random.fork('faults'), spanMs),
  }
}

/** Faults that concern one thing, in order; those of different things come about independently. */
export function lanesOf(faults: readonly Fault[]): Fault[][] {
  const lanes = new Map<string, Fault[]>()
  for (const fault of faults) {
    const name = 'gateway' in fault ? `gateway ${fault.gateway}` : fault.kind.slice(0, 5)
    lanes.set(name, [...(lanes.get(name) ?? []), fault])
  }
  return [...lanes.values()]
}

const PLANNED_CALLS = 10

/** Some runs have a Segmind that mostly works, some one that mostly does not. */
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
      return { kind, delayMs, cost, ...(api === 'v2' && random.chance(0.15) && { isRough: true }) }
    default:
      return { kind, delayMs, cost }
  }
}

/** Bursts: many at once, mostly of one question, over all gateways; and some by themselves. */
function requestsOf(random: Random, questions: number, spanMs: number): PlannedRequest[] {
  const count = random.between(20, 100)
  const requests: PlannedRequest[] = []
  const mostImpatient = random.pick([0, 0.1, 0.35])
  while (requests.length < count) {
    const atMs = random.between(0, spanMs)
    const question = random.between(0, questions - 1)
    const size = random.chance(0.3) ? 1 : random.between(2, 20)
    const spreadMs = random.pick([0, 20, 400])
    for (let index = 0; index < size && requests.length < count; index++) {
      requests.push({
        atMs: atMs + random.between(0, spreadMs),
        gateway: random.between(0, GATEWAYS - 1),
        question: random.chance(0.85) ? question : random.between(0, questions - 1),
        team: random.chance(0.25) ? 'thrifty' : 'free',
        retries: random.pick([0, 1, 3]),
        ...(random.chance(mostImpatient) && { abortAfterMs: random.between(5, 1_500) }),
      })
    }
  }
  return requests.sort((one, other) => one.atMs - other.atMs)
}

/** What happens to the Redis, to Segmind's door and to each gateway, one thing at a time for each of them. */
function faultsOf(random: Random, spanMs: number): Fault[] {
  const calm = random.chance(0.08)
  if (calm) return []
  const redis = laneOf(random, spanMs, random.pick([0, 1, 1, 2]), atMs => ({
    kind: random.weighted({ 'redis-restarted': 1, 'redis-emptied': 0.8, 'redis-frozen': 1.2 }),
    atMs,
    forMs: random.chance(0.3) ? random.between(1_000, 3_000) : random.between(300, 1_000),
  }))
  const upstream = laneOf(random, spanMs, random.chance(0.2) ? 1 : 0, atMs => ({
    kind: 'upstream-refused',
    atMs,
    forMs: random.between(300, 1_500),
  }))
  const gateways = Array.from({ length: GATEWAYS }, (_, gateway) =>
    laneOf(random, spanMs, random.pick([0, 1, 1, 2]), atMs => {
      const kind = random.weighted({ 'gateway-killed': 1.5, 'gateway-stopped': 0.8, 'gateway-frozen': 1 })
      const forMs = kind === 'gateway-frozen' ? random.between(1_000, 3_000) : random.between(0, 1_000)
      return { kind, atMs, forMs, gateway }
    }),
  )
  return [...redis, ...upstream, ...gateways.flat()].sort((one, other) => one.atMs - other.atMs)
}

/** How long a lane rests after a fault, so that what it did to the gateways can be seen. */
const REST_MS = 700

/** Up to so many faults, none begins before the one before it is over. */
function laneOf(random: Random, spanMs: number, count: number, faultAt: (atMs: number) => Fault): Fault[] {
  const faults: Fault[] = []
  let freeAtMs = 0
  for (let left = count; left > 0 && freeAtMs < spanMs; left--) {
    const fault = faultAt(random.between(freeAtMs, freeAtMs + Math.ceil((spanMs - freeAtMs) / left)))
    faults.push(fault)
    freeAtMs = fault.atMs + fault.forMs + REST_MS
  }
  return faults
}
