import type { Api } from './api.js'
import type { Team } from './api-types.js'
import { ask, field } from './dialogs.js'
import { type Child, el } from './element.js'
import { credits, moment } from './format.js'
import { given, text } from './key-actions.js'

const DAY_MS = 86_400_000

/** Other budgets for a team, for a while. */
export function overrideBudget(api: Api, id: string, team: Team | undefined): Promise<unknown> {
  const amount = (name: string) =>
    el('input', { name, inputmode: 'decimal', pattern: '\\d{1,9}(\\.\\d{1,9})?', autocomplete: 'off' })
  const until = el('input', {
    name: 'until',
    type: 'datetime-local',
    required: true,
    value: localTime(Date.now() + DAY_MS),
  })
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
  return ask({
    title: `Temporary budget for ${id}`,
    body: [
      el(
        'p',
        {},
        'Takes the place of the budget of the teams file until it ends by itself; other replicas know it within two seconds. What is left empty is as in the file.',
      ),
      ...standing(team),
      field('Daily budget, credits', amount('daily'), 'With a point: 7.5'),
      field('Monthly budget, credits', amount('monthly')),
      field('Until', until, `In ${zone}`),
    ],
    confirm: 'Set this budget',
    done: `Team ${id} has a temporary budget.`,
    perform: form =>
      api.send('PUT', `/teams/${encodeURIComponent(id)}/budget/override`, {
        ...given(form, 'daily'),
        ...given(form, 'monthly'),
        until: new Date(text(form, 'until')).toISOString(),
      }),
  })
}

export function endOverride(api: Api, id: string, team: Team | undefined): Promise<unknown> {
  return ask({
    title: `End the temporary budget of ${id}`,
    body: [el('p', {}, `From now on the budget of the teams file holds again for team ${id}.`), ...standing(team)],
    ...{ confirm: 'End it', isDanger: true },
    done: `The temporary budget of team ${id} has ended.`,
    perform: () => api.send('DELETE', `/teams/${encodeURIComponent(id)}/budget/override`),
  })
}

function standing(team: Team | undefined): Child[] {
  if (!team) return []
  const { budget, override } = team
  const said = [`In the file: ${amounts(budget)}.`]
  if (override) said.push(`Now, until ${moment(override.until)}: ${amounts(override)}.`)
  return [el('p', { class: 'quiet' }, said.join(' '))]
}

function amounts(budget: { daily?: number; monthly?: number } | undefined): string {
  const known = [
    ...(budget?.daily === undefined ? [] : [`${credits(budget.daily)} daily`]),
    ...(budget?.monthly === undefined ? [] : [`${credits(budget.monthly)} monthly`]),
  ]
  return known.length > 0 ? known.join(', ') : 'no budget'
}

/** As a field for dates and times wants it: in the reader's time zone, to the minute. */
function localTime(at: number): string {
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60_000)
  return local.toISOString().slice(0, 16)
}
