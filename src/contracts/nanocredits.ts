/**
 * An amount of Segmind's credits as an integer of 10⁻⁹ credit: exact up to nine million credits.
 */
export type Nanocredits = number

const DECIMAL = /^([+-]?)(\d{0,12})(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/

/**
 * Parses a decimal amount of credits as Segmind sends it in `x-cost` and `x-remaining-credits`
 * (`0.0184921035`, `1.7e-3`). Rounds half up to 10⁻⁹. Returns `undefined` for anything else, so
 * that an unknown amount is never taken for 0.
 */
export function parseCredits(text: string | undefined): Nanocredits | undefined {
  const match = DECIMAL.exec(text?.trim() ?? '')
  if (!match) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  if (whole === '' && fraction === '') return undefined
  const digits = BigInt(whole + fraction)
  const shift = 9 - fraction.length + Number(exponent)
  const scaled =
    shift >= 0 ? digits * 10n ** BigInt(shift) : (digits * 2n + 10n ** BigInt(-shift)) / (2n * 10n ** BigInt(-shift))
  const amount = Number(sign === '-' ? -scaled : scaled)
  return Number.isSafeInteger(amount) ? amount + 0 : undefined
}

/**
 * Formats an amount as decimal credits, without exponent or trailing zeros: `1700000` → `0.0017`.
 */
export function formatCredits(amount: Nanocredits): string {
  if (amount === 0) return '0'
  const digits = Math.abs(amount).toString().padStart(10, '0')
  const fraction = digits.slice(-9).replace(/0+$/, '')
  const text = fraction === '' ? digits.slice(0, -9) : `${digits.slice(0, -9)}.${fraction}`
  return amount < 0 ? `-${text}` : text
}

/** Converts to credits as the nearest double, for metrics and settings. */
export function toCredits(amount: Nanocredits): number {
  return amount / 1e9
}

/** Converts credits from settings or the teams file to an exact amount. */
export function fromCredits(credits: number): Nanocredits {
  return Math.round(credits * 1e9)
}
