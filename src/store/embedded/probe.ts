import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { LedgerWitness } from '../../contracts/store.js'
import { damageOf, type Environment, openEnvironment } from './environment.js'
import { checkFile } from './file-check.js'
import { createLedger } from './ledger.js'

const LEAST_FREE_BYTES = 2 ** 20
const MAP_BYTES = 2 ** 34

/**
 * Checks the folder of the embedded store. Creates nothing but two lock files beside an existing
 * ledger, because reads beside a gateway need them. Returns one sentence for a folder that cannot
 * be used, a damaged ledger, or one that is gone or was lost. May run beside a gateway.
 */
export async function probeFolder(dir: string, witness: LedgerWitness | undefined): Promise<string | undefined> {
  try {
    const folder = nearestFolder(dir)
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    if (!statSync(folder).isDirectory()) return `${folder} is no folder`
    const { bavail, bsize } = statfsSync(folder)
    if (bavail * bsize < LEAST_FREE_BYTES) return `the disk of ${folder} is full`
    const path = join(dir, 'ledger.mdb')
    if (checkFile(path) === 'absent') return missingLedger(path, witness)
    const damage = damageOf(path)
    return damage === undefined ? await probeLedger(dir, witness) : `${path}: ${damage}`
  } catch (error) {
    return `the folder ${dir} cannot be used for the store: ${(error as Error).message}`
  }
}

/** Returns nothing if this machine has never seen a ledger. */
function missingLedger(path: string, witness: LedgerWitness | undefined): string | undefined {
  if (!witness?.epoch) return undefined
  return `the ledger ${path} is gone; restore it, or run \`segmind-gateway ledger accept\` to begin an empty one`
}

/** Returns the folder, or the nearest one above in which it would be created. */
function nearestFolder(dir: string): string {
  const path = resolve(dir)
  return existsSync(path) || dirname(path) === path ? path : nearestFolder(dirname(path))
}

async function probeLedger(dir: string, witness: LedgerWitness | undefined): Promise<string | undefined> {
  const readLoss = async (environment: Environment) => (await createLedger(environment, Date.now).totals(witness)).loss
  const { environment, parts: loss } = await openEnvironment(dir, 'ledger', MAP_BYTES, readLoss)
  await environment.close()
  return loss && `the ledger in ${dir} was lost (${loss.reason}); run \`segmind-gateway ledger accept\``
}
