import { type Random, randomFrom } from '../support/random.js'

/** Relative frequency of each outcome of a call at Segmind. */
export interface CallWeights extends Record<string, number> {
  ok: number
  slow: number
  'no-cost': number
  'no-figures': number
  'lost-billed': number
  'lost-unbilled': number
  unsent: number
  busy: number
  paced: number
  failing: number
  overloaded: number
  rejected: number
  dear: number
  'odd-balance': number
  'no-picture': number
  cut: number
}

export interface PlannedRequest {
  at: number
  host: number
  team: number
  input: number
  mode: 'plain' | 'no-cache' | 'only-if-cached'
  /** The caller leaves after this time. */
  leavesAfterMs?: number
}

export type PlannedFault =
  | { at: number; ms: number; kind: 'link-down' | 'link-lossy' | 'frozen'; host: number }
  | { at: number; ms: number; kind: 'store-frozen' | 'store-full' | 'balance-late' }
  | { at: number; kind: 'store-evicted' | 'store-emptied' | 'balance-lie' }
  | { at: number; kind: 'store-rolled-back'; byMs: number }
  | { at: number; kind: 'killed' | 'drained'; host: number; downMs: number }
  | { at: number; kind: 'foreign' | 'top-up' | 'price'; amount: number }

export interface PlannedTeam {
  id: string
  daily?: number
  isProtected: boolean
}

/** Everything that a seed decides in advance. Times in milliseconds from the start. */
export interface Plan {
  seed: number
  teams: PlannedTeam[]
  requests: PlannedRequest[]
  faults: PlannedFault[]
  weights: CallWeights
  hasQuestions: boolean
  hasHistory: boolean
  balance: number
  price: number
  reserve: number
  slots: number
  skewsMs: number[]
}

export const HOSTS = 3
const MILLI = 1_000_000
const HOUR = 3_600_000

const CALM: CallWeights = {
  ok: 1,
  slow: 0,
  'no-cost': 0,
  'no-figures': 0,
  'lost-billed': 0,
  'lost-unbilled': 0,
  unsent: 0,
  busy: 0,
  paced: 0,
  failing: 0,
  overloaded: 0,
  rejected: 0,
  dear: 0,
  'odd-balance': 0,
  'no-picture': 0,
  cut: 0,
}

/** Derives the plan of a seed. */
export function planOf(seed: number): Plan {
  const random = randomFrom(seed).fork('plan')
  const spanMs = random.between(5, 40) * 1_000
  const severity = random.weighted({ none: 1, light: 4, heavy: 3 })
  const teams = Array.from({ length: random.between(3, 6) }, (_, index) => teamOf(index, random))
  const inputs = random.between(1, 6)
  return {
    seed,
    teams,
    requests: requestsOf(random, { teams: teams.length, inputs, spanMs }),
    faults: faultsOf(random, { severity, spanMs }),
    weights: severity === 'none' ? CALM : weightsOf(random),
    hasQuestions: random.chance(0.6),
    hasHistory: random.chance(0.7),
    balance: random.weighted({ ample: 5, scarce: 1 }) === 'ample' ? 5_000 * MILLI : random.between(5, 30) * 2 * MILLI,
    price: random.between(1_200, 2_500) * 1_000,
    reserve: random.chance(0.3) ? random.between(5, 40) * MILLI : 0,
    slots: random.between(1, 4),
    skewsMs: Array.from({ length: HOSTS }, () => (random.chance(0.3) ? random.between(-5 * HOUR, 5 * HOUR) : 0)),
  }
}

function teamOf(index: number, random: Random): PlannedTeam {
  const daily = random.chance(0.4) ? random.between(3, 20) * 2 * MILLI : undefined
  return { id: `team-${index}`, isProtected: random.chance(0.3), ...(daily !== undefined && { daily }) }
}

function requestsOf(random: Random, { teams, inputs, spanMs }: { teams: number; inputs: number; spanMs: number }) {
  const requests: PlannedRequest[] = []
  const bursts = random.between(2, 8)
  for (let burst = 0; burst < bursts; burst++) {
    const at = random.between(500, spanMs)
    const size = random.between(1, 6)
    const input = random.between(1, inputs)
    for (let index = 0; index < size; index++)
      requests.push({
        at: at + random.between(0, random.pick([0, 20, 1_500])),
        host: random.between(0, HOSTS - 1),
        team: random.between(0, teams - 1),
        input: random.chance(0.8) ? input : random.between(1, inputs),
        mode: random.weighted({ plain: 17, 'no-cache': 2, 'only-if-cached': 1 }),
        ...(random.chance(0.1) && { leavesAfterMs: random.between(1, 3_000) }),
      })
  }
  return requests.sort((one, other) => one.at - other.at)
}

function weightsOf(random: Random): CallWeights {
  const weights: CallWeights = { ...CALM, ok: 20 }
  const names = Object.keys(CALM).filter(name => name !== 'ok')
  // Few kinds in each seed, so that some seeds have only one.
  for (let count = random.between(0, 6); count > 0; count--) weights[random.pick(names)] = random.between(1, 6)
  return weights
}

function faultsOf(random: Random, { severity, spanMs }: { severity: string; spanMs: number }): PlannedFault[] {
  if (severity === 'none') return []
  const count = severity === 'light' ? random.between(0, 2) : random.between(2, 7)
  return Array.from({ length: count }, () => faultOf(random, spanMs)).sort((one, other) => one.at - other.at)
}

function faultOf(random: Random, spanMs: number): PlannedFault {
  const at = random.between(200, spanMs)
  const host = random.between(0, HOSTS - 1)
  const ms = random.between(200, 12_000)
  const kind = random.weighted({
    'link-down': 3,
    'link-lossy': 4,
    'store-frozen': 2,
    'store-full': 2,
    'store-evicted': 1,
    'store-emptied': 1,
    'store-rolled-back': 1,
    killed: 4,
    drained: 2,
    frozen: 3,
    foreign: 1,
    'top-up': 1,
    price: 1,
    'balance-lie': 1,
    'balance-late': 1,
  })
  switch (kind) {
    case 'link-down':
    case 'link-lossy':
    case 'frozen':
      return { kind, at, ms, host }
    case 'store-frozen':
    case 'store-full':
    case 'balance-late':
      return { kind, at, ms }
    case 'store-rolled-back':
      return { kind, at, byMs: random.between(500, 15_000) }
    case 'killed':
    case 'drained':
      return { kind, at, host, downMs: random.between(100, 8_000) }
    case 'foreign':
    case 'top-up':
      return { kind, at, amount: random.between(1, 400) * 3 * MILLI + random.between(1, 999) }
    case 'price':
      return { kind, at, amount: random.between(1_000, 4_000) * 1_000 }
    default:
      return { kind, at }
  }
}
