import { button, byId, type Child, el } from '../../dom.js'
import { dateTime } from '../../format.js'
import type { FailedRequest, Overview } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { DataTable } from '../elements/data-table.js'
import { openDetails } from '../elements/dialogs.js'
import { labelOf, valueText } from '../wording.js'

const FIRST_ROWS = 8

/** Shows the latest errors. Each opens the details of its request. */
export function createErrorsPanel(api: OperatorApi) {
  const more = byId('errors-more')
  let errors: readonly FailedRequest[] = []
  let isExpanded = false
  const table = new DataTable<FailedRequest>(byId('errors-table'), {
    label: 'Recent errors, newest first',
    key: ({ at, requestId }) => `${at} ${requestId}`,
    empty: 'No recent errors.',
    columns: [
      { title: 'Time', cell: ({ at }) => el('time', { datetime: at }, dateTime(at)) },
      { title: 'Error', isHeading: true, cell: ({ code }) => el('code', code) },
      { title: 'Status', cell: ({ status }) => el(`span.chip.${status >= 500 ? 'bad' : 'warn'}`, String(status)) },
      { title: 'Team', cell: ({ team }) => team || '–' },
      { title: 'Route', cell: ({ route }) => el('code', route) },
      { title: 'Request', cell: error => detailsLink(error, api) },
    ],
  })
  const draw = () => {
    table.show(isExpanded ? errors : errors.slice(0, FIRST_ROWS))
    more.hidden = isExpanded || errors.length <= FIRST_ROWS
    more.textContent = `Show all ${errors.length}`
  }
  more.addEventListener('click', () => {
    isExpanded = true
    draw()
  })
  return {
    show(overview: Overview): void {
      errors = overview.errors
      draw()
    },
  }
}

function detailsLink({ at, requestId }: FailedRequest, api: OperatorApi): Child {
  const name = `Details of request ${requestId}`
  return button(requestId, { class: 'link', 'data-focus': `error ${at} ${requestId}`, 'aria-label': name }, () => {
    const content = api
      .get<{ explanations: object[] }>(`/requests/${encodeURIComponent(requestId)}`)
      .then(({ explanations }) => explanations.map(one => el('section.explanation', listOf(one))))
    void openDetails(`Request ${requestId}`, content)
  })
}

/** Lists the members of an object, without empty ones. */
function listOf(value: object): HTMLElement {
  const members = Object.entries(value).filter(([name, member]) => name !== 'requestId' && !isEmpty(member))
  return el(
    'dl',
    ...members.map(([name, member]) => el('div', el('dt', labelOf(name)), el('dd', ...content(name, member)))),
  )
}

function content(name: string, value: unknown): Child[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => [index > 0 ? ' ' : '', ...content(name, item)])
  if (typeof value === 'object' && value !== null) return [listOf(value)]
  return [valueText(name, value)]
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isEmpty)
  return value === undefined || value === null || value === ''
}
