import { byId, el } from '../../dom.js'
import { dateTime } from '../../format.js'
import type { AuditEntry, AuditPage } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { DataTable } from '../elements/data-table.js'
import { problemContent } from '../elements/dialogs.js'
import { fill } from '../elements/live-update.js'
import { actionText, actorText, detailsText } from '../wording.js'

const PAGE_SIZE = 20

/** Shows the audit log, newest first, and loads older entries on request. */
export function createAuditPanel(api: OperatorApi) {
  const more = byId('audit-more')
  let entries: AuditEntry[] = []
  let next: number | undefined
  const table = new DataTable<AuditEntry>(byId('audit-table'), {
    label: 'Operator actions, newest first',
    key: ({ id }) => id,
    empty: 'No operator actions yet.',
    columns: [
      { title: 'Time', cell: ({ at }) => el('time', { datetime: at }, dateTime(at)) },
      { title: 'Operator', isHeading: true, cell: entry => actorText(entry) },
      { title: 'Action', cell: entry => el('span', `${actionText(entry)} `, el('code', entry.subject)) },
      { title: 'Details', cell: entry => detailsText(entry) },
      { title: 'Address', cell: ({ address = '' }) => el('span.quiet', address) },
    ],
  })
  const load = async (before?: number) => {
    try {
      const from = before === undefined ? '' : `&before=${before}`
      const page = await api.get<AuditPage>(`/audit?limit=${PAGE_SIZE}${from}`)
      if (entries.length === 0 || before !== undefined) next = page.next
      entries = mergeEntries(entries, page.entries)
      table.show(entries)
      more.hidden = next === undefined
      fill('audit-problem')
    } catch (error) {
      fill('audit-problem', ...problemContent(error))
    }
  }
  more.addEventListener('click', () => void load(next))
  return { refresh: () => load() }
}

function mergeEntries(known: readonly AuditEntry[], loaded: readonly AuditEntry[]): AuditEntry[] {
  const byId = new Map([...known, ...loaded].map(entry => [entry.id, entry]))
  return [...byId.values()].sort((one, other) => other.seq - one.seq)
}
