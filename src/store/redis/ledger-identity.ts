import type { LedgerLoss, LedgerWitness } from '../../contracts/store.js'
import { KEPT_CHECKSUMS } from '../totals.js'

/**
 * Fields of the hashes that a script changes: `load` reads many at once, and `save` writes all
 * changed fields of a key at once. `get` reads a field that was not loaded.
 */
const FIELDS = `
local known, changed = {}, {}
local function load(key, ...)
  known[key] = known[key] or {}
  for i, value in ipairs(redis.call('HMGET', key, ...)) do known[key][select(i, ...)] = value end
end
local function get(key, field)
  known[key] = known[key] or {}
  if known[key][field] == nil then known[key][field] = redis.call('HGET', key, field) end
  return known[key][field]
end
local function set(key, field, value)
  known[key] = known[key] or {}
  changed[key] = changed[key] or {}
  known[key][field] = value
  changed[key][field] = value
end
local function add(key, field, amount)
  set(key, field, string.format('%.0f', tonumber(get(key, field) or 0) + amount))
end
local function save()
  for key, fields in pairs(changed) do
    local values = {}
    for field, value in pairs(fields) do
      values[#values + 1] = field
      values[#values + 1] = value
    end
    redis.call('HSET', key, unpack(values))
  end
end
`

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
export const IDENTITY = `${FIELDS}
local DAY, MONTH = string.match(KEYS[2], '[^:]*$'), string.match(KEYS[3], '[^:]*$')
-- Counts a step. The epoch is used only if the ledger has none yet.
local function commit(step, epoch)
  add(KEYS[5], 'sequence', 1)
  local sequence = get(KEYS[5], 'sequence')
  local checksum = redis.sha1hex((get(KEYS[5], 'checksum') or '') .. sequence .. step)
  set(KEYS[5], 'epoch', get(KEYS[5], 'epoch') or epoch)
  set(KEYS[5], 'checksum', checksum)
  set(KEYS[5], DAY, sequence)
  set(KEYS[5], MONTH, sequence)
  set(KEYS[9], sequence % ${KEPT_CHECKSUMS}, sequence .. ':' .. checksum)
  set(KEYS[2], '*', sequence)
  set(KEYS[3], '*', sequence)
end
local function isBehind(key, step)
  return step and step ~= get(key, '*')
end
-- Returns whether the step that was seen is kept with another checksum.
local function isOvertaken(sequence, checksum)
  local kept = get(KEYS[9], sequence % ${KEPT_CHECKSUMS})
  return kept and string.match(kept, '^%d+') == sequence and kept ~= sequence .. ':' .. checksum
end
-- Returns the loss, or nil. expected: epoch, sequence, checksum; the epoch may be ''.
local function findLoss(expected)
  if get(KEYS[5], 'lost') then return get(KEYS[5], 'lost') end
  local epoch, checksum = get(KEYS[5], 'epoch') or '', get(KEYS[5], 'checksum') or ''
  local sequence = get(KEYS[5], 'sequence') or '0'
  local reason
  if expected[1] ~= '' and expected[1] ~= epoch then
    if not string.find(get(KEYS[5], 'past') or '', expected[1], 1, true) then reason = 'replaced' end
  elseif expected[1] ~= '' then
    if tonumber(sequence) < tonumber(expected[2]) then reason = 'rolled back'
    elseif sequence == expected[2] and checksum ~= expected[3] then reason = 'altered'
    elseif sequence ~= expected[2] and isOvertaken(expected[2], expected[3]) then reason = 'rolled back' end
  end
  local isIncomplete = DAY ~= '' and (isBehind(KEYS[2], get(KEYS[5], DAY)) or isBehind(KEYS[3], get(KEYS[5], MONTH)))
  if not reason and isIncomplete then reason = 'incomplete' end
  return reason and table.concat({reason, expected[1], expected[2], expected[3], epoch, sequence, checksum}, '|')
end
-- Returns whether the ledger is lost, and marks it for all processes. An earlier mark stays.
local function isLost(expected, newEpoch)
  local lost = findLoss(expected)
  if not lost then return false end
  if not get(KEYS[5], 'lost') then set(KEYS[5], 'lost', lost) end
  if not get(KEYS[5], 'epoch') then set(KEYS[5], 'epoch', newEpoch) end
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
