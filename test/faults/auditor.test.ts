import t from 'tap'
import type { LedgerEntry } from '../../src/storage.js'
import { audit, type Violation } from './auditor.js'
import type { ClientRequest, FaultEvent, FinalAnswer, GatewayLife, History, UpstreamCall } from './history.js'

/** Some moment; everything else is told in milliseconds after it. */
const BEGUN = Date.parse('2026-11-22T12:00:00Z')
const COST = 1_500_000
const ESTIMATE = 2_000_000

/** One request, one call, one charge, and a hit afterwards: nothing is wrong with it. */
function aGoodHistory(changes: Partial<History> = {}): History {
  const history: History = {
    seed: 1,
    api: 'v1',
    timeoutMs: 3_000,
    patienceMs: 20_000,
    budgets: { thrifty: 4_000_000 },
    calls: [aCall(0)],
    requests: [aRequest(0)],
    finals: [aFinal()],
    lives: [aLife('a'), aLife('b')],
    faults: [],
    ledger: [anEntry(0)],
    usage: [],
    thrownAway: [],
    troubles: [],
    ...changes,
  }
  return { ...history, usage: changes.usage ?? usageOf(history.ledger) }
}

function aCall(index: number, changes: Partial<UpstreamCall> = {}): UpstreamCall {
  const at = changes.at ?? BEGUN + 100 + index * 10_000
  return {
    index,
    requestId: `call-${index}`,
    life: 'a',
    question: 0,
    kind: 'normal',
    at,
    endedAt: at + 500,
    cost: COST + index,
    billed: 'yes',
    status: 200,
    deliveries: [{ life: changes.life ?? 'a', at: at + 500 }],
    jobTaken: false,
    ...changes,
  }
}

/** A call of which no answer tells whether it was billed. */
function aLostCall(index: number, changes: Partial<UpstreamCall> = {}): UpstreamCall {
  const { status: _none, ...call } = aCall(index, { kind: 'reset', billed: 'maybe', deliveries: [], ...changes })
  return call
}

function aRequest(index: number, changes: Partial<ClientRequest> = {}): ClientRequest {
  const at = BEGUN + 50 + index * 10_000
  const picture = { requestId: `call-${index}`, question: 0 }
  return {
    id: `request-${index}`,
    question: 0,
    team: 'free',
    life: 'a',
    at,
    endedAt: at + 600,
    outcome: { kind: 'answered', cache: 'MISS', cost: '0.0015', picture },
    ...changes,
  }
}

/** Of the call and the request with the same number. */
function anEntry(index: number, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  const settled = { outcome: 'charged', cost: COST + index, costSource: 'header', settledAt: BEGUN } as const
  return {
    callId: `entry-${index}`,
    team: 'free',
    keyId: 'k',
    requestId: `request-${index}`,
    at: BEGUN + 60 + index * 10_000,
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
  const settled = { outcome: 'unknown', cost: ESTIMATE, costSource: 'estimate', settledAt: BEGUN } as const
  return anEntry(index, { state: 'unknown', settled, ...changes })
}

function aReservation(index: number): LedgerEntry {
  const { settled: _none, ...entry } = anEntry(index)
  return { ...entry, state: 'reserved' }
}

function aFinal(changes: Partial<FinalAnswer> = {}): FinalAnswer {
  const picture = { requestId: 'call-0', question: 0 }
  return { question: 0, gateway: 0, at: BEGUN + 60_000, status: 200, cache: 'HIT', picture, ...changes }
}

function aMissAtTheEnd(): FinalAnswer {
  const { picture: _none, ...final } = aFinal({ status: 504, cache: '' })
  return final
}

function aLife(id: string, changes: Partial<GatewayLife> = {}): GatewayLife {
  const ended = { at: BEGUN + 70_000, how: 'stopped', code: 0 } as const
  return { id, gateway: 0, startedAt: BEGUN - 1_000, listeningAt: BEGUN, stoppingAt: BEGUN + 69_000, ended, ...changes }
}

function aKilledLife(id: string, afterMs: number): GatewayLife {
  const { stoppingAt: _none, ...life } = aLife(id)
  return { ...life, ended: { at: BEGUN + afterMs, how: 'killed', code: null } }
}

function aFault(kind: FaultEvent['kind'], fromMs: number, toMs: number, life?: string): FaultEvent {
  return { kind, from: BEGUN + fromMs, to: BEGUN + toMs, ...(life !== undefined && { life }) }
}

function usageOf(ledger: readonly LedgerEntry[]): History['usage'] {
  const teams = [...new Set(ledger.map(({ team }) => team))]
  return teams.map(team => {
    const figures = { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
    const money = { paidCalls: 0, charged: 0, unknownCalls: 0, unknown: 0, reservedCalls: 0, reserved: 0, shared: 0 }
    for (const { state, settled, estimate } of ledger.filter(entry => entry.team === team)) {
      money[state] += settled?.cost ?? estimate
      money[({ charged: 'paidCalls', unknown: 'unknownCalls', reserved: 'reservedCalls' } as const)[state]]++
    }
    return { team, day: '2026-11-22', ...figures, ...money }
  })
}

const problem = (code: string, status: number) =>
  ({ kind: 'problem', status, contentType: 'application/problem+json; charset=utf-8', code }) as const

/** A second request for the same question, with a call and a charge of its own. */
function boughtTwice(changes: { call?: Partial<UpstreamCall>; entry?: Partial<LedgerEntry> } & Partial<History> = {}) {
  const { call, entry, ...rest } = changes
  const life = call?.life ?? 'b'
  return aGoodHistory({
    calls: [aCall(0), aCall(1, { life, ...call })],
    requests: [aRequest(0), aRequest(1, { life })],
    ledger: [anEntry(0), anEntry(1, entry)],
    ...rest,
  })
}

const jobs = { api: 'v2' } as const
const aJob = (index: number, changes: Partial<UpstreamCall> = {}) => aCall(index, { jobTaken: true, ...changes })

const OFFENCES: Record<string, [rule: Violation['rule'], says: RegExp, history: History]> = {
  'a billed call without an entry': ['money', /call-0 .* not in the ledger/, aGoodHistory({ ledger: [] })],
  'a call nobody answered without an entry': [
    'money',
    /call-1 .* not in the ledger/,
    aGoodHistory({ calls: [aCall(0), aLostCall(1)], requests: [aRequest(0), aRequest(1)] }),
  ],
  'two lost calls that share an entry': [
    'money',
    /call-1 .* share/,
    aGoodHistory({
      calls: [aLostCall(0), aLostCall(1)],
      requests: [aRequest(0, { outcome: problem('upstream_failed', 502) })],
      ledger: [anUnknown(0)],
      finals: [],
    }),
  ],
  'a charge that is not what the call cost': [
    'money',
    /charged 7 for call-0 .* cost 1500000/,
    aGoodHistory({ ledger: [anEntry(0, { settled: { ...anEntry(0).settled!, cost: 7 } })] }),
  ],
  'a charge for no call': [
    'money',
    /charged for call-9, which there was not/,
    aGoodHistory({ ledger: [anEntry(0), anEntry(9)] }),
  ],
  'two charges for one call': [
    'money',
    /call-0 .* charged 2 times/,
    aGoodHistory({ ledger: [anEntry(0), anEntry(0, { callId: 'another' })] }),
  ],
  'a charge for a call that was refused': [
    'money',
    /call-0 .* was not billed/,
    aGoodHistory({ calls: [aCall(0, { kind: 'busy', billed: 'no', status: 429, deliveries: [] })], finals: [] }),
  ],
  'an unknown for a call that was refused in time': [
    'money',
    /booked as unknown for call-0 .* 500/,
    aGoodHistory({
      calls: [aCall(0, { billed: 'no', status: 500, deliveries: [] })],
      ledger: [anUnknown(0)],
      finals: [],
    }),
  ],
  'an unknown for no call of a process that lived': [
    'money',
    /booked as unknown for no call at all/,
    aGoodHistory({
      ledger: [anEntry(0), anUnknown(1)],
      requests: [aRequest(0), aRequest(1, { question: 1, outcome: problem('upstream_failed', 502) })],
    }),
  ],
  'an entry that stays reserved': ['money', /still reserved/, aGoodHistory({ ledger: [anEntry(0), aReservation(1)] })],
  'a charge on another question': [
    'money',
    /of another question/,
    aGoodHistory({
      requests: [aRequest(0), aRequest(1, { question: 1, outcome: problem('not_cached', 504) })],
      ledger: [anEntry(0, { requestId: 'request-1' })],
    }),
  ],
  'a call while another one is under way': [
    'once',
    /while somebody was buying/,
    boughtTwice({ call: { at: BEGUN + 300 }, entry: { at: BEGUN + 250 } }),
  ],
  'a call after the answer was had': ['once', /bought again after it was answered/, boughtTwice()],
  'a call after the answer was had, its first buyer killed long after it could store it': [
    'once',
    /bought again/,
    boughtTwice({ lives: [aKilledLife('a', 9_000), aLife('b')] }),
  ],
  'a job that is submitted again': [
    'once',
    /submitted again/,
    boughtTwice({
      ...jobs,
      calls: [aJob(0), aJob(1, { life: 'b' })],
      ledger: [anEntry(0, { jobId: 'call-0' }), anEntry(1, { purchase: 'takeover' })],
      lives: [aKilledLife('a', 3_000), aLife('b')],
    }),
  ],
  'a job that is submitted again though it was noted before its process died': [
    'once',
    /submitted again/,
    boughtTwice({
      ...jobs,
      calls: [aJob(0, { deliveries: [] }), aJob(1, { life: 'b' })],
      requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { life: 'b' })],
      ledger: [anUnknown(0, { jobId: 'call-0' }), anEntry(1, { purchase: 'takeover' })],
      lives: [aKilledLife('a', 3_000), aLife('b')],
    }),
  ],
  'a purchase without the store while there was one': [
    'once',
    /says unguarded/,
    aGoodHistory({ ledger: [anEntry(0, { purchase: 'unguarded' })] }),
  ],
  'a takeover from nobody': ['once', /says takeover/, aGoodHistory({ ledger: [anEntry(0, { purchase: 'takeover' })] })],
  'an answer that is no picture of ours': [
    'answers',
    /got no picture of ours/,
    aGoodHistory({ requests: [aRequest(0, { outcome: { kind: 'answered', cache: 'MISS', cost: '0', picture: {} } })] }),
  ],
  'the picture of another question': [
    'answers',
    /got the picture of call-7/,
    aGoodHistory({
      requests: [
        aRequest(0, {
          outcome: { kind: 'answered', cache: 'HIT', cost: '0', picture: { requestId: 'call-7', question: 3 } },
        }),
      ],
    }),
  ],
  'a paid answer that is nowhere afterwards': [
    'answers',
    /not cached, though call-0/,
    aGoodHistory({ finals: [aMissAtTheEnd()] }),
  ],
  'a paid answer that a frozen Redis did not keep': [
    'answers',
    /not cached, though call-0/,
    aGoodHistory({ finals: [aMissAtTheEnd()], faults: [aFault('redis-frozen', 0, 2_000)] }),
  ],
  'a last question that is not answered at all': [
    'answers',
    /got status 500/,
    aGoodHistory({ finals: [aFinal({ status: 500 })] }),
  ],
  'a hit that is none': ['answers', /got MISS/, aGoodHistory({ finals: [aFinal({ cache: 'MISS' })] })],
  'a sum that is none': ['totals', /usage of free says/, aGoodHistory({ usage: usageOf([anEntry(0), anEntry(1)]) })],
  'an entry in no sum': ['totals', /in no day/, aGoodHistory({ usage: [] })],
  'a budget that is exceeded': [
    'totals',
    /thrifty has booked 4500\d+ of 4000000/,
    aGoodHistory({
      calls: [0, 1, 2].map(index => aCall(index, { question: index })),
      requests: [0, 1, 2].map(index => aRequest(index, { question: index, outcome: problem('upstream_slow', 504) })),
      ledger: [0, 1, 2].map(index => anEntry(index, { team: 'thrifty' })),
    }),
  ],
  'a request that hangs': [
    'manners',
    /request-0 waited 26/,
    aGoodHistory({ requests: [aRequest(0, { endedAt: BEGUN + 26_500 })] }),
  ],
  'a connection that breaks though its gateway lives': [
    'manners',
    /cut off: ECONNRESET/,
    aGoodHistory({ requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } })] }),
  ],
  'a code that is not in the table': [
    'manners',
    /got 502 oops/,
    aGoodHistory({ requests: [aRequest(0, { outcome: problem('oops', 502) })] }),
  ],
  'a code under another status': [
    'manners',
    /got 500 upstream_failed/,
    aGoodHistory({ requests: [aRequest(0, { outcome: problem('upstream_failed', 500) })] }),
  ],
  'a bug inside the gateway': [
    'manners',
    /got 500 internal_error/,
    aGoodHistory({ requests: [aRequest(0, { outcome: problem('internal_error', 500) })] }),
  ],
  'a refusal that is no problem body': [
    'manners',
    /as text\/html/,
    aGoodHistory({
      requests: [aRequest(0, { outcome: { ...problem('upstream_failed', 502), contentType: 'text/html' } })],
    }),
  ],
  'a gateway that does not end well': [
    'manners',
    /ended with 1 on SIGTERM/,
    aGoodHistory({ lives: [aLife('a', { ended: { at: BEGUN + 70_000, how: 'stopped', code: 1 } }), aLife('b')] }),
  ],
  'a gateway that gives up': [
    'manners',
    /gave up/,
    aGoodHistory({ lives: [aLife('a', { gaveUp: true }), aLife('b')] }),
  ],
  'a run that went wrong by itself': ['manners', /not quiet/, aGoodHistory({ troubles: ['not quiet'] })],
}

const EXCUSED: Record<string, History> = {
  'a history without a fault': aGoodHistory(),
  'a lost call that is booked as unknown': aGoodHistory({
    calls: [aLostCall(0)],
    requests: [aRequest(0, { outcome: problem('upstream_failed', 502) })],
    ledger: [anUnknown(0)],
    finals: [aMissAtTheEnd()],
  }),
  'a refused attempt before the one that was answered': aGoodHistory({
    calls: [
      aCall(0, { kind: 'busy', billed: 'no', status: 429, deliveries: [] }),
      aCall(1, { at: BEGUN + 1_000, cost: COST }),
    ],
    ledger: [anEntry(0, { settled: { ...anEntry(0).settled!, upstreamRequestId: 'call-1' } })],
  }),
  'a refusal that came when the time was over': aGoodHistory({
    calls: [aCall(0, { billed: 'no', status: 500, deliveries: [], endedAt: BEGUN + 3_100 })],
    requests: [aRequest(0, { outcome: problem('upstream_timeout', 504) })],
    ledger: [anUnknown(0)],
    finals: [aMissAtTheEnd()],
  }),
  'an unknown of a process that was killed before it called': aGoodHistory({
    calls: [],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } })],
    ledger: [anUnknown(0)],
    lives: [aKilledLife('a', 200)],
    finals: [],
  }),
  'another purchase after a failure': boughtTwice({
    calls: [aLostCall(0), aCall(1, { life: 'b' })],
    ledger: [anUnknown(0), anEntry(1)],
    requests: [aRequest(0, { outcome: problem('upstream_failed', 502) }), aRequest(1, { life: 'b' })],
  }),
  'a takeover from a process that was killed': boughtTwice({
    calls: [aLostCall(0, { endedAt: BEGUN + 400 }), aCall(1, { life: 'b' })],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { life: 'b' })],
    ledger: [anUnknown(0), anEntry(1, { purchase: 'takeover' })],
    lives: [aKilledLife('a', 400), aLife('b')],
  }),
  'a purchase without a store beside another one': boughtTwice({
    call: { at: BEGUN + 300 },
    entry: { at: BEGUN + 250, purchase: 'unguarded' },
    faults: [aFault('redis-restarted', 200, 1_500)],
  }),
  'a purchase again after Redis was emptied': boughtTwice({ faults: [aFault('redis-emptied', 2_000, 3_000)] }),
  'a purchase again after its first buyer was killed with the answer in its hands': boughtTwice({
    lives: [aKilledLife('a', 650), aLife('b')],
  }),
  'a job that is submitted again after nobody noted it': boughtTwice({
    ...jobs,
    calls: [aJob(0, { deliveries: [] }), aJob(1, { life: 'b' })],
    requests: [aRequest(0, { outcome: { kind: 'broken', message: 'ECONNRESET' } }), aRequest(1, { life: 'b' })],
    ledger: [anUnknown(0), anEntry(1, { purchase: 'takeover' })],
    lives: [aKilledLife('a', 650), aLife('b')],
  }),
  'an answer that is gone with its Redis': aGoodHistory({
    finals: [aMissAtTheEnd()],
    faults: [aFault('redis-emptied', 2_000, 3_000)],
  }),
  'an entry that is gone with its Redis': aGoodHistory({
    ledger: [],
    thrownAway: [[anEntry(0)]],
    faults: [aFault('redis-emptied', 2_000, 3_000)],
  }),
  'a call that was reserved in one Redis and charged in another': aGoodHistory({ thrownAway: [[aReservation(0)]] }),
  'a reservation that only a Redis that is gone remembers': aGoodHistory({ thrownAway: [[aReservation(1)]] }),
  'a budget that one call of more than its estimate has exceeded': aGoodHistory({
    calls: [0, 1].map(index => aCall(index, { question: index, cost: 2_400_000 })),
    requests: [0, 1].map(index => aRequest(index, { question: index, outcome: problem('upstream_slow', 504) })),
    ledger: [0, 1].map(index =>
      anEntry(index, { team: 'thrifty', settled: { ...anEntry(index).settled!, cost: 2_400_000 } }),
    ),
  }),
  'a connection that breaks because its gateway was killed': aGoodHistory({
    requests: [aRequest(0), aRequest(1, { life: 'b', outcome: { kind: 'broken', message: 'ECONNRESET' } })],
    lives: [aLife('a'), aKilledLife('b', 10_300)],
  }),
  'a request that waits for a gateway that is frozen': aGoodHistory({
    requests: [aRequest(0, { endedAt: BEGUN + 26_500 })],
    faults: [aFault('gateway-frozen', 5_000, 8_000, 'a')],
  }),
}

for (const [name, [rule, says, history]] of Object.entries(OFFENCES)) {
  t.test(`${name} is found`, async t => {
    const found = audit(history)
    t.ok(
      found.some(violation => violation.rule === rule && says.test(violation.what)),
      JSON.stringify(found),
    )
  })
}

for (const [name, history] of Object.entries(EXCUSED)) {
  t.test(`${name} is no offence`, async t => t.strictSame(audit(history), []))
}

t.test('a call counts as often as it stands in different ledgers: once, and as far as it got', async t => {
  const twice = aGoodHistory({ ledger: [anUnknown(0)], thrownAway: [[anEntry(0)], [aReservation(0)]] })
  t.strictSame(audit(twice), [])
})
