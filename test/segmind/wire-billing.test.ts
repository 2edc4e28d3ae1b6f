import t from 'tap'
import { readBalance, readBill } from '../../src/segmind/wire-billing.js'

const BILLS: [title: string, headers: Record<string, string | string[]>, bill: object][] = [
  [
    'all three headers',
    { 'x-cost': '0.0017', 'x-remaining-credits': '0.0184921035', 'x-request-id': 'abc-1' },
    { cost: 1_700_000, remaining: 18_492_104, upstreamRequestId: 'abc-1' },
  ],
  ['none of them', { 'content-type': 'image/jpeg' }, {}],
  ['an exponent', { 'x-cost': '1.7e-3' }, { cost: 1_700_000 }],
  ['a cost of 0', { 'x-cost': '0' }, { cost: 0 }],
  ['a negative cost', { 'x-cost': '-0.0017' }, {}],
  ['garbage', { 'x-cost': '$0.0017', 'x-remaining-credits': 'unlimited', 'x-request-id': ' ' }, {}],
  ['empty headers', { 'x-cost': '', 'x-remaining-credits': '', 'x-request-id': '' }, {}],
  ['an account below 0', { 'x-remaining-credits': '-0.5' }, { remaining: -500_000_000 }],
  ['a header that came twice', { 'x-cost': ['0.0017', '0.0018'] }, { cost: 1_700_000 }],
  ['an id with spaces inside', { 'x-request-id': 'a b' }, {}],
  ['an id without end', { 'x-request-id': 'a'.repeat(129) }, {}],
]

for (const [title, headers, bill] of BILLS) {
  t.test(`a bill with ${title} omits what is unknown`, async t => {
    t.strictSame(readBill(headers), bill)
  })
}

const BALANCES: [body: string, remaining: number | undefined][] = [
  ['{"credits":0.0,"free-credits":0.0184921035}', 18_492_104],
  ['{"credits":0.1,"free-credits":0.2}', 300_000_000],
  ['{"credits":12.000000001,"free-credits":1e-9}', 12_000_000_002],
  ['{"credits":"3.5","free-credits":"0.25","plan":"free"}', 3_750_000_000],
  ['{"credits":3}', 3_000_000_000],
  ['{"free-credits":0}', 0],
  ['{"credits":2,"free-credits":null}', 2_000_000_000],
  ['{"credits":-0.25,"free-credits":0}', -250_000_000],
  ['{"credits":"lots","free-credits":1}', undefined],
  ['{"credits":true}', undefined],
  ['{"credits":null}', undefined],
  ['{"balance":3}', undefined],
  ['{}', undefined],
  ['[1,2]', undefined],
  ['null', undefined],
  ['3.5', undefined],
  ['<html>', undefined],
  ['', undefined],
]

for (const [body, remaining] of BALANCES) {
  t.test(`the balance in ${body || 'nothing'} is ${remaining ?? 'unknown'}`, async t => {
    t.equal(readBalance(body)?.remaining, remaining)
  })
}
