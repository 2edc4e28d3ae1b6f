import type { GatewayProblem } from '../../client/index.js'
import { button, byId, make } from './dom.js'
import { sayProblem } from './wording.js'

/** An error in plain words, with the id that finds it in the gateway's log. */
export function showProblem(problem: GatewayProblem | undefined, onAgain: () => void): void {
  const panel = byId('problem', HTMLElement)
  panel.hidden = !problem
  panel.replaceChildren(...(problem ? linesOf(problem, onAgain) : []))
}

function linesOf(problem: GatewayProblem, onAgain: () => void): HTMLElement[] {
  const { title, sentences, requestId } = sayProblem(problem)
  const id = requestId === undefined ? [] : [make('p', { class: 'hint' }, 'Request ', make('code', {}, requestId))]
  return [
    make('h2', {}, title),
    ...sentences.map(sentence => make('p', {}, sentence)),
    ...id,
    make('p', { class: 'hint' }, make('a', { href: `/docs/errors#${problem.code}` }, `About ${problem.code}`)),
    ...(problem.retryable ? [make('div', { class: 'go' }, button({}, 'Try again', onAgain))] : []),
  ]
}
