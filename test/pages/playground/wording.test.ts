import t from 'tap'
import { GatewayProblem, type Quote } from '../../../src/client/index.js'
import { ERRORS } from '../../../src/contracts/errors.js'
import { stepsOf } from '../../../src/pages/playground/result/timing.js'
import { cacheText, problemText, progressText, quoteText } from '../../../src/pages/playground/wording.js'

const quote = (fields: Partial<Quote> = {}): Quote => ({
  resultId: 'r',
  imageId: 'i',
  wouldBe: 'miss',
  costCredits: 0.0017,
  allowed: true,
  queue: { depth: 0 },
  ...fields,
})

t.test('a quote shows the price, or why the request would be refused', async t => {
  const refusal = { code: 'budget_exhausted', detail: 'Spent.', retryAfterSeconds: 7200 } as const
  const rules: [name: string, quote: Quote, isTestKey: boolean, message: unknown][] = [
    ['new', quote(), false, { tone: 'plain', text: 'About 0.0017 credits', more: '' }],
    ['with remaining credits', quote({ remainingCredits: 5 }), false, { more: 'Remaining: 5 credits.' }],
    ['cached', quote({ wouldBe: 'hit', costCredits: 0 }), false, { tone: 'good', text: 'Free: cached' }],
    ['coalesced', quote({ wouldBe: 'coalesced', costCredits: 0 }), false, { tone: 'good', text: /^Free/ }],
    ['stale', quote({ wouldBe: 'stale', costCredits: 0 }), false, { tone: 'warn' }],
    ['a test key', quote({ remainingCredits: 1000 }), true, { text: 'Free: answered by the sandbox', more: '' }],
    ['refused', quote({ allowed: false, refusal }), false, { tone: 'bad', more: 'Spent. Try again in 2 hours.' }],
    ['queued', quote({ queue: { depth: 3, waitSeconds: 4.2 } }), false, { more: '3 requests ahead, about 5 s.' }],
    ['behind one', quote({ queue: { depth: 1 } }), false, { more: '1 request ahead.' }],
  ]
  for (const [name, given, isTestKey, message] of rules) t.match(quoteText(given, isTestKey), message as object, name)
})

t.test('every error code has a title, and its text ends with the cost', async t => {
  for (const code of Object.keys(ERRORS) as (keyof typeof ERRORS)[]) {
    const facts = { code, status: 500, requestId: 'r-1', retryable: true, billed: 'no' } as const
    const { title, sentences, requestId } = problemText(new GatewayProblem('What happened.', facts))
    t.ok(title.length > 5 && !title.includes('_'), `${code}: ${title}`)
    t.equal(sentences[0], 'What happened.')
    t.equal(sentences.at(-1), 'No credits were spent.')
    t.equal(requestId, 'r-1')
  }
  const busy = { code: 'overloaded', status: 503, retryable: true, billed: 'unknown', retryAfterSeconds: 2 } as const
  const { sentences } = problemText(new GatewayProblem('Busy.', busy))
  t.ok(sentences.includes('Try again in 2 s.'), 'with the time to wait')
  t.match(sentences.at(-1), /may have been spent/)
})

t.test('each cache outcome has a label', async t => {
  const texts = (['hit', 'miss', 'coalesced', 'stale', 'bypass'] as const).map(cache => cacheText(cache).text)
  t.strictSame(texts, ['Cache hit', 'New', 'Coalesced', 'Stale', 'Cache bypassed'])
})

t.test('progress has a share only while uploading', async t => {
  t.strictSame(progressText({ phase: 'uploading', sentBytes: 1e6, totalBytes: 4e6 }), {
    text: 'Uploading, 25% of 3.8 MiB',
    share: 0.25,
  })
  t.strictSame(progressText({ phase: 'uploading', sentBytes: 4, totalBytes: 4 }), { text: 'Waiting for the result' })
  t.strictSame(progressText({ phase: 'hashing' }), { text: 'Reading the image' })
})

t.test('the timing consists of the steps and the remaining time', async t => {
  const steps = stepsOf({ upload: 10, cache: 0, queue: 0, upstream: 60 }, 100)
  t.strictSame(
    steps.map(({ name, ms, share }) => [name, ms, share]),
    [
      ['upload', 10, 0.1],
      ['upstream', 60, 0.6],
      ['network', 30, 0.3],
    ],
  )
  t.strictSame(
    stepsOf({ upload: 10 }, 5).map(({ share }) => share),
    [1],
    'no step is negative',
  )
})
