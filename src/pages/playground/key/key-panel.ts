import { createClient, GatewayProblem } from '../../../client/index.js'
import { byId } from '../../dom.js'
import { exactCredits } from '../../format.js'
import { problemText } from '../wording.js'
import { GatewaySession } from './gateway-session.js'
import { forgetKey, storedKey, storeKey } from './key-store.js'

/** Prefix of test keys (docs/test-keys.md). */
const TEST_KEY = /^SG_gt/

export interface KeyPanel {
  /** Shows the form, with the reason why the previous key is gone. */
  requestKey(reason?: string): void
  showRemaining(credits: number | undefined): void
}

/** Asks for the team key and checks it. Reports undefined without a valid key. */
export function createKeyPanel(onSession: (session: GatewaySession | undefined) => void): KeyPanel {
  const form = byId('key-form')
  const input = byId('key', HTMLInputElement)
  const problem = byId('key-problem')
  const account = createAccountBar()

  const requestKey = (reason = '') => {
    account.hide()
    form.hidden = false
    problem.textContent = reason
    input.toggleAttribute('aria-invalid', reason !== '')
    onSession(undefined)
  }
  /** Returns true if the gateway accepts the key. */
  const useKey = async (key: string) => {
    const submit = byId('use-key', HTMLButtonElement)
    submit.disabled = true
    const checked = await checkKey(key)
    submit.disabled = false
    if ('reason' in checked) {
      requestKey(checked.reason)
      return false
    }
    form.hidden = true
    input.value = ''
    problem.textContent = ''
    account.show(checked.team, checked.session.isTestKey, checked.remaining)
    onSession(checked.session)
    return true
  }
  form.addEventListener('submit', async event => {
    event.preventDefault()
    const key = input.value.trim()
    if (await useKey(key)) storeKey(key, byId('remember', HTMLInputElement).checked)
  })
  byId('forget-key').addEventListener('click', () => {
    forgetKey()
    requestKey()
    input.focus()
  })
  const stored = storedKey()
  if (stored !== undefined) void useKey(stored)
  return { requestKey, showRemaining: account.showRemaining }
}

type CheckedKey = { session: GatewaySession; team: string; remaining: number | undefined } | { reason: string }

async function checkKey(key: string): Promise<CheckedKey> {
  // No retries: the user is waiting and can press the button again.
  const client = createClient({ url: '', key, attempts: 1 })
  try {
    const { team, remainingCredits } = await client.usage()
    return { session: new GatewaySession(client, TEST_KEY.test(key)), team, remaining: remainingCredits }
  } catch (error) {
    if (!(error instanceof GatewayProblem)) return { reason: 'This is not a key: it contains invalid characters.' }
    if (error.code === 'unauthorized') forgetKey()
    const { title, sentences, requestId } = problemText(error)
    return { reason: `${title}. ${sentences[1] ?? ''}${requestId ? ` Request id ${requestId}.` : ''}` }
  }
}

function createAccountBar() {
  const bar = byId('account')
  const badge = byId('sandbox-badge')
  let team = ''
  const showRemaining = (credits: number | undefined) => {
    const isShown = credits !== undefined && badge.hidden
    const remaining = isShown ? ` · ${exactCredits(Number(credits.toFixed(4)))} credits left` : ''
    byId('team').textContent = `Team ${team}${remaining}`
  }
  return {
    show(name: string, isTestKey: boolean, remaining: number | undefined) {
      team = name
      badge.hidden = !isTestKey
      showRemaining(remaining)
      bar.hidden = false
    },
    hide() {
      bar.hidden = true
    },
    showRemaining,
  }
}
