import { button, type Child, el } from '../../dom.js'
import { dateTime } from '../../format.js'
import type { Overview } from '../api/api-types.js'
import { announce, fill } from '../elements/live-update.js'
import { relativeTime } from '../elements/relative-time.js'
import type { KeyRef } from '../keys/key-actions.js'
import { alertTitle } from '../wording.js'

/** Shows alerts and keys that expire soon. Announces new alerts to screen readers. */
export function createAlertsPanel(rotate: (key: KeyRef) => void) {
  let known: ReadonlySet<string> | undefined
  return {
    show({ alerts, expiringKeys }: Overview, now: number): void {
      const added = alerts.filter(({ key }) => known && !known.has(key))
      if (added.length > 0) announce(added.map(({ text }) => text).join(' '))
      known = new Set(alerts.map(({ key }) => key))
      const items = alerts.map(({ type, text }) => el('li', el('strong', alertTitle(type)), el('p', text)))
      fill('alerts', listOr('No active alerts.', items))
      const keys = expiringKeys.map(key => expiringKey(key, now, rotate))
      fill('expiring', listOr('No keys expire within 30 days.', keys))
    },
  }
}

function listOr(none: string, items: HTMLElement[]): Child {
  return items.length > 0 ? el('ul', ...items) : el('p.quiet', none)
}

function expiringKey(key: Overview['expiringKeys'][number], now: number, rotate: (key: KeyRef) => void): HTMLElement {
  const { id, team, expiresAt, note } = key
  const isExpired = Date.parse(expiresAt) <= now
  const name = el('strong', el('code', id), ` of ${team}`)
  const time = relativeTime(expiresAt, 'until', now)
  const text = ` (${dateTime(expiresAt)})${note === undefined ? '' : `: ${note}`}`
  const expiry = el('p', isExpired ? 'Expired ' : 'Expires ', time, text)
  if (isExpired) return el('li', name, expiry)
  const attributes = { 'data-focus': `expiring ${id}`, 'aria-label': `Rotate key ${id} of ${team}` }
  return el(
    'li.with-action',
    el('div', name, expiry),
    button('Rotate…', attributes, () => rotate({ id, team })),
  )
}
