import type { LedgerLoss, LedgerWitness } from '../../contracts/store.js'
import { KEPT_CHECKSUMS } from '../totals.js'

/**
 * The identity of the ledger: `epoch`, `sequence` and `checksum` in the totals (KEYS[5]).
 *
 * Each step also writes its sequence to the totals of its day and month (field `*`) and to KEYS[5]
 * (fields `2026-11-22` and `2026-11`). If the two differ, one of the keys was evicted, deleted or
 * replaced by an older one. Each step therefore calls `isLost` before `commit`.
 *
 * KEYS[9] keeps the checksums of the last steps: a hash `sequence % 1000` → `sequence:checksum`.
 * A ledger that was rolled back and has made other steps since has another checksum there.
 */
export const IDENTITY = `
local DAY, MONTH = string.match(KEYS[2], '[^:]*$'), string.match(KEYS[3], '[^:]*$')
-- Counts a step. The epoch is used only if the ledger has none yet.
local function commit(step, epoch)
  local known = redis.call('HMGET', KEYS[5], 'epoch', 'checksum')
  local sequence = redis.call('HINCRBY', KEYS[5], 'sequence', 1)
  local checksum = redis.sha1hex((known[2] or '') .. sequence .. step)
  redis.call('HSET', KEYS[5], 'epoch', known[1] or epoch, 'checksum', checksum, DAY, sequence, MONTH, sequence)
  redis.call('HSET', KEYS[9], sequence % ${KEPT_CHECKSUMS}, sequence .. ':' .. checksum)
  redis.call('HSET', KEYS[2], '*', sequence)
  redis.call('HSET', KEYS[3], '*', sequence)
end
local function isBehind(key, step)
  return step and step ~= redis.call('HGET', key, '*')
end
-- Returns whether the step that was seen is kept with another checksum.
local function isOvertaken(sequence, checksum)
  local kept = redis.call('HGET', KEYS[9], sequence % ${KEPT_CHECKSUMS})
  return kept and string.match(kept, '^%d+') == sequence and kept ~= sequence .. ':' .. checksum
end
-- Returns the loss, or nil. expected: epoch, sequence, checksum; the epoch may be ''.
local function findLoss(expected)
  local known = redis.call('HMGET', KEYS[5], 'lost', 'epoch', 'sequence', 'checksum', 'past', DAY, MONTH)
  if known[1] then return known[1] end
  local epoch, sequence, checksum = known[2] or '', known[3] or '0', known[4] or ''
  local reason
  if expected[1] ~= '' and expected[1] ~= epoch then
    if not string.find(known[5] or '', expected[1], 1, true) then reason = 'replaced' end
  elseif expected[1] ~= '' then
    if tonumber(sequence) < tonumber(expected[2]) then reason = 'rolled back'
    elseif sequence == expected[2] and checksum ~= expected[3] then reason = 'altered'
    elseif sequence ~= expected[2] and isOvertaken(expected[2], expected[3]) then reason = 'rolled back' end
  end
  if not reason and DAY ~= '' and (isBehind(KEYS[2], known[6]) or isBehind(KEYS[3], known[7])) then
    reason = 'incomplete'
  end
  return reason and table.concat({reason, expected[1], expected[2], expected[3], epoch, sequence, checksum}, '|')
end
-- Returns whether the ledger is lost, and marks it for all processes. An earlier mark stays.
local function isLost(expected, newEpoch)
  local lost = findLoss(expected)
  if not lost then return false end
  redis.call('HSETNX', KEYS[5], 'lost', lost)
  redis.call('HSETNX', KEYS[5], 'epoch', newEpoch)
  return true
end
`

/** KEYS[1]: totals of the ledger. ARGV: the new epoch, and an epoch that the operator knows, or ''. */
export const ACCEPT = `
local known = redis.call('HMGET', KEYS[1], 'lost', 'epoch', 'past')
local past = {known[3] or ''}
for _, epoch in ipairs({string.match(known[1] or '', '|([^|]*)') or '', known[2] or '', ARGV[2]}) do
  if epoch ~= '' and not string.find(table.concat(past, ','), epoch, 1, true) then past[#past + 1] = epoch end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'past', table.concat(past, ','))
redis.call('HDEL', KEYS[1], 'lost')
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.match(field, '^%d%d%d%d%-') then redis.call('HDEL', KEYS[1], field) end
end
return 1
`

/** Returns a witness as the arguments of `findLoss`. */
export function witnessArguments(witness?: LedgerWitness): (string | number)[] {
  return [witness?.epoch ?? '', witness?.sequence ?? 0, witness?.checksum ?? '']
}

/** The witness of a step that carries none. */
export const NO_WITNESS = `{'', '0', ''}`

export function decodeLoss(text: string): LedgerLoss {
  const [reason, ...parts] = text.split('|')
  const witness = ([epoch = '', sequence = '0', checksum = '']: string[]): LedgerWitness => ({
    epoch,
    sequence: Number(sequence),
    checksum,
  })
  return {
    reason: reason as LedgerLoss['reason'],
    expected: witness(parts.slice(0, 3)),
    found: witness(parts.slice(3)),
  }
}
