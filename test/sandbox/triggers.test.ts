import t from 'tap'
import { readTriggers } from '../../src/sandbox/triggers.js'

const accepted = [
  { text: 'a cat', prompt: 'a cat', triggers: {} },
  { text: 'sandbox:row=late a cat', prompt: 'a cat', triggers: { row: 'late' } },
  { text: 'sandbox:cut', prompt: undefined, triggers: { disruption: 'cut' } },
  { text: 'sandbox:status=429 a cat', prompt: 'a cat', triggers: { status: '429' } },
  { text: 'a sandbox:delay=50; cat', prompt: 'a cat', triggers: { delayMs: 50 } },
  {
    text: 'sandbox:delay=5,sandbox:Status=406-Other',
    prompt: undefined,
    triggers: { delayMs: 5, status: '406-other' },
  },
  { text: 'sandbox:data-uri sandbox:hang cat', prompt: 'cat', triggers: { format: 'data-uri', disruption: 'hang' } },
]
for (const { text, ...expected } of accepted) {
  t.test(`"${text}" is parsed`, async t => {
    t.strictSame(readTriggers(text), expected)
  })
}

for (const text of [
  'sandbox:nonsense',
  'sandbox:status=299',
  'sandbox:status',
  'sandbox:delay=x',
  'sandbox:delay=900000',
  'sandbox:cut=1',
  'sandbox:row=never',
  'sandbox:status=constructor',
]) {
  t.test(`"${text}" is an unknown trigger`, async t => {
    const read = readTriggers(text)
    t.match(read, { problem: /unknown sandbox trigger/ })
  })
}

t.test('a trigger of one API is unknown in the other', async t => {
  t.strictSame(readTriggers('sandbox:fail cat', 'v2'), { prompt: 'cat', triggers: { fails: true } })
  t.match(readTriggers('sandbox:fail cat', 'v1'), { problem: 'unknown sandbox trigger "fail"' })
  t.match(readTriggers('sandbox:fail=1', 'v2'), { problem: 'unknown sandbox trigger "fail=1"' })
  for (const format of ['base64-text', 'data-uri']) {
    t.match(readTriggers(`sandbox:${format}`, 'v1'), { triggers: { format } })
    t.match(readTriggers(`sandbox:${format}`, 'v2'), { problem: `unknown sandbox trigger "${format}"` })
  }
})
