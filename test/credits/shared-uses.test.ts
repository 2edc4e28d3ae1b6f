import fc from 'fast-check'
import t from 'tap'
import { type SharedUse, type Store, StoreError } from '../../src/contracts/store.js'
import { UsageJournal } from '../../src/credits/journal.js'
import { SharedUses } from '../../src/credits/shared-uses.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { aTeam } from '../support/doubles/team.js'
import { realStores } from '../support/programs/real-stores.js'

const use = (team: string): SharedUse => ({
  resultId: 'r',
  boughtAt: 1,
  payer: 'a',
  cost: 10,
  team,
  day: '2026-11-22',
  ttlSeconds: 60,
})

function world() {
  const sent: string[] = []
  const refused = new Map<string, Error>()
  const failures: unknown[] = []
  const uses = new SharedUses({
    store: {
      async share({ team }) {
        const error = refused.get(team)
        if (error) throw error
        sent.push(team)
      },
    },
    observer: { storeFailed: error => failures.push(error) },
  })
  const add = (team: string) => void (uses.isRecorded(team) || uses.add(team, use(team)))
  return { uses, add, sent, refused, failures }
}

t.test('a use that the store certainly or possibly did not accept is sent again', async t => {
  const { uses, add, sent, refused, failures } = world()
  for (const mayHaveHappened of [true, false]) {
    sent.length = 0
    const team = `b${mayHaveHappened}`
    refused.set(team, new StoreError('down', { mayHaveHappened }))
    add(team)
    await uses.flush()
    t.equal(uses.size, 1)
    refused.clear()
    await uses.flush()
    t.strictSame([sent, uses.size], [[team], 0])
  }
  t.equal(failures.length, 2)
})

t.test('a use that the store always refuses does not block the others', async t => {
  const { uses, add, sent, refused } = world()
  refused.set('odd', new StoreError('not an amount'))
  for (const team of ['odd', 'b', 'c']) add(team)
  await uses.flush()
  t.strictSame(sent, [], 'a flush stops at the first failure')
  await uses.flush()
  t.strictSame(sent, ['b', 'c'])
})

t.test('recorded names are bounded: names in use stay, and a forgotten use is sent again', async t => {
  const { uses, add, sent } = world()
  add('used')
  add('idle')
  for (let index = 0; index < 100_000; index++) {
    add(`t${index}`)
    add('used')
    if (index % 5_000 === 0) await uses.flush()
  }
  await uses.flush()
  add('used')
  add('idle')
  await uses.flush()
  t.strictSame([sent.filter(team => team === 'used').length, sent.filter(team => team === 'idle').length], [1, 2])
})

t.test('waiting uses are bounded: the oldest is dropped and sent again at its next use', async t => {
  const { uses, add, sent } = world()
  for (let index = 0; index <= 10_000; index++) add(`t${index}`)
  t.equal(uses.size, 10_000)
  await uses.flush()
  t.notOk(sent.includes('t0'))
  add('t0')
  await uses.flush()
  t.ok(sent.includes('t0'))
})

const TEAMS = ['a', 'b', 'c', 'd', 'e']
const MONTH = '2026-11'

/**
 * One use: purchase, team, day of the month, process, and whether the process flushes afterwards.
 */
interface Step {
  purchase: number
  team: string
  day: number
  process: number
  flushes: boolean
}

const purchases = fc.array(
  fc.record({ payer: fc.constantFrom(...TEAMS), cost: fc.integer({ min: 0, max: 10_000_000 }) }),
  { minLength: 1, maxLength: 3 },
)
const steps = fc.array(
  fc.record<Step>({
    purchase: fc.nat(2),
    team: fc.constantFrom(...TEAMS),
    day: fc.integer({ min: 1, max: 30 }),
    process: fc.nat(1),
    flushes: fc.boolean(),
  }),
  { maxLength: 30 },
)

for (const [technology, open] of Object.entries(await realStores(t))) {
  t.test(
    `${technology}: whatever the uses, each of n teams bears floor(cost ÷ n), the payer the rest, and transfers add up to 0`,
    async t => {
      const store = await open(t)
      t.teardown(() => store.close())
      let round = 0
      await fc.assert(
        fc.asyncProperty(purchases, steps, async (bought, used) => {
          const name = `round-${++round}`
          // Each round has its own teams, because all rounds share the month.
          const teamOf = (team: string) => `${team}${round}`
          const clock = { now: 0 }
          const processes = [0, 1].map(() => openJournal(store, clock))
          for (const { purchase, team, day, process, flushes } of used) {
            const { payer, cost } = bought[purchase % bought.length] as (typeof bought)[number]
            const index = purchase % bought.length
            clock.now = Date.UTC(2026, 10, day, 12)
            const result = { cost, storedAt: 1000 + index, boughtBy: teamOf(payer) }
            const answer = {
              team: aTeam({ id: teamOf(team) }),
              how: 'hit' as const,
              resultId: `${name}-${index}`,
              result,
            }
            processes[process]?.answered(answer)
            if (flushes) await processes[process]?.flush()
          }
          for (const journal of processes) await journal.flush()
          const own = new Set(TEAMS.map(teamOf))
          const days = (await store.ledger.usage(MONTH)).filter(({ team }) => own.has(team))
          for (const day of new Set(days.map(({ day }) => day)))
            t.equal(sum(days.filter(row => row.day === day).map(({ shared }) => shared)), 0, `${day} adds up to 0`)
          const booked = TEAMS.map(team =>
            sum(days.filter(row => row.team === teamOf(team)).map(({ shared }) => shared)),
          )
          t.strictSame(
            booked,
            TEAMS.map(team => expected(team, bought, used)),
          )
        }),
        { numRuns: 40 },
      )
    },
  )
}

function openJournal(store: Store, clock: { now: number }): UsageJournal {
  return new UsageJournal({
    store: store.ledger,
    calendar: createBudgetCalendar('UTC'),
    now: () => clock.now,
    everyMs: 1e6,
    shareSeconds: 86_400,
    observer: { storeFailed: error => t.fail(`${error}`) },
  })
}

/** Computes from the definition what a team owes or is owed for all purchases. */
function expected(team: string, bought: readonly { payer: string; cost: number }[], used: readonly Step[]): number {
  const transfers = bought.map(({ payer, cost }, index) => {
    const users = new Set(used.filter(({ purchase }) => purchase % bought.length === index).map(step => step.team))
    users.delete(payer)
    const part = Math.floor(cost / (users.size + 1))
    if (team === payer) return 0 - users.size * part
    return users.has(team) ? part : 0
  })
  return sum(transfers)
}

const sum = (amounts: readonly number[]) => amounts.reduce((total, amount) => total + amount, 0)
