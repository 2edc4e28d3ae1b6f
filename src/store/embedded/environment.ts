import { accessSync, closeSync, constants, mkdirSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { StoreError } from '../../storage.js'

/** One LMDB file: several databases, one writer at a time among all processes, readers that never wait. */
export interface Environment {
  root: RootDatabase<unknown, string>
  /** Runs a step as (part of) one transaction, and resolves when it is on disk. Rejects with `StoreError`; then nothing was written. */
  write<T>(step: () => T): Promise<T>
  /** Runs reads that see one state, as long as `step` does not wait. Throws `StoreError`. */
  read<T>(step: () => T): T
  isUp(): boolean
  close(): Promise<void>
}

/** Makes the folder, for this user only, or throws a plain `Error` that says why it cannot be used. */
export function prepareFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new Error(`the folder ${dir} cannot be used for the store: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Opens or makes `<dir>/<name>.mdb`, for at most `mapBytes` (address space, not disk).
 *
 * `overlappingSync` is off: a transaction is on disk before it counts as done and before the next one begins. That is LMDB's own plain
 * order, in which neither `kill -9` nor a power cut can leave half a transaction or lose one that was acknowledged.
 */
export function openEnvironment(dir: string, name: string, mapBytes: number): Environment {
  const path = join(dir, `${name}.mdb`)
  const root = openRoot(path, mapBytes)
  let up = true

  const failed = (error: unknown): StoreError => {
    if (error instanceof StoreError) return error
    up = false
    return new StoreError(`the store ${name}.mdb failed: ${messageOf(error)}`, { cause: error })
  }

  return {
    root,
    async write(step) {
      try {
        const result = await root.transaction(step)
        up = true
        return result
      } catch (error) {
        throw failed(await reasonOf(error))
      }
    },
    read(step) {
      try {
        const result = step()
        up = true
        return result
      } catch (error) {
        throw failed(error)
      }
    },
    isUp: () => up,
    async close() {
      up = false
      await root.close()
    },
  }
}

function openRoot(path: string, mapBytes: number): RootDatabase<unknown, string> {
  try {
    checkForm(path)
    const mapSize = Math.ceil(mapBytes / 65_536) * 65_536
    return open<unknown, string>({
      path,
      // With it, a failed commit rejects a promise that nobody holds.
      eventTurnBatching: false,
      noSubdir: true,
      maxDbs: 16,
      mapSize,
      overlappingSync: false,
      encoding: 'msgpack',
    })
  } catch (error) {
    throw new Error(`the store ${path} cannot be opened: ${messageOf(error)}`, { cause: error })
  }
}

/** LMDB's magic number and version of its form, in the first page behind the page's head. */
const MAGIC = Buffer.from('dec0efbe02000000', 'hex')
const MAGIC_AT = 24

/** LMDB maps whatever it finds and crashes the process over what is no database, so that is looked at first. A new or empty file is fine. */
function checkForm(path: string): void {
  const file = openSync(path, 'a+', 0o600)
  try {
    const head = Buffer.alloc(MAGIC_AT + MAGIC.length)
    const bytes = readSync(file, head, 0, head.length, 0)
    if (bytes > 0 && !head.subarray(MAGIC_AT).equals(MAGIC))
      throw new Error('it is not a database of this gateway, or is damaged')
  } finally {
    closeSync(file)
  }
}

/** A failed commit says why in a second promise, which rejects together with the first. Handled here, or the process would end over it. */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<unknown> }
  if (!commitError) return error
  const afterwards = new Promise(resolve => setImmediate(resolve, error))
  return Promise.race([commitError.catch(reason => reason), afterwards])
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
