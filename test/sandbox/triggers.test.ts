import t from 'tap'
import { readTriggers } from '../../src/sandbox/triggers.js'

const accepted = [
  { text: 'a cat', prompt: 'a cat', triggers: {} },
  { text: 'sandbox:cut', prompt: undefined, triggers: { fate: 'cut' } },
  { text: 'sandbox:status=429 a cat', prompt: 'a cat', triggers: { status: '429' } },
  { text: 'a sandbox:delay=50; cat', prompt: 'a cat', triggers: { delayMs: 50 } },
  {
    text: 'sandbox:delay=5,sandbox:Status=406-Other',
    prompt: undefined,
    triggers: { delayMs: 5, status: '406-other' },
  },
  { text: 'sandbox:data-uri sandbox:hang cat', prompt: 'cat', triggers: { form: 'data-uri', fate: 'hang' } },
]
for (const { text, ...expected } of accepted) {
  t.test(`"${text}" is read`, async t => {
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
  'sandbox:status=constructor',
]) {
  t.test(`"${text}" is a problem that names the trigger`, async t => {
    const read = readTriggers(text)
    t.match(read, { problem: /unknown sandbox trigger/ })
  })
}

t.test('what is for one API only is unknown to the other', async t => {
  t.strictSame(readTriggers('sandbox:fail cat', 'v2'), { prompt: 'cat', triggers: { fails: true } })
  t.match(readTriggers('sandbox:fail cat', 'v1'), { problem: 'unknown sandbox trigger "fail"' })
  t.match(readTriggers('sandbox:fail=1', 'v2'), { problem: 'unknown sandbox trigger "fail=1"' })
  for (const form of ['base64-text', 'data-uri']) {
    t.match(readTriggers(`sandbox:${form}`, 'v1'), { triggers: { form } })
    t.match(readTriggers(`sandbox:${form}`, 'v2'), { problem: `unknown sandbox trigger "${form}"` })
  }
})
