import { type Amount, MODEL_SIDE, WASTE_KINDS, type Waste, type WasteKind, type WasteReport } from '../credits/waste.js'
import { formatCredits } from '../nanocredits.js'
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
  evicted: 'more room: STORE_MAX_BYTES, or memory for Redis',
  expired: 'a longer CACHE_TTL_SECONDS',
  noCache: 'ask the teams why they want no cached answer',
  twice: 'COALESCE=on, a store that stays up',
  samePixels: 'store images once; do not encode them again',
  oversized: `scale to ${MODEL_SIDE} pixels before sending: the model does`,
}

/** For a terminal. */
export function asText(month: string, report: WasteReport, hasDigests: boolean): string[] {
  const { paid, kinds } = report
  if (paid.calls === 0) return [`Nothing was paid for in ${month}.`]
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

/** For programs: amounts as decimal strings, which keep every digit. */
export function asJson(month: string, report: WasteReport): string {
  const amount = ({ calls, credits }: Amount) => ({ calls, credits: formatCredits(credits) })
  const waste = ({ teams, top, ...all }: Waste) => ({
    ...amount(all),
    teams: Object.fromEntries(Object.entries(teams).map(([team, of]) => [team, amount(of)])),
    top: top.map(({ resultId, ...of }) => ({ resultId, ...amount(of) })),
  })
  const { paid, kinds, freshAgain, meanCost, ...rest } = report
  const told = {
    month,
    paid: amount(paid),
    waste: Object.fromEntries(Object.entries(kinds).map(([kind, of]) => [kind, waste(of)])),
    noCacheThoughFresh: amount(freshAgain),
    ...rest,
    ...(meanCost && {
      meanCost: { oversized: formatCredits(meanCost.oversized), others: formatCredits(meanCost.others) },
    }),
  }
  return JSON.stringify(told, null, 2)
}

function rowOf(kind: WasteKind, waste: Waste | undefined, paid: Amount): string[] {
  if (!waste) return [NAMES[kind], 'not known', '', '', '']
  const share = paid.credits === 0 ? '' : `${((100 * waste.credits) / paid.credits).toFixed(1)} %`
  return [NAMES[kind], `${waste.calls}`, formatCredits(waste.credits), share, waste.calls > 0 ? ADVICE[kind] : '']
}

function notesOf(report: WasteReport, hasDigests: boolean): string[] {
  const { freshAgain, withoutSize, withoutPixels, meanCost, needlessBytes, paid, kinds } = report
  const isPartly = withoutPixels > 0 && withoutPixels < paid.calls
  const said: [boolean, string][] = [
    [
      freshAgain.calls > 0,
      `Of no-cache, ${formatCredits(freshAgain.credits)} credits asked again for what was fresh (${freshAgain.calls} calls).`,
    ],
    [
      needlessBytes > 0,
      `Images larger than the model looks at were ${(needlessBytes / 1e6).toFixed(1)} MB more than needed.`,
    ],
    [
      meanCost !== undefined,
      `A call with a large image cost ${formatCredits(meanCost?.oversized ?? 0)}, with another one ${formatCredits(meanCost?.others ?? 0)}.`,
    ],
    [withoutSize > 0, `${withoutSize} calls do not say how large their image was.`],
    [!kinds.samePixels && !hasDigests, 'PIXEL_DIGEST=true would tell the same pixels under other bytes.'],
    [isPartly, `${withoutPixels} calls have no digest of their pixels.`],
  ]
  return said.filter(([applies]) => applies).map(([, text]) => text)
}

function topsOf({ kinds }: WasteReport): string[] {
  return (['evicted', 'noCache', 'samePixels'] as const).flatMap(kind => {
    const top = kinds[kind]?.top ?? []
    if (top.length === 0) return []
    const rows = top.map(({ resultId, calls, credits }) => [resultId, `${calls}`, formatCredits(credits)])
    return ['', ...textTable([[`dearest: ${NAMES[kind]}`, 'calls', 'credits'], ...rows], new Set([1, 2]))]
  })
}

/** Each team's share of every kind. */
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
