import t from 'tap'
import { createOperatorCheck } from '../../src/teams/operator-key.js'

t.test("only the operators' key is accepted", async t => {
  const isOperator = createOperatorCheck('ops-0123456789abcdef')
  t.equal(isOperator('ops-0123456789abcdef'), true)
  for (const other of [undefined, '', 'ops', 'ops-0123456789abcdeF', 'ops-0123456789abcdef '])
    t.equal(isOperator(other), false)
})

t.test("without an operators' key no text is accepted", async t => {
  const isOperator = createOperatorCheck(undefined)
  for (const text of [undefined, '', 'undefined']) t.equal(isOperator(text), false)
})
