import type { Api } from './api.js'
import type { Key, Team } from './api-types.js'
import { DataTable } from './data-table.js'
import { problemShown } from './dialogs.js'
import { button, type Child, chip, el } from './element.js'

export interface KeysPanelParts {
  api: Api
  hosts: { table: HTMLElement; problem: HTMLElement; ended: HTMLInputElement }
  rotate(key: { id: string; team: string }): void
  revoke(key: { id: string; team: string }): void
}

type Listed = Key & { team: string }

const KINDS = { active: 'good', expired: 'warn', revoked: 'bad', 'team disabled': 'bad' } as const

/** The keys of all teams; what has ended is shown when it is asked for. */
export function createKeysPanel({ api, hosts, ...acts }: KeysPanelParts) {
  let teams: readonly Team[] = []
  const table = new DataTable<Listed>(hosts.table, {
    label: 'Keys of all teams',
    key: ({ id }) => id,
    empty: 'There are no keys yet.',
    columns: [
      { title: 'Key', isHeading: true, cell: ({ id }) => el('code', {}, id), sortBy: ({ id }) => id },
      { title: 'Team', cell: ({ team }) => team, sortBy: ({ team }) => team },
      { title: 'State', cell: stateCell, sortBy: ({ state }) => state },
      { title: 'Created', cell: ({ created = '' }) => created, sortBy: ({ created = '' }) => created },
      { title: 'Expires', cell: ({ expires = 'never' }) => expires, sortBy: ({ expires = '9999' }) => expires },
      { title: 'Note', cell: ({ note = '' }) => note },
      { title: 'Actions', cell: key => actions(key, acts) },
    ],
  })
  const draw = () => {
    const all = teams.flatMap(team => team.keys.map(key => ({ ...key, team: team.id })))
    table.show(hosts.ended.checked ? all : all.filter(({ state }) => state === 'active' || state === 'team disabled'))
  }
  hosts.ended.addEventListener('change', draw)
  return {
    teams: () => teams,
    async refresh(): Promise<void> {
      try {
        const answer = await api.get<{ teams: Team[] }>('/teams')
        teams = answer.teams
        hosts.problem.replaceChildren()
        draw()
      } catch (error) {
        hosts.problem.replaceChildren(...problemShown(error))
      }
    },
  }
}

function stateCell({ state, test }: Listed): Child {
  const cell = el('span', { class: 'chips' }, chip(state, KINDS[state]))
  if (test) cell.append(chip('test'))
  return cell
}

function actions({ id, team, state }: Listed, { rotate, revoke }: Pick<KeysPanelParts, 'rotate' | 'revoke'>): Child {
  if (state === 'revoked' || state === 'expired') return ''
  const named = (verb: string) => ({ focus: `${verb} ${id}`, 'aria-label': `${verb} key ${id} of ${team}` })
  return el(
    'div',
    { class: 'row-actions' },
    button('Replace…', named('Replace'), () => rotate({ id, team })),
    button('Revoke…', { ...named('Revoke'), class: 'danger' }, () => revoke({ id, team })),
  )
}
