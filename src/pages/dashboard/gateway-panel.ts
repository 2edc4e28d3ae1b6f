import type { CacheTier, Gateway, Overview } from './api-types.js'
import { tile } from './credits-panel.js'
import { chip, el, fill } from './element.js'
import { bytes, count, moment } from './format.js'
import { ticking } from './ticking.js'

/** How the gateway does: its queue, the way to Segmind, the store, the cache. */
export function showGateway({ gateway, startedAt }: Overview, now: number): void {
  const { queue, inFlight, breaker, store, teamsFile, unsaved } = gateway
  const waiting = queue.reduce((sum, one) => sum + one.waiting, 0)
  const byTeam = queue.filter(one => one.waiting > 0).map(one => `${one.team} ${one.waiting}`)
  fill(
    'gateway-tiles',
    tile('At Segmind', count(inFlight), 'calls under way'),
    tile('Waiting', count(waiting), byTeam.length > 0 ? byTeam.join(', ') : 'for a turn'),
    tile('Way to Segmind', breaker === 'closed' ? chip('open', 'good') : chip(`cut: breaker ${breaker}`, 'bad')),
    tile('Store', chip(store, store === 'up' ? 'good' : 'bad'), ...unsavedNote(unsaved)),
    tile('Teams file', chip(teamsFile, teamsFile === 'ok' ? 'good' : 'bad')),
    ...gateway.cache.map(cacheTile),
    tile('Started', ticking(startedAt, 'age', now), moment(startedAt)),
  )
  const problems = gateway.teamsFileProblems.map(problem => el('li', {}, problem))
  fill('teams-file-problems', ...problems)
}

function unsavedNote({ results, bytes: size, ledgerSteps }: Gateway['unsaved']): string[] {
  if (results === 0 && ledgerSteps === 0) return ['nothing waits for it']
  return [`${count(ledgerSteps)} bookings and ${count(results)} results (${bytes(size)}) wait for it`]
}

function cacheTile({ tier, entries, bytes: size }: CacheTier): HTMLElement {
  const name = tier === 'memory' ? 'In memory' : tier === 'store' ? 'In the store' : tier
  return tile(name, bytes(size), `${count(entries)} ${tier === 'memory' ? 'results' : 'entries'}`)
}
