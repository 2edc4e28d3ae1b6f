import { byId } from '../dom.js'
import { OperatorApi, type Session } from './api/operator-api.js'
import { problemContent } from './elements/dialogs.js'

/** Shows the sign-in form until a key is accepted, with the reason for the last sign-out. */
export function signIn(reason = ''): Promise<Session> {
  const form = byId('sign-in', HTMLFormElement)
  const key = byId('key', HTMLInputElement)
  const problem = byId('sign-in-problem')
  const submit = byId('sign-in-submit', HTMLButtonElement)
  form.hidden = false
  problem.textContent = reason
  key.focus()
  return new Promise(resolve => {
    form.addEventListener('submit', async event => {
      event.preventDefault()
      problem.replaceChildren()
      submit.disabled = true
      const session = { key: key.value.trim(), name: byId('name', HTMLInputElement).value.trim() }
      try {
        await new OperatorApi(session).get('/overview')
        form.hidden = true
        key.value = ''
        resolve(session)
      } catch (error) {
        problem.replaceChildren(...problemContent(error))
        key.select()
      } finally {
        submit.disabled = false
      }
    })
  })
}
