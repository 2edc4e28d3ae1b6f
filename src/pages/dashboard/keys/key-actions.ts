import { button, type Child, el } from '../../dom.js'
import type { CreatedKey, Team } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { field, fieldText, openForm, optionalField } from '../elements/dialogs.js'
import { announce } from '../elements/live-update.js'

export interface KeyRef {
  id: string
  team: string
}

/** Creates a key, and its team if there is none of that name. */
export function createKey(api: OperatorApi, teams: readonly Team[]): Promise<CreatedKey | undefined> {
  const names = el('datalist', { id: 'team-names' }, ...teams.map(({ id }) => el('option', { value: id })))
  const team = el('input', {
    name: 'team',
    required: true,
    pattern: '[a-z0-9\\-]{1,32}',
    title: '1 to 32 characters: a-z, 0-9, -',
    list: 'team-names',
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: 'false',
  })
  const note = el('input', { name: 'note', maxlength: 200, autocomplete: 'off' })
  const test = el('input', { type: 'checkbox', name: 'test' })
  return openForm<CreatedKey>({
    title: 'Create key',
    body: [
      el('p', 'The key works immediately. It is shown only once and is not stored.'),
      field('Team', team, 'A new name creates a new team.'),
      names,
      expiryField('Expires'),
      field('Note', note, 'Who or what uses the key.'),
      el('label.check', test, 'Test key: free, answered by the sandbox'),
    ],
    submit: 'Create key',
    done: 'Key created.',
    perform: form =>
      api.send('POST', `/teams/${encodeURIComponent(fieldText(form, 'team'))}/keys`, {
        ...optionalField(form, 'expires'),
        ...optionalField(form, 'note'),
        ...(form.has('test') && { test: true }),
      }),
    result: newKeyContent,
  })
}

/** Creates a successor for a key. The old key expires after the overlap. */
export function rotateKey(api: OperatorApi, { id, team }: KeyRef): Promise<CreatedKey | undefined> {
  const days = el('input', { name: 'days', type: 'number', min: 0, max: 90, step: 1, value: 7, required: true })
  return openForm<CreatedKey & { oldEnds: string }>({
    title: `Rotate key ${id}`,
    body: [
      el('p', `Creates a new key for team ${team}. The old key stays valid during the overlap, then expires.`),
      field('Overlap in days', days, '0: the old key expires today.'),
      expiryField('New key expires'),
    ],
    submit: 'Rotate key',
    done: 'Key rotated.',
    perform: form =>
      api.send('POST', `/keys/${encodeURIComponent(id)}/rotate`, {
        overlapDays: Number(fieldText(form, 'days')),
        ...optionalField(form, 'expires'),
      }),
    result: created => [...newKeyContent(created), el('p', `The old key ${id} expires on ${created.oldEnds}.`)],
  })
}

export function revokeKey(api: OperatorApi, { id, team }: KeyRef): Promise<unknown> {
  const text = `Requests with this key of team ${team} are refused from now on, on all replicas within two seconds. `
  return openForm({
    title: `Revoke key ${id}`,
    body: [
      el('p', text, 'This cannot be undone.'),
      el('p.quiet', 'To replace a key without downtime, rotate it instead.'),
    ],
    submit: 'Revoke key',
    isDanger: true,
    confirmation: id,
    done: `Key ${id} revoked.`,
    perform: () => api.send('DELETE', `/keys/${encodeURIComponent(id)}`),
  })
}

function expiryField(label: string): HTMLElement {
  const input = el('input', { name: 'expires', value: '365d', autocomplete: 'off' })
  return field(label, input, 'Days (90d) or a date (2027-11-01). Empty: never.')
}

function newKeyContent({ id, key, team, expires }: CreatedKey): Child[] {
  const secret = el('input.secret', { readonly: true, value: key, 'aria-label': 'Secret' })
  secret.addEventListener('focus', () => secret.select())
  const copy = button('Copy', {}, async () => {
    try {
      await navigator.clipboard.writeText(key)
      copy.textContent = 'Copied'
      announce('Key copied.')
    } catch {
      secret.select()
    }
  })
  // Browsers offer the clipboard only over https and on localhost.
  copy.hidden = !navigator.clipboard
  const expiry = expires === undefined ? 'It never expires.' : `It expires on ${expires}.`
  return [
    el('p', `Key ${id} of team ${team}. ${expiry}`),
    el('p', el('strong', 'Copy the key now. It is not shown again.')),
    el('div.secret-row', secret, copy),
  ]
}
