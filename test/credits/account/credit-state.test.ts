import t from 'tap'
import type { CreditState } from '../../../src/contracts/account.js'
import { GatewayError } from '../../../src/contracts/errors.js'
import { type CreditEvidence, nextState, SharedCreditState } from '../../../src/credits/account/credit-state.js'
import { CreditGate } from '../../../src/credits/account/gate.js'
import { memoryRecords } from '../../support/doubles/memory-records.js'
import { aTeam } from '../../support/doubles/team.js'
import { eventually } from '../../support/eventually.js'

const thresholds = { reserve: 100, price: { current: () => 2 } }
const balance = (remaining: number, at = 10, reserved = 0): CreditEvidence => ({
  kind: 'balance',
  sample: { remaining, at },
  reserved,
})
const state = (name: CreditState['name'], changes: Partial<CreditState> = {}): CreditState => ({
  name,
  since: 5,
  ...changes,
})

const ROWS: [
  name: string,
  before: CreditState | undefined,
  evidence: CreditEvidence,
  after: CreditState['name'] | undefined,
][] = [
  ['a balance that covers the reserve and one call is normal', undefined, balance(102), 'normal'],
  ['a balance that covers only the reserve', state('normal'), balance(101), 'reserve'],
  ['calls in flight alone do not begin it', state('normal'), balance(150, 10, 49), 'normal'],
  ['a balance slightly above the reserve does not leave it', state('reserve'), balance(106), 'reserve'],
  ['a balance clearly above the reserve leaves it', state('reserve'), balance(107), 'normal'],
  ['calls in flight keep it in the reserve', state('reserve'), balance(150, 10, 44), 'reserve'],
  ['a reservation that would use up the reserve', state('normal'), { kind: 'floor', at: 10 }, 'reserve'],
  ['such a reservation before any balance was known', undefined, { kind: 'floor', at: 10 }, 'reserve'],
  ['such a reservation while the account is empty', state('empty'), { kind: 'floor', at: 10 }, 'empty'],
  ['a balance of 0', state('reserve'), balance(0), 'empty'],
  ['a negative balance', state('normal'), balance(-1), 'empty'],
  ['a call refused for lack of credits', state('normal'), { kind: 'refused', at: 10 }, 'empty'],
  ['a call refused before any balance was known', undefined, { kind: 'refused', at: 10 }, 'empty'],
  ['a balance older than the refusal', state('empty', { since: 20 }), balance(500, 20), 'empty'],
  ['a balance too low for a call', state('empty', { lowest: 1 }), balance(3), 'empty'],
  ['the same balance as at the refusal', state('empty', { lowest: 50 }), balance(50), 'empty'],
  ['a top-up into the reserve', state('empty', { lowest: 1 }), balance(50), 'reserve'],
  ['a top-up to the threshold stays in the reserve', state('empty', { lowest: 1 }), balance(101), 'reserve'],
  ['a top-up', state('empty', { lowest: 1 }), balance(500), 'normal'],
  ['an accepted call that was sent after the refusal', state('empty'), { kind: 'accepted', at: 6 }, 'normal'],
  [
    'an accepted call that was sent before the refusal changes nothing',
    state('empty'),
    { kind: 'accepted', at: 5 },
    'empty',
  ],
  ['an accepted call changes nothing in another state', state('reserve'), { kind: 'accepted', at: 10 }, 'reserve'],
  ['an accepted call before any balance was known', undefined, { kind: 'accepted', at: 10 }, undefined],
]

for (const [name, before, evidence, after] of ROWS) {
  t.test(`credit state: ${name}`, async t => {
    const next = nextState(before, evidence, thresholds)
    t.equal(next?.name, after)
    if (!next || next.name === before?.name) return
    t.equal(next.since, evidence.kind === 'balance' ? evidence.sample.at : evidence.at)
    t.equal(next.before, before?.name)
  })
}

t.test('credit state: without a reserve, any balance above 0 is normal', async t => {
  t.equal(nextState(undefined, balance(1), { ...thresholds, reserve: 0 })?.name, 'normal')
})

t.test('credit state: credits are back once the balance is above the lowest one seen while empty', async t => {
  let now = nextState(state('normal'), { kind: 'refused', at: 10, remaining: 3 }, thresholds)
  t.match(now, { name: 'empty', lowest: 3 })
  now = nextState(now, balance(4, 11), thresholds)
  t.match(now, { name: 'empty', lowest: 3 })
  now = nextState(now, balance(1, 12), thresholds)
  t.match(now, { name: 'empty', lowest: 1 })
  t.equal(nextState(now, balance(400, 13), thresholds)?.name, 'normal')
})

t.test('credit state: the next balance after a top-up ends the state, however the account became empty', async t => {
  const byBalance = nextState(state('normal'), balance(0, 10), thresholds)
  t.match(byBalance, { name: 'empty', lowest: 0 })
  t.equal(nextState(byBalance, balance(400, 11), thresholds)?.name, 'normal')
  const byRefusal = nextState(state('normal'), { kind: 'refused', at: 10 }, thresholds)
  t.equal(nextState(byRefusal, balance(400, 11), thresholds)?.name, 'normal')
})

function shared(records = memoryRecords()) {
  const reported: string[] = []
  const credits = new SharedCreditState({
    ...thresholds,
    records,
    observer: { creditStateChanged: ({ name }) => reported.push(name), storeFailed: () => reported.push('failed') },
  })
  return { credits, reported, records }
}

t.test('credit state: a change seen by two replicas at once is reported once', async t => {
  let waiting: (() => void)[] = []
  const isHeld = { now: false }
  const records = memoryRecords(async () => {
    if (isHeld.now) await new Promise<void>(resolve => waiting.push(resolve))
  })
  const [one, two] = [shared(records), shared(records)]
  await one.credits.apply(balance(500))
  await two.credits.refresh()
  // Both have read the state before either writes.
  isHeld.now = true
  const both = [one.credits.apply(balance(50)), two.credits.apply(balance(50))]
  t.equal(two.credits.current?.name, 'reserve', 'each replica applies it at once')
  t.equal(two.credits.agreed?.name, 'normal', 'but it is not shared yet')
  await eventually('fewer than two reads began', () => waiting.length >= 2)
  isHeld.now = false
  for (const go of waiting.splice(0)) go()
  waiting = []
  await Promise.all(both)
  t.same([...one.reported, ...two.reported], ['normal', 'reserve'])
  t.same(one.credits.agreed, two.credits.agreed)
  t.equal(one.credits.agreed?.name, 'reserve')
})

t.test('credit state: while the store is down, each replica uses its own evidence', async t => {
  const { credits, reported, records } = shared()
  records.failing = 'before'
  await credits.apply({ kind: 'refused', at: 10 })
  t.equal(credits.current?.name, 'empty')
  t.same(reported, ['failed'])
  records.failing = undefined
  await credits.refresh()
  t.equal(credits.current?.name, 'empty', 'no replica shared another state')
  await credits.apply(balance(500, 11))
  await credits.apply(balance(500, 12))
  t.equal(credits.current?.name, 'normal')
})

function gate(changes: { state?: CreditState; remaining?: number; at?: number; now?: number } = {}) {
  const of = { now: 1_000_000, at: 0, ...changes }
  const applied: CreditEvidence[] = []
  const credits = new CreditGate({
    state: { current: of.state, apply: async evidence => void applied.push(evidence) },
    currentBalance: async () => of.remaining,
    balance: { latest: of.remaining === undefined ? undefined : { remaining: of.remaining, at: of.at } },
    price: { current: () => 2 },
    now: () => of.now,
  })
  return { credits, of, applied }
}

t.test('the gate admits teams by credit state and protection, and names the state in refusals', async t => {
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
  for (const [name, isProtected, code, header] of rows) {
    const { credits } = gate({ remaining: 1, at: 999_999, ...(name && { state: state(name, { since: 999_990 }) }) })
    const refusal = credits.refusal(aTeam({ protected: isProtected }), 1_000)
    t.equal(refusal?.code, code, `${name}, ${isProtected ? 'protected' : 'not protected'}`)
    if (!code) t.doesNotThrow(() => credits.admit(aTeam({ protected: isProtected }), 1_000))
    else {
      t.throws(() => credits.admit(aTeam({ protected: isProtected }), 1_000), {
        code,
        headers: { 'x-credit-state': header },
      })
      t.ok((refusal?.retryAfterSeconds ?? 0) > 0)
    }
  }
})

t.test('the gate admits one probe call a minute while it is uncertain that the account is empty', async t => {
  const empty = state('empty', { since: 0 })
  const rows: [why: string, sample: { remaining?: number; at?: number }, isAdmitted: boolean][] = [
    ['Segmind refused although the balance is sufficient', { remaining: 500, at: 900_000 }, true],
    ['the balance is older than the refusal', { remaining: 1, at: 0 }, true],
    ['the balance is unknown', {}, true],
    ['the balance confirms it', { remaining: 3, at: 900_000 }, false],
  ]
  for (const [why, sample, isAdmitted] of rows) {
    const { credits, of } = gate({ state: empty, ...sample })
    const admits = () => {
      try {
        credits.admit(aTeam(), 1_000)
        return true
      } catch {
        return false
      }
    }
    t.equal(admits(), isAdmitted, why)
    t.equal(admits(), false, 'only one call is admitted')
    of.now += 60_000
    t.equal(admits(), isAdmitted, 'one more call a minute later')
  }
  const { credits } = gate({ state: state('empty', { since: 999_000 }), remaining: 500, at: 999_999 })
  t.throws(
    () => credits.admit(aTeam(), 1_000),
    { code: 'credits_exhausted' },
    'no probe within a minute of the refusal',
  )
})

t.test('a refusal that the balance explains empties the account; one that it does not concerns one team', async t => {
  const error = new GatewayError('credits_exhausted', 'Insufficient credits')
  for (const remaining of [undefined, 0, 3]) {
    const { credits, applied } = gate({ ...(remaining !== undefined && { remaining }) })
    t.match(await credits.refused(error, aTeam(), 1_000), { code: 'credits_exhausted', message: /account is out of/ })
    t.match(applied, [{ kind: 'refused', at: 1_000_000, remaining }])
  }
  const { credits, applied, of } = gate({ state: state('normal'), remaining: 500 })
  const [team, other] = [aTeam(), aTeam({ id: 'other' })]
  const limited = { code: 'credits_exhausted', retryAfterSeconds: 60, message: /spend limit/ }
  t.match(await credits.refused(error, team, 1_000), limited)
  t.same(applied, [], 'the account is not empty')
  t.throws(() => credits.admit(team, 1_000), limited)
  t.throws(() => credits.admit(team, 2_000), limited)
  t.doesNotThrow(() => credits.admit(team, 999), 'a smaller image')
  t.doesNotThrow(() => credits.admit(other, 1_000), 'another team')
  t.match(await credits.refused(error, team, 2_000), limited)
  t.throws(() => credits.admit(team, 1_000), limited, 'the smaller size still counts')
  of.now += 59_001
  t.match(credits.refusal(team, 1_000), { retryAfterSeconds: 1 })
  of.now += 1_000
  t.doesNotThrow(() => credits.admit(team, 2_000), 'a minute later one call may try')
})
