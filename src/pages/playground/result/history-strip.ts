import { button, byId, el } from '../../dom.js'
import { exactCredits, timeOfDay } from '../../format.js'
import { cssUrl } from '../image/viewer.js'
import { selectionOf } from '../request/selection.js'
import { cacheText } from '../wording.js'
import { type Result, spentOn } from './history.js'

/** Shows the results of this session, newest first. Each restores its image and its request. */
export function showHistory(
  history: readonly Result[],
  shown: Result | undefined,
  onChoose: (result: Result) => void,
): void {
  byId('history').hidden = history.length === 0
  byId('spent').textContent = `${exactCredits(spentOn(history))} credits`
  const items = history.map(result => {
    const { answer, at } = result
    const item = button(thumbnail(result), { 'aria-current': result === shown && 'true' }, () => onChoose(result))
    item.append(
      el('span.description', describe(result)),
      el('span.quiet', `${cacheText(answer.cache).text} · ${exactCredits(answer.cost)}`),
      el('span.quiet', timeOfDay(at)),
    )
    return el('li', item)
  })
  byId('entries').replaceChildren(...items)
}

function describe(result: Result): string {
  const { prompt, coordinates = [], removeCoordinates = [] } = selectionOf(result) ?? {}
  const count = coordinates.length + removeCoordinates.length
  return `${result.output}: ${prompt ?? `${count} ${count === 1 ? 'point' : 'points'}`}`
}

function thumbnail({ output, image, url }: Result): HTMLElement {
  const isMask = output === 'mask'
  const layer = el(isMask ? 'div.layer.tint' : 'div.layer')
  layer.style.setProperty('--result', cssUrl(url))
  const photo = isMask ? [el('img', { src: image.url, alt: '' })] : []
  return el(`div.thumbnail.${output}`, ...photo, layer)
}
