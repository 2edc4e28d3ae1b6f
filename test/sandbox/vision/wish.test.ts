import t from 'tap'
import { bears, type Colour, readWish } from '../../../src/sandbox/vision/wish.js'

const wishes = [
  { prompt: 'the cat', wish: { colours: [], background: false } },
  { prompt: 'Orange suit', wish: { colours: ['orange'], background: false } },
  { prompt: 'grey house, top-left', wish: { colours: ['gray'], across: -1, down: -1 } },
  { prompt: 'blue sky', wish: { colours: ['blue'], down: -1, spread: 0.4 } },
  { prompt: 'the background', wish: { background: true } },
  { prompt: 'constructor toString', wish: { colours: [], background: false } },
]
for (const { prompt, wish } of wishes) {
  t.test(`"${prompt}" says what it says`, async t => {
    t.match(readWish(prompt), wish)
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
  t.test(`${rgb} is ${name} before all other names`, async t => {
    const scores = shades.map(([, other]) => ({ other, score: bears(other, ...rgb) }))
    scores.sort((p, q) => q.score - p.score)
    t.equal(scores[0]?.other, name)
    t.ok((scores[0]?.score ?? 0) > 0.5)
  })
}
