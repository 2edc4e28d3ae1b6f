import t from 'tap'
import { type Colour, colourMatch, readHints } from '../../../src/sandbox/vision/prompt.js'

const prompts = [
  { prompt: 'the cat', hints: { colours: [], isBackground: false } },
  { prompt: 'Orange suit', hints: { colours: ['orange'], isBackground: false } },
  { prompt: 'grey house, top-left', hints: { colours: ['gray'], across: -1, down: -1 } },
  { prompt: 'blue sky', hints: { colours: ['blue'], down: -1, usualShare: 0.4 } },
  { prompt: 'the background', hints: { isBackground: true } },
  { prompt: 'constructor toString', hints: { colours: [], isBackground: false } },
]
for (const { prompt, hints } of prompts) {
  t.test(`the words of "${prompt}" give hints`, async t => {
    t.match(readHints(prompt), hints)
  })
}

const shades: [rgb: [number, number, number], name: Colour][] = [
  [[220, 30, 30], 'red'],
  [[230, 120, 30], 'orange'],
  [[240, 220, 40], 'yellow'],
  [[40, 160, 60], 'green'],
  [[30, 200, 210], 'cyan'],
  [[30, 60, 200], 'blue'],
  [[130, 40, 190], 'purple'],
  [[240, 130, 180], 'pink'],
  [[110, 70, 40], 'brown'],
  [[12, 12, 12], 'black'],
  [[245, 245, 245], 'white'],
  [[128, 128, 130], 'gray'],
]
for (const [rgb, name] of shades) {
  t.test(`${rgb} matches ${name} best`, async t => {
    const scores = shades.map(([, other]) => ({ other, score: colourMatch(other, ...rgb) }))
    scores.sort((p, q) => q.score - p.score)
    t.equal(scores[0]?.other, name)
    t.ok((scores[0]?.score ?? 0) > 0.5)
  })
}
