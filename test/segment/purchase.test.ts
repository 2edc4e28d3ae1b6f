import t from 'tap'
import type { EarlierCall, JournalEntry } from '../../src/segment/ports.js'
import { settleOrphan } from '../../src/segment/purchase.js'
import { KEY, request, sharedState, world } from '../support/doubles/pipeline-world.js'
import { aCaller } from '../support/doubles/team.js'

t.test('a result names the team that paid, and each use of it is recorded', async t => {
  const entries: JournalEntry[] = []
  const reported: string[] = []
  const { ask, cache } = world({
    journal: { answered: entry => void entries.push(entry) },
    observer: { resultAnswered: (team, how, cost) => void reported.push(`${team} ${how} ${cost}`) },
  })
  await ask()
  await ask(request({ caller: aCaller({ id: 'other' }) }))
  t.match(cache.get(KEY), { boughtBy: 'vision', cost: 1700 })
  const result = { boughtBy: 'vision', cost: 1700, storedAt: 1_000_000 }
  t.match(entries, [
    { team: { id: 'vision' }, how: 'miss', resultId: KEY, result },
    { team: { id: 'other' }, how: 'hit', resultId: KEY, result },
  ])
  t.strictSame(reported, ['vision miss 1700', 'other hit 1700'])
})

t.test('the job of a dead process is charged to the team that submitted it', async t => {
  const shared = sharedState()
  const one = world({}, shared)
  const call: EarlierCall = {
    state: 'reserved',
    at: one.state.now,
    team: 'first',
    cacheKey: KEY,
    jobId: 'job-1',
    reservation: one.reservation,
  }
  await settleOrphan({ call, cacheKey: KEY, isKept: true }, one.parts)
  t.match(one.cache.get(KEY), { boughtBy: 'first' })

  const heir = world({}, sharedState())
  heir.parts.leases = {
    take: async (_name, note) => ({
      role: 'leader',
      purchase: 'takeover',
      earlier: { ...note, callId: 'dead', team: 'first' },
      end: () => {},
    }),
    look: async () => undefined,
  }
  heir.calls.set('dead', call)
  t.match(await heir.ask(), { how: 'coalesced', charged: 0, result: { boughtBy: 'first' } })
})
