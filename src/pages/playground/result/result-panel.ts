import { byId, el } from '../../dom.js'
import { exactCredits, milliseconds, percent } from '../../format.js'
import { cacheText } from '../wording.js'
import { allowExport } from './export.js'
import type { Result } from './history.js'
import { type Step, stepsOf } from './timing.js'

/** Shows the cost, the cache outcome and the timing of a result. */
export function showResult(result: Result | undefined): void {
  byId('result').hidden = !result
  if (!result) return
  const { answer, output, elapsedMs } = result
  byId('facts').replaceChildren(...facts(result))
  byId('timing').replaceChildren(...timing(stepsOf(answer.timing, elapsedMs)))
  byId('download').textContent = `Download ${output}`
  allowExport(output !== 'overlay')
}

function facts({ answer, image, elapsedMs }: Result): HTMLElement[] {
  const { mask, remainingCredits, ignoredFields, isSandbox } = answer
  const { tone, text, more = '' } = cacheText(answer.cache)
  const rows: [string, string | Node][] = [['Time', milliseconds(elapsedMs)]]
  if (mask) rows.push(['Selection', selectionText(mask, image.size)])
  if (remainingCredits !== undefined && !isSandbox)
    rows.push(['Remaining', `${exactCredits(remainingCredits)} credits`])
  if (ignoredFields.length > 0) rows.push(['Ignored fields', ignoredFields.join(', ')])
  rows.push(['Request id', el('code', answer.requestId)])
  return [
    el('div.cost', el('strong', `${exactCredits(answer.cost)} credits`)),
    el('div.chips', el(`span.chip.${tone}`, text), ...(isSandbox ? [el('span.chip.good', 'Sandbox')] : [])),
    el('p.quiet', more),
    ...rows.map(([name, value]) => el('div.fact', el('span', name), el('span', value))),
  ]
}

function selectionText(
  { bbox: [x, y, width, height], area }: NonNullable<Result['answer']['mask']>,
  image: Result['image']['size'],
): string {
  if (area === 0) return 'nothing found'
  return `${width} × ${height} at ${x}, ${y} · ${percent(area / (image.width * image.height))}`
}

function timing(steps: readonly Step[]): HTMLElement[] {
  const parts = steps.map(({ name, share }) => {
    const part = el(`span.step-${name}`)
    part.style.flexGrow = String(share)
    return part
  })
  const rows = steps.map(({ name, label, ms }) =>
    el('li', el(`span.dot.step-${name}`), el('span', label), el('span', milliseconds(ms))),
  )
  return [
    el('div.timing-bar', { 'aria-hidden': 'true' }, ...parts),
    el('ul.timing', { 'aria-label': 'Timing' }, ...rows),
  ]
}
