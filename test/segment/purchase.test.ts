import t from 'tap'
import type { EarlierCall, JournalEntry, UpstreamOutcome } from '../../src/segment/ports.js'
import { settleOrphan } from '../../src/segment/purchase.js'
import { failure, KEY, kept, NO_DIRECTIVES, request, sharedState, world } from '../support/doubles/pipeline-world.js'
import { aCaller } from '../support/doubles/team.js'

t.test('a result names the team that paid, and each use of it is recorded', async t => {
  const entries: JournalEntry[] = []
  const reported: string[] = []
  const { ask, cache } = world({
    journal: { answered: entry => void entries.push(entry) },
    observer: {
      ...world().parts.observer,
      resultAnswered: (team, how, cost) => void reported.push(`${team} ${how} ${cost}`),
    },
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

t.test('a result that was bought elsewhere during the wait for a slot is not bought again', async t => {
  const { parts, cache, steps, state, ask } = world()
  const { acquire } = parts.slots
  // The process that bought it had no store, so no lease prevented the second purchase.
  const arrive = () => void cache.set(KEY, kept('elsewhere', state.now))
  parts.slots.acquire = async wanted => {
    arrive()
    return { ...(await acquire(wanted)), waitedMs: 5_000 }
  }
  t.match(await ask(), { how: 'hit', charged: 0, result: { body: Buffer.from('elsewhere') } })
  t.strictSame(steps, ['check', 'reserve', 'slot', 'unused', 'release', 'vision hit 1700'])

  await ask(request({ cache: { ...NO_DIRECTIVES, noCache: true } }))
  t.ok(steps.includes('call'), 'except where the caller demands a new result')
})

t.test('a refused call is not repeated once the result has been bought elsewhere', async t => {
  const { parts, cache, steps, state, upstream, ask } = world()
  const { acquire } = parts.slots
  parts.slots.acquire = async wanted => {
    const slot = await acquire(wanted)
    const requeue = async () => {
      cache.set(KEY, kept('elsewhere', state.now))
      return { ...slot, waitedMs: 1_000 }
    }
    return { ...slot, requeue }
  }
  upstream.segment = async () => ({ ...failure('upstream_busy', 'no'), busy: { waitMs: 1_000 } }) as UpstreamOutcome
  t.match(await ask(), { how: 'hit', charged: 0 })
  t.equal(state.calls, 1)
  t.strictSame(steps.slice(-3), ['unused', 'release', 'vision hit 1700'])
})

t.test('a purchase is not made when its caller leaves during the look that follows a wait', async t => {
  const { parts, steps, state, ask } = world()
  const { acquire } = parts.slots
  const { find } = parts.results
  let leave = () => {}
  let hasSlot = false
  parts.slots.acquire = async wanted => {
    const slot = await acquire(wanted)
    hasSlot = true
    return { ...slot, waitedMs: 5_000 }
  }
  parts.results.find = async (key, isWanted) => {
    if (hasSlot) leave()
    return find(key, isWanted)
  }
  const onGone = (hear: () => void) => {
    leave = hear
  }
  await t.rejects(ask(request({ onGone })))
  t.equal(state.calls, 0)
  t.strictSame(steps, ['check', 'reserve', 'slot', 'unused', 'release'])
})

t.test('a purchase is not made when its caller leaves while a risen price is reserved', async t => {
  const { parts, steps, state, ask, reservation } = world()
  let leave = () => {}
  const recheck = async () => leave()
  parts.ledger.reserve = async () => ({ ...reservation, recheck })
  const onGone = (hear: () => void) => {
    leave = hear
  }
  await t.rejects(ask(request({ onGone })), { code: 'upstream_slow' })
  t.equal(state.calls, 0)
  t.strictSame(steps, ['check', 'slot', 'unused', 'release'])
})
