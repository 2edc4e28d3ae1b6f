import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SharedFlights } from '../../src/cache/shared-flights.js'
import { GatewayError } from '../../src/contracts/errors.js'
import type { Store } from '../../src/contracts/store.js'
import type { Caller } from '../../src/contracts/types.js'
import { accountMonth } from '../../src/credits/account/record.js'
import { openAccounts } from '../../src/credits/accounts.js'
import { segment } from '../../src/segment/pipeline.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { createMemorySpool } from '../../src/store/memory-spool.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { answered, request, settled, sharedState, world } from '../support/doubles/pipeline-world.js'
import { SimulatedSegmind } from '../support/doubles/simulated-segmind.js'
import { aCaller } from '../support/doubles/team.js'
import { entriesOf } from '../support/entries-of.js'
import { startRedis } from '../support/programs/redis-server.js'

const MINUTE = 60_000
const CREDIT = 1_000_000_000
/** The day of 25 hours in Berlin. */
const MIDNIGHT = Date.parse('2026-10-25T00:00:00+02:00')
const HOURS = 25
/** Minutes per simulation step. */
const STEP = 3
const START_BALANCE = 0.7 * CREDIT
const RESERVE = CREDIT / 2

const CALLERS: Record<string, Caller> = {
  vision: aCaller({ id: 'vision', protected: true }),
  mobile: aCaller({ id: 'mobile', budget: { daily: 400_000_000, monthly: 10 * CREDIT } }),
  labs: aCaller({ id: 'labs' }),
}
const TEAMS = Object.keys(CALLERS)

/** Seeded random numbers (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A gateway process over the shared store and the shared cache. */
function startReplica(t: Test, day: Day) {
  const { store, segmind, events, clock } = day
  const now = () => clock.now
  const accounts = openAccounts({
    store: store.ledger,
    records: store.records,
    isStoreUp: () => store.isUp(),
    spool: createMemorySpool(),
    isSpoolDurable: false,
    orphanAfterMs: 10 * MINUTE,
    shareSeconds: 86_400,
    priceEstimate: 2_000_000,
    reserve: RESERVE,
    timeZone: 'Europe/Berlin',
    whenStoreIsDown: 'closed',
    requestBalance: async () => ({ remaining: await segmind.readBalance(), free: 0 }),
    now,
    later: work => work(),
    observer: {
      storeFailed: (error, operation) => t.fail(`${operation}: ${error}`),
      callBooked: () => {},
      unknownSettled: () => {},
      creditStateChanged: ({ name }) => events.push(name),
      accountEventRecorded: ({ kind }) => events.push(kind),
      balanceRequestFailed: () => {},
      figureImplausible: figure => t.fail(`implausible: ${JSON.stringify(figure)}`),
      ledgerStepLost: () => t.fail('a step was lost'),
      orphanSettled: () => t.fail('a call was orphaned'),
    },
  })
  t.teardown(() => accounts.close())
  const flights = new SharedFlights({
    store: day.shared.leases,
    ttlMs: MINUTE,
    isDraining: () => false,
    observer: { storeFailed: () => {}, flightJoined: () => {}, leaseTakenOver: () => {} },
  })
  t.teardown(() => flights.close())
  const { parts } = world(
    {
      account: accounts.account,
      ledger: accounts.ledger,
      journal: accounts.journal,
      leases: flights,
      upstream: segmind.upstreamOf(code => accounts.recordAttempt({ code, durationMs: 0 })),
      now,
      freshSeconds: 30 * 86_400,
    },
    day.shared,
  )
  return { accounts, parts }
}

interface Day {
  store: Store
  segmind: SimulatedSegmind
  shared: ReturnType<typeof sharedState>
  clock: { now: number }
  events: string[]
}

/** The results and errors that a team's callers received. */
interface Received {
  hits: number
  savedByHits: number
  refused: Record<string, number>
}

async function startSimulation(t: Test, day: Day) {
  const { segmind, clock } = day
  const random = randomFrom(25)
  const replicas = [startReplica(t, day), startReplica(t, day)]
  const received: Record<string, Received> = Object.fromEntries(
    TEAMS.map(team => [team, { hits: 0, savedByHits: 0, refused: {} }]),
  )
  const send = async (team: string, thing: number, replica = Math.floor(random() * 2)) => {
    const caller = CALLERS[team] as Caller
    const { parts } = replicas[replica] as (typeof replicas)[number]
    const params = { prompt: `${team}: thing ${thing}`, overlayMask: true }
    try {
      const answer = await answered(segment(request({ caller, params, requestId: `${clock.now}-${thing}` }), parts))
      if (answer.how !== 'hit') return
      const counts = received[team] as Received
      counts.hits++
      counts.savedByHits += answer.result.cost
    } catch (error) {
      const { code } = error as GatewayError
      if (!(error instanceof GatewayError)) throw error
      const { refused } = received[team] as Received
      refused[code] = (refused[code] ?? 0) + 1
    }
  }
  /** Runs requests concurrently. Segmind responds once no further call is sent. */
  const runAll = async (requests: Promise<void>[]) => {
    let isOver = false
    const all = Promise.all(requests).then(() => {
      isOver = true
    })
    for (let quiet = 0; !isOver; ) {
      const before = segmind.pending
      await settled()
      quiet = segmind.pending === before ? quiet + 1 : 0
      if (quiet > 20 && segmind.pending > 0) segmind.answerAll(random)
    }
    await all
  }
  const refresh = async () => {
    for (const { accounts } of replicas) {
      await accounts.account.refresh()
      await accounts.account.idle()
    }
  }
  return { replicas, received, send, runAll, refresh, random }
}

async function simulate(t: Test, store: Store, clock: { now: number }): Promise<void> {
  let price = () => 1_700_000
  const segmind = new SimulatedSegmind(START_BALANCE, () => price())
  const day: Day = { store, segmind, shared: sharedState(), clock, events: [] }
  const { replicas, received, send, runAll, refresh, random } = await startSimulation(t, day)
  price = () => 1_400_000 + Math.floor(random() * 600_001)
  const incidents: Record<number, () => Promise<void> | void> = {
    // Below the reserve, protected teams continue and the others wait for the top-up.
    [9 * 60]: () => segmind.topUp(2.5 * CREDIT),
    // An hour of outage: calls are refused, then time out, then time out but are billed.
    [12 * 60]: () => segmind.setMode('failing'),
    [12 * 60 + 21]: () => segmind.setMode('timing out'),
    [12 * 60 + 42]: () => segmind.setMode('billing and timing out'),
    [13 * 60]: () => segmind.setMode('normal'),
    // The price rises by half.
    [15 * 60]: () => {
      price = () => 2_100_000 + Math.floor(random() * 900_001)
    },
    // A single unknown call: first one that is billed, then one that is not.
    [17 * 60]: async () => {
      segmind.setMode('billing and timing out')
      await runAll([send('vision', 1_000_001)])
      segmind.setMode('normal')
    },
    [17 * 60 + 30]: async () => {
      segmind.setMode('timing out')
      await runAll([send('vision', 1_000_002)])
      segmind.setMode('normal')
    },
    // Another client uses the shared key.
    [19 * 60]: () => segmind.spendElsewhere(123_456_789),
    [19 * 60 + 57]: () => segmind.spendElsewhere(70),
    [20 * 60]: () => segmind.spendElsewhere(CREDIT + 1),
    [21 * 60]: () => segmind.spendElsewhere(segmind.balance - 1_000_000),
    [23 * 60 + 21]: () => segmind.topUp(3 * CREDIT),
  }
  await refresh()
  for (let minute = 0; minute < HOURS * 60; minute += STEP) {
    clock.now = MIDNIGHT + minute * MINUTE
    await incidents[minute]?.()
    const isBusy = minute % 60 < 50 && minute < 24 * 60
    // The balance resolves an unknown call only without other calls, so no requests run around the
    // single ones.
    const isLone = minute >= 17 * 60 && minute < 18 * 60
    const requests = isBusy && !isLone ? Math.floor(random() * 12) : 0
    await runAll(
      Array.from({ length: requests }, () => {
        const team = TEAMS[Math.floor(random() * TEAMS.length)] ?? 'labs'
        return send(team, Math.floor(random() ** 2 * 3_000))
      }),
    )
    clock.now += MINUTE
    await refresh()
  }
  for (const { accounts } of replicas) await accounts.journal.flush()
  await compare(t, day, { received, replicas })
}

type Simulation = Awaited<ReturnType<typeof startSimulation>>

async function compare(
  t: Test,
  { store, segmind, events }: Day,
  { received, replicas }: Pick<Simulation, 'received' | 'replicas'>,
) {
  const usage = await store.ledger.usage('2026-10')
  const sum = (team: string, figure: 'charged' | 'unknown' | 'hits' | 'savedByCache' | 'reserved' | 'paidCalls') =>
    usage.filter(row => row.team === team).reduce((total, row) => total + row[figure], 0)
  let unknown = 0
  let charged = 0
  const resolved = (await entriesOf(store.ledger, '2026-10-25')).filter(
    ({ settled }) => settled?.costSource === 'balance',
  )
  for (const team of TEAMS) {
    const byBalance = resolved
      .filter(entry => entry.team === team)
      .reduce((total, { settled }) => total + (settled?.cost ?? 0), 0)
    t.equal(
      sum(team, 'charged') - byBalance,
      segmind.billed(team, true),
      `${team} was charged the amount Segmind billed for its answered calls`,
    )
    t.equal(
      sum(team, 'paidCalls'),
      segmind.bills.filter(({ who, isReported }) => who === team && isReported).length +
        resolved.filter(entry => entry.team === team).length,
    )
    t.equal(sum(team, 'reserved'), 0, 'no call stays reserved')
    t.equal(sum(team, 'hits'), received[team]?.hits, `${team}'s hits`)
    t.equal(sum(team, 'savedByCache'), received[team]?.savedByHits, `savings of ${team}`)
    unknown += sum(team, 'unknown')
    charged += sum(team, 'charged')
  }
  t.equal(resolved.length, 1, 'the billed single unknown call is charged, the unbilled one is released')
  t.equal(
    resolved[0]?.settled?.cost,
    segmind.bills.filter(({ who, isReported }) => who === 'vision' && !isReported).at(-1)?.cost,
  )
  t.ok(unknown > 0, 'calls of the outage stay unknown')

  const month = await accountMonth(store.records, '2026-10')
  if (!month) throw new Error('the account has no record')
  const foreign = segmind.billed('foreign')
  t.equal(month.opening.remaining, START_BALANCE)
  t.equal(month.closing.remaining, segmind.balance, 'the balance matches Segmind')
  t.equal(month.topUps, segmind.topUps, 'top-ups')
  t.equal(month.booked, charged + unknown, 'the statements of the teams add up to the booked amount')
  t.equal(
    month.opening.remaining - month.closing.remaining + month.topUps,
    segmind.spent,
    'the decline equals the amount Segmind billed',
  )
  t.equal(month.booked + month.drift, segmind.spent, 'booked plus drift equals the amount Segmind billed')
  const lostBills = segmind.bills.filter(({ who, isReported }) => who !== 'foreign' && !isReported)
  const lost = lostBills.reduce((total, { cost }) => total + cost, 0) - (resolved[0]?.settled?.cost ?? 0)
  t.equal(month.drift, foreign + lost - unknown, 'the drift is the foreign use plus the estimation error of the outage')

  const amounts = (kind: string) => month.events.filter(event => event.kind === kind).map(({ amount }) => amount)
  t.same(amounts('topUp'), [2.5 * CREDIT, 3 * CREDIT])
  t.same(
    amounts('foreign'),
    segmind.bills.filter(({ who }) => who === 'foreign').map(({ cost }) => cost),
    'every foreign use is recorded',
  )
  t.equal(amounts('price').length, 1, 'the price change is recorded once')
  t.equal(amounts('unknown').length, 1, 'the outage is recorded as unknown, not as foreign use')
  t.ok((amounts('price')[0] ?? 0) > 250_000)
  t.same(
    events.filter(what => ['normal', 'reserve', 'empty'].includes(what)),
    ['normal', 'reserve', 'normal', 'reserve', 'empty', 'normal'],
    'all replicas together report each change of state once',
  )
  t.ok((received.labs?.refused.credits_reserved ?? 0) > 0, 'teams without protection cannot use the reserve')
  t.equal(received.vision?.refused.credits_reserved, undefined)
  t.ok((received.vision?.refused.credits_exhausted ?? 0) > 0)
  t.ok((received.mobile?.refused.budget_exhausted ?? 0) > 0)
  const mobile = usage.filter(({ team }) => team === 'mobile')
  t.ok(mobile.every(row => row.charged + row.unknown <= 400_000_000 + 8 * 3_000_000))
  for (const { accounts } of replicas) {
    t.equal(accounts.account.drift, month.drift)
    t.same(accounts.account.balance.latest?.remaining, segmind.balance)
    t.equal(accounts.account.balance.state, 'fresh')
    t.ok(accounts.account.burn['24h'], 'the daily burn is known')
    t.equal(accounts.account.burn['7d'], undefined, 'the weekly burn is not known yet')
  }
}

t.setTimeout(240_000)

t.test('a simulated day of 25 hours adds up to the nanocredit on the embedded store', { timeout: 120_000 }, async t => {
  const clock = { now: MIDNIGHT }
  const dir = await mkdtemp(join(tmpdir(), 'gateway-day-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = await openEmbeddedStore({ dir, maxBytes: 2 ** 24, now: () => clock.now })
  t.teardown(() => store.close())
  await simulate(t, store, clock)
})

t.test('a simulated day of 25 hours adds up to the nanocredit on Redis', { timeout: 120_000 }, async t => {
  const clock = { now: MIDNIGHT }
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const store = await openRedisStore({ url: redis.url, commandSilenceMs: 30_000, reconnectSilenceMs: 60_000 })
  t.teardown(() => store.close())
  await simulate(t, store, clock)
})
