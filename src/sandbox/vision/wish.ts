/** What the words of a prompt say about where a thing is and what it looks like. */
export interface Wish {
  /** Any of these colours; empty = no colour was named. */
  colours: readonly Colour[]
  /** Where in the picture, from -1 (left, top) to 1 (right, bottom); absent where nothing was said. */
  across?: number
  down?: number
  /** What is behind is meant: everything but the main thing, or the large area of the named colour. */
  background: boolean
  /** How much of the picture a thing of that name tends to fill, 0–1, where the name says it. */
  spread?: number
}

export type Colour = keyof typeof COLOURS

const COLOUR_WORDS: Record<string, readonly Colour[]> = {
  red: ['red'],
  crimson: ['red'],
  scarlet: ['red'],
  orange: ['orange'],
  ginger: ['orange', 'brown'],
  golden: ['yellow', 'orange'],
  gold: ['yellow', 'orange'],
  yellow: ['yellow'],
  green: ['green'],
  cyan: ['cyan'],
  turquoise: ['cyan'],
  teal: ['cyan'],
  blue: ['blue'],
  navy: ['blue'],
  purple: ['purple'],
  violet: ['purple'],
  magenta: ['pink', 'purple'],
  pink: ['pink'],
  brown: ['brown'],
  beige: ['brown', 'white'],
  black: ['black'],
  dark: ['black'],
  white: ['white'],
  bright: ['white', 'yellow'],
  gray: ['gray'],
  grey: ['gray'],
  silver: ['gray', 'white'],
}

/** Words for places; also names of things that have their usual place and look. */
const PLACE_WORDS: Record<string, Partial<Wish>> = {
  left: { across: -1 },
  leftmost: { across: -1 },
  right: { across: 1 },
  rightmost: { across: 1 },
  top: { down: -1 },
  upper: { down: -1 },
  above: { down: -1 },
  bottom: { down: 1 },
  lower: { down: 1 },
  below: { down: 1 },
  center: { across: 0, down: 0 },
  centre: { across: 0, down: 0 },
  middle: { across: 0, down: 0 },
  central: { across: 0, down: 0 },
  background: { background: true, spread: 0.4 },
  backdrop: { background: true, spread: 0.4 },
  surroundings: { background: true, spread: 0.4 },
  sky: { down: -1, across: 0, spread: 0.4, colours: ['blue', 'cyan', 'gray', 'white'] },
  grass: { down: 1, spread: 0.3, colours: ['green'] },
  lawn: { down: 1, spread: 0.3, colours: ['green'] },
  water: { down: 1, spread: 0.3, colours: ['blue', 'cyan'] },
  sea: { down: 1, spread: 0.3, colours: ['blue', 'cyan'] },
  floor: { down: 1, spread: 0.3 },
  ground: { down: 1, spread: 0.3 },
  table: { down: 1, spread: 0.4 },
}

/** Reads a prompt's words; those it does not know say nothing. */
export function readWish(prompt: string): Wish {
  const wish: Wish & { colours: Colour[] } = { colours: [], background: false }
  for (const word of prompt.toLowerCase().match(/[a-z]+/g) ?? []) {
    wish.colours.push(...(known(COLOUR_WORDS, word) ?? []))
    const { colours, ...place } = known(PLACE_WORDS, word) ?? {}
    Object.assign(wish, place)
    if (colours && wish.colours.length === 0) wish.colours.push(...colours)
  }
  return wish
}

/** How well a colour bears a name, 0–1. Channels are 0–255. */
export function bears(colour: Colour, red: number, green: number, blue: number): number {
  const value = Math.max(red, green, blue) / 255
  const chroma = value - Math.min(red, green, blue) / 255
  const saturation = value === 0 ? 0 : chroma / value
  return COLOURS[colour]({ hue: hueOf(red, green, blue), saturation, value })
}

interface Shade {
  /** Degrees, 0 = red. */
  hue: number
  saturation: number
  value: number
}

const coloured = ({ saturation, value }: Shade) => ramp(saturation, 0.25, 0.5) * ramp(value, 0.15, 0.35)
const COLOURS = {
  red: (shade: Shade) => around(shade.hue, 0, 12) * coloured(shade) * ramp(shade.saturation, 0.4, 0.6),
  orange: (shade: Shade) => around(shade.hue, 22, 17) * coloured(shade) * ramp(shade.value, 0.45, 0.65),
  yellow: (shade: Shade) => around(shade.hue, 54, 14) * coloured(shade) * ramp(shade.value, 0.4, 0.6),
  green: (shade: Shade) => around(shade.hue, 112, 52) * coloured(shade),
  cyan: (shade: Shade) => around(shade.hue, 182, 18) * coloured(shade),
  blue: (shade: Shade) => around(shade.hue, 222, 34) * coloured(shade),
  purple: (shade: Shade) => around(shade.hue, 278, 26) * coloured(shade),
  pink: (shade: Shade) => around(shade.hue, 335, 28) * ramp(shade.saturation, 0.15, 0.3) * ramp(shade.value, 0.5, 0.7),
  brown: (shade: Shade) => around(shade.hue, 27, 13) * ramp(shade.saturation, 0.2, 0.4) * ramp(shade.value, 0.85, 0.6),
  black: ({ value }: Shade) => ramp(value, 0.32, 0.16),
  white: ({ saturation, value }: Shade) => ramp(value, 0.6, 0.8) * ramp(saturation, 0.32, 0.14),
  gray: ({ saturation, value }: Shade) =>
    ramp(saturation, 0.25, 0.1) * ramp(value, 0.12, 0.28) * ramp(value, 0.92, 0.8),
} as const

/** Climbs from 0 at `from` to 1 at `to`; falls where `to` is below `from`. */
function ramp(value: number, from: number, to: number): number {
  return Math.min(1, Math.max(0, (value - from) / (to - from)))
}

/** 1 within `reach` degrees of a hue, 0 from half as far again on. */
function around(hue: number, centre: number, reach: number): number {
  const off = Math.abs(((hue - centre + 540) % 360) - 180)
  return ramp(off, reach * 1.5, reach)
}

function hueOf(red: number, green: number, blue: number): number {
  const most = Math.max(red, green, blue)
  const chroma = most - Math.min(red, green, blue)
  if (chroma === 0) return 0
  if (most === red) return (60 * ((green - blue) / chroma) + 360) % 360
  return most === green ? 60 * ((blue - red) / chroma) + 120 : 60 * ((red - green) / chroma) + 240
}

function known<T>(table: Record<string, T>, word: string): T | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined
}
