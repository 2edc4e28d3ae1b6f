import { createClient, GatewayProblem } from '../../client/index.js'
import { byId } from './dom.js'
import { GatewaySession } from './gateway-session.js'
import { forgetKey, storedKey, storeKey } from './key-store.js'
import { formatCredits, sayProblem } from './wording.js'

/** Test keys begin so (docs/test-keys.md). */
const TEST_KEY = /^SG_gt/

export interface KeyPanel {
  /** Asks for a key, and says why. */
  ask(why?: string): void
  /** What the key may still spend. */
  showRemaining(credits: number | undefined): void
}

/** Asks for the team's key, checks it, keeps it, forgets it. Tells who may ask from now on; undefined where nobody may. */
export function createKeyPanel(onSession: (session: GatewaySession | undefined) => void): KeyPanel {
  const form = byId('key-form', HTMLFormElement)
  const input = byId('key', HTMLInputElement)
  const remember = byId('remember', HTMLInputElement)
  const problem = byId('key-problem', HTMLElement)
  const who = createWho()

  const ask = (why = '') => {
    who.hide()
    form.hidden = false
    problem.textContent = why
    input.toggleAttribute('aria-invalid', why !== '')
    onSession(undefined)
  }
  const use = async (key: string) => {
    const submit = byId('use-key', HTMLButtonElement)
    submit.disabled = true
    const found = await check(key)
    submit.disabled = false
    if ('why' in found) return ask(found.why)
    form.hidden = true
    input.value = ''
    problem.textContent = ''
    who.show(found.team, found.session.isTestKey, found.remaining)
    onSession(found.session)
    return found
  }
  form.addEventListener('submit', async event => {
    event.preventDefault()
    const key = input.value.trim()
    if (await use(key)) storeKey(key, remember.checked)
  })
  byId('forget-key', HTMLButtonElement).addEventListener('click', () => {
    forgetKey()
    ask()
    input.focus()
  })
  const known = storedKey()
  if (known !== undefined) use(known)
  return { ask, showRemaining: who.showRemaining }
}

type Checked = { session: GatewaySession; team: string; remaining: number | undefined } | { why: string }

async function check(key: string): Promise<Checked> {
  // A person waits: what fails is told at once, and tried again when they say so.
  const client = createClient({ url: '', key, attempts: 1 })
  try {
    const { team, remainingCredits } = await client.usage()
    return { session: new GatewaySession(client, TEST_KEY.test(key)), team, remaining: remainingCredits }
  } catch (error) {
    if (!(error instanceof GatewayProblem)) return { why: 'This is no key: it has characters that keys never have.' }
    if (error.code === 'unauthorized') forgetKey()
    const { title, sentences, requestId } = sayProblem(error)
    return { why: `${title}. ${sentences[1] ?? ''} Request ${requestId ?? 'without an id'}.` }
  }
}

function createWho() {
  const who = byId('who', HTMLElement)
  const line = byId('team', HTMLElement)
  const badge = byId('sandbox-badge', HTMLElement)
  let team = ''
  const showRemaining = (credits: number | undefined) => {
    const left =
      credits === undefined || !badge.hidden ? '' : ` · ${formatCredits(Number(credits.toFixed(4)))} credits left`
    line.textContent = `Team ${team}${left}`
  }
  return {
    show(name: string, isTestKey: boolean, remaining: number | undefined) {
      team = name
      badge.hidden = !isTestKey
      showRemaining(remaining)
      who.hidden = false
    },
    hide() {
      who.hidden = true
    },
    showRemaining,
  }
}
