import type { Api } from './api.js'
import type { FailedRequest, Overview } from './api-types.js'
import { DataTable } from './data-table.js'
import { showDialog } from './dialogs.js'
import { button, type Child, chip, el } from './element.js'
import { moment } from './format.js'
import { told, words } from './wording.js'

const SHOWN = 8

/** The latest errors; each leads to what is known of its request. */
export function createErrorsPanel(host: HTMLElement, more: HTMLButtonElement, api: Api) {
  let all: readonly FailedRequest[] = []
  let isWhole = false
  const table = new DataTable<FailedRequest>(host, {
    label: 'Recent errors, the newest first',
    key: ({ at, requestId }) => `${at} ${requestId}`,
    empty: 'No errors in the last hours.',
    columns: [
      { title: 'Time', cell: ({ at }) => el('time', { datetime: at }, moment(at)) },
      { title: 'Error', isHeading: true, cell: ({ code }) => el('code', {}, code) },
      { title: 'Status', cell: ({ status }) => chip(String(status), status >= 500 ? 'bad' : 'warn') },
      { title: 'Team', cell: ({ team }) => team || el('span', { class: 'quiet' }, 'none') },
      { title: 'Door', cell: ({ route }) => el('code', {}, route) },
      { title: 'Request', cell: error => link(error, api) },
    ],
  })
  const draw = () => {
    table.show(isWhole ? all : all.slice(0, SHOWN))
    more.hidden = isWhole || all.length <= SHOWN
    more.textContent = `Show all ${all.length}`
  }
  more.addEventListener('click', () => {
    isWhole = true
    draw()
  })
  return {
    show({ errors }: Overview): void {
      all = errors
      draw()
    },
  }
}

function link({ at, requestId }: FailedRequest, api: Api): Child {
  const name = { class: 'link', focus: `error ${at} ${requestId}`, 'aria-label': `Explain request ${requestId}` }
  return button(requestId, name, () => {
    const path = `/requests/${encodeURIComponent(requestId)}`
    const content = api.get<{ explanations: object[] }>(path).then(({ explanations }) => explanations.map(explained))
    void showDialog(`Request ${requestId}`, content)
  })
}

/** All that is kept of a request, as names and values. */
function explained(explanation: object): HTMLElement {
  return el('section', { class: 'explanation' }, listed(explanation))
}

function listed(value: object): HTMLElement {
  const rows = Object.entries(value).flatMap(([name, part]) => {
    if (name === 'requestId' || isEmpty(part)) return []
    return [el('div', {}, el('dt', {}, words(name)), el('dd', {}, ...parts(name, part)))]
  })
  return el('dl', {}, ...rows)
}

function parts(name: string, value: unknown): Child[] {
  if (Array.isArray(value)) return value.flatMap((one, index) => [...(index > 0 ? [' '] : []), ...parts(name, one)])
  if (typeof value === 'object' && value !== null) return [listed(value)]
  return [told(name, value)]
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isEmpty)
  return value === undefined || value === null || value === ''
}
