import type { Test } from 'tap'
import { testBalance } from './balance-suite.js'
import { testBlobs } from './blob-suite.js'
import { testFloor } from './floor-suite.js'
import { testIdentity } from './identity-suite.js'
import { testLedger, testUsage } from './ledger-suite.js'
import { testModel } from './model-suite.js'
import { testProcesses } from './process-suite.js'
import { testRecords } from './record-suite.js'
import { testRollUp } from './roll-up-suite.js'
import type { Harness } from './samples.js'
import { testSharing } from './sharing-suite.js'
import { testTotals } from './totals-suite.js'
import { testUpgrade } from './upgrade-suite.js'

/** Tests everything that both stores must do. */
export function testStore(t: Test, harness: Harness): void {
  t.test('blobs', t => testBlobs(t, harness))
  t.test('records', t => testRecords(t, harness))
  t.test('the ledger', t => testLedger(t, harness))
  t.test('the totals', t => testTotals(t, harness))
  t.test('the identity', t => testIdentity(t, harness))
  t.test('the floor', t => testFloor(t, harness))
  t.test('the balance', t => testBalance(t, harness))
  t.test('usage', t => testUsage(t, harness))
  t.test('shared results', t => testSharing(t, harness))
  t.test('against a model', t => testModel(t, harness))
  t.test('the roll-up', t => testRollUp(t, harness))
  t.test('a ledger of the previous version', t => testUpgrade(t, harness))
  t.test('three processes at once', t => testProcesses(t, harness))
}
