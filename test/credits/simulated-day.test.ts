import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SharedFlights } from '../../src/cache/shared-flights.js'
import { accountMonth } from '../../src/credits/account/record.js'
import { type AccountsOptions, openAccounts } from '../../src/credits/accounts.js'
import { GatewayError } from '../../src/errors.js'
import { segment } from '../../src/segment/pipeline.js'
import type { Caller } from '../../src/segment/types.js'
import type { Store } from '../../src/storage.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { createMemorySpool } from '../../src/store/memory-spool.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { answered, request, settled, shop, world } from '../support/pipeline-world.js'
import { startRedis } from '../support/redis-server.js'
import { SimulatedSegmind } from '../support/simulated-segmind.js'
import { aCaller } from '../support/team.js'

const MINUTE = 60_000
const CREDIT = 1_000_000_000
/** The day of 25 hours in Berlin. */
const MIDNIGHT = Date.parse('2026-10-25T00:00:00+02:00')
const HOURS = 25
/** How many minutes pass at once. */
const STEP = 3
const START_BALANCE = 0.7 * CREDIT
const RESERVE = CREDIT / 2

const CALLERS: Record<string, Caller> = {
  vision: aCaller({ id: 'vision', protected: true }),
  mobile: aCaller({ id: 'mobile', budget: { daily: 400_000_000, monthly: 10 * CREDIT } }),
  labs: aCaller({ id: 'labs' }),
}
const TEAMS = Object.keys(CALLERS)

/** The same numbers every time (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A gateway process: its books over the store of all, its pipeline over the shop of all. */
function startReplica(t: Test, day: Day) {
  const { store, segmind, said, clock } = day
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
    askBalance: () => segmind.tellBalance(),
    now,
    onBooked: () => {},
    onAnswered: () => {},
    onCreditState: ({ name }) => void said.push(name),
    onAccountEvent: ({ kind }) => void said.push(kind),
    onAskFailure: () => {},
    onStoreFailure: (error, doing) => t.fail(`${doing}: ${error}`),
    onStepLost: () => t.fail('a step was lost'),
    onOrphan: () => t.fail('a call was orphaned'),
  } satisfies AccountsOptions)
  t.teardown(() => accounts.close())
  const flights = new SharedFlights({
    store: day.shop.leases,
    ttlMs: MINUTE,
    isDraining: () => false,
    onSeat: () => {},
    onStoreFailure: () => {},
    onTakenAway: () => {},
  })
  t.teardown(() => flights.close())
  const { parts } = world(
    {
      ledger: accounts.ledger,
      journal: accounts.journal,
      leases: flights,
      upstream: segmind.upstreamOf(code => accounts.attempted({ code, sentAt: clock.now })),
      now,
      freshSeconds: 30 * 86_400,
    },
    day.shop,
  )
  return { accounts, parts }
}

interface Day {
  store: Store
  segmind: SimulatedSegmind
  shop: ReturnType<typeof shop>
  clock: { now: number }
  said: string[]
}

/** What callers were answered, as they saw it. */
interface Seen {
  hits: number
  savedByHits: number
  refused: Record<string, number>
}

async function liveThrough(t: Test, day: Day) {
  const { segmind, clock } = day
  const random = randomFrom(25)
  const replicas = [startReplica(t, day), startReplica(t, day)]
  const seen: Record<string, Seen> = Object.fromEntries(
    TEAMS.map(team => [team, { hits: 0, savedByHits: 0, refused: {} }]),
  )
  const ask = async (team: string, thing: number, replica = Math.floor(random() * 2)) => {
    const caller = CALLERS[team] as Caller
    const { parts } = replicas[replica] as (typeof replicas)[number]
    const params = { prompt: `${team}: thing ${thing}`, overlayMask: true }
    try {
      const answer = await answered(segment(request({ caller, params, requestId: `${clock.now}-${thing}` }), parts))
      if (answer.how !== 'hit') return
      const of = seen[team] as Seen
      of.hits++
      of.savedByHits += answer.result.cost
    } catch (error) {
      const { code } = error as GatewayError
      if (!(error instanceof GatewayError)) throw error
      const { refused } = seen[team] as Seen
      refused[code] = (refused[code] ?? 0) + 1
    }
  }
  /** Some requests at once; Segmind answers when all that go out have. */
  const rush = async (requests: Promise<void>[]) => {
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
  return { replicas, seen, ask, rush, refresh, random }
}

async function simulate(t: Test, store: Store, clock: { now: number }): Promise<void> {
  let price = () => 1_700_000
  const segmind = new SimulatedSegmind(START_BALANCE, () => price())
  const day: Day = { store, segmind, shop: shop(), clock, said: [] }
  const { replicas, seen, ask, rush, refresh, random } = await liveThrough(t, day)
  price = () => 1_400_000 + Math.floor(random() * 600_001)
  const happenings: Record<number, () => Promise<void> | void> = {
    // Protected teams go on below the reserve, the others wait for the top-up.
    [9 * 60]: () => segmind.topUp(2.5 * CREDIT),
    // An hour of outage: refused at first, then silence, part of it billed.
    [12 * 60]: () => segmind.turn('failing'),
    [12 * 60 + 21]: () => segmind.turn('silent'),
    [12 * 60 + 42]: () => segmind.turn('billing silently'),
    [13 * 60]: () => segmind.turn('fine'),
    // Dearer by half.
    [15 * 60]: () => {
      price = () => 2_100_000 + Math.floor(random() * 900_001)
    },
    // One call alone of which nobody knows: billed, then not billed.
    [17 * 60]: async () => {
      segmind.turn('billing silently')
      await rush([ask('vision', 1_000_001)])
      segmind.turn('fine')
    },
    [17 * 60 + 30]: async () => {
      segmind.turn('silent')
      await rush([ask('vision', 1_000_002)])
      segmind.turn('fine')
    },
    // Somebody else has the key.
    [19 * 60]: () => segmind.foreignUse(123_456_789),
    [19 * 60 + 57]: () => segmind.foreignUse(70),
    [20 * 60]: () => segmind.foreignUse(CREDIT + 1),
    [21 * 60]: () => segmind.foreignUse(segmind.balance - 1_000_000),
    [23 * 60 + 21]: () => segmind.topUp(3 * CREDIT),
  }
  await refresh()
  for (let minute = 0; minute < HOURS * 60; minute += STEP) {
    clock.now = MIDNIGHT + minute * MINUTE
    await happenings[minute]?.()
    const isBusy = minute % 60 < 50 && minute < 24 * 60
    // While nothing is known of calls that were lost just now, the balance says nothing: some quiet before each of the lone ones.
    const isLone = minute >= 17 * 60 && minute < 18 * 60
    const requests = isBusy && !isLone ? Math.floor(random() * 12) : 0
    await rush(
      Array.from({ length: requests }, () => {
        const team = TEAMS[Math.floor(random() * TEAMS.length)] ?? 'labs'
        return ask(team, Math.floor(random() ** 2 * 3_000))
      }),
    )
    clock.now += MINUTE
    await refresh()
  }
  for (const { accounts } of replicas) await accounts.journal.flush()
  await compare(t, day, { seen, replicas })
}

type Lived = Awaited<ReturnType<typeof liveThrough>>

async function compare(t: Test, { store, segmind, said }: Day, { seen, replicas }: Pick<Lived, 'seen' | 'replicas'>) {
  const usage = await store.ledger.usage('2026-10')
  const sum = (team: string, figure: 'charged' | 'unknown' | 'hits' | 'savedByCache' | 'reserved' | 'paidCalls') =>
    usage.filter(row => row.team === team).reduce((total, row) => total + row[figure], 0)
  let unknown = 0
  let charged = 0
  const resolved = (await store.ledger.entries('2026-10-25')).filter(({ settled }) => settled?.costSource === 'balance')
  for (const team of TEAMS) {
    const byBalance = resolved
      .filter(entry => entry.team === team)
      .reduce((total, { settled }) => total + (settled?.cost ?? 0), 0)
    t.equal(
      sum(team, 'charged') - byBalance,
      segmind.billed(team, true),
      `${team} was charged what Segmind billed its answered calls`,
    )
    t.equal(
      sum(team, 'paidCalls'),
      segmind.bills.filter(({ who, isTold }) => who === team && isTold).length +
        resolved.filter(entry => entry.team === team).length,
    )
    t.equal(sum(team, 'reserved'), 0, 'nothing hangs')
    t.equal(sum(team, 'hits'), seen[team]?.hits, `${team}'s hits`)
    t.equal(sum(team, 'savedByCache'), seen[team]?.savedByHits, `what they saved ${team}`)
    unknown += sum(team, 'unknown')
    charged += sum(team, 'charged')
  }
  t.equal(
    resolved.length,
    1,
    'the lone call of which nobody knew is charged with what the balance lost, the other one is gone',
  )
  t.equal(
    resolved[0]?.settled?.cost,
    segmind.bills.filter(({ who, isTold }) => who === 'vision' && !isTold).at(-1)?.cost,
  )
  t.ok(unknown > 0, 'calls of the outage stay unknown')

  const month = await accountMonth(store.records, '2026-10')
  if (!month) throw new Error('the account is not known')
  const foreign = segmind.billed('foreign')
  t.equal(month.opening.remaining, START_BALANCE)
  t.equal(month.closing.remaining, segmind.balance, 'the balance is Segmind’s')
  t.equal(month.topUps, segmind.topUps, 'top-ups')
  t.equal(month.booked, charged + unknown, 'what is booked is what the teams’ statements add up to')
  t.equal(
    month.opening.remaining - month.closing.remaining + month.topUps,
    segmind.spent,
    'the decline is what Segmind billed',
  )
  t.equal(month.booked + month.drift, segmind.spent, 'booked and drift are what Segmind billed')
  const lostBills = segmind.bills.filter(({ who, isTold }) => who !== 'foreign' && !isTold)
  const lost = lostBills.reduce((total, { cost }) => total + cost, 0) - (resolved[0]?.settled?.cost ?? 0)
  t.equal(
    month.drift,
    foreign + lost - unknown,
    'the drift is the foreign use, and what the outage cost otherwise than estimated',
  )

  const amounts = (kind: string) => month.events.filter(event => event.kind === kind).map(({ amount }) => amount)
  t.same(amounts('topUp'), [2.5 * CREDIT, 3 * CREDIT])
  t.same(
    amounts('foreign'),
    segmind.bills.filter(({ who }) => who === 'foreign').map(({ cost }) => cost),
    'each foreign use',
  )
  t.equal(amounts('price').length, 1, 'the price change was noticed, once')
  t.equal(amounts('unknown').length, 1, 'the outage was no foreign use')
  t.ok((amounts('price')[0] ?? 0) > 250_000)
  t.same(
    said.filter(what => ['normal', 'reserve', 'empty'].includes(what)),
    ['normal', 'reserve', 'normal', 'reserve', 'empty', 'normal'],
    'each change of state was told once by all replicas together',
  )
  t.ok((seen.labs?.refused.credits_reserved ?? 0) > 0, 'teams that are not protected were kept from the reserve')
  t.equal(seen.vision?.refused.credits_reserved, undefined)
  t.ok((seen.vision?.refused.credits_exhausted ?? 0) > 0)
  t.ok((seen.mobile?.refused.budget_exhausted ?? 0) > 0)
  const mobile = usage.filter(({ team }) => team === 'mobile')
  t.ok(mobile.every(row => row.charged + row.unknown <= 400_000_000 + 8 * 3_000_000))
  for (const { accounts } of replicas) {
    t.equal(accounts.account.drift, month.drift)
    t.same(accounts.account.balance.latest?.remaining, segmind.balance)
    t.equal(accounts.account.balance.state, 'fresh')
    t.ok(accounts.account.burn['24h'], 'the burn of a day is known')
    t.equal(accounts.account.burn['7d'], undefined, 'that of a week is not')
  }
}

t.setTimeout(240_000)

t.test('a day of 25 hours, to the nanocredit, on the embedded store', { timeout: 120_000 }, async t => {
  const clock = { now: MIDNIGHT }
  const dir = await mkdtemp(join(tmpdir(), 'gateway-day-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = await openEmbeddedStore({ dir, maxBytes: 2 ** 24, now: () => clock.now })
  t.teardown(() => store.close())
  await simulate(t, store, clock)
})

t.test('a day of 25 hours, to the nanocredit, on Redis', { timeout: 120_000 }, async t => {
  const clock = { now: MIDNIGHT }
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const store = await openRedisStore({ url: redis.url, commandSilenceMs: 30_000, reconnectSilenceMs: 60_000 })
  t.teardown(() => store.close())
  await simulate(t, store, clock)
})
