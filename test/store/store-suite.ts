import type { Test } from 'tap'
import { testAccount } from './account-suite.js'
import { testBalance } from './balance-suite.js'
import { testBlobs } from './blob-suite.js'
import { testFloor } from './floor-suite.js'
import { testLedger, testStatement } from './ledger-suite.js'
import { testModel } from './model-suite.js'
import { testProcesses } from './process-suite.js'
import { testRecords } from './record-suite.js'
import type { Harness } from './samples.js'
import { testSharing } from './sharing-suite.js'
import { testUpgrade } from './upgrade-suite.js'

/** Everything that holds for every store. */
export function testStore(t: Test, harness: Harness): void {
  t.test('blobs', t => testBlobs(t, harness))
  t.test('records', t => testRecords(t, harness))
  t.test('the ledger', t => testLedger(t, harness))
  t.test('the account', t => testAccount(t, harness))
  t.test('the floor', t => testFloor(t, harness))
  t.test('the balance', t => testBalance(t, harness))
  t.test('the statement', t => testStatement(t, harness))
  t.test('shared answers', t => testSharing(t, harness))
  t.test('against a model', t => testModel(t, harness))
  t.test('a ledger of the version before', t => testUpgrade(t, harness))
  t.test('three processes', t => testProcesses(t, harness))
}
