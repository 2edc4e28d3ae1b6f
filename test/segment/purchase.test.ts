import t from 'tap'
import type { EarlierCall, JournalEntry } from '../../src/segment/ports.js'
import { landOrphan } from '../../src/segment/purchase.js'
import { KEY, request, shop, world } from '../support/pipeline-world.js'
import { aCaller } from '../support/team.js'

t.test('a result says who paid for it, and whoever uses it is taken down with that', async t => {
  const entries: JournalEntry[] = []
  const { ask, cache } = world({ journal: { answered: entry => void entries.push(entry) } })
  await ask()
  await ask(request({ caller: aCaller({ id: 'other' }) }))
  t.match(cache.get(KEY), { boughtBy: 'vision', cost: 1700 })
  const result = { boughtBy: 'vision', cost: 1700, storedAt: 1_000_000 }
  t.match(entries, [
    { team: { id: 'vision' }, how: 'miss', resultId: KEY, result },
    { team: { id: 'other' }, how: 'hit', resultId: KEY, result },
  ])
})

t.test('a job that a dead process has left is paid for by the team that submitted it', async t => {
  const shared = shop()
  const one = world({}, shared)
  const call: EarlierCall = {
    state: 'reserved',
    at: one.state.now,
    team: 'first',
    cacheKey: KEY,
    jobId: 'job-1',
    reservation: one.reservation,
  }
  await landOrphan({ call, cacheKey: KEY, isKept: true }, one.parts)
  t.match(one.cache.get(KEY), { boughtBy: 'first' })

  const heir = world({}, shop())
  heir.parts.leases = {
    take: async (_name, note) => ({
      role: 'leader',
      purchase: 'takeover',
      earlier: { ...note, callId: 'dead', team: 'first' },
      land: () => {},
    }),
    look: async () => undefined,
  }
  heir.calls.set('dead', call)
  t.match(await heir.ask(), { how: 'coalesced', charged: 0, result: { boughtBy: 'first' } })
})
