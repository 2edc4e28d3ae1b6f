import { execFileSync } from 'node:child_process'
import t from 'tap'
import type { SegmentAnswer } from '../../../src/client/index.js'
import type { Point } from '../../../src/pages/playground/image/points.js'
import {
  fileNameOf,
  isSameSelection,
  type SelectionInput,
  selectionOf,
} from '../../../src/pages/playground/request/selection.js'
import { type Language, snippetOf } from '../../../src/pages/playground/request/snippets.js'
import {
  addResult,
  MAX_RESULTS,
  type Result,
  spentOn,
  unusedUrls,
  urlsOf,
} from '../../../src/pages/playground/result/history.js'

const points: Point[] = [
  { id: 1, x: 5, y: 6, kind: 'include' },
  { id: 2, x: 7, y: 8, kind: 'exclude' },
]
const input = (fields: Partial<SelectionInput> = {}): SelectionInput => ({
  prompt: '',
  points,
  output: 'mask',
  ...fields,
})

t.test('a selection contains only fields that have an effect', async t => {
  const rules: [name: string, input: SelectionInput, selection: unknown][] = [
    ['points', input(), { coordinates: [[5, 6]], removeCoordinates: [[7, 8]], output: 'mask' }],
    ['included points only', input({ points: points.slice(0, 1) }), { coordinates: [[5, 6]], output: 'mask' }],
    ['a prompt replaces the points', input({ prompt: ' a cup ' }), { prompt: 'a cup', output: 'mask' }],
    ['nothing selected', input({ points: [] }), undefined],
    ['excluded points only', input({ points: points.slice(1) }), undefined],
    ['a blank prompt', input({ points: [], prompt: '  ' }), undefined],
  ]
  for (const [name, given, selection] of rules) t.strictSame(selectionOf(given), selection, name)
})

t.test('two outputs of one selection are the same selection', async t => {
  t.ok(isSameSelection(input(), input({ output: 'cutout' })))
  t.ok(isSameSelection(input({ prompt: 'cup' }), input({ prompt: ' cup', points: [] })))
  t.notOk(isSameSelection(input(), input({ points: points.slice(0, 1) })))
})

t.test('a file name consists of the image name, the output and the type', async t => {
  t.equal(fileNameOf('my.cat.jpeg', 'mask', 'image/png'), 'my.cat-mask.png')
  t.equal(fileNameOf('cat', 'rle', 'application/json'), 'cat-rle.json')
  t.equal(fileNameOf('.jpg', 'overlay', 'image/jpeg'), 'image-overlay.jpg')
  t.equal(fileNameOf('cat.jpg', 'mask', 'text/odd'), 'cat-mask.bin')
})

const ODD = `it's "$HOME" \\ @x`
const snippetInput = {
  url: 'http://localhost:8080',
  fileName: `o'd"d.jpg`,
  savedAs: '-odd-mask.png',
  selection: { prompt: ODD, output: 'mask' } as const,
}

t.test('the shell command quotes special characters', async t => {
  const line = snippetOf('curl', snippetInput).replace(/^curl /, 'printf "%s\\n" ')
  const words = execFileSync('sh', ['-c', line], { env: { SEGMIND_GATEWAY_KEY: 'the-key' } })
  t.strictSame(words.toString().trimEnd().split('\n'), [
    ...['-sS', '-D', '-', '-o', './-odd-mask.png', 'http://localhost:8080/segment', '-H', 'x-api-key: the-key'],
    ...['--form-string', `prompt=${ODD}`, '--form-string', 'output=mask', '-F', `image=@"o'd\\"d.jpg"`],
  ])
})

t.test('every snippet contains the request and reads the key from the environment', async t => {
  const selection = { coordinates: [[5, 6]], removeCoordinates: [[7, 8]], output: 'cutout' } as const
  for (const language of ['curl', 'node', 'python'] satisfies Language[]) {
    const program = snippetOf(language, { ...snippetInput, selection })
    for (const part of ['[[5,6]]', '[[7,8]]', 'remove_coordinates', 'cutout', '/segment', 'SEGMIND_GATEWAY_KEY'])
      t.ok(program.includes(part), `${language}: ${part}`)
    t.notOk(program.includes('prompt'), language)
  }
  t.ok(snippetOf('python', snippetInput).includes(`"prompt": ${JSON.stringify(ODD)}`))
  t.ok(snippetOf('node', snippetInput).includes(`form.set("prompt", ${JSON.stringify(ODD)})`))
})

const result = (n: number): Result => ({
  ...input(),
  image: { file: new Blob([]), name: 'a.jpg', url: `blob:photo-${n % 2}`, size: { width: 1, height: 1 } },
  answer: { cost: 0.001 } as SegmentAnswer,
  url: `blob:answer-${n}`,
  elapsedMs: 1,
  at: new Date(0),
})

t.test('the history keeps the latest results and returns the unused URLs of dropped ones', async t => {
  let history: Result[] = []
  for (let n = 0; n < MAX_RESULTS; n++) history = addResult(history, result(n))
  const fuller = addResult(history, result(99))
  t.equal(fuller.length, MAX_RESULTS)
  t.equal(fuller[0]?.url, 'blob:answer-99')
  t.strictSame(unusedUrls(urlsOf(history), urlsOf(fuller)), ['blob:answer-0'], 'the image is still in use')
  t.strictSame(unusedUrls(urlsOf([result(1)]), []), ['blob:answer-1', 'blob:photo-1'])
  t.equal(spentOn([result(1), result(2)]), 0.002)
})
