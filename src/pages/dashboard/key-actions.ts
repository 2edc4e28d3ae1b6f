import type { Api } from './api.js'
import type { MadeKey, Team } from './api-types.js'
import { ask, field } from './dialogs.js'
import { announce, button, type Child, el } from './element.js'

interface KeyRef {
  id: string
  team: string
}

/** Makes a key; a team that is not there yet is made with it. */
export function createKey(api: Api, teams: readonly Team[]): Promise<MadeKey | undefined> {
  const names = el('datalist', { id: 'team-names' }, ...teams.map(({ id }) => el('option', { value: id })))
  const team = el('input', {
    ...{ name: 'team', required: true, pattern: '[a-z0-9\\-]{1,32}', list: 'team-names', autocomplete: 'off' },
    ...{ autocapitalize: 'none', spellcheck: 'false', title: '1 to 32 characters out of a-z, 0-9 and -' },
  })
  return ask<MadeKey>({
    title: 'New key',
    body: [
      el('p', {}, 'The key works at once. Its text is shown once, here, and kept nowhere.'),
      field('Team', team, 'A name that is not there yet makes a new team.'),
      names,
      field(
        'Ends',
        el('input', { name: 'expires', value: '365d', autocomplete: 'off' }),
        'Days (90d), a date (2027-11-01), or nothing.',
      ),
      field('Note', el('input', { name: 'note', maxlength: 200, autocomplete: 'off' }), 'Who or what uses it.'),
      el(
        'label',
        { class: 'check' },
        el('input', { type: 'checkbox', name: 'test' }),
        'Test key: spends nothing, gets answers of the sandbox',
      ),
    ],
    confirm: 'Make the key',
    done: 'The key is made.',
    perform(form) {
      const fields = { ...given(form, 'expires'), ...given(form, 'note'), ...(form.has('test') && { test: true }) }
      return api.send('POST', `/teams/${encodeURIComponent(text(form, 'team'))}/keys`, fields)
    },
    result: made => keyShown(made),
  })
}

/** Makes a successor of a key; the old one ends some days later. */
export function rotateKey(api: Api, { id, team }: KeyRef): Promise<MadeKey | undefined> {
  const days = el('input', { name: 'days', type: 'number', min: 0, max: 90, step: 1, value: 7, required: true })
  return ask<MadeKey & { oldEnds: string }>({
    title: `Replace key ${id}`,
    body: [
      el(
        'p',
        {},
        `Team ${team} gets a new key. The old one goes on for some days, so that it can be exchanged without haste, and ends then.`,
      ),
      field('Days until the old key ends', days, '0: it ends today.'),
      field(
        'The new key ends',
        el('input', { name: 'expires', value: '365d', autocomplete: 'off' }),
        'Days (90d), a date (2027-11-01), or nothing.',
      ),
    ],
    confirm: 'Replace the key',
    done: 'The key is replaced.',
    perform: form =>
      api.send('POST', `/keys/${encodeURIComponent(id)}/rotate`, {
        overlapDays: Number(text(form, 'days')),
        ...given(form, 'expires'),
      }),
    result: made => [...keyShown(made), el('p', {}, `The old key ${id} ends on ${made.oldEnds}.`)],
  })
}

export function revokeKey(api: Api, { id, team }: KeyRef): Promise<unknown> {
  return ask({
    title: `Revoke key ${id}`,
    body: [
      el(
        'p',
        {},
        `Whoever uses this key of team ${team} is refused from now on, everywhere within two seconds. It cannot be taken back.`,
      ),
      el('p', { class: 'quiet' }, 'To exchange a key without a gap, replace it instead.'),
    ],
    ...{ confirm: 'Revoke the key', isDanger: true, typed: id },
    done: `The key ${id} is revoked.`,
    perform: () => api.send('DELETE', `/keys/${encodeURIComponent(id)}`),
  })
}

function keyShown({ id, key, team, expires }: MadeKey): Child[] {
  const shown = el('input', { class: 'secret', readonly: true, value: key, 'aria-label': 'The key' })
  const copy = button('Copy', {}, () => {
    navigator.clipboard.writeText(key).then(
      () => {
        copy.textContent = 'Copied'
        announce('The key is copied.')
      },
      () => shown.select(),
    )
  })
  // Only where the page came over https or from this computer.
  copy.hidden = !navigator.clipboard
  shown.addEventListener('focus', () => shown.select())
  const end = expires === undefined ? 'It does not end.' : `It ends on ${expires}.`
  return [
    el('p', {}, `Key ${id} of team ${team}. ${end}`),
    el('p', {}, el('strong', {}, 'Copy it now: it is not shown again.')),
    el('div', { class: 'secret-row' }, shown, copy),
  ]
}

export function text(form: FormData, name: string): string {
  return String(form.get(name) ?? '').trim()
}

/** A field that was filled in. */
export function given(form: FormData, name: string): Record<string, string> {
  const value = text(form, name)
  return value === '' ? {} : { [name]: value }
}
