import fc from 'fast-check'
import t from 'tap'
import { Account, costOf, ESTIMATE } from '../../src/sandbox/account.js'

t.test('a call is refused when less than the estimate is left besides the calls that run', async t => {
  const account = new Account(2 * ESTIMATE)
  t.ok(account.hold())
  t.ok(account.hold())
  t.notOk(account.hold())
  account.release()
  t.ok(account.hold())
})

t.test('a bill lowers the balance by exactly the cost and counts', async t => {
  const account = new Account(10_000_000)
  account.hold()
  account.bill(1_700_001)
  t.equal(account.balance, 8_299_999)
  t.equal(account.calls, 1)
})

t.test('a release leaves the balance', async t => {
  const account = new Account(10_000_000)
  account.hold()
  account.release()
  t.equal(account.balance, 10_000_000)
  t.equal(account.calls, 0)
})

t.test('a cost depends on the question alone and never exceeds the estimate', async () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string(), (bytes, question) => {
      const cost = costOf(Buffer.from(bytes), question)
      return cost === costOf(Buffer.from(bytes), question) && cost >= 1_400_000 && cost <= ESTIMATE
    }),
  )
})

t.test('costs vary from call to call', async t => {
  const costs = new Set(Array.from({ length: 20 }, (_, index) => costOf(Buffer.from('x'), String(index))))
  t.ok(costs.size > 15)
})
