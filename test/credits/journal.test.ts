import t from 'tap'
import { type SharedUse, StoreError, type TeamActivity } from '../../src/contracts/store.js'
import { UsageJournal, type UsageJournalOptions } from '../../src/credits/journal.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import type { How } from '../../src/segment/ports.js'
import { aTeam } from '../support/doubles/team.js'

const NOON = Date.parse('2026-11-22T12:00:00Z')
const BOUGHT_AT = NOON - 1000

/** A journal over a store that records the calls it receives, and counts failures. */
function world(changes: Partial<UsageJournalOptions> = {}) {
  const activity: { team: string; day: string; activity: TeamActivity }[] = []
  const shares: SharedUse[] = []
  const state = { failure: undefined as Error | undefined, now: NOON, failures: 0 }
  const up = () => {
    if (state.failure) throw state.failure
  }
  const journal = new UsageJournal({
    store: {
      async addActivity(team, day, counted) {
        up()
        activity.push({ team, day, activity: counted })
      },
      async share(use) {
        up()
        shares.push(use)
      },
    },
    calendar: createBudgetCalendar('UTC'),
    now: () => state.now,
    everyMs: 1e6,
    shareSeconds: 60,
    observer: { storeFailed: () => void state.failures++ },
    ...changes,
  })
  /** Counts one result for a team. `boughtBy`: the team that paid for it. */
  const answered = (
    team: string,
    how: How,
    cost: number,
    { resultId = 'r', boughtBy = '', storedAt = BOUGHT_AT } = {},
  ) =>
    journal.answered({
      team: aTeam({ id: team }),
      how,
      resultId,
      result: { cost, storedAt, ...(boughtBy && { boughtBy }) },
    })
  return { journal, answered, activity, shares, state }
}

t.test('results and savings are added up per team and day, and written in one batch', async t => {
  const { journal, answered, activity } = world()
  answered('vision', 'miss', 17)
  answered('vision', 'hit', 17)
  answered('vision', 'stale', 3)
  answered('vision', 'coalesced', 5)
  answered('other', 'bypass', 9)
  await journal.flush()
  t.same(activity, [
    {
      team: 'vision',
      day: '2026-11-22',
      activity: { requests: 4, hits: 2, coalesced: 1, savedByCache: 20, savedByCoalescing: 5 },
    },
    {
      team: 'other',
      day: '2026-11-22',
      activity: { requests: 1, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 },
    },
  ])
  await journal.flush()
  t.equal(activity.length, 2, 'nothing is written twice')
})

t.test('a batch that certainly was not written is kept, and an uncertain one is not written twice', async t => {
  const { journal, answered, activity, state } = world()
  answered('vision', 'hit', 1)
  state.failure = new StoreError('down', { mayHaveHappened: false })
  await journal.flush()
  answered('vision', 'hit', 1)
  state.failure = undefined
  await journal.flush()
  t.match(activity, [{ activity: { requests: 2, hits: 2, savedByCache: 2 } }])
  answered('vision', 'hit', 1)
  state.failure = new StoreError('lost')
  await journal.flush()
  state.failure = undefined
  await journal.flush()
  t.equal(activity.length, 1)
})

t.test('a flush waits for the write in progress', async t => {
  let open = () => {}
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  const written: string[] = []
  const { journal, answered } = world({
    store: {
      async addActivity(team) {
        await gate
        written.push(team)
      },
      share: async () => {},
    },
  })
  answered('vision', 'hit', 1)
  const first = journal.flush()
  const second = journal.flush().then(() => [...written])
  open()
  t.strictSame(await second, ['vision'])
  await first
})

t.test('a shared use is recorded once per team, purchase and process', async t => {
  const { journal, answered, shares, state } = world()
  answered('b', 'hit', 17, { boughtBy: 'a' })
  answered('b', 'hit', 17, { boughtBy: 'a' })
  await journal.flush()
  state.now += 86_400_000
  answered('b', 'stale', 17, { boughtBy: 'a' })
  answered('c', 'coalesced', 17, { boughtBy: 'a' })
  answered('b', 'hit', 17, { boughtBy: 'a', storedAt: BOUGHT_AT + 5 })
  answered('b', 'hit', 17, { boughtBy: 'a', resultId: 's' })
  await journal.flush()
  const use = { resultId: 'r', boughtAt: BOUGHT_AT, payer: 'a', cost: 17, team: 'b', day: '2026-11-22', ttlSeconds: 60 }
  t.strictSame(shares, [
    use,
    { ...use, team: 'c', day: '2026-11-23' },
    { ...use, boughtAt: BOUGHT_AT + 5, day: '2026-11-23' },
    { ...use, resultId: 's', day: '2026-11-23' },
  ])
})

t.test('no use is shared of an own purchase, a free one, one of an unknown buyer, or the purchase itself', async t => {
  const { journal, answered, shares } = world()
  answered('a', 'hit', 17, { boughtBy: 'a' })
  answered('a', 'miss', 17, { boughtBy: 'a' })
  answered('b', 'bypass', 17, { boughtBy: 'a' })
  answered('b', 'hit', 0, { boughtBy: 'a' })
  answered('b', 'hit', 17)
  await journal.flush()
  t.strictSame(shares, [])
})
