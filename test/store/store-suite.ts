import type { Test } from 'tap'
import { testBlobs } from './blob-suite.js'
import { testLedger, testStatement } from './ledger-suite.js'
import { testModel } from './model-suite.js'
import type { Harness } from './samples.js'

/** Everything that holds for every store. */
export function testStore(t: Test, harness: Harness): void {
  t.test('blobs', t => testBlobs(t, harness))
  t.test('the ledger', t => testLedger(t, harness))
  t.test('the statement and the balance', t => testStatement(t, harness))
  t.test('against a model', t => testModel(t, harness))
}
