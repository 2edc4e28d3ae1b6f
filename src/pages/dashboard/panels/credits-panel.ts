import { type Child, el } from '../../dom.js'
import { alignedCredits, credits, duration, signedCredits, UNKNOWN } from '../../format.js'
import type { Credits, Overview, TeamSummary } from '../api/api-types.js'
import { fill } from '../elements/live-update.js'
import { relativeTime } from '../elements/relative-time.js'

const WINDOWS: Readonly<Record<string, string>> = { '1h': 'last hour', '24h': 'last 24 hours', '7d': 'last 7 days' }
const STATES = {
  normal: { kind: 'good', meaning: 'All teams can buy results.' },
  reserve: { kind: 'warn', meaning: 'Only protected teams can buy results. Cached results are served to all teams.' },
  empty: { kind: 'bad', meaning: 'No team can buy results. Cached results are served to all teams.' },
} as const
const FRESHNESS = { fresh: 'good', stale: 'warn', unknown: 'bad' } as const

/** Shows balance, runway, credit state and spend. */
export function showCredits(overview: Overview, isLive: boolean, now: number): void {
  const { balance, creditState } = overview.credits
  fill('balance', alignedCredits(balance.credits))
  fill('balance-note', ...balanceNote(balance, isLive, now))
  const [runway, note] = runwayTexts(overview.credits)
  fill('runway', runway)
  fill('runway-note', note)
  fill('credit-state', creditState?.name ?? UNKNOWN)
  fill('credit-state-note', ...stateNote(overview.credits, now))
  const kind = creditState ? STATES[creditState.name].kind : 'plain'
  for (const hero of document.querySelectorAll<HTMLElement>('.hero')) hero.dataset.kind = kind
  showTiles(overview, now)
}

function balanceNote({ at, state }: Credits['balance'], isLive: boolean, now: number): Child[] {
  if (at === undefined) return [el('span.chip.bad', UNKNOWN), ' not fetched yet']
  const chip = isLive ? el(`span.chip.${FRESHNESS[state]}`, state) : el('span.chip.warn', 'last known')
  return [chip, ' updated ', relativeTime(at, 'ago', now)]
}

function runwayTexts({ runway, burn, balance }: Credits): [runway: string, note: string] {
  const longest = burn.at(-1)
  if (runway) {
    const { creditsPerHour } = burn.find(({ window }) => window === runway.window) ?? {}
    const rate = creditsPerHour === undefined ? '' : ` (${credits(creditsPerHour)} credits per hour)`
    const window = WINDOWS[runway.window] ?? runway.window
    return [duration(runway.seconds), `At the rate of the ${window}${rate}, empty on ${runway.timeOfDay}.`]
  }
  if (balance.credits === undefined) return [UNKNOWN, 'The balance is unknown.']
  if (!longest) return [UNKNOWN, 'Available after 10 minutes of data.']
  return ['unlimited', `No credits spent in the ${WINDOWS[longest.window] ?? longest.window}.`]
}

function stateNote({ creditState, reserveCredits }: Credits, now: number): Child[] {
  if (!creditState) return ['Not known yet.']
  const reserve = reserveCredits > 0 ? ` Reserve: ${credits(reserveCredits)} credits.` : ''
  return [`${STATES[creditState.name].meaning}${reserve} Changed `, relativeTime(creditState.since, 'ago', now), '.']
}

function showTiles({ teams, credits: { reconciled, burn, price } }: Overview, now: number): void {
  const spendTiles = (name: string, period: 'today' | 'thisMonth') => [
    tile(
      `Spent ${name}`,
      sumOf(teams, team => team[period].chargedCredits),
      spendNote(teams, period),
    ),
    tile(
      `Saved ${name}`,
      sumOf(teams, team => team[period].savedCredits),
      'cache hits and coalescing',
    ),
  ]
  const hour = burn.find(({ window }) => window === '1h')
  const compared = reconciled ? ['reconciled ', relativeTime(reconciled.at, 'ago', now)] : ['not reconciled yet']
  fill(
    'credit-tiles',
    ...spendTiles('today', 'today'),
    ...spendTiles('this month', 'thisMonth'),
    tile('Spend rate', alignedCredits(hour?.creditsPerHour), 'credits per hour, last hour'),
    tile('Drift', signedCredits(reconciled?.driftCredits), ...compared),
    tile('Estimated price', alignedCredits(price.estimateCredits), 'credits per call'),
  )
}

function sumOf(teams: readonly TeamSummary[] | undefined, value: (team: TeamSummary) => number): string {
  return alignedCredits(teams?.reduce((sum, team) => sum + value(team), 0))
}

/** Credits of unknown outcome are shown beside the sum, not added to it. */
function spendNote(teams: readonly TeamSummary[] | undefined, period: 'today' | 'thisMonth'): string {
  if (!teams) return 'ledger unavailable'
  const unknown = teams.reduce((sum, team) => sum + team[period].unknownCredits, 0)
  return unknown > 0 ? `plus ${credits(unknown)} of unknown outcome` : 'all teams'
}

export function tile(name: string, value: Child, ...note: readonly Child[]): HTMLElement {
  return el('div', el('dt', name), el('dd.value', value), ...(note.length === 0 ? [] : [el('dd.quiet', ...note)]))
}
