import { byId, type Child, el } from '../../dom.js'
import { count, credits, dateTime, monthsBack } from '../../format.js'
import type { Overview, Statement } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { openForm, problemContent } from '../elements/dialogs.js'
import { fill } from '../elements/live-update.js'

const MONTHS = 13

/** Closes and reopens months, and purges results. Calls `onDone` after each completed action. */
export function createMaintenancePanel(api: OperatorApi, onDone: () => void) {
  const select = byId('month', HTMLSelectElement)
  const action = byId('month-action')
  let statement: Statement | undefined
  const load = async () => {
    const month = select.value
    action.hidden = true
    try {
      const loaded = await api.get<Statement>(`/usage?month=${month}`)
      if (select.value !== month) return
      statement = loaded
      fill('month-facts', ...statementContent(loaded))
      // The current month, first in the list, cannot be closed yet.
      action.hidden = select.selectedIndex === 0
      action.textContent = loaded.closed ? `Reopen ${month}…` : `Close ${month}…`
    } catch (error) {
      fill('month-facts', ...problemContent(error))
    }
  }
  select.addEventListener('change', load)
  action.addEventListener('click', async () => {
    if (!statement) return
    const outcome = await (statement.closed ? reopenMonth(api, statement) : closeMonth(api, statement))
    if (outcome === undefined) return
    onDone()
    void load()
  })
  byId('purge').addEventListener('submit', async event => {
    event.preventDefault()
    const input = byId('purge-id', HTMLInputElement)
    if ((await purgeResult(api, input.value.trim())) === undefined) return
    input.value = ''
    onDone()
  })
  return {
    show({ month }: Overview): void {
      if (select.options[0]?.value === month) return
      select.replaceChildren(...monthsBack(month, MONTHS).map(value => el('option', { value }, value)))
      select.selectedIndex = 1
      void load()
    },
  }
}

function purgeResult(api: OperatorApi, id: string): Promise<unknown> {
  const text =
    'Permanently removes this result from the cache, with the cutouts and masks made from it. ' +
    'The next request for it buys it again.'
  return openForm({
    title: 'Purge result',
    body: [el('p', text), el('p.wrapped', el('code', id))],
    submit: 'Purge result',
    isDanger: true,
    done: 'Result purged.',
    perform: () => api.send('DELETE', `/cache/results/${encodeURIComponent(id)}`),
  })
}

function closeMonth(api: OperatorApi, { month, totals }: Statement): Promise<unknown> {
  const text =
    `Freezes the statement of ${month} with ${credits(totals.billedCredits)} credits billed to teams. ` +
    'Later bookings to this month are shown separately.'
  return openForm({
    title: `Close ${month}`,
    body: [el('p', text)],
    submit: 'Close month',
    isDanger: true,
    confirmation: month,
    done: `Month ${month} closed.`,
    perform: () => api.send('PUT', `/usage/${month}/closing`),
  })
}

function reopenMonth(api: OperatorApi, { month }: Statement): Promise<unknown> {
  const text =
    `Discards the frozen statement of ${month}. Its figures change again with every booking, ` +
    'although they may already have been sent out.'
  return openForm({
    title: `Reopen ${month}`,
    body: [el('p', text)],
    submit: 'Reopen month',
    isDanger: true,
    confirmation: month,
    done: `Month ${month} reopened.`,
    perform: () => api.send('DELETE', `/usage/${month}/closing`),
  })
}

function statementContent({ closed, sinceClosed = [], totals }: Statement): Child[] {
  const { requests, paidCalls, billedCredits, unknownCalls, pendingCalls } = totals
  const figures = `${count(requests)} requests, ${count(paidCalls)} purchases, ${credits(billedCredits)} credits billed to teams.`
  const unsettled = unknownCalls + pendingCalls
  const later = sinceClosed.reduce((sum, team) => sum + team.credits, 0)
  return [
    closed
      ? el('p', el('span.chip.good', 'closed'), ` ${dateTime(closed.at)} by ${closed.by}`)
      : el('p', el('span.chip', 'open')),
    el('p', figures),
    ...(unsettled > 0 ? [el('p', `${count(unsettled)} calls are in flight or of unknown outcome.`)] : []),
    ...(later > 0 ? [el('p', `Booked after closing: ${credits(later)} credits.`)] : []),
  ]
}
