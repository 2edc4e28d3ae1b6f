import fc from 'fast-check'
import t from 'tap'
import { Account, costOf, ESTIMATE } from '../../src/sandbox/account.js'

t.test('a reservation fails when less than the estimate remains', async t => {
  const account = new Account(2 * ESTIMATE)
  t.ok(account.reserve())
  t.ok(account.reserve())
  t.notOk(account.reserve())
  account.release()
  t.ok(account.reserve())
})

t.test('a charge lowers the balance by exactly the cost and counts the call', async t => {
  const account = new Account(10_000_000)
  account.reserve()
  account.charge(1_700_001)
  t.equal(account.balance, 8_299_999)
  t.equal(account.calls, 1)
})

t.test('a release does not change the balance', async t => {
  const account = new Account(10_000_000)
  account.reserve()
  account.release()
  t.equal(account.balance, 10_000_000)
  t.equal(account.calls, 0)
})

t.test('equal calls cost the same, within the minimum and the estimate', async () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string(), (bytes, question) => {
      const cost = costOf(Buffer.from(bytes), question)
      return cost === costOf(Buffer.from(bytes), question) && cost >= 1_400_000 && cost <= ESTIMATE
    }),
  )
})

t.test('costs of different calls differ', async t => {
  const costs = new Set(Array.from({ length: 20 }, (_, index) => costOf(Buffer.from('x'), String(index))))
  t.ok(costs.size > 15)
})
