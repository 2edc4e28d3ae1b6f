export interface Size {
  width: number
  height: number
}

/** Values of each pixel: L, a and b. */
export const FEATURES = 3

/** Blurs each channel with a 3 × 3 binomial filter, `passes` times. `spacing` widens the filter. */
export function blur(values: Float32Array, { width, height }: Size, passes: number, spacing = 1): Float32Array {
  const row = values.length / height
  const rows = [(spacing * row) / width, row] as const
  const columns = [spacing * row, values.length] as const
  let result = values
  for (let pass = 0; pass < 2 * passes; pass++) {
    const source = result
    const [offset, span] = pass % 2 === 0 ? rows : columns
    result = new Float32Array(source.length)
    for (let index = 0, position = 0; index < source.length; index++, position++) {
      if (position === span) position = 0
      const before = position < offset ? index : index - offset
      const after = position + offset < span ? index + offset : index
      result[index] = ((source[before] ?? 0) + 2 * (source[index] ?? 0) + (source[after] ?? 0)) / 4
    }
  }
  return result
}

/** Returns the length of the colour gradient at each pixel, by central differences. */
export function gradient(features: Float32Array, { width, height }: Size): Float32Array {
  return new Float32Array(width * height).map((_, pixel, { length }) => {
    const x = pixel % width
    const left = x > 0 ? pixel - 1 : pixel
    const right = x < width - 1 ? pixel + 1 : pixel
    const up = Math.max(x, pixel - width)
    const down = pixel + width < length ? pixel + width : pixel
    return Math.sqrt(squaredDistance(features, left, right) + squaredDistance(features, up, down))
  })
}

/** Returns the squared Euclidean distance of the colours of two pixels. */
export function squaredDistance(features: Float32Array, p: number, q: number): number {
  const l = (features[FEATURES * p] ?? 0) - (features[FEATURES * q] ?? 0)
  const a = (features[FEATURES * p + 1] ?? 0) - (features[FEATURES * q + 1] ?? 0)
  const b = (features[FEATURES * p + 2] ?? 0) - (features[FEATURES * q + 2] ?? 0)
  return l * l + a * a + b * b
}

/** Visits each pair of neighbouring pixels once: right, below, and both diagonals. */
export function forEachPair({ width, height }: Size, visit: (p: number, q: number, distance: number) => void): void {
  for (let p = 0; p < width * height; p++) {
    const hasRight = (p + 1) % width > 0
    const hasBelow = p + width < width * height
    if (hasRight) visit(p, p + 1, 1)
    if (hasBelow) visit(p, p + width, 1)
    if (hasBelow && hasRight) visit(p, p + width + 1, Math.SQRT2)
    if (hasBelow && p % width > 0) visit(p, p + width - 1, Math.SQRT2)
  }
}
