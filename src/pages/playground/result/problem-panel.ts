import type { GatewayProblem } from '../../../client/index.js'
import { button, byId, el } from '../../dom.js'
import { problemText } from '../wording.js'

/** Shows a problem with its request id, or hides the panel. */
export function showProblem(problem?: GatewayProblem, onRetry = () => {}): void {
  const panel = byId('problem')
  panel.hidden = !problem
  panel.replaceChildren(...(problem ? problemContent(problem, onRetry) : []))
}

function problemContent(problem: GatewayProblem, onRetry: () => void): HTMLElement[] {
  const { title, sentences, requestId } = problemText(problem)
  const link = el('a', { href: `/docs/errors#${problem.code}` }, `About ${problem.code}`)
  return [
    el('h2', title),
    ...sentences.map(sentence => el('p', sentence)),
    ...(requestId === undefined ? [] : [el('p.quiet', 'Request id ', el('code', requestId))]),
    el('p.quiet', link),
    ...(problem.retryable ? [el('div.actions', button('Try again', {}, onRetry))] : []),
  ]
}
