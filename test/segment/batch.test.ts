import t from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { answerBatch, type BatchItem, parseSelections } from '../../src/segment/batch.js'
import type { SegmentRequest } from '../../src/segment/keyed-request.js'
import { aCaller } from '../support/doubles/team.js'
import { eventually } from '../support/eventually.js'

const REQUEST = {
  requestId: 'r',
  caller: aCaller(),
  image: { digest: 'a'.repeat(64) },
  cache: { noCache: false, noStore: false, onlyIfCached: false },
}
const prompts = (...names: string[]) => parseSelections({ selections: names.map(prompt => ({ prompt })) })

/** Answers `known` selections at once; purchases wait for `release`. */
function shop(known: readonly string[] = []) {
  const begun: string[] = []
  const waiting = new Map<string, (error?: unknown) => void>()
  const ask = async ({ cache, params, requestId }: SegmentRequest): Promise<string> => {
    const { prompt = '' } = params
    if (known.includes(prompt) && !cache.noCache) return `had ${prompt}`
    if (cache.onlyIfCached) throw new GatewayError('not_cached', 'no')
    begun.push(`${requestId} ${prompt}`)
    await new Promise<void>((resolve, reject) => waiting.set(prompt, error => (error ? reject(error) : resolve())))
    return `bought ${prompt}`
  }
  return { begun, ask, release: (prompt: string, error?: unknown) => waiting.get(prompt)?.(error) }
}

const outcomeOf = ({ answer, error }: BatchItem<string>) => answer ?? (error as GatewayError).code

t.test("a selection is parsed like the fields of a single request, with the batch's defaults", async t => {
  const selections = parseSelections({
    selections: '[{"prompt":" dog "},{"id":"b","coordinates":[1,2],"output":"rle"},{"prompt":"x","overlay_mask":true}]',
    output: 'cutout',
  })
  t.match(selections, [
    { index: 0, parsed: { params: { prompt: 'dog', overlayMask: false }, output: 'cutout' } },
    { index: 1, id: 'b', parsed: { params: { coordinates: [[1, 2]] }, output: 'rle' } },
    { index: 2, parsed: { params: { overlayMask: true } } },
  ])
  t.equal(selections[2]?.parsed?.output, undefined, "a selection's own form replaces the default")
})

t.test('an invalid selection fails alone', async t => {
  const selections = parseSelections({
    selections: [
      { prompt: 'a' },
      {},
      { prompt: 'b', color: 1 },
      7,
      { id: 5, prompt: 'c' },
      { id: 'half a pair: \ud83d', prompt: 'c' },
      { id: 'x'.repeat(101), prompt: 'c' },
      { prompt: 'd', base64: true },
    ],
  })
  t.strictSame(
    selections.map(({ refusal }) => refusal?.code),
    [
      undefined,
      'missing_selection',
      'invalid_request',
      'invalid_parameter',
      'invalid_parameter',
      'invalid_parameter',
      'invalid_parameter',
      'invalid_request',
    ],
  )
})

t.test('anything but a list of 1 to 100 selections is rejected', async t => {
  const rows: [unknown, string][] = [
    [undefined, 'missing_selection'],
    ['', 'missing_selection'],
    ['{', 'invalid_parameter'],
    [{}, 'invalid_parameter'],
    [[], 'invalid_parameter'],
    [Array(101).fill({ prompt: 'a' }), 'invalid_parameter'],
  ]
  for (const [selections, code] of rows) t.throws(() => parseSelections({ selections }), { code })
  t.equal(parseSelections({ selections: Array(100).fill({ prompt: 'a' }) }).length, 100)
})

t.test('cached selections come first, then purchases, a few at a time, as each completes', async t => {
  const { ask, begun, release } = shop(['b', 'd'])
  const answers: string[] = []
  const done = (async () => {
    const parts = { parallel: 2, ask, isOver: () => false }
    for await (const item of answerBatch(REQUEST, prompts('a', 'b', 'c', 'd', 'e'), parts))
      answers.push(`${item.selection.index} ${outcomeOf(item)}`)
  })()
  await eventually('fewer than 2 segmentations began', () => begun.length >= 2)
  t.strictSame(answers, ['1 had b', '3 had d'])
  t.strictSame(begun, ['r.0 a', 'r.2 c'], 'each has its own request id')
  release('c')
  await eventually('fewer than 3 segmentations began', () => begun.length >= 3)
  release('e')
  await eventually('fewer than 4 results arrived', () => answers.length >= 4)
  release('a')
  await done
  t.strictSame(answers.slice(2), ['2 bought c', '4 bought e', '0 bought a'])
})

t.test('a selection whose purchase fails does not affect the others', async t => {
  const { ask, begun, release } = shop()
  const parts = { parallel: 3, ask, isOver: () => false }
  const answers = collect(answerBatch(REQUEST, prompts('a', 'b', ''), parts))
  await eventually('fewer than 2 segmentations began', () => begun.length >= 2)
  release('a', new GatewayError('budget_exhausted', 'no'))
  release('b')
  const codes = (await answers).map(item => `${item.selection.index} ${outcomeOf(item)}`)
  t.strictSame(codes, ['2 missing_selection', '0 budget_exhausted', '1 bought b'])
})

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

t.test('no further selection starts once the caller has left', async t => {
  const { ask, begun, release } = shop()
  let isOver = false
  const items = answerBatch(REQUEST, prompts('a', 'b', 'c'), { parallel: 1, ask, isOver: () => isOver })
  const first = items.next()
  await eventually('fewer than 1 segmentations began', () => begun.length >= 1)
  isOver = true
  release('a')
  t.equal(outcomeOf((await first).value as BatchItem<string>), 'bought a')
  t.equal((await items.next()).done, true)
  t.equal(begun.length, 1)
})

t.test('no-cache buys every selection, only-if-cached none, and an Idempotency-Key is split per selection', async t => {
  const requests: SegmentRequest[] = []
  const ask = async (question: SegmentRequest): Promise<string> => {
    requests.push(question)
    if (question.cache.onlyIfCached) throw new GatewayError('not_cached', 'no')
    return 'bought'
  }
  const parts = { parallel: 2, ask, isOver: () => false }
  const fresh = { ...REQUEST, cache: { ...REQUEST.cache, noCache: true }, idempotencyKey: 'order' }
  t.strictSame((await collect(answerBatch(fresh, prompts('a', 'b'), parts))).map(outcomeOf), ['bought', 'bought'])
  t.equal(requests.length, 2)
  t.equal(new Set(requests.map(({ idempotencyKey }) => idempotencyKey)).size, 2)
  const cached = { ...REQUEST, cache: { ...REQUEST.cache, onlyIfCached: true } }
  t.strictSame((await collect(answerBatch(cached, prompts('a'), parts))).map(outcomeOf), ['not_cached'])
})
