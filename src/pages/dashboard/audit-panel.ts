import type { Api } from './api.js'
import type { AuditEntry } from './api-types.js'
import { DataTable } from './data-table.js'
import { problemShown } from './dialogs.js'
import { el } from './element.js'
import { moment } from './format.js'
import { actionOf, actorOf, detailsOf } from './wording.js'

interface AuditPage {
  entries: AuditEntry[]
  next?: number
}

const PAGE = 20

/** Who did what and when; older steps are fetched when they are asked for. */
export function createAuditPanel(host: HTMLElement, more: HTMLButtonElement, problem: HTMLElement, api: Api) {
  let entries: AuditEntry[] = []
  let next: number | undefined
  const table = new DataTable<AuditEntry>(host, {
    label: 'What operators did, the newest first',
    key: ({ id }) => id,
    empty: 'Nothing was done yet.',
    columns: [
      { title: 'Time', cell: ({ at }) => el('time', { datetime: at }, moment(at)) },
      { title: 'Who', isHeading: true, cell: entry => actorOf(entry) },
      { title: 'Did', cell: entry => el('span', {}, `${actionOf(entry)} `, el('code', {}, entry.subject)) },
      { title: 'Details', cell: entry => detailsOf(entry) },
      { title: 'From', cell: ({ address = '' }) => el('span', { class: 'quiet' }, address) },
    ],
  })
  const fetched = async (before?: number) => {
    try {
      const from = before === undefined ? '' : `&before=${before}`
      const page = await api.get<AuditPage>(`/audit?limit=${PAGE}${from}`)
      const isFirst = entries.length === 0
      entries = together(entries, page.entries)
      if (isFirst || before !== undefined) next = page.next
      table.show(entries)
      more.hidden = next === undefined
      problem.replaceChildren()
    } catch (error) {
      problem.replaceChildren(...problemShown(error))
    }
  }
  more.addEventListener('click', () => void fetched(next))
  return { refresh: () => fetched() }
}

function together(known: readonly AuditEntry[], news: readonly AuditEntry[]): AuditEntry[] {
  const byId = new Map([...known, ...news].map(entry => [entry.id, entry]))
  return [...byId.values()].sort((one, other) => other.seq - one.seq)
}
