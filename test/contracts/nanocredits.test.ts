import fc from 'fast-check'
import t from 'tap'
import { formatCredits, fromCredits, parseCredits, toCredits } from '../../src/contracts/nanocredits.js'

t.test('parseCredits reads decimals exactly, and returns undefined for other texts', async t => {
  const rows: [string | undefined, number | undefined][] = [
    ['0.0184921035', 18492104],
    ['0.0017', 1700000],
    ['0', 0],
    ['-0', 0],
    ['12', 12e9],
    ['.5', 5e8],
    ['5.', 5e9],
    ['1.7e-3', 1700000],
    ['1E2', 100e9],
    [' 0.002 ', 2000000],
    ['-0.25', -25e7],
    ['0.0000000004', 0],
    ['0.0000000005', 1],
    ['', undefined],
    [undefined, undefined],
    ['.', undefined],
    ['abc', undefined],
    ['NaN', undefined],
    ['Infinity', undefined],
    ['0x10', undefined],
    ['1,5', undefined],
    ['1e300', undefined],
    ['99999999999', undefined],
  ]
  for (const [text, amount] of rows) t.equal(parseCredits(text), amount, `${text}`)
})

t.test('an amount written and read again is the same amount', async () => {
  fc.assert(
    fc.property(fc.integer({ min: -9e15, max: 9e15 }), amount => parseCredits(formatCredits(amount)) === amount),
  )
})

t.test('formatCredits never uses an exponent', async t => {
  t.equal(formatCredits(1), '0.000000001')
  t.equal(formatCredits(1700000), '0.0017')
  t.equal(formatCredits(0), '0')
  t.equal(formatCredits(-25e7), '-0.25')
  t.equal(formatCredits(123456789e9), '123456789')
})

t.test('an amount as a number of credits prints as the same decimal', async t => {
  t.equal(String(toCredits(1700000)), '0.0017')
  t.equal(fromCredits(0.002), 2000000)
  t.equal(fromCredits(toCredits(18492104)), 18492104)
})
