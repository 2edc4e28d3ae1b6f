import { byId, make } from './dom.js'
import type { Answered } from './history.js'
import { formatMs, type Step, stepsOf } from './timing.js'
import { formatCredits, sayCache } from './wording.js'

/** What an answer cost, where it came from, and how long each step took. */
export function showAnswer(answered: Answered | undefined): void {
  byId('answer', HTMLElement).hidden = !answered
  if (!answered) return
  const { answer, output, elapsedMs } = answered
  byId('facts', HTMLElement).replaceChildren(...factsOf(answered))
  byId('timing', HTMLElement).replaceChildren(...timingOf(stepsOf(answer.timing, elapsedMs)))
  byId('download', HTMLButtonElement).textContent = `Download ${output}`
  const rle = byId('download-rle', HTMLButtonElement)
  rle.disabled = output === 'overlay'
  rle.title = rle.disabled ? 'Ask for the mask first: it is made of that.' : ''
}

function factsOf({ answer, picture, elapsedMs }: Answered): HTMLElement[] {
  const { tone, text, more = '' } = sayCache(answer.cache)
  const badges = [make('span', { class: `badge ${tone}` }, text)]
  if (answer.isSandbox) badges.push(make('span', { class: 'badge good' }, 'sandbox'))
  const cost = make('strong', {}, `${formatCredits(answer.cost)} credits`)
  const facts: [string, string | Node][] = [['Took', formatMs(elapsedMs)]]
  if (answer.mask) facts.push(['Selection', selectionIn(answer.mask, picture.size)])
  if (answer.remainingCredits !== undefined && !answer.isSandbox)
    facts.push(['Key may still spend', `${formatCredits(answer.remainingCredits)} credits`])
  if (answer.ignoredFields.length > 0) facts.push(['Meant nothing', answer.ignoredFields.join(', ')])
  facts.push(['Request', make('code', {}, answer.requestId)])
  return [
    make('div', { class: 'cost' }, cost, ...badges),
    make('p', { class: 'hint' }, more),
    ...facts.map(([name, value]) => make('div', { class: 'fact' }, make('span', {}, name), make('span', {}, value))),
  ]
}

function selectionIn(
  { bbox: [x, y, width, height], area }: NonNullable<Answered['answer']['mask']>,
  picture: Answered['picture']['size'],
): string {
  if (area === 0) return 'nothing was found'
  const share = (100 * area) / (picture.width * picture.height)
  return `${width} × ${height} at ${x}, ${y} · ${share < 1 ? '<1' : Math.round(share)} %`
}

function timingOf(steps: readonly Step[]): HTMLElement[] {
  const parts = steps.map(({ name, share }) => {
    const part = make('span', { class: `step-${name}` })
    part.style.flexGrow = String(share)
    return part
  })
  const rows = steps.map(({ name, label, ms }) =>
    make(
      'li',
      {},
      make('span', { class: `dot step-${name}` }),
      make('span', {}, label),
      make('span', {}, formatMs(ms)),
    ),
  )
  return [
    make('div', { class: 'timing-bar', 'aria-hidden': 'true' }, ...parts),
    make('ul', { class: 'timing', 'aria-label': 'Where the time went' }, ...rows),
  ]
}
