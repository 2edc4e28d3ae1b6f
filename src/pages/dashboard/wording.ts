import type { AuditEntry } from './api-types.js'
import { credits, moment } from './format.js'

const ACTIONS: Readonly<Record<string, string>> = {
  'key.created': 'made the key',
  'key.rotated': 'replaced the key',
  'key.revoked': 'revoked the key',
  'budget.overridden': 'set a temporary budget for',
  'budget.override.ended': 'ended the temporary budget of',
  'result.purged': 'purged the result',
  'results.purged': 'purged every result',
  'month.closed': 'closed the month',
  'month.reopened': 'reopened the month',
}

/** What was done, in words; one that this page does not know is told as it is. */
export function actionOf({ action }: AuditEntry): string {
  return ACTIONS[action] ?? action
}

/** Who did it, as far as it is known. */
export function actorOf({ by, name }: AuditEntry): string {
  return name ?? (by === 'cli' ? 'command line' : 'an operator')
}

/** What else is known of a step: `daily 5.00 credits, until 27 Nov 19:40`. */
export function detailsOf({ details = {} }: AuditEntry, timeZone?: string): string {
  return Object.entries(details)
    .filter(([, value]) => value !== false && value !== '')
    .map(([name, value]) => detail(name, value, timeZone))
    .join(', ')
}

function detail(name: string, value: unknown, timeZone: string | undefined): string {
  if (name === 'until') return `until ${moment(String(value), timeZone)}`
  if (name === 'daily' || name === 'monthly') return `${name} ${credits(Number(value))} credits`
  return value === true ? words(name) : `${words(name)} ${String(value)}`
}

/** `queueMs` → `queue`, `costSource` → `cost source`. */
export function words(name: string): string {
  return name
    .replace(/(Ms|Credits)$/, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, ' ')
    .toLowerCase()
    .replace(/^is /, '')
}

/** A value of an explanation, in words: its name tells its unit. */
export function told(name: string, value: unknown, timeZone?: string): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number' && name.endsWith('Ms')) return `${value.toLocaleString('en-GB')} ms`
  if (typeof value === 'number' && name.endsWith('Credits')) return `${value} credits`
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return moment(value, timeZone)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const ALERTS: Readonly<Record<string, string>> = {
  'budget.threshold': 'Budget',
  'credits.runway': 'Runway',
  'credits.state': 'Credits',
  'credits.drift': 'Books',
  'upstream.unauthorized': 'Segmind key',
}

/** What an alert is about, in a word or two. */
export function alertTitle(type: string): string {
  return ALERTS[type] ?? type.replaceAll('.', ' ')
}
