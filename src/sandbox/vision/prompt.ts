/** Position and appearance of an object, from the words of a prompt. */
export interface Hints {
  /** Any of these colours. */
  colours: readonly Colour[]
  /** Position, from −1 (left, top) to 1 (right, bottom). */
  across?: number
  down?: number
  /** Selects the background: without a colour, everything except the main object. */
  isBackground: boolean
  /** Typical share of the picture, 0–1. */
  usualShare?: number
}

export type Colour = keyof typeof COLOURS

/**
 * Rates how well a shade matches a colour, 0–1. The hue is in degrees, saturation and value are
 * 0–1.
 */
type Match = (hue: number, saturation: number, value: number) => number

const vivid = (saturation: number, value: number) => ramp(saturation, 0.25, 0.5) * ramp(value, 0.15, 0.35)
const red: Match = (h, s, v) => around(h, 0, 12) * vivid(s, v) * ramp(s, 0.4, 0.6)
const orange: Match = (h, s, v) => around(h, 22, 17) * vivid(s, v) * ramp(v, 0.45, 0.65)
const yellow: Match = (h, s, v) => around(h, 54, 14) * vivid(s, v) * ramp(v, 0.4, 0.6)
const green: Match = (h, s, v) => around(h, 112, 52) * vivid(s, v)
const cyan: Match = (h, s, v) => around(h, 182, 18) * vivid(s, v)
const blue: Match = (h, s, v) => around(h, 222, 34) * vivid(s, v)
const purple: Match = (h, s, v) => around(h, 278, 26) * vivid(s, v)
const pink: Match = (h, s, v) => around(h, 335, 28) * ramp(s, 0.15, 0.3) * ramp(v, 0.5, 0.7)
const brown: Match = (h, s, v) => around(h, 27, 13) * ramp(s, 0.2, 0.4) * ramp(v, 0.85, 0.6)
const black: Match = (_, __, v) => ramp(v, 0.32, 0.16)
const white: Match = (_, s, v) => ramp(v, 0.6, 0.8) * ramp(s, 0.32, 0.14)
const gray: Match = (_, s, v) => ramp(s, 0.25, 0.1) * ramp(v, 0.12, 0.28) * ramp(v, 0.92, 0.8)
const COLOURS = { red, orange, yellow, green, cyan, blue, purple, pink, brown, black, white, gray }

/** Words for each colour. A word may name several colours. */
const COLOUR_WORDS: Readonly<Record<Colour, string>> = {
  red: 'red crimson scarlet',
  orange: 'orange ginger golden gold',
  yellow: 'yellow golden gold bright',
  green: 'green',
  cyan: 'cyan turquoise teal',
  blue: 'blue navy',
  purple: 'purple violet magenta',
  pink: 'pink magenta',
  brown: 'brown ginger beige',
  black: 'black dark',
  white: 'white beige bright silver',
  gray: 'gray grey silver',
}

/** Places, and objects that have a typical place and appearance. */
const PLACE_WORDS: readonly (readonly [words: string, hints: Partial<Hints>])[] = [
  ['left leftmost', { across: -1 }],
  ['right rightmost', { across: 1 }],
  ['top upper above', { down: -1 }],
  ['bottom lower below', { down: 1 }],
  ['center centre middle central', { across: 0, down: 0 }],
  ['background backdrop surroundings', { isBackground: true, usualShare: 0.4 }],
  ['sky', { down: -1, across: 0, usualShare: 0.4, colours: ['blue', 'cyan', 'gray', 'white'] }],
  ['grass lawn', { down: 1, usualShare: 0.3, colours: ['green'] }],
  ['water sea', { down: 1, usualShare: 0.3, colours: ['blue', 'cyan'] }],
  ['floor ground', { down: 1, usualShare: 0.3 }],
  ['table', { down: 1, usualShare: 0.4 }],
]

/** Reads the words of a prompt. Unknown words are ignored. */
export function readHints(prompt: string): Hints {
  let hints: Hints = { colours: [], isBackground: false }
  for (const word of prompt.toLowerCase().match(/[a-z]+/g) ?? []) {
    const has = (words: string) => words.split(' ').includes(word)
    const named = (Object.keys(COLOURS) as Colour[]).filter(colour => has(COLOUR_WORDS[colour]))
    const place = PLACE_WORDS.find(([words]) => has(words))?.[1]
    const colours = [...hints.colours, ...named]
    hints = { ...hints, ...place, colours: colours.length > 0 ? colours : (place?.colours ?? []) }
  }
  return hints
}

/** Rates how well a pixel matches a colour, 0–1. Channels are 0–255. */
export function colourMatch(colour: Colour, red: number, green: number, blue: number): number {
  const most = Math.max(red, green, blue)
  const chroma = most - Math.min(red, green, blue)
  return COLOURS[colour](hueOf(red, green, blue), most === 0 ? 0 : chroma / most, most / 255)
}

/** Rises from 0 at `from` to 1 at `to`, or falls if `to` is below `from`. */
function ramp(value: number, from: number, to: number): number {
  return Math.min(1, Math.max(0, (value - from) / (to - from)))
}

/** Returns 1 within `reach` degrees of a hue, 0 from one and a half times as far. */
function around(hue: number, centre: number, reach: number): number {
  return ramp(Math.abs(((hue - centre + 540) % 360) - 180), reach * 1.5, reach)
}

function hueOf(red: number, green: number, blue: number): number {
  const most = Math.max(red, green, blue)
  const chroma = most - Math.min(red, green, blue)
  if (chroma === 0) return 0
  if (most === red) return (60 * ((green - blue) / chroma) + 360) % 360
  return most === green ? 60 * ((blue - red) / chroma) + 120 : 60 * ((red - green) / chroma) + 240
}
