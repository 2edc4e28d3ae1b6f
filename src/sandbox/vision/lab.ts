/** A small picture in CIE Lab: three planes of `width × height` values, row by row. */
export interface LabPicture {
  width: number
  height: number
  lightness: Float32Array
  greenRed: Float32Array
  blueYellow: Float32Array
}

const D65 = { x: 0.950456, z: 1.088754 }
const LINEAR = Float32Array.from({ length: 256 }, (_, value) => linear(value / 255))

/** Turns interleaved 8-bit sRGB into CIE Lab (D65): L in 0–100, a and b about ±100. */
export function toLab(rgb: Uint8Array, width: number, height: number): LabPicture {
  const pixels = width * height
  const lab = {
    width,
    height,
    lightness: new Float32Array(pixels),
    greenRed: new Float32Array(pixels),
    blueYellow: new Float32Array(pixels),
  }
  for (let pixel = 0; pixel < pixels; pixel++) {
    const r = LINEAR[rgb[pixel * 3] ?? 0] ?? 0
    const g = LINEAR[rgb[pixel * 3 + 1] ?? 0] ?? 0
    const b = LINEAR[rgb[pixel * 3 + 2] ?? 0] ?? 0
    const x = perceived((0.412453 * r + 0.35758 * g + 0.180423 * b) / D65.x)
    const y = perceived(0.212671 * r + 0.71516 * g + 0.072169 * b)
    const z = perceived((0.019334 * r + 0.119193 * g + 0.950227 * b) / D65.z)
    lab.lightness[pixel] = 116 * y - 16
    lab.greenRed[pixel] = 500 * (x - y)
    lab.blueYellow[pixel] = 200 * (y - z)
  }
  return lab
}

/** Softens noise and fine texture (see `blur`). */
export function soften(lab: LabPicture, passes: number): LabPicture {
  return {
    width: lab.width,
    height: lab.height,
    lightness: blur(lab.lightness, lab, passes),
    greenRed: blur(lab.greenRed, lab, passes),
    blueYellow: blur(lab.blueYellow, lab, passes),
  }
}

/** Blurs one plane with a 3 × 3 binomial filter, `passes` times. */
export function blur(
  plane: Float32Array,
  { width, height }: { width: number; height: number },
  passes: number,
): Float32Array {
  const rows = { count: height, stride: width }
  const columns = { count: width, stride: 1 }
  let result = plane
  for (let pass = 0; pass < passes; pass++) result = binomial(binomial(result, rows, columns), columns, rows)
  return result
}

/** How fast the colour changes at each pixel: the length of the Lab gradient, by central differences. */
export function gradient(lab: LabPicture): Float32Array {
  const { width, height } = lab
  const result = new Float32Array(width * height)
  for (let y = 0; y < height; y++) {
    const up = Math.max(0, y - 1) * width
    const down = Math.min(height - 1, y + 1) * width
    for (let x = 0; x < width; x++) {
      const left = y * width + Math.max(0, x - 1)
      const right = y * width + Math.min(width - 1, x + 1)
      result[y * width + x] = Math.sqrt(squaredDistance(lab, left, right) + squaredDistance(lab, up + x, down + x))
    }
  }
  return result
}

/** The squared Euclidean distance of two pixels' colours. */
export function squaredDistance(lab: LabPicture, p: number, q: number): number {
  const l = (lab.lightness[p] ?? 0) - (lab.lightness[q] ?? 0)
  const a = (lab.greenRed[p] ?? 0) - (lab.greenRed[q] ?? 0)
  const b = (lab.blueYellow[p] ?? 0) - (lab.blueYellow[q] ?? 0)
  return l * l + a * a + b * b
}

function linear(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
}

function perceived(value: number): number {
  return value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116
}

interface Axis {
  count: number
  stride: number
}

function binomial(values: Float32Array, lines: Axis, along: Axis): Float32Array {
  const result = new Float32Array(values.length)
  for (let line = 0; line < lines.count; line++) {
    const start = line * lines.stride
    for (let step = 0; step < along.count; step++) {
      const here = start + step * along.stride
      const before = step > 0 ? here - along.stride : here
      const after = step < along.count - 1 ? here + along.stride : here
      result[here] = ((values[before] ?? 0) + 2 * (values[here] ?? 0) + (values[after] ?? 0)) / 4
    }
  }
  return result
}
