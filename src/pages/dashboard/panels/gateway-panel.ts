import { el } from '../../dom.js'
import { bytes, count, dateTime } from '../../format.js'
import type { CacheTier, Gateway, Overview } from '../api/api-types.js'
import { fill } from '../elements/live-update.js'
import { relativeTime } from '../elements/relative-time.js'
import { tile } from './credits-panel.js'

/** Shows the state of the gateway: calls in flight, queue, circuit breaker, store, cache. */
export function showGateway({ gateway, startedAt }: Overview, now: number): void {
  const { queue, inFlight, breaker, store, teamsFile, unsaved } = gateway
  const waiting = queue.reduce((sum, team) => sum + team.waiting, 0)
  const byTeam = queue.filter(team => team.waiting > 0).map(team => `${team.team} ${team.waiting}`)
  fill(
    'gateway-tiles',
    tile('In flight', count(inFlight), 'calls to Segmind'),
    tile('Queued', count(waiting), waiting > 0 ? byTeam.join(', ') : 'no requests waiting'),
    tile('Circuit breaker', state(breaker, breaker === 'closed'), 'to Segmind'),
    tile('Store', state(store, store === 'up'), unsavedNote(unsaved)),
    tile('Teams file', state(teamsFile === 'ok' ? 'valid' : 'rejected', teamsFile === 'ok')),
    ...gateway.cache.map(cacheTile),
    tile('Started', relativeTime(startedAt, 'ago', now), dateTime(startedAt)),
  )
  fill('teams-file-problems', ...gateway.teamsFileProblems.map(problem => el('li', problem)))
}

function state(text: string, isGood: boolean): HTMLElement {
  return el(`span.chip.${isGood ? 'good' : 'bad'}`, text)
}

function unsavedNote({ results, bytes: size, ledgerSteps }: Gateway['unsaved']): string {
  if (results === 0 && ledgerSteps === 0) return 'no pending writes'
  return `pending: ${count(ledgerSteps)} ledger entries, ${count(results)} results (${bytes(size)})`
}

function cacheTile({ tier, entries, bytes: size }: CacheTier): HTMLElement {
  const name = { memory: 'Memory cache', store: 'Store cache' }[tier] ?? tier
  return tile(name, bytes(size), `${count(entries)} ${tier === 'memory' ? 'results' : 'entries'}`)
}
