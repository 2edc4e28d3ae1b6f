import { type Child, el } from '../../dom.js'
import { credits, dateTime } from '../../format.js'
import type { Team } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { field, fieldText, openForm, optionalField } from '../elements/dialogs.js'

const DAY_MS = 86_400_000

/** Sets a temporary budget for a team. */
export function overrideBudget(api: OperatorApi, id: string, team: Team | undefined): Promise<unknown> {
  const amount = (name: string) =>
    el('input', { name, inputmode: 'decimal', pattern: '\\d{1,9}(\\.\\d{1,9})?', autocomplete: 'off' })
  const tomorrow = localTime(Date.now() + DAY_MS)
  const until = el('input', { name: 'until', type: 'datetime-local', required: true, value: tomorrow })
  const text =
    'Replaces the budget of the teams file until the given time; other replicas follow within two seconds. ' +
    'An empty field keeps the limit of the teams file.'
  return openForm({
    title: `Temporary budget for ${id}`,
    body: [
      el('p', text),
      ...currentBudget(team),
      field('Daily budget in credits', amount('daily'), 'Decimal point: 7.5'),
      field('Monthly budget in credits', amount('monthly')),
      field('Until', until, `Time zone: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`),
    ],
    submit: 'Set budget',
    done: `Temporary budget of team ${id} set.`,
    perform: form =>
      api.send('PUT', `/teams/${encodeURIComponent(id)}/budget/override`, {
        ...optionalField(form, 'daily'),
        ...optionalField(form, 'monthly'),
        until: new Date(fieldText(form, 'until')).toISOString(),
      }),
  })
}

export function endOverride(api: OperatorApi, id: string, team: Team | undefined): Promise<unknown> {
  return openForm({
    title: `End the temporary budget of ${id}`,
    body: [el('p', `The budget of the teams file applies to team ${id} again.`), ...currentBudget(team)],
    submit: 'End temporary budget',
    isDanger: true,
    done: `Temporary budget of team ${id} ended.`,
    perform: () => api.send('DELETE', `/teams/${encodeURIComponent(id)}/budget/override`),
  })
}

function currentBudget(team: Team | undefined): Child[] {
  if (!team) return []
  const { budget, override } = team
  const temporary = override ? ` Temporary, until ${dateTime(override.until)}: ${limits(override)}.` : ''
  return [el('p.quiet', `Teams file: ${limits(budget)}.${temporary}`)]
}

function limits({ daily, monthly }: { daily?: number; monthly?: number } = {}): string {
  const known = [
    ...(daily === undefined ? [] : [`${credits(daily)} daily`]),
    ...(monthly === undefined ? [] : [`${credits(monthly)} monthly`]),
  ]
  return known.join(', ') || 'no budget'
}

/** Formats a time for a date input: local time zone, to the minute. */
function localTime(at: number): string {
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60_000)
  return local.toISOString().slice(0, 16)
}
