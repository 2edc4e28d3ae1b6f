import { button, byId, type Child, el } from '../../dom.js'
import type { Key, Team } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { DataTable } from '../elements/data-table.js'
import { problemContent } from '../elements/dialogs.js'
import { fill } from '../elements/live-update.js'
import type { KeyRef } from './key-actions.js'

export interface KeyActions {
  rotate(key: KeyRef): void
  revoke(key: KeyRef): void
}

type TeamKey = Key & { team: string }

const KINDS = { active: 'good', expired: 'warn', revoked: 'bad', 'team disabled': 'bad' } as const

/** Shows the keys of all teams; expired and revoked ones on request. */
export function createKeysPanel(api: OperatorApi, actions: KeyActions) {
  const showInactive = byId('keys-inactive', HTMLInputElement)
  let teams: readonly Team[] = []
  const table = new DataTable<TeamKey>(byId('keys-table'), {
    label: 'Keys of all teams',
    key: ({ id }) => id,
    empty: 'No keys yet.',
    columns: [
      { title: 'Key', isHeading: true, cell: ({ id }) => el('code', id), sortBy: ({ id }) => id },
      { title: 'Team', cell: ({ team }) => team, sortBy: ({ team }) => team },
      { title: 'State', cell: stateCell, sortBy: ({ state }) => state },
      { title: 'Created', cell: ({ created = '' }) => created, sortBy: ({ created = '' }) => created },
      { title: 'Expires', cell: ({ expires = 'never' }) => expires, sortBy: ({ expires = '9999' }) => expires },
      { title: 'Note', cell: ({ note = '' }) => note },
      { title: 'Actions', cell: key => actionsCell(key, actions) },
    ],
  })
  const draw = () => {
    const keys = teams.flatMap(team => team.keys.map(key => ({ ...key, team: team.id })))
    table.show(showInactive.checked ? keys : keys.filter(key => !isOver(key)))
  }
  showInactive.addEventListener('change', draw)
  return {
    teams: () => teams,
    async refresh(): Promise<void> {
      try {
        teams = (await api.get<{ teams: Team[] }>('/teams')).teams
        fill('keys-problem')
        draw()
      } catch (error) {
        fill('keys-problem', ...problemContent(error))
      }
    },
  }
}

function isOver({ state }: Key): boolean {
  return state === 'revoked' || state === 'expired'
}

function stateCell({ state, test }: TeamKey): Child {
  return el('span.chips', el(`span.chip.${KINDS[state]}`, state), ...(test ? [el('span.chip', 'test')] : []))
}

function actionsCell(key: TeamKey, { rotate, revoke }: KeyActions): Child {
  if (isOver(key)) return ''
  const attributes = (verb: string) => ({
    'data-focus': `${verb} ${key.id}`,
    'aria-label': `${verb} key ${key.id} of ${key.team}`,
  })
  return el(
    'div.row-actions',
    button('Rotate…', attributes('Rotate'), () => rotate(key)),
    button('Revoke…', { ...attributes('Revoke'), class: 'danger' }, () => revoke(key)),
  )
}
