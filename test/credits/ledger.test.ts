import t from 'tap'
import { Ledger } from '../../src/credits/ledger.js'
import { PriceEstimate } from '../../src/credits/price.js'
import { UnsavedSteps } from '../../src/credits/unsaved.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { GatewayError } from '../../src/errors.js'
import { modelLedger } from '../support/model-ledger.js'
import { aCaller } from '../support/team.js'

const NOON = Date.parse('2026-11-22T12:00:00Z')

function books(whenStoreIsDown: 'closed' | 'open' = 'closed') {
  const model = modelLedger()
  const said: string[] = []
  const unsaved = new UnsavedSteps({ retryMs: 1e6, isStoreUp: () => true, onFailure: () => said.push('still down') })
  const ledger = new Ledger({
    store: model.store,
    price: new PriceEstimate(2_000_000),
    calendar: createBudgetCalendar('UTC'),
    unsaved,
    whenStoreIsDown,
    now: () => NOON,
    onBalance: async remaining => void said.push(`balance ${remaining}`),
    onBooked: (team, outcome, cost) => said.push(`${team} ${outcome} ${cost}`),
    onStoreFailure: (_error, doing) => said.push(`failed ${doing}`),
  })
  let calls = 0
  const plan = (caller = aCaller()) => ({ callId: `c${++calls}`, caller, requestId: 'r', cacheKey: 'k' })
  t.teardown(() => unsaved.close())
  return { ledger, plan, said, unsaved, ...model }
}

t.test('a reservation is written before the call, and replaced by what it cost', async t => {
  const { ledger, plan, calls, said } = books()
  const reservation = await ledger.reserve(plan())
  t.match(calls.get('c1'), {
    state: 'reserved',
    cost: 2_000_000,
    call: { team: 'vision', keyId: 'k1', day: '2026-11-22', month: '2026-11' },
  })
  t.equal(await reservation.settle({ cost: 1_700_000, remaining: 5 }), 1_700_000)
  t.match(calls.get('c1'), { state: 'charged', cost: 1_700_000 })
  t.same(said, ['vision charged 1700000', 'balance 5'])
})

t.test('an answer that does not say what it cost is booked with the estimate', async t => {
  const { ledger, plan, calls } = books()
  t.equal(await (await ledger.reserve(plan())).settle({}), 2_000_000)
  t.match(calls.get('c1'), { state: 'charged', cost: 2_000_000 })
})

t.test('release takes it out, unknown leaves it booked', async t => {
  const { ledger, plan, calls, said } = books()
  await (await ledger.reserve(plan())).release()
  t.equal(calls.size, 0)
  await (await ledger.reserve(plan())).unknown()
  t.match(calls.get('c2'), { state: 'unknown', cost: 2_000_000 })
  t.same(said, ['vision unknown 2000000'])
})

t.test('only the first end of a reservation counts', async t => {
  const { ledger, plan, calls, said } = books()
  const reservation = await ledger.reserve(plan())
  await reservation.settle({ cost: 1 })
  await reservation.release()
  await reservation.unknown()
  t.equal(await reservation.settle({ cost: 99 }), 1)
  t.match(calls.get('c1'), { state: 'charged', cost: 1 })
  t.same(said, ['vision charged 1'])
})

t.test('a spent budget is refused with the window, and with the seconds until it ends', async t => {
  const { ledger, plan } = books()
  const daily = aCaller({ budget: { daily: 2_000_000 } })
  await ledger.reserve(plan(daily))
  await t.rejects(ledger.reserve(plan(daily)), {
    code: 'budget_exhausted',
    retryAfterSeconds: 12 * 3600,
    message: 'Team vision has booked 0.002 of its daily budget of 0.002 credits.',
  })
  const monthly = aCaller({ id: 'other', budget: { monthly: 1 } })
  await t.rejects(ledger.reserve(plan(monthly)), { code: 'budget_exhausted', retryAfterSeconds: 8.5 * 86_400 })
})

t.test('with the store down, a team with a budget is refused and one without goes on', async t => {
  const { ledger, plan, state, calls, unsaved } = books()
  state.isDown = true
  state.mayHaveHappened = true
  await t.rejects(ledger.reserve(plan(aCaller({ budget: { daily: 1e9 } }))), {
    code: 'store_unavailable',
    retryAfterSeconds: 5,
  })
  const reservation = await ledger.reserve(plan())
  t.equal(await reservation.settle({ cost: 5 }), 5)
  t.equal(calls.size, 0)
  t.equal(unsaved.size, 2, 'the refused reservation is taken back, the charge is written, later')
  state.isDown = false
  await unsaved.flush()
  t.equal(unsaved.size, 0)
  t.match([...calls.values()], [{ state: 'charged', cost: 5 }])
})

t.test('BUDGET_FAIL=open lets budgeted teams go on', async t => {
  const { ledger, plan, state } = books('open')
  state.isDown = true
  t.ok(await ledger.reserve(plan(aCaller({ budget: { daily: 1 } }))))
})

t.test('an error that is not the store being down is not taken for one', async t => {
  const { ledger, plan, store } = books()
  store.reserve = async () => {
    throw new TypeError('a bug')
  }
  await t.rejects(ledger.reserve(plan()), TypeError)
})

t.test('a refusal while the store surely did nothing leaves nothing to take back', async t => {
  const { ledger, plan, state, unsaved } = books()
  state.isDown = true
  for (let request = 0; request < 100; request++) {
    await t.rejects(ledger.reserve(plan(aCaller({ budget: { daily: 1e9 } }))), { code: 'store_unavailable' })
  }
  t.equal(unsaved.size, 0)
})

t.test('a refused or lost call may still say what the account holds', async t => {
  const { ledger, plan, said, calls } = books()
  await (await ledger.reserve(plan())).release({ remaining: 100 })
  await (await ledger.reserve(plan())).unknown({ remaining: 90, cost: 5 })
  t.same(said, ['balance 100', 'vision unknown 2000000', 'balance 90'])
  t.match(calls.get('c2'), { state: 'unknown', cost: 2_000_000 }, 'booked with the estimate')
})

t.test(
  'unsaved steps are tried in order; one that fails does not hold up the others, and a store that is down is not bothered',
  async t => {
    const tried: string[] = []
    const failing = new Set(['a', 'b'])
    let isUp = false
    const unsaved = new UnsavedSteps({
      retryMs: 1e6,
      isStoreUp: () => isUp,
      onFailure: (_error, waiting) => tried.push(`failed with ${waiting}`),
    })
    t.teardown(() => unsaved.close())
    const step = (name: string) => async () => {
      tried.push(name)
      if (failing.has(name)) throw new Error('no')
    }
    for (const name of ['a', 'b', 'c']) unsaved.add(step(name))
    await unsaved.flush()
    t.same(tried, [])
    isUp = true
    await unsaved.flush()
    t.same(tried.splice(0), ['a', 'failed with 3', 'b', 'failed with 3', 'c'])
    failing.clear()
    await Promise.all([unsaved.flush(), unsaved.flush()])
    t.same(tried, ['a', 'b'], 'two flushes at once try each step once')
    t.equal(unsaved.size, 0)
  },
)

t.test('GatewayError of an exhausted budget says that nothing was billed', async t => {
  const { ledger, plan } = books()
  const error = await ledger.reserve(plan(aCaller({ budget: { daily: 0 } }))).catch((e: unknown) => e)
  t.ok(error instanceof GatewayError && error.billed === 'no')
})
