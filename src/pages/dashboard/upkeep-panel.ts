import type { Api } from './api.js'
import type { Overview, Statement } from './api-types.js'
import { ask, problemShown } from './dialogs.js'
import { byId, type Child, chip, el, fill } from './element.js'
import { count, credits, moment, monthsBack } from './format.js'

export interface UpkeepParts {
  api: Api
  /** Called when something was done. */
  onDone(): void
}

const MONTHS = 13

/** A result taken out of the cache; a month closed and reopened. */
export function createUpkeep({ api, onDone }: UpkeepParts) {
  const select = byId<HTMLSelectElement>('month')
  const act = byId<HTMLButtonElement>('month-action')
  let statement: Statement | undefined
  const look = async () => {
    const month = select.value
    act.hidden = true
    const found = await api.get<Statement>(`/usage?month=${month}`).catch((error: unknown) => {
      fill('month-facts', ...problemShown(error))
      return undefined
    })
    if (!found || select.value !== month) return
    statement = found
    fill('month-facts', ...facts(found))
    // The first of the list is not over yet.
    act.hidden = select.selectedIndex === 0
    act.textContent = found.closed ? `Reopen ${month}…` : `Close ${month}…`
  }
  const changed = (what: unknown) => {
    if (what === undefined) return
    onDone()
    void look()
  }
  select.addEventListener('change', () => void look())
  act.addEventListener('click', () => {
    if (statement) void (statement.closed ? reopen(api, statement) : close(api, statement)).then(changed)
  })
  byId<HTMLFormElement>('purge').addEventListener('submit', event => {
    event.preventDefault()
    const input = byId<HTMLInputElement>('purge-id')
    void purge(api, input.value.trim()).then(done => {
      if (done === undefined) return
      input.value = ''
      onDone()
    })
  })
  return {
    show({ month }: Overview): void {
      if (select.options[0]?.value === month) return
      select.replaceChildren(...monthsBack(month, MONTHS).map(value => el('option', { value }, value)))
      select.selectedIndex = 1
      void look()
    },
  }
}

function purge(api: Api, id: string): Promise<unknown> {
  return ask({
    title: 'Purge a result',
    body: [
      el(
        'p',
        {},
        'This result is taken out of the cache for good, with the cutouts and masks that were made of it. Whoever asks for it next buys it again.',
      ),
      el('p', { class: 'wrapped' }, el('code', {}, id)),
    ],
    ...{ confirm: 'Purge it', isDanger: true, done: 'The result is purged.' },
    perform: () => api.send('DELETE', `/cache/results/${encodeURIComponent(id)}`),
  })
}

function close(api: Api, { month, totals }: Statement): Promise<unknown> {
  return ask({
    title: `Close ${month}`,
    body: [
      el(
        'p',
        {},
        `The statement of ${month} is frozen as it is now: ${credits(totals.billedCredits)} credits are charged to teams. What is booked to that month later is told apart.`,
      ),
    ],
    ...{ confirm: 'Close the month', isDanger: true, typed: month, done: `The month ${month} is closed.` },
    perform: () => api.send('PUT', `/usage/${month}/closing`),
  })
}

function reopen(api: Api, { month }: Statement): Promise<unknown> {
  return ask({
    title: `Reopen ${month}`,
    body: [
      el(
        'p',
        {},
        `The frozen statement of ${month} is given up: it changes again with what is booked. Somebody may have sent out its figures.`,
      ),
    ],
    ...{ confirm: 'Reopen the month', isDanger: true, typed: month, done: `The month ${month} is open again.` },
    perform: () => api.send('DELETE', `/usage/${month}/closing`),
  })
}

function facts({ closed, sinceClosed = [], totals }: Statement): Child[] {
  const state = closed
    ? el('p', {}, chip('closed', 'good'), ` ${moment(closed.at)}, by ${closed.by}`)
    : el('p', {}, chip('open'))
  const calls = `${count(totals.requests)} requests, ${count(totals.paidCalls)} bought, ${credits(totals.billedCredits)} credits charged to teams.`
  const open = totals.unknownCalls + totals.pendingCalls
  const later = sinceClosed.reduce((sum, one) => sum + one.credits, 0)
  return [
    state,
    el('p', {}, calls),
    ...(open > 0 ? [el('p', {}, `${count(open)} calls are under way or of unknown outcome.`)] : []),
    ...(later > 0 ? [el('p', {}, `Booked since it was closed: ${credits(later)} credits.`)] : []),
  ]
}
