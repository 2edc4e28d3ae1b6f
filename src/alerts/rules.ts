import type { BurnWindow, CreditStateName, SharedKeyState } from '../contracts/account.js'
import { defined } from '../contracts/defined.js'
import type { LedgerState } from '../contracts/ledger.js'
import { toCredits } from '../contracts/nanocredits.js'
import type { BudgetFact, ClearedCondition, Condition, CreditFacts } from './facts.js'
import { amount, duration, localTime, percent } from './wording.js'

/** The facts of one moment. A fact that is absent triggers and clears no condition. */
export interface RuleInputs {
  now: number
  /** `BUDGET_TIMEZONE`. */
  timeZone: string
  budgets?: readonly BudgetFact[] | undefined
  credits?: CreditFacts | undefined
  sharedKey?: SharedKeyState | undefined
  ledger?: LedgerState | undefined
}

/** Lists the conditions that hold, and those that have certainly cleared. */
export function evaluateRules(inputs: RuleInputs): (Condition | ClearedCondition)[] {
  const { budgets = [], credits, sharedKey, ledger, now } = inputs
  return [
    ...budgets.flatMap(budgetCondition),
    ...(credits
      ? [
          ...runwayConditions(credits, inputs),
          ...stateCondition(credits, now),
          ...driftConditions(credits),
          ...implausibleConditions(credits),
        ]
      : []),
    ...keyCondition(sharedKey),
    ...ledgerConditions(ledger),
  ]
}

/** Alerts on the highest crossed threshold, which covers the lower ones. */
function budgetCondition(budget: BudgetFact): Condition[] {
  const { team, window, windowName, limit, booked, alertAt } = budget
  const keyOf = (threshold: number) => `budget:${team}:${window}:${windowName}:${threshold}`
  const crossed = [...new Set(alertAt)]
    .filter(threshold => booked >= Math.round(threshold * limit))
    .sort((a, b) => b - a)
  const [threshold, ...lower] = crossed
  if (limit <= 0 || threshold === undefined) return []
  const share = booked / limit
  const used = `${amount(booked)} of ${amount(limit)} credits, including calls in flight`
  const text =
    `Team ${team} has used ${percent(share)} of its ${window} budget for ${windowName}: ${used}.` +
    (booked >= limit ? ' Further calls are refused. Cached results are still served.' : '')
  const data = { team, window, windowName, threshold, share, ...credits({ limit, booked }) }
  return [{ key: keyOf(threshold), type: 'budget.threshold', data, text, covers: lower.map(keyOf) }]
}

/**
 * Thresholds, the shortest first. Each uses the burn over its own length, or over the longest known
 * shorter window.
 */
const RUNWAYS: readonly { name: string; seconds: number; burns: readonly BurnWindow[] }[] = [
  { name: '2h', seconds: 7_200, burns: ['1h'] },
  { name: '24h', seconds: 86_400, burns: ['24h', '1h'] },
  { name: '7d', seconds: 604_800, burns: ['7d', '24h', '1h'] },
]
/**
 * A condition clears at this multiple of its threshold. In between it is neither sent again nor
 * cleared.
 */
const CLEAR_FACTOR = 1.2

/**
 * Alerts on the shortest threshold, which covers the longer ones. An empty account alerts by its
 * state instead.
 */
function runwayConditions(facts: CreditFacts, inputs: RuleInputs): (Condition | ClearedCondition)[] {
  const { balance, state } = facts
  if (!balance || balance.remaining <= 0 || state?.name === 'empty') return []
  const runways = RUNWAYS.flatMap(runway => {
    const burn = runway.burns.map(window => facts.burn[window]).find(found => found !== undefined)
    return burn === undefined ? [] : [{ ...runway, burn, left: burn > 0 ? balance.remaining / burn : Infinity }]
  })
  const cleared = runways.filter(({ left, seconds }) => left >= CLEAR_FACTOR * seconds)
  const [shortest, ...longer] = runways.filter(({ left, seconds }) => left < seconds)
  return [
    ...cleared.map(({ name }) => ({ key: `runway:${name}`, isCleared: true as const })),
    ...(shortest ? [runwayCondition(shortest, balance.remaining, longer, inputs)] : []),
  ]
}

interface ShortRunway {
  name: string
  burn: number
  left: number
}

function runwayCondition(
  { name, burn, left }: ShortRunway,
  remaining: number,
  longer: readonly ShortRunway[],
  { now, timeZone }: RuleInputs,
): Condition {
  const emptyAt = now + left * 1000
  const when = localTime(emptyAt, timeZone)
  const figures = `${amount(remaining)} credits left, ${amount(burn * 3600)} credits spent per hour`
  const text = `The Segmind account will be empty in about ${duration(left)} (${when}): ${figures}.`
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

const HOUR_MS = 3_600_000
/** Age up to which a recovery is sent. */
const RECOVERY_MAX_AGE_MS = 86_400_000

const STATE_TEXTS: Readonly<Record<CreditStateName, string>> = {
  normal: 'The Segmind account has enough credits again. All teams may spend.',
  reserve:
    'The Segmind account is down to its reserve. Only protected teams may spend. The others get cached results only.',
  empty: 'The Segmind account is out of credits. Only cached results are served until it is topped up.',
}

/**
 * Alerts on each change of the credit state. A gateway that starts with enough credits sends
 * nothing.
 */
function stateCondition({ state, balance }: CreditFacts, now: number): Condition[] {
  if (!state) return []
  const { name, since, before } = state
  if (name === 'normal' && (before === undefined || now - since > RECOVERY_MAX_AGE_MS)) return []
  const left = balance ? ` Balance: ${amount(balance.remaining)} credits.` : ''
  const data = {
    state: name,
    ...defined({ before }),
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
    text: `${amount(lost)} credits were spent outside of this gateway. Another client probably uses the shared key.`,
  }))
}

function implausibleConditions({ implausible }: CreditFacts): Condition[] {
  // One alert for each figure and hour: a broken upstream repeats itself.
  const nameOf = ({ figure, at }: (typeof implausible)[number]) => `${figure}:${Math.floor(at / HOUR_MS)}`
  const first = implausible.filter(
    (event, index) => implausible.findIndex(other => nameOf(other) === nameOf(event)) === index,
  )
  return first.map(event => implausibleCondition(nameOf(event), event))
}

function implausibleCondition(
  name: string,
  { id, at, figure, claimed, expected }: CreditFacts['implausible'][number],
): Condition {
  return {
    key: `implausible:${name}`,
    type: 'credits.implausible',
    data: { id, figure, at: new Date(at).toISOString(), ...credits({ claimed, expected }) },
    text:
      `Segmind stated a ${figure} of ${amount(claimed)} credits where about ${amount(expected)} were expected. ` +
      'The figure was not used.',
  }
}

function keyCondition(sharedKey: RuleInputs['sharedKey']): (Condition | ClearedCondition)[] {
  const key = 'upstream:unauthorized'
  if (sharedKey === undefined) return []
  if (sharedKey === 'accepted') return [{ key, isCleared: true }]
  const text =
    'Segmind refuses the shared key. No purchases are possible until SEGMIND_API_KEY is correct. ' +
    'Cached results are still served.'
  return [{ key, type: 'upstream.unauthorized', data: {}, text }]
}

const LEDGER_TEXTS = {
  lost:
    'The ledger was lost or rolled back, so budgets cannot be checked. Calls of teams with a budget are refused ' +
    'until an operator runs `segmind-gateway ledger accept`.',
  evictable:
    'Redis may evict the ledger, so budgets cannot be relied on. Calls of teams with a budget are refused ' +
    'until its maxmemory-policy is volatile-lru.',
}

function ledgerConditions(ledger: RuleInputs['ledger']): (Condition | ClearedCondition)[] {
  if (ledger === undefined) return []
  return (['lost', 'evictable'] as const).map(state => {
    const key = `ledger:${state}`
    if (state !== ledger) return { key, isCleared: true }
    return { key, type: 'ledger.not_whole', data: { ledger: state }, text: LEDGER_TEXTS[state] }
  })
}

/** Converts amounts to credits, and appends `Credits` to their names. */
function credits<Name extends string>(amounts: Record<Name, number>): Record<`${Name}Credits`, number> {
  const entries = Object.entries<number>(amounts).map(([name, nanocredits]) => [
    `${name}Credits`,
    toCredits(nanocredits),
  ])
  return Object.fromEntries(entries)
}
