/** Members that may be left out, without `undefined` as a value (`exactOptionalPropertyTypes`). */
type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/**
 * Drops the members whose value is `undefined`, so that optional members can be spread into an
 * object.
 */
export function defined<T extends object>(members: T): Defined<T> {
  const kept: Defined<T> = {}
  for (const name in members) {
    const value = members[name]
    if (value !== undefined) kept[name] = value as Exclude<T[typeof name], undefined>
  }
  return kept
}
