import { execFileSync } from 'node:child_process'
import t from 'tap'
import type { SegmentAnswer } from '../../src/client/index.js'
import {
  type Answered,
  MAX_REMEMBERED,
  noLongerNeeded,
  remember,
  spentIn,
  urlsOf,
} from '../../src/pages/playground/history.js'
import type { MarkedPoint } from '../../src/pages/playground/points.js'
import { fileNameOf, isSameThing, type Question, selectionOf } from '../../src/pages/playground/question.js'
import { type Language, snippetOf } from '../../src/pages/playground/snippets.js'

const points: MarkedPoint[] = [
  { id: 1, x: 5, y: 6, mark: 'add' },
  { id: 2, x: 7, y: 8, mark: 'remove' },
]
const question = (fields: Partial<Question> = {}): Question => ({ prompt: '', points, output: 'mask', ...fields })

t.test('what is asked is what means something', async t => {
  const rules: [name: string, question: Question, selection: unknown][] = [
    ['points', question(), { coordinates: [[5, 6]], removeCoordinates: [[7, 8]], output: 'mask' }],
    ['no empty list', question({ points: points.slice(0, 1) }), { coordinates: [[5, 6]], output: 'mask' }],
    ['beside a prompt no points', question({ prompt: ' a cup ' }), { prompt: 'a cup', output: 'mask' }],
    ['nothing', question({ points: [] }), undefined],
    ['only what is left out', question({ points: points.slice(1) }), undefined],
    ['blanks', question({ points: [], prompt: '  ' }), undefined],
  ]
  for (const [name, asked, selection] of rules) t.strictSame(selectionOf(asked), selection, name)
})

t.test('two forms of one selection are the same thing', async t => {
  t.ok(isSameThing(question(), question({ output: 'cutout' })))
  t.ok(isSameThing(question({ prompt: 'cup' }), question({ prompt: ' cup', points: [] })))
  t.notOk(isSameThing(question(), question({ points: points.slice(0, 1) })))
})

t.test('a file is called by the photo, the form and the type', async t => {
  t.equal(fileNameOf('my.cat.jpeg', 'mask', 'image/png'), 'my.cat-mask.png')
  t.equal(fileNameOf('cat', 'rle', 'application/json'), 'cat-rle.json')
  t.equal(fileNameOf('.jpg', 'overlay', 'image/jpeg'), 'picture-overlay.jpg')
  t.equal(fileNameOf('cat.jpg', 'mask', 'text/odd'), 'cat-mask.bin')
})

const ODD = `it's "$HOME" \\ @x`
const asked = {
  url: 'http://localhost:8080',
  fileName: `o'd"d.jpg`,
  savedAs: '-odd-mask.png',
  selection: { prompt: ODD, output: 'mask' } as const,
}

t.test('the line for the shell means what was asked, whatever is in it', async t => {
  const line = snippetOf('curl', asked).replace(/^curl /, 'printf "%s\\n" ')
  const words = execFileSync('sh', ['-c', line], { env: { SEGMIND_GATEWAY_KEY: 'the-key' } })
  t.strictSame(words.toString().trimEnd().split('\n'), [
    ...['-sS', '-D', '-', '-o', './-odd-mask.png', 'http://localhost:8080/segment', '-H', 'x-api-key: the-key'],
    ...['--form-string', `prompt=${ODD}`, '--form-string', 'output=mask', '-F', `image=@"o'd\\"d.jpg"`],
  ])
})

t.test('every program has the question, and the name of the key instead of the key', async t => {
  const selection = { coordinates: [[5, 6]], removeCoordinates: [[7, 8]], output: 'cutout' } as const
  for (const language of ['curl', 'node', 'python'] satisfies Language[]) {
    const program = snippetOf(language, { ...asked, selection })
    for (const part of ['[[5,6]]', '[[7,8]]', 'remove_coordinates', 'cutout', '/segment', 'SEGMIND_GATEWAY_KEY'])
      t.ok(program.includes(part), `${language}: ${part}`)
    t.notOk(program.includes('prompt'), language)
  }
  t.ok(snippetOf('python', asked).includes(`"prompt": ${JSON.stringify(ODD)}`))
  t.ok(snippetOf('node', asked).includes(`form.set("prompt", ${JSON.stringify(ODD)})`))
})

const answered = (n: number): Answered => ({
  ...question(),
  picture: { file: new Blob([]), name: 'a.jpg', url: `blob:photo-${n % 2}`, size: { width: 1, height: 1 } },
  answer: { cost: 0.001 } as SegmentAnswer,
  url: `blob:answer-${n}`,
  elapsedMs: 1,
  at: new Date(0),
})

t.test('a session remembers its latest answers, and says which addresses of the page are needed no more', async t => {
  let history: Answered[] = []
  for (let n = 0; n < MAX_REMEMBERED; n++) history = remember(history, answered(n))
  const fuller = remember(history, answered(99))
  t.equal(fuller.length, MAX_REMEMBERED)
  t.equal(fuller[0]?.url, 'blob:answer-99')
  t.strictSame(noLongerNeeded(urlsOf(history), urlsOf(fuller)), ['blob:answer-0'], 'the photo is still needed')
  t.strictSame(noLongerNeeded(urlsOf([answered(1)]), []), ['blob:answer-1', 'blob:photo-1'])
  t.equal(spentIn([answered(1), answered(2)]), 0.002)
})
