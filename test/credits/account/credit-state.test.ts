import t from 'tap'
import {
  type CreditNews,
  type CreditState,
  nextState,
  SharedCreditState,
} from '../../../src/credits/account/credit-state.js'
import { CreditGate } from '../../../src/credits/account/gate.js'
import { memoryRecords } from '../../support/memory-records.js'
import { aTeam } from '../../support/team.js'

const terms = { reserve: 100, estimate: 2 }
const heard = (remaining: number, at = 10): CreditNews => ({ kind: 'balance', sample: { remaining, at } })
const state = (name: CreditState['name'], changes: Partial<CreditState> = {}): CreditState => ({
  name,
  since: 5,
  ...changes,
})

const ROWS: [
  name: string,
  before: CreditState | undefined,
  news: CreditNews,
  after: CreditState['name'] | undefined,
][] = [
  ['enough is normal', undefined, heard(100), 'normal'],
  ['under the reserve', state('normal'), heard(99), 'reserve'],
  ['a little above the reserve is not out of it', state('reserve'), heard(104), 'reserve'],
  ['clearly above it is', state('reserve'), heard(105), 'normal'],
  ['nothing left', state('reserve'), heard(0), 'empty'],
  ['less than nothing', state('normal'), heard(-1), 'empty'],
  ['refused for want of credits', state('normal'), { kind: 'refused', at: 10 }, 'empty'],
  ['refused before anything was heard', undefined, { kind: 'refused', at: 10 }, 'empty'],
  ['a balance from before the refusal', state('empty', { since: 20 }), heard(500, 20), 'empty'],
  ['what is left is not enough for a call', state('empty', { lowest: 1 }), heard(3), 'empty'],
  ['the same balance as when it was refused', state('empty', { lowest: 50 }), heard(50), 'empty'],
  ['a top-up into the reserve', state('empty', { lowest: 1 }), heard(50), 'reserve'],
  ['a top-up to its edge stays in it', state('empty', { lowest: 1 }), heard(101), 'reserve'],
  ['a top-up', state('empty', { lowest: 1 }), heard(500), 'normal'],
  ['a call that went out after the refusal and was taken', state('empty'), { kind: 'accepted', at: 6 }, 'normal'],
  ['one that went out before shows nothing', state('empty'), { kind: 'accepted', at: 5 }, 'empty'],
  ['a call that was taken is no news otherwise', state('reserve'), { kind: 'accepted', at: 10 }, 'reserve'],
  ['nothing was heard yet', undefined, { kind: 'accepted', at: 10 }, undefined],
]

for (const [name, before, news, after] of ROWS) {
  t.test(`credits: ${name}`, async t => {
    const next = nextState(before, news, terms)
    t.equal(next?.name, after)
    if (!next || next.name === before?.name) return
    t.equal(next.since, news.kind === 'balance' ? news.sample.at : news.at)
    t.equal(next.before, before?.name)
  })
}

t.test('credits: without a reserve there is none', async t => {
  t.equal(nextState(undefined, heard(1), { reserve: 0, estimate: 2 })?.name, 'normal')
})

t.test('credits: the lowest balance seen while empty decides when they are back', async t => {
  let now = nextState(state('normal'), { kind: 'refused', at: 10 }, terms)
  now = nextState(now, heard(500, 11), terms)
  t.match(now, { name: 'empty', lowest: 500 }, 'Segmind refused all the same: a spend limit, say')
  now = nextState(now, heard(1, 12), terms)
  t.match(now, { name: 'empty', lowest: 1 })
  t.equal(nextState(now, heard(400, 13), terms)?.name, 'normal')
})

function shared(records = memoryRecords()) {
  const told: string[] = []
  const credits = new SharedCreditState({
    records,
    terms: () => terms,
    onChange: ({ name }) => told.push(name),
    onFailure: () => told.push('failed'),
  })
  return { credits, told, records }
}

t.test('credits: a change is told once, by one of the replicas that see it at the same time', async t => {
  let waiting: (() => void)[] = []
  const isHeld = { now: false }
  const records = memoryRecords(async () => {
    if (isHeld.now) await new Promise<void>(resolve => waiting.push(resolve))
  })
  const [one, two] = [shared(records), shared(records)]
  await one.credits.tell(heard(500))
  await two.credits.refresh()
  // Both have read the state before either writes.
  isHeld.now = true
  const both = [one.credits.tell(heard(50)), two.credits.tell(heard(50))]
  t.equal(two.credits.current?.name, 'reserve', 'each goes by it at once')
  t.equal(two.credits.agreed?.name, 'normal', 'though it is not yet agreed on')
  while (waiting.length < 2) await new Promise(setImmediate)
  isHeld.now = false
  for (const go of waiting.splice(0)) go()
  waiting = []
  await Promise.all(both)
  t.same([...one.told, ...two.told], ['normal', 'reserve'])
  t.same(one.credits.agreed, two.credits.agreed)
  t.equal(one.credits.agreed?.name, 'reserve')
})

t.test('credits: with the store down each replica goes by what it knows', async t => {
  const { credits, told, records } = shared()
  records.failing = 'before'
  await credits.tell({ kind: 'refused', at: 10 })
  t.equal(credits.current?.name, 'empty')
  t.same(told, ['failed'])
  records.failing = undefined
  await credits.refresh()
  t.equal(credits.current?.name, 'empty', 'nobody knows better')
  await credits.tell(heard(500, 11))
  await credits.tell(heard(500, 12))
  t.equal(credits.current?.name, 'normal')
})

function gate(changes: { state?: CreditState; remaining?: number; at?: number; now?: number } = {}) {
  const of = { now: 1_000_000, at: 0, ...changes }
  const credits = new CreditGate({
    state: () => of.state,
    balance: () => (of.remaining === undefined ? undefined : { remaining: of.remaining, at: of.at }),
    estimate: () => 2,
    now: () => of.now,
  })
  return { credits, of }
}

t.test('the gate: who may spend in which state, and what the others are told', async t => {
  const rows: [
    name: CreditState['name'] | undefined,
    isProtected: boolean,
    code: string | undefined,
    state?: string,
  ][] = [
    [undefined, false, undefined],
    ['normal', false, undefined],
    ['reserve', true, undefined],
    ['reserve', false, 'credits_reserved', 'reserve'],
    ['empty', true, 'credits_exhausted', 'empty'],
    ['empty', false, 'credits_exhausted', 'empty'],
  ]
  for (const [name, isProtected, code, said] of rows) {
    const { credits } = gate({ remaining: 1, at: 999_999, ...(name && { state: state(name, { since: 999_990 }) }) })
    const refusal = credits.refusal(aTeam({ protected: isProtected }))
    t.equal(refusal?.code, code, `${name}, ${isProtected ? 'protected' : 'not protected'}`)
    if (!code) t.doesNotThrow(() => credits.admit(aTeam({ protected: isProtected })))
    else {
      t.throws(() => credits.admit(aTeam({ protected: isProtected })), { code, headers: { 'x-credit-state': said } })
      t.ok((refusal?.retryAfterSeconds ?? 0) > 0)
    }
  }
})

t.test('the gate: where it is not sure that the account is empty, one call a minute is let through', async t => {
  const empty = state('empty', { since: 0 })
  const rows: [why: string, balance: { remaining?: number; at?: number }, mayTry: boolean][] = [
    ['Segmind refused, though the balance says otherwise', { remaining: 500, at: 900_000 }, true],
    ['the balance is not heard any more', { remaining: 1, at: 0 }, true],
    ['it was never heard', {}, true],
    ['the balance says so too', { remaining: 3, at: 900_000 }, false],
  ]
  for (const [why, balance, mayTry] of rows) {
    const { credits, of } = gate({ state: empty, ...balance })
    const admits = () => {
      try {
        credits.admit(aTeam())
        return true
      } catch {
        return false
      }
    }
    t.equal(admits(), mayTry, why)
    t.equal(admits(), false, 'one')
    of.now += 60_000
    t.equal(admits(), mayTry, 'a minute later another one')
  }
  const { credits } = gate({ state: state('empty', { since: 999_000 }), remaining: 500, at: 999_999 })
  t.throws(() => credits.admit(aTeam()), { code: 'credits_exhausted' }, 'not within a minute of the refusal')
})
