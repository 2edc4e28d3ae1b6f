import t from 'tap'
import { PriceEstimate } from '../../../src/credits/account/price.js'

t.test('the configured estimate applies until enough costs are known', async t => {
  const price = new PriceEstimate(2_000_000)
  for (let call = 0; call < 9; call++) price.learn(1_000_000)
  t.equal(price.current(), 2_000_000)
  price.learn(1_000_000)
  t.equal(price.current(), 1_000_000)
})

t.test('the estimate is a high quantile of the recent costs', async t => {
  const price = new PriceEstimate(2_000_000)
  for (let call = 1; call <= 100; call++) price.learn((((call * 37) % 100) + 1) * 100_000)
  t.equal(price.current(), 9_500_000)
  for (let call = 0; call < 200; call++) price.learn(1_500_000)
  t.equal(price.current(), 1_500_000)
})

t.test('the estimate stays within a factor of ten of the configured one, and is never 0', async t => {
  const high = new PriceEstimate(2_000_000)
  const low = new PriceEstimate(2_000_000)
  for (let call = 0; call < 20; call++) {
    high.learn(9e15)
    low.learn(0)
  }
  t.equal(high.current(), 20_000_000)
  t.equal(low.current(), 200_000)
})

t.test('a price change is detected, and random variation is not one', async t => {
  const price = new PriceEstimate(2_000_000)
  for (let call = 0; call < 180; call++) price.learn(1_700_000 + (call % 3) * 1_000)
  t.equal(price.change, undefined)
  for (let call = 0; call < 9; call++) price.learn(2_400_000)
  t.equal(price.change, undefined, 'half of the last twenty costs are not enough')
  for (let call = 0; call < 11; call++) price.learn(2_400_000)
  t.same(price.change, { from: 1_701_000, to: 2_400_000 })
  t.equal(price.current(), 2_400_000)
  for (let call = 0; call < 200; call++) price.learn(1_000_000)
  t.equal(price.change, undefined, 'a price that has applied for long is not a change')
  t.equal(price.current(), 1_000_000)

  const noisy = new PriceEstimate(2_000_000)
  for (let call = 0; call < 200; call++) noisy.learn(1_000_000 + ((call * 7_919) % 1_000) * 3_000)
  t.equal(noisy.change, undefined)
})

t.test('the costs of all replicas replace the local ones, unless there are none', async t => {
  const price = new PriceEstimate(2_000_000)
  price.adopt(Array.from({ length: 250 }, (_, index) => (index < 200 ? 1_500_000 : 9_000_000)))
  t.equal(price.current(), 1_500_000)
  price.adopt([])
  t.equal(price.current(), 1_500_000)
})
