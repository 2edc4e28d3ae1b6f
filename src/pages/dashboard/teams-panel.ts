import type { Budget, Overview, Standing } from './api-types.js'
import { DataTable } from './data-table.js'
import { button, type Child, chip, el } from './element.js'
import { count, credits, moment, percent, steadyCredits } from './format.js'

export interface TeamsPanelParts {
  override(team: string): void
  endOverride(team: string): void
}

/** Spend by team, with budgets. */
export function createTeamsPanel(host: HTMLElement, parts: TeamsPanelParts) {
  const table = new DataTable<Standing>(host, {
    label: 'Spend by team, in credits',
    key: ({ id }) => id,
    empty: 'The books cannot be read just now.',
    columns: [
      { title: 'Team', isHeading: true, cell: teamCell, sortBy: ({ id }) => id },
      amount('Today', ({ today }) => today.chargedCredits),
      amount('This month', ({ thisMonth }) => thisMonth.chargedCredits),
      amount('Saved this month', ({ thisMonth }) => thisMonth.savedCredits),
      {
        ...{ title: 'Requests', isNumber: true },
        cell: ({ thisMonth }) => count(thisMonth.requests),
        sortBy: ({ thisMonth }) => thisMonth.requests,
      },
      budget('Daily budget', 'daily'),
      budget('Monthly budget', 'monthly'),
      { title: 'Actions', cell: team => actions(team, parts) },
    ],
  })
  return {
    show({ teams }: Overview): void {
      table.show(teams ?? [])
    },
  }
}

function amount(title: string, of: (team: Standing) => number) {
  return { title, isNumber: true, cell: (team: Standing) => steadyCredits(of(team)), sortBy: of }
}

function budget(title: string, window: Budget['window']) {
  const of = ({ budgets }: Standing) => budgets.find(one => one.window === window)
  return {
    title,
    cell: (team: Standing) => budgetCell(of(team)),
    sortBy: (team: Standing) => used(of(team)),
    isNumber: true,
  }
}

function used(budget: Budget | undefined): number {
  if (!budget) return -1
  return budget.limitCredits > 0 ? budget.bookedCredits / budget.limitCredits : 1
}

/** A bar and the same in words. */
function budgetCell(budget: Budget | undefined): Child {
  if (!budget) return el('span', { class: 'quiet' }, 'none')
  const share = used(budget)
  const kind = share >= 1 ? 'bad' : share >= 0.8 ? 'warn' : 'good'
  const filled = el('span', { class: kind })
  filled.style.width = `${Math.min(100, share * 100)}%`
  const words = `${credits(budget.bookedCredits)} of ${credits(budget.limitCredits)}`
  return el(
    'div',
    { class: 'budget' },
    el('span', {}, words, ' ', el('span', { class: 'quiet' }, percent(share))),
    el('span', { class: 'bar', 'aria-hidden': 'true' }, filled),
  )
}

function teamCell({ id, name, disabled, protected: isProtected, overriddenUntil }: Standing): Child {
  const cell = el('div', {}, el('span', { class: 'name' }, name))
  if (name !== id) cell.append(el('span', { class: 'quiet' }, ` ${id}`))
  const chips = [
    ...(disabled ? [chip('disabled', 'bad')] : []),
    ...(isProtected ? [chip('protected')] : []),
    ...(overriddenUntil ? [chip(`temporary budget until ${moment(overriddenUntil)}`, 'warn')] : []),
  ]
  if (chips.length > 0) cell.append(el('div', { class: 'chips' }, ...chips))
  return cell
}

function actions({ id, overriddenUntil }: Standing, { override, endOverride }: TeamsPanelParts): Child {
  const set = button('Budget…', { focus: `override ${id}`, 'aria-label': `Set a temporary budget for ${id}` }, () =>
    override(id),
  )
  if (!overriddenUntil) return el('div', { class: 'row-actions' }, set)
  const end = button('End…', { focus: `end ${id}`, 'aria-label': `End the temporary budget of ${id}` }, () =>
    endOverride(id),
  )
  return el('div', { class: 'row-actions' }, set, end)
}
