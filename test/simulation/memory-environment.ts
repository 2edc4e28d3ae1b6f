import type { RootDatabase } from 'lmdb'
import { StoreError } from '../../src/contracts/store.js'
import type { Environment } from '../../src/store/embedded/environment.js'

type Key = string | number | readonly (string | number)[]
interface Range {
  start?: Key
  end?: Key
  limit?: number
}

/** An ordered table: the values by key, and the keys in order. */
interface Table {
  values: Map<string, { key: Key; value: unknown }>
  order: string[]
}

/** The contents of an environment at one moment. */
export type Snapshot = Map<string, Table>

export interface MemoryEnvironment extends Environment {
  /** Refuses writes, as on a full disk. */
  isFull: boolean
  tables: Snapshot
  snapshot(): Snapshot
  restore(snapshot: Snapshot | undefined): void
}

/**
 * Keeps what the embedded store keeps in an LMDB file in memory: the same order of keys, and copies
 * of all values. A write is applied in one step when it is called.
 */
export function memoryEnvironment(): MemoryEnvironment {
  const tables: Snapshot = new Map()
  const tableOf = (name: string): Table => {
    const found = tables.get(name) ?? { values: new Map(), order: [] }
    tables.set(name, found)
    return found
  }
  const environment: MemoryEnvironment = {
    isFull: false,
    tables,
    root: { openDB: (name: string) => openTable(() => tableOf(name)) } as unknown as RootDatabase<unknown, string>,
    async write(step) {
      if (environment.isFull) throw new StoreError('the disk is full', { mayHaveHappened: false })
      return step()
    },
    read: step => step(),
    isUp: () => true,
    canWrite: () => !environment.isFull,
    async close() {},
    snapshot: () => new Map([...tables].map(([name, { values, order }]) => [name, copyOf(values, order)])),
    restore(snapshot) {
      tables.clear()
      for (const [name, { values, order }] of snapshot ?? []) tables.set(name, copyOf(values, order))
    },
  }
  return environment
}

const copyOf = (values: Table['values'], order: string[]): Table => ({ values: new Map(values), order: [...order] })

function openTable(table: () => Table) {
  const entries = ({ start, end, limit = Number.POSITIVE_INFINITY }: Range = {}) => {
    const { values, order } = table()
    const from = start === undefined ? 0 : placeOf(order, encode(start))
    const to = end === undefined ? order.length : placeOf(order, encode(end))
    return order.slice(from, Math.min(to, from + limit)).map(text => values.get(text) as { key: Key; value: unknown })
  }
  const get = (key: Key) => copy(table().values.get(encode(key))?.value)
  return {
    get,
    getBinaryFast: get,
    put(key: Key, value: unknown) {
      const { values, order } = table()
      const text = encode(key)
      if (!values.has(text)) order.splice(placeOf(order, text), 0, text)
      values.set(text, { key, value: copy(value) })
    },
    remove(key: Key) {
      const { values, order } = table()
      const text = encode(key)
      if (values.delete(text)) order.splice(placeOf(order, text), 1)
    },
    getRange: (range?: Range) => entries(range).map(({ key, value }) => ({ key, value: copy(value) })),
    getKeys: (range?: Range) => entries(range).map(({ key }) => key),
    getKeysCount: () => table().order.length,
    resetReadTxn() {},
  }
}

/** Returns the index of the first key that is not before `text`. */
function placeOf(order: readonly string[], text: string): number {
  let [low, high] = [0, order.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((order[middle] as string) < text) low = middle + 1
    else high = middle
  }
  return low
}

/** Texts in the order in which LMDB has the keys: numbers before texts, a prefix before what it begins. */
function encode(key: Key): string {
  if (typeof key === 'string') return `s${key}\0`
  if (typeof key === 'number') return `n${String(key).padStart(17, '0')}\0`
  return key.map(encode).join('')
}

function copy<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return value.map(copy) as T
  const result: Record<string, unknown> = {}
  for (const name in value) result[name] = copy(value[name])
  return result as T
}
