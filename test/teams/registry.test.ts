import t from 'tap'
import { createApiKey } from '../../src/teams/api-key.js'
import { createRegistry } from '../../src/teams/registry.js'
import { parseTeams } from '../../src/teams/teams-file.js'

const NOW = Date.parse('2026-11-22T15:00:00Z')
const GOOD = createApiKey()
const SECOND = createApiKey()
const REVOKED = createApiKey()
const EXPIRED = createApiKey()
const LAST_DAY = createApiKey()
const DISABLED = createApiKey()
const DISABLED_REVOKED = createApiKey()
const TEST = createApiKey({ isTest: true })

const line = ({ id, sha256 }: { id: string; sha256: string }, more = '') =>
  `    - { id: ${id}, sha256: ${sha256}${more} }\n`

function registryOf(source: string) {
  const parsed = parseTeams(source)
  if ('problems' in parsed) throw new Error(parsed.problems.join('\n'))
  return createRegistry(parsed.teams)
}

const registry = registryOf(`teams:
- id: vision
  keys:
${line(GOOD)}${line(SECOND)}${line(REVOKED, ', revoked: 2026-11-01')}${line(EXPIRED, ', expires: 2026-11-21')}${line(LAST_DAY, ', expires: 2026-11-22')}${line(TEST)}
- id: gone
  disabled: true
  keys:
${line(DISABLED)}${line(DISABLED_REVOKED, ', revoked: true')}`)

t.test('a valid key identifies its team and itself', async t => {
  const found = registry.authenticate(GOOD.text, NOW)
  t.match(found, { caller: { team: { id: 'vision', limits: { requestsPerMinute: 600 } }, keyId: GOOD.id } })
  t.match(registry.authenticate(SECOND.text, NOW), { caller: { team: { id: 'vision' }, keyId: SECOND.id } })
  t.notMatch(JSON.stringify(found), GOOD.text)
})

t.test('missing, mistyped, unknown, revoked and expired keys are unauthorized without distinction', async t => {
  const stranger = createApiKey()
  const mistyped = GOOD.text.slice(0, -1) + (GOOD.text.endsWith('0') ? '1' : '0')
  const refused: [string, string | undefined][] = [
    ['missing', undefined],
    ['empty', ''],
    ['not a key', 'hunter2'],
    ['mistyped', mistyped],
    ['unknown', stranger.text],
    ['revoked', REVOKED.text],
    ['expired', EXPIRED.text],
    ['revoked, of a disabled team', DISABLED_REVOKED.text],
    ['the id alone', GOOD.id],
    ['the digest', GOOD.sha256],
  ]
  for (const [what, text] of refused) t.strictSame(registry.authenticate(text, NOW), { refused: 'unauthorized' }, what)
})

t.test('a test key identifies its team and is marked as a test key', async t => {
  t.match(registry.authenticate(TEST.text, NOW), { caller: { team: { id: 'vision' }, keyId: TEST.id, isTest: true } })
  t.notMatch(registry.authenticate(GOOD.text, NOW), { caller: { isTest: true } })
  const posing = `SG_gw${TEST.text.slice(5)}`
  t.strictSame(registry.authenticate(posing, NOW), { refused: 'unauthorized' }, 'the kind is part of the hash')
})

t.test('a key with a known id, a valid checksum and other random characters is unauthorized', async t => {
  let bytes = 0
  const ids = [...GOOD.id].map(character => ALPHABET.indexOf(character))
  const forged = createApiKey({ random: length => Uint8Array.from({ length }, () => ids[bytes++] ?? 7) })
  t.equal(forged.id, GOOD.id)
  t.strictSame(registry.authenticate(forged.text, NOW), { refused: 'unauthorized' })
})

t.test('an unknown id is not accepted with a digest of zeros', async t => {
  const parsed = registryOf(`teams: [{ id: a, keys: [{ id: ${GOOD.id}, sha256: ${'0'.repeat(64)} }] }]`)
  t.strictSame(parsed.authenticate(GOOD.text, NOW), { refused: 'unauthorized' })
  t.strictSame(parsed.authenticate(SECOND.text, NOW), { refused: 'unauthorized' })
})

t.test('a key is valid until the end of its last day in UTC', async t => {
  const midnight = Date.parse('2026-11-23T00:00:00Z')
  t.match(registry.authenticate(LAST_DAY.text, midnight - 1), { caller: { keyId: LAST_DAY.id } })
  t.strictSame(registry.authenticate(LAST_DAY.text, midnight), { refused: 'unauthorized' })
})

t.test('a valid key of a disabled team is refused as disabled', async t => {
  t.strictSame(registry.authenticate(DISABLED.text, NOW), { refused: 'disabled' })
})

t.test('all teams are listed, including disabled ones', async t => {
  t.strictSame(
    registry.teams().map(team => team.id),
    ['vision', 'gone'],
  )
})

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
