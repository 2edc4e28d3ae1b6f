import t from 'tap'
import { PriceEstimate } from '../../src/credits/price.js'

t.test('the configured estimate holds until enough calls were seen', async t => {
  const price = new PriceEstimate(2_000_000)
  for (let call = 0; call < 9; call++) price.learn(1_000_000)
  t.equal(price.current(), 2_000_000)
  price.learn(1_000_000)
  t.equal(price.current(), 1_000_000)
})

t.test('the estimate is a high quantile of the recent costs, and forgets old ones', async t => {
  const price = new PriceEstimate(2_000_000)
  for (let call = 1; call <= 100; call++) price.learn(call * 100_000)
  t.equal(price.current(), 9_500_000)
  for (let call = 0; call < 200; call++) price.learn(1_500_000)
  t.equal(price.current(), 1_500_000)
})

t.test(
  'one absurd bill neither frees nor blocks a budget: within ten times the configured estimate, never 0',
  async t => {
    const high = new PriceEstimate(2_000_000)
    const low = new PriceEstimate(2_000_000)
    for (let call = 0; call < 20; call++) {
      high.learn(9e15)
      low.learn(0)
    }
    t.equal(high.current(), 20_000_000)
    t.equal(low.current(), 200_000)
  },
)
