import { button, byId, cssUrl, make } from './dom.js'
import { type Answered, spentIn } from './history.js'
import { selectionOf } from './question.js'
import { formatCredits, sayCache } from './wording.js'

/** The answers of this session, the newest first; each brings back its picture and its question. */
export function showHistory(
  history: readonly Answered[],
  shown: Answered | undefined,
  onChoose: (entry: Answered) => void,
): void {
  byId('history', HTMLElement).hidden = history.length === 0
  byId('spent', HTMLElement).textContent = `${formatCredits(spentIn(history))} credits`
  const rows = history.map(entry =>
    make(
      'li',
      {},
      entryOf(entry, entry === shown, () => onChoose(entry)),
    ),
  )
  byId('entries', HTMLElement).replaceChildren(...rows)
}

function entryOf(entry: Answered, isShown: boolean, onClick: () => void): HTMLButtonElement {
  const { answer, at } = entry
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
  const lines = [
    make('span', { class: 'what' }, whatOf(entry)),
    make('span', { class: 'hint' }, `${sayCache(answer.cache).text} · ${formatCredits(answer.cost)}`),
    make('span', { class: 'hint' }, time),
  ]
  return button(isShown ? { 'aria-current': 'true' } : {}, [thumbOf(entry), ...lines], onClick)
}

function whatOf(entry: Answered): string {
  const { prompt, coordinates = [], removeCoordinates = [] } = selectionOf(entry) ?? {}
  if (prompt !== undefined) return `${entry.output}: ${prompt}`
  const count = coordinates.length + removeCoordinates.length
  return `${entry.output}: ${count} ${count === 1 ? 'point' : 'points'}`
}

function thumbOf({ output, picture, url }: Answered): HTMLElement {
  const kind = { mask: 'tinted', cutout: 'checks', overlay: 'plain' }[output]
  const layer = make('div', { class: output === 'mask' ? 'layer tint' : 'layer' })
  layer.style.setProperty('--result', cssUrl(url))
  const photo = output === 'mask' ? [make('img', { src: picture.url, alt: '' })] : []
  return make('div', { class: `thumb ${kind}` }, ...photo, layer)
}
