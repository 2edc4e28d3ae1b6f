import t from 'tap'
import { parsePrefer } from '../../src/input/request-directives.js'

t.test('Prefer is parsed according to RFC 7240', async t => {
  const rows: [header: string | string[], respondAsync: boolean, waitMs?: number][] = [
    ['', false],
    ['respond-async', true],
    ['Respond-Async', true],
    ['respond-async, wait=10', true, 10_000],
    ['wait=10; respond-async', false, 10_000],
    ['wait="3"', false, 3_000],
    [['respond-async', 'wait=1'], true, 1_000],
    ['wait=5, wait=9', false, 5_000],
    ['wait=-1', false],
    ['wait=soon', false],
    ['wait', false],
    ['return=minimal, respond-async="", x;y=z', true],
    ['respond-async-please', false],
    ['foo; respond-async', false],
  ]
  for (const [header, respondAsync, waitMs] of rows) {
    t.same(parsePrefer(header), { respondAsync, ...(waitMs === undefined ? {} : { waitMs }) }, String(header))
  }
})

t.test('a long header is parsed quickly', async t => {
  parsePrefer(`${'a;'.repeat(8_000)}respond-async`)
  parsePrefer('"'.repeat(16_000))
  parsePrefer(' '.repeat(16_000))
  t.pass()
})
