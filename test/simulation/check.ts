import { ERRORS } from '../../src/contracts/errors.js'
import type { LedgerEntry } from '../../src/contracts/ledger.js'
import type { FaultKind, FaultRecord, History, UpstreamCall } from './history.js'

export interface Violation {
  rule: 'books' | 'once' | 'leftovers' | 'budgets' | 'answers' | 'events' | 'ledger' | 'errors'
  message: string
}

/**
 * Time after the end of a fault until everything it delayed has happened: connections reopen,
 * retries run.
 */
const AFTERMATH_MS = 10_000
/** Time until a mark of the ledger that the store has reaches every replica that has it too. */
const NOTICE_MS = 1_000
/**
 * Longest wait of a caller (`CLIENT_TIMEOUT_MS`), and what a purchase may need beyond it to answer.
 */
const PATIENCE_MS = 12_000
const MARGIN_MS = 500
const ROUNDING = 100
/** Longest time that a drained process finishes its calls (`SHUTDOWN_TIMEOUT_MS`). */
const DRAIN_MS = 20_000
/** The most that one call costs to the gateway's knowledge: ten times `PRICE_ESTIMATE_CREDITS`. */
const MAX_COST = 20_000_000

/** Compares what happened with what the gateway promises. */
export function check(history: History): Violation[] {
  const facts = factsOf(history)
  return [books, once, leftovers, budgets, answers, events, ledger, errors].flatMap(rule =>
    rule(history, facts).map(message => ({ rule: rule.name as Violation['rule'], message })),
  )
}

/** Facts that the rules derive from a history. */
interface Facts {
  entryOf(call: UpstreamCall): LedgerEntry | undefined
  callsOf(entry: LedgerEntry): UpstreamCall[]
  /**
   * Finds a fault of a kind whose effect reaches into an interval. `process` limits those of one
   * replica.
   */
  hadFault(kinds: readonly FaultKind[], from: number, to: number, process?: string): FaultRecord | undefined
  /** The store lost steps of the ledger. */
  isLost: boolean
}

const LOSSES: readonly FaultKind[] = ['store-emptied', 'store-rolled-back']
const OF_STORE: readonly FaultKind[] = ['store-frozen', 'store-full', ...LOSSES]
const OF_PROCESS: readonly FaultKind[] = ['link-down', 'link-lossy', 'frozen', 'killed', 'drained']

function factsOf({ calls, entries, faults }: History): Facts {
  const entryOfCall = new Map<UpstreamCall, LedgerEntry>()
  const byId = new Map(entries.map(entry => [entry.settled?.upstreamRequestId ?? '', entry]))
  for (const call of calls) {
    const own = byId.get(call.id)
    if (own) entryOfCall.set(call, own)
  }
  const named = new Set(entryOfCall.values())
  for (const call of calls) {
    if (entryOfCall.has(call)) continue
    // One request may have made several calls, each with an entry: the last one before the call.
    const own = entries.filter(({ requestId }) => requestId === call.requestId)
    const free = own.filter(entry => !named.has(entry))
    const found = free.sort((one, other) => one.at - other.at).at(-1)
    if (found) entryOfCall.set(call, found)
  }
  return {
    entryOf: call => entryOfCall.get(call),
    callsOf: entry => calls.filter(call => entryOfCall.get(call) === entry),
    hadFault: (kinds, from, to, process) =>
      faults.find(
        fault =>
          kinds.includes(fault.kind) &&
          fault.from <= to &&
          fault.to + AFTERMATH_MS >= from &&
          (process === undefined || fault.process === undefined || fault.process === process),
      ),
    isLost: faults.some(({ kind }) => LOSSES.includes(kind)),
  }
}

/**
 * Every billed call is booked, with its exact cost where it is known; sums, drift and balance
 * agree.
 */
function books(history: History, { entryOf, callsOf, isLost }: Facts): string[] {
  const { calls, entries, mismatches, account, segmind, spent, faults } = history
  const found = isLost ? [] : mismatches.map(mismatch => `sum and entries differ: ${mismatch}`)
  if (!isLost)
    for (const call of calls)
      if (call.cost > 0 && !entryOf(call)) found.push(`${call.id} was billed ${call.cost} and is not booked`)
  for (const entry of entries) {
    const { state, settled, callId } = entry
    const billed = callsOf(entry).reduce((sum, { cost }) => sum + cost, 0)
    const isExact = state === 'charged' && settled?.costSource !== 'estimate'
    // The balance shows what all calls have cost, also those that a lost ledger has forgotten.
    if (isLost && settled?.costSource === 'balance') continue
    // A wrong cost is believed if others spent as much just before: the balance has dropped by it, and
    // no comparison has attributed that yet. The balance is requested once a minute.
    const lies = callsOf(entry).filter(({ isLie }) => isLie)
    if (lies.some(({ at }) => faults.some(({ kind, from }) => kind === 'foreign' && at - from < 60_000))) continue
    // Foreign spending during the only unknown call looks like its cost (docs/credits.md).
    const foreign = faults.filter(({ kind, from }) => kind === 'foreign' && from <= (settled?.settledAt ?? 0))
    const extra = (settled?.cost ?? 0) - billed
    const isForeign = foreign.some(({ amount = 0 }) => Math.abs(amount - extra) <= ROUNDING)
    if (settled?.costSource === 'balance' && extra <= MAX_COST && isForeign) continue
    if (isExact && settled?.cost !== billed)
      found.push(`${callId} is charged ${settled?.cost} (${settled?.costSource}), and Segmind billed ${billed}`)
  }
  if (!account) return [...found, 'no balance was ever compared']
  if (account.remaining !== segmind.balance)
    found.push(`the last compared balance is ${account.remaining}, and Segmind's is ${segmind.balance}`)
  if (isLost) return found
  const declined = segmind.opening - segmind.balance + account.topUps
  // The first balance may have been compared after the first movement.
  const before = declined - spent - account.drift
  const isBefore = history.faults.some(
    ({ kind, amount }) => isMovement(kind) && Math.abs(amount ?? 0) === Math.abs(before),
  )
  if (before !== 0 && !isBefore) found.push(`booked ${spent} and drift ${account.drift} do not add up to ${declined}`)
  return found
}

const isMovement = (kind: FaultKind) => kind === 'foreign' || kind === 'top-up'

/** Nothing is paid for twice, unless a fault explains it. */
function once({ calls, requests }: History, { entryOf, hadFault }: Facts): string[] {
  const found: string[] = []
  const modes = new Map(requests.map(({ id, mode }) => [id, mode]))
  // A retry after a refusal belongs to the first decision to buy.
  const sentAt = new Map(calls.toReversed().map(({ requestId, at }) => [requestId, at]))
  const askedAt = new Map(requests.map(({ id, at }) => [id, at]))
  const answeredAt = new Map(requests.map(({ id, endedAt }) => [id, endedAt]))
  for (const [index, repeated] of calls.entries()) {
    const second = { ...repeated, at: sentAt.get(repeated.requestId) ?? repeated.at }
    if (modes.get(second.requestId) === 'no-cache') continue
    for (const first of calls.slice(0, index)) {
      if (first.input !== second.input || first.requestId === second.requestId) continue
      const isAlone = modes.get(first.requestId) === 'no-cache'
      // Other replicas do not see a purchase that a caller demanded, and may wait for a slot until
      // it ends.
      const since = isAlone ? (askedAt.get(second.requestId) ?? 0) : second.at
      // Its result may wait for the balance that weighs its cost, and is kept only then.
      const keptAt = isAlone ? (answeredAt.get(first.requestId) ?? first.endedAt) : first.endedAt
      const isRunning = first.endedAt === undefined || (keptAt ?? 0) > since
      if (isRunning && isAlone) continue
      // A failed call answers nobody, so the next one may pay.
      if (!isRunning && !first.isDelivered) continue
      const kinds = [...OF_STORE, ...(isRunning ? [] : (['store-evicted'] as const))]
      const from = Math.min(first.at, second.at)
      const isExplained =
        hadFault(kinds, from, repeated.at) ??
        hadFault(OF_PROCESS, from, repeated.at, first.process) ??
        hadFault(OF_PROCESS, from, repeated.at, second.process)
      const kind = entryOf(repeated)?.purchase ?? 'first'
      if (!isExplained)
        found.push(`${second.id} (${kind}) repeats ${first.id} of input ${second.input} without a fault`)
    }
  }
  return found
}

/**
 * Nothing is left but a lease, until its name is asked for again: of a process that was killed, or
 * one that a heartbeat took again that reached a frozen store after the release, on an older
 * connection. A process that is drained tries a failed release once more, and then leaves it to its
 * followers.
 */
function leftovers({ leftovers: left, faults }: History, { hadFault }: Facts): string[] {
  const mayHoldLease = faults.some(
    ({ kind, from, to, process }) =>
      ['killed', 'store-frozen', ...LOSSES].includes(kind) ||
      (kind === 'drained' && hadFault(['store-full', 'link-down', 'link-lossy'], from, to + DRAIN_MS, process)),
  )
  return Object.entries(left).flatMap(([name, count]) =>
    count > 0 && !(name === 'leases' && mayHoldLease) ? [`${count} ${name} are left`] : [],
  )
}

/** A team exceeds its budget by the errors of its estimates at most. */
function budgets({ entries, plan }: History, { isLost }: Facts): string[] {
  if (isLost) return []
  return plan.teams.flatMap(({ id, daily }) => {
    const own = entries.filter(({ team }) => team === id)
    const booked = own.reduce((sum, { settled }) => sum + (settled?.cost ?? 0), 0)
    const excess = own.reduce((sum, { settled, estimate }) => sum + Math.max(0, (settled?.cost ?? 0) - estimate), 0)
    return daily !== undefined && booked > daily + excess ? [`${id} spent ${booked} of ${daily}, excess ${excess}`] : []
  })
}

/** Every request is answered once, in time, with its own picture or a documented error. */
function answers({ requests, faults, calls, cached }: History, { hadFault }: Facts): string[] {
  const found: string[] = []
  for (const { id, outcomes, picture, input, process, at, endedAt = Number.POSITIVE_INFINITY, mode } of requests) {
    const [outcome, ...more] = outcomes
    const wasKilled = faults.some(({ kind, process: of }) => kind === 'killed' && of === process)
    if (more.length > 0) found.push(`${id} was answered ${outcomes.length} times`)
    if (outcome === undefined && !wasKilled) found.push(`${id} was never answered`)
    if (outcome === undefined) continue
    if (picture !== undefined && picture !== input) found.push(`${id} asked for ${input} and got ${picture}`)
    if (picture === undefined && (!(outcome in ERRORS) || outcome === 'internal_error')) found.push(`${id}: ${outcome}`)
    const frozenMs = faults.reduce((sum, fault) => {
      const isOwn = fault.kind === 'frozen' && fault.process === process
      return isOwn ? sum + Math.max(0, Math.min(endedAt, fault.to) - Math.max(at, fault.from)) : sum
    }, 0)
    if (endedAt - at > PATIENCE_MS + frozenMs + 2 * MARGIN_MS + 1_000) found.push(`${id} waited ${endedAt - at} ms`)
    if (mode === 'only-if-cached' && picture === undefined && outcome !== 'not_cached') found.push(`${id}: ${outcome}`)
  }
  for (const { input, isDelivered, process, endedAt = 0, id } of calls) {
    const isLost =
      hadFault([...LOSSES, 'store-evicted'], endedAt - AFTERMATH_MS, Number.POSITIVE_INFINITY) ??
      hadFault(['killed'], endedAt - AFTERMATH_MS, Number.POSITIVE_INFINITY, process)
    if (isDelivered && !cached.includes(input) && !isLost) found.push(`the picture of ${id} is not kept`)
  }
  return found
}

/** Every event of the account is explained by something that really happened. */
function events({ account, faults, calls, logs, entries }: History, { isLost, hadFault }: Facts): string[] {
  const found: string[] = []
  const had = (kind: FaultKind, at: number) => faults.some(fault => fault.kind === kind && fault.from <= at)
  for (const { kind, at, amount } of account?.events ?? []) {
    const isDoubtful = isLost || entries.some(({ settled }) => settled?.costSource !== 'header')
    // The first balance is compared with nothing, so a wrong one is corrected by a movement.
    const isMoved = (real: FaultKind) =>
      isLost || had(real, at) || had('balance-lie', at) || isPartition(at, amount) || isRepeatedLie(at)
    const isExplained = {
      topUp: isMoved('top-up'),
      foreign: isMoved('foreign'),
      unknown: isDoubtful || calls.some(({ status }) => status === undefined),
      estimate: isDoubtful,
      price: had('price', at),
      implausible: isMoved('foreign') || isMovedTwice(at) || calls.some(({ isLie, at: since }) => isLie && since <= at),
    }[kind]
    if (!isExplained) found.push(`event ${kind} of ${amount} at ${at} has no cause`)
  }
  /** A second top-up, before the first one is confirmed, shows another difference than that. */
  function isMovedTwice(until: number): boolean {
    return faults.filter(({ kind, from }) => kind === 'top-up' && from <= until).length > 1
  }
  /**
   * Calls of a replica that cannot reach the store look like those of others, until it can
   * (docs/credits.md).
   */
  function isPartition(at: number, amount: number): boolean {
    const isUnbooked = ({ at: sentAt, process }: UpstreamCall) =>
      sentAt <= at && hadFault([...OF_STORE, ...OF_PROCESS], sentAt, at, process) !== undefined
    return Math.abs(amount) <= calls.filter(isUnbooked).reduce((sum, { cost }) => sum + cost, 0) + ROUNDING
  }
  /**
   * A second response that shows the same difference confirms it, but for calls in flight
   * (docs/credits.md).
   */
  function isRepeatedLie(until: number): boolean {
    const lies = calls.filter(({ balanceError, at }) => balanceError !== undefined && at <= until)
    return lies.some((one, index) =>
      lies.slice(index + 1).some(other => {
        const end = Math.max(one.endedAt ?? until, other.endedAt ?? until)
        const between = calls.filter(({ at, endedAt = until }) => at <= end && endedAt >= one.at).length
        return Math.abs((one.balanceError ?? 0) - (other.balanceError ?? 0)) <= between * MAX_COST
      }),
    )
  }
  for (const { message, fields, process, at } of logs)
    if (message.startsWith('ledger was lost') && !isLost)
      found.push(`${process} reports a lost ledger at ${at}: ${JSON.stringify(fields)}`)
  return found
}

/** A lost ledger is noticed, and closes budgets until it is accepted. */
function ledger({ faults, calls, requests, plan, acceptedAt, logs }: History, _facts: Facts): string[] {
  const budgeted = new Set(plan.teams.filter(({ daily }) => daily !== undefined).map(({ id }) => id))
  const byId = new Map(requests.map(request => [request.id, request]))
  const reported = logs.find(({ message }) => message.startsWith('ledger was lost'))
  const isUnseen = faults.findLast(({ kind }) => LOSSES.includes(kind))?.isSeen === true && acceptedAt === undefined
  if (isUnseen) return ['the ledger was lost, and no replica has noticed it']
  if (!reported) return []
  const closedFrom = reported.at + NOTICE_MS
  return calls.flatMap(({ id, requestId }) => {
    const { at = 0, team = '' } = byId.get(requestId) ?? {}
    // A request before that may have reserved, and wait for its slot.
    const isClosed = at > closedFrom && at < (acceptedAt ?? Number.POSITIVE_INFINITY)
    const wasLostAgain = faults.some(({ kind, from }) => LOSSES.includes(kind) && from > reported.at)
    return isClosed && !wasLostAgain && budgeted.has(team)
      ? [`${id} was made for a team with a budget while the ledger was lost`]
      : []
  })
}

/** No error is uncaught, and no step of the ledger or result is given up. */
function errors({ uncaught, logs }: History, { isLost }: Facts): string[] {
  const bad = /^(ledger step lost|sum of the ledger differs|paid result not written)/
  const lines = logs.filter(({ message }) => bad.test(message) && !(isLost && message.startsWith('sum')))
  return [
    ...uncaught,
    ...lines.map(({ process, message, fields }) => `${process}: ${message} ${JSON.stringify(fields)}`),
  ]
}

/**
 * In days without faults, nothing is reported but the price change, the top-up and the alert of
 * neither; every call is charged by its header, and every budget and the balance are exact.
 */
export function checkClean(history: History, alerts: ReadonlyMap<string, number>): Violation[] {
  const { account, faults, entries, logs, requests, segmind } = history
  const found = [...alerts].map(([key, at]) => `alert ${key} at ${at}`)
  const kinds = (account?.events ?? []).map(({ kind, amount }) => (kind === 'topUp' ? `${kind} ${amount}` : kind))
  const expected = faults.flatMap(({ kind, amount }) =>
    kind === 'top-up' ? [`topUp ${amount}`] : kind === 'price' ? ['price'] : [],
  )
  if (kinds.sort().join() !== expected.sort().join()) found.push(`events ${kinds.join()} instead of ${expected.join()}`)
  if (account?.drift !== 0 || account.topUps !== segmind.topUps)
    found.push(`drift ${account?.drift}, top-ups ${account?.topUps} instead of ${segmind.topUps}`)
  for (const { settled, callId } of entries)
    if (settled?.costSource !== 'header') found.push(`${callId} is charged by ${settled?.costSource}`)
  const isHarmless = (message: string) => message === 'the change of the balance differs from what was booked'
  for (const { level, message, at } of logs)
    if (level !== 'info' && !isHarmless(message)) found.push(`${level} at ${at}: ${message}`)
  for (const { id, outcomes } of requests)
    if (!['hit', 'miss', 'coalesced', 'bypass', 'not_cached'].includes(outcomes[0] ?? ''))
      found.push(`${id}: ${outcomes[0]}`)
  return found.map(message => ({ rule: 'events', message }))
}
