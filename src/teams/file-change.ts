import { randomBytes } from 'node:crypto'
import { chown, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** How long a second writer waits, how often it looks, and after how long without an end a lock is taken for one left behind. */
const PATIENCE = { waitMs: 5000, lookMs: 25, staleMs: 15_000 }

/**
 * Changes a text file so that a reader sees the old text or the new one, never a part: written beside it, synced, renamed; mode and
 * owner stay. Two writers take turns by `<file>.lock`. `change` gets the text (`undefined`: no such file yet) and answers the new one,
 * or `undefined` to leave it. Throws an `Error` that a person can act on.
 */
export async function changeFile(
  file: string,
  change: (text: string | undefined) => string | undefined,
  patience = PATIENCE,
): Promise<void> {
  const target = await realpath(file).catch(() => file)
  const lock = await takeLock(`${target}.lock`, patience)
  try {
    const text = change(await readIfThere(target))
    if (text === undefined) return
    await lock.assertOurs()
    await replace(target, text)
  } finally {
    await lock.release()
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw explained(error, file)
  }
}

async function takeLock(path: string, patience: typeof PATIENCE) {
  const token = randomBytes(12).toString('hex')
  const deadline = Date.now() + patience.waitMs
  while (!(await createExclusively(path, token))) {
    if (await isStale(path, patience.staleMs)) await rm(path, { force: true })
    else if (Date.now() >= deadline) throw new Error(`another command is changing the file: ${path} exists`)
    else await wait(patience.lookMs)
  }
  const isOurs = async () => (await readIfThere(path)) === token
  return {
    /** Two writers may both take the same lock for stale, and the later one remove the earlier one's new lock: the earlier one stops here. */
    async assertOurs(): Promise<void> {
      if (!(await isOurs())) throw new Error('another command changed the file at the same moment: try again')
    },
    async release(): Promise<void> {
      if (await isOurs()) await rm(path, { force: true })
    },
  }
}

async function createExclusively(path: string, text: string): Promise<boolean> {
  try {
    await writeSynced(path, text, 0o600)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw explained(error, path)
  }
}

async function isStale(path: string, staleMs: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found !== undefined && Date.now() - found.mtimeMs > staleMs
}

async function replace(file: string, text: string): Promise<void> {
  const old = await stat(file).catch(() => undefined)
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeSynced(temporary, text, old ? old.mode & 0o777 : 0o644)
    if (old) await chown(temporary, old.uid, old.gid).catch(() => {})
    await rename(temporary, file)
    await syncFolder(dirname(file))
  } catch (error) {
    await rm(temporary, { force: true })
    throw explained(error, file)
  }
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.chmod(mode)
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the rename last through a power cut, where folders can be synced at all. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code

const REASONS: Readonly<Record<string, string>> = {
  EBUSY: 'it is mounted as a single file and cannot be replaced: mount its folder instead',
  EROFS: 'its file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder does not exist',
  EISDIR: 'it is a folder',
  ENOSPC: 'no space left',
}

function explained(error: unknown, file: string): Error {
  const code = codeOf(error) ?? 'unknown error'
  return new Error(`cannot change ${file}: ${REASONS[code] ?? code}`, { cause: error })
}
