import t from 'tap'
import type { LedgerEntry } from '../../src/contracts/store.js'
import { audit, type Violation } from './auditor.js'
import type { ClientRequest, FaultEvent, FinalAnswer, GatewayInstance, History, UpstreamCall } from './history.js'

/** An arbitrary time. All other times are milliseconds after it. */
const STARTED_AT = Date.parse('2026-11-22T12:00:00Z')
const COST = 1_500_000
const ESTIMATE = 2_000_000

/**
 * Returns a history without violations: one request, one call, one charge, and a hit at the end.
 */
function aHistory(changes: Partial<History> = {}): History {
  const history: History = {
    seed: 1,
    api: 'v1',
    timeoutMs: 3_000,
    clientTimeoutMs: 20_000,
    budgets: { thrifty: 4_000_000 },
    calls: [aCall(0)],
    requests: [aRequest(0)],
    finals: [aFinal()],
    instances: [anInstance('a'), anInstance('b')],
    faults: [],
    ledger: [anEntry(0)],
    usage: [],
    discardedLedgers: [],
    clockOffsetsMs: [0, 0, 0],
    hasAllRows: true,
    events: [],
    ledgerStates: ['ok', 'ok'],
    learned: { ledger: [], usage: [] },
    harnessErrors: [],
    ...changes,
  }
  const { ledger, usage = usageOf(ledger) } = { ...history, usage: changes.usage }
  return { ...history, usage, learned: changes.learned ?? { ledger, usage } }
}

function aCall(index: number, changes: Partial<UpstreamCall> = {}): UpstreamCall {
  const at = changes.at ?? STARTED_AT + 100 + index * 10_000
  return {
    index,
    requestId: `call-${index}`,
    instance: 'a',
    input: 0,
    kind: 'normal',
    at,
    endedAt: at + 500,
    cost: COST + index,
    billed: 'yes',
    isPaid: changes.billed === undefined || changes.billed === 'yes',
    status: 200,
    deliveries: [{ instance: changes.instance ?? 'a', at: at + 500 }],
    jobAccepted: false,
    ...changes,
  }
}

/** Returns a call without a response: it may have been billed. */
function aLostCall(index: number, changes: Partial<UpstreamCall> = {}): UpstreamCall {
  const { status: _none, ...call } = aCall(index, { kind: 'reset', billed: 'maybe', deliveries: [], ...changes })
  return call
}

function aRequest(index: number, changes: Partial<ClientRequest> = {}): ClientRequest {
  const at = STARTED_AT + 50 + index * 10_000
  const picture = { requestId: `call-${index}`, input: 0 }
  return {
    id: `request-${index}`,
    input: 0,
    team: 'free',
    instance: 'a',
    at,
    endedAt: at + 600,
    outcome: { kind: 'answered', cache: 'MISS', cost: '0.0015', picture },
    ...changes,
  }
}

/** Returns the entry of the call and the request with the same number. */
function anEntry(index: number, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  const settled = { outcome: 'charged', cost: COST + index, costSource: 'header', settledAt: STARTED_AT } as const
  return {
    callId: `entry-${index}`,
    team: 'free',
    keyId: 'k',
    requestId: `request-${index}`,
    at: STARTED_AT + 60 + index * 10_000,
    day: '2026-11-22',
    month: '2026-11',
    resultId: 'r',
    estimate: ESTIMATE,
    state: 'charged',
    settled: { ...settled, upstreamRequestId: `call-${index}` },
    ...changes,
  }
}

function anUnknown(index: number, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  const settledAt = STARTED_AT + 700 + index * 10_000
  const settled = { outcome: 'unknown', cost: ESTIMATE, costSource: 'estimate', settledAt } as const
  return anEntry(index, { state: 'unknown', settled, ...changes })
}

function aReservation(index: number): LedgerEntry {
  const { settled: _none, ...entry } = anEntry(index)
  return { ...entry, state: 'reserved' }
}

function aFinal(changes: Partial<FinalAnswer> = {}): FinalAnswer {
  const picture = { requestId: 'call-0', input: 0 }
  return { input: 0, gateway: 0, at: STARTED_AT + 60_000, status: 200, cache: 'HIT', picture, ...changes }
}

function aFinalMiss(): FinalAnswer {
  const { picture: _none, ...final } = aFinal({ status: 504, cache: '' })
  return final
}

function anInstance(id: string, changes: Partial<GatewayInstance> = {}): GatewayInstance {
  const ended = { at: STARTED_AT + 70_000, how: 'stopped', code: 0 } as const
  return {
    id,
    gateway: 0,
    startedAt: STARTED_AT - 1_000,
    listeningAt: STARTED_AT,
    stoppingAt: STARTED_AT + 69_000,
    ended,
    ...changes,
  }
}

function aKilledInstance(id: string, afterMs: number): GatewayInstance {
  const { stoppingAt: _none, ...instance } = anInstance(id)
  return { ...instance, ended: { at: STARTED_AT + afterMs, how: 'killed', code: null } }
}

function aFault(kind: FaultEvent['kind'], fromMs: number, toMs: number, instance?: string): FaultEvent {
  return { kind, from: STARTED_AT + fromMs, to: STARTED_AT + toMs, ...(instance !== undefined && { instance }) }
}

function usageOf(ledger: readonly LedgerEntry[]): History['usage'] {
  const teams = [...new Set(ledger.map(({ team }) => team))]
  return teams.map(team => {
    const activity = { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
    const amounts = { paidCalls: 0, charged: 0, unknownCalls: 0, unknown: 0, reservedCalls: 0, reserved: 0, shared: 0 }
    for (const { state, settled, estimate } of ledger.filter(entry => entry.team === team)) {
      amounts[state] += settled?.cost ?? estimate
      amounts[({ charged: 'paidCalls', unknown: 'unknownCalls', reserved: 'reservedCalls' } as const)[state]]++
    }
    return { team, day: '2026-11-22', ...activity, ...amounts }
  })
}

const problem = (code: string, status: number) =>
  ({ kind: 'problem', status, contentType: 'application/problem+json; charset=utf-8', code }) as const

/** Returns a history in which a second request for the same input has its own call and charge. */
function boughtTwice(changes: { call?: Partial<UpstreamCall>; entry?: Partial<LedgerEntry> } & Partial<History> = {}) {
  const { call, entry, ...rest } = changes
  const instance = call?.instance ?? 'b'
  return aHistory({
    calls: [aCall(0), aCall(1, { instance, ...call })],
    requests: [aRequest(0), aRequest(1, { instance })],
    ledger: [anEntry(0), anEntry(1, entry)],
    ...rest,
  })
}

const jobs = { api: 'v2' } as const
const aJob = (index: number, changes: Partial<UpstreamCall> = {}) => aCall(index, { jobAccepted: true, ...changes })

const LOST = ['lost', 'lost']
const NO_ID = {
  settled: { outcome: 'unknown', cost: ESTIMATE, costSource: 'estimate', settledAt: STARTED_AT } as const,
}
/** A second call that was billed, and whose response was lost. */
const lost = {
  seed: 2,
  calls: [aCall(0), aLostCall(1, { input: 1, isPaid: true })],
  requests: [aRequest(0), aRequest(1, { input: 1, outcome: problem('upstream_failed', 502) })],
  ledger: [anEntry(0), anUnknown(1, { ...NO_ID, resultId: 'r1' })],
}
const aMisstatedCall = aCall(0, { statedCost: 150 * COST, hasWrongFigures: true })

const VIOLATIONS: Record<string, [rule: Violation['rule'], pattern: RegExp, history: History]> = {
  'a billed call without an entry': ['money', /call-0 .* not in the ledger/, aHistory({ ledger: [] })],
  'an unanswered call without an entry': [
    'money',
    /call-1 .* not in the ledger/,
    aHistory({ calls: [aCall(0), aLostCall(1)], requests: [aRequest(0), aRequest(1)] }),
  ],
  'two lost calls that share an entry': [
    'money',
    /call-1 .* share/,
    aHistory({
      calls: [aLostCall(0), aLostCall(1)],
      requests: [aRequest(0, { outcome: problem('upstream_failed', 502) })],
      ledger: [anUnknown(0)],
      finals: [],
    }),
  ],
  'a charge that differs from the cost of the call': [
    'money',
    /charged 7 for call-0 .* cost 1500000/,
    aHistory({ ledger: [anEntry(0, { settled: { ...anEntry(0).settled!, cost: 7 } })] }),
  ],
  'a charge without a call': [
    'money',
    /charged for call-9, which never arrived/,
    aHistory({ ledger: [anEntry(0), anEntry(9)] }),
  ],
  'two charges for one call': [
    'money',
    /call-0 .* charged 2 times/,
    aHistory({ ledger: [anEntry(0), anEntry(0, { callId: 'another' })] }),
  ],
  'a charge for a refused call': [
    'money',
    /call-0 .* was not billed/,
    aHistory({ calls: [aCall(0, { kind: 'busy', billed: 'no', status: 429, deliveries: [] })], finals: [] }),
  ],
  'an unknown entry for a call that was refused in time': [
    'money',
    /booked as unknown for call-0 .* 500/,
    aHistory({
      calls: [aCall(0, { billed: 'no', status: 500, deliveries: [] })],
      ledger: [anUnknown(0)],
      finals: [],
    }),
  ],
  'an unknown entry without a call of a process that was not killed': [
    'money',
    /booked as unknown for no call/,
    aHistory({
      ledger: [anEntry(0), anUnknown(1)],
      requests: [aRequest(0), aRequest(1, { input: 1, outcome: problem('upstream_failed', 502) })],
    }),
  ],
  'an entry that stays reserved': ['money', /still reserved/, aHistory({ ledger: [anEntry(0), aReservation(1)] })],
  'a charge for another input': [
    'money',
    /of another input/,
    aHistory({
      requests: [aRequest(0), aRequest(1, { input: 1, outcome: problem('not_cached', 504) })],
      ledger: [anEntry(0, { requestId: 'request-1' })],
    }),
  ],
  'a call while another is in flight': [
    'once',
    /while a purchase was in flight/,
    boughtTwice({ call: { at: STARTED_AT + 300 }, entry: { at: STARTED_AT + 250 } }),
  ],
  'a call after a successful one': ['once', /bought again after a successful call/, boughtTwice()],
  'a call after a successful one whose process was killed long after it could store the result': [
    'once',
    /bought again/,
    boughtTwice({ instances: [aKilledInstance('a', 9_000), anInstance('b')] }),
  ],
  'a job that is submitted again': [
    'once',
    /submitted again/,
    boughtTwice({
      ...jobs,
      calls: [aJob(0), aJob(1, { instance: 'b' })],
      ledger: [anEntry(0, { jobId: 'call-0' }), anEntry(1, { purchase: 'takeover' })],
      instances: [aKilledInstance('a', 3_000), anInstance('b')],
    }),
  ],
  'a job that is submitted again although its id was stored before its process was killed': [
    'once',
    /submitted again/,
    boughtTwice({
      ...jobs,
      calls: [aJob(0, { deliveries: [] }), aJob(1, { instance: 'b' })],
      requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { instance: 'b' })],
      ledger: [anUnknown(0, { jobId: 'call-0' }), anEntry(1, { purchase: 'takeover' })],
      instances: [aKilledInstance('a', 3_000), anInstance('b')],
    }),
  ],
  'an unguarded purchase with a working store': [
    'once',
    /marked unguarded/,
    aHistory({ ledger: [anEntry(0, { purchase: 'unguarded' })] }),
  ],
  'a takeover without an earlier leader': [
    'once',
    /marked takeover/,
    aHistory({ ledger: [anEntry(0, { purchase: 'takeover' })] }),
  ],
  'a response with an unknown picture': [
    'answers',
    /got an unknown picture/,
    aHistory({ requests: [aRequest(0, { outcome: { kind: 'answered', cache: 'MISS', cost: '0', picture: {} } })] }),
  ],
  'a response with the picture of another input': [
    'answers',
    /got the picture of call-7/,
    aHistory({
      requests: [
        aRequest(0, {
          outcome: { kind: 'answered', cache: 'HIT', cost: '0', picture: { requestId: 'call-7', input: 3 } },
        }),
      ],
    }),
  ],
  'a paid result that is not cached at the end': [
    'answers',
    /not cached, though call-0/,
    aHistory({ finals: [aFinalMiss()] }),
  ],
  'a paid result that a frozen Redis lost': [
    'answers',
    /not cached, though call-0/,
    aHistory({ finals: [aFinalMiss()], faults: [aFault('redis-frozen', 0, 2_000)] }),
  ],
  'an error in response to a final request': [
    'answers',
    /got status 500/,
    aHistory({ finals: [aFinal({ status: 500 })] }),
  ],
  'a miss in response to a final request': ['answers', /got MISS/, aHistory({ finals: [aFinal({ cache: 'MISS' })] })],
  'a total that differs from its entries': [
    'totals',
    /usage of free reports/,
    aHistory({ usage: usageOf([anEntry(0), anEntry(1)]) }),
  ],
  'an entry in no total': ['totals', /missing from the usage/, aHistory({ usage: [] })],
  'an exceeded budget': [
    'totals',
    /thrifty has booked 4500\d+ of 4000000/,
    aHistory({
      calls: [0, 1, 2].map(index => aCall(index, { input: index })),
      requests: [0, 1, 2].map(index => aRequest(index, { input: index, outcome: problem('upstream_slow', 504) })),
      ledger: [0, 1, 2].map(index => anEntry(index, { team: 'thrifty' })),
    }),
  ],
  'a request that hangs': [
    'protocol',
    /request-0 waited 26/,
    aHistory({ requests: [aRequest(0, { endedAt: STARTED_AT + 26_500 })] }),
  ],
  'a connection that breaks although its gateway runs': [
    'protocol',
    /cut off: ECONNRESET/,
    aHistory({ requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } })] }),
  ],
  'an undocumented error code': [
    'protocol',
    /got 502 oops/,
    aHistory({ requests: [aRequest(0, { outcome: problem('oops', 502) })] }),
  ],
  'an error code with another status': [
    'protocol',
    /got 500 upstream_failed/,
    aHistory({ requests: [aRequest(0, { outcome: problem('upstream_failed', 500) })] }),
  ],
  'an internal error of the gateway': [
    'protocol',
    /got 500 internal_error/,
    aHistory({ requests: [aRequest(0, { outcome: problem('internal_error', 500) })] }),
  ],
  'an error that is not a problem body': [
    'protocol',
    /as text\/html/,
    aHistory({
      requests: [aRequest(0, { outcome: { ...problem('upstream_failed', 502), contentType: 'text/html' } })],
    }),
  ],
  'a gateway that does not exit with 0': [
    'protocol',
    /ended with 1 on SIGTERM/,
    aHistory({
      instances: [anInstance('a', { ended: { at: STARTED_AT + 70_000, how: 'stopped', code: 1 } }), anInstance('b')],
    }),
  ],
  'a gateway that stops before its paid calls ended': [
    'protocol',
    /before its paid calls ended/,
    aHistory({ instances: [anInstance('a', { stoppedEarly: true }), anInstance('b')] }),
  ],
  'a failure of the harness': ['protocol', /not idle/, aHistory({ harnessErrors: ['not idle'] })],
  'a loss of the ledger that no gateway notices': [
    'whole',
    /gateway 1 says that the ledger is ok, after redis-flushed/,
    aHistory({ faults: [aFault('redis-flushed', 2_000, 2_100)], ledgerStates: ['lost', 'ok'] }),
  ],
  'a loss that did not happen': [
    'whole',
    /gateway 0 says that the ledger is lost, after no loss/,
    aHistory({ faults: [aFault('redis-restarted', 2_000, 2_100)], ledgerStates: ['lost', 'ok'] }),
  ],
  'a purchase with a budget after the loss': [
    'whole',
    /entry-1.*of a team with a budget was bought while the ledger was lost/,
    boughtTwice({
      call: { instance: 'a' },
      entry: { team: 'thrifty', at: STARTED_AT + 10_060 },
      discardedLedgers: [[anEntry(0)]],
      faults: [aFault('redis-emptied', 2_000, 3_000)],
      ledgerStates: LOST,
    }),
  ],
  'a purchase with a budget while Redis may evict the ledger': [
    'whole',
    /entry-1.*was bought while the ledger was lost or could be/,
    boughtTwice({
      entry: { team: 'thrifty', at: STARTED_AT + 10_060 },
      faults: [aFault('redis-evicted', 8_000, 12_000)],
      ledgerStates: LOST,
    }),
  ],
  'a top-up that did not happen': ['whole', /event of kind topUp without a cause/, aHistory({ events: ['topUp'] })],
  'an implausible figure where all were right': [
    'whole',
    /event of kind implausible/,
    aHistory({ events: ['implausible'] }),
  ],
  'a wrong cost that is believed': [
    'money',
    /is charged 225000000 for call-0/,
    aHistory({
      calls: [aMisstatedCall],
      ledger: [{ ...anEntry(0), settled: { ...anEntry(0).settled!, cost: 150 * COST } }],
    }),
  ],
  'an unknown call whose row was not used': [
    'learned',
    /entry-1.*is unknown after the history was read/,
    aHistory(lost),
  ],
  'a row that was used twice': [
    'learned',
    /entry-1.*shares call-0 with another/,
    aHistory({ learned: { ledger: [anEntry(0), { ...anEntry(0), callId: 'entry-1' }], usage: [] } }),
  ],
  'a wrong cost from the history': [
    'learned',
    /entry-0.*costs 1 after the history was read, call-0 .* 1500000/,
    aHistory({ learned: { ledger: [{ ...anEntry(0), settled: { ...anEntry(0).settled!, cost: 1 } }], usage: [] } }),
  ],
  'a charge that the history removed': [
    'learned',
    /entry-0.*was charged and is gone/,
    aHistory({ learned: { ledger: [], usage: [] } }),
  ],
  'sums that differ after the history was read': [
    'learned',
    /entry-0.*is missing from the usage/,
    aHistory({ learned: { ledger: [anEntry(0)], usage: [] } }),
  ],
}

const ACCEPTED: Record<string, History> = {
  'a history without a fault': aHistory(),
  'a lost call booked as unknown': aHistory({
    calls: [aLostCall(0)],
    requests: [aRequest(0, { outcome: problem('upstream_failed', 502) })],
    ledger: [anUnknown(0)],
    finals: [aFinalMiss()],
  }),
  'another purchase just after a lost call': aHistory({
    calls: [
      aLostCall(0, { kind: 'reset-before', billed: 'no', endedAt: STARTED_AT + 101 }),
      aLostCall(1, {
        at: STARTED_AT + 150,
      }),
    ],
    requests: [0, 1].map(index => aRequest(index, { outcome: problem('upstream_failed', 502) })),
    ledger: [
      anUnknown(0, { settled: { ...anUnknown(0).settled!, settledAt: STARTED_AT + 105 } }),
      anUnknown(1, { at: STARTED_AT + 120 }),
    ],
    finals: [aFinalMiss()],
  }),
  'a refused attempt before a successful one': aHistory({
    calls: [
      aCall(0, { kind: 'busy', billed: 'no', status: 429, deliveries: [] }),
      aCall(1, { at: STARTED_AT + 1_000, cost: COST }),
    ],
    ledger: [anEntry(0, { settled: { ...anEntry(0).settled!, upstreamRequestId: 'call-1' } })],
  }),
  'a refusal after the timeout': aHistory({
    calls: [aCall(0, { billed: 'no', status: 500, deliveries: [], endedAt: STARTED_AT + 3_100 })],
    requests: [aRequest(0, { outcome: problem('upstream_timeout', 504) })],
    ledger: [anUnknown(0)],
    finals: [aFinalMiss()],
  }),
  'an unknown entry of a process that was killed before its call': aHistory({
    calls: [],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } })],
    ledger: [anUnknown(0)],
    instances: [aKilledInstance('a', 200)],
    finals: [],
  }),
  'another purchase after a failure': boughtTwice({
    calls: [aLostCall(0), aCall(1, { instance: 'b' })],
    ledger: [anUnknown(0), anEntry(1)],
    requests: [aRequest(0, { outcome: problem('upstream_failed', 502) }), aRequest(1, { instance: 'b' })],
  }),
  'a takeover from a killed process': boughtTwice({
    calls: [aLostCall(0, { endedAt: STARTED_AT + 400 }), aCall(1, { instance: 'b' })],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { instance: 'b' })],
    ledger: [anUnknown(0), anEntry(1, { purchase: 'takeover' })],
    instances: [aKilledInstance('a', 400), anInstance('b')],
  }),
  'an unguarded purchase beside another, without a store': boughtTwice({
    call: { at: STARTED_AT + 300 },
    entry: { at: STARTED_AT + 250, purchase: 'unguarded' },
    faults: [aFault('redis-restarted', 200, 1_500)],
  }),
  'a repeated purchase after Redis was emptied': boughtTwice({
    faults: [aFault('redis-emptied', 2_000, 3_000)],
    ledgerStates: LOST,
  }),
  'a repeated purchase after the first process was killed before it stored the result': boughtTwice({
    instances: [aKilledInstance('a', 650), anInstance('b')],
  }),
  'a job submitted again because no ledger has its id': boughtTwice({
    ...jobs,
    calls: [aJob(0, { deliveries: [] }), aJob(1, { instance: 'b' })],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { instance: 'b' })],
    ledger: [anUnknown(0), anEntry(1, { purchase: 'takeover' })],
    instances: [aKilledInstance('a', 650), anInstance('b')],
  }),
  'a result that was lost with its Redis': aHistory({
    finals: [aFinalMiss()],
    faults: [aFault('redis-emptied', 2_000, 3_000)],
    ledgerStates: LOST,
  }),
  'an entry that was lost with its Redis': aHistory({
    ledger: [],
    discardedLedgers: [[anEntry(0)]],
    faults: [aFault('redis-emptied', 2_000, 3_000)],
    ledgerStates: LOST,
  }),
  'a loss that only a killed gateway could have noticed': aHistory({
    ledger: [],
    discardedLedgers: [[anEntry(0)]],
    faults: [aFault('redis-flushed', 2_000, 2_100)],
    instances: [aKilledInstance('a', 1_900), anInstance('b')],
  }),
  'sums that are too small after an eviction': aHistory({
    usage: [],
    faults: [aFault('redis-evicted', 2_000, 3_000)],
    ledgerStates: LOST,
  }),
  'the estimate for a call whose response stated a wrong cost': aHistory({
    calls: [aMisstatedCall],
    ledger: [{ ...anEntry(0), settled: { ...anEntry(0).settled!, cost: ESTIMATE, costSource: 'estimate' } }],
    learned: { ledger: [anEntry(0)], usage: usageOf([anEntry(0)]) },
    events: ['implausible'],
  }),
  'an unknown call whose row is missing': aHistory({ ...lost, hasAllRows: false }),
  'an unknown call of two that share one row': aHistory({
    ...lost,
    calls: [...lost.calls, aLostCall(2, { input: 1, kind: 'reset-before' })],
    requests: [...lost.requests, aRequest(2, { input: 1, outcome: problem('upstream_failed', 502) })],
    ledger: [...lost.ledger, anUnknown(2, { ...NO_ID, resultId: 'r1' })],
  }),
  'a call reserved in one Redis and charged in another': aHistory({ discardedLedgers: [[aReservation(0)]] }),
  'a reservation that only a discarded Redis has': aHistory({ discardedLedgers: [[aReservation(1)]] }),
  'a budget exceeded by a call that cost more than its estimate': aHistory({
    calls: [0, 1].map(index => aCall(index, { input: index, cost: 2_400_000 })),
    requests: [0, 1].map(index => aRequest(index, { input: index, outcome: problem('upstream_slow', 504) })),
    ledger: [0, 1].map(index =>
      anEntry(index, { team: 'thrifty', settled: { ...anEntry(index).settled!, cost: 2_400_000 } }),
    ),
  }),
  'a connection that breaks because its gateway was killed': aHistory({
    requests: [aRequest(0), aRequest(1, { instance: 'b', outcome: { kind: 'broken', message: 'ECONNRESET' } })],
    instances: [anInstance('a'), aKilledInstance('b', 10_300)],
  }),
  'a request that waits for a frozen gateway': aHistory({
    requests: [aRequest(0, { endedAt: STARTED_AT + 26_500 })],
    faults: [aFault('gateway-frozen', 5_000, 8_000, 'a')],
  }),
}

for (const [name, [rule, pattern, history]] of Object.entries(VIOLATIONS)) {
  t.test(`${name} is a violation`, async t => {
    const found = audit(history)
    t.ok(
      found.some(violation => violation.rule === rule && pattern.test(violation.message)),
      JSON.stringify(found),
    )
  })
}

for (const [name, history] of Object.entries(ACCEPTED)) {
  t.test(`${name} is accepted`, async t => t.strictSame(audit(history), []))
}

t.test('a call in several ledgers counts once, in its latest state', async t => {
  const twice = aHistory({ ledger: [anUnknown(0)], discardedLedgers: [[anEntry(0)], [aReservation(0)]] })
  t.strictSame(audit(twice), [])
})
