import type { Overview } from './api-types.js'
import { announce, button, type Child, el, fill } from './element.js'
import { moment } from './format.js'
import { ticking } from './ticking.js'
import { alertTitle } from './wording.js'

export interface AttentionParts {
  rotate(key: { id: string; team: string }): void
}

/** What wants somebody: alerts, and keys that end. New alerts are said aloud. */
export function createAttention({ rotate }: AttentionParts) {
  let told: ReadonlySet<string> | undefined
  return {
    show({ alerts, expiringKeys }: Overview, now: number): void {
      const fresh = alerts.filter(({ key }) => told && !told.has(key))
      if (fresh.length > 0) announce(fresh.map(({ text }) => text).join(' '))
      told = new Set(alerts.map(({ key }) => key))
      const items = alerts.map(({ type, text }) => el('li', {}, el('strong', {}, alertTitle(type)), el('p', {}, text)))
      fill('alerts', ...orNone(items, 'No alerts.'))
      const keys = expiringKeys.map(key => expiring(key, now, rotate))
      fill('expiring', ...orNone(keys, 'No key ends within 30 days.'))
    },
  }
}

function orNone(items: HTMLElement[], none: string): Child[] {
  if (items.length > 0) return [el('ul', {}, ...items)]
  return [el('p', { class: 'quiet' }, none)]
}

function expiring(
  { id, team, expiresAt, note }: Overview['expiringKeys'][number],
  now: number,
  rotate: AttentionParts['rotate'],
): HTMLElement {
  const isOver = Date.parse(expiresAt) <= now
  const what = el('strong', {}, el('code', {}, id), ` of ${team}`)
  const when = el('p', {}, isOver ? 'Ended ' : 'Ends ', ticking(expiresAt, 'ahead', now), ` (${moment(expiresAt)})`)
  if (note !== undefined) when.append(`: ${note}`)
  if (isOver) return el('li', {}, what, when)
  const replace = button('Replace…', { focus: `expiring ${id}`, 'aria-label': `Replace key ${id} of ${team}` }, () =>
    rotate({ id, team }),
  )
  return el('li', { class: 'with-action' }, el('div', {}, what, when), replace)
}
