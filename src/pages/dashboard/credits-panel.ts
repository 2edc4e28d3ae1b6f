import type { Credits, Overview, Spending } from './api-types.js'
import { type Child, chip, el, fill, setText } from './element.js'
import { credits, duration, signedCredits, steadyCredits } from './format.js'
import { ticking } from './ticking.js'

const WINDOWS: Readonly<Record<string, string>> = { '1h': 'last hour', '24h': 'last 24 hours', '7d': 'last 7 days' }
const STATES = {
  normal: { kind: 'good', meaning: 'Every team may spend.' },
  reserve: { kind: 'warn', meaning: 'Only protected teams may spend; cached answers are served to all.' },
  empty: { kind: 'bad', meaning: 'Nobody may spend; cached answers are served to all.' },
} as const
const AGES = { fresh: 'good', stale: 'warn', unknown: 'bad' } as const

/** The account: balance, runway, state, and what was spent. `isLive`: whether these are the figures of now. */
export function showCredits(overview: Overview, { isLive, now }: { isLive: boolean; now: number }): void {
  const known = overview.credits
  setText('balance', steadyCredits(known.balance.credits))
  fill('balance-note', ...balanceNote(known, isLive, now))
  const { big, note } = runwayWords(known)
  setText('runway', big)
  setText('runway-note', note)
  const state = known.creditState
  setText('credit-state', state?.name ?? 'unknown')
  fill('credit-state-note', ...stateNote(known, now))
  const kind = state ? STATES[state.name].kind : 'plain'
  for (const hero of document.querySelectorAll<HTMLElement>('[data-hero]')) hero.dataset.kind = kind
  showTiles(overview, now)
}

function balanceNote({ balance }: Credits, isLive: boolean, now: number): Child[] {
  if (balance.at === undefined) return [chip('unknown', 'bad'), ' Nothing was heard of it yet.']
  const state = isLive ? chip(balance.state, AGES[balance.state]) : chip('last known', 'warn')
  return [state, ' heard ', ticking(balance.at, 'age', now)]
}

function runwayWords({ runway, burn, balance }: Credits): { big: string; note: string } {
  if (runway) {
    const { creditsPerHour } = burn.find(({ window }) => window === runway.window) ?? {}
    const rate = creditsPerHour === undefined ? '' : ` (${credits(creditsPerHour)} credits an hour)`
    const window = WINDOWS[runway.window] ?? runway.window
    return {
      big: duration(runway.seconds),
      note: `At the rate of the ${window}${rate} empty on ${runway.timeOfDay}.`,
    }
  }
  if (balance.credits === undefined) return { big: 'unknown', note: 'The balance is not known.' }
  if (burn.length === 0) return { big: 'unknown', note: 'A rate is known after ten minutes of looking on.' }
  const windows = burn.map(({ window }) => WINDOWS[window] ?? window)
  return { big: 'no end', note: `Nothing was spent in the ${windows.at(-1)}.` }
}

function stateNote({ creditState, reserveCredits }: Credits, now: number): Child[] {
  if (!creditState) return ['Not known yet.']
  const reserve = reserveCredits > 0 ? ` Reserve: ${credits(reserveCredits)} credits.` : ''
  return [`${STATES[creditState.name].meaning}${reserve} Since `, ticking(creditState.since, 'age', now)]
}

function showTiles({ teams, credits: known }: Overview, now: number): void {
  const of = (pick: (team: { today: Spending; thisMonth: Spending }) => number) =>
    steadyCredits(teams?.reduce((sum, team) => sum + pick(team), 0))
  const { reconciled, burn, price } = known
  const compared: Child[] = reconciled ? ['compared ', ticking(reconciled.at, 'age', now)] : ['not compared yet']
  const rate = burn.find(({ window }) => window === '1h')
  fill(
    'credit-tiles',
    tile(
      'Spent today',
      of(({ today }) => today.chargedCredits),
      unknownToo(teams?.map(({ today }) => today)),
    ),
    tile(
      'Saved today',
      of(({ today }) => today.savedCredits),
      'by the cache and by shared purchases',
    ),
    tile(
      'Spent this month',
      of(({ thisMonth }) => thisMonth.chargedCredits),
      unknownToo(teams?.map(team => team.thisMonth)),
    ),
    tile(
      'Saved this month',
      of(({ thisMonth }) => thisMonth.savedCredits),
      'by the cache and by shared purchases',
    ),
    tile('Rate', steadyCredits(rate?.creditsPerHour), 'credits an hour, over the last hour'),
    tile('Drift', signedCredits(reconciled?.driftCredits), ...compared),
    tile('Next call', steadyCredits(price.estimateCredits), 'estimated'),
  )
}

/** Calls of which nobody knows are booked apart: they are told, not added. */
function unknownToo(spent: readonly Spending[] | undefined): string {
  if (!spent) return 'the books cannot be read'
  const unknown = spent.reduce((sum, { unknownCredits }) => sum + unknownCredits, 0)
  return unknown > 0 ? `and ${credits(unknown)} of unknown outcome` : 'by all teams'
}

export function tile(name: string, value: Child, ...note: readonly Child[]): HTMLElement {
  const small = note.length === 0 ? [] : [el('dd', { class: 'quiet' }, ...note)]
  return el('div', {}, el('dt', {}, name), el('dd', { class: 'value' }, value), ...small)
}
