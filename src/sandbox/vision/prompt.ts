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

/** Values at which a match is 0 and 1. It changes linearly between them. */
type Ramp = readonly [none: number, full: number]

/** The hue is in degrees, with a distance up to which it matches. Saturation and value are 0–1. */
interface Shade {
  /** Words for the colour. A word may name several colours. */
  words: string
  hue?: readonly [centre: number, reach: number]
  saturation?: Ramp
  value?: Ramp
  brightest?: Ramp
}

const VIVID = { saturation: [0.25, 0.5], value: [0.15, 0.35] } as const
const COLOURS = {
  red: { ...VIVID, words: 'red crimson scarlet', hue: [0, 12], saturation: [0.4, 0.6] },
  orange: { ...VIVID, words: 'orange ginger golden gold', hue: [22, 17], value: [0.45, 0.65] },
  yellow: { ...VIVID, words: 'yellow golden gold bright', hue: [54, 14], value: [0.4, 0.6] },
  green: { ...VIVID, words: 'green', hue: [112, 52] },
  cyan: { ...VIVID, words: 'cyan turquoise teal', hue: [182, 18] },
  blue: { ...VIVID, words: 'blue navy', hue: [222, 34] },
  purple: { ...VIVID, words: 'purple violet magenta', hue: [278, 26] },
  pink: { words: 'pink magenta', hue: [335, 28], saturation: [0.15, 0.3], value: [0.5, 0.7] },
  brown: { words: 'brown ginger beige', hue: [27, 13], saturation: [0.2, 0.4], value: [0.85, 0.6] },
  black: { words: 'black dark', value: [0.32, 0.16] },
  white: { words: 'white beige bright silver', saturation: [0.32, 0.14], value: [0.6, 0.8] },
  gray: { words: 'gray grey silver', saturation: [0.25, 0.1], value: [0.12, 0.28], brightest: [0.92, 0.8] },
} satisfies Record<string, Shade>

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
    const named = (Object.keys(COLOURS) as Colour[]).filter(colour => has(COLOURS[colour].words))
    const place = PLACE_WORDS.find(([words]) => has(words))?.[1]
    const colours = [...hints.colours, ...named]
    hints = { ...hints, ...place, colours: colours.length > 0 ? colours : (place?.colours ?? []) }
  }
  return hints
}

/** Rates how well a pixel matches a colour, 0–1. Channels are 0–255. */
export function colourMatch(colour: Colour, red: number, green: number, blue: number): number {
  const shade: Shade = COLOURS[colour]
  const most = Math.max(red, green, blue)
  const chroma = most - Math.min(red, green, blue)
  const value = most / 255
  const match = ramp(value, shade.value) * ramp(value, shade.brightest) * ramp(chroma / (most || 1), shade.saturation)
  if (!shade.hue || match === 0) return match
  const [from, difference] = most === red ? [0, green - blue] : most === green ? [120, blue - red] : [240, red - green]
  const hue = from + (60 * difference) / (chroma || 1)
  const [centre, reach] = shade.hue
  return match * ramp(Math.abs(((hue - centre + 540) % 360) - 180), [reach * 1.5, reach])
}

function ramp(value: number, [none, full]: Ramp = [value - 1, value]): number {
  return Math.min(1, Math.max(0, (value - none) / (full - none)))
}
