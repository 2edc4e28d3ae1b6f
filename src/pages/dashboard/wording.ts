import { credits, dateTime } from '../format.js'
import type { AuditEntry } from './api/api-types.js'

const ACTIONS: Readonly<Record<string, string>> = {
  'key.created': 'created key',
  'key.rotated': 'rotated key',
  'key.revoked': 'revoked key',
  'budget.overridden': 'set a temporary budget for',
  'budget.override.ended': 'ended the temporary budget of',
  'result.purged': 'purged result',
  'results.purged': 'purged all results',
  'month.closed': 'closed month',
  'month.reopened': 'reopened month',
  'ledger.accepted': 'accepted a lost ledger',
}

/** Describes an audited action. Actions unknown to this page are shown by their code. */
export function actionText({ action }: AuditEntry): string {
  return ACTIONS[action] ?? action
}

export function actorText({ by, name }: AuditEntry): string {
  return name ?? (by === 'cli' ? 'command line' : 'unnamed operator')
}

/** Formats the details of an audit entry: `daily 5.00 credits, until 27 Nov 19:40`. */
export function detailsText({ details = {} }: AuditEntry, timeZone?: string): string {
  return Object.entries(details)
    .filter(([, value]) => value !== false && value !== '')
    .map(([name, value]) => detailText(name, value, timeZone))
    .join(', ')
}

function detailText(name: string, value: unknown, timeZone: string | undefined): string {
  if (name === 'until') return `until ${dateTime(String(value), timeZone)}`
  if (name === 'daily' || name === 'monthly') return `${name} ${credits(Number(value))} credits`
  return value === true ? labelOf(name) : `${labelOf(name)} ${String(value)}`
}

const LABELS: Readonly<Record<string, string>> = {
  at: 'time',
  boughtAt: 'purchased',
  how: 'outcome',
  isElsewhere: 'other process',
  isSure: 'store answered',
  looks: 'lookups',
  question: 'request',
  seat: 'lease',
  when: 'lookup',
}

/** Turns a member name into a label: `queueMs` → `queue`, `costSource` → `cost source`. */
export function labelOf(name: string): string {
  const words = name
    .replace(/(Ms|Credits)$/, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, ' ')
    .toLowerCase()
  return LABELS[name] ?? words.replace(/^is /, '')
}

/** Formats a value. The unit follows from the member name. */
export function valueText(name: string, value: unknown, timeZone?: string): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number' && name.endsWith('Ms')) return `${value.toLocaleString('en-GB')} ms`
  if (typeof value === 'number' && name.endsWith('Credits')) return `${value} credits`
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return dateTime(value, timeZone)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const ALERTS: Readonly<Record<string, string>> = {
  'budget.threshold': 'Budget',
  'credits.runway': 'Runway',
  'credits.state': 'Credits',
  'credits.drift': 'Ledger drift',
  'credits.implausible': 'Implausible figure',
  'upstream.unauthorized': 'Segmind key',
}

export function alertTitle(type: string): string {
  return ALERTS[type] ?? type.replaceAll('.', ' ')
}
