import { button, byId, type Child, el } from '../../dom.js'
import { alignedCredits, count, credits, dateTime, percent } from '../../format.js'
import type { Budget, Overview, TeamSummary } from '../api/api-types.js'
import { type DataColumn, DataTable } from '../elements/data-table.js'

export interface BudgetActions {
  override(team: string): void
  endOverride(team: string): void
}

/** Shows the spend and the budgets of each team. */
export function createTeamsPanel(actions: BudgetActions) {
  const table = new DataTable<TeamSummary>(byId('teams-table'), {
    label: 'Spend by team, in credits',
    key: ({ id }) => id,
    empty: 'The ledger is unavailable.',
    columns: [
      { title: 'Team', isHeading: true, cell: teamCell, sortBy: ({ id }) => id },
      numberColumn('Today', ({ today }) => today.chargedCredits),
      numberColumn('This month', ({ thisMonth }) => thisMonth.chargedCredits),
      numberColumn('Saved this month', ({ thisMonth }) => thisMonth.savedCredits),
      numberColumn('Requests', ({ thisMonth }) => thisMonth.requests, count),
      budgetColumn('Daily budget', 'daily'),
      budgetColumn('Monthly budget', 'monthly'),
      { title: 'Actions', cell: team => actionsCell(team, actions) },
    ],
  })
  return {
    show({ teams }: Overview): void {
      table.show(teams ?? [])
    },
  }
}

function numberColumn(
  title: string,
  value: (team: TeamSummary) => number,
  format: (value: number) => string = alignedCredits,
): DataColumn<TeamSummary> {
  return { title, isNumber: true, cell: team => format(value(team)), sortBy: value }
}

function budgetColumn(title: string, window: Budget['window']): DataColumn<TeamSummary> {
  const budgetOf = ({ budgets }: TeamSummary) => budgets.find(budget => budget.window === window)
  return {
    title,
    isNumber: true,
    cell: team => budgetCell(budgetOf(team)),
    sortBy: team => usedShare(budgetOf(team)),
  }
}

/** Returns the used share of a budget; -1 without a budget, so that such teams sort last. */
function usedShare(budget: Budget | undefined): number {
  if (!budget) return -1
  return budget.limitCredits > 0 ? budget.bookedCredits / budget.limitCredits : 1
}

function budgetCell(budget: Budget | undefined): Child {
  if (!budget) return el('span.quiet', 'none')
  const share = usedShare(budget)
  const bar = el(`span.${share >= 1 ? 'bad' : share >= 0.8 ? 'warn' : 'good'}`)
  bar.style.width = `${Math.min(100, share * 100)}%`
  const text = `${credits(budget.bookedCredits)} of ${credits(budget.limitCredits)} `
  return el(
    'div.budget',
    el('span', text, el('span.quiet', percent(share))),
    el('span.bar', { 'aria-hidden': 'true' }, bar),
  )
}

function teamCell({ id, name, disabled, protected: isProtected, overriddenUntil }: TeamSummary): Child {
  const cell = el('div', name, ...(name === id ? [] : [el('span.quiet', ` ${id}`)]))
  const chips = [
    ...(disabled ? [el('span.chip.bad', 'disabled')] : []),
    ...(isProtected ? [el('span.chip', 'protected')] : []),
    ...(overriddenUntil ? [el('span.chip.warn', `temporary budget until ${dateTime(overriddenUntil)}`)] : []),
  ]
  if (chips.length > 0) cell.append(el('div.chips', ...chips))
  return cell
}

function actionsCell({ id, overriddenUntil }: TeamSummary, { override, endOverride }: BudgetActions): Child {
  const cell = el('div.row-actions')
  const add = (label: string, name: string, onClick: () => void) =>
    cell.append(button(label, { 'data-focus': name, 'aria-label': name }, onClick))
  add('Budget…', `Set a temporary budget for ${id}`, () => override(id))
  if (overriddenUntil) add('End…', `End the temporary budget of ${id}`, () => endOverride(id))
  return cell
}
