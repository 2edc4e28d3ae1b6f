import { toCredits } from '../nanocredits.js'
import type { BudgetFact, Condition, CreditFacts, CreditStateName, OverCondition } from './facts.js'
import { amount, duration, localTime, percent } from './wording.js'

/** What is known at one moment; what could not be found out is absent, and nothing is said about it. */
export interface Knowledge {
  now: number
  /** `BUDGET_TIMEZONE`. */
  timeZone: string
  budgets?: readonly BudgetFact[] | undefined
  credits?: CreditFacts | undefined
  sharedKey?: 'accepted' | 'refused' | undefined
}

/** What there is to tell, and what is surely over. */
export function conditionsOf(known: Knowledge): (Condition | OverCondition)[] {
  const { budgets = [], credits, sharedKey, now } = known
  return [
    ...budgets.flatMap(budgetCondition),
    ...(credits
      ? [...runwayConditions(credits, known), ...stateCondition(credits, now), ...driftConditions(credits)]
      : []),
    ...keyCondition(sharedKey),
  ]
}

/** The highest threshold that is crossed; it tells the lower ones, too. */
function budgetCondition(budget: BudgetFact): Condition[] {
  const { team, window, windowName, limit, booked, alertAt } = budget
  const keyOf = (threshold: number) => `budget:${team}:${window}:${windowName}:${threshold}`
  const crossed = [...new Set(alertAt)]
    .filter(threshold => booked >= Math.round(threshold * limit))
    .sort((a, b) => b - a)
  const [threshold, ...lower] = crossed
  if (limit <= 0 || threshold === undefined) return []
  const share = booked / limit
  const text = `Team ${team} has used ${percent(share)} of its ${window} budget for ${windowName}: ${amount(booked)} of ${amount(limit)} credits, calls under way included.${booked >= limit ? ' Further calls are refused; cached answers are still served.' : ''}`
  const data = { team, window, windowName, threshold, share, ...credits({ limit, booked }) }
  return [{ key: keyOf(threshold), type: 'budget.threshold', data, text, covers: lower.map(keyOf) }]
}

type BurnWindow = keyof CreditFacts['burn']

/** The shortest first; each is judged by the burn over a window of its own length, or the longest shorter one that is known. */
const RUNWAYS: readonly { name: string; seconds: number; burns: readonly BurnWindow[] }[] = [
  { name: '2h', seconds: 7_200, burns: ['1h'] },
  { name: '24h', seconds: 86_400, burns: ['24h', '1h'] },
  { name: '7d', seconds: 604_800, burns: ['7d', '24h', '1h'] },
]
/** Up to here a runway that was under its threshold is neither told again nor over. */
const CLEAR_FACTOR = 1.2

/** The shortest that is undershot; it tells the longer ones, too. An empty account is told by its state. */
function runwayConditions(facts: CreditFacts, known: Knowledge): (Condition | OverCondition)[] {
  const { balance, state } = facts
  if (!balance || balance.remaining <= 0 || state?.name === 'empty') return []
  const runways = RUNWAYS.flatMap(runway => {
    const burn = runway.burns.map(window => facts.burn[window]).find(found => found !== undefined)
    return burn === undefined ? [] : [{ ...runway, burn, left: burn > 0 ? balance.remaining / burn : Infinity }]
  })
  const over = runways.filter(({ left, seconds }) => left >= CLEAR_FACTOR * seconds)
  const [shortest, ...longer] = runways.filter(({ left, seconds }) => left < seconds)
  return [
    ...over.map(({ name }) => ({ key: `runway:${name}`, isOver: true as const })),
    ...(shortest ? [runwayCondition(shortest, balance.remaining, longer, known)] : []),
  ]
}

interface Runway {
  name: string
  burn: number
  left: number
}

function runwayCondition(
  { name, burn, left }: Runway,
  remaining: number,
  longer: readonly Runway[],
  { now, timeZone }: Knowledge,
): Condition {
  const emptyAt = now + left * 1000
  const when = localTime(emptyAt, timeZone)
  const text = `The Segmind account will be empty in about ${duration(left)}, on ${when}: ${amount(remaining)} credits are left, and ${amount(burn * 3600)} an hour are spent.`
  const data = {
    threshold: name,
    seconds: Math.floor(left),
    emptyAt: new Date(emptyAt).toISOString(),
    emptyAtLocal: when,
    ...credits({ remaining, burnPerHour: Math.round(burn * 3600) }),
  }
  const covers = longer.map(other => `runway:${other.name}`)
  return { key: `runway:${name}`, type: 'credits.runway', data, text, covers }
}

/** Older good news is none. */
const RECOVERY_IS_NEWS_MS = 86_400_000

const STATE_TEXTS: Readonly<Record<CreditStateName, string>> = {
  normal: 'The Segmind account has enough credits again: all teams may spend.',
  reserve: 'The Segmind account is down to its reserve: only protected teams may spend, all others get cached answers.',
  empty: 'The Segmind account is out of credits: only cached answers are served until it is topped up.',
}

/** A gateway that starts with enough credits has nothing to tell. */
function stateCondition({ state, balance }: CreditFacts, now: number): Condition[] {
  if (!state) return []
  const { name, since, before } = state
  if (name === 'normal' && (before === undefined || now - since > RECOVERY_IS_NEWS_MS)) return []
  const left = balance ? ` ${amount(balance.remaining)} credits are left.` : ''
  const data = {
    state: name,
    ...(before === undefined ? {} : { before }),
    since: new Date(since).toISOString(),
    ...(balance ? credits({ remaining: balance.remaining }) : {}),
  }
  return [{ key: `state:${name}:${since}`, type: 'credits.state', data, text: STATE_TEXTS[name] + left }]
}

function driftConditions({ drifts }: CreditFacts): Condition[] {
  return drifts.map(({ id, at, kind, amount: lost }) => ({
    key: `drift:${id}`,
    type: 'credits.drift',
    data: { id, kind, at: new Date(at).toISOString(), ...credits({ amount: lost }) },
    text: `${amount(lost)} credits left the Segmind account that this gateway did not spend: somebody else seems to use the shared key.`,
  }))
}

function keyCondition(sharedKey: Knowledge['sharedKey']): (Condition | OverCondition)[] {
  const key = 'upstream:unauthorized'
  if (sharedKey === undefined) return []
  if (sharedKey === 'accepted') return [{ key, isOver: true }]
  const text =
    'Segmind refuses the shared key: nothing can be bought until SEGMIND_API_KEY is right; cached answers are still served.'
  return [{ key, type: 'upstream.unauthorized', data: {}, text }]
}

/** Amounts as the credits that they are, under names that say so. */
function credits<Name extends string>(amounts: Record<Name, number>): Record<`${Name}Credits`, number> {
  const entries = Object.entries<number>(amounts).map(([name, nanocredits]) => [
    `${name}Credits`,
    toCredits(nanocredits),
  ])
  return Object.fromEntries(entries)
}
