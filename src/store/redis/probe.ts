import type { LedgerWitness } from '../../contracts/store.js'
import { connect } from './connection.js'
import { createLedger } from './ledger.js'
import { ledgerKeys } from './ledger-keys.js'

export interface RedisProbe {
  url: string
  keyPrefix: string
  witness: LedgerWitness | undefined
  /** Called for what does not keep Redis from serving. */
  onWarning?: ((text: string) => void) | undefined
}

/**
 * Connects to Redis once, writes and reads a record, and compares the ledger. Returns one sentence
 * for a Redis that cannot serve, may evict the ledger or has lost it.
 */
export async function probeRedis({ url, keyPrefix, witness, onWarning }: RedisProbe): Promise<string | undefined> {
  let refusal: string | undefined
  const connection = await connect({
    url,
    probeKey: ledgerKeys(keyPrefix).probe,
    onPolicyUnreadable: warning => onWarning?.(warning),
    onDown(reason) {
      refusal ??= reason
    },
  })
  try {
    if (!connection.isUp()) return refusal ?? 'Redis does not answer'
    if (connection.mayEvict())
      return 'Redis may evict the ledger: its maxmemory-policy is allkeys-*; set it to volatile-lru'
    const { loss } = await createLedger(connection, keyPrefix).totals(witness)
    return loss && `the ledger in Redis was lost (${loss.reason}); run \`segmind-gateway ledger accept\``
  } catch (error) {
    return (error as Error).message
  } finally {
    await connection.close()
  }
}
