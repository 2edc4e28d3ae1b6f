import t from 'tap'
import { GatewayProblem, type Quote } from '../../src/client/index.js'
import { ERRORS } from '../../src/errors.js'
import { formatMs, stepsOf } from '../../src/pages/playground/timing.js'
import {
  formatBytes,
  formatCredits,
  sayCache,
  sayProblem,
  sayProgress,
  sayQuote,
} from '../../src/pages/playground/wording.js'

t.test('credits have no more digits than they need, and no exponent', async t => {
  const said: [number, string][] = [
    [0, '0'],
    [10, '10'],
    [0.0017, '0.0017'],
    [0.000000001, '0.000000001'],
    [9.998419907, '9.998419907'],
  ]
  for (const [credits, text] of said) t.equal(formatCredits(credits), text)
})

const quote = (fields: Partial<Quote> = {}): Quote => ({
  ...{ resultId: 'r', imageId: 'i', wouldBe: 'miss', costCredits: 0.0017, allowed: true, queue: { depth: 0 } },
  ...fields,
})

t.test('a quote says what it would cost, or why it would be refused', async t => {
  const refusal = { code: 'budget_exhausted', detail: 'Spent.', retryAfterSeconds: 7200 } as const
  const rules: [name: string, quote: Quote, isTestKey: boolean, words: unknown][] = [
    ['new', quote(), false, { tone: 'plain', text: 'About 0.0017 credits', more: '' }],
    ['with the rest', quote({ remainingCredits: 5 }), false, { more: 'Your key may spend 5 credits.' }],
    ['in the cache', quote({ wouldBe: 'hit', costCredits: 0 }), false, { tone: 'good', text: /^Free.*cache/ }],
    ['on its way', quote({ wouldBe: 'coalesced', costCredits: 0 }), false, { tone: 'good', text: /^Free/ }],
    ['old', quote({ wouldBe: 'stale', costCredits: 0 }), false, { tone: 'warn' }],
    ['a test key', quote({ remainingCredits: 1000 }), true, { text: 'Free: the sandbox answers', more: '' }],
    ['refused', quote({ allowed: false, refusal }), false, { tone: 'bad', more: 'Spent. Try again in 2 hours.' }],
    [
      'queued',
      quote({ queue: { depth: 3, waitSeconds: 4.2 } }),
      false,
      { more: '3 requests wait before it, about 5 s.' },
    ],
    ['behind one', quote({ queue: { depth: 1 } }), false, { more: '1 request waits before it.' }],
  ]
  for (const [name, asked, isTestKey, words] of rules) t.match(sayQuote(asked, isTestKey), words as object, name)
})

t.test('every error is told in plain words, with what it cost', async t => {
  for (const code of Object.keys(ERRORS) as (keyof typeof ERRORS)[]) {
    const facts = { code, status: 500, requestId: 'r-1', retryable: true, billed: 'no' } as const
    const { title, sentences, requestId } = sayProblem(new GatewayProblem('What happened.', facts))
    t.ok(title.length > 5 && !title.includes('_'), `${code}: ${title}`)
    t.equal(sentences[0], 'What happened.')
    t.equal(sentences.at(-1), 'Nothing was spent.')
    t.equal(requestId, 'r-1')
  }
  const busy = { code: 'overloaded', status: 503, retryable: true, billed: 'unknown', retryAfterSeconds: 2 } as const
  const { sentences } = sayProblem(new GatewayProblem('Busy.', busy))
  t.ok(sentences.includes('Try again in 2 s.'), 'how long to wait')
  t.match(sentences.at(-1), /may have been spent/)
})

t.test('where an answer came from has words of its own', async t => {
  const texts = (['hit', 'miss', 'coalesced', 'stale', 'bypass'] as const).map(cache => sayCache(cache).text)
  t.strictSame(texts, ['from the cache', 'new', 'shared', 'from the cache, old', 'new'])
})

t.test('progress has a share only where one is known', async t => {
  t.strictSame(sayProgress({ phase: 'uploading', sentBytes: 1e6, totalBytes: 4e6 }), {
    text: 'Uploading, 25 % of 4.0 MB',
    share: 0.25,
  })
  t.strictSame(sayProgress({ phase: 'uploading', sentBytes: 4, totalBytes: 4 }), { text: 'Waiting for the answer' })
  t.strictSame(sayProgress({ phase: 'hashing' }), { text: 'Reading the picture' })
  t.equal(formatBytes(1), '1 KB')
})

t.test('the bar of a request is made of its steps and of what is left', async t => {
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
    'clocks that differ make no negative step',
  )
  t.strictSame([formatMs(0.44), formatMs(35.4), formatMs(1234)], ['0.4 ms', '35 ms', '1.2 s'])
})
