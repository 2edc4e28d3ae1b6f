import { evaluateRules } from '../../src/alerts/rules.js'
import { createAlertFacts } from '../../src/app/alert-facts.js'
import { type Random, randomFrom } from '../support/random.js'
import type { History } from './history.js'
import { HOSTS, type Plan, type PlannedFault, type PlannedRequest, planOf } from './plan.js'
import type { Replica } from './replica.js'
import { trueTime } from './virtual-time.js'
import { simulate } from './world.js'

const HOUR = 3_600_000
const MILLI = 1_000_000

export interface CleanRun {
  history: History
  /** Keys of alerts that the rules found, the first time of each. */
  alerts: Map<string, number>
}

/**
 * Runs days without faults: load by day and night, one price change that the calls announce, one top-up,
 * one restart of a replica, and the alert rules every quarter of an hour.
 */
export async function simulateDays(seed: number, days: number): Promise<CleanRun> {
  const alerts = new Map<string, number>()
  const history = await simulate(cleanPlan(seed, days), {
    everyMs: HOUR / 4,
    async watch(replicas) {
      for (const { parts } of replicas.slice(0, 1)) await findAlerts(parts, alerts)
    },
  })
  return { history, alerts }
}

async function findAlerts(parts: Replica['parts'], alerts: Map<string, number>): Promise<void> {
  const facts = createAlertFacts(parts)
  const [budgets, credits] = await Promise.all([facts.budgets(), facts.credits()])
  const found = evaluateRules({
    now: parts.now(),
    timeZone: 'UTC',
    budgets,
    credits,
    sharedKey: facts.sharedKey(),
    ledger: facts.ledger?.(),
  })
  for (const condition of found)
    if (!condition.isCleared && !alerts.has(condition.key)) alerts.set(condition.key, trueTime())
}

function cleanPlan(seed: number, days: number): Plan {
  const random = randomFrom(seed).fork('days')
  const span = days * 24 * HOUR
  const within = (from: number, to: number) => Math.round(span * (from + (to - from) * random.next()))
  const faults: PlannedFault[] = [
    { at: within(0.2, 0.4), kind: 'price', amount: 2_600_000 },
    { at: within(0.45, 0.6), kind: 'top-up', amount: 2_000 * MILLI },
    { at: within(0.65, 0.9), kind: 'drained', host: 1, downMs: 20_000 },
  ]
  const { weights, ...plan } = planOf(seed)
  const calm = Object.fromEntries(Object.keys(weights).map(name => [name, name === 'ok' ? 1 : 0])) as typeof weights
  return {
    ...plan,
    teams: plan.teams.map(({ id, isProtected }) => ({ id, isProtected, daily: 1_000 * MILLI })),
    requests: requestsOf(random, { span, teams: plan.teams.length }),
    faults,
    weights: calm,
    balance: 20_000 * MILLI,
    price: 1_700_000,
    reserve: 100 * MILLI,
    skewsMs: Array.from({ length: HOSTS }, () => 0),
  }
}

/** Requests of days and nights: bursts of a minute, with pauses of minutes by day and of hours by night. */
function requestsOf(random: Random, { span, teams }: { span: number; teams: number }): PlannedRequest[] {
  const requests: PlannedRequest[] = []
  for (let at = 60_000; at < span; ) {
    const isNight = Math.floor(at / HOUR) % 24 >= 12
    for (let size = random.between(1, 8); size > 0; size--)
      requests.push({
        at: at + random.between(0, 60_000),
        host: random.between(0, HOSTS - 1),
        team: random.between(0, teams - 1),
        input: Math.floor(random.next() ** 2 * 400) + 1,
        mode: random.weighted({ plain: 18, 'no-cache': 1, 'only-if-cached': 1 }),
      })
    at += random.between(5, isNight ? 150 : 25) * 60_000
  }
  return requests.sort((one, other) => one.at - other.at)
}
