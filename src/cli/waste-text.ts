import { formatCredits } from '../contracts/nanocredits.js'
import { type Amount, MODEL_SIDE, WASTE_KINDS, type Waste, type WasteKind, type WasteReport } from '../credits/waste.js'
import { textTable } from './text-table.js'

const NAMES: Readonly<Record<WasteKind, string>> = {
  evicted: 'evicted and bought again',
  expired: 'expired and bought again',
  noCache: 'no-cache and no-store',
  twice: 'bought twice',
  samePixels: 'same pixels, other bytes',
  oversized: `larger than ${MODEL_SIDE} pixels`,
}

const ADVICE: Readonly<Record<WasteKind, string>> = {
  evicted: 'increase STORE_MAX_BYTES, or the memory of Redis',
  expired: 'increase CACHE_TTL_SECONDS',
  noCache: 'ask the teams why they bypass the cache',
  twice: 'set COALESCE=on, and keep the store available',
  samePixels: 'store images once; do not re-encode them',
  oversized: `scale to ${MODEL_SIDE} pixels before sending; the model does the same`,
}

/** Renders the report for a terminal. */
export function asText(month: string, report: WasteReport, hasDigests: boolean): string[] {
  const { paid, kinds } = report
  if (paid.calls === 0) return [`There were no paid calls in ${month}.`]
  const rows = WASTE_KINDS.map(kind => rowOf(kind, kinds[kind], paid))
  const right = new Set([1, 2, 3])
  return [
    `Paid in ${month}: ${paid.calls} calls, ${formatCredits(paid.credits)} credits.`,
    '',
    ...textTable([['what', 'calls', 'credits', 'share', 'what to do'], ...rows], right),
    '',
    ...notesOf(report, hasDigests),
    ...topsOf(report),
    ...teamsOf(report),
  ]
}

/** Renders the report as JSON, with exact amounts as decimal strings. */
export function asJson(month: string, report: WasteReport): string {
  const amount = ({ calls, credits }: Amount) => ({ calls, credits: formatCredits(credits) })
  const waste = ({ teams, top, ...all }: Waste) => ({
    ...amount(all),
    teams: Object.fromEntries(Object.entries(teams).map(([team, of]) => [team, amount(of)])),
    top: top.map(({ resultId, ...of }) => ({ resultId, ...amount(of) })),
  })
  const { paid, rolledUp, kinds, freshAgain, meanCost, ...rest } = report
  const json = {
    month,
    paid: amount(paid),
    rolledUp: amount(rolledUp),
    waste: Object.fromEntries(Object.entries(kinds).map(([kind, of]) => [kind, waste(of)])),
    noCacheThoughFresh: amount(freshAgain),
    ...rest,
    ...(meanCost && {
      meanCost: { oversized: formatCredits(meanCost.oversized), others: formatCredits(meanCost.others) },
    }),
  }
  return JSON.stringify(json, null, 2)
}

function rowOf(kind: WasteKind, waste: Waste | undefined, paid: Amount): string[] {
  if (!waste) return [NAMES[kind], 'unknown', '', '', '']
  const share = paid.credits === 0 ? '' : `${((100 * waste.credits) / paid.credits).toFixed(1)} %`
  return [NAMES[kind], `${waste.calls}`, formatCredits(waste.credits), share, waste.calls > 0 ? ADVICE[kind] : '']
}

function notesOf(report: WasteReport, hasDigests: boolean): string[] {
  const { freshAgain, withoutSize, withoutPixels, meanCost, needlessBytes, paid, kinds, rolledUp } = report
  const isPartly = withoutPixels > 0 && withoutPixels < paid.calls - rolledUp.calls
  const notes: [boolean, string][] = [
    [
      rolledUp.calls > 0,
      `${rolledUp.calls} calls, ${formatCredits(rolledUp.credits)} credits, were rolled up (LEDGER_RETENTION_DAYS). ` +
        'Only their sum is known, so waste among them is not shown.',
    ],
    [
      report.rolledUpBefore > 0,
      `${report.rolledUpBefore} calls before the month were rolled up, so what was bought again is not complete.`,
    ],
    [
      freshAgain.calls > 0,
      `no-cache bought results that were still fresh: ${freshAgain.calls} calls, ` +
        `${formatCredits(freshAgain.credits)} credits.`,
    ],
    [
      needlessBytes > 0,
      `Images larger than the model's input carried ${(needlessBytes / 1e6).toFixed(1)} MB more than needed.`,
    ],
    [
      meanCost !== undefined,
      `Mean cost of a call: ${formatCredits(meanCost?.oversized ?? 0)} with a large image, ` +
        `${formatCredits(meanCost?.others ?? 0)} with others.`,
    ],
    [withoutSize > 0, `${withoutSize} calls have no image size.`],
    [!kinds.samePixels && !hasDigests, 'Set PIXEL_DIGEST=true to detect equal pixels in different files.'],
    [isPartly, `${withoutPixels} calls have no pixel digest.`],
  ]
  return notes.filter(([applies]) => applies).map(([, text]) => text)
}

function topsOf({ kinds }: WasteReport): string[] {
  return (['evicted', 'noCache', 'samePixels'] as const).flatMap(kind => {
    const top = kinds[kind]?.top ?? []
    if (top.length === 0) return []
    const rows = top.map(({ resultId, calls, credits }) => [resultId, `${calls}`, formatCredits(credits)])
    return ['', ...textTable([[`most expensive: ${NAMES[kind]}`, 'calls', 'credits'], ...rows], new Set([1, 2]))]
  })
}

/** Renders the credits of each team by kind. */
function teamsOf({ kinds }: WasteReport): string[] {
  const known = WASTE_KINDS.filter(kind => (kinds[kind]?.calls ?? 0) > 0)
  const teams = [...new Set(known.flatMap(kind => Object.keys(kinds[kind]?.teams ?? {})))].sort()
  if (teams.length === 0) return []
  const rows = teams.map(team => [team, ...known.map(kind => formatCredits(kinds[kind]?.teams[team]?.credits ?? 0))])
  return [
    '',
    ...textTable(
      [['credits by team', ...known.map(kind => NAMES[kind])], ...rows],
      new Set(known.map((_, index) => index + 1)),
    ),
  ]
}
